//! Worksheets as their readers see them: what each row of the language's section 15 shows, what a page costs, deadlines,
//! kept values.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use domain::limits::Limits;
use reqwest::Method;
use rest_server::{Settings, listener::ListenerOptions};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use testkit::Engine;

use crate::support::{Client, TestServer, test_config, text};
use crate::workers;

const MISSING: &str = "0xeeee0000eeee0000eeee0000eeee0000";

/// A server with alice's home worksheet.
struct Lab {
    server: TestServer,
    alice: Client,
    sheet: String,
}

impl Lab {
    async fn start(engine: Engine, interpret_seconds: f64) -> Self {
        let limits = Limits {
            interpret_seconds,
            ..Limits::default()
        };
        let config = domain::config::ServerConfig {
            limits,
            ..test_config()
        };
        let server = TestServer::start_on(engine, Settings::default(), ListenerOptions::default(), config).await;
        let alice = server.login("alice").await;
        let sheet = alice.home_worksheet().await;
        Self { server, alice, sheet }
    }

    async fn sql(&self, sql: &str) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(self.server.database.url()).await.unwrap();
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    async fn set_state(&self, uuid: &str, state: &str) {
        self.sql(&format!("UPDATE bundle SET state = '{state}' WHERE uuid = '{uuid}'"))
            .await;
    }

    fn directory(&self, uuid: &str) -> PathBuf {
        self.server.home.path().join("data/bundles").join(uuid)
    }

    /// A dataset of this user that is ready and holds these files.
    async fn dataset(&self, owner: &Client, name: &str, files: &[(&str, &str)]) -> String {
        let uuid = owner.new_dataset(name).await;
        self.fill(&uuid, files);
        self.set_state(&uuid, "ready").await;
        uuid
    }

    fn fill(&self, uuid: &str, files: &[(&str, &str)]) {
        let directory = self.directory(uuid);
        std::fs::create_dir_all(&directory).unwrap();
        for (path, contents) in files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
    }

    async fn save(&self, lines: &[String]) {
        let path = format!("/worksheets/{}/raw", self.sheet);
        let answer = self.alice.post(&path).body(lines.join("\n")).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    async fn page(&self, viewer: &Client, query: &str) -> Value {
        viewer
            .fetch(&format!("/interpret/worksheet/{}{query}", self.sheet))
            .await
    }

    /// SQL statements of one look at a page: the fewest of some tries, for the server has other things to do as well.
    async fn cost(&self, query: &str) -> u64 {
        let statements = self.server.state.model.statements();
        let mut least = u64::MAX;
        for _ in 0..3 {
            let before = statements.count();
            self.page(&self.alice, query).await;
            least = least.min(statements.count() - before);
        }
        least
    }
}

const SCHEMA: [&str; 6] = [
    "% schema s",
    "% add name",
    "% add dev /stats.json:dev",
    "% add out /out/log",
    "% add owner",
    "% display table s",
];

/// Declares tests that run once per database.
macro_rules! on_both {
    ($(async fn $name:ident($lab:ident) $body:block)*) => {
        $(mod $name {
            use super::*;

            async fn check($lab: Lab) $body

            #[tokio::test]
            async fn sqlite() {
                check(Lab::start(Engine::Sqlite, 20.0).await).await;
            }

            #[tokio::test]
            async fn mariadb() {
                check(Lab::start(Engine::Mariadb, 20.0).await).await;
            }
        })*
    };
}

on_both! {
    async fn what_a_page_costs_does_not_grow_with_its_bundles(lab) {
        let mut costs = Vec::new();
        let mut uuids = Vec::new();
        for count in [2, 9] {
            while uuids.len() < count {
                let number = uuids.len();
                let parent = lab.dataset(&lab.alice, "parent", &[("log", "x: 1")]).await;
                let run = lab.alice.new_run("true", json!([{"child_path": "out", "parent_uuid": parent}])).await;
                lab.fill(&run, &[("stats.json", &format!("{{\"dev\": {number}}}"))]);
                lab.set_state(&run, "ready").await;
                uuids.push(run);
            }
            let mut lines: Vec<String> = SCHEMA.map(str::to_owned).to_vec();
            lines.extend(uuids.iter().map(|uuid| format!("{{{uuid}}}")));
            lines.extend(["% display record s".to_owned(), "% search run-it .limit=100".to_owned(), "% wsearch".to_owned()]);
            lines.extend([format!("{{{{{}}}}}", lab.sheet), "% display contents /stats.json".to_owned(), format!("{{{}}}", uuids[0])]);
            lab.save(&lines).await;
            let page = lab.page(&lab.alice, "").await;
            let rows = page["blocks"][1]["rows"].as_array().unwrap();
            assert_eq!(rows.len(), count);
            assert_eq!(rows[1], json!({"name": "run-it", "dev": 1, "out": {"x": 1}, "owner": "alice"}));
            let item = page["blocks"].as_array().unwrap();
            assert_eq!(item.iter().filter(|block| block["mode"] == "record_block").count(), count);
            let refresh = format!("?bundle_uuid={}&bundle_uuid={}", uuids[0], uuids[count - 1]);
            costs.push([lab.cost("?brief=1").await, lab.cost("").await, lab.cost(&refresh).await]);
        }
        assert_eq!(costs[0], costs[1], "brief, full, refresh");
        assert!(costs[0][0] <= 22, "{costs:?}");

        // The cells of a table in one request.
        let statements = lab.server.state.model.statements();
        let mut costs = Vec::new();
        for count in [2, 9] {
            let rows: Vec<Value> = uuids[..count].iter().map(|uuid| json!({"a": [uuid, "/out/log:x", null], "b": [uuid, "/stats.json:dev", null]})).collect();
            let before = statements.count();
            let answer = lab.alice.change(Method::POST, "/interpret/genpath-table-contents", json!({ "contents": rows })).await;
            costs.push(statements.count() - before);
            assert_eq!(answer["contents"][1], json!({"a": 1, "b": 1}));
        }
        assert!(costs[0].abs_diff(costs[1]) <= 1, "{costs:?}");
    }

    async fn what_cannot_be_read_is_shown_as_such(lab) {
        let bob = lab.server.login("bob").await;
        let root = lab.server.login("codalab").await;
        let secret = lab.dataset(&lab.alice, "secret", &[("stats.json", "{\"dev\": 7}")]).await;
        lab.alice.hide(&secret).await;
        let through = lab.alice.new_run("true", json!([{"child_path": "stats.json", "parent_uuid": secret, "parent_path": "stats.json"}])).await;
        let whole = lab.dataset(&lab.alice, "whole", &[("stats.json", "{\"dev\": 1}"), ("out/log", "l\n")]).await;
        let odd = lab.dataset(&lab.alice, "odd", &[("stats.json/x", "")]).await;
        std::os::unix::fs::symlink("/etc/passwd", lab.directory(&odd).join("link")).unwrap();
        std::fs::create_dir_all(lab.directory(&odd).join("out")).unwrap();
        std::os::unix::fs::symlink("../stats.json/x", lab.directory(&odd).join("out/log")).unwrap();
        let mut with_states = Vec::new();
        for state in ["created", "staged", "starting", "uploading", "preparing", "worker_offline", "failed", "killed"] {
            let uuid = lab.alice.new_run("true", json!([])).await;
            if matches!(state, "preparing" | "worker_offline" | "failed" | "killed") {
                lab.fill(&uuid, &[("stats.json", "{\"dev\": 3}")]);
            }
            lab.set_state(&uuid, state).await;
            with_states.push((state, uuid));
        }
        let mut shown = vec![MISSING, secret.as_str(), through.as_str(), whole.as_str(), odd.as_str()];
        shown.extend(with_states.iter().map(|(_, uuid)| uuid.as_str()));
        let group = |display: &str| {
            let mut lines = vec![display.to_owned()];
            lines.extend(shown.iter().map(|uuid| format!("{{{uuid}}}")));
            lines
        };
        let mut lines: Vec<String> = SCHEMA[..5].iter().map(|line| (*line).to_owned()).collect();
        lines.extend(group("% display table s"));
        lines.extend(group("% display contents /stats.json"));
        lines.extend(group("% display image /stats.json"));
        lines.extend(["% display contents /link".to_owned(), format!("{{{odd}}}")]);
        for uuid in [MISSING, &secret, &odd] {
            lines.extend(["% display graph /stats.json".to_owned(), format!("{{{uuid}}}")]);
        }
        lab.save(&lines).await;
        let n = shown.len();

        for (viewer, missing, denied) in [(&bob, json!(["Forbidden"]), true), (&lab.server.anonymous(), json!(["Forbidden"]), true), (&root, json!(null), false)] {
            let page = lab.page(viewer, "").await;
            let blocks = page["blocks"].as_array().unwrap();
            let rows = blocks[1]["rows"].as_array().unwrap();
            let name = |row: usize| text(&rows[row]["name"]);
            let dev = |row: usize| rows[row]["dev"].clone();
            assert_eq!((name(0), dev(0), rows[0]["owner"].clone()), ("<invalid>".into(), missing, json!(null)));
            if denied {
                assert_eq!((name(1), dev(1)), ("<private>".into(), json!(["Forbidden"])));
                assert_eq!(dev(2), json!(["Forbidden"]), "through a dependency that may not be read");
            } else {
                assert_eq!((name(1), dev(1), dev(2)), ("secret".into(), json!(7), json!(7)));
            }
            assert_eq!((dev(3), rows[3]["out"].clone()), (json!(1), json!("l")));
            assert_eq!((dev(4), rows[4]["out"].clone()), (json!(null), json!(null)), "a directory, a link");
            for (row, (state, _)) in (5..).zip(&with_states) {
                let stored = matches!(*state, "worker_offline" | "failed" | "killed");
                assert_eq!(dev(row), if stored { json!(3) } else { json!(null) }, "{state}");
            }
            // Contents and images.
            let (contents, images) = (&blocks[2..2 + n], &blocks[2 + n..2 + 2 * n]);
            for first in [&contents[0], &images[0]] {
                assert_eq!(first["text"], "ERROR: cannot access bundle");
            }
            if denied {
                for block in [&contents[1], &contents[2], &images[1]] {
                    let message = text(&block["text"]);
                    assert!(message.starts_with("ERROR: User ") && message.ends_with("(have none, need read)."), "{message}");
                    assert_eq!(block["mode"], "markup_block");
                }
            }
            assert_eq!(contents[3]["lines"], json!(["{\"dev\": 1}\n"]));
            assert_eq!((&contents[4]["lines"], &images[4]["status"]["code"]), (&json!(["<directory>"]), &json!("not_found")));
            for (row, (state, _)) in (5..).zip(&with_states) {
                let stored = matches!(*state, "worker_offline" | "failed" | "killed");
                let code = if stored { "ready" } else { "not_found" };
                assert_eq!(contents[row]["status"]["code"], code, "{state}");
                assert_eq!(contents[row]["lines"].is_null(), !stored, "{state}");
                assert_eq!(images[row]["image_data"].is_null(), !stored, "{state}");
            }
            let rest = &blocks[2 + 2 * n..];
            assert_eq!((&rest[0]["status"]["code"], &rest[0]["lines"]), (&json!("not_found"), &json!(null)), "a link");
            if denied {
                assert!(text(&rest[1]["text"]).starts_with("ERROR: User ") && text(&rest[2]["text"]).starts_with("ERROR: User "));
            } else {
                assert_eq!(rest[1]["trajectories"][0], json!({"bundle_uuid": MISSING, "target_genpath": "stats.json"}));
                assert_eq!(rest[2]["trajectories"][0]["points"], json!([["{\"dev\": 7}\n"]]));
            }
            assert!(rest[3]["trajectories"][0].get("points").is_none());
        }
    }

    async fn searches_show_owners_and_their_errors_stay_in_their_places(lab) {
        lab.dataset(&lab.alice, "found", &[("stats.json", "{\"dev\": 5}")]).await;
        let mut lines: Vec<String> = SCHEMA.map(str::to_owned).to_vec();
        lines.extend(["% search found .limit=3", "% search .before=tea", "", "Total:", "% search found .count", "% wsearch shoe_size=44"].map(str::to_owned));
        lab.save(&lines).await;
        let page = lab.page(&lab.alice, "").await;
        let outline: Vec<&Value> = page["blocks"].as_array().unwrap().iter().collect();
        assert_eq!(outline[1]["rows"], json!([{"name": "found", "dev": 5, "out": null, "owner": "alice"}]));
        assert!(text(&outline[2]["text"]).starts_with("Error in source line 8: Unable to parse datetime"), "{}", outline[2]);
        assert_eq!(outline[3]["text"], "Total:\n1");
        assert_eq!(outline[4]["text"], "Error in source line 12: Unknown key: shoe_size");
        assert_eq!(outline.len(), 5);
        // One directive after the other, by item and by text; the display above it holds.
        let sheet = lab.alice.fetch(&format!("/worksheets/{}?include=items", lab.sheet)).await;
        let item = sheet["included"].as_array().unwrap().iter().find(|item| item["attributes"]["value"] == "search found .limit=3").unwrap();
        let by_item = lab.page(&lab.alice, &format!("?item={}", text(&item["id"]))).await;
        let by_text = lab.page(&lab.alice, "?directive=search+found+.limit%3D3").await;
        assert_eq!(by_item["blocks"], by_text["blocks"]);
        assert_eq!((&by_item["blocks"][0]["rows"], &by_item["blocks"][0]["header"]), (&outline[1]["rows"], &outline[1]["header"]));
        let brief = lab.page(&lab.alice, "?directive=search+found+.limit%3D3&brief=1").await;
        assert_eq!(brief["blocks"][0]["status"]["code"], "briefly_loaded");
    }
}

#[tokio::test]
async fn a_silent_worker_costs_no_more_than_the_deadline() {
    let lab = Lab::start(Engine::Sqlite, 1.0).await;
    let worker = lab.server.login_as("codalab", "codalab_worker_client").await;
    let running = workers::running(&lab.server, &worker, &lab.alice, json!([])).await;
    let done = lab.dataset(&lab.alice, "done", &[("stats.json", "{\"dev\": 2}")]).await;
    let mut lines: Vec<String> = SCHEMA.map(str::to_owned).to_vec();
    lines.extend([
        format!("{{{running}}}"),
        format!("{{{done}}}"),
        "% display contents /stats.json".to_owned(),
    ]);
    lines.push(format!("{{{running}}}"));
    lab.save(&lines).await;
    let started = Instant::now();
    let page = lab.page(&lab.alice, "").await;
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let table = &page["blocks"][1];
    assert_eq!(table["status"]["code"], "briefly_loaded");
    assert_eq!(table["rows"][0]["dev"], json!([running, "/stats.json:dev", null]));
    assert_eq!(
        (&table["rows"][1]["dev"], &table["rows"][1]["name"]),
        (&json!(2), &json!("done"))
    );
    assert_eq!(page["blocks"][2]["status"]["code"], "not_found");
    assert!(text(&page["blocks"][2]["status"]["error_message"]).contains("in time"));
    let rows = json!({"contents": [{"a": [running, "/x", null]}]});
    let answer = lab
        .alice
        .change(Method::POST, "/interpret/genpath-table-contents", rows.clone())
        .await;
    assert_eq!(answer["contents"], rows["contents"]);
    let query = json!({"queries": [{"bundle_uuid": running, "genpath": "/x", "post": null}]});
    let answer = lab.alice.change(Method::POST, "/interpret/file-genpaths", query).await;
    assert_eq!(answer["data"], json!([null]));
}

#[tokio::test]
async fn a_running_bundle_is_read_from_its_worker_and_only_the_asked_rows_of_a_refresh_are() {
    let lab = Lab::start(Engine::Sqlite, 20.0).await;
    let worker = lab.server.login_as("codalab", "codalab_worker_client").await;
    let running = workers::running(&lab.server, &worker, &lab.alice, json!([])).await;
    let done = lab.dataset(&lab.alice, "done", &[("stats.json", "{\"dev\": 2}")]).await;
    let mut lines: Vec<String> = SCHEMA.map(str::to_owned).to_vec();
    lines.extend([format!("{{{running}}}"), format!("{{{done}}}")]);
    lab.save(&lines).await;
    let serving = tokio::spawn({
        let (worker, run) = (worker.clone(), running.clone());
        async move { workers::serve_file(&worker, &run, "stats.json", b"{\"dev\": 9}").await }
    });
    let page = lab.page(&lab.alice, "").await;
    assert_eq!(page["blocks"][1]["rows"][0]["dev"], 9);
    assert_eq!(page["blocks"][1]["rows"][0]["out"], json!(null));
    let refreshed = lab.page(&lab.alice, &format!("?bundle_uuid={done}")).await;
    serving.abort();
    let table = &refreshed["blocks"][1];
    assert_eq!(refreshed["blocks"][0], json!(null));
    assert_eq!(table["rows"][0]["dev"], json!([running, "/stats.json:dev", null]));
    assert_eq!(table["rows"][1]["dev"], 2);
    let infos = table["bundles_spec"]["bundle_infos"].as_array().unwrap();
    assert!(infos[0].is_null() && infos[1]["uuid"] == done.as_str() && infos.len() == 2);
}

#[tokio::test]
async fn kept_values_follow_the_file_and_never_the_permission() {
    let lab = Lab::start(Engine::Sqlite, 20.0).await;
    let bob = lab.server.login("bob").await;
    let data = lab.dataset(&lab.alice, "data", &[("stats.json", "{\"dev\": 1}")]).await;
    let mut lines: Vec<String> = SCHEMA.map(str::to_owned).to_vec();
    lines.push(format!("{{{data}}}"));
    lab.save(&lines).await;
    let dev = async |viewer: &Client| lab.page(viewer, "").await["blocks"][1]["rows"][0]["dev"].clone();
    for _ in 0..2 {
        assert_eq!((dev(&lab.alice).await, dev(&bob).await), (json!(1), json!(1)));
    }
    // Another file of the same size.
    let other = lab.directory(&data).join("other");
    std::fs::write(&other, "{\"dev\": 2}").unwrap();
    std::fs::rename(&other, lab.directory(&data).join("stats.json")).unwrap();
    assert_eq!(dev(&lab.alice).await, json!(2));
    std::fs::remove_file(lab.directory(&data).join("stats.json")).unwrap();
    assert_eq!(dev(&lab.alice).await, json!(null));
    lab.fill(&data, &[("stats.json", "{\"dev\": 3}")]);
    assert_eq!((dev(&lab.alice).await, dev(&bob).await), (json!(3), json!(3)));
    lab.alice.hide(&data).await;
    assert_eq!(
        (dev(&lab.alice).await, dev(&bob).await),
        (json!(3), json!(["Forbidden"]))
    );
}

#[tokio::test]
async fn large_and_hostile_files_cost_little() {
    let lab = Lab::start(Engine::Sqlite, 20.0).await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let data = lab
        .dataset(
            &lab.alice,
            "hostile",
            &[("deep.json", &deep), ("control", "a\u{0}b\u{1b}[31m\t\u{7}\n")],
        )
        .await;
    std::fs::write(lab.directory(&data).join("binary"), b"\xff\xfe\x00").unwrap();
    // A gigabyte that takes no room: a line with a tab, then nothing but zeros.
    let large = std::fs::File::create(lab.directory(&data).join("large.tsv")).unwrap();
    std::io::Write::write_all(&mut &large, b"a\t1\nb\t2\n").unwrap();
    large.set_len(1 << 30).unwrap();
    let mut lines: Vec<String> = [
        "% schema s",
        "% add deep /deep.json:a",
        "% add control /control",
        "% add binary /binary",
    ]
    .map(str::to_owned)
    .to_vec();
    lines.extend(["% add large /large.tsv:b", "% display table s"].map(str::to_owned));
    lines.push(format!("{{{data}}}"));
    for display in [
        "graph /large.tsv maxlines=1000000000",
        "contents /large.tsv maxlines=1000000000",
        "image /large.tsv",
        "contents /deep.json",
    ] {
        lines.extend([format!("% display {display}"), format!("{{{data}}}")]);
    }
    lab.save(&lines).await;
    let started = Instant::now();
    let page = lab.page(&lab.alice, "").await;
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let row = &page["blocks"][1]["rows"][0];
    assert_eq!(
        (&row["deep"], &row["binary"], &row["large"]),
        (&json!(null), &json!("<binary>"), &json!("2"))
    );
    assert!(page["blocks"][5]["lines"].is_array() || page["blocks"][5]["lines"].is_null());
    assert!(
        text(&page["blocks"][4]["status"]["error_message"]).contains("too large"),
        "{}",
        page["blocks"][4]["status"]
    );
    assert_eq!(
        page["blocks"][2]["trajectories"][0]["points"].as_array().unwrap()[1],
        json!(["b", "2\n"])
    );
}

#[tokio::test]
async fn large_and_hostile_sources_are_taken_or_refused_in_time() {
    let lab = Lab::start(Engine::Sqlite, 20.0).await;
    let path = format!("/worksheets/{}/raw", lab.sheet);
    let put = async |body: Vec<u8>| {
        let started = Instant::now();
        let answer = lab.alice.put(&path).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
        (status, answer.text().await.unwrap())
    };
    for (body, status, message) in [
        (
            b"fine\n\xff\xfe".to_vec(),
            400,
            "Error in source line 2: the text is not UTF-8",
        ),
        (
            b"a\n% display 'table".to_vec(),
            400,
            "Error in source line 2: No closing quotation",
        ),
        (
            b"a\n\n{nothing-here}".to_vec(),
            404,
            "Error in source line 3: bundle spec nothing-here doesn't match any bundles",
        ),
        (
            vec![b'x'; 10 << 20],
            400,
            "Error in source line 1: the line has 10485760 bytes",
        ),
        (vec![b'\n'; 10 << 20], 400, "at most 200000 lines"),
        (vec![b'['; 1 << 19], 204, ""),
        ("[".repeat(500_000).into_bytes(), 204, ""),
        (format!("{}{{x", "[a] ".repeat(200_000)).into_bytes(), 204, ""),
        (b"a\0b\x1b[2J\r\n\x0b\xe2\x80\xa8x".to_vec(), 204, ""),
        (vec![b'x'; 33 << 20], 413, "at most"),
    ] {
        let size = body.len();
        let (answered, text) = put(body).await;
        assert!(
            answered == status && text.contains(message),
            "{size} bytes: {answered} {text}"
        );
    }
    let page = lab.page(&lab.alice, "?brief=1").await;
    assert_eq!(page["source"], json!(["a\0b\u{1b}[2J\r", "\u{b}\u{2028}x"]));
    // Ten megabytes in a hundred thousand lines.
    let line =
        "# a line of text that is about as long as lines of text usually are, with some words at its end, 中文\n";
    let (status, text) = put(line.repeat(99_999).into_bytes()).await;
    assert_eq!((status, text.as_str()), (204, ""));
    let started = Instant::now();
    let page = lab.page(&lab.alice, "?brief=1").await;
    assert_eq!(page["source"].as_array().unwrap().len(), 100_000);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());

    let cells = json!({"contents": vec![json!({"a": ["x".repeat(1000)]}); 9000]});
    let (status, _) = lab
        .alice
        .send(Method::POST, "/interpret/genpath-table-contents", Some(cells))
        .await;
    assert_eq!(status, 413);
    let cells: Vec<Value> = (0..50_000)
        .map(|n| json!({"a": [MISSING, format!("/f:{n}"), null]}))
        .collect();
    let answer = lab
        .alice
        .change(
            Method::POST,
            "/interpret/genpath-table-contents",
            json!({ "contents": cells }),
        )
        .await;
    assert_eq!(answer["contents"][49_999], json!({"a": ["Forbidden"]}));
}
