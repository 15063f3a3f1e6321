//! Prints the figures that the product promises, each measured in this run: `make bench`.
//!
//! Starts its own local instances with the release binaries (`target/release`, or `CODALAB_BIN_DIR`), on private homes
//! and ports, and talks to them as a user does: through `cl`, and through the REST API where only the moment of a state
//! change matters. Nothing is asserted; a figure that could not be measured says why.

#[path = "support/instance.rs"]
mod instance;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

const PASSWORD: &str = "bench-password-1";
const IMAGE: &str = "codalab/default-cpu:latest";
const GIB: u64 = 1 << 30;

type Result<T> = std::result::Result<T, String>;

/// One line of the table: what was measured, the figure, and what the product promises.
struct Row {
    what: String,
    measured: String,
    promise: String,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) == Some("--measure") {
        measure_child(&arguments[2..]);
        return;
    }
    let mut rows = Vec::new();
    report(&mut rows, "local instance, process runtime", process_figures);
    report(&mut rows, "local instance, Docker runtime", docker_figures);
    print_table(&rows);
}

fn report(rows: &mut Vec<Row>, what: &str, figures: fn(&mut Vec<Row>) -> Result<()>) {
    if let Err(error) = figures(rows) {
        rows.push(Row {
            what: what.into(),
            measured: format!("not measured: {error}"),
            promise: String::new(),
        });
    }
}

fn process_figures(rows: &mut Vec<Row>) -> Result<()> {
    let instance = Instance::start("process")?;
    std::thread::sleep(Duration::from_secs(5));
    rows.push(row(
        "memory of the idle local instance (RSS)",
        mb(instance.rss_kib("VmRSS")),
        "under 100 MB",
    ));
    instance.cl(&["status"])?;
    let (wall, memory) = instance.measured(&["status"], 20)?;
    rows.push(row("cl status: wall time, median of 20", ms(wall), "under 20 ms"));
    rows.push(row("cl status: peak memory", mb(memory), "under 25 MB"));
    let ready = instance.time_to_ready(20)?;
    rows.push(row(
        "cl run true returned → ready, process, median of 20",
        ms(ready),
        "under 300 ms",
    ));
    upload_figures(rows, &instance)
}

fn docker_figures(rows: &mut Vec<Row>) -> Result<()> {
    let bare = bare_docker_run(10)?;
    let instance = Instance::start("docker")?;
    let ready = instance.time_to_ready(10)?;
    rows.push(row("docker run --rm IMAGE true, median of 10", ms(bare), "(the peer)"));
    let limit = format!(
        "under 400 ms + {} = {}",
        ms(bare),
        ms(bare + Duration::from_millis(400))
    );
    rows.push(row(
        "cl run true returned → ready, Docker, median of 10",
        ms(ready),
        &limit,
    ));
    Ok(())
}

fn upload_figures(rows: &mut Vec<Row>, instance: &Instance) -> Result<()> {
    let source = instance.home.join("one-gib");
    random_file(&source, GIB)?;
    let copy = instance.home.join("one-gib.copy");
    let mut copies = Vec::new();
    let mut uploads = Vec::new();
    instance.reset_peak();
    for _ in 0..3 {
        let started = Instant::now();
        copy_and_sync(&source, &copy)?;
        copies.push(started.elapsed());
        fs::remove_file(&copy).map_err(|error| error.to_string())?;
        let started = Instant::now();
        let uuid = instance.cl(&["upload", source.to_str().unwrap_or_default()])?;
        uploads.push(started.elapsed());
        instance.cl(&["rm", uuid.trim()])?;
    }
    let (copy, upload) = (median(&mut copies), median(&mut uploads));
    let ratio = copy.as_secs_f64() / upload.as_secs_f64();
    rows.push(row("cp + fsync of 1 GiB, median of 3", ms(copy), "(the peer)"));
    rows.push(row("cl upload of 1 GiB, median of 3", ms(upload), ""));
    rows.push(row(
        "cl upload: speed relative to cp + fsync",
        format!("{ratio:.2}"),
        "0.5 or more",
    ));
    let peak = instance.rss_kib("VmHWM");
    rows.push(row("server's peak memory during the uploads", mb(peak), "under 100 MB"));
    fs::remove_file(&source).map_err(|error| error.to_string())
}

/// A local instance of its own, stopped and removed on drop.
struct Instance {
    home: PathBuf,
    port: u16,
    pid: u32,
}

impl Instance {
    fn start(runtime: &str) -> Result<Self> {
        let home = std::env::temp_dir().join(format!("codalab-bench-{runtime}-{}", std::process::id()));
        fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        let port = testkit::free_port();
        let mut instance = Self { home, port, pid: 0 };
        let text = port.to_string();
        let home = instance.home.display().to_string();
        let arguments = [
            "start",
            "--local",
            "--home",
            &home,
            "--port",
            &text,
            "--runtime",
            runtime,
        ];
        run(instance.command("codalab-service").args(arguments))?;
        instance.pid = listening_pid(&instance.home)?;
        instance.cl(&["work", &format!("{}::", instance.address())])?;
        Ok(instance)
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn command(&self, binary: &str) -> Command {
        let mut command = Command::new(binary_directory().join(binary));
        command
            .env("CODALAB_HOME", &self.home)
            .env("CODALAB_USERNAME", "codalab")
            .env("CODALAB_PASSWORD", PASSWORD)
            .env("CODALAB_SESSION", "bench");
        command
    }

    fn cl(&self, arguments: &[&str]) -> Result<String> {
        run(self.command("cl").args(arguments))
    }

    /// Median wall time, and peak memory in KiB, of `cl` with these arguments.
    fn measured(&self, arguments: &[&str], times: usize) -> Result<(Duration, u64)> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut walls = Vec::new();
        let mut peak = 0;
        for _ in 0..times {
            let mut command = self.command("cl");
            let program = command.get_program().to_owned();
            let mut measuring = Command::new(&own);
            measuring.arg("--measure").arg(program).args(arguments);
            for (key, value) in command.args(arguments).get_envs() {
                measuring.env(key, value.unwrap_or_default());
            }
            let line = run(&mut measuring)?;
            let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
            let (Some(micros), Some(kib)) = (numbers.next(), numbers.next()) else {
                return Err(format!("unexpected measurement: {line}"));
            };
            walls.push(Duration::from_micros(micros));
            peak = peak.max(kib);
        }
        Ok((median(&mut walls), peak))
    }

    /// Median time from `cl run true` having returned to the bundle being `ready`.
    fn time_to_ready(&self, times: usize) -> Result<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let token = runtime.block_on(instance::token(&self.address(), "codalab", PASSWORD))?;
        let http = reqwest::Client::new();
        let mut durations = Vec::new();
        for _ in 0..=times {
            let uuid = self.cl(&["run", "true"])?;
            let returned = Instant::now();
            runtime.block_on(self.wait_ready(&http, &token, uuid.trim()))?;
            durations.push(returned.elapsed());
        }
        durations.remove(0); // the first one warms the worker up
        Ok(median(&mut durations))
    }

    async fn wait_ready(&self, http: &reqwest::Client, token: &str, uuid: &str) -> Result<()> {
        let url = format!("{}/rest/bundles/{uuid}", self.address());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = http
                .get(&url)
                .bearer_auth(token)
                .send()
                .await
                .map_err(|error| error.to_string())?;
            let body: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
            match body["data"]["attributes"]["state"].as_str() {
                Some("ready") => return Ok(()),
                Some("failed" | "killed") | None => return Err(format!("{uuid} did not become ready: {body}")),
                Some(state) if Instant::now() > deadline => return Err(format!("{uuid} is still {state}")),
                Some(_) => tokio::time::sleep(Duration::from_millis(3)).await,
            }
        }
    }

    /// See [`instance::memory_kib`].
    fn rss_kib(&self, key: &str) -> u64 {
        instance::memory_kib(self.pid, key)
    }

    /// Makes `VmHWM` start again from the present size (proc(5), `clear_refs`).
    fn reset_peak(&self) {
        if let Err(error) = fs::write(format!("/proc/{}/clear_refs", self.pid), "5") {
            eprintln!("the peak could not be reset, it includes start-up: {error}");
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let home = self.home.display().to_string();
        if let Err(error) = run(self
            .command("codalab-service")
            .args(["stop", "--local", "--home", &home]))
        {
            eprintln!("{error}");
        }
        fs::remove_dir_all(&self.home).ok();
    }
}

/// Runs the program in `words`, then prints its wall time in microseconds and its peak memory in KiB.
fn measure_child(words: &[String]) {
    let started = Instant::now();
    let status = Command::new(&words[0])
        .args(&words[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let wall = started.elapsed();
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    assert!(status.is_ok_and(|status| status.success()), "{words:?} failed");
    println!("{} {peak}", wall.as_micros());
}

fn bare_docker_run(times: usize) -> Result<Duration> {
    let mut durations = Vec::new();
    for _ in 0..=times {
        let started = Instant::now();
        run(Command::new("docker").args(["run", "--rm", IMAGE, "true"]))?;
        durations.push(started.elapsed());
    }
    durations.remove(0);
    Ok(median(&mut durations))
}

fn run(command: &mut Command) -> Result<String> {
    let failed = |error: std::io::Error, program: &Command| format!("{}: {error}", program.get_program().display());
    let Output { status, stdout, stderr } = command.output().map_err(|error| failed(error, command))?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(format!(
            "{command:?}: {status}: {}",
            String::from_utf8_lossy(&stderr).trim()
        ))
    }
}

fn binary_directory() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release");
    std::env::var_os("CODALAB_BIN_DIR").map_or(target, PathBuf::from)
}

fn listening_pid(home: &Path) -> Result<u32> {
    let path = home.join("server.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    value["pid"]
        .as_u64()
        .map(|pid| pid as u32)
        .ok_or_else(|| format!("no pid in {text}"))
}

fn random_file(path: &Path, bytes: u64) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        let mut random = File::open("/dev/urandom")?.take(bytes);
        let mut file = File::create(path)?;
        std::io::copy(&mut random, &mut file)?;
        file.sync_all()
    };
    copy().map_err(|error| format!("{}: {error}", path.display()))
}

fn copy_and_sync(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        run(Command::new("cp").arg(from).arg(to)).map_err(std::io::Error::other)?;
        File::open(to)?.sync_all()
    };
    copy().map_err(|error| format!("{}: {error}", to.display()))
}

fn median(values: &mut [Duration]) -> Duration {
    values.sort();
    values[values.len() / 2]
}

fn row(what: &str, measured: impl Into<String>, promise: &str) -> Row {
    Row {
        what: what.into(),
        measured: measured.into(),
        promise: promise.into(),
    }
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn mb(kib: u64) -> String {
    format!("{:.1} MB", kib as f64 * 1024.0 / 1e6)
}

fn print_table(rows: &[Row]) {
    let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (what, measured) = (width(|row| &row.what), width(|row| &row.measured));
    let mut out = std::io::stdout().lock();
    for row in rows {
        let line = format!("{:what$}  {:>measured$}  {}", row.what, row.measured, row.promise);
        if writeln!(out, "{}", line.trim_end()).is_err() {
            return;
        }
    }
}
