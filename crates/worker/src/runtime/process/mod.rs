//! Runs bundles as child processes, for machines without a container engine.
//!
//! A job belongs to a small supervisor (a bash script in its own session), not to the worker: it goes on when the worker
//! dies, and its exit code is in a file that the next worker finds. What the worker waits for is the end of the
//! supervisor, announced by the kernel through a process file descriptor.

mod cgroup;
mod sandbox;
mod tree;

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::Instant;

use self::cgroup::Cgroups;
use self::sandbox::Sandbox;
use super::{Exit, Image, Job, Runtime, SAMPLE_INTERVAL, StartError, Usage, wrapped_command};

const SUPERVISOR: &str = include_str!("supervise.sh");
/// How long killed processes may take to disappear.
const KILL_PATIENCE: Duration = Duration::from_secs(20);
/// With a control group the kernel keeps the memory limit, so measurements are only for show.
const RELAXED_INTERVAL: Duration = Duration::from_secs(1);

/// The process runtime of one work directory.
pub struct ProcessRuntime {
    work: PathBuf,
    /// One control directory per job: `pid`, `exit`, `log`, `tmp/`.
    controls: PathBuf,
    cgroups: Cgroups,
    sandbox: Sandbox,
}

impl ProcessRuntime {
    /// `work` is the work directory, absolute and without symbolic links. Blocks for a few milliseconds.
    pub fn new(work: &Path) -> std::io::Result<Self> {
        let controls = work.join("processes");
        fs::create_dir_all(&controls)?;
        let cgroups = Cgroups::discover();
        let sandbox = Sandbox::discover(&controls);
        let memory = if cgroups == Cgroups::Unavailable {
            "watched by the worker"
        } else {
            "kept by control groups"
        };
        tracing::warn!(
            "Bundles run as plain processes, which isolates them less than containers do: {}; memory limits {memory}. \
             Only bundles of the worker's own account are accepted.",
            sandbox.describe()
        );
        Ok(Self {
            work: work.to_owned(),
            controls,
            cgroups,
            sandbox,
        })
    }

    fn control(&self, handle: &str) -> PathBuf {
        self.controls.join(handle)
    }

    async fn spawn(&self, job: &Job, name: &str) -> Result<(), StartError> {
        let machine = |error: &dyn std::fmt::Display| StartError::Machine(format!("Unable to start process: {error}"));
        let control = self.control(name);
        let tmp = control.join("tmp");
        fs::create_dir_all(&tmp).map_err(|error| machine(&error))?;
        let group = self.cgroups.create(name, job.memory).map_err(|error| machine(&error))?;
        let mut words: Vec<OsString> = vec![control.clone().into()];
        // Without a group this stops a single process that grows faster than the worker can watch.
        let data_limit = if group.directories().is_empty() {
            (job.memory.saturating_mul(2).max(job.memory.saturating_add(1 << 30)) / 1024).to_string()
        } else {
            "unlimited".to_owned()
        };
        words.push(data_limit.into());
        words.extend(group.directories().into_iter().map(OsString::from));
        words.push("--".into());
        words.extend(self.sandbox.prefix(job, &self.work, &tmp));
        words.extend(["/bin/bash".into(), "-c".into(), wrapped_command(&job.command).into()]);
        let mut child = tokio::process::Command::new("setsid")
            .args(["/bin/bash", "-c", SUPERVISOR, "codalab-run"])
            .args(words)
            .env_clear()
            .envs(environment(job))
            .current_dir(&job.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| machine(&error))?;
        let claimed = child.stdout.take();
        // Reaped whenever it ends; its result is in the exit file.
        tokio::spawn(async move { child.wait().await });
        if let Some(mut claimed) = claimed {
            let _ = claimed.read_to_end(&mut Vec::new()).await;
        }
        if read_pid(&control).is_none() {
            return Err(machine(
                &"its supervisor ended at once; are bash, setsid and unshare installed?",
            ));
        }
        Ok(())
    }

    /// Kills everything that belongs to the job except its supervisor.
    async fn kill_members(&self, handle: &str) -> Result<(), String> {
        let group = self.cgroups.find(handle);
        let supervisor = read_pid(&self.control(handle));
        let deadline = Instant::now() + KILL_PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            let mut members = group.members();
            if let Some(pid) = supervisor.filter(|_| members.is_empty()) {
                members = tree::members(pid);
            }
            if members.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "{} processes do not end although they were killed",
                    members.len()
                ));
            }
            if !group.kill() {
                for pid in members {
                    // Gone in the meantime: fine.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn isolates(&self) -> bool {
        false
    }

    fn dependency_path(&self, _uuid: &str, _child_path: &str, host_path: &Path) -> PathBuf {
        host_path.to_owned()
    }

    fn mounts_anywhere(&self) -> bool {
        false
    }

    async fn image(&self, _name: &str, _progress: &watch::Sender<String>) -> Result<Image, String> {
        Ok(Image::default())
    }

    fn handle(&self, uuid: &str, attempt: &str) -> String {
        format!("{uuid}.{attempt}")
    }

    async fn start(&self, job: &Job) -> Result<String, StartError> {
        let name = self.handle(&job.uuid, &job.attempt);
        if read_pid(&self.control(&name)).is_none() {
            self.spawn(job, &name).await?;
        }
        Ok(name)
    }

    async fn wait(&self, handle: &str) -> Result<Exit, String> {
        let control = self.control(handle);
        if let Some(pid) = read_pid(&control) {
            wait_for_end(pid, &control).await;
        }
        self.kill_members(handle).await?;
        let out_of_memory = self.cgroups.find(handle).out_of_memory();
        let Some(exit) = read_exit(&control) else {
            let failure = "The process was lost: it ended without leaving an exit code (was the machine restarted?)";
            return Ok(Exit {
                failure: Some(failure.to_owned()),
                out_of_memory,
                ..Exit::default()
            });
        };
        Ok(Exit {
            failure: read_log(&control),
            out_of_memory,
            ..exit
        })
    }

    async fn measure(&self, handle: &str, usage: &watch::Sender<Usage>) {
        let Some(pid) = read_pid(&self.control(handle)) else {
            return;
        };
        let group = self.cgroups.find(handle);
        let interval = if group.usage().is_some() {
            RELAXED_INTERVAL
        } else {
            SAMPLE_INTERVAL
        };
        let mut before: Option<(Instant, f64)> = None;
        let mut peak = 0;
        loop {
            let mut now = group.usage().unwrap_or_else(|| tree::usage(pid));
            let (at, busy) = (Instant::now(), now.user_seconds + now.system_seconds);
            if let Some((earlier, was_busy)) = before {
                let elapsed = at.duration_since(earlier).as_secs_f64();
                now.cpu = if elapsed > 0.0 {
                    ((busy - was_busy) / elapsed).max(0.0)
                } else {
                    0.0
                };
            }
            before = Some((at, busy));
            peak = peak.max(now.memory).max(now.memory_max);
            now.memory_max = peak;
            usage.send_replace(now);
            tokio::time::sleep(interval).await;
        }
    }

    async fn kill(&self, handle: &str) -> Result<(), String> {
        self.kill_members(handle).await
    }

    async fn remove(&self, handle: &str) -> Result<(), String> {
        self.kill_members(handle).await?;
        let control = self.control(handle);
        if let Some(pid) = read_pid(&control) {
            // It has only to write its file now.
            let _ = tokio::time::timeout(KILL_PATIENCE, wait_for_end(pid, &control)).await;
        }
        self.cgroups.find(handle).remove();
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(&control)).await;
        match removed {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
            Ok(_) => Ok(()),
        }
    }

    async fn address(&self, _handle: &str) -> Result<IpAddr, String> {
        Ok(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// What a job finds in its environment. Nothing of the worker's own, which may hold its password.
fn environment(job: &Job) -> Vec<(OsString, OsString)> {
    const INHERITED: [&str; 6] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH"];
    let mut variables: Vec<(OsString, OsString)> = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
        .collect();
    if !variables.iter().any(|(name, _)| name == "PATH") {
        variables.push((
            "PATH".into(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        ));
    }
    variables.push(("HOME".into(), job.directory.clone().into()));
    variables.push(("CODALAB".into(), "true".into()));
    variables.push(("CUDA_VISIBLE_DEVICES".into(), job.gpus.join(",").into()));
    variables
}

fn read_pid(control: &Path) -> Option<i32> {
    fs::read_to_string(control.join("pid")).ok()?.trim().parse().ok()
}

/// The exit file, when it is complete.
fn read_exit(control: &Path) -> Option<Exit> {
    let mut file = fs::File::open(control.join("exit")).ok()?;
    let mut text = String::new();
    file.by_ref().take(4096).read_to_string(&mut text).ok()?;
    let ended = file.metadata().ok()?.modified().ok()?;
    let started = fs::metadata(control.join("pid")).ok()?.modified().ok()?;
    let wall = ended.duration_since(started).unwrap_or_default().as_secs_f64();
    parse_exit(&text).map(|exit| Exit {
        wall_seconds: Some(wall),
        ..exit
    })
}

/// `<code>`, the two lines of bash's `times` (the shell's own, its children's), `end`.
fn parse_exit(text: &str) -> Option<Exit> {
    let lines: Vec<&str> = text.lines().collect();
    let [code, _, children, "end"] = lines[..] else {
        return None;
    };
    let mut times = children.split_ascii_whitespace().map(parse_minutes);
    Some(Exit {
        code: Some(code.parse().ok()?),
        user_seconds: times.next().flatten(),
        system_seconds: times.next().flatten(),
        ..Exit::default()
    })
}

/// `1m2.345s` as seconds.
fn parse_minutes(text: &str) -> Option<f64> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    // Some locales write a comma.
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.replace(',', ".").parse::<f64>().ok()?)
}

/// What bash or the sandbox said outside the two redirected streams.
fn read_log(control: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(control.join("log"))
        .ok()?
        .take(4096)
        .read_to_end(&mut bytes)
        .ok()?;
    bytes.retain(u8::is_ascii);
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns when the supervisor has ended. Process numbers are reused, so it must also look like the supervisor.
async fn wait_for_end(pid: i32, control: &Path) {
    if !is_supervisor(pid, control) {
        return;
    }
    match open_process(pid) {
        Some(process) => {
            if is_supervisor(pid, control) {
                let _ = process.readable().await;
            }
        }
        // A kernel before 5.3.
        None => {
            while is_supervisor(pid, control) {
                tokio::time::sleep(SAMPLE_INTERVAL).await;
            }
        }
    }
}

// The replacement is unsafe because it demands of any type what an `OwnedFd` guarantees.
#[allow(deprecated)]
fn open_process(pid: i32) -> Option<AsyncFd<OwnedFd>> {
    let process = rustix::process::Pid::from_raw(pid)?;
    let descriptor = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::NONBLOCK).ok()?;
    AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE).ok()
}

/// Whether the process runs our script for this control directory. An ended but unreaped process does not.
fn is_supervisor(pid: i32, control: &Path) -> bool {
    let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let wanted = control.as_os_str().as_encoded_bytes();
    command_line.split(|byte| *byte == 0).any(|word| word == wanted)
}

#[cfg(test)]
mod tests;
