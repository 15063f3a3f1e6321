//! The event relay for other processes: what one service publishes, all others hear.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, close_code};
use axum::http::{HeaderMap, header};
use hub::{CAPACITY, Event, next_event};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::{Shared, close};

const PING_INTERVAL: Duration = Duration::from_secs(20);
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Whether the request carries the relay key as bearer token. Without a configured key nobody may connect.
pub fn may_connect(headers: &HeaderMap, key: Option<&str>) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    match (given, key) {
        (Some(given), Some(key)) => bool::from(given.as_bytes().ct_eq(key.as_bytes())),
        _ => false,
    }
}

/// Events this connection brought in, until the hub hands them back: the peer knows them already.
#[derive(Default)]
struct Echoes(VecDeque<Event>);

impl Echoes {
    fn expect(&mut self, event: Event) {
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    fn is_echo(&mut self, event: &Event) -> bool {
        // Events come back in order, so the first entry is nearly always the one.
        let found = self.0.iter().position(|expected| expected == event);
        found.inspect(|&at| drop(self.0.remove(at))).is_some()
    }
}

/// Runs until the peer leaves, falls silent or the server shuts down.
pub async fn connection(mut socket: WebSocket, shared: &Shared) {
    let mut events = shared.hub.subscribe();
    let mut echoes = Echoes::default();
    let mut ping = tokio::time::interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut heard = Instant::now();
    let reason = loop {
        tokio::select! {
            event = next_event(&mut events) => {
                let Some(event) = event else { break "hub closed" };
                if !echoes.is_echo(&event) && socket.send(Message::text(event.to_json())).await.is_err() {
                    return;
                }
            }
            frame = socket.recv() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Message::Text(text))) => {
                        if let Some(event) = Event::from_json(&text).filter(|event| *event != Event::Unknown) {
                            echoes.expect(event.clone());
                            shared.hub.publish(event);
                        }
                    }
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE_LIMIT {
                    break "silent for too long";
                }
                if socket.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
            }
            () = shared.shutdown.cancelled() => break "server shuts down",
        }
    };
    close(socket, close_code::AWAY, reason).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_opens_only_with_its_key() {
        let mut with_key = HeaderMap::new();
        with_key.insert(header::AUTHORIZATION, "Bearer secret".parse().unwrap());
        assert!(may_connect(&with_key, Some("secret")));
        assert!(!may_connect(&with_key, Some("other")));
        assert!(!may_connect(&with_key, None));
        assert!(!may_connect(&HeaderMap::new(), Some("secret")));
    }

    #[test]
    fn each_echo_is_swallowed_once() {
        let mut echoes = Echoes::default();
        let event = Event::bundle_created("0x1");
        assert!(!echoes.is_echo(&event));
        echoes.expect(event.clone());
        assert!(echoes.is_echo(&event));
        assert!(
            !echoes.is_echo(&event),
            "the same event from somebody else goes through"
        );
    }
}
