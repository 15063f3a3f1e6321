//! Listens on the websocket for the server's wish for a check-in. Only an accelerator: without it everything arrives
//! with the next heartbeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that lived this long was a good one.
const HEALTHY: Duration = Duration::from_secs(60);
/// The server hears from a live worker at least this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Nothing from the server, not even an answer to a ping, for this long: the connection is dead.
const SILENCE: Duration = Duration::from_secs(150);
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// What the listener tells the rest of the worker.
#[derive(Default)]
pub struct WakeUps {
    /// The server wants a check-in.
    pub wanted: Notify,
    connected: AtomicBool,
}

impl WakeUps {
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

/// Stays connected for ever; ends only when dropped.
pub async fn listen(url: String, wake_ups: Arc<WakeUps>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let since = Instant::now();
        let reason = connection(&url, &wake_ups).await;
        wake_ups.connected.store(false, Ordering::Relaxed);
        if since.elapsed() > HEALTHY {
            pause = FIRST_PAUSE;
        }
        // Workers that lost the same server do not come back in step.
        let jitter = 0.5 + 0.5 * rand::random::<f64>();
        tracing::debug!(
            "websocket {url}: {reason}; connecting again in {:.1} s",
            pause.as_secs_f64() * jitter
        );
        tokio::time::sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One connection, until it breaks; gives the reason.
async fn connection(url: &str, wake_ups: &WakeUps) -> String {
    let connecting = tokio::time::timeout(CONNECT_PATIENCE, tokio_tungstenite::connect_async(url));
    let mut socket = match connecting.await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return "no answer".to_owned(),
    };
    tracing::debug!("websocket {url}: connected");
    wake_ups.connected.store(true, Ordering::Relaxed);
    // Whatever was announced while nobody listened.
    wake_ups.wanted.notify_one();
    let mut heard = Instant::now();
    let mut beat = tokio::time::interval(SIGN_OF_LIFE);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                if heard.elapsed() > SILENCE {
                    return "the server went silent".to_owned();
                }
                let ping = Message::Ping(bytes::Bytes::from_static(b"w"));
                for message in [Message::text("a"), ping] {
                    if let Err(error) = socket.send(message).await {
                        return error.to_string();
                    }
                }
            }
            message = socket.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                        wake_ups.wanted.notify_one();
                        // Tells an upstream server that this worker waits again.
                        if let Err(error) = socket.send(Message::text("a")).await {
                            return error.to_string();
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return "closed by the server".to_owned(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.to_string(),
                }
            }
        }
    }
}
