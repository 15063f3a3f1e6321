//! The websocket server: pings workers to check in, and relays hub events between services.
//!
//! Three routes, told apart on the raw request target, under any prefix:
//! - `…/worker/<id>`: a worker waits here; a text frame with its id means "check in now". What it sends is ignored.
//! - `…/main`: one text frame with a worker id pings that worker; then the server closes.
//! - `…/events`: the relay for [`hub::RemoteHub`], only with the relay key.
//!
//! Invariant: nothing here is needed for correctness. A worker without a websocket gets everything at its next check-in.

#![forbid(unsafe_code)]

mod registry;
mod relay;
mod route;
mod worker;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hub::Hub;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::registry::Registry;
use crate::route::Route;

/// Largest frame accepted. Workers send one byte, relays a short JSON object.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// How long the close handshakes may take at shutdown.
const DRAIN: Duration = Duration::from_secs(2);

/// What the router may be told beyond the hub.
#[derive(Clone, Default)]
pub struct Options {
    /// Opens the `/events` relay to clients that present it as bearer token. Without it the relay is closed.
    pub relay_key: Option<String>,
    /// When cancelled, every connection is closed with code 1001.
    pub shutdown: CancellationToken,
}

/// The websocket routes under `/ws/…`, to be merged into the main HTTP listener. Call inside a tokio runtime.
pub fn router(hub: Arc<dyn Hub>) -> Router {
    router_with(hub, Options::default())
}

/// Like [`router`], with a relay key or a shutdown token.
pub fn router_with(hub: Arc<dyn Hub>, options: Options) -> Router {
    // Clients whose server address ends with a slash ask for `//ws/…`.
    Router::new()
        .route("/ws/{*rest}", any(accept))
        .route("//ws/{*rest}", any(accept))
        .with_state(Shared::start(hub, options))
}

/// Configuration of the separate process.
#[derive(Clone)]
pub struct Config {
    pub bind: SocketAddr,
    /// See [`Options::relay_key`].
    pub relay_key: Option<String>,
}

impl Config {
    /// All interfaces, the given port, no relay.
    pub fn on_port(port: u16) -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            relay_key: None,
        }
    }
}

/// Serves the routes under any prefix on a port of their own until `shutdown`, then closes every connection with 1001.
pub async fn serve(config: Config, hub: Arc<dyn Hub>, shutdown: CancellationToken) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(config.bind)
        .await
        .map_err(|e| std::io::Error::new(e.kind(), format!("cannot listen on {}: {e}", config.bind)))?;
    tracing::info!(address = %config.bind, "websocket server listens");
    serve_on(listener, config.relay_key, hub, shutdown).await
}

/// [`serve`] on a socket that is already bound.
pub async fn serve_on(
    listener: tokio::net::TcpListener,
    relay_key: Option<String>,
    hub: Arc<dyn Hub>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let shared = Shared::start(
        hub,
        Options {
            relay_key,
            shutdown: shutdown.clone(),
        },
    );
    let app = Router::new().fallback(any(accept)).with_state(shared.clone());
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    shared.tasks.close();
    if tokio::time::timeout(DRAIN, shared.tasks.wait()).await.is_err() {
        tracing::warn!(
            connections = shared.tasks.len(),
            "websocket connections did not close in time"
        );
    }
    Ok(())
}

/// State of all connections of one router.
pub(crate) struct Shared {
    hub: Arc<dyn Hub>,
    registry: Arc<Registry>,
    relay_key: Option<String>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    fn start(hub: Arc<dyn Hub>, options: Options) -> Arc<Self> {
        let registry = Arc::new(Registry::default());
        tokio::spawn(registry::wake_on_events(Arc::downgrade(&registry), hub.subscribe()));
        Arc::new(Self {
            hub,
            registry,
            relay_key: options.relay_key.filter(|key| !key.is_empty()),
            shutdown: options.shutdown,
            tasks: TaskTracker::new(),
        })
    }
}

async fn accept(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let target = uri.path_and_query().map_or("", |p| p.as_str());
    let route = route::parse(target);
    if route == Route::Events && !relay::may_connect(&headers, shared.relay_key.as_deref()) {
        return (
            StatusCode::FORBIDDEN,
            "This event relay needs its key (CODALAB_HUB_KEY).\n",
        )
            .into_response();
    }
    let wants_nudges = worker::wants_nudges(&headers);
    let tasks = shared.tasks.clone();

    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| {
            tasks.track_future(async move {
                match route {
                    Route::Main => main_connection(socket, &shared).await,
                    Route::Worker(id) => worker::connection(socket, &shared, &id, wants_nudges).await,
                    Route::Events => relay::connection(socket, &shared).await,
                    Route::Other => close(socket, close_code::ERROR, "no such route").await,
                }
            })
        })
}

/// `/main`: one frame with a worker id, one ping, normal close.
async fn main_connection(mut socket: WebSocket, shared: &Shared) {
    const PATIENCE: Duration = Duration::from_secs(60);
    let first = tokio::select! {
        frame = tokio::time::timeout(PATIENCE, next_text(&mut socket)) => frame.ok().flatten(),
        () = shared.shutdown.cancelled() => return close(socket, close_code::AWAY, "server shuts down").await,
    };
    if let Some(id) = first
        && !shared.registry.wake(&id)
    {
        tracing::debug!(worker = %id, "no websocket connection of this worker");
    }
    close(socket, close_code::NORMAL, "").await;
}

async fn next_text(socket: &mut WebSocket) -> Option<String> {
    loop {
        match socket.recv().await? {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Close(_)) | Err(_) => return None,
        }
    }
}

/// Sends a close frame and waits a moment for the answer, so that the peer sees the code and not a reset.
pub(crate) async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    if socket.send(Message::Close(Some(frame))).await.is_ok() {
        let drained = async { while let Some(Ok(_)) = socket.recv().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
    }
}
