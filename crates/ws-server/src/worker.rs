//! One worker's connection: pings it when woken, answers nothing, keeps the line alive.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, close_code};
use axum::http::{HeaderMap, header};

use tokio::time::Instant;

use crate::{Shared, close};

const PING_INTERVAL: Duration = Duration::from_secs(25);
/// An upstream worker answers no ping while it checks in; only a much longer silence means that it is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(180);

/// Workers of CodaLab 1.x are Python programs; they tell news only when they check in on their timer.
pub fn wants_nudges(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    agent.is_some_and(|agent| agent.contains("Python"))
}

/// Runs until the worker leaves, falls silent or the server shuts down.
pub async fn connection(mut socket: WebSocket, shared: &Shared, id: &str, wants_nudges: bool) {
    tracing::debug!(worker = %id, "worker connected");
    let registration = shared.registry.register(id, wants_nudges);
    let mut ping = tokio::time::interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut heard = Instant::now();
    let code = loop {
        tokio::select! {
            () = registration.woken() => {
                if socket.send(Message::text(id)).await.is_err() {
                    return;
                }
            }
            frame = socket.recv() => match frame {
                // Whatever it says means "still here". An answer would make it check in, so there is none.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {
                    heard = Instant::now();
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE_LIMIT {
                    break Some((close_code::AWAY, "silent for too long"));
                }
                if socket.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
            }
            () = shared.shutdown.cancelled() => break Some((close_code::AWAY, "server shuts down")),
        }
    };
    drop(registration);
    tracing::debug!(worker = %id, "worker disconnected");
    if let Some((code, reason)) = code {
        close(socket, code, reason).await;
    }
}
