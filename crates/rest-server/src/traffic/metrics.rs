//! What Prometheus reads: requests by route template, method and status, and the state of the process around them. Labels
//! come from the program, never from a client, so their number is bounded.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Upper ends of the latency buckets, in seconds.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0,
];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

type Histograms = Family<RouteLabels, Histogram, fn() -> Histogram>;

/// The counters of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests whose answer is not finished.
    pub in_flight: Gauge,
    requests: Family<StatusLabels, Counter>,
    durations: Histograms,
    received: Family<RouteLabels, Counter>,
    sent: Family<RouteLabels, Counter>,
    shed: Family<ClassLabels, Counter>,
    /// Bodies that were given up.
    pub stalled: Counter,
    known: [RwLock<HashMap<String, Arc<RouteMetrics>>>; METHODS.len()],
}

/// The counters of one route and method, looked up without making labels.
#[derive(Debug)]
struct RouteMetrics {
    by_status: RwLock<Vec<(u16, Counter)>>,
    duration: Histogram,
    received: Counter,
    sent: Counter,
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let in_flight = Gauge::default();
        let requests = Family::default();
        let durations = Histograms::new_with_constructor(histogram);
        let (received, sent) = (Family::default(), Family::default());
        let shed = Family::default();
        let stalled = Counter::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "From the request head to the last byte of the answer",
            durations.clone(),
        );
        registry.register("http_requests_in_flight", "Requests being answered", in_flight.clone());
        registry.register("http_request_body_bytes", "Bytes of request bodies", received.clone());
        registry.register("http_response_body_bytes", "Bytes of answers", sent.clone());
        registry.register(
            "http_requests_shed",
            "Requests refused because the server was busy",
            shed.clone(),
        );
        registry.register(
            "http_bodies_stalled",
            "Request bodies given up because they stopped",
            stalled.clone(),
        );
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("codalab_build", "Version of the program", build);
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        start.set(unix_seconds());
        registry.register("process_start_time_seconds", "When the process started", start);
        Self {
            registry,
            in_flight,
            requests,
            durations,
            received,
            sent,
            shed,
            stalled,
            known: std::array::from_fn(|_| RwLock::default()),
        }
    }

    /// One request is over.
    pub fn count(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration, received: u64, sent: u64) {
        let method = METHODS
            .iter()
            .position(|known| *known == method.as_str())
            .unwrap_or(METHODS.len() - 1);
        let metrics = self.of_route(method, route);
        metrics.duration.observe(elapsed.as_secs_f64());
        metrics.received.inc_by(received);
        metrics.sent.inc_by(sent);
        let status = status.as_u16();
        let known = metrics
            .by_status
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|(known, _)| *known == status)
            .map(|(_, counter)| counter.clone());
        if let Some(counter) = known {
            counter.inc();
            return;
        }
        let labels = StatusLabels {
            method: METHODS[method],
            route: route.to_owned(),
            status,
        };
        let counter = self.requests.get_or_create_owned(&labels);
        counter.inc();
        metrics
            .by_status
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((status, counter));
    }

    /// A request was refused because its class is full.
    pub fn shed(&self, class: &'static str) {
        self.shed.get_or_create(&ClassLabels { class }).inc();
    }

    /// The text that Prometheus reads; `more` adds values that are only known when asked for.
    pub fn text(&self, more: &str) -> String {
        let mut out = String::new();
        // Writing to memory cannot fail.
        let _ = text::encode_registry(&mut out, &self.registry);
        out.push_str(more);
        let _ = text::encode_eof(&mut out);
        out
    }

    fn of_route(&self, method: usize, route: &str) -> Arc<RouteMetrics> {
        let known = &self.known[method];
        if let Some(metrics) = known.read().unwrap_or_else(PoisonError::into_inner).get(route) {
            return Arc::clone(metrics);
        }
        let labels = RouteLabels {
            method: METHODS[method],
            route: route.to_owned(),
        };
        let metrics = Arc::new(RouteMetrics {
            by_status: RwLock::default(),
            duration: self.durations.get_or_create_owned(&labels),
            received: self.received.get_or_create_owned(&labels),
            sent: self.sent.get_or_create_owned(&labels),
        });
        known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(labels.route, Arc::clone(&metrics));
        metrics
    }
}

/// A gauge or counter in the text format.
pub fn sample(out: &mut String, name: &str, kind: &str, help: &str, values: &[(&str, f64)]) {
    let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    let suffix = if kind == "counter" { "_total" } else { "" };
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{suffix}{labels} {value}");
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_status() {
        let metrics = Metrics::new();
        let count = |method: &Method, status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            metrics.count(method, "/rest/users/{spec}", status, Duration::from_millis(3), 5, 70);
        };
        count(&Method::GET, 200);
        count(&Method::GET, 200);
        count(&Method::GET, 404);
        count(&Method::from_bytes(b"BREW").unwrap(), 405);
        metrics.shed("ordinary");
        let mut more = String::new();
        sample(&mut more, "x_open", "gauge", "Open things", &[("{pool=\"read\"}", 2.0)]);
        let text = metrics.text(&more);
        for line in [
            "http_requests_total{method=\"GET\",route=\"/rest/users/{spec}\",status=\"200\"} 2",
            "http_requests_total{method=\"GET\",route=\"/rest/users/{spec}\",status=\"404\"} 1",
            "http_requests_total{method=\"other\",route=\"/rest/users/{spec}\",status=\"405\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.005\",method=\"GET\",route=\"/rest/users/{spec}\"} 3",
            "http_request_body_bytes_total{method=\"GET\",route=\"/rest/users/{spec}\"} 15",
            "http_response_body_bytes_total{method=\"GET\",route=\"/rest/users/{spec}\"} 210",
            "http_requests_shed_total{class=\"ordinary\"} 1",
            "x_open{pool=\"read\"} 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
