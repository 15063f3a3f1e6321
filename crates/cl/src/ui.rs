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

#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        self.0
            .lock()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut all) = self.0.lock() {
            all.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
