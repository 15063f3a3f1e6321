//! The command line of `cl-worker`, and how it becomes a [`Config`].

use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use worker::{Config, Credentials, Error, Gpus, Result, RuntimeKind, Secret};

/// CodaLab worker: runs bundles on this machine.
#[derive(Debug, Parser)]
#[command(name = "cl-worker", version)]
pub struct Args {
    /// Tag that allows for scheduling runs on this worker; letters, digits and hyphens
    #[arg(long)]
    tag: Option<String>,
    /// URL of the CodaLab server, <http|https>://<host>[:<port>]
    #[arg(long, default_value = "https://worksheets.codalab.org")]
    server: String,
    /// URL of the websocket server [default: --server with ws(s):// and /ws appended]
    #[arg(long)]
    ws_server: Option<String>,
    /// Directory where to store temporary bundle data, including dependencies and the data of running bundles
    #[arg(long, default_value = "codalab-worker-scratch")]
    work_dir: PathBuf,
    /// Prefix of the names of the Docker networks
    #[arg(long, default_value = "codalab_worker_network")]
    network_prefix: String,
    /// Comma-separated list of CPUs in which bundles may run, or ALL
    #[arg(long, default_value = "ALL")]
    cpuset: String,
    /// Comma-separated list of GPUs (indices or UUIDs) which bundles may use, ALL, or NONE
    #[arg(long, default_value = "ALL")]
    gpuset: String,
    /// Maximum size of the dependency cache (e.g. 10g)
    #[arg(long, value_name = "SIZE", default_value = "10g", value_parser = size)]
    max_work_dir_size: u64,
    /// Maximum size of the cache of Docker images; without it images are never removed
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_image_cache_size: Option<u64>,
    /// Refuse to run Docker images that are larger
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_image_size: Option<u64>,
    /// Limit the amount of memory offered to bundles
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_memory: Option<u64>,
    /// File with user name and password, each on a line of its own; readable by its owner only
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Log more
    #[arg(long)]
    verbose: bool,
    /// Exit when nothing is running any more
    #[arg(long)]
    exit_when_idle: bool,
    /// How long without runs counts as idle
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    idle_seconds: u64,
    /// What executes bundles
    #[arg(long, value_enum, default_value_t = Runtime::Docker)]
    bundle_runtime: Runtime,
    /// Longest time between two check-ins
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    checkin_frequency_seconds: u64,
    /// Internal ID of this worker [default: <hostname>(<pid>), kept for the next start]
    #[arg(long)]
    id: Option<String>,
    /// Name of the user group whose members may use this worker too
    #[arg(long)]
    group: Option<String>,
    /// Only run bundles that ask for this worker's tag
    #[arg(long)]
    tag_exclusive: bool,
    /// When terminated, stop all runs and hand them back to the server
    #[arg(long)]
    pass_down_termination: bool,
    /// Remove the work directory on a clean exit
    #[arg(long)]
    delete_work_dir_on_exit: bool,
    /// Exit after this many runs
    #[arg(long, value_name = "N", default_value_t = 999_999_999)]
    exit_after_num_runs: u64,
    /// Accepted for old scripts: a worker that itself fails always exits at once, with status 1
    #[arg(long)]
    exit_on_exception: bool,
    /// Total attempts to download a dependency
    #[arg(long, value_name = "N", default_value_t = 3)]
    download_dependencies_max_retries: u32,
    /// Size of /dev/shm of run containers, GiB
    #[arg(long, value_name = "GB", default_value_t = 1)]
    shared_memory_size_gb: u64,
    /// Tell the server that this worker may disappear at any time
    #[arg(long)]
    preemptible: bool,
    #[arg(long, hide = true)]
    slots: Option<u32>,
}

/// Choices of `--bundle-runtime`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Runtime {
    /// Docker containers
    Docker,
    /// Plain processes, for bundles of your own account only
    Process,
    /// Docker when an engine answers, else plain processes
    Auto,
}

impl Args {
    pub fn verbose(&self) -> bool {
        self.verbose
    }

    /// The worker's configuration. May prompt for user name and password.
    pub fn into_config(self) -> Result<Config> {
        if let Some(tag) = &self.tag {
            check_tag(tag)?;
        }
        let mut cpuset = parse_cpuset(&self.cpuset)?;
        if let Some(slots) = self.slots {
            tracing::warn!("--slots is deprecated; use --cpuset to limit the CPUs that bundles may use");
            cpuset = cpuset.or_else(|| Some((0..slots).collect()));
        }
        let defaults = Config::new(self.server, credentials(self.password_file.as_deref())?, self.work_dir);
        Ok(Config {
            ws_server: self.ws_server,
            id: self.id,
            runtime: match self.bundle_runtime {
                Runtime::Docker => RuntimeKind::Docker,
                Runtime::Process => RuntimeKind::Process,
                Runtime::Auto => RuntimeKind::Auto,
            },
            tag: self.tag,
            tag_exclusive: self.tag_exclusive,
            group: self.group,
            network_prefix: self.network_prefix,
            cpuset,
            gpuset: parse_gpuset(&self.gpuset),
            max_work_dir_size: self.max_work_dir_size,
            max_image_cache_size: self.max_image_cache_size,
            max_image_size: self.max_image_size,
            max_memory: self.max_memory,
            exit_when_idle: self.exit_when_idle,
            idle_time: Duration::from_secs(self.idle_seconds),
            checkin_interval: Duration::from_secs(self.checkin_frequency_seconds),
            pass_down_termination: self.pass_down_termination,
            delete_work_dir_on_exit: self.delete_work_dir_on_exit,
            exit_after_num_runs: self.exit_after_num_runs,
            download_attempts: self.download_dependencies_max_retries,
            shared_memory_size: self.shared_memory_size_gb.saturating_mul(1 << 30),
            preemptible: self.preemptible,
            ..defaults
        })
    }
}

fn size(text: &str) -> std::result::Result<u64, String> {
    let bytes = domain::size::parse(text).map_err(|error| error.to_string())?;
    u64::try_from(bytes).map_err(|_| format!("Invalid size: {text}: it must not be negative"))
}

fn check_tag(tag: &str) -> Result<()> {
    let rest = tag.replace('-', "");
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "Worker tag must only contain letters, digits and hyphens, but it is {tag:?}"
    )))
}

fn parse_cpuset(text: &str) -> Result<Option<Vec<u32>>> {
    if text == "ALL" {
        return Ok(None);
    }
    let parsed: std::result::Result<Vec<u32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    parsed.map(Some).map_err(|_| {
        Error::Usage("CPUSET_STR invalid format: must be ALL or a list of integers with commas between them".to_owned())
    })
}

fn parse_gpuset(text: &str) -> Gpus {
    match text {
        "ALL" => Gpus::All,
        "" | "NONE" => Gpus::None,
        list => Gpus::Listed(list.split(',').map(|part| part.trim().to_owned()).collect()),
    }
}

/// From the file, else from the environment, else from the terminal.
fn credentials(password_file: Option<&Path>) -> Result<Credentials> {
    let (username, password) = match password_file {
        Some(file) => read_password_file(file)?,
        None => (
            from_environment_or("CODALAB_USERNAME", || prompt("Username: "))?,
            from_environment_or("CODALAB_PASSWORD", || hidden_prompt("Password: "))?,
        ),
    };
    Ok(Credentials::Password {
        username,
        password: Secret::new(password),
    })
}

fn read_password_file(file: &Path) -> Result<(String, String)> {
    let failed = |error: std::io::Error| Error::Usage(format!("{}: {error}", file.display()));
    let mode = std::fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let name = file.display();
        return Err(Error::Usage(format!(
            "Permissions on password file are too lax.\nOnly the user should be allowed to access it: chmod 600 {name}"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    match (lines.next(), lines.next()) {
        (Some(username), Some(password)) => Ok((username, password)),
        _ => Err(Error::Usage(format!(
            "{}: the first line must be the user name, the second the password",
            file.display()
        ))),
    }
}

fn from_environment_or(name: &str, ask: impl FnOnce() -> Result<String>) -> Result<String> {
    match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(_) if std::io::stdin().is_terminal() => ask(),
        Err(_) => Err(Error::Usage(format!(
            "No credentials: set {name}, or use --password-file"
        ))),
    }
}

fn prompt(text: &str) -> Result<String> {
    let failed = |error: std::io::Error| Error::Usage(format!("cannot read from the terminal: {error}"));
    let mut terminal = std::io::stderr();
    terminal
        .write_all(text.as_bytes())
        .and_then(|()| terminal.flush())
        .map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}

/// A prompt without echo.
fn hidden_prompt(text: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).ok();
    if let Some(mut silent) = before.clone() {
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&stdin, OptionalActions::Now, &silent);
    }
    let answer = prompt(text);
    if let Some(before) = before {
        let _ = tcsetattr(&stdin, OptionalActions::Now, &before);
        let _ = std::io::stderr().write_all(b"\n");
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_letters_digits_and_hyphens() {
        for (tag, allowed) in [
            ("gpu", true),
            ("a-1", true),
            ("-", false),
            ("", false),
            ("a_b", false),
            ("a.b", false),
            ("ä", false),
        ] {
            assert_eq!(check_tag(tag).is_ok(), allowed, "{tag}");
        }
    }

    #[test]
    fn sets_of_processors_and_gpus_are_read() {
        assert_eq!(parse_cpuset("ALL").unwrap(), None);
        assert_eq!(parse_cpuset("0,2").unwrap(), Some(vec![0, 2]));
        for bad in ["", "a", "1;2", "-1"] {
            assert!(
                parse_cpuset(bad)
                    .unwrap_err()
                    .to_string()
                    .starts_with("CPUSET_STR invalid format")
            );
        }
        assert_eq!(parse_gpuset(""), Gpus::None);
        assert_eq!(parse_gpuset("NONE"), Gpus::None);
        assert_eq!(parse_gpuset("0,GPU-a"), Gpus::Listed(vec!["0".into(), "GPU-a".into()]));
    }

    #[test]
    fn a_password_file_must_be_private_and_complete() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, " ann \n secret \n").unwrap();
        let set = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o644);
        let error = read_password_file(&file).unwrap_err().to_string();
        assert!(error.starts_with("Permissions on password file are too lax.") && error.contains("chmod 600"));
        set(0o600);
        assert_eq!(
            read_password_file(&file).unwrap(),
            ("ann".to_owned(), "secret".to_owned())
        );
        std::fs::write(&file, "ann").unwrap();
        assert!(read_password_file(&file).is_err());
    }

    #[test]
    fn options_and_defaults_are_those_of_the_contract() {
        let args = Args::try_parse_from(["cl-worker"]).unwrap();
        assert_eq!((args.max_work_dir_size, args.checkin_frequency_seconds), (10 << 30, 5));
        assert!(matches!(args.bundle_runtime, Runtime::Docker));
        assert!(Args::try_parse_from(["cl-worker", "--bundle-runtime", "singularity"]).is_err());
        assert!(
            Args::try_parse_from([
                "cl-worker",
                "--max-memory",
                "1.5g",
                "--slots",
                "2",
                "--bundle-runtime",
                "auto"
            ])
            .is_ok()
        );
        assert!(Args::try_parse_from(["cl-worker", "extra"]).is_err());
    }
}
