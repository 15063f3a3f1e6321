//! The command line of `codalab-service`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use domain::error::Error;
use startup::logging::{self, Format};

use crate::local::{self, Home, Options, Ready, Runtime, Started, Status};
use crate::sample;

/// Runs a CodaLab system.
#[derive(Debug, Parser)]
#[command(name = "codalab-service", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start an instance in the background. Says so if one runs already.
    Start(StartArgs),
    /// Stop the instance. Runs of Docker containers go on and are picked up by the next start.
    Stop(Which),
    /// Say whether the instance runs, and where.
    Status(Which),
    /// Show the instance's log.
    Logs(LogsArgs),
    /// Run an instance in the foreground (this is `cl server`).
    Server(ServerArgs),
    /// Make a worksheet that has one example of everything that worksheets can show, on the instance that `cl` is on.
    ///
    /// Prints the uuid of the worksheet. Does nothing if there is a worksheet of that name.
    SampleWorksheet(SampleArgs),
}

#[derive(Debug, Args)]
struct Which {
    /// The embedded instance of a home directory: one process, nothing else needed.
    #[arg(long, required = true)]
    local: bool,
    /// Directory of the instance [default: CODALAB_HOME, else ~/.codalab].
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct StartArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    serving: Serving,
    /// What executes runs: Docker containers, plain processes, or Docker when an engine answers.
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
    runtime: Runtime,
    /// Start no worker; connect some with `cl-worker`.
    #[arg(long)]
    no_worker: bool,
    /// Stay in the foreground and log to standard error.
    #[arg(long)]
    foreground: bool,
    /// Report the outcome of the start as one line of JSON (the background process does).
    #[arg(long, hide = true)]
    report: bool,
}

#[derive(Debug, Args)]
struct Serving {
    /// Address to listen on; beyond loopback, others can reach the instance.
    #[arg(long, default_value = "localhost")]
    host: String,
    /// Port to listen on; 0 picks a free one [default: that of the last start, else 2900].
    #[arg(long, short, value_name = "N")]
    port: Option<u16>,
}

#[derive(Debug, Args)]
struct ServerArgs {
    #[command(flatten)]
    serving: Serving,
    /// Directory of the instance [default: CODALAB_HOME, else ~/.codalab].
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Run a worker too.
    #[arg(long)]
    with_worker: bool,
    /// What executes runs of that worker.
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
    runtime: Runtime,
}

#[derive(Debug, Args)]
struct LogsArgs {
    #[command(flatten)]
    which: Which,
    /// Go on as lines are added.
    #[arg(long, short)]
    follow: bool,
    /// How many lines to begin with.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    tail: usize,
}

#[derive(Debug, Args)]
struct SampleArgs {
    /// The command line to use; this one's or the Python one.
    #[arg(long, value_name = "PATH", default_value = "cl")]
    cl_executable: PathBuf,
    /// Show bundles and worksheets that exist instead of making some, where that is possible.
    #[arg(long)]
    preview: bool,
    /// 100 bundles or worksheets in each section instead of 3.
    #[arg(long)]
    large: bool,
    /// Remove all that earlier calls have made, after its runs have finished, and make nothing.
    #[arg(long)]
    cleanup: bool,
    /// Then wait for the runs on the worksheet and compare what `cl print` shows, line by line.
    #[arg(long)]
    test_print: bool,
}

/// Parses the arguments, does what they say, and gives the exit status.
pub fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("codalab-service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> local::Result<ExitCode> {
    match command {
        Command::Start(args) => start(args),
        Command::Server(args) => foreground(
            &Options {
                home: Home::locate(args.home.as_deref())?,
                host: args.serving.host,
                port: args.serving.port,
                runtime: args.with_worker.then_some(args.runtime),
            },
            false,
        ),
        Command::SampleWorksheet(args) => sample_worksheet(args),
        Command::Stop(which) => stop(&Home::locate(which.home.as_deref())?),
        Command::Status(which) => Ok(status(&Home::locate(which.home.as_deref())?)),
        Command::Logs(args) => {
            let home = Home::locate(args.which.home.as_deref())?;
            local::logs(&home, args.tail, args.follow, &mut std::io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn start(args: StartArgs) -> local::Result<ExitCode> {
    let options = Options {
        home: Home::locate(args.which.home.as_deref())?,
        host: args.serving.host,
        port: args.serving.port,
        runtime: (!args.no_worker).then_some(args.runtime),
    };
    if args.foreground || args.report {
        return foreground(&options, args.report);
    }
    match local::start_in_background(&options)? {
        Started::Now(ready) => print_ready(&options.home, &ready),
        Started::Already(info) => println!(
            "CodaLab is already running at {} (process {}, home {}).",
            info.address,
            info.pid,
            options.home.root().display()
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the instance in this process until it is told to end.
fn foreground(options: &Options, report: bool) -> local::Result<ExitCode> {
    logging::start("info", Format::Text);
    let home = options.home.clone();
    let announce = move |ready: &Ready| {
        if report {
            local::report(Ok(ready));
        } else {
            print_ready(&home, ready);
        }
    };
    let outcome = runtime()?.block_on(local::run(options.clone(), announce));
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            if report {
                local::report(Err(&error));
                tracing::error!("{error}");
                return Ok(ExitCode::FAILURE);
            }
            Err(error)
        }
    }
}

fn stop(home: &Home) -> local::Result<ExitCode> {
    match local::stop(home)? {
        Some(info) => println!("Stopped the instance at {} (process {}).", info.address, info.pid),
        None => println!("No instance runs on {}.", home.root().display()),
    }
    Ok(ExitCode::SUCCESS)
}

fn status(home: &Home) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let (text, code) = match local::status(home) {
        Status::Stopped => (
            format!("state:   stopped\nhome:    {}\n", home.root().display()),
            ExitCode::FAILURE,
        ),
        Status::Running { info, answers } => (
            format!(
                "state:   {}\naddress: {}\nprocess: {}\nruntime: {}\nversion: {}\nhome:    {}\nlog:     {}\n",
                if answers {
                    "running"
                } else {
                    "running, but it does not answer"
                },
                info.address,
                info.pid,
                info.runtime,
                info.version,
                home.root().display(),
                home.log().display()
            ),
            if answers { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        ),
    };
    // A reader that went away has seen enough.
    let _ = out.write_all(text.as_bytes());
    code
}

fn sample_worksheet(args: SampleArgs) -> sample::Result<ExitCode> {
    let options = sample::Options {
        cl: args.cl_executable,
        large: args.large,
        preview: args.preview,
    };
    if args.cleanup {
        let (bundles, worksheets) = sample::clean_up(&options)?;
        println!("Removed {bundles} bundles and {worksheets} worksheets.");
        return Ok(ExitCode::SUCCESS);
    }
    let made = sample::create(&options)?;
    if !made.is_new {
        eprintln!("The sample worksheet exists already; nothing was made. --cleanup removes it.");
    }
    println!("{}", made.uuid);
    if args.test_print {
        sample::test_print(&options)?;
        eprintln!("cl print shows what it should.");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_ready(home: &Home, ready: &Ready) {
    println!(
        "CodaLab is running at {} (process {}).",
        ready.info.address, ready.info.pid
    );
    println!("Home: {}", home.root().display());
    match ready.info.runtime.as_str() {
        "docker" => println!("Runs are executed in Docker containers."),
        "process" => println!(
            "Runs are executed as plain processes of this account, without a container around them; run only what you trust."
        ),
        _ => println!(
            "No worker was started; connect one with `cl-worker --server {}`.",
            ready.info.address
        ),
    }
    if let Some(root) = &ready.root {
        println!("Root account: {}", root.username);
        match &root.generated_password {
            Some(password) => println!("Its password, shown only this once: {password}"),
            None => println!("Its password is the one that CODALAB_PASSWORD gave."),
        }
    }
    if !ready.is_default_instance {
        println!("To use it, switch to it first: cl work local::");
    }
}

fn runtime() -> local::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("cannot start: {error}")))
}
