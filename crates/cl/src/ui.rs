//! All output of the program: results on stdout, everything else on stderr.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Arc, Mutex};

use crate::error::Result;

/// Where output goes.
pub struct Ui {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    err_is_terminal: bool,
}

impl Ui {
    /// The streams of this process.
    pub fn stdio() -> Self {
        Self {
            out: Box::new(BufWriter::with_capacity(64 * 1024, io::stdout())),
            err: Box::new(io::stderr()),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Collects both streams in memory.
    pub fn captured() -> (Self, Captured) {
        let captured = Captured::default();
        let ui = Self {
            out: Box::new(captured.out.clone()),
            err: Box::new(captured.err.clone()),
            err_is_terminal: false,
        };
        (ui, captured)
    }

    /// Collects both streams in memory as one, at most `limit` bytes; what is beyond is left out and said to be.
    pub fn merged(limit: usize) -> (Self, Captured) {
        let captured = Captured {
            out: Sink::limited(limit),
            err: Sink::default(),
        };
        let ui = Self {
            out: Box::new(captured.out.clone()),
            err: Box::new(captured.out.clone()),
            err_is_terminal: false,
        };
        (ui, captured)
    }

    /// A result line on stdout.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        self.text(text)?;
        self.bytes(b"\n")
    }

    /// Text on stdout, no newline added.
    pub fn text(&mut self, text: impl AsRef<str>) -> Result<()> {
        self.bytes(text.as_ref().as_bytes())
    }

    /// Bytes on stdout.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Makes what was written to stdout visible.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    /// A line on stderr. Nobody can be told if that fails.
    pub fn notice(&mut self, text: impl AsRef<str>) {
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{}", text.as_ref());
    }

    /// Text on stderr, no newline added: prompts and progress.
    pub fn notice_part(&mut self, text: &str) {
        let _ = self.out.flush();
        let _ = self.err.write_all(text.as_bytes());
        let _ = self.err.flush();
    }

    /// True if a person watches stderr.
    pub fn is_watched(&self) -> bool {
        self.err_is_terminal
    }
}

/// What a [`Ui::captured`] has received so far.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    out: Sink,
    err: Sink,
}

impl Captured {
    /// Text of stdout.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Text of stderr.
    pub fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Debug, Clone)]
struct Sink {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Default for Sink {
    fn default() -> Self {
        Self::limited(usize::MAX)
    }
}

impl Sink {
    fn limited(limit: usize) -> Self {
        Self {
            bytes: Arc::default(),
            limit,
        }
    }

    fn text(&self) -> String {
        let Ok(bytes) = self.bytes.lock() else {
            return String::new();
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if bytes.len() < self.limit {
            text
        } else {
            format!("{text}\n... the output is longer than {} bytes ...\n", self.limit)
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut all) = self.bytes.lock() {
            let room = self.limit.saturating_sub(all.len());
            all.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_streams_keep_their_order_and_end_at_the_limit() {
        let (mut ui, captured) = Ui::merged(12);
        ui.line("one").unwrap();
        ui.notice("two");
        assert_eq!(captured.out(), "one\ntwo\n");
        ui.line("three four").unwrap();
        assert_eq!(
            captured.out(),
            "one\ntwo\nthre\n... the output is longer than 12 bytes ...\n"
        );
    }
}
