//! Where the log goes and how it looks: `CODALAB_LOG` filters (default `info`), `CODALAB_LOG_FORMAT` is `text` or `json`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sends the log to standard error; the background start points that at the log file of the home.
pub fn init() {
    let filter = std::env::var("CODALAB_LOG").unwrap_or_else(|_| "info,sqlx=warn,hyper=warn".into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second initialisation, as in tests, keeps the first.
    let _ = if std::env::var("CODALAB_LOG_FORMAT").as_deref() == Ok("json") {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.try_init()
    };
}
