//! Control groups for jobs without a container: a memory limit that the kernel keeps, and exact accounting.
//! Works with version 2, version 1 and not at all; which one is found out once, at the start of the worker.

use std::fs;
use std::path::{Path, PathBuf};

use crate::runtime::Usage;

/// Where job groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroups {
    Unavailable,
    /// One directory below which groups are made.
    V2(PathBuf),
    /// One directory per controller.
    V1 {
        memory: PathBuf,
        cpuacct: Option<PathBuf>,
    },
}

const PARENT: &str = "codalab-runs";

impl Cgroups {
    /// Looks for a hierarchy in which this process may make groups with a memory limit.
    pub fn discover() -> Self {
        let Ok(own) = fs::read_to_string("/proc/self/cgroup") else {
            return Self::Unavailable;
        };
        Self::v2(&own).or_else(|| Self::v1(&own)).unwrap_or(Self::Unavailable)
    }

    fn v2(own: &str) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        if !root.join("cgroup.controllers").exists() {
            return None;
        }
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        // A group that holds processes cannot have limited children, so the nearest suitable one is further up.
        root.join(path)
            .ancestors()
            .take_while(|at| at.starts_with(root))
            .find_map(|at| {
                let parent = at.join(PARENT);
                fs::create_dir_all(&parent).ok()?;
                fs::write(parent.join("cgroup.subtree_control"), "+memory +cpu").ok()?;
                works(&parent, "memory.max").then_some(Self::V2(parent))
            })
    }

    fn v1(own: &str) -> Option<Self> {
        let find = |controller: &str| {
            let path = own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                parts
                    .next()?
                    .split(',')
                    .any(|name| name == controller)
                    .then(|| parts.next())?
            })?;
            let root = Path::new("/sys/fs/cgroup").join(controller);
            [root.join(path.trim_start_matches('/')), root.clone()]
                .into_iter()
                .find_map(|at| {
                    let parent = at.join(PARENT);
                    fs::create_dir_all(&parent).ok().map(|()| parent)
                })
        };
        let memory = find("memory")?;
        let cpuacct = find("cpuacct");
        works(&memory, "memory.limit_in_bytes").then_some(Self::V1 { memory, cpuacct })
    }

    /// Makes the group of a job. The result is empty when groups are unavailable.
    pub fn create(&self, name: &str, memory: u64) -> std::io::Result<JobGroup> {
        let group = self.find(name);
        for directory in group.directories() {
            match fs::create_dir(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        match &group {
            JobGroup::None => {}
            JobGroup::V2(at) => {
                fs::write(at.join("memory.max"), memory.to_string())?;
                // Absent without swap accounting.
                let _ = fs::write(at.join("memory.swap.max"), "0");
            }
            JobGroup::V1 { memory: at, .. } => {
                fs::write(at.join("memory.limit_in_bytes"), memory.to_string())?;
                let _ = fs::write(at.join("memory.memsw.limit_in_bytes"), memory.to_string());
            }
        }
        Ok(group)
    }

    /// The group of a job, whether or not it exists.
    pub fn find(&self, name: &str) -> JobGroup {
        match self {
            Self::Unavailable => JobGroup::None,
            Self::V2(parent) => JobGroup::V2(parent.join(name)),
            Self::V1 { memory, cpuacct } => JobGroup::V1 {
                memory: memory.join(name),
                cpuacct: cpuacct.as_ref().map(|at| at.join(name)),
            },
        }
    }
}

/// Whether a group below `parent` gets the limit file and takes processes.
fn works(parent: &Path, limit: &str) -> bool {
    let probe = parent.join(format!("probe-{}", std::process::id()));
    if fs::create_dir(&probe).is_err() {
        return false;
    }
    let joins = probe.join(limit).exists()
        && std::process::Command::new("/bin/sh")
            .args(["-c", "echo 0 >\"$1/cgroup.procs\"", "sh"])
            .arg(&probe)
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    let _ = fs::remove_dir(&probe);
    joins
}

/// The group of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobGroup {
    None,
    V2(PathBuf),
    V1 { memory: PathBuf, cpuacct: Option<PathBuf> },
}

impl JobGroup {
    /// Directories whose `cgroup.procs` a process has to enter.
    pub fn directories(&self) -> Vec<&Path> {
        match self {
            Self::None => Vec::new(),
            Self::V2(at) => vec![at],
            Self::V1 { memory, cpuacct } => std::iter::once(memory).chain(cpuacct).map(PathBuf::as_path).collect(),
        }
    }

    /// Processes in the group, as this machine numbers them.
    pub fn members(&self) -> Vec<i32> {
        let Some(first) = self.directories().first().map(|at| at.join("cgroup.procs")) else {
            return Vec::new();
        };
        let text = fs::read_to_string(first).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// Whether the kernel killed a member for want of memory; `None` when it does not say.
    pub fn out_of_memory(&self) -> Option<bool> {
        let (file, key) = match self {
            Self::None => return None,
            Self::V2(at) => (at.join("memory.events"), "oom_kill"),
            Self::V1 { memory, .. } => (memory.join("memory.oom_control"), "oom_kill"),
        };
        Some(keyed_number(&fs::read_to_string(file).ok()?, key)? > 0)
    }

    /// What the group uses; `cpu` is left 0. `None` without a group.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::None => None,
            Self::V2(at) => {
                let memory = number(&at.join("memory.current"))?;
                let cpu = fs::read_to_string(at.join("cpu.stat")).unwrap_or_default();
                let seconds = |key| keyed_number(&cpu, key).unwrap_or(0) as f64 / 1e6;
                Some(Usage {
                    memory,
                    memory_max: number(&at.join("memory.peak")).unwrap_or(memory),
                    user_seconds: seconds("user_usec"),
                    system_seconds: seconds("system_usec"),
                    ..Usage::default()
                })
            }
            Self::V1 { memory, cpuacct } => {
                let now = number(&memory.join("memory.usage_in_bytes"))?;
                let stat = cpuacct
                    .as_ref()
                    .and_then(|at| fs::read_to_string(at.join("cpuacct.stat")).ok());
                let seconds =
                    |key| stat.as_deref().and_then(|text| keyed_number(text, key)).unwrap_or(0) as f64 / 100.0;
                Some(Usage {
                    memory: now,
                    memory_max: number(&memory.join("memory.max_usage_in_bytes")).unwrap_or(now),
                    user_seconds: seconds("user"),
                    system_seconds: seconds("system"),
                    ..Usage::default()
                })
            }
        }
    }

    /// Asks the kernel to kill every member; false when it has to be done one by one.
    pub fn kill(&self) -> bool {
        matches!(self, Self::V2(at) if fs::write(at.join("cgroup.kill"), "1").is_ok())
    }

    /// Removes the empty group.
    pub fn remove(&self) {
        for directory in self.directories() {
            let _ = fs::remove_dir(directory);
        }
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn keyed_number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::keyed_number;

    #[test]
    fn kernel_tables_are_read_by_key() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed_number(text, "oom_kill"), Some(3));
        assert_eq!(keyed_number(text, "missing"), None);
    }
}
