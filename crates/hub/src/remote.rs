//! The hub across processes: a websocket to `cl-ws-server`, which relays every event to all other services.
//!
//! Local subscribers hear local events at once; the connection only adds the others. While it is down, events of other
//! processes are missed, and one [`Event::Resync`] after the reconnect makes up for them, here and there.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::{CAPACITY, Event, Hub, LocalHub};

const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Without any frame (our pings are answered) for this long the connection is taken for dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Where the relay is and what opens it.
#[derive(Clone)]
pub struct RemoteHubConfig {
    /// `ws://host:port` (or `wss://`) of the websocket server, with or without the final `/events`.
    pub url: String,
    /// The relay key both sides were given; sent as a bearer token.
    pub key: String,
}

impl std::fmt::Debug for RemoteHubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteHubConfig")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A [`Hub`] whose events also reach, and come from, the other processes. Reconnects by itself until dropped.
#[derive(Debug)]
pub struct RemoteHub {
    local: LocalHub,
    outgoing: mpsc::Sender<Event>,
    link: JoinHandle<()>,
}

impl RemoteHub {
    /// Starts the connection in the background (call it inside a tokio runtime) and returns at once.
    pub fn connect(config: RemoteHubConfig) -> Self {
        let (outgoing, queue) = mpsc::channel(CAPACITY);
        let local = LocalHub::new();
        let link = tokio::spawn(keep_connected(config, local.sender(), queue));
        Self { local, outgoing, link }
    }
}

impl Drop for RemoteHub {
    fn drop(&mut self) {
        self.link.abort();
    }
}

impl Hub for RemoteHub {
    fn publish(&self, event: Event) {
        // A full queue means the connection has been down for long; the resync after it covers what is dropped here.
        let _ = self.outgoing.try_send(event.clone());
        self.local.publish(event);
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.local.subscribe()
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn keep_connected(config: RemoteHubConfig, local: broadcast::Sender<Event>, mut queue: mpsc::Receiver<Event>) {
    let mut retry = MIN_RETRY;
    loop {
        match open(&config).await {
            Ok(socket) => {
                tracing::info!(url = %config.url, "connected to the hub");
                retry = MIN_RETRY;
                let _ = local.send(Event::Resync);
                match relay(socket, &local, &mut queue).await {
                    Ok(()) => tracing::info!(url = %config.url, "hub connection closed; reconnecting"),
                    Err(error) => tracing::warn!(url = %config.url, %error, "hub connection lost; reconnecting"),
                }
            }
            Err(error) => tracing::warn!(url = %config.url, %error, "cannot reach the hub; retrying"),
        }
        if queue.is_closed() {
            return;
        }
        tokio::time::sleep(jittered(retry)).await;
        retry = (retry * 2).min(MAX_RETRY);
    }
}

async fn open(config: &RemoteHubConfig) -> Result<Socket, String> {
    let base = config.url.trim_end_matches('/');
    let url = if base.ends_with("/events") {
        base.to_owned()
    } else {
        format!("{base}/events")
    };
    let mut request = url
        .into_client_request()
        .map_err(|e| format!("invalid hub address: {e}"))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", config.key))
        .map_err(|_| "the hub key has characters that no header can carry".to_owned())?;
    request.headers_mut().insert("authorization", bearer);
    match tokio::time::timeout(CONNECT_TIMEOUT, tokio_tungstenite::connect_async(request)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// Moves events both ways until the connection ends or the hub is dropped (`Ok`), or breaks (`Err`).
async fn relay(
    mut socket: Socket,
    local: &broadcast::Sender<Event>,
    queue: &mut mpsc::Receiver<Event>,
) -> Result<(), tungstenite::Error> {
    socket.send(Message::text(Event::Resync.to_json())).await?;
    let mut ping = tokio::time::interval(PING_INTERVAL);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(event) => socket.send(Message::text(event.to_json())).await?,
                None => return socket.close(None).await,
            },
            incoming = socket.next() => {
                heard = Instant::now();
                match incoming.transpose()? {
                    None | Some(Message::Close(_)) => return Ok(()),
                    Some(Message::Text(text)) => {
                        if let Some(event) = Event::from_json(&text) {
                            let _ = local.send(event);
                        }
                    }
                    Some(_) => {}
                }
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE_LIMIT {
                    return Ok(());
                }
                socket.send(Message::Ping(Vec::new().into())).await?;
            }
        }
    }
}

/// Between half and all of `delay`, so that services do not all come back in the same millisecond.
fn jittered(delay: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    delay / 2 + (delay / 2).mul_f64(f64::from(nanos % 1000) / 1000.0)
}
