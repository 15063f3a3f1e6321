//! The bundles, worksheets and files of the examples.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::worksheet::{Item, PlacedItem};
use domain::{Error, Result, Uuid};
use serde_json::{Value, json};
use worksheet::source::{SourceLine, parse};
use worksheet::{BundleInfo, Found, OwnerNames, Page, Reader, Target, private_info};

/// Names of the examples and the uuids behind them: a run, a dataset, a private bundle, one that does not exist, a run with
/// dependencies, a make bundle, a running run, an anonymous dataset; two worksheets, the second of them private.
const NAMES: [(&str, &str); 10] = [
    ("A", "0x4f1e2c8a9b7d4e53a6c0d1e2f3a4b5c6"),
    ("B", "0x7a9003d1c2e84f6b8d5e6f708192a3b4"),
    ("P", "0x9d00aa11bb22cc33dd44ee55ff667788"),
    ("X", "0xeeee0000eeee0000eeee0000eeee0000"),
    ("D", "0x1234567890abcdef1234567890abcdef"),
    ("M", "0x2222222222222222bbbbbbbbbbbbbbbb"),
    ("R", "0x3333333333333333cccccccccccccccc"),
    ("N", "0x4444444444444444dddddddddddddddd"),
    ("W", "0x5566778899aabbccddeeff0011223344"),
    ("V", "0x6666666666666666ffffffffffffffff"),
];

fn uuid(name: &str) -> Uuid {
    let found = NAMES.iter().find(|(known, _)| *known == name);
    Uuid::parse(found.map_or(NAMES[3].1, |(_, uuid)| uuid)).unwrap()
}

/// A text with the names in place of the uuids.
#[allow(dead_code)] // not every test prints uuids
pub fn with_names(text: &str) -> String {
    NAMES
        .iter()
        .fold(text.to_owned(), |text, (name, uuid)| text.replace(uuid, name))
}

/// The items of a source; references are resolved by name.
pub fn items(source: &str) -> Result<Vec<Item>> {
    let item = |line| match line {
        SourceLine::Item(item) => item,
        SourceLine::Bundle { spec } => Item::bundle(uuid(&spec)),
        SourceLine::Worksheet { spec, .. } => Item::worksheet(uuid(&spec)),
    };
    Ok(parse(source)?.into_iter().map(item).collect())
}

/// A page of items, with ids from 41 and sort keys from 20.
pub fn page(items: Vec<Item>) -> Page {
    let place = |(index, item)| PlacedItem {
        id: 41 + index as i64,
        sort_key: 20 + index as i64,
        item,
    };
    let bundles = ["A", "B", "D", "M", "R", "N"].map(|name| (uuid(name), Arc::new(info(name))));
    let private = (uuid("P"), Arc::new(private_info(uuid("P"))));
    Page {
        items: items.into_iter().enumerate().map(place).collect(),
        bundles: bundles.into_iter().chain([private]).collect(),
        worksheets: HashMap::from([
            (uuid("W"), Arc::new(worksheet_info("W", "notes", "My notes"))),
            (
                uuid("V"),
                Arc::new(object(json!({"uuid": uuid("V"), "name": "<private>", "title": null}))),
            ),
        ]),
        owners: OwnerNames::from([("7".to_owned(), "ann".to_owned())]),
    }
}

fn object(value: Value) -> BundleInfo {
    match value {
        Value::Object(object) => object,
        _ => BundleInfo::new(),
    }
}

fn worksheet_info(worksheet: &str, name: &str, title: &str) -> BundleInfo {
    object(json!({
        "uuid": uuid(worksheet), "name": name, "title": title, "owner_id": "7", "frozen": null, "is_anonymous": false,
        "date_created": "2024-01-02T03:04:05", "date_last_modified": "2024-01-02T03:04:05", "tags": [],
    }))
}

fn info(name: &str) -> BundleInfo {
    let dependency = |key: &str, parent: &str, parent_name: Option<&str>, path: &str| {
        json!({
            "child_path": key, "child_uuid": uuid(name), "parent_uuid": uuid(parent), "parent_name": parent_name,
            "parent_path": path, "location": null,
        })
    };
    let (bundle_type, command, state, metadata, dependencies) = match name {
        "A" => (
            "run",
            json!("python train.py --lr 0.1"),
            "ready",
            json!({"name": "train-a", "data_size": 5018, "description": "", "time": 75.2, "created": 1_442_513_840,
                "tags": ["x", "/y", "z"], "exitcode": 0}),
            json!([]),
        ),
        "B" => (
            "dataset",
            Value::Null,
            "ready",
            json!({"name": "digits", "data_size": 700, "description": "MNIST", "tags": []}),
            json!([]),
        ),
        "D" => (
            "run",
            json!("python train.py --lr 0.1"),
            "ready",
            json!({"name": "train-d", "request_memory": "2g", "request_cpus": 1, "request_network": true, "request_queue": ""}),
            json!([
                dependency("train.py", "M", Some("code"), "src/train.py"),
                dependency("digits", "B", Some("digits"), ""),
            ]),
        ),
        "M" => (
            "make",
            Value::Null,
            "ready",
            json!({"name": "code"}),
            json!([
                dependency("train.py", "A", Some("train-a"), ""),
                dependency("digits", "B", Some("digits"), ""),
                dependency("gone", "X", None, "sub"),
            ]),
        ),
        "R" => (
            "run",
            json!("sleep 10"),
            "running",
            json!({"name": "sleeper", "time": 3.25}),
            json!([]),
        ),
        _ => (
            "dataset",
            Value::Null,
            "uploading",
            json!({"name": "anon"}),
            json!([dependency("", "A", Some("train-a"), "out")]),
        ),
    };
    let owner = if name == "N" { Value::Null } else { json!("7") };
    object(json!({
        "uuid": uuid(name), "bundle_type": bundle_type, "owner_id": owner, "command": command, "state": state, "frozen": null,
        "is_anonymous": name == "N", "metadata": metadata, "dependencies": dependencies, "args": null, "location": null,
        "permission": 1, "host_worksheet": {"uuid": uuid("W"), "name": "notes"},
    }))
}

/// The files of bundle `A`; private and missing bundles are forbidden. `R` is read from a worker that does not answer.
pub struct Files;

const STATS: &str = "{\"err\":{\"dev\":0.12345,\"test\":0.2},\"list\":[1,[2,3],\"x\"],\"\":7,\"big\":99999999999999999999,\"nan\":NaN}\n";

#[async_trait]
impl Reader for Files {
    async fn read(&self, bundle: &str, path: &str, limit: u64) -> Result<Target> {
        let name = NAMES
            .iter()
            .find(|(_, uuid)| *uuid == bundle)
            .map_or("X", |(name, _)| name);
        let text = match (name, path) {
            ("P" | "X", _) => {
                return Err(Error::permission(format!(
                    "User bob(8) does not have sufficient permissions on bundle {bundle} (have none, need read)."
                )));
            }
            (_, "") | ("A", "out") => return Ok(Target::Directory),
            ("A", "stats.json") => STATS,
            ("A", "out.tsv") => "0\t0.9\n1\t0.5\n",
            ("A", "run.yaml") => "lr: 1e3\nsteps: 1_000\ndate: 2020-01-01\nok: yes\nnested: {a: [1, 2]}\n",
            ("A", "text") => "hello\nworld\n",
            ("A", "lines") => "first\nsecond\nthird\nfourth\n",
            ("A", "empty") => "",
            ("A", "plot.png") => "png",
            ("A", "broken") => return Err(Error::internal("disk on fire")),
            ("A", "theirs") => return Err(Error::permission("User bob(8) may not read the dependency.")),
            _ => return Ok(Target::NotFound),
        };
        let size = text.len() as u64;
        Ok(Target::File {
            bytes: text.as_bytes()[..size.min(limit) as usize].to_vec(),
            size,
        })
    }

    async fn search(&self, keywords: &[String]) -> Result<Found> {
        Ok(match keywords.join(" ").as_str() {
            "name=digits" => Found::Bundles(vec![info("B")]),
            ".mine" => Found::Bundles(vec![info("A"), info("B")]),
            ".mine .count" => Found::Aggregate(json!(12)),
            "size=.sum" => Found::Aggregate(json!(3_650_722_201u64)),
            "size=.sum none" => Found::Aggregate(Value::Null),
            "bad=" => return Err(Error::usage("Unknown key: bad")),
            _ => Found::Bundles(Vec::new()),
        })
    }

    async fn search_worksheets(&self, keywords: &[String]) -> Result<Vec<BundleInfo>> {
        Ok(match keywords.first().map(String::as_str) {
            Some(".mine") => vec![object(
                json!({"id": 3, "uuid": uuid("W"), "name": "notes", "title": "My notes"}),
            )],
            Some("bad=") => return Err(Error::usage("Unknown key: bad")),
            _ => Vec::new(),
        })
    }
}
