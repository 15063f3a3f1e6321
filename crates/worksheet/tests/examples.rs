//! The worked examples and tables of the language's contract, kept as texts in `tests/examples`: source, items, blocks.
//!
//! An example is
//!
//! ```text
//! ## What it shows (section of the document)
//! --- source
//! {A}
//! --- items
//! bundle A
//! --- blocks
//! {"mode":"table_block", …}
//! ```
//!
//! Further parts: `emitted` (the source written back), `brief` (blocks of brief mode; `blocks` is full mode), `source lines`
//! (`raw_to_block` and `block_to_raw` of brief mode), `refused` (the error of the source), `printed` (what `cl print` makes
//! of the blocks; the tests of `cl` compare it). Bundles and worksheets are called
//! by the names of [`world`]. Of a block's `bundles_spec` only uuid, item id and sort key are shown, as `"bundles"`;
//! `is_refined` is left out where the contract wants it. `EXAMPLES=write cargo test` writes down what came out.

#![allow(clippy::unwrap_used)]

mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use domain::worksheet::{Item, ItemType};
use futures::executor::block_on;
use serde_json::{Map, Value, json};
use worksheet::Interpretation;
use worksheet::tokens::tokenize;

struct Example {
    title: String,
    /// Name and text of each part, without final newline.
    parts: Vec<(String, String)>,
}

fn read(path: &Path) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if let Some(title) = line.strip_prefix("## ") {
            examples.push(Example {
                title: title.to_owned(),
                parts: Vec::new(),
            });
        } else if let Some(name) = line.strip_prefix("--- ") {
            let example = examples.last_mut().expect("a title comes first");
            example.parts.push((name.to_owned(), String::new()));
        } else if let Some((_, text)) = examples.last_mut().and_then(|example| example.parts.last_mut()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    for example in &mut examples {
        for (name, text) in &mut example.parts {
            text.truncate(text.len().saturating_sub(1));
            // A blank line separates examples; in a source it counts.
            if name != "source" {
                text.truncate(text.trim_end().len());
            }
        }
    }
    examples
}

fn write(path: &Path, examples: &[Example]) {
    let mut text = String::new();
    for example in examples {
        let _ = writeln!(text, "## {}", example.title);
        for (name, part) in &example.parts {
            let _ = writeln!(text, "--- {name}\n{part}");
        }
        text.push('\n');
    }
    std::fs::write(path, format!("{}\n", text.trim_end())).unwrap();
}

/// What each part of an example is in truth.
fn actual(source: &str, part: &str) -> String {
    let items = match world::items(source) {
        Ok(items) if part != "refused" => items,
        Ok(_) => return "accepted".to_owned(),
        Err(error) => return format!("{} {}", error.status(), error.message),
    };
    let lines: Vec<String> = match part {
        "items" => items.iter().map(show_item).collect(),
        "emitted" => world::page(items).source(),
        "brief" => blocks(block_on(world::page(items).brief(&world::Files))),
        "blocks" => blocks(block_on(world::page(items).full(&world::Files))),
        "source lines" => {
            let result = block_on(world::page(items).brief(&world::Files));
            vec![
                format!("raw_to_block {}", result.raw_to_block),
                format!("block_to_raw {}", Value::Object(result.block_to_raw)),
            ]
        }
        other => panic!("no such part: {other}"),
    };
    world::with_names(&lines.join("\n"))
}

fn show_item(item: &Item) -> String {
    match item.item_type {
        ItemType::Markup => format!("markup {:?}", item.value),
        ItemType::Directive => format!("directive {:?} {}", tokenize(&item.value).unwrap(), item.value),
        ItemType::Bundle => format!("bundle {}", item.bundle_uuid.unwrap()),
        ItemType::Worksheet => format!("worksheet {}", item.subworksheet_uuid.unwrap()),
    }
    .trim_end()
    .to_owned()
}

fn blocks(result: Interpretation) -> Vec<String> {
    result
        .blocks
        .into_iter()
        .map(|block| show_block(block).to_string())
        .collect()
}

/// A block with less of what is the same in all of them.
fn show_block(mut block: Value) -> Value {
    let object = block.as_object_mut().unwrap();
    let by_resolution =
        object["mode"] == "markup_block" && !object.contains_key("ids") && !object.contains_key("error");
    let refined = object.remove("is_refined");
    assert_eq!(
        refined,
        (!by_resolution).then(|| json!(true)),
        "is_refined of {object:?}"
    );
    if let Some(mut spec) = object.remove("bundles_spec") {
        let fetched = json!({"code": "ready", "error_message": ""});
        assert_eq!(spec["fetch_status"], fetched);
        let infos = spec["bundle_infos"].take();
        object.insert(
            "bundles".to_owned(),
            infos.as_array().unwrap().iter().map(place).collect(),
        );
    }
    if object.get("status").is_some_and(|status| status["error_message"] == "") {
        let code = object["status"]["code"].take();
        object.insert("status".to_owned(), code);
    }
    block
}

fn place(info: &Value) -> Value {
    let object: &Map<String, Value> = info.as_object().unwrap();
    let member = |key: &str| object.get(key).map_or("-".to_owned(), Value::to_string);
    let missing = if object.contains_key("metadata") {
        ""
    } else {
        " without metadata"
    };
    json!(format!(
        "{} {}/{}{missing}",
        info["uuid"].as_str().unwrap(),
        member("id"),
        member("sort_key")
    ))
}

fn check(file: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/examples")
        .join(file);
    let mut examples = read(&path);
    assert!(!examples.is_empty(), "{file} has no examples");
    let mut wrong = String::new();
    for example in &mut examples {
        let source = example.parts[0].1.clone();
        assert_eq!(example.parts[0].0, "source", "{}", example.title);
        for (name, text) in &mut example.parts[1..] {
            if name == "printed" {
                continue;
            }
            let found = actual(&source, name);
            if found.trim_end() != *text {
                let _ = writeln!(
                    wrong,
                    "{file}: {} / {name}\nexpected\n{text}\nfound\n{found}\n",
                    example.title
                );
                *text = found;
            }
        }
    }
    if std::env::var("EXAMPLES").is_ok_and(|value| value == "write") {
        write(&path, &examples);
    } else {
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn lines_become_items_and_items_lines() {
    check("lines.txt");
}

#[test]
fn worksheets_become_blocks() {
    check("worksheets.txt");
}

#[test]
fn displays_show_what_they_say() {
    check("displays.txt");
}

#[test]
fn schemas_name_columns() {
    check("schemas.txt");
}

#[test]
fn genpaths_and_file_cells_have_their_values() {
    check("values.txt");
}

#[test]
fn searches_are_expanded_in_place() {
    check("searches.txt");
}

#[test]
fn what_is_missing_private_or_running_is_shown_as_the_table_says() {
    check("missing.txt");
}
