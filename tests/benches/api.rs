//! Prints how fast the REST API answers: `make bench`, or `cargo bench -p codalab-tests --bench api [-- NAME]`.
//!
//! Starts the release build of `cl-server` (`target/release`, or `CODALAB_BIN_DIR`) on private homes, on SQLite and on the
//! MariaDB server of `CODALAB_TEST_MYSQL_URL`, and asks it over kept-alive connections from this process on the same
//! machine. Nothing is asserted; a figure that could not be measured says why.

#[path = "support/instance.rs"]
mod instance;
#[path = "support/load.rs"]
mod load;
#[path = "support/server.rs"]
mod server;

use std::time::Duration;

use load::{Figures, Target};
use serde_json::{Value, json};
use server::{Database, Server};

type Result<T> = std::result::Result<T, String>;

const CONNECTIONS: [usize; 3] = [1, 8, 32];
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!(
        "{:<46} {:>5} {:>10} {:>9} {:>9} {:>6}",
        "request", "conn.", "per second", "median", "99 %", "SQL"
    );
    for database in [Database::Sqlite, Database::Mariadb] {
        if let Err(error) = runtime.block_on(measure(database, wanted.as_deref())) {
            println!("{database:?}: not measured: {error}");
        }
    }
}

/// What is asked, how often per connection at most, and how its requests look.
struct Case {
    name: &'static str,
    target: Target,
}

async fn measure(database: Database, wanted: Option<&str>) -> Result<()> {
    let server = Server::start(database).await?;
    for case in cases(&server).await? {
        if wanted.is_some_and(|wanted| !case.name.contains(wanted)) {
            continue;
        }
        for connections in CONNECTIONS {
            let before = server.statements().await;
            let figures = load::run(server.port, &case.target, connections, SPAN).await?;
            let statements = server.statements().await.zip(before);
            print_row(database, case.name, connections, &figures, statements);
        }
    }
    println!(
        "{:<46} {:>39}",
        format!("{database:?}: server's peak memory"),
        format!("{:.1} MB", server.peak_bytes() as f64 / 1e6)
    );
    Ok(())
}

/// The scene: one bundle, a worksheet with a hundred, and a worker.
async fn cases(server: &Server) -> Result<Vec<Case>> {
    let bundles = |count: usize| -> Value {
        let resource = |index: usize| {
            json!({"type": "bundles", "attributes": {
                "bundle_type": "run", "command": "true",
                "metadata": {"name": format!("run-{index}"), "description": "", "tags": ["a", "b"],
                    "allow_failed_dependencies": false, "request_docker_image": "", "request_time": "",
                    "request_memory": "2g", "request_disk": "", "request_cpus": 1, "request_gpus": 0,
                    "request_queue": "tag=bench-none", "request_priority": 0, "request_network": true,
                    "exclude_patterns": []},
                "dependencies": []}})
        };
        json!({"data": (0..count).map(resource).collect::<Vec<_>>()})
    };
    let sheet = json!({"data": [{"type": "worksheets", "attributes": {"name": "hundred"}}]});
    let sheet = first_id(&server.post("/rest/worksheets", &sheet).await?)?;
    let other = json!({"data": [{"type": "worksheets", "attributes": {"name": "other"}}]});
    let other = first_id(&server.post("/rest/worksheets", &other).await?)?;
    let made = server
        .post(&format!("/rest/bundles?worksheet={sheet}"), &bundles(100))
        .await?;
    let one = first_id(&made)?;
    let check_in = json!({"cpus": 8, "gpus": 0, "memory_bytes": 33_554_432_000_u64, "free_disk_bytes": 210_000_000_000_u64,
        "dependencies": [], "runs": [], "hostname": "node", "tag": "bench-only", "tag_exclusive": true, "wait_seconds": 0});
    let get = |path: String| server.target("GET", &path, None);
    let post = |path: String, body: &Value| server.target("POST", &path, Some(body));
    Ok(vec![
        Case {
            name: "GET a bundle",
            target: get(format!("/rest/bundles/{one}")),
        },
        Case {
            name: "GET a bundle, as cl info does",
            target: get(format!(
                "/rest/bundles/{one}?include=owner,children,group_permissions,host_worksheets"
            )),
        },
        Case {
            name: "GET a worksheet of 100 bundles",
            target: get(format!(
                "/rest/worksheets/{sheet}?include=owner,group_permissions,items,items.bundle,items.bundle.owner"
            )),
        },
        Case {
            name: "POST 1,000 bundles",
            target: post(format!("/rest/bundles?worksheet={other}"), &bundles(1000)),
        },
        Case {
            name: "POST a check-in",
            target: post("/rest/workers/bench/checkin".to_owned(), &check_in),
        },
    ])
}

fn first_id(document: &Value) -> Result<String> {
    document["data"][0]["id"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("no id in {document}"))
}

fn print_row(database: Database, name: &str, connections: usize, figures: &Figures, statements: Option<(f64, f64)>) {
    let ms = |duration: Duration| format!("{:.2} ms", duration.as_secs_f64() * 1000.0);
    let statements = statements.map_or_else(
        || "?".to_owned(),
        |(after, before)| format!("{:.1}", (after - before) / figures.answers as f64),
    );
    println!(
        "{:<46} {connections:>5} {:>10.0} {:>9} {:>9} {statements:>6}",
        format!("{database:?}: {name}"),
        figures.per_second,
        ms(figures.median),
        ms(figures.slowest_percent),
    );
}
