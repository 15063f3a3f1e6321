//! How far this machine lets jobs without a container be fenced in, and the command lines that do it. The tools are
//! those of util-linux, which every Linux installation has; what is missing or forbidden is left out.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::runtime::Job;

const SCRIPT: &str = include_str!("sandbox.sh");

/// What works here; found out once.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    /// Arguments of `unshare` that give a job its own mount, process and IPC namespaces.
    namespaces: Option<Vec<&'static str>>,
    /// A network namespace without any interface can be had too.
    network: bool,
    /// `taskset` can pin jobs to processors.
    pins: bool,
}

impl Sandbox {
    /// Tries things out; takes a few milliseconds. `scratch` is a directory for the trial.
    pub fn discover(scratch: &Path) -> Self {
        let mut sandbox = Self {
            pins: succeeds(Command::new("taskset").args(["-p", "1"])),
            ..Self::default()
        };
        let fence = ["--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let rootless: Vec<&str> = ["--user", "--map-current-user", "--keep-caps"]
            .into_iter()
            .chain(fence)
            .collect();
        let (run, tmp) = (scratch.join("trial"), scratch.join("trial-tmp"));
        if fs::create_dir_all(&run)
            .and_then(|()| fs::create_dir_all(&tmp))
            .is_err()
        {
            return sandbox;
        }
        for candidate in [fence.to_vec(), rootless] {
            let fenced = |extra: &[&str]| {
                let mut command = Command::new("unshare");
                command
                    .args(&candidate)
                    .args(extra)
                    .args(script_arguments(&run, scratch, &tmp, 1 << 20))
                    .arg("true");
                succeeds(&mut command)
            };
            if fenced(&[]) {
                sandbox.network = fenced(&["--net"]);
                sandbox.namespaces = Some(candidate);
                break;
            }
        }
        let _ = fs::remove_dir_all(&run);
        let _ = fs::remove_dir_all(&tmp);
        sandbox
    }

    /// One line for the log.
    pub fn describe(&self) -> &'static str {
        if self.namespaces.is_some() {
            "own mount, process and IPC namespaces, host files read-only"
        } else {
            "no namespaces (not permitted here): bundles can change files of this account"
        }
    }

    /// The words to put before a job's command. `work` is the work directory, `tmp` a private directory for `/tmp`.
    pub fn prefix(&self, job: &Job, work: &Path, tmp: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if self.pins && !job.cpus.is_empty() {
            let cpus: Vec<String> = job.cpus.iter().map(u32::to_string).collect();
            words.extend(["taskset".into(), "-c".into(), cpus.join(",").into()]);
        }
        if let Some(flags) = &self.namespaces {
            words.push("unshare".into());
            words.extend(flags.iter().map(OsString::from));
            if !job.network && self.network {
                words.push("--net".into());
            }
            words.extend(script_arguments(&job.directory, work, tmp, job.shared_memory));
        }
        words
    }
}

fn script_arguments(run: &Path, work: &Path, tmp: &Path, shared_memory: u64) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["/bin/bash".into(), "-c".into(), SCRIPT.into(), "sandbox".into()];
    words.extend([run.into(), work.into(), tmp.into(), shared_memory.to_string().into()]);
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    for mount in writable_mounts(&table) {
        words.extend([mount.at.into(), mount.options.into()]);
    }
    words.push("--".into());
    words
}

#[derive(Debug, PartialEq)]
struct HostMount {
    at: PathBuf,
    /// Options that must be repeated, each with a comma before it.
    options: String,
}

/// Mounts that hold the host's files and are writable now.
fn writable_mounts(table: &[u8]) -> Vec<HostMount> {
    let mut mounts: Vec<HostMount> = Vec::new();
    for line in table.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let (Some(at), Some(options)) = (fields.get(4), fields.get(5)) else {
            continue;
        };
        let at = PathBuf::from(OsString::from_vec(unescape(at)));
        let options = String::from_utf8_lossy(options);
        let system = ["/proc", "/sys", "/dev"].iter().any(|prefix| at.starts_with(prefix));
        if system || !options.split(',').any(|option| option == "rw") || mounts.iter().any(|seen| seen.at == at) {
            continue;
        }
        let kept = options
            .split(',')
            .filter(|option| matches!(*option, "nosuid" | "nodev" | "noexec"))
            .fold(String::new(), |text, option| text + "," + option);
        mounts.push(HostMount { at, options: kept });
    }
    mounts
}

/// The kernel writes blanks, tabs, newlines and backslashes of paths as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(code) = code {
            plain.push(code);
            rest = &tail[3..];
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    plain
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_mounts_of_host_files_are_made_read_only() {
        let table = b"1 0 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            2 1 0:25 / /opt/x\\040y rw,nosuid,nodev - ext4 d rw\n\
            3 1 0:26 / /mnt/cd ro,nodev - iso9660 d ro\n\
            4 1 0:27 / /proc rw - proc proc rw\n\
            5 1 0:28 / /dev/shm rw - tmpfs tmpfs rw\n\
            6 1 254:0 / / rw - ext4 /dev/vda rw\n";
        let expected = [
            HostMount {
                at: "/".into(),
                options: String::new(),
            },
            HostMount {
                at: "/opt/x y".into(),
                options: ",nosuid,nodev".into(),
            },
        ];
        assert_eq!(writable_mounts(table), expected);
    }
}
