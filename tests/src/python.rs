//! The Python command line of CodaLab 1.7, many commands from one interpreter: its imports take seconds, each command after
//! that a tenth of one.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::program::{Outcome, python};

/// A command may take this many seconds.
const DEADLINE: u64 = 120;

/// An interpreter that has loaded the Python client, with the environment of the commands it runs.
#[derive(Clone)]
pub struct PythonCl {
    interpreter: Arc<Mutex<Interpreter>>,
    environment: Map<String, Value>,
    directory: PathBuf,
}

struct Interpreter {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl PythonCl {
    /// Loads the client. Its commands run in `directory` and see only PATH and `environment`.
    pub fn start(directory: &Path, environment: &[(&str, &str)]) -> PythonCl {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/fork_server.py");
        let mut child = Command::new(python("python"))
            .arg(script)
            .arg("cl")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let requests = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let path = std::env::var("PATH").unwrap_or_default();
        let environment = environment.iter().copied().chain([("PATH", path.as_str())]);
        PythonCl {
            interpreter: Arc::new(Mutex::new(Interpreter {
                child,
                requests,
                answers,
            })),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            directory: directory.to_path_buf(),
        }
    }

    /// The same interpreter with another value for a variable of the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> PythonCl {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Runs one command to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let argv: Vec<&str> = ["cl"].into_iter().chain(arguments.iter().copied()).collect();
        let request =
            json!({"argv": argv, "env": self.environment, "cwd": self.directory, "deadline": DEADLINE}).to_string();
        let mut interpreter = self.interpreter.lock().expect("one command after the other");
        writeln!(interpreter.requests, "{request}").expect("the interpreter listens");
        let mut line = String::new();
        interpreter
            .answers
            .read_line(&mut line)
            .expect("the interpreter answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{argv:?}: {line:?}: {error}"));
        let stream = |name: &str| {
            STANDARD
                .decode(answer[name].as_str().unwrap_or_default())
                .expect("base64")
        };
        Outcome {
            command: format!("(Python) {argv:?}"),
            code: answer["code"].as_i64().map(|code| code as i32),
            stdout: stream("stdout"),
            stderr: String::from_utf8_lossy(&stream("stderr")).into_owned(),
        }
    }

    /// Runs and gives standard output; panics unless it succeeds.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    /// Runs the words of a line.
    pub fn line(&self, line: &str) -> Outcome {
        let words = shlex::split(line).expect("a well-formed line");
        self.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
