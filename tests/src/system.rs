//! A whole system on a private home: the local instance in the foreground of this test, more workers beside it, and `cl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{DockerTurn, Engine, TempDir, TestDatabase, wait_until};

use crate::http::Http;
use crate::program::{Cl, Outcome, Process, binary, finish, python};
use crate::python::PythonCl;

/// The root account of every test system.
pub const USER: &str = "codalab";
pub const PASSWORD: &str = "end-to-end-1";

const START: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);

/// What executes runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Process,
    Docker,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Runtime::Process => "process",
            Runtime::Docker => "docker",
        }
    }
}

/// Only SQLite and processes (`tools/test quick`)?
pub fn quick() -> bool {
    std::env::var_os("CODALAB_TEST_QUICK").is_some()
}

/// What kind of system a test wants.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub database: Engine,
    /// Runtime of the worker inside the instance; none without.
    pub worker: Option<Runtime>,
}

impl Setup {
    pub fn new(database: Engine, runtime: Runtime) -> Setup {
        Setup {
            database,
            worker: Some(runtime),
        }
    }

    /// A system whose workers the test starts itself.
    pub fn without_worker(database: Engine) -> Setup {
        Setup { database, worker: None }
    }

    /// Is this combination left out of a quick run?
    pub fn is_skipped(self) -> bool {
        quick() && (self.database == Engine::Mariadb || self.worker == Some(Runtime::Docker))
    }
}

/// A running system. Everything of it goes with the value.
pub struct System {
    setup: Setup,
    port: u16,
    instance: Option<Process>,
    /// Working directory of `cl`, for files to upload and download.
    files: PathBuf,
    home: PathBuf,
    /// With the token of the first request; log-ins are slow on purpose.
    http: OnceLock<Http>,
    /// After the instance, so that it ends first.
    _docker: Option<DockerTurn>,
    _database: TestDatabase,
    _directory: TempDir,
}

impl System {
    pub fn start(setup: Setup) -> System {
        let docker = (setup.worker == Some(Runtime::Docker)).then(DockerTurn::shared);
        let directory = testkit::temp_home();
        let (home, files) = (directory.path().join("home"), directory.path().join("files"));
        fs::create_dir_all(&home).expect("a home");
        fs::create_dir_all(&files).expect("a place for files");
        let database = setup.database.fresh();
        if setup.database == Engine::Mariadb {
            let server = json!({"class": "MySQLModel", "engine_url": database.url()});
            fs::write(home.join("config.json"), json!({"server": server}).to_string()).expect("a configuration");
        }
        let mut system = System {
            setup,
            port: 0,
            instance: None,
            files,
            home,
            http: OnceLock::new(),
            _docker: docker,
            _database: database,
            _directory: directory,
        };
        system.start_instance();
        system
    }

    /// Starts the instance (again), on the port that it had.
    pub fn start_instance(&mut self) {
        let mut command = under_this_thread(&binary("codalab-service"));
        command
            .args(["start", "--local", "--foreground", "--home"])
            .arg(&self.home);
        command.args(["--port", &self.port.to_string()]);
        match self.setup.worker {
            Some(runtime) => command.args(["--runtime", runtime.name()]),
            None => command.arg("--no-worker"),
        };
        command
            .env("CODALAB_USERNAME", USER)
            .env("CODALAB_PASSWORD", PASSWORD)
            .current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let mut port = None;
        wait_until("the instance to say where it listens", START, || {
            assert!(
                process.is_running(),
                "the instance ended:\n{}\n{}",
                process.output(),
                process.errors()
            );
            port = announced_port(&process.output());
            port.is_some()
        });
        self.port = port.expect("the wait ended with a port");
        self.instance = Some(process);
    }

    /// `kill -9`.
    pub fn kill_instance(&mut self) {
        if let Some(mut process) = self.instance.take() {
            process.kill();
        }
    }

    /// Asks the instance to end, and waits.
    pub fn stop_instance(&mut self) {
        if let Some(mut process) = self.instance.take() {
            process.terminate();
            wait_until("the instance to end", PATIENCE, || !process.is_running());
        }
    }

    pub fn pid(&self) -> u32 {
        self.instance.as_ref().expect("the instance runs").pid()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where `cl` runs.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Writes a file for `cl` to upload.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files.join(name);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("directories");
        fs::write(&path, contents).expect("a file to upload");
        path
    }

    /// The command line of this project, as the root account and in the instance's own home.
    pub fn cl(&self) -> Cl {
        self.client(binary("cl"), &self.home)
            .with("CODALAB_USERNAME", USER)
            .with("CODALAB_PASSWORD", PASSWORD)
    }

    /// The command line of another account, with a home of its own.
    pub fn cl_as(&self, user: &str, password: &str) -> Cl {
        let cl = self.foreign_client(binary("cl"), user);
        cl.with("CODALAB_USERNAME", user).with("CODALAB_PASSWORD", password)
    }

    /// The Python command line, with a home of its own.
    pub fn python_cl(&self) -> Cl {
        let cl = self.foreign_client(python("cl"), "python");
        cl.with("CODALAB_USERNAME", USER).with("CODALAB_PASSWORD", PASSWORD)
    }

    /// The same command line as [`System::python_cl`], quick for many commands.
    pub fn python(&self) -> PythonCl {
        self.python_as(USER, PASSWORD)
    }

    /// The Python command line of another account, with a home of its own.
    pub fn python_as(&self, user: &str, password: &str) -> PythonCl {
        let home = self.foreign_home(&format!("python-{user}")).display().to_string();
        let environment = [
            ("CODALAB_HOME", home.as_str()),
            ("HOME", &home),
            ("CODALAB_SESSION", "test"),
            ("CODALAB_USERNAME", user),
            ("CODALAB_PASSWORD", password),
            ("BROWSER", "true"),
        ];
        PythonCl::start(&self.files, &environment)
    }

    fn foreign_client(&self, program: PathBuf, name: &str) -> Cl {
        let home = self.foreign_home(name);
        self.client(program, &home)
    }

    /// A client's home that knows this instance.
    fn foreign_home(&self, name: &str) -> PathBuf {
        let home = self.home.with_file_name(format!("home-{name}"));
        if !home.exists() {
            fs::create_dir_all(&home).expect("a home");
            let config = json!({"cli": {"default_address": self.address(), "verbose": 1}, "aliases": {}});
            fs::write(home.join("config.json"), config.to_string()).expect("a configuration");
        }
        home
    }

    fn client(&self, program: PathBuf, home: &Path) -> Cl {
        let home = home.display().to_string();
        let cl = Cl {
            program,
            environment: Vec::new(),
            directory: self.files.clone(),
        };
        cl.with("CODALAB_HOME", &home)
            .with("HOME", &home)
            .with("CODALAB_SESSION", "test")
    }

    /// Makes an account that is verified.
    pub fn create_user(&self, name: &str, password: &str) {
        use std::io::Write;
        let mut command = Command::new(binary("cl-server"));
        command.args([
            "create-user",
            name,
            "--email",
            &format!("{name}@example.org"),
            "--password-stdin",
            "--verified",
        ]);
        command
            .arg("--home")
            .arg(&self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("cl-server runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        writeln!(stdin, "{password}").expect("cl-server reads the password");
        drop(stdin);
        let output = child.wait_with_output().expect("cl-server ends");
        assert!(
            output.status.success(),
            "create-user {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Raw HTTP with a token of the root account.
    pub fn http(&self) -> Http {
        self.http.get_or_init(|| self.http_as(USER, PASSWORD)).clone()
    }

    pub fn http_as(&self, user: &str, password: &str) -> Http {
        let anonymous = Http {
            port: self.port,
            token: None,
        };
        let form = format!("grant_type=password&username={user}&password={password}");
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Authorization", "Basic Y29kYWxhYl9jbGlfY2xpZW50Og=="),
        ];
        let answer = anonymous.request("POST", "/rest/oauth2/token", &headers, form.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.json()["access_token"].as_str().map(str::to_owned);
        Http { token, ..anonymous }
    }

    /// A worker in a process of its own, ready to take runs. The same `id` takes up the runs of an earlier one.
    pub fn worker(&self, id: &str, runtime: Runtime) -> Process {
        let mut command = self.worker_command(&binary("cl-worker"), id);
        command.args(["--bundle-runtime", runtime.name()]);
        self.start_worker(&mut command, "Worker started!")
    }

    /// A worker of another account, with the process runtime.
    pub fn worker_as(&self, id: &str, user: &str, password: &str) -> Process {
        let mut command = self.worker_command(&binary("cl-worker"), id);
        command.args(["--bundle-runtime", Runtime::Process.name()]);
        command.env("CODALAB_USERNAME", user).env("CODALAB_PASSWORD", password);
        self.start_worker(&mut command, "Worker started!")
    }

    /// The Python worker of CodaLab 1.7.
    pub fn python_worker(&self, id: &str) -> Process {
        let mut command = self.worker_command(&python("cl-worker"), id);
        command.args(["--checkin-frequency-seconds", "1"]);
        // Its Docker library needs an older `requests` than the client's; tools/setup-tests puts that aside.
        command.env(
            "PYTHONPATH",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/python-worker"),
        );
        self.start_worker(&mut command, "Worker started!")
    }

    fn worker_command(&self, program: &Path, id: &str) -> Command {
        let mut command = under_this_thread(program);
        command
            .args(["--server", &self.address(), "--id", id, "--work-dir"])
            .arg(self.home.join(format!("work-{id}")));
        command.env("CODALAB_USERNAME", USER).env("CODALAB_PASSWORD", PASSWORD);
        command
            .env("CODALAB_HOME", &self.home)
            .env("HOME", &self.home)
            .current_dir(&self.files);
        command
    }

    #[expect(clippy::unused_self, reason = "a worker does not outlive its system")]
    fn start_worker(&self, command: &mut Command, greeting: &str) -> Process {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::spawn(command);
        wait_until("the worker to start", START, || {
            let said = process.output() + &process.errors();
            assert!(process.is_running(), "the worker ended: {said}");
            said.contains(greeting)
        });
        process
    }

    /// One field of a bundle, as `cl info -f` prints it.
    pub fn field(&self, bundle: &str, field: &str) -> String {
        self.cl().ok(&["info", "-f", field, bundle])
    }

    /// Waits until the bundle is in `state`; fails at once if it ends in another final one.
    pub fn await_state(&self, bundle: &str, state: &str) {
        wait_until(&format!("{bundle} to become {state}"), PATIENCE, || {
            let now = self.field(bundle, "state");
            let lost = now != state && ["ready", "failed", "killed"].contains(&now.as_str());
            assert!(
                !lost,
                "{bundle} is {now}, not {state}: {}",
                self.cl().run(&["info", bundle]).text()
            );
            now == state
        });
    }

    /// Everything that the store and the database know about bundles: to show that a failed request left nothing.
    pub fn traces(&self) -> (Vec<PathBuf>, Value) {
        let listing = self.http().get("/rest/bundles?keywords=.limit%3D1000&keywords=.count");
        (files_below(&self.home.join("data")), listing.json())
    }

    pub fn service(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(binary("codalab-service"));
        command
            .args(arguments)
            .arg("--home")
            .arg(&self.home)
            .stdin(Stdio::null());
        finish(command, PATIENCE)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(process) = &self.instance
        {
            let log = process.errors();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- the end of the instance's log\n{}\n---", tail.join("\n"));
        }
        // A worker that is asked to end leaves nothing behind; after the deadline it is killed.
        if let Some(mut process) = self.instance.take() {
            process.terminate();
            let start = std::time::Instant::now();
            while process.is_running() && start.elapsed() < Duration::from_secs(15) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The program ends with the thread of the test that starts it, also when that is killed.
fn under_this_thread(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn announced_port(output: &str) -> Option<u16> {
    let line = output.lines().find(|line| line.starts_with("CodaLab is running at "))?;
    line.split("http://localhost:").nth(1)?.split(' ').next()?.parse().ok()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
