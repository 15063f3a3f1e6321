//! Where the log goes and how it looks. `CODALAB_LOG` holds filters (default `info`), `CODALAB_LOG_FORMAT` is `text` or
//! `json`; without it a terminal gets text, and everything else what the program chooses.
//!
//! A JSON line has `ts` (RFC 3339, UTC), `level`, `target`, `msg`, and the fields of the event.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Libraries that tell more at `info` than an operator wants to read.
const QUIET: &str = "sqlx=warn,hyper=warn,refinery_core=warn";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

/// Sends the log to standard error. `level` (e.g. `info`) holds where `CODALAB_LOG` says nothing, `collected` is the format
/// where standard error is no terminal and `CODALAB_LOG_FORMAT` says nothing. A second call, as in tests, changes nothing.
pub fn start(level: &str, collected: Format) {
    let filter = EnvFilter::try_from_env("CODALAB_LOG").unwrap_or_else(|_| EnvFilter::new(format!("{level},{QUIET}")));
    let terminal = std::io::stderr().is_terminal();
    let format = match std::env::var("CODALAB_LOG_FORMAT").as_deref() {
        Ok("json") => Format::Json,
        Ok("text") => Format::Text,
        _ if terminal => Format::Text,
        _ => collected,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(terminal)
        .with_writer(std::io::stderr)
        // Where a line cannot be written (a full disk), telling so on the same stream would be a panic.
        .log_internal_errors(false);
    let _ = match format {
        Format::Json => builder.event_format(JsonLines).try_init(),
        Format::Text => builder.try_init(),
    };
}

/// One JSON object per event.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("ts".into(), jiff::Timestamp::now().to_string().into());
        line.insert("level".into(), metadata.level().as_str().into());
        line.insert("target".into(), metadata.target().into());
        let mut fields = Fields(line);
        event.record(&mut fields);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// Collects the fields of an event; `message` is called `msg`.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => "msg",
            name => name,
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_documented_fields_whatever_the_values_hold() {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(JsonLines)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(status = 404, path = "/a\"b\n", user = ?Some("u"), "gone");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["msg"], "gone");
        assert_eq!(line["status"], 404);
        assert_eq!(line["path"], "/a\"b\n");
        assert!(line["ts"].as_str().unwrap().ends_with('Z'), "{text}");
        assert_eq!(line["target"], "startup::logging::tests");
    }
}
