//! The progress line of transfers, on stderr: rewritten in place on a terminal, elsewhere only its final form.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Least time between two updates.
const PERIOD: Duration = Duration::from_millis(100);
const MIB: f64 = 1024.0 * 1024.0;

/// Progress of one transfer. Clones count together.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

struct State {
    /// `Sent`, `Received`, `Copied`.
    verb: &'static str,
    total: Option<u64>,
    done: u64,
    started: Instant,
    shown: Option<Instant>,
    watched: bool,
}

impl Progress {
    /// `total` in bytes if known; `watched`: stderr is a terminal.
    pub fn new(verb: &'static str, total: Option<u64>, watched: bool) -> Self {
        let state = State {
            verb,
            total,
            done: 0,
            started: Instant::now(),
            shown: None,
            watched,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Counts `bytes` more.
    pub fn add(&self, bytes: u64) {
        let Ok(mut state) = self.0.lock() else { return };
        state.done += bytes;
        let due = state.shown.is_none_or(|shown| shown.elapsed() >= PERIOD);
        if state.watched && due {
            state.shown = Some(Instant::now());
            let line = format!("\r{}          \t", state.line());
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    /// The final line, to be written to stderr.
    pub fn finish(&self) -> String {
        let Ok(state) = self.0.lock() else { return String::new() };
        if state.watched {
            format!("\r{}          \t\n", state.line())
        } else {
            format!("{}\n", state.line())
        }
    }
}

impl State {
    fn line(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-6);
        render(self.verb, self.done, self.total, self.done as f64 / MIB / seconds)
    }
}

fn render(verb: &str, done: u64, total: Option<u64>, speed: f64) -> String {
    let mib = |bytes: u64| bytes as f64 / MIB;
    match total {
        Some(total) => {
            let percent = if total == 0 {
                100.0
            } else {
                100.0 * done as f64 / total as f64
            };
            format!(
                "{verb} {:.2}MiB / {:.2}MiB ({percent:.1}%) [{speed:.2}MiB/sec]",
                mib(done),
                mib(total)
            )
        }
        None => format!("{verb} {:.2}MiB [{speed:.2}MiB/sec]", mib(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_two_decimals_and_a_percentage_when_the_size_is_known() {
        assert_eq!(
            render("Sent", 1 << 19, Some(1 << 20), 2.1),
            "Sent 0.50MiB / 1.00MiB (50.0%) [2.10MiB/sec]"
        );
        assert_eq!(
            render("Sent", 0, Some(0), 0.0),
            "Sent 0.00MiB / 0.00MiB (100.0%) [0.00MiB/sec]"
        );
        assert_eq!(render("Received", 1 << 19, None, 2.1), "Received 0.50MiB [2.10MiB/sec]");
    }
}
