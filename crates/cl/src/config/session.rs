//! Which session a `cl` process belongs to: the shell it was started from, however many scripts are in between.

use std::path::Path;

/// Most ancestors looked at.
const MAX_STEPS: usize = 10;
/// Programs that pass the session on to what they start.
const SHELLS: [&str; 9] = [
    "sh",
    "bash",
    "csh",
    "tcsh",
    "zsh",
    "python",
    "ruby",
    "powershell",
    "cmd",
];

/// The session's name: `chosen` (`CODALAB_SESSION`) if not empty, else the pid of the outermost of the shells this
/// process was started from, else `top`.
pub fn session_name(chosen: Option<&str>) -> String {
    match chosen {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => walk(std::os::unix::process::parent_id(), &inspect),
    }
}

/// When the process `pid` started, in a form that no other process ever has; `None` if there is no such process.
pub(super) fn process_mark(pid: &str) -> Option<String> {
    if pid.is_empty() || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{} {} {started}", boot.trim(), namespace.display()))
}

/// First word of the command line, and parent, of a process.
type Inspected = Option<(String, u32)>;

fn walk(parent: u32, inspect: &dyn Fn(u32) -> Inspected) -> String {
    let mut outermost = None;
    let mut pid = parent;
    for _ in 0..MAX_STEPS {
        let Some((word, parent)) = inspect(pid) else { break };
        if !is_shell(&word) {
            break;
        }
        outermost = Some(pid);
        pid = parent;
    }
    outermost.map_or_else(|| "top".to_owned(), |pid| pid.to_string())
}

fn is_shell(word: &str) -> bool {
    let base = word.rsplit('/').next().unwrap_or(word);
    let base = base.strip_prefix('-').unwrap_or(base);
    SHELLS.iter().any(|shell| base.starts_with(shell))
}

fn inspect(pid: u32) -> Inspected {
    if pid == 0 {
        return None;
    }
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let word = command.split(|byte| *byte == 0).next()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; the parent is the second field after it.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Some((String::from_utf8_lossy(word).into_owned(), parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_of_consecutive_shells_names_the_session() {
        let tree = |pid: u32| match pid {
            50 => Some(("/usr/bin/python3.11".to_owned(), 40)),
            40 => Some(("bash".to_owned(), 30)),
            30 => Some(("-zsh".to_owned(), 20)),
            20 => Some(("tmux: server".to_owned(), 1)),
            10 => Some(("/bin/sh".to_owned(), 9)),
            _ => None,
        };
        assert_eq!(walk(50, &tree), "30");
        assert_eq!(walk(20, &tree), "top");
        assert_eq!(walk(10, &tree), "10");
        assert_eq!(walk(999, &tree), "top");
    }

    #[test]
    fn the_walk_ends_after_ten_steps() {
        assert_eq!(walk(100, &|pid| Some(("sh".to_owned(), pid + 1))), "109");
    }

    #[test]
    fn a_chosen_name_wins_and_this_process_can_be_inspected() {
        assert_eq!(session_name(Some("mine")), "mine");
        assert!(!session_name(Some("")).is_empty());
        assert!(process_mark(&std::process::id().to_string()).is_some());
        assert!(process_mark("top").is_none());
    }
}
