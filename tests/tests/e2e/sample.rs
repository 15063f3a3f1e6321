//! The sample worksheet: made by `codalab-service sample-worksheet` with a real `cl` and a real worker, interpreted over REST
//! with every block compared, and printed by our command line and by the Python one.

use std::collections::HashMap;

use codalab_tests::{Cl, Runtime, Setup, System, binary, quick};
use rstest::rstest;
use serde_json::{Value, json};
use testkit::Engine;

/// The tool, with the environment of `cl`.
fn tool(system: &System, cl: &str, arguments: &[&str]) -> codalab_tests::Outcome {
    let tool = Cl {
        program: binary("codalab-service"),
        ..system.cl()
    };
    tool.run(&[&["sample-worksheet", "--cl-executable", cl], arguments].concat())
}

fn ours() -> String {
    binary("cl").display().to_string()
}

#[rstest]
fn the_sample_worksheet_is_interpreted_and_printed_as_specified(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
) {
    let setup = Setup::new(database, Runtime::Process);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let made = tool(&system, &ours(), &["--test-print"]);
    let sheet = made.ok();
    assert!(made.stderr.contains("cl print shows what it should."), "{made}");

    let names = names(&system);
    let full = interpreted(&system, &sheet, "");
    let brief = interpreted(&system, &sheet, "?brief=1");
    compare_brief(&full, &brief);
    insta::assert_snapshot!("sample_worksheet", pretty(&system, &names, full));

    // Once more: there is one already.
    let again = tool(&system, &ours(), &["--test-print"]);
    assert_eq!(again.ok(), sheet);
    assert!(again.stderr.contains("exists already"), "{again}");
    if !quick() {
        let printed = system.cl().run(&["print", &sheet]);
        let by_python = system.python().run(&["print", &sheet]);
        assert_eq!(by_python.code, Some(0), "{by_python}");
        assert_eq!(
            String::from_utf8_lossy(&by_python.stdout),
            String::from_utf8_lossy(&printed.stdout)
        );
        assert_eq!(
            system.python().ok(&["print", "-r", &sheet]),
            system.cl().ok(&["print", "-r", &sheet])
        );
    }
    let removed = tool(&system, &ours(), &["--cleanup"]).ok();
    assert_eq!(removed, "Removed 15 bundles and 7 worksheets.");
    assert_eq!(system.cl().ok(&["search", ".mine", ".count"]), "0");
    assert_eq!(system.cl().ok(&["wls", "-u", "worksheet"]), "");
}

#[test]
fn a_preview_shows_what_is_there() {
    let setup = Setup::new(Engine::Sqlite, Runtime::Process);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    system.cl().ok(&["run", "echo there before", "-n", "before"]);
    let made = tool(&system, &ours(), &["--preview", "--test-print"]);
    assert!(made.stderr.contains("cl print shows what it should."), "{made}");
    // Three private pairs and one file of each kind are made, and what was there is shown.
    assert!(
        system
            .cl()
            .ok(&["print", "-r", &made.ok()])
            .contains("[run before : echo there before]{")
    );
    assert_eq!(
        tool(&system, &ours(), &["--cleanup"]).ok(),
        "Removed 6 bundles and 4 worksheets."
    );
    assert_eq!(system.cl().ok(&["search", ".mine", ".count"]), "1");
}

#[test]
fn mistakes_with_the_sample_worksheet_say_what_to_do() {
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    let missing = tool(&system, "no-such-program", &[]);
    let message = missing.fails(1);
    assert!(
        message.contains("cannot start no-such-program") && message.contains("--cl-executable"),
        "{message}"
    );
    system.cl().ok(&["new", "cl_small_worksheet_private_1"]);
    let message = tool(&system, &ours(), &[]).fails(1).to_owned();
    assert!(
        message.contains("already exists") && message.contains("--cleanup"),
        "{message}"
    );
}

fn interpreted(system: &System, sheet: &str, query: &str) -> Value {
    let answer = system.http().get(&format!("/rest/interpret/worksheet/{sheet}{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A name for the beginning of each uuid: worksheets by their own names, bundles by their names and their worksheet's.
fn names(system: &System) -> HashMap<String, String> {
    let cl = system.cl();
    let mut names = HashMap::new();
    for sheet in cl.ok(&["wls", "-u", ".limit=100"]).lines() {
        let info = system.http().get(&format!("/rest/worksheets/{sheet}")).json();
        let name = info["data"]["attributes"]["name"].as_str().unwrap().to_owned();
        if name == "cl_small_worksheet" {
            names.insert(sheet[..8].to_owned(), name);
            continue;
        }
        for (index, bundle) in cl.ok(&["ls", "-u", "-w", sheet]).lines().enumerate() {
            let short = name.trim_start_matches("cl_small_worksheet_");
            names.insert(bundle[..8].to_owned(), format!("{short}_bundle_{}", index + 1));
        }
        names.insert(sheet[..8].to_owned(), name);
    }
    names
}

/// Without cells from files, the brief answer is the full one with the searches unexpanded.
fn compare_brief(full: &Value, brief: &Value) {
    for key in [
        "uuid",
        "name",
        "title",
        "source",
        "tags",
        "owner_name",
        "permission_spec",
        "last_item_id",
    ] {
        assert_eq!(full[key], brief[key], "{key}");
    }
    let searches: Vec<&str> = brief["source"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line.as_str()?.strip_prefix("% "))
        .filter(|line| line.starts_with("search") || line.starts_with("wsearch"))
        .collect();
    let mut found = Vec::new();
    let mut blocks = full["blocks"].as_array().unwrap().iter();
    for block in brief["blocks"].as_array().unwrap() {
        match block["mode"].as_str() {
            Some("placeholder_block") => {
                found.push(block["directive"].as_str().unwrap());
                // A sum continues the text above it.
                if !found.last().unwrap().contains(".sum") {
                    blocks.next().unwrap();
                }
            }
            Some("markup_block") if block["text"] == "Bytes of everybody:" => {
                let text = blocks.next().unwrap()["text"].as_str().unwrap();
                assert!(text.starts_with("Bytes of everybody:\n"), "{text}");
            }
            _ => assert_eq!(blocks.next(), Some(block)),
        }
    }
    assert_eq!(blocks.next(), None);
    assert_eq!(found, searches);
    let length = |value: &Value| value.as_array().unwrap().len();
    assert_eq!(length(&brief["raw_to_block"]), length(&brief["source"]));
}

/// The answer as text, with everything that differs from one run to the next replaced.
fn pretty(system: &System, names: &HashMap<String, String>, mut answer: Value) -> String {
    let first_id = answer["blocks"][0]["ids"][0].as_i64().unwrap();
    let first_key = answer["blocks"][0]["sort_keys"][0].as_i64().unwrap();
    let mut infos = HashMap::new();
    for block in answer["blocks"].as_array_mut().unwrap() {
        shorten(block, &mut infos);
    }
    for block in answer["blocks"].as_array_mut().unwrap() {
        compare_found_worksheets(system, block);
    }
    let steady = Steady {
        names,
        first_id,
        first_key,
    };
    steady.value("", &mut answer);
    serde_json::to_string_pretty(&answer).unwrap()
}

/// Leaves only the first info of each bundle, and refers to it where another one says the same.
fn shorten(block: &mut Value, infos: &mut HashMap<String, Value>) {
    let Some(shown) = block
        .pointer_mut("/bundles_spec/bundle_infos")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    let mut metadata = Vec::new();
    for info in shown {
        metadata.push(info["metadata"].clone());
        let uuid = info["uuid"].as_str().unwrap().to_owned();
        let mut same = info.clone();
        let object = same.as_object_mut().unwrap();
        let place = [object.remove("id"), object.remove("sort_key")];
        // The search does not say where else a bundle is shown.
        object.remove("host_worksheet");
        match infos.get(&uuid) {
            Some(known) if known == &same => {
                *info = json!({"like above": uuid, "id": place[0], "sort_key": place[1]});
            }
            _ => {
                infos.insert(uuid, same);
            }
        }
    }
    let rows = block.get_mut("rows").and_then(Value::as_array_mut);
    for (row, metadata) in rows.into_iter().flatten().zip(metadata.iter().cycle()) {
        for key in ["metadata", "value"] {
            if row.get(key) == Some(metadata) {
                row[key] = json!("<the metadata>");
            }
        }
    }
}

/// What `wsearch` finds comes in the order of the last changes, of which several may be in one second. The search endpoint
/// says which it is.
fn compare_found_worksheets(system: &System, block: &mut Value) {
    let is_found = block["subworksheet_infos"]
        .as_array()
        .is_some_and(|infos| infos.iter().all(|info| info["sort_key"].is_null()));
    if !is_found {
        return;
    }
    let candidates = [
        json!({"keywords": ["worksheet", ".limit=3"]}),
        json!({"keywords": ["tag=codalab-sample-worksheet", ".limit=3"]}),
    ];
    let mut found = block["subworksheet_infos"].take();
    for info in found.as_array_mut().unwrap() {
        info.as_object_mut().unwrap().remove("sort_key");
    }
    let expected = candidates.map(|keywords| {
        let answer = system.http().post_json("/rest/interpret/wsearch", &keywords);
        answer.json()["response"].take()
    });
    assert!(expected.contains(&found), "{found:#} is neither of {expected:#?}");
    block["subworksheet_infos"] = json!(format!(
        "{} worksheets as /interpret/wsearch",
        found.as_array().unwrap().len()
    ));
}

struct Steady<'a> {
    names: &'a HashMap<String, String>,
    first_id: i64,
    first_key: i64,
}

impl Steady<'_> {
    fn value(&self, key: &str, value: &mut Value) {
        match value {
            Value::Object(object) => {
                if matches!(key, "subworksheet_infos" | "group_permissions") && object.contains_key("id") {
                    object.insert("id".to_owned(), json!("<id>"));
                }
                for (key, value) in object.iter_mut() {
                    self.value(key, value);
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.value(key, value)),
            Value::String(text) => *text = self.text(key, text),
            Value::Number(number) => {
                let number = number.clone();
                *value = match key {
                    "ids" | "id" | "last_item_id" => json!(number.as_i64().unwrap() - self.first_id),
                    "sort_keys" | "sort_key" => json!(number.as_i64().unwrap() - self.first_key),
                    "data_size" if number.as_i64() > Some(200) => json!("<measured>"),
                    key if is_measured(key) => json!("<measured>"),
                    _ => return,
                };
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&self, key: &str, text: &str) -> String {
        match key {
            "date_created" | "date_last_modified" => return "<date>".to_owned(),
            "source_version" => return "<version>".to_owned(),
            "updated" if !text.starts_with('<') => return "<date>".to_owned(),
            "duration time" if !text.starts_with('<') => return "<duration>".to_owned(),
            // A run has its directory in its size, which is another one on every file system.
            "data_size" | "size" if text.ends_with('k') => return "<size>".to_owned(),
            "text" if text.starts_with("Bytes of everybody:\n") => return "Bytes of everybody:\n<size>".to_owned(),
            "owner_id" => return "<owner>".to_owned(),
            "remote" | "remote_history" => return "<host>".to_owned(),
            // Whether a worker was free at the first look.
            "staged_status" => return "<status>".to_owned(),
            _ => {}
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("0x") {
            let digits = rest[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
            let word = &rest[at..at + 2 + digits];
            out.push_str(&rest[..at]);
            match (digits, word.get(..8).and_then(|start| self.names.get(start))) {
                (32, Some(name)) => out.extend(["<", name.as_str(), ">"]),
                (6, Some(name)) => out.extend(["<", name.as_str(), "[0:8]>"]),
                (32 | 6, None) => out.push_str("<uuid>"),
                _ => out.push_str(word),
            }
            rest = &rest[at + 2 + digits..];
        }
        out + rest
    }
}

/// A number of a bundle that is measured or is a time.
fn is_measured(key: &str) -> bool {
    [
        "created",
        "started",
        "last_updated",
        "memory",
        "memory_max",
        "cpu_usage",
        "memory_usage",
    ]
    .contains(&key)
        || (key.starts_with("time") && key != "time_limit")
}
