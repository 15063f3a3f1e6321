//! The contract of the REST API: one row per endpoint and per error condition of its document, in `rows/*.http`, played
//! against a server on SQLite and on MariaDB. `row` explains the notation, `scene` what every row finds.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod bad_input;
mod pattern;
mod row;
mod run;
mod scene;
mod sql;
#[allow(dead_code)] // shared with the API tests
#[path = "../api/support.rs"]
mod support;
mod wire;

use std::path::PathBuf;

use rest_server::Settings;
use testkit::Engine;

use crate::row::Row;
use crate::scene::Scene;

/// A row that cannot hold yet. `rows/not-yet.txt` lists them; they are played too, and the test says what became of them.
struct NotYet {
    file: String,
    /// The beginning of the condition.
    title: String,
    reason: String,
}

/// Declares the tests of the files of rows, each on both databases.
macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(mod $name {
            #[tokio::test]
            async fn sqlite() {
                super::play_file(stringify!($name), testkit::Engine::Sqlite).await;
            }

            #[tokio::test]
            async fn mariadb() {
                super::play_file(stringify!($name), testkit::Engine::Mariadb).await;
            }
        })*
    };
}

files! {
    transport
    oauth2
    account
    users
    groups
    permissions
    bundles
    search
    actions
    contents
    stores
    locations
    worksheets
    items
    interpret
    workers
    command
    help
    protected
}

fn rows_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/contract/rows")
}

/// Lines `file | condition | reason`; `#` begins a comment.
fn not_yet() -> Vec<NotYet> {
    let text = std::fs::read_to_string(rows_directory().join("not-yet.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let [file, title, reason] = parts[..] else {
                panic!("not-yet.txt: not `file | condition | reason`: {line}");
            };
            NotYet {
                file: file.to_owned(),
                title: title.to_owned(),
                reason: reason.to_owned(),
            }
        })
        .collect()
}

fn rows_of(file: &str) -> Vec<Row> {
    let path = rows_directory().join(format!("{file}.http"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    row::parse(&text).unwrap_or_else(|error| panic!("{file}.http: {error}"))
}

/// `CONTRACT_ROW=<part of a title>` plays only the rows with such titles.
async fn play_file(file: &str, engine: Engine) {
    let only = std::env::var("CONTRACT_ROW").ok();
    let settings = Settings {
        protected_mode: file == "protected",
        ..Settings::default()
    };
    let mut scene = Scene::start(engine, settings).await;
    let rows = rows_of(file);
    // Who asks for a row wants to see what is wrong with it.
    let excuses = if only.is_some() { Vec::new() } else { not_yet() };
    let mut wrong = Vec::new();
    let mut played = 0;
    for (index, row) in rows.iter().enumerate() {
        if only.as_ref().is_some_and(|part| !row.title.contains(part)) {
            continue;
        }
        played += 1;
        let outcome = run::play(&mut scene, row, index + 1).await;
        let excuse = excuses
            .iter()
            .find(|excuse| excuse.file == file && row.title.starts_with(&excuse.title));
        match (outcome, excuse) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => println!("holds now, remove it from not-yet.txt: {file}: {}", row.title),
            (Err(_), Some(excuse)) => println!("NOT YET: {file}: {}: {}", row.title, excuse.reason),
            (Err(error), None) => wrong.push(format!("  {} ({file}.http:{})\n    {error}", row.title, row.line)),
        }
    }
    println!("{file}: {played} rows");
    scene.server.state.model.close().await;
    assert!(
        wrong.is_empty(),
        "{} of {played} rows differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_row_can_be_read_and_no_condition_stands_twice() {
    let mut all = 0;
    for file in FILES {
        let rows = rows_of(file);
        let mut titles = std::collections::HashSet::new();
        for row in &rows {
            assert!(titles.insert(&row.title), "{file}.http: {} stands twice", row.title);
        }
        println!("{file}: {} rows", rows.len());
        all += rows.len();
    }
    println!("{all} rows");
    for excuse in not_yet() {
        let known = rows_of(&excuse.file)
            .iter()
            .any(|row| row.title.starts_with(&excuse.title));
        assert!(known, "not-yet.txt names no row: {}: {}", excuse.file, excuse.title);
    }
}

/// Every route that the server has is the tested request of some row.
#[test]
fn every_route_has_a_row() {
    let tested: Vec<(String, String)> = FILES
        .iter()
        .flat_map(|file| rows_of(file))
        .filter_map(|row| {
            row.tested()
                .map(|exchange| (exchange.method.clone(), outside_path(&exchange.path)))
        })
        .collect();
    let index = rest_server::routes::index();
    let without: Vec<String> = index
        .iter()
        .filter(|route| {
            !tested
                .iter()
                .any(|(method, path)| method == route.method.as_str() && is_at(&route.path, path))
        })
        .map(ToString::to_string)
        .collect();
    println!("{} routes, without a row: {without:?}", index.len());
    assert!(without.is_empty(), "routes without a row: {without:#?}");
}

/// The path of a row as the router sees it, without the query.
fn outside_path(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    match path.strip_prefix("//") {
        Some(outside) => format!("/{outside}"),
        None => format!("/rest{path}"),
    }
}

/// Whether a path is one of a template such as `/rest/bundles/{uuid}/contents/blob/{*path}`.
fn is_at(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for part in template.split('/') {
        if part.starts_with("{*") {
            return parts.next().is_some_and(|first| !first.is_empty());
        }
        let Some(found) = parts.next() else { return false };
        let fits = if part.starts_with('{') {
            !found.is_empty()
        } else {
            part == found
        };
        if !fits {
            return false;
        }
    }
    parts.next().is_none()
}

#[test]
fn a_template_fits_its_paths_only() {
    assert!(is_at("/a/{b}/c", "/a/x/c"));
    assert!(!is_at("/a/{b}/c", "/a/x/c/"));
    assert!(!is_at("/a/{b}", "/a/"));
    assert!(is_at("/a/{*rest}", "/a/x/y"));
    assert!(!is_at("/a/{*rest}", "/a"));
}
