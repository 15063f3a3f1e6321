//! A server in this process, and a terminal whose lines are recorded.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use cl::{Environment, Ui};
use domain::user::Quota;
use hub::LocalHub;
use rest_server::accounts::{self, Account};
use rest_server::listener::{ListenerOptions, serve_router};
use rest_server::{Settings, open_state, router};
use startup::Home;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "correct-Horse-7";

/// Runs command lines and records what they print.
pub struct Terminal {
    dir: TempDir,
    variables: HashMap<String, String>,
    address: String,
    transcript: String,
    shutdown: CancellationToken,
}

impl Terminal {
    /// A new instance with the user mira, whose credentials are in the environment.
    pub async fn start() -> Self {
        Self::with_people(&[]).await
    }

    /// The same with more people; `codalab` is the root user.
    pub async fn with_people(others: &[&str]) -> Self {
        Self::launch(others, None).await
    }

    /// An instance behind a network that breaks every connection after so many bytes of contents.
    pub async fn cut_off_after(bytes: usize) -> Self {
        Self::launch(&[], Some(bytes)).await
    }

    async fn launch(others: &[&str], cut_after: Option<usize>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("server")).unwrap();
        let shutdown = CancellationToken::new();
        let state = open_state(&home, Arc::new(LocalHub::new()), Settings::default(), shutdown.clone())
            .await
            .unwrap();
        const NOW: i64 = 1_700_000_000;
        for name in ["mira"].iter().chain(others) {
            if *name == "codalab" {
                let quota = Quota {
                    time_quota: 1e6,
                    disk_quota: 1e9,
                    parallel_run_quota: 10,
                    ..Quota::default()
                };
                state.model.ensure_root(PASSWORD, quota, NOW).await.unwrap();
                continue;
            }
            let account = Account {
                user_name: (*name).into(),
                email: format!("{name}@example.org"),
                password: PASSWORD.into(),
                is_verified: true,
            };
            accounts::create(&state.model, &home.config.default_user, account, NOW)
                .await
                .unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve_router(
            listener,
            router(state),
            shutdown.clone(),
            ListenerOptions::default(),
        ));
        let address = match cut_after {
            None => address,
            Some(bytes) => unreliable(address, bytes).await,
        };
        Self::at(dir, address, shutdown)
    }

    /// A server that gives log-ins and otherwise always the same bytes.
    pub async fn with_answers(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 8192];
                let count = stream.read(&mut request).await.unwrap_or(0);
                let token = "{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"expires_in\":3600}";
                let token = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{token}",
                    token.len()
                );
                let is_login = request[..count].starts_with(b"POST /rest/oauth2/token");
                let bytes = if is_login { token.as_bytes() } else { answer.as_bytes() };
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
            }
        });
        Self::at(tempfile::tempdir().unwrap(), address, CancellationToken::new())
    }

    fn at(dir: TempDir, address: String, shutdown: CancellationToken) -> Self {
        let files = dir.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let client = dir.path().join("client");
        std::fs::create_dir(&client).unwrap();
        let config = format!("{{\"cli\": {{\"default_address\": \"{address}\", \"verbose\": 1}}}}");
        std::fs::write(client.join("config.json"), config).unwrap();
        let variables = [
            ("CODALAB_HOME", client.to_str().unwrap()),
            ("CODALAB_SESSION", "test"),
            ("CODALAB_USERNAME", "mira"),
            ("CODALAB_PASSWORD", PASSWORD),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Self {
            dir,
            variables,
            address,
            transcript: String::new(),
            shutdown,
        }
    }

    /// The following commands are typed by another person, on another machine.
    pub fn log_in_as(&mut self, name: &str) {
        let home = self.dir.path().join(format!("client-{name}"));
        if !home.exists() {
            std::fs::create_dir(&home).unwrap();
            std::fs::copy(self.dir.path().join("client/config.json"), home.join("config.json")).unwrap();
        }
        self.set("CODALAB_HOME", home.to_str().unwrap());
        self.set("CODALAB_USERNAME", name);
        let _ = writeln!(self.transcript, "# {name}");
    }

    /// Sets an environment variable of the following commands.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Executes `cl` with the words of `line`. Words that name files made with [`Self::write`] or meant as outputs are
    /// given as absolute paths, because all tests share one current directory.
    pub async fn cl(&mut self, line: &str) {
        let words = shlex::split(line).unwrap();
        let words: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(index, word)| self.located(&words, index, word))
            .collect();
        let (ui, captured) = Ui::captured();
        let status = cl::run(words, ui, Environment::fixed(self.variables.clone())).await;
        let _ = writeln!(self.transcript, "$ cl {line}");
        let out = captured.out();
        self.transcript.push_str(&out);
        if !out.is_empty() && !out.ends_with('\n') {
            self.transcript.push_str("[no newline]\n");
        }
        for line in captured.err().lines() {
            let _ = writeln!(self.transcript, "! {line}");
        }
        if status != 0 {
            let _ = writeln!(self.transcript, "(exit {status})");
        }
    }

    /// Types a line into the web terminal, on the worksheet of that name (the home worksheet if it is empty).
    pub async fn web(&mut self, worksheet: &str, line: &str) {
        let uuid = match worksheet {
            "" => serde_json::Value::Null,
            name => self.try_words(&["work", "-u", name]).await.1.trim().into(),
        };
        let body = serde_json::json!({"worksheet_uuid": uuid, "command": line});
        let _ = writeln!(self.transcript, "> {line}");
        match self.api().post_json("cli/command", client::Query::new(), &body).await {
            Ok(answer) => {
                self.transcript.push_str(answer["output"].as_str().unwrap());
                if !answer["structured_result"].is_null() {
                    let _ = writeln!(self.transcript, "= {}", answer["structured_result"]);
                }
            }
            Err(error) => {
                let _ = writeln!(self.transcript, "! {} {error}", error.status().unwrap_or(0));
            }
        }
    }

    /// Completes a line of the web terminal.
    pub async fn web_completion(&mut self, line: &str) {
        let body = serde_json::json!({"worksheet_uuid": null, "command": line, "autocomplete": true});
        let answer = self.api().post_json("cli/command", client::Query::new(), &body).await;
        let _ = writeln!(self.transcript, "> {line}<tab>\n= {}", answer.unwrap()["completions"]);
    }

    fn api(&self) -> client::Client {
        let endpoint = client::Endpoint::new(&self.address, client::Options::default()).unwrap();
        let login = client::PasswordLogin::new(client::CLI_CLIENT, &self.variables["CODALAB_USERNAME"], PASSWORD);
        client::Client::new(endpoint, Arc::new(login))
    }

    /// Executes `cl` without recording it; gives exit status, stdout and stderr.
    pub async fn try_words(&self, words: &[&str]) -> (u8, String, String) {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let (ui, captured) = Ui::captured();
        let running = cl::run(words, ui, Environment::fixed(self.variables.clone()));
        let status = tokio::time::timeout(std::time::Duration::from_secs(60), running)
            .await
            .unwrap();
        (status, captured.out(), captured.err())
    }

    fn located(&self, words: &[String], index: usize, word: &str) -> String {
        let is_output = index > 0 && words[index - 1] == "-o";
        let is_file =
            matches!(words[0].as_str(), "upload" | "wedit") && !word.contains(' ') && self.path(word).exists();
        let is_missing = word == "missing.txt";
        if index > 0 && !word.starts_with('/') && (is_output || is_file || is_missing) {
            self.path(word).to_str().unwrap().to_owned()
        } else {
            word.to_owned()
        }
    }

    /// Everything recorded, with what differs from run to run replaced.
    pub fn transcript(&self) -> String {
        let text = self.transcript.replace(&self.address, "http://instance");
        let text = text.replace(self.dir.path().join("files").to_str().unwrap(), "/files");
        let text = text.replace(self.dir.path().to_str().unwrap(), "/tmp");
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut out = String::new();
        for line in text.lines() {
            let line = hide_uuids(line, &mut names);
            let line = hide_after(&line, "created                   : ", "<date>");
            let line = hide_dates(&line);
            let line = hide_after(&line, "      \"created\": ", "<date>,");
            let line = hide_after(&line, "    \"date_last_modified\": ", "<date>,");
            let line = hide_after(&line, "last_login     : ", "<date>");
            let line = match line
                .find("MiB/sec]")
                .and_then(|end| Some((line[..end].rfind('[')?, end)))
            {
                Some((start, end)) => format!("{}[<speed>{}", &line[..start], &line[end + 3..]),
                None => line,
            };
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Makes the cached token one that the server does not know, refresh token included.
    pub fn spoil_token(&self) {
        let path = self.dir.path().join("client/state.json");
        let mut state: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let token = &mut state["auth"][&self.address]["token_info"];
        token["access_token"] = "unknown".into();
        token["refresh_token"] = "unknown".into();
        std::fs::write(&path, state.to_string()).unwrap();
    }

    /// The directory of the files.
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// Creates a file to upload.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Creates a symbolic link.
    pub fn link(&self, target: &str, name: &str) {
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
    }

    /// The text of a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Whether there is such a file.
    pub fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Where a file of that name is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }
}

/// A way to the server `address` on which connections break after `bytes` of contents.
async fn unreliable(address: String, bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
            tokio::spawn(forward(client, server, bytes));
        }
    });
    way
}

async fn forward(mut client: TcpStream, mut server: TcpStream, limit: usize) {
    let (mut request, mut answer) = (vec![0; 4096], vec![0; 4096]);
    let mut left = None;
    loop {
        tokio::select! {
            count = client.read(&mut request) => {
                let Ok(count @ 1..) = count else { return };
                let text = String::from_utf8_lossy(&request[..count]);
                if text.starts_with("GET") && text.contains("/contents/blob/") {
                    left = Some(limit);
                }
                if server.write_all(&request[..count]).await.is_err() {
                    return;
                }
            }
            count = server.read(&mut answer) => {
                let Ok(count @ 1..) = count else { return };
                let allowed = left.map_or(count, |left| count.min(left));
                if client.write_all(&answer[..allowed]).await.is_err() || allowed < count {
                    return;
                }
                left = left.map(|left| left - allowed);
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Numbers the uuids in the order of their appearance; their first eight characters get the same numbers.
fn hide_uuids(line: &str, names: &mut HashMap<String, usize>) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("0x") {
        out.push_str(&rest[..at]);
        let digits = rest[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let word = &rest[at..at + 2 + digits];
        if digits == 32 || digits == 6 {
            let next = names.len() + 1;
            let number = *names.entry(word[..8].to_owned()).or_insert(next);
            // Same width as what is replaced, so that tables stay tables.
            let _ = if digits == 32 {
                write!(out, "<uuid-{number}>")
            } else {
                write!(out, "0x{number:06}")
            };
        } else {
            out.push_str(word);
        }
        rest = &rest[at + 2 + digits..];
    }
    out + rest
}

fn hide_after(line: &str, start: &str, replacement: &str) -> String {
    if line.starts_with(start) {
        format!("{start}{replacement}")
    } else {
        line.to_owned()
    }
}

/// `YYYY-MM-DD HH:MM:SS` becomes a fixed date of the same width.
fn hide_dates(line: &str) -> String {
    let pattern = |text: &[u8]| {
        text.len() >= 19
            && text[..19]
                .iter()
                .zip(b"0000-00-00 00:00:00")
                .all(|(byte, shape)| match shape {
                    b'0' => byte.is_ascii_digit(),
                    shape => byte == shape,
                })
    };
    let bytes = line.as_bytes();
    match (0..bytes.len()).find(|&at| pattern(&bytes[at..])) {
        Some(at) => format!("{}2024-01-01 00:00:00{}", &line[..at], &line[at + 19..]),
        None => line.to_owned(),
    }
}
