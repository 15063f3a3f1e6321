//! What `/proc` tells about a job: its processes, memory and processor time.

use std::collections::BTreeSet;
use std::fs;

use crate::runtime::Usage;

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub session: i32,
    pub zombie: bool,
    /// Clock ticks, including children that were waited for.
    user: u64,
    system: u64,
    /// Resident pages.
    resident: u64,
}

impl Process {
    fn parse(text: &str) -> Option<Self> {
        // The command name is in parentheses and may itself contain anything.
        let (head, tail) = text.rsplit_once(") ")?;
        let pid = head.split(' ').next()?.parse().ok()?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            user: field(11)? + field(13)?,
            system: field(12)? + field(14)?,
            resident: field(21)?,
        })
    }

    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

/// All live processes below `root` or in its session, without `root`. Reads the whole of `/proc`.
pub fn members(root: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let all: Vec<Process> = entries
        .filter_map(|entry| Process::read(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .filter(|process| !process.zombie)
        .collect();
    let mut found: BTreeSet<i32> = all.iter().filter(|p| p.session == root).map(|p| p.pid).collect();
    found.insert(root);
    loop {
        let before = found.len();
        found.extend(
            all.iter()
                .filter(|p| found.contains(&p.parent))
                .map(|p| p.pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    found.remove(&root);
    found.into_iter().collect()
}

/// Sums over the descendants of `root`, found through the kernel's lists of children; `cpu` and `memory_max` are left 0.
pub fn usage(root: i32) -> Usage {
    let ticks = 100.0;
    let page = 4096;
    let mut sum = Usage::default();
    let mut open = children(root);
    while let Some(pid) = open.pop() {
        open.extend(children(pid));
        if let Some(process) = Process::read(pid) {
            sum.memory += process.resident * page;
            sum.user_seconds += process.user as f64 / ticks;
            sum.system_seconds += process.system as f64 / ticks;
        }
    }
    sum
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|text| {
            text.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_confuse_the_parser() {
        let text = "12 (a) (b) S 3 12 7 0 -1 0 0 0 0 0 10 5 1 2 20 0 1 0 100 4096 33 0";
        let process = Process::parse(text).expect("parses");
        assert_eq!((process.pid, process.parent, process.session), (12, 3, 7));
        assert_eq!((process.user, process.system, process.resident), (11, 7, 33));
        assert!(!process.zombie);
    }

    #[test]
    fn this_process_is_found_below_its_parent() {
        let own = std::process::id() as i32;
        let parent = Process::read(own).expect("own entry").parent;
        assert!(members(parent).contains(&own));
    }
}
