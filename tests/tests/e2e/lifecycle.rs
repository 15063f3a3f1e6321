//! `codalab-service`: first start, second start, stop, status, logs, taken ports, crashes, accounts.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use codalab_tests::{Cl, Outcome, Process, Runtime, Setup, System, binary};
use testkit::{Engine, TempDir, free_port, temp_home, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A home whose instance is stopped at the end of the test.
struct Service {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Service {
    fn new() -> Service {
        Service {
            directory: temp_home(),
            environment: Vec::new(),
        }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn program(&self, name: &str) -> Cl {
        let home = self.home().display().to_string();
        let mut cl = Cl {
            program: binary(name),
            environment: Vec::new(),
            directory: self.directory.path().into(),
        };
        for (name, value) in &self.environment {
            cl = cl.with(name, value);
        }
        cl.with("CODALAB_HOME", &home).with("CODALAB_SESSION", "test")
    }

    fn service(&self, arguments: &[&str]) -> Outcome {
        self.program("codalab-service").run(arguments)
    }

    fn start(&self, port: &str) -> Outcome {
        self.service(&["start", "--local", "--runtime", "process", "--port", port])
    }

    fn cl(&self, arguments: &[&str]) -> Outcome {
        self.program("cl").run(arguments)
    }

    fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.home().join("server.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        i32::try_from(value["pid"].as_i64().unwrap()).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.service(&["stop", "--local"]);
    }
}

#[test]
fn the_first_start_makes_an_account_that_the_owner_need_not_type() {
    let service = Service::new();
    let said = service.start("0").ok();
    let password = said
        .lines()
        .find_map(|line| line.split("shown only this once: ").nth(1))
        .expect("a password");
    assert!(password.len() >= 16, "{said}");
    assert!(said.contains("http://localhost:"), "{said}");
    // Neither variables nor a prompt.
    assert!(service.cl(&["status"]).ok().contains("user: codalab("));
    assert!(service.cl(&["work", "local::"]).ok().contains("home-codalab"));
    for name in ["state.json", "config.json", "server.json"] {
        let mode = std::fs::metadata(service.home().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name} is for its owner only");
    }
    // The password is real, and shown once.
    let log_in = service
        .program("cl")
        .with("CODALAB_USERNAME", "codalab")
        .with("CODALAB_PASSWORD", password);
    service.cl(&["logout"]).ok();
    assert!(log_in.ok(&["status"]).contains("user: codalab("));
    service.service(&["stop", "--local"]).ok();
    let again = service.service(&["start", "--local", "--runtime", "process"]).ok();
    assert!(!again.contains("password"), "{again}");
    assert!(
        !std::fs::read_to_string(service.home().join("logs/service.log"))
            .unwrap()
            .contains(password)
    );
}

#[test]
fn the_environment_names_the_first_account() {
    let mut service = Service::new();
    service.environment = vec![
        ("CODALAB_USERNAME", "boss".into()),
        ("CODALAB_PASSWORD", "quite-long-1".into()),
    ];
    let said = service.start("0").ok();
    assert!(said.contains("boss") && !said.contains("quite-long-1"), "{said}");
    assert!(service.cl(&["status"]).ok().contains("user: boss("));
}

#[test]
fn a_second_start_says_that_it_runs_and_stop_status_and_logs_work() {
    let service = Service::new();
    service.service(&["status", "--local"]).fails(1);
    assert!(service.service(&["stop", "--local"]).ok().contains("No instance runs"));
    service.start("0").ok();
    let pid = service.pid();
    assert!(service.start("0").ok().contains("already running"));
    assert_eq!(service.pid(), pid);
    let status = service.service(&["status", "--local"]).ok();
    assert!(
        status.contains("running") && status.contains(&pid.to_string()),
        "{status}"
    );
    assert!(!service.service(&["logs", "--local", "-n", "5"]).ok().is_empty());
    assert!(service.service(&["stop", "--local"]).ok().contains("Stopped"));
    service.service(&["status", "--local"]).fails(1);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[test]
fn a_taken_port_names_who_has_it() {
    let service = Service::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let outcome = service.start(&port);
    let said = outcome.fails(1);
    assert!(
        said.contains(&port) && said.contains(&format!("process {}", std::process::id())),
        "{said}"
    );
    drop(taken);
    service.start(&port).ok();
}

#[test]
fn a_crash_blocks_nothing_and_the_instance_keeps_its_port_and_data() {
    let service = Service::new();
    let port = free_port().to_string();
    service.start(&port).ok();
    std::fs::write(service.directory.path().join("x"), "kept").unwrap();
    service.cl(&["upload", "x"]).ok();
    let pid = nix_pid(service.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("the instance to be gone", PATIENCE, || {
        service.service(&["status", "--local"]).code == Some(1)
    });
    let said = service.service(&["start", "--local", "--runtime", "process"]).ok();
    assert!(said.contains(&format!(":{port} ")), "{said}");
    assert_eq!(service.cl(&["cat", "x"]).stdout, b"kept");
}

#[test]
fn clients_follow_the_instance_to_another_port() {
    let service = Service::new();
    service.start(&free_port().to_string()).ok();
    service.cl(&["new", "notes"]).ok();
    service.cl(&["work", "notes"]).ok();
    service.service(&["stop", "--local"]).ok();
    let port = free_port().to_string();
    service.start(&port).ok();
    let work = service.cl(&["work"]).ok();
    assert!(work.contains(&port) && work.contains("(notes)"), "{work}");
}

#[test]
fn cl_server_is_the_same_instance_in_the_foreground() {
    let service = Service::new();
    let mut command =
        service
            .program("cl")
            .command(&["server", "--with-worker", "--port", "0", "--runtime", "process"]);
    let mut server = Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    wait_until("cl server to listen", PATIENCE, || {
        assert!(server.is_running(), "{}\n{}", server.output(), server.errors());
        server.output().contains("CodaLab is running at")
    });
    let run = service.cl(&["run", "echo from the foreground"]).ok();
    service.cl(&["wait", &run]).ok();
    assert_eq!(
        service.cl(&["cat", &format!("{run}/stdout")]).ok(),
        "from the foreground"
    );
    server.terminate();
    wait_until("cl server to end", PATIENCE, || !server.is_running());
}

#[test]
fn two_first_starts_at_once_make_one_instance() {
    let service = Service::new();
    let starts: Vec<std::process::Child> = (0..2)
        .map(|_| {
            let mut command = service.program("codalab-service").command(&[
                "start",
                "--local",
                "--runtime",
                "process",
                "--port",
                "0",
            ]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<String> = starts
        .into_iter()
        .map(|child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    assert_eq!(
        said.iter().filter(|text| text.contains("shown only this once")).count(),
        1,
        "{said:?}"
    );
    service.cl(&["status"]).ok();
}

#[test]
fn accounts_are_made_by_operators_on_the_home() {
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    system.create_user("mira", "miras-secret-1");
    let mira = system.cl_as("mira", "miras-secret-1");
    assert!(mira.ok(&["status"]).contains("user: mira("));
    let mut command = Command::new(binary("cl-server"));
    command.args([
        "create-user",
        "mira",
        "--email",
        "other@example.org",
        "--password-stdin",
        "--home",
    ]);
    let output = command.arg(system.home()).stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn both_loopback_addresses_health_and_memory_are_as_promised() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let http = system.http();
    assert_eq!(http.get("/healthz").status, 200);
    assert_eq!(http.get("/readyz").status, 200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", system.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 100 * 1024, "{kib} KiB resident");
}

fn nix_pid(pid: i32) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(pid)
}
