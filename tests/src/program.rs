//! Running the programs under test, and never leaving one behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The directory of the binaries: beside the test's own (`target/debug`), or `CODALAB_BIN_DIR`.
pub fn binary(name: &str) -> PathBuf {
    let directory = std::env::var_os("CODALAB_BIN_DIR").map_or_else(
        || {
            let own = std::env::current_exe().expect("the path of this program");
            own.parent()
                .and_then(Path::parent)
                .expect("tests lie in target/<profile>/deps")
                .to_path_buf()
        },
        PathBuf::from,
    );
    let path = directory.join(name);
    assert!(
        path.is_file(),
        "{} is missing; run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A program of the Python package that `tools/setup-tests` installed.
pub fn python(name: &str) -> PathBuf {
    python_tool("python", name)
}

/// A program of one of the Python environments in `.cache`.
pub fn python_tool(environment: &str, name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.cache")
        .join(environment)
        .join("bin")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing; run tools/setup-tests first",
        path.display()
    );
    path
}

/// What a finished program said.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub command: String,
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// Standard output without the blank end; panics unless the program succeeded.
    pub fn ok(&self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.text()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Standard error; panics unless the program exited with `code`.
    pub fn fails(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self}");
        self.stderr.trim_end()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "exit status: {:?}", self.code)?;
        writeln!(f, "stdout: {}", String::from_utf8_lossy(&self.stdout))?;
        write!(f, "stderr: {}", self.stderr)
    }
}

/// A command line client with its environment: `cl`, or the Python one.
#[derive(Clone, Debug)]
pub struct Cl {
    pub program: PathBuf,
    pub environment: Vec<(String, String)>,
    pub directory: PathBuf,
}

impl Cl {
    /// Another value for a variable of the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Cl {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        for name in [
            "CODALAB_USERNAME",
            "CODALAB_PASSWORD",
            "CODALAB_CONFIG",
            "CODALAB_STATE",
            "EDITOR",
        ] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs to the end, or panics after two minutes.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments), Duration::from_secs(120))
    }

    /// Runs and gives standard output; panics unless it succeeds.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command, deadline: Duration) -> Outcome {
    let shown = format!("{command:?}");
    let process = Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    process.wait(deadline, shown)
}

/// A running program; killed on drop. Its output is collected as it comes.
pub struct Process {
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

/// Text that a thread goes on reading.
#[derive(Default)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Stream {
    fn read(source: Option<impl std::io::Read + Send + 'static>) -> Stream {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = source.map(|mut source| {
            let bytes = Arc::clone(&bytes);
            std::thread::spawn(move || {
                let mut block = [0; 4096];
                while let Ok(size @ 1..) = source.read(&mut block) {
                    bytes
                        .lock()
                        .expect("no reader panics")
                        .extend_from_slice(&block[..size]);
                }
            })
        });
        Stream { bytes, reader }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("no reader panics").clone()
    }

    fn rest(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}

impl Process {
    /// Starts it. Pipes are read by threads; other streams stay as the command says.
    pub fn spawn(command: &mut Command) -> Process {
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Stream::read(child.stdout.take());
        let stderr = Stream::read(child.stderr.take());
        Process { child, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output until now.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    /// What it wrote to standard error until now.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// As `kill`: asks it to end.
    pub fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }

    fn wait(mut self, deadline: Duration, command: String) -> Outcome {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => break status,
                None if start.elapsed() > deadline => {
                    self.kill();
                    panic!(
                        "{command} did not end within {deadline:?}\n{}\n{}",
                        self.output(),
                        self.errors()
                    );
                }
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        Outcome {
            command,
            code: status.code(),
            stdout: self.stdout.rest(),
            stderr: String::from_utf8_lossy(&self.stderr.rest()).into_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
