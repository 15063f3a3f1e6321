//! The instance itself: all services in this process, started in the order in which they need each other and ended in the
//! reverse.

use std::ffi::OsString;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use domain::config::ServerConfig;
use domain::error::Error;
use hub::{Hub, LocalHub};
use model::{Model, ModelOptions};
use rest_server::listener::{ListenerOptions, serve_counted};
use rest_server::telemetry::{MetricsAddress, serve_metrics};
use rest_server::{AppState, Settings as RestSettings};
use serde::{Deserialize, Serialize};
use storage::{Storage, StorageOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::{Credentials, RuntimeKind};

use super::account::{self, Given, OwnTokens};
use super::home::{Home, HomeLock, ServerInfo};
use super::settings::{Settings, update_state};
use super::{Result, port};

/// Between attempts to start a worker that ended with an error.
const WORKER_PAUSE: Duration = Duration::from_secs(5);
/// The worker saves its runs within this time, before the server that it talks to goes away.
const WORKER_PATIENCE: Duration = Duration::from_secs(10);
/// Work that outlives its request, such as storing what was uploaded, may take this long at the end.
const TASK_PATIENCE: Duration = Duration::from_secs(30);
/// Id of the worker inside; the same after every start, so that it takes up its runs.
const WORKER_ID: &str = "local";

/// What executes runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// Docker when an engine answers, else processes.
    Auto,
    /// Docker containers.
    Docker,
    /// Plain processes of this account.
    Process,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Runtime::Auto => "auto",
            Runtime::Docker => "docker",
            Runtime::Process => "process",
        }
    }
}

/// How to start an instance.
#[derive(Clone, Debug)]
pub struct Options {
    pub home: Home,
    pub host: String,
    /// None: the port of the last start, or the default.
    pub port: Option<u16>,
    /// None: no worker.
    pub runtime: Option<Runtime>,
}

impl Options {
    /// The arguments with which this program starts such an instance.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = ["start", "--local", "--host", &self.host, "--home"]
            .iter()
            .map(Into::into)
            .collect();
        arguments.push(self.home.root().into());
        if let Some(port) = self.port {
            arguments.extend(["--port".into(), port.to_string().into()]);
        }
        match self.runtime {
            Some(runtime) => arguments.extend(["--runtime".into(), runtime.name().into()]),
            None => arguments.push("--no-worker".into()),
        }
        arguments
    }
}

/// An instance that answers requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    pub info: ServerInfo,
    /// At the first start, the account that was made.
    pub root: Option<RootLogin>,
    /// A plain `cl` talks to this instance.
    pub is_default_instance: bool,
}

/// How to log in as root. Shown once, never stored or logged.
#[derive(Clone, Serialize, Deserialize)]
pub struct RootLogin {
    pub username: String,
    /// None if the environment gave the password.
    pub generated_password: Option<String>,
}

impl std::fmt::Debug for RootLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootLogin")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Runs an instance until this process is told to end. `announce` is called once, when it answers requests.
pub async fn run(options: Options, announce: impl FnOnce(&Ready)) -> Result<()> {
    let home = options.home.clone();
    home.create()?;
    let mut lock = home.lock()?.map_err(|info| already_running(&home, &info))?;
    let mut stop = Stop::listen()?;
    let parts = tokio::select! {
        parts = Parts::prepare(&options) => parts?,
        () = stop.asked() => return Ok(()),
    };
    let Parts {
        settings,
        listeners,
        port,
        address,
        model,
        ..
    } = &parts;
    let first = account::is_first_start(model, &home).await?;
    let root = if first {
        Some(account::make_root(model, &home, &parts.config, &parts.given).await?)
    } else {
        None
    };
    if !is_loopback(listeners) {
        account::refuse_default_password(model).await?;
    }
    let runtime = match options.runtime {
        None => None,
        Some(runtime) => Some(resolve(runtime).await?),
    };
    let token = if first {
        Some(account::token_for_cl(model).await?)
    } else {
        None
    };
    let login = token.as_ref().map(|token| (model.root_user_name(), token));
    update_state(&home, address, parts.former_address.as_deref(), login)?;
    let info = ServerInfo {
        pid: std::process::id(),
        address: address.clone(),
        port: *port,
        runtime: runtime_name(runtime).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let ready = Ready {
        info: info.clone(),
        root,
        is_default_instance: settings.is_default_instance(address),
    };
    let mut services = Services::start(parts, runtime, &home)?;
    lock.publish(&info)
        .map_err(|error| Error::internal(format!("cannot write server.json: {error}")))?;
    announce(&ready);
    account::first_start_is_over(&home)?;
    tracing::info!(address = info.address, runtime = info.runtime, home = %home.root().display(), "instance is running");
    let outcome = tokio::select! {
        () = stop.asked() => Ok(()),
        failure = services.failure() => Err(failure),
    };
    finish(services, stop, &mut lock).await;
    outcome
}

fn already_running(home: &Home, info: &ServerInfo) -> Error {
    if info.pid == 0 {
        return Error::conflict(format!(
            "another process is just starting an instance on {}",
            home.root().display()
        ));
    }
    Error::conflict(format!(
        "CodaLab is already running at {} (process {}, home {}); stop it with `codalab-service stop --local`",
        info.address,
        info.pid,
        home.root().display()
    ))
}

/// Ends everything; a second request to end cuts that short.
async fn finish(services: Services, mut stop: Stop, lock: &mut HomeLock) {
    tracing::info!("stopping");
    tokio::select! {
        () = services.stop() => {}
        () = stop.asked() => {
            tracing::warn!("stopping at once, as asked twice");
            std::process::exit(1);
        }
    }
    lock.clear();
}

/// What must be in order before anything is served.
struct Parts {
    settings: Settings,
    config: ServerConfig,
    given: Given,
    listeners: Vec<TcpListener>,
    port: u16,
    address: String,
    former_address: Option<String>,
    model: Model,
    storage: Storage,
}

impl Parts {
    async fn prepare(options: &Options) -> Result<Parts> {
        let home = &options.home;
        let given = Given::from_environment();
        let mut settings = Settings::load(home, &mut |bytes| rand::fill(bytes))?;
        let (listeners, port) = port::listen(&options.host, settings.port(options.port))?;
        let address = address(&options.host, port);
        let former_address = settings.set_address(&address, port);
        let has_database = home.database().exists();
        if let (Some(name), false) = (&given.username, has_database || settings.uses_mysql()) {
            settings.set_root_user_name(name);
        }
        settings.save(home)?;
        let config = ServerConfig::from_value(&settings.value())?;
        let model_options = ModelOptions {
            root_user_id: config.root_user_id.to_string(),
            root_user_name: config.root_user_name.clone(),
            ..ModelOptions::default()
        };
        let model = Model::connect(&settings.engine_url(home), &model_options).await?;
        let root = home.root().to_path_buf();
        let storage = tokio::task::spawn_blocking(move || Storage::open(&root, StorageOptions::default()))
            .await
            .map_err(|error| Error::internal(format!("opening the bundle store: {error}")))??;
        Ok(Parts {
            settings,
            config,
            given,
            listeners,
            port,
            address,
            former_address,
            model,
            storage,
        })
    }
}

fn address(host: &str, port: u16) -> String {
    match host {
        "" | "localhost" | "0.0.0.0" | "::" | "[::]" | "127.0.0.1" | "::1" | "[::1]" => {
            format!("http://localhost:{port}")
        }
        host if host.contains(':') && !host.starts_with('[') => format!("http://[{host}]:{port}"),
        host => format!("http://{host}:{port}"),
    }
}

fn is_loopback(listeners: &[TcpListener]) -> bool {
    listeners
        .iter()
        .all(|listener| listener.local_addr().is_ok_and(|address| address.ip().is_loopback()))
}

async fn resolve(runtime: Runtime) -> Result<RuntimeKind> {
    let docker = runtime != Runtime::Process && worker::docker_answers().await;
    match runtime {
        Runtime::Docker if !docker => Err(Error::usage(
            "no Docker engine answers; start one (tools/docker does), or use --runtime process",
        )),
        _ if docker => Ok(RuntimeKind::Docker),
        _ => Ok(RuntimeKind::Process),
    }
}

fn runtime_name(runtime: Option<RuntimeKind>) -> &'static str {
    match runtime {
        Some(RuntimeKind::Docker) => "docker",
        Some(RuntimeKind::Process) => "process",
        Some(RuntimeKind::Auto) => "auto",
        None => "none",
    }
}

/// The tasks of a running instance, in two groups: the worker ends first, while the server still answers it.
struct Services {
    serving: JoinSet<Result<()>>,
    working: JoinSet<()>,
    stop_serving: CancellationToken,
    stop_working: CancellationToken,
    state: AppState,
}

impl Services {
    fn start(parts: Parts, runtime: Option<RuntimeKind>, home: &Home) -> Result<Services> {
        let (stop_serving, stop_working) = (CancellationToken::new(), CancellationToken::new());
        let (mut serving, mut working) = (JoinSet::new(), JoinSet::new());
        let hub: Arc<dyn Hub> = Arc::new(LocalHub::new());
        let Parts {
            config,
            listeners,
            address,
            model,
            storage,
            ..
        } = parts;

        let manager = bundle_manager::Config::from(&config);
        serving.spawn(bundle_manager::run(
            model.clone(),
            storage.clone(),
            Arc::clone(&hub),
            manager,
            stop_serving.clone(),
        ));

        let state = AppState::new(
            model.clone(),
            storage,
            Arc::clone(&hub),
            config,
            RestSettings::from_env()?,
            stop_serving.clone(),
        );
        let websockets = ws_server::Options {
            relay_key: None,
            shutdown: stop_serving.clone(),
        };
        let router = rest_server::router(state.clone()).merge(ws_server::router_with(hub, websockets));
        // Several instances may share a machine, so metrics are for those who ask.
        if let Some(at) = MetricsAddress::from_env()?.filter(|at| at.is_required) {
            let (state, stop) = (state.clone(), stop_serving.clone());
            serving.spawn(async move {
                serve_metrics(state, &at).await?;
                stop.cancelled().await;
                Ok(())
            });
        }
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)
                .map_err(|error| Error::internal(format!("cannot use the listening socket: {error}")))?;
            let (router, stop) = (router.clone(), stop_serving.clone());
            let traffic = Arc::clone(&state.traffic);
            serving.spawn(async move {
                let options = ListenerOptions::from(&traffic.limits());
                serve_counted(listener, router, stop, options, &traffic)
                    .await
                    .map_err(|error| Error::internal(format!("the HTTP server ended: {error}")))
            });
        }

        if let Some(runtime) = runtime {
            let tokens = Credentials::Tokens(Arc::new(OwnTokens::new(model)));
            let config = worker::Config {
                id: Some(WORKER_ID.to_owned()),
                runtime,
                ..worker::Config::new(address, tokens, home.worker())
            };
            working.spawn(keep_working(config, stop_working.clone()));
        }
        Ok(Services {
            serving,
            working,
            stop_serving,
            stop_working,
            state,
        })
    }

    /// Waits until a service ends that should not.
    async fn failure(&mut self) -> Error {
        match self.serving.join_next().await {
            Some(Ok(Ok(()))) | None => Error::internal("a service ended without a reason"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => Error::internal(format!("a service crashed: {error}")),
        }
    }

    async fn stop(mut self) {
        self.stop_working.cancel();
        if tokio::time::timeout(WORKER_PATIENCE, drain(&mut self.working))
            .await
            .is_err()
        {
            tracing::warn!("the worker does not end; its runs are picked up at the next start");
        }
        self.stop_serving.cancel();
        drain(&mut self.serving).await;
        rest_server::finish(&self.state, TASK_PATIENCE).await;
    }
}

async fn drain<T: 'static>(tasks: &mut JoinSet<T>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a service crashed");
        }
    }
}

/// A worker that fails is started again, for it holds runs.
async fn keep_working(config: worker::Config, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match worker::run(config.clone(), stop.clone()).await {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, "the worker ended; it is started again"),
        }
        tokio::select! {
            () = tokio::time::sleep(WORKER_PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Requests to end: TERM, INT and HUP.
struct Stop {
    signals: [tokio::signal::unix::Signal; 3],
}

impl Stop {
    fn listen() -> Result<Stop> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::internal(format!("cannot listen for signals: {error}")));
        Ok(Stop {
            signals: [
                listen(SignalKind::terminate())?,
                listen(SignalKind::interrupt())?,
                listen(SignalKind::hangup())?,
            ],
        })
    }

    async fn asked(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.signals;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_clients_type() {
        for (host, expected) in [
            ("localhost", "http://localhost:7"),
            ("127.0.0.1", "http://localhost:7"),
            ("0.0.0.0", "http://localhost:7"),
            ("192.0.2.1", "http://192.0.2.1:7"),
            ("2001:db8::1", "http://[2001:db8::1]:7"),
        ] {
            assert_eq!(address(host, 7), expected);
        }
    }
}
