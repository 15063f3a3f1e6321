//! What this machine has: processors, memory, GPUs, disk space.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::config::Gpus;
use crate::error::{Error, Result};

/// The host's `nvidia-smi` may hang when a driver is broken.
const GPU_PATIENCE: Duration = Duration::from_secs(20);

/// The part of the machine that bundles may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub cpus: BTreeSet<u32>,
    /// GPU UUIDs.
    pub gpus: BTreeSet<String>,
    /// Bytes offered to bundles.
    pub memory: u64,
    pub hostname: String,
}

/// Processors of this process's affinity mask.
pub fn affinity() -> BTreeSet<u32> {
    let own = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    let listed: BTreeSet<u32> = own
        .ok()
        .into_iter()
        .flat_map(|mask| {
            (0..nix::sched::CpuSet::count())
                .filter(move |cpu| mask.is_set(*cpu).unwrap_or(false))
                .map(|cpu| cpu as u32)
        })
        .collect();
    if listed.is_empty() {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        return (0..count as u32).collect();
    }
    listed
}

/// The processors of an explicit list, which must all be among `available`.
pub fn choose_cpus(listed: Option<&[u32]>, available: &BTreeSet<u32>) -> Result<BTreeSet<u32>> {
    let Some(listed) = listed else {
        return Ok(available.clone());
    };
    let chosen: BTreeSet<u32> = listed.iter().copied().collect();
    if chosen.len() != listed.len() {
        return Err(Error::Usage("CPUSET_STR invalid: CPUs not distinct values".to_owned()));
    }
    if !chosen.is_subset(available) || chosen.is_empty() {
        return Err(Error::Usage("CPUSET_STR invalid: CPUs out of range".to_owned()));
    }
    Ok(chosen)
}

/// The UUIDs of the chosen GPUs; `available` maps indices to UUIDs.
pub fn choose_gpus(wanted: &Gpus, available: &BTreeMap<String, String>) -> Result<BTreeSet<String>> {
    match wanted {
        Gpus::None => Ok(BTreeSet::new()),
        Gpus::All => Ok(available.values().cloned().collect()),
        Gpus::Listed(names) => names
            .iter()
            .map(|name| {
                let by_uuid = available.values().find(|uuid| *uuid == name);
                by_uuid.or_else(|| available.get(name)).cloned()
            })
            .collect::<Option<_>>()
            .ok_or_else(|| Error::Usage("GPUSET_STR invalid: GPUs out of range".to_owned())),
    }
}

/// GPUs as the host's `nvidia-smi` lists them, index to UUID; empty without the tool.
pub async fn host_gpus() -> BTreeMap<String, String> {
    let asked = tokio::process::Command::new("nvidia-smi")
        .args(["--query-gpu=index,uuid", "--format=csv,noheader"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(GPU_PATIENCE, asked).await {
        Ok(Ok(output)) if output.status.success() => parse_gpus(&String::from_utf8_lossy(&output.stdout)),
        _ => BTreeMap::new(),
    }
}

/// Lines `<index>, GPU-<hex and dashes>`; others are skipped.
pub fn parse_gpus(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let (index, uuid) = line.split_once(',')?;
            let (index, uuid) = (index.trim(), uuid.trim());
            let known = index.bytes().all(|byte| byte.is_ascii_digit())
                && uuid
                    .strip_prefix("GPU-")?
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            (known && !index.is_empty()).then(|| (index.to_owned(), uuid.to_owned()))
        })
        .collect()
}

/// Physical memory in bytes; 0 when the kernel does not say.
pub fn physical_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kib| kib * 1024)
}

/// Free bytes that this account may use on the file system of `path`; 0 when unknown.
pub fn free_disk(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

pub fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_checked_against_the_affinity_mask() {
        let available = BTreeSet::from([0, 1, 2]);
        assert_eq!(choose_cpus(None, &available).unwrap(), available);
        assert_eq!(choose_cpus(Some(&[2, 0]), &available).unwrap(), BTreeSet::from([0, 2]));
        for (listed, why) in [
            (vec![1, 1], "not distinct"),
            (vec![3], "out of range"),
            (vec![], "out of range"),
        ] {
            let error = choose_cpus(Some(&listed), &available).unwrap_err().to_string();
            assert!(
                error.starts_with("CPUSET_STR invalid: CPUs ") && error.contains(why),
                "{error}"
            );
        }
    }

    #[test]
    fn gpus_are_named_by_index_or_uuid() {
        let available = parse_gpus("0, GPU-aa-1\n1, GPU-bb-2\nFailed to initialize\n, GPU-cc\n");
        assert_eq!(available.len(), 2);
        let all = BTreeSet::from(["GPU-aa-1".to_owned(), "GPU-bb-2".to_owned()]);
        assert_eq!(choose_gpus(&Gpus::All, &available).unwrap(), all);
        assert_eq!(
            choose_gpus(&Gpus::Listed(vec!["1".into(), "GPU-aa-1".into()]), &available).unwrap(),
            all
        );
        assert!(choose_gpus(&Gpus::None, &available).unwrap().is_empty());
        assert!(choose_gpus(&Gpus::Listed(vec!["7".into()]), &available).is_err());
    }

    #[test]
    fn the_machine_that_runs_the_tests_has_processors_memory_and_disk() {
        assert!(!affinity().is_empty());
        assert!(physical_memory() > 1 << 20);
        assert!(free_disk(Path::new("/")) > 0);
        assert!(!hostname().is_empty());
    }
}
