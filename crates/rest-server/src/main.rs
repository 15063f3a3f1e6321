//! `cl-server`: the REST server as a process of its own, and account making for operators.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use domain::{Error, Result};
use hub::{Hub, LocalHub, RemoteHub, RemoteHubConfig};
use model::{Model, ModelOptions};
use rest_server::accounts::{self, Account};
use rest_server::listener::ListenerOptions;
use rest_server::telemetry::{MetricsAddress, serve_metrics};
use rest_server::{ServeOptions, Settings, open_state, serve};
use startup::logging::{self, Format};
use startup::{Home, stop_on_signals};
use tokio_util::sync::CancellationToken;

/// Serves the CodaLab REST API
#[derive(Parser)]
#[command(name = "cl-server", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Serve {
    /// Home directory (default: CODALAB_HOME, else ~/.codalab)
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Address to bind (default: server/rest_host of config.json)
    #[arg(long)]
    host: Option<String>,
    /// Port to bind, 0 for a free one (default: server/rest_port of config.json)
    #[arg(long)]
    port: Option<u16>,
    /// Processes of the old server; with --threads it gives the number of runtime threads
    #[arg(short, long, default_value_t = 1)]
    processes: usize,
    /// Threads per process of the old server
    #[arg(short, long, default_value_t = 50)]
    threads: usize,
    /// Log more
    #[arg(short, long)]
    debug: bool,
    /// Accepted for old scripts; programs do not change while they run
    #[arg(long, hide = true)]
    watch: bool,
    /// Address of the websocket server that relays events, e.g. ws://ws-server:2901
    #[arg(long, env = "CODALAB_HUB_URL")]
    hub_url: Option<String>,
    /// Key of the event relay
    #[arg(long, env = "CODALAB_HUB_KEY", hide_env_values = true, default_value = "")]
    hub_key: String,
}

#[derive(Subcommand)]
enum Command {
    /// Makes an account
    CreateUser {
        /// Login name
        name: String,
        /// E-mail address
        #[arg(long)]
        email: String,
        /// Read the password from standard input (its first line)
        #[arg(long, required = true)]
        password_stdin: bool,
        /// The e-mail address needs no verification
        #[arg(long)]
        verified: bool,
        /// Home directory (default: CODALAB_HOME, else ~/.codalab)
        #[arg(long, value_name = "DIR")]
        home: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = if arguments.serve.debug { "debug" } else { "info" };
    logging::start(level, Format::Json);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let wanted = arguments
        .serve
        .processes
        .saturating_mul(arguments.serve.threads)
        .clamp(1, cores.max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(wanted)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(Error::internal(format!("cannot start the runtime: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cl-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        None => run_server(arguments.serve).await,
        Some(Command::CreateUser {
            name,
            email,
            password_stdin: _,
            verified,
            home,
        }) => create_user(home, name, email, verified).await,
    }
}

async fn run_server(arguments: Serve) -> Result<()> {
    let shutdown = CancellationToken::new();
    stop_on_signals(&shutdown)?;
    let home = Home::open(&arguments.home.unwrap_or_else(Home::default_dir))?;
    let hub: Arc<dyn Hub> = match arguments.hub_url {
        Some(url) => Arc::new(RemoteHub::connect(RemoteHubConfig {
            url,
            key: arguments.hub_key,
        })),
        None => Arc::new(LocalHub::new()),
    };
    let state = open_state(&home, hub, Settings::from_env()?, shutdown).await?;
    let host = arguments.host.unwrap_or_else(|| home.config.rest_host.clone());
    let port = arguments.port.unwrap_or(home.config.rest_port);
    let options = ServeOptions {
        address: format!("{host}:{port}"),
        listener: ListenerOptions::from(&home.config.limits),
    };
    if let Some(at) = MetricsAddress::from_env()? {
        serve_metrics(state.clone(), &at).await?;
    }
    serve(state, options).await
}

async fn create_user(home: Option<PathBuf>, name: String, email: String, verified: bool) -> Result<()> {
    let home = Home::open(&home.unwrap_or_else(Home::default_dir))?;
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .map_err(|error| Error::usage(format!("Cannot read the password from standard input: {error}")))?;
    let password = input.lines().next().unwrap_or_default().to_owned();
    let options = ModelOptions {
        root_user_id: home.config.root_user_id.to_string(),
        root_user_name: home.config.root_user_name.clone(),
        ..ModelOptions::default()
    };
    let model = Model::connect(&home.engine_url(), &options).await?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64);
    let account = Account {
        user_name: name,
        email,
        password,
        is_verified: verified,
    };
    let created = accounts::create(&model, &home.config.default_user, account, now).await;
    model.close().await;
    let user = created?;
    let _ = writeln!(
        std::io::stderr(),
        "Created user {} with id {}.",
        user.user_name,
        user.user_id
    );
    Ok(())
}
