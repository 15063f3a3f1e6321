//! Prints how fast worksheets are interpreted: `make bench`, or `cargo bench -p codalab-tests --bench interpret`.
//!
//! Worksheets of 50 and of 1,000 bundles in a table of six columns, two of them from a file of each bundle;
//! brief as the web page asks, full as `cl print` does. The release build of `cl-server` on SQLite and on MariaDB, as in
//! the bench `api`; every page is asked for once before it is measured, so that the values of the files are at hand.

#[path = "support/instance.rs"]
mod instance;
#[path = "support/load.rs"]
mod load;
#[path = "support/server.rs"]
mod server;

use std::fs;
use std::time::Duration;

use load::Figures;
use serde_json::{Value, json};
use server::{Database, Server};

type Result<T> = std::result::Result<T, String>;

const CONNECTIONS: [usize; 2] = [1, 8];
const SPAN: Duration = Duration::from_secs(3);
const SIZES: [usize; 2] = [50, 1000];

const DIRECTIVES: &str = "\
% schema results
% add uuid uuid [0:8]
% add name
% add created created date
% add state
% add dev /stats.json:error/dev %.3f
% add epoch /stats.json:epoch
% display table results";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!(
        "{:<46} {:>5} {:>10} {:>9} {:>9} {:>6}",
        "worksheet", "conn.", "per second", "median", "99 %", "SQL"
    );
    for database in [Database::Sqlite, Database::Mariadb] {
        if let Err(error) = runtime.block_on(measure(database)) {
            println!("{database:?}: not measured: {error}");
        }
    }
}

async fn measure(database: Database) -> Result<()> {
    let server = Server::start(database).await?;
    for size in SIZES {
        let sheet = furnish(&server, size).await?;
        for (mode, query) in [("brief", "?brief=1"), ("full", "")] {
            let target = server.target("GET", &format!("/rest/interpret/worksheet/{sheet}{query}"), None);
            load::run(server.port, &target, 1, Duration::ZERO).await?;
            for connections in CONNECTIONS {
                let before = server.statements().await;
                let figures = load::run(server.port, &target, connections, SPAN).await?;
                let statements = server.statements().await.zip(before);
                print_row(
                    &format!("{database:?}: {size} bundles, {mode}"),
                    connections,
                    &figures,
                    statements,
                );
            }
        }
    }
    println!(
        "{:<46} {:>39}",
        format!("{database:?}: server's peak memory"),
        format!("{:.1} MB", server.peak_bytes() as f64 / 1e6)
    );
    Ok(())
}

/// A worksheet that shows so many bundles, each with a file.
async fn furnish(server: &Server, size: usize) -> Result<String> {
    let name = json!({"data": [{"type": "worksheets", "attributes": {"name": format!("of-{size}")}}]});
    let sheet = ids(&server.post("/rest/worksheets", &name).await?).remove(0);
    let resource = |index: usize| {
        json!({"type": "bundles", "attributes": {"bundle_type": "dataset",
            "metadata": {"name": format!("result-{index}"), "description": "", "tags": ["a"], "license": "", "source_url": ""}}})
    };
    let bundles = json!({"data": (0..size).map(resource).collect::<Vec<_>>()});
    let made = ids(&server.post("/rest/bundles?detached=1", &bundles).await?);
    for (index, uuid) in made.iter().enumerate() {
        let directory = server.home().join("data/bundles").join(uuid);
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let stats = json!({"error": {"dev": 1.0 / (index + 1) as f64}, "epoch": index, "loss": vec![0.5; 50]});
        fs::write(directory.join("stats.json"), stats.to_string()).map_err(|error| error.to_string())?;
    }
    let mut lines: Vec<String> = vec!["# Results".to_owned()];
    lines.extend(DIRECTIVES.lines().map(str::to_owned));
    lines.extend(made.iter().map(|uuid| format!("{{{uuid}}}")));
    let items = lines.iter().map(|line| item(line, &sheet)).collect::<Vec<_>>();
    let path = format!("/rest/worksheet-items?uuid={sheet}&replace=1");
    server.post(&path, &json!({ "data": items })).await?;
    Ok(sheet)
}

fn item(line: &str, sheet: &str) -> Value {
    let worksheet = json!({"data": {"type": "worksheets", "id": sheet}});
    let (kind, value, bundle) = if let Some(directive) = line.strip_prefix("% ") {
        ("directive", directive, Value::Null)
    } else if let Some(uuid) = line.strip_prefix('{') {
        let uuid = uuid.trim_end_matches('}');
        ("bundle", "", json!({"type": "bundles", "id": uuid}))
    } else {
        ("markup", line, Value::Null)
    };
    json!({"type": "worksheet-items", "attributes": {"type": kind, "value": value},
        "relationships": {"worksheet": worksheet, "bundle": {"data": bundle}}})
}

fn ids(document: &Value) -> Vec<String> {
    let resources = document["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ids = resources.iter().filter_map(|resource| resource["id"].as_str());
    ids.map(str::to_owned).collect()
}

fn print_row(name: &str, connections: usize, figures: &Figures, statements: Option<(f64, f64)>) {
    let ms = |duration: Duration| format!("{:.2} ms", duration.as_secs_f64() * 1000.0);
    let statements = statements.map_or_else(
        || "?".to_owned(),
        |(after, before)| format!("{:.1}", (after - before) / figures.answers as f64),
    );
    println!(
        "{name:<46} {connections:>5} {:>10.0} {:>9} {:>9} {statements:>6}",
        figures.per_second,
        ms(figures.median),
        ms(figures.slowest_percent),
    );
}
