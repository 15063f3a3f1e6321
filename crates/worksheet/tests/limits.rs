//! Hostile sizes: everything here would take minutes, or all memory, if it took more than linear time.
#![allow(clippy::unwrap_used)]

mod world;

use futures::executor::block_on;
use serde_json::Value;
use worksheet::file::{CELL_LINES, head, head_limit, lookup, structure};
use worksheet::source::{MAX_LINES, SourceLine, parse, parse_line};

const MEGABYTE: usize = 1 << 20;

fn blocks(source: &str) -> Vec<Value> {
    block_on(world::page(world::items(source).unwrap()).brief(&world::Files)).blocks
}

#[test]
fn long_lines_are_classified_in_linear_time() {
    for piece in [
        "[", "]", "[]", "{", "}", "{}", "{{", "[]{", "[x]{a}", " ", "\t", "\u{a0}", "%", "% ", "//", "'", "\\", "é",
        "\u{0}", "[]{{}}",
    ] {
        let line = piece.repeat(MEGABYTE / piece.len());
        let _ = parse_line(&line);
        let _ = parse_line(&format!("[{line}"));
        let _ = parse_line(&format!("% {line}"));
    }
    let line = format!("[{}]{{a}}", "] [".repeat(MEGABYTE / 3));
    assert_eq!(parse_line(&line).unwrap(), SourceLine::Bundle { spec: "a".into() });
}

#[test]
fn ten_megabytes_of_source_are_items() {
    let text = "text [with] {braces} ".repeat(10);
    let source = format!("{text}\n\n% add a b\n[x]{{A}}\n// c\n").repeat(10 * MEGABYTE / 235);
    assert_eq!(parse(&source).unwrap().len(), 1 + source.matches('\n').count());
    assert_eq!(parse(&"\n".repeat(MAX_LINES - 1)).unwrap().len(), MAX_LINES);
    let error = parse(&"\n".repeat(10 * MEGABYTE)).unwrap_err();
    assert_eq!(
        error.message,
        "The source has more than 1000000 lines; split the worksheet"
    );
}

#[test]
fn a_hundred_thousand_items_are_interpreted_in_linear_time() {
    let repeated = |line: &str| line.repeat(100_000);
    assert_eq!(blocks(&repeated("text\n")).len(), 1);
    assert_eq!(blocks(&repeated("text\n// c\n")).len(), 100_000);
    assert_eq!(blocks(&repeated("% search x\n")).len(), 100_000);
    assert_eq!(blocks(&repeated("% odd\n")).len(), 100_000);
    let table = blocks(&"{A}\n".repeat(20_000));
    assert_eq!(table[0]["rows"].as_array().unwrap().len(), 20_000);
    assert_eq!(blocks(&"{{W}}\n".repeat(20_000)).len(), 1);
    assert_eq!(
        blocks(&format!("% schema s\n{}", "% add x\n".repeat(1000)))[0]["field_rows"]
            .as_array()
            .unwrap()
            .len(),
        1000
    );
}

#[test]
fn searches_are_refreshed_in_linear_time() {
    let source = "% display record name\n% search .mine\n".repeat(2_000);
    let page = world::page(world::items(&source).unwrap());
    let uuids = [page.bundles.keys().min().unwrap().to_string()];
    assert_eq!(block_on(page.refresh(&uuids, &world::Files)).len(), 2_000);
}

fn error(blocks: &[Value]) -> &str {
    let error = blocks
        .iter()
        .find(|block| block["error"] == true)
        .expect("an error block");
    error["text"].as_str().unwrap()
}

#[test]
fn schemas_that_double_with_each_line_end_in_an_error() {
    let mut source = "% schema s0\n% add name\n".to_owned();
    for n in 1..60 {
        let before = n - 1;
        source += &["% schema s", &n.to_string(), "\n"].concat();
        source += &["% addschema s", &before.to_string(), "\n"].concat().repeat(2);
    }
    assert_eq!(
        error(&blocks(&source)),
        "Error in source line 32: schema `s10` would have more than 1000 columns; split it"
    );
}

#[test]
fn pages_of_too_many_cells_are_errors() {
    let wide = ["n:name "; 900].concat();
    let too_large = "the tables of this worksheet are too large to show; split it, or show fewer columns";
    let bundles = "{A}\n".repeat(20_000);
    for mode in ["table", "record"] {
        let blocks = blocks(&format!("% display {mode} {wide}\n{bundles}\ntext"));
        assert_eq!(error(&blocks), format!("Error in source line 1: {too_large}"));
        assert_eq!(blocks.last().unwrap()["text"], "text");
    }
    // Long words that each block would repeat.
    let long = "x".repeat(100_000);
    for mode in ["contents /", "graph /", "image /", "table /", "record /"] {
        let blocks = blocks(&format!("% display {mode}{long}\n{bundles}"));
        assert!(error(&blocks).ends_with(too_large), "{mode}");
    }
}

#[test]
fn the_head_of_a_file_is_bounded_whatever_its_size() {
    assert_eq!(head_limit(usize::MAX), 16 << 20);
    assert!(head_limit(CELL_LINES) <= 16 << 20);
    // A gigabyte of a table: its beginning is read, and the line that is cut is dropped.
    let row = "key\tvalue\n";
    let beginning = row.repeat(head_limit(CELL_LINES) as usize / row.len());
    let lines = head(beginning.as_bytes(), 1 << 30, CELL_LINES);
    assert_eq!(lines.len(), CELL_LINES);
    assert_eq!(lookup(&structure(&lines), Some("key")), "value");
    // One line without end.
    assert_eq!(
        structure(&head("x".repeat(5 * MEGABYTE).as_bytes(), 1 << 30, CELL_LINES)),
        ""
    );
    let controls: String = (0..32u8).map(char::from).collect::<String>().repeat(MEGABYTE / 32);
    let _ = structure(&head(controls.as_bytes(), controls.len() as u64, CELL_LINES));
}

#[test]
fn a_deep_document_is_shown_as_its_text() {
    for text in [
        "[".repeat(10_000) + &"]".repeat(10_000),
        "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000),
        "- ".repeat(10_000),
    ] {
        let value = structure(&head(text.as_bytes(), text.len() as u64, CELL_LINES));
        assert_eq!(value, format!("{text}\n"));
        assert_eq!(lookup(&value, Some("a/a/a")), Value::Null);
    }
}
