//! Git repositories, cloned by the system's `git`.
//!
//! Git makes its own connections, so it is fenced in: it gets the address to connect to (no second look at the name), may
//! not follow redirects (those were followed and checked before), speaks only HTTP, asks nobody anything, reads no
//! configuration of this machine, and runs neither hooks nor filters. Its settings travel in the environment, because
//! command lines can be read by every user of the machine. What it writes is watched and held against the quota.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contents::SubPath;
use domain::{Error, Result};
use http::header;
use percent_encoding::percent_decode_str;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::Instant;
use url::Url;

use super::{Fetcher, LONGEST, Reason, Source};

/// The first version that can be told the address to connect to.
const NEEDED: (u32, u32) = (2, 37);
/// What is kept of git's messages, in bytes.
const MOST_MESSAGES: u64 = 64 << 10;
/// How often the size of the clone is measured, at most.
const MEASURE: Duration = Duration::from_millis(200);

/// How a clone ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloned {
    /// The repository is there.
    Complete,
    /// It grew over the limit and was given up.
    TooBig,
}

impl Fetcher {
    /// Clones the newest commit of a repository to `tree`, which must not exist, with its `.git`. `max_bytes`: room that
    /// is left.
    pub async fn clone_repository(&self, source: &Source, tree: &Path, max_bytes: Option<u64>) -> Result<Cloned> {
        check_git().await?;
        let failed = |reason: Reason| source.failed(&reason);
        let base = self.repository(&source.url).await.map_err(failed)?;
        let addresses = self.addresses(&base).await.map_err(failed)?;
        let mut child = Group::start(command(&base, &addresses, self.silence, tree)).map_err(|error| {
            Error::internal(format!(
                "Can not run git: {error}. The administrators of this server must install it."
            ))
        })?;
        let stderr = child.0.stderr.take();
        let watching = async {
            tokio::select! {
                size = outgrown(tree, max_bytes) => size,
                () = tokio::time::sleep(LONGEST) => Err(failed(Reason::TimedOut(LONGEST))),
            }
        };
        let working = async {
            let text = read_messages(stderr).await;
            (child.0.wait().await, text)
        };
        let (status, text) = tokio::select! {
            ended = working => ended,
            outcome = watching => {
                outcome?;
                return Ok(Cloned::TooBig);
            }
        };
        match status {
            Ok(status) if status.success() => Ok(Cloned::Complete),
            Ok(_) => Err(failed(Reason::Other(last_line(&text)))),
            Err(error) => Err(Error::internal(format!("git: {error}"))),
        }
    }

    /// Where the repository really is: its address after all redirects, with the credentials that belong to it.
    async fn repository(&self, url: &Url) -> Result<Url, Reason> {
        const REFS: &str = "/info/refs";
        let mut refs = url.clone();
        refs.set_path(&format!("{}{REFS}", url.path().trim_end_matches('/')));
        refs.set_query(Some("service=git-upload-pack"));
        refs.set_fragment(None);
        let answer = self.follow(refs).await?;
        let is_repository = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes()
                .starts_with(b"application/x-git-upload-pack-advertisement")
        });
        let mut base = answer.url().clone();
        match base.path().strip_suffix(REFS).map(str::to_owned) {
            Some(path) if is_repository => base.set_path(&path),
            _ => return Err(Reason::Other("there is no git repository at this address".to_owned())),
        }
        base.set_query(None);
        if base.origin() == url.origin() {
            let _ = base.set_username(url.username());
            let _ = base.set_password(url.password());
        }
        Ok(base)
    }
}

fn command(url: &Url, addresses: &[SocketAddr], silence: Duration, tree: &Path) -> Command {
    let mut plain = url.clone();
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    let mut settings = vec![
        ("protocol.allow", "never".to_owned()),
        ("protocol.http.allow", "always".to_owned()),
        ("protocol.https.allow", "always".to_owned()),
        ("http.followRedirects", "false".to_owned()),
        ("http.proxy", String::new()),
        ("http.lowSpeedLimit", "1".to_owned()),
        ("http.lowSpeedTime", silence.as_secs().max(1).to_string()),
        ("credential.helper", String::new()),
        ("core.hooksPath", "/dev/null".to_owned()),
        ("core.fsmonitor", "false".to_owned()),
        ("submodule.recurse", "false".to_owned()),
        ("gc.auto", "0".to_owned()),
        ("maintenance.auto", "false".to_owned()),
        // Memory: one thread, and large files go straight to the disk.
        ("pack.threads", "1".to_owned()),
        ("core.bigFileThreshold", "16m".to_owned()),
        ("core.deltaBaseCacheLimit", "32m".to_owned()),
    ];
    if let Some(url::Host::Domain(host)) = url.host()
        && let Some(port) = url.port_or_known_default()
    {
        let addresses: Vec<String> = addresses.iter().map(|address| curl_address(address.ip())).collect();
        settings.push(("http.curloptResolve", format!("{host}:{port}:{}", addresses.join(","))));
    }
    if !url.username().is_empty() {
        let part = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let mut credentials = part(url.username());
        credentials.push(b':');
        credentials.extend(part(url.password().unwrap_or_default()));
        let header = format!("Authorization: Basic {}", STANDARD.encode(credentials));
        settings.push(("http.extraHeader", header));
    }
    let mut command = Command::new("git");
    command.env_clear();
    for name in ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in [
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "http:https"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
    ] {
        command.env(name, value);
    }
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (index, (name, value)) in settings.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), name);
        command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command
        .args([
            "clone",
            "--quiet",
            "--depth",
            "1",
            "--no-recurse-submodules",
            "--template=",
            "--",
        ])
        .arg(plain.as_str())
        .arg(tree)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn curl_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A running git with all its helpers; ends with the value.
struct Group(tokio::process::Child);

impl Group {
    fn start(mut command: Command) -> std::io::Result<Self> {
        command.kill_on_drop(true).spawn().map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // No id: it has ended and has been waited for, so the number may be somebody else's.
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id as i32)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Returns when `tree` holds more than the limit; without one, never.
async fn outgrown(tree: &Path, max_bytes: Option<u64>) -> Result<()> {
    let Some(limit) = max_bytes else {
        return std::future::pending().await;
    };
    loop {
        let started = Instant::now();
        let path = tree.to_owned();
        let measured = tokio::task::spawn_blocking(move || contents::disk_usage(&path, &SubPath::root())).await;
        // Files come and go while git works; a failed measurement is made again.
        if let Ok(Ok(usage)) = measured
            && usage.bytes > limit
        {
            return Ok(());
        }
        tokio::time::sleep(MEASURE.max(started.elapsed() * 10)).await;
    }
}

async fn read_messages(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = (&mut stderr).take(MOST_MESSAGES).read_to_end(&mut text).await;
        // The rest is read away, so that git does not wait for ever.
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn last_line(text: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let line = line.unwrap_or("git failed without a message");
    line.strip_prefix("fatal: ").unwrap_or(line).to_owned()
}

/// An old git would silently ignore where it may connect to.
async fn check_git() -> Result<()> {
    static GOOD: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    GOOD.get_or_try_init(|| async {
        let output = Command::new("git").arg("version").stdin(Stdio::null()).output().await;
        let version = output
            .ok()
            .and_then(|output| version(&String::from_utf8_lossy(&output.stdout)));
        match version {
            Some(version) if version >= NEEDED => Ok(()),
            _ => Err(Error::usage(format!(
                "This server cannot clone git repositories: it needs git {}.{} or newer, which its administrators can \
                 install. Clone the repository yourself and upload the directory.",
                NEEDED.0, NEEDED.1
            ))),
        }
    })
    .await
    .copied()
}

/// `git version 2.47.3 (Apple Git-1)` → (2, 47).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split(['.', ' ', '\n']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (text, expected) in [
            ("git version 2.47.3\n", Some((2, 47))),
            ("git version 2.9.1 (Apple Git-1)\n", Some((2, 9))),
            ("git version 2.37\n", Some((2, 37))),
            ("nonsense", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
        assert!((2, 9) < NEEDED);
    }

    #[test]
    fn secrets_travel_in_the_environment_only() {
        let url = Url::parse("https://me:s%3Acret@host/x.git").unwrap();
        let address: SocketAddr = "9.9.9.9:443".parse().unwrap();
        let command = command(&url, &[address], Duration::from_secs(300), Path::new("/tmp/t"));
        let arguments: Vec<_> = command.as_std().get_args().map(|part| part.to_string_lossy()).collect();
        assert_eq!(arguments.last().unwrap(), "/tmp/t");
        let separator = arguments.iter().position(|part| part == "--").unwrap();
        assert_eq!(arguments[separator + 1], "https://host/x.git");
        let values: Vec<_> = command
            .as_std()
            .get_envs()
            .filter_map(|(_, value)| Some(value?.to_string_lossy().into_owned()))
            .collect();
        assert!(values.contains(&"host:443:9.9.9.9".to_owned()), "{values:?}");
        let header = format!("Authorization: Basic {}", STANDARD.encode("me:s:cret"));
        assert!(values.contains(&header), "{values:?}");
    }

    #[test]
    fn the_last_words_of_git_are_the_reason() {
        assert_eq!(last_line("Cloning...\nfatal: it is gone\n\n"), "it is gone");
        assert_eq!(last_line(""), "git failed without a message");
    }
}
