//! The program around the router: opening what it needs, listening, ending in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::{Error, Result};
use hub::Hub;
use model::{Model, ModelOptions};
use startup::Home;
use storage::{Storage, StorageOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::listener::{ListenerOptions, serve_counted};
use crate::state::{AppState, Settings};

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Address to bind, `host:port`; port 0 picks a free one.
    pub address: String,
    /// See [`ListenerOptions`].
    pub listener: ListenerOptions,
}

/// Opens database and store of a home and puts the state together.
pub async fn open_state(
    home: &Home,
    hub: Arc<dyn Hub>,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<AppState> {
    let options = ModelOptions {
        root_user_id: home.config.root_user_id.to_string(),
        root_user_name: home.config.root_user_name.clone(),
        ..ModelOptions::default()
    };
    let model = Model::connect(&home.engine_url(), &options).await?;
    let dir = home.dir.clone();
    let storage = tokio::task::spawn_blocking(move || Storage::open(&dir, StorageOptions::default()))
        .await
        .map_err(|error| Error::internal(format!("opening the bundle store failed: {error}")))??;
    Ok(AppState::new(
        model,
        storage,
        hub,
        home.config.clone(),
        settings,
        shutdown,
    ))
}

/// Serves until the state's shutdown token is cancelled and what was running has ended.
pub async fn serve(state: AppState, options: ServeOptions) -> Result<()> {
    let listener = TcpListener::bind(&options.address)
        .await
        .map_err(|error| Error::internal(format!("Cannot listen on {}: {error}", options.address)))?;
    let address = listener
        .local_addr()
        .map_err(|error| Error::internal(format!("the listening socket has no address: {error}")))?;
    tracing::info!(%address, "REST server listens");
    let internal = state.settings.internal_url.clone();
    state
        .join_peers(&internal.unwrap_or_else(|| internal_url(address)))
        .await?;
    let router = crate::router(state.clone());
    let shutdown = state.shutdown.clone();
    serve_counted(listener, router, shutdown, options.listener, &state.traffic).await?;
    finish(&state, options.listener.drain).await;
    Ok(())
}

/// Where the other servers of this network find this one: its address, or the name of the machine when it listens on all
/// addresses.
fn internal_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let machine = rustix::system::uname();
        let name = machine.nodename().to_string_lossy().into_owned();
        return format!("http://{name}:{}", address.port());
    }
    format!("http://{address}")
}

/// Waits for work that outlives its request, then closes the database.
pub async fn finish(state: &AppState, patience: Duration) {
    state.tasks.close();
    if tokio::time::timeout(patience, state.tasks.wait()).await.is_err() {
        tracing::warn!(tasks = state.tasks.len(), "giving up on uploads that are still running");
    }
    state.leave_peers().await;
    state.model.close().await;
}
