//! The same command lines through the Python client of CodaLab 1.7 and through `cl`, by two users of one server: both must
//! print the same to stdout and end with the same status. Where they do not, `differences.txt` says why; nothing else may
//! differ, and nothing listed may have become equal.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use codalab_tests::{PASSWORD, Setup, System, quick};
use testkit::Engine;

/// Names of equal length, so that tables are equally wide.
const PYTHON_USER: &str = "anna";
const OUR_USER: &str = "bert";

/// One command line per line; `ME` is the user who types it.
const LINES: &str = include_str!("differential.txt");
/// `command line | reason`, one per line.
const DIFFERENCES: &str = include_str!("differences.txt");

fn words_of(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
#[ignore = "takes a minute; run it with --run-ignored while the commands are being completed"]
fn both_clients_say_the_same() {
    if quick() {
        return;
    }
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    for user in [PYTHON_USER, OUR_USER] {
        system.create_user(user, PASSWORD);
    }
    system.write("a.txt", "c\nb\na\n");
    system.write("dir/one.txt", "1\n");
    system.write("dir/sub/two words.txt", "2\n");
    system.write("dir/skip.o", "object");
    system.write("sheet.md", "# Title\n\n{first}\n// note\n% display table\n");
    let (python, ours) = (
        system.python_as(PYTHON_USER, PASSWORD),
        system.cl_as(OUR_USER, PASSWORD),
    );
    let explained: BTreeMap<&str, &str> = entries(DIFFERENCES)
        .filter_map(|line| line.rsplit_once(" | "))
        .collect();
    let (mut left, mut right) = (Normal::new(PYTHON_USER), Normal::new(OUR_USER));
    let (mut unexplained, mut stale, mut count) = (Vec::new(), Vec::new(), 0);
    for line in entries(LINES) {
        let words = |user: &str| shlex::split(&line.replace("ME", user)).expect("a command line");
        let (typed, typed_by_us) = (words(PYTHON_USER), words(OUR_USER));
        let theirs = python.run(&words_of(&typed));
        let our = ours.run(&words_of(&typed_by_us));
        let seen = (theirs.code, left.text(&String::from_utf8_lossy(&theirs.stdout)));
        let shown = (our.code, right.text(&String::from_utf8_lossy(&our.stdout)));
        count += 1;
        match (seen == shown, explained.get(line)) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(reason)) => stale.push(format!("{line} | {reason}")),
            (false, None) => unexplained.push(format!(
                "$ cl {line}\n--- Python: {:?}\n{}--- ours: {:?}\n{}--- stderr: {}\n{}",
                seen.0,
                seen.1,
                shown.0,
                shown.1,
                theirs.stderr.trim_end(),
                our.stderr
            )),
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} of {count} differ:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    assert!(stale.is_empty(), "no longer different:\n{}", stale.join("\n"));
    assert!(count >= 150, "{count}");
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Makes the outputs of two users comparable: uuids become numbers in the order of their appearance, names and dates signs.
struct Normal {
    user: &'static str,
    numbers: HashMap<String, usize>,
}

impl Normal {
    fn new(user: &'static str) -> Self {
        Self {
            user,
            numbers: HashMap::new(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let text = text.replace(self.user, "USER");
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("0x") {
            let digits = rest[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
            let word = &rest[at..at + 2 + digits];
            out.push_str(&rest[..at]);
            if digits == 6 || digits == 32 {
                let next = self.numbers.len() + 1;
                let number = *self.numbers.entry(word[..8].to_owned()).or_insert(next);
                write!(out, "U{number:0width$}", width = digits + 1).unwrap();
            } else {
                out.push_str(word);
            }
            rest = &rest[at + 2 + digits..];
        }
        out.push_str(rest);
        out.lines().map(|line| without_times(line) + "\n").collect()
    }
}

/// A line in which every digit that may belong to a date, a time or an epoch is a zero.
fn without_times(line: &str) -> String {
    let is_time = line.contains("created") || line.contains("date_joined") || line.contains("last_login");
    let has_date = line
        .as_bytes()
        .windows(5)
        .any(|w| w[0] == b'-' && w[3] == b'-' || w[2] == b':' && w[0].is_ascii_digit());
    if is_time || has_date {
        line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
    } else {
        line.to_owned()
    }
}
