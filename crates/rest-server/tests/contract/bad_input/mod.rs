//! Bad input, against every route that the server has: whatever is sent, the answer is one of the 4xx with a message (or
//! a documented success), within bounded time, never a 5xx; and a refused request changes nothing in the database.

mod bodies;
mod literal;
mod parameters;
mod volume;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rest_server::Settings;
use rest_server::routes::Route;
use testkit::Engine;

use crate::scene::Scene;
use crate::wire::{self, Answer, Request};

/// No request may take longer, on a busy machine and without optimisation.
const LONGEST: Duration = Duration::from_secs(15);
/// A test of very many requests stops after this time, which only a very busy machine needs.
const BUDGET: Duration = Duration::from_secs(75);

/// Declares tests that run once per database.
macro_rules! on_both {
    ($($(#[$note:meta])* async fn $name:ident($range:ident) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn check($range: &mut $crate::bad_input::Range) $body

            #[tokio::test]
            async fn sqlite() {
                let mut range = $crate::bad_input::Range::open(testkit::Engine::Sqlite).await;
                check(&mut range).await;
                range.close().await;
            }

            #[tokio::test]
            async fn mariadb() {
                let mut range = $crate::bad_input::Range::open(testkit::Engine::Mariadb).await;
                check(&mut range).await;
                range.close().await;
            }
        })*
    };
}
pub(crate) use on_both;

/// A scene under fire, with what went wrong so far.
pub struct Range {
    pub scene: Scene,
    before: BTreeMap<String, String>,
    wrong: Vec<String>,
    /// The request that took the longest.
    slowest: (Duration, String),
    /// No request may take longer.
    pub longest: Duration,
    pub shots: usize,
    started: Instant,
    accepted: usize,
}

impl Range {
    pub async fn open(engine: Engine) -> Self {
        let mut scene = Scene::start(engine, Settings::default()).await;
        for role in ["alice", "bob", "root"] {
            scene.token(role).await;
        }
        let before = scene.sql.fingerprint().await;
        Self {
            scene,
            before,
            wrong: Vec::new(),
            slowest: (Duration::ZERO, String::new()),
            longest: LONGEST,
            shots: 0,
            started: Instant::now(),
            accepted: 0,
        }
    }

    pub async fn close(self) {
        let (took, what) = &self.slowest;
        println!(
            "{} requests, {} of them accepted; the slowest took {took:?}: {what}",
            self.shots, self.accepted
        );
        self.scene.server.state.model.close().await;
        assert!(
            self.wrong.is_empty(),
            "{} of {} requests went wrong:\n  {}",
            self.wrong.len(),
            self.shots,
            self.wrong[..self.wrong.len().min(40)].join("\n  ")
        );
    }

    /// A request of this account to a path below `/rest`, as the command line sends it.
    pub async fn request(&mut self, role: &str, method: &str, path: &str) -> Request {
        self.scene
            .request(role, method, path)
            .await
            .header("X-Requested-With", "XMLHttpRequest")
    }

    /// Sends it and notes what is wrong with the answer. `name` says what is bad about the request.
    pub async fn fire(&mut self, name: &str, request: Request) -> Option<Answer> {
        self.shots += 1;
        let started = Instant::now();
        let outcome = tokio::time::timeout(self.longest * 2, wire::send(self.scene.server.address, &request)).await;
        let took = started.elapsed();
        let what = || {
            let target = String::from_utf8_lossy(&request.target).into_owned();
            let target: String = target.chars().take(160).collect();
            let body: String = String::from_utf8_lossy(&request.body).chars().take(200).collect();
            format!("{name}: {} {target} {body}", request.method)
        };
        let answer = match outcome {
            Err(_) => {
                self.wrong.push(format!("{}: no answer", what()));
                return None;
            }
            Ok(Err(error)) => {
                self.wrong.push(format!("{}: {error}", what()));
                return None;
            }
            Ok(Ok(answer)) => answer,
        };
        if took > self.slowest.0 {
            self.slowest = (took, what());
        }
        let text: String = answer.text().chars().take(300).collect();
        if took > self.longest {
            self.wrong.push(format!("{}: took {took:?}", what()));
        }
        if answer.status >= 500 {
            self.wrong.push(format!("{}: {} {text}", what(), answer.status));
        } else if answer.status >= 400
            && text.is_empty()
            && request.method != "HEAD"
            && answer.header("x-request-id").is_some()
            && !(answer.status == 409 && answer.header("etag").is_some())
        {
            // An answer without a request id is the protocol's, not the application's; it has no message. A refused save
            // brings the worksheet's text, which may be empty, and the tag of that text.
            self.wrong
                .push(format!("{}: {} without a message", what(), answer.status));
        }
        if let Some(sign) = [
            "SELECT ",
            "INSERT ",
            "sqlx",
            "panicked",
            "syntax error",
            "/rest-server/",
        ]
        .iter()
        .find(|sign| answer.status >= 400 && text.contains(**sign))
        {
            self.wrong.push(format!(
                "{}: {} tells internals ({sign}): {text}",
                what(),
                answer.status
            ));
        }
        let unsafe_method = !matches!(request.method.as_str(), "GET" | "HEAD");
        // Who asks for the home worksheet by its spec gets one made.
        let makes_a_home = request.target.starts_with(b"/rest/worksheets");
        if answer.status < 400 {
            self.accepted += 1;
            if unsafe_method || makes_a_home {
                self.before = self.scene.sql.fingerprint().await;
            }
        } else if unsafe_method {
            let after = self.scene.sql.fingerprint().await;
            for (table, hash) in &after {
                if self.before.get(table) != Some(hash) {
                    let note = format!("{}: {} but {table} changed: {text}", what(), answer.status);
                    self.wrong.push(note);
                }
            }
            self.before = after;
        }
        Some(answer)
    }

    /// Whether the time for this test is over; says so when it is.
    pub fn is_spent(&self) -> bool {
        let spent = self.started.elapsed() > BUDGET;
        if spent {
            println!("stopped after {} requests: the time is over", self.shots);
        }
        spent
    }

    /// Notes a failure that only the caller can see.
    pub fn note(&mut self, text: String) {
        self.wrong.push(text);
    }
}

/// The routes to fire at, and a path for each that leads to things of the scene.
pub fn targets(range: &Range) -> Vec<(Route, String)> {
    let names = &range.scene.names;
    rest_server::routes::index()
        .into_iter()
        .filter(|route| route.path.starts_with("/rest/"))
        // Only so many requests each: they wait for messages of the worker.
        .map(|route| {
            let path = route.path["/rest".len()..].to_owned();
            let uuid = if path.starts_with("/worksheets") || path.starts_with("/interpret") {
                &names["WS"]
            } else if path.starts_with("/bundle_stores") {
                &names["STORE"]
            } else {
                &names["DATA"]
            };
            let path = path
                .replace("{store_uuid}", &names["STORE"])
                .replace("{uuid}", uuid)
                .replace("{*path}", "train.py")
                .replace("{worker_id}", "worker-7")
                .replace("{socket_id}", "1")
                .replace("{port}", "8000")
                .replace("{key}", "0123456789abcdef0123456789abcdef")
                .replace("{code}", "0123456789abcdef0123456789abcdef");
            let path = if path.contains("/groups/{") {
                path.replace("{spec}", "team")
            } else {
                path.replace("{spec}", "alice")
            };
            (route, path)
        })
        .collect()
}
