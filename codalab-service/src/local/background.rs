//! `start` in the background: the program runs itself again, apart from the terminal, and waits for its one-line report.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use domain::error::Error;
use serde::{Deserialize, Serialize};

use super::home::Home;
use super::instance::{Options, Ready};
use super::{Result, ServerInfo};

/// How many pools the memory allocator of glibc keeps for threads. Its eight per core hold on to what many requests at
/// once have needed; with few an instance stays much smaller. Only the environment can say it.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// At this size the log of earlier runs is set aside as `service.log.1`.
const LOG_LIMIT: u64 = 16 << 20;

/// What came of a start.
#[derive(Debug)]
pub enum Started {
    Now(Ready),
    Already(ServerInfo),
}

/// As the user has set it, else one per four cores, at least two.
fn arenas() -> OsString {
    std::env::var_os(ARENAS).unwrap_or_else(|| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (cores / 4).max(2).to_string().into()
    })
}

/// The line that the background process writes to its standard output.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Ready(Ready),
    Failed(String),
}

/// Starts the instance in a process of its own and returns when it answers requests, or says why it does not.
pub fn start_in_background(options: &Options) -> Result<Started> {
    if let Some(info) = options.home.running() {
        return Ok(Started::Already(info));
    }
    options.home.create()?;
    let failed = |what: &str, error: std::io::Error| Error::internal(format!("{what}: {error}"));
    let log = open_log(&options.home).map_err(|error| failed("cannot open the log", error))?;
    let program = std::env::current_exe().map_err(|error| failed("cannot find this program", error))?;
    let mut child = Command::new(program)
        .env(ARENAS, arenas())
        .args(options.arguments())
        .arg("--report")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(|error| failed("cannot start the background process", error))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| failed("cannot read the report of the background process", error))?;
    }
    match serde_json::from_str(&line) {
        Ok(Report::Ready(ready)) => Ok(Started::Now(ready)),
        Ok(Report::Failed(message)) => Err(Error::usage(message)),
        Err(_) => Err(Error::internal(format!(
            "the background process ended before it was ready; the end of {}:\n{}",
            options.home.log().display(),
            super::control::tail(&options.home.log(), 10).unwrap_or_default()
        ))),
    }
}

/// In the background process: tells the one who waits, once.
pub fn report(outcome: std::result::Result<&Ready, &Error>) {
    let report = match outcome {
        Ok(ready) => Report::Ready(ready.clone()),
        Err(error) => Report::Failed(error.to_string()),
    };
    // Nobody may be waiting any more; the instance runs all the same.
    if let Ok(line) = serde_json::to_string(&report) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

fn open_log(home: &Home) -> std::io::Result<fs::File> {
    let path = home.log();
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
