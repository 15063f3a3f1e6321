//! `GET /metrics` and `GET /health` on a port of their own, which no proxy publishes.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::{Error, Result};
use http::header;
use model::Census;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::listener::{ListenerOptions, serve_router};
use crate::routes::health;
use crate::state::AppState;
use crate::traffic::sample;

/// The content type of the text format that the counters are written in.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The port of the metrics where nothing else is said.
const DEFAULT_PORT: u16 = 9464;
/// The database is asked for its counts at most this often.
const CENSUS_AGE: Duration = Duration::from_secs(10);

/// The counts of the database as they were a moment ago.
#[derive(Debug, Default)]
pub struct RecentCensus(Mutex<Option<(Instant, Census)>>);

impl RecentCensus {
    /// None when the database cannot say.
    async fn get(&self, state: &AppState) -> Option<Census> {
        let mut recent = self.0.lock().await;
        if let Some((counted, census)) = &*recent
            && counted.elapsed() < CENSUS_AGE
        {
            return Some(census.clone());
        }
        *recent = None;
        let census = state.model.census(state.now()).await.ok()?;
        *recent = Some((Instant::now(), census.clone()));
        Some(census)
    }
}

/// Where the metrics of a program are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsAddress {
    /// `host:port`
    pub address: String,
    /// Somebody asked for this address, so that not getting it is an error.
    pub is_required: bool,
}

impl MetricsAddress {
    /// Reads `CODALAB_METRICS_PORT` (`off` or a port; 9464) and `CODALAB_METRICS_HOST` (127.0.0.1). None is off.
    pub fn from_env() -> Result<Option<Self>> {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::parse(
            text("CODALAB_METRICS_PORT").as_deref(),
            text("CODALAB_METRICS_HOST").as_deref(),
        )
    }

    fn parse(port: Option<&str>, host: Option<&str>) -> Result<Option<Self>> {
        let number = match port {
            Some("off") => return Ok(None),
            Some(text) => text
                .parse()
                .map_err(|_| Error::usage(format!("CODALAB_METRICS_PORT is '{text}'; it must be a port or off")))?,
            None => DEFAULT_PORT,
        };
        Ok(Some(Self {
            address: format!("{}:{number}", host.unwrap_or("127.0.0.1")),
            is_required: port.is_some() || host.is_some(),
        }))
    }
}

/// Serves the metrics until the state's shutdown token is cancelled. An address that is taken is an error only when
/// somebody asked for it.
pub async fn serve_metrics(state: AppState, at: &MetricsAddress) -> Result<()> {
    let listener = match TcpListener::bind(&at.address).await {
        Ok(listener) => listener,
        Err(error) if at.is_required => {
            let message = format!("Cannot listen on {} for metrics: {error}", at.address);
            return Err(Error::internal(message));
        }
        Err(error) => {
            tracing::warn!(address = at.address, %error, "no metrics: set CODALAB_METRICS_PORT to a free port or to off");
            return Ok(());
        }
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics");
    }
    let shutdown = state.shutdown.clone();
    tokio::spawn(async move {
        let served = serve_router(listener, router(state), shutdown, ListenerOptions::default()).await;
        if let Err(error) = served {
            tracing::warn!(%error, "the metrics ended");
        }
    });
    Ok(())
}

/// The routes of the metrics port.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health::ready))
        .with_state(state)
}

async fn metrics(State(state): State<AppState>) -> Response {
    let mut more = String::new();
    connections(&state, &mut more);
    pools(&state, &mut more);
    statements(&state, &mut more);
    if let Some(census) = state.census.get(&state).await {
        bundles_and_workers(&census, &mut more);
    }
    if let Ok(partitions) = state.storage.partitions().await {
        let named: Vec<(String, u64)> = partitions
            .iter()
            .map(|partition| (format!("{{partition={:?}}}", partition.name), partition.available_bytes))
            .collect();
        let values: Vec<(&str, f64)> = named
            .iter()
            .map(|(name, bytes)| (name.as_str(), *bytes as f64))
            .collect();
        sample(&mut more, "storage_free_bytes", "gauge", "Room for contents", &values);
    }
    process(&mut more);
    ([(header::CONTENT_TYPE, FORMAT)], state.traffic.metrics.text(&more)).into_response()
}

fn connections(state: &AppState, out: &mut String) {
    let connections = &state.traffic.connections;
    let open = connections.open() as f64;
    sample(out, "http_connections_open", "gauge", "Open connections", &[("", open)]);
    let accepted = connections.accepted() as f64;
    sample(
        out,
        "http_connections",
        "counter",
        "Connections accepted",
        &[("", accepted)],
    );
    let refused = connections.refused() as f64;
    let help = "Connections refused because their address had too many";
    sample(out, "http_connections_refused", "counter", help, &[("", refused)]);
}

fn pools(state: &AppState, out: &mut String) {
    let mut values = Vec::new();
    for pool in state.model.pools() {
        for (kind, count) in [
            ("idle", pool.idle),
            ("used", pool.open.saturating_sub(pool.idle)),
            ("most", pool.most),
        ] {
            values.push((format!("{{pool=\"{}\",state=\"{kind}\"}}", pool.name), f64::from(count)));
        }
    }
    let values: Vec<(&str, f64)> = values.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
    sample(out, "db_connections", "gauge", "Connections to the database", &values);
}

fn statements(state: &AppState, out: &mut String) {
    let statements = state.model.statements();
    let count = statements.count() as f64;
    let help = "SQL statements executed, BEGIN and COMMIT not among them";
    sample(out, "codalab_database_statements", "counter", help, &[("", count)]);
    let errors = statements.errors() as f64;
    sample(
        out,
        "codalab_database_errors",
        "counter",
        "SQL statements that failed",
        &[("", errors)],
    );
    let seconds = statements.time().as_secs_f64();
    let help = "Time that SQL statements took, all together";
    sample(out, "codalab_database_seconds", "counter", help, &[("", seconds)]);
}

fn bundles_and_workers(census: &Census, out: &mut String) {
    let states: Vec<(String, f64)> = census
        .bundles_by_state
        .iter()
        .map(|(state, count)| (format!("{{state={state:?}}}"), *count as f64))
        .collect();
    let states: Vec<(&str, f64)> = states.iter().map(|(labels, count)| (labels.as_str(), *count)).collect();
    sample(
        out,
        "codalab_bundles",
        "gauge",
        "Bundles; those in staged wait for a worker",
        &states,
    );
    let workers = &census.workers;
    let by_state = [
        ("{state=\"online\"}", workers.online as f64),
        ("{state=\"terminating\"}", workers.terminating as f64),
        ("{state=\"silent\"}", workers.silent as f64),
    ];
    sample(
        out,
        "codalab_workers",
        "gauge",
        "Workers; silent for a minute or more",
        &by_state,
    );
    for (name, help, value) in [
        ("codalab_worker_cpus", "CPUs of the workers online", workers.cpus),
        ("codalab_worker_gpus", "GPUs of the workers online", workers.gpus),
        (
            "codalab_worker_memory_bytes",
            "Memory of the workers online",
            workers.memory_bytes,
        ),
        (
            "codalab_worker_free_disk_bytes",
            "Free disk space of the workers online",
            workers.free_disk_bytes,
        ),
        ("codalab_runs_assigned", "Runs that a worker has", census.assigned_runs),
        (
            "codalab_messages_pending",
            "Messages that wait for a worker",
            census.pending_messages,
        ),
        (
            "codalab_message_oldest_seconds",
            "How long the oldest of them waits",
            census.oldest_message,
        ),
    ] {
        sample(out, name, "gauge", help, &[("", value as f64)]);
    }
}

/// Memory and open files of the process, from `/proc`.
fn process(out: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    });
    if let Some(kilobytes) = resident {
        let values = [("", kilobytes * 1024.0)];
        sample(out, "process_resident_memory_bytes", "gauge", "Memory in use", &values);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        sample(
            out,
            "process_open_fds",
            "gauge",
            "Open files",
            &[("", files.count() as f64)],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_have_a_port_unless_they_are_off() {
        let parse = |port, host| MetricsAddress::parse(port, host).map(|at| at.map(|at| (at.address, at.is_required)));
        assert_eq!(parse(None, None).unwrap(), Some(("127.0.0.1:9464".to_owned(), false)));
        assert_eq!(
            parse(Some("0"), Some("0.0.0.0")).unwrap(),
            Some(("0.0.0.0:0".to_owned(), true))
        );
        assert_eq!(parse(Some("off"), None).unwrap(), None);
        assert!(parse(Some("many"), None).unwrap_err().message.contains("'many'"));
    }
}
