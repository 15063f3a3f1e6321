//! The first and last lines of a text file, as web page, worksheets and `cl` show them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::{Error, Result, SubPath, open_file};

/// What part of a text is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Lines from the start; 0 = none.
    pub head: usize,
    /// Lines from the end; 0 = none.
    pub tail: usize,
    /// Characters per line that are provided for; longer texts are cut.
    pub max_line_length: usize,
    /// Stands where lines were left out, verbatim.
    pub truncation_text: String,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            head: 0,
            tail: 0,
            max_line_length: 128,
            truncation_text: String::new(),
        }
    }
}

/// Windows larger than this are not read: the answer is built in memory.
const MAX_WINDOW: u64 = 16 << 20;

/// Summarises the file at `path` below `root`: `<none>` when it has vanished, `<binary>` when it is not UTF-8.
pub fn summarize(root: &Path, path: &SubPath, summary: &Summary) -> Result<String> {
    let blob = match open_file(root, path) {
        Err(Error::NotFound) => return Ok("<none>".to_owned()),
        other => other?,
    };
    let size = blob.size();
    let mut file = blob.into_file();
    Ok(summarize_file(&mut file, size, summary)?.unwrap_or_else(|| "<binary>".to_owned()))
}

/// `None` when the text is not UTF-8.
fn summarize_file(file: &mut File, size: u64, summary: &Summary) -> Result<Option<String>> {
    let window = |lines: usize| ((lines as u64).saturating_mul(summary.max_line_length as u64)).min(MAX_WINDOW);
    let (head_window, tail_window) = (window(summary.head), window(summary.tail));
    if size <= head_window + tail_window {
        let bytes = read_at(file, 0, size)?;
        return Ok(String::from_utf8(bytes)
            .ok()
            .map(|text| short_text(&unix_newlines(&text), summary)));
    }
    let mut parts: Vec<String> = Vec::new();
    if summary.head > 0 {
        // The window counts characters; one has at most four bytes.
        let bytes = read_at(file, 0, (head_window * 4).min(MAX_WINDOW))?;
        let Some(text) = decode_prefix(&bytes) else {
            return Ok(None);
        };
        let text: String = unix_newlines(text).chars().take(head_window as usize).collect();
        let lines = lines(&text).take(summary.head).filter(|line| ends_line(line));
        parts.push(lines.collect());
    }
    if summary.tail > 0 {
        let bytes = read_at(file, size - (tail_window + 1).min(size), tail_window + 1)?;
        // The window may start inside a character.
        let start = bytes
            .iter()
            .position(|byte| byte & 0xC0 != 0x80)
            .unwrap_or(bytes.len())
            .min(3);
        let Ok(text) = str::from_utf8(&bytes[start.min(bytes.len())..]) else {
            return Ok(None);
        };
        let text = unix_newlines(text);
        let all: Vec<&str> = lines(&text).skip(1).collect();
        let mut tail = all[all.len().saturating_sub(summary.tail)..].concat();
        if !tail.is_empty() && !tail.ends_with('\n') {
            tail.push('\n');
        }
        parts.push(tail);
    }
    Ok(Some(parts.join(&summary.truncation_text)))
}

fn short_text(text: &str, summary: &Summary) -> String {
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let all: Vec<&str> = lines(&text).collect();
    if all.len() <= summary.head + summary.tail {
        return text;
    }
    let head = all[..summary.head].concat();
    let tail = all[all.len() - summary.tail..].concat();
    match (summary.head, summary.tail) {
        (0, _) => tail,
        (_, 0) => head,
        _ => head + &summary.truncation_text + &tail,
    }
}

fn read_at(file: &mut File, offset: u64, length: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::io("read file", source);
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Decodes all but a character cut off at the end.
fn decode_prefix(bytes: &[u8]) -> Option<&str> {
    match str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

fn unix_newlines(text: &str) -> String {
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_owned()
    }
}

/// Lines with their ends. Other line ends than LF matter only for counting, for fidelity with Python's splitlines.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(is_line_end)
}

fn ends_line(line: &str) -> bool {
    line.ends_with(is_line_end)
}

fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(bytes: &[u8], head: usize, tail: usize, max_line_length: usize, text: &str) -> String {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("f"), bytes).unwrap();
        let wanted = Summary {
            head,
            tail,
            max_line_length,
            truncation_text: text.to_owned(),
        };
        summarize(temp.path(), &SubPath::parse("f").unwrap(), &wanted).unwrap()
    }

    #[test]
    fn the_pinned_examples_hold() {
        let short = b"red\nblue\n".as_slice();
        let hello = b"hello world".as_slice();
        for (bytes, head, tail, max, text, expected) in [
            (short, 1, 0, 5, "", "red\n"),
            (short, 0, 1, 5, "", "blue\n"),
            (short, 1, 1, 5, "", "red\nblue\n"),
            (short, 1, 0, 3, "", ""),
            (short, 0, 1, 3, "", ""),
            (short, 1, 1, 3, "<cut>", "<cut>"),
            (hello, 1, 1, 3, "....", "...."),
            (hello, 50, 0, 128, "", "hello world\n"),
            (b"", 5, 5, 128, "x", ""),
            (b"a\r\nb\rc", 10, 0, 128, "", "a\nb\nc\n"),
            (b"1\n2\n3\n4\n5\n", 1, 1, 10, "..", "1\n..5\n"),
            (b"1\n2\n3\n4\n5\n", 2, 0, 10, "..", "1\n2\n"),
            (b"1\n2\n3\n4\n5\n", 0, 2, 10, "..", "4\n5\n"),
            (b"1\n2\n3\n4\n5", 1, 1, 2, "..", "1\n..5\n"),
            (b"\xff\xfe", 1, 1, 128, "", "<binary>"),
            (b"text\0with nul", 1, 1, 128, "", "text\0with nul\n"),
        ] {
            assert_eq!(
                summary_of(bytes, head, tail, max, text),
                expected,
                "{bytes:?} {head} {tail} {max}"
            );
        }
    }

    #[test]
    fn a_tail_that_starts_inside_a_character_is_text() {
        let text = format!("{}\nlast\n", "é".repeat(100));
        for max in 4..40 {
            assert_eq!(
                summary_of(text.as_bytes(), 0, 1, max, ""),
                if max >= 5 { "last\n" } else { "" },
                "{max}"
            );
        }
    }

    #[test]
    fn only_the_part_that_is_read_decides_on_binary() {
        let mut bytes = b"line\n".repeat(100);
        bytes.extend_from_slice(&[0xff; 50]);
        assert_eq!(summary_of(&bytes, 1, 0, 8, ""), "line\n");
        assert_eq!(summary_of(&bytes, 0, 1, 8, ""), "<binary>");
    }

    #[test]
    fn a_missing_file_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let gone = SubPath::parse("gone").unwrap();
        assert_eq!(summarize(temp.path(), &gone, &Summary::default()).unwrap(), "<none>");
    }
}
