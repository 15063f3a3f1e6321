//! The laws of the language (section 21.2) for random worksheets.
#![allow(clippy::unwrap_used)]

mod world;

use domain::Uuid;
use domain::worksheet::{Item, ItemType};
use futures::executor::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use worksheet::resolve_rows;
use worksheet::source::{SourceLine, describe_bundle, emit, parse, parse_line};
use worksheet::tokens::{serialise, tokenize};

/// A piece of a line that means something somewhere.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "{", "}", "{{", "}}", "[", "]", "%", "//", " ", "  ", "'", "\"", "\\", "\t", "\r", "\u{a0}", "\u{1c}", "\u{2028}", "^", "/", "0x",
            "a", "A", "ws", "display", "schema", "add", "search", "$x$", "#", "\u{0}", "e\u{301}", "\u{1f600}",
        ]).prop_map(str::to_owned),
        1 => r"[^\n]{0,4}",
    ]
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat()),
        1 => r"// ?[^\n]{0,6}",
        1 => r"\[[^\n]{0,8}\] ?\{(A|B|X|0x[0-9a-f]{32})\}",
        1 => r"\[[^\n]{0,8}\] ?\{\{[a-zA-Z]{0,3}\}\}",
        2 => prop::collection::vec(r"[^\n]{0,4}", 0..5).prop_map(|tokens| format!("% {}", serialise(&tokens))),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop::collection::vec(any_line(), 0..6).prop_map(|lines| lines.join("\n"))
}

fn normal(items: &[Item], description: &str) -> String {
    emit(items, |_| description.to_owned()).join("\n")
}

/// A line such as `% % a b`, which becomes the comment `//a b` and counts as two tokens from then on.
fn becomes_comment(item: &Item) -> bool {
    let tokens = tokenize(&item.value).unwrap_or_default();
    item.item_type == ItemType::Directive && tokens.len() != 2 && tokens.first().is_some_and(|first| first == "%")
}

/// An item as section 21.2 (5) wants it.
fn any_item() -> impl Strategy<Value = Item> {
    let uuid = prop::sample::select(vec![[0u8; 16], [1; 16], [0xab; 16]]).prop_map(Uuid::from_random);
    let markup = any_line().prop_filter_map("not a text", |line| match parse_line(&line) {
        Ok(SourceLine::Item(item)) if item.item_type == ItemType::Markup => Some(item),
        _ => None,
    });
    let directive = prop::collection::vec(r"[^\n]{0,5}|%|display|x", 0..4)
        .prop_filter("a comment", |tokens| {
            tokens.len() == 2 || tokens.first().is_none_or(|first| first != "%")
        })
        .prop_map(|tokens| Item::directive(serialise(&tokens)));
    prop_oneof![
        markup,
        directive,
        uuid.clone().prop_map(Item::bundle),
        uuid.prop_map(Item::worksheet),
    ]
}

fn parsed_with_own_uuids(text: &str) -> Vec<Item> {
    let item = |line| match line {
        SourceLine::Item(item) => item,
        SourceLine::Bundle { spec } => Item::bundle(Uuid::parse(&spec).unwrap()),
        SourceLine::Worksheet { spec, .. } => Item::worksheet(Uuid::parse(&spec).unwrap()),
    };
    parse(text).unwrap().into_iter().map(item).collect()
}

proptest! {
    #[test]
    fn each_newline_makes_an_item_and_lines_do_not_know_each_other(first in any_text(), second in any_text()) {
        if let (Ok(a), Ok(b)) = (world::items(&first), world::items(&second)) {
            prop_assert_eq!(a.len(), 1 + first.matches('\n').count());
            let both = world::items(&format!("{first}\n{second}")).unwrap();
            prop_assert_eq!(both, [a, b].concat());
        }
    }

    #[test]
    fn the_normal_form_is_a_fixed_point_and_parses_to_the_same_items(text in any_text(), description in "[^\n]{0,8}") {
        if let Ok(items) = world::items(&text) {
            let once = normal(&items, &description);
            let again = parsed_after(&items, &once);
            for (before, after) in items.iter().zip(&again) {
                prop_assert!(before == after || becomes_comment(before), "{:?} became {:?}", before, after);
            }
            prop_assert_eq!(normal(&again, &description), once);
            for (line, item) in text.split('\n').zip(&items) {
                if item.item_type == ItemType::Markup || line.starts_with("//") {
                    prop_assert_eq!(&normal(std::slice::from_ref(item), ""), line);
                }
            }
        }
    }

    #[test]
    fn stored_items_survive_a_round_trip(items in prop::collection::vec(any_item(), 1..6), description in "[^\n]{0,8}") {
        prop_assert_eq!(parsed_with_own_uuids(&normal(&items, &description)), items);
    }

    #[test]
    fn what_a_bundle_is_called_never_changes_the_items(
        texts in prop::collection::vec("(?s)([\\[\\]{}%/\n]|.){0,8}", 5), uuid: [u8; 16],
    ) {
        let info = json!({
            "bundle_type": texts[0], "metadata": {"name": texts[1]}, "command": texts[2],
            "dependencies": [{"child_path": texts[3], "parent_name": texts[4], "parent_path": texts[0], "parent_uuid": texts[1]}],
        });
        let item = Item::bundle(Uuid::from_random(uuid));
        let line = emit([&item], |_| describe_bundle(info.as_object().unwrap())).remove(0);
        prop_assert_eq!(parsed_with_own_uuids(&line), [item]);
    }
}

/// Items of an emitted text, in which references are uuids: those are the ones of `before`.
fn parsed_after(before: &[Item], text: &str) -> Vec<Item> {
    let lines = parse(text).unwrap();
    assert_eq!(lines.len(), before.len());
    let item = |(line, before): (SourceLine, &Item)| match line {
        SourceLine::Item(item) => item,
        SourceLine::Bundle { spec } => {
            assert_eq!(Some(spec), before.bundle_uuid.map(String::from));
            before.clone()
        }
        SourceLine::Worksheet { spec, .. } => {
            assert_eq!(Some(spec), before.subworksheet_uuid.map(String::from));
            before.clone()
        }
    };
    lines.into_iter().zip(before).map(item).collect()
}

/// Displays, and whether they can be shown.
const DISPLAYS: [(&str, bool); 14] = [
    ("% display table", true),
    ("% display table s t name", true),
    ("% display record name /text u:uuid", true),
    ("% display record s", true),
    ("% display contents /lines maxlines=2", true),
    ("% display image /plot.png width=x", true),
    ("% display graph /out.tsv x=1 display_name=owner", true),
    ("% display hidden", true),
    ("% display contents", false),
    ("% display contents name", false),
    ("% display graph /x y", false),
    ("% display image /x maxlines=y", false),
    ("% display odd 'x y'", false),
    ("% display", true),
];

fn shown_line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        4 => "[a-c ]{1,3}",
        12 => prop::sample::select(vec!["{A}", "{B}", "{P}", "{X}", "{R}", "{N}", "{{W}}", "{{V}}", "{{X}}"]).prop_map(str::to_owned),
        6 => prop::sample::select(DISPLAYS.map(|(line, _)| line).to_vec()).prop_map(str::to_owned),
        8 => prop::sample::select(vec![
            "// c", "%", "% schema s", "% schema t", "% schema", "% add name", "% add f /stats.json:err/dev %.2f", "% add tags tags", "% add",
            "% addschema s", "% addschema t", "% addschema run", "% search name=digits", "% search .mine", "% search .mine .count",
            "% search bad=", "% search nothing", "% wsearch .mine", "% wsearch bad=", "% odd", "% 'o d d'",
        ]).prop_map(str::to_owned),
    ]
}

fn shown_lines(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(shown_line(), 1..most)
}

fn brief(lines: &[String]) -> worksheet::Interpretation {
    block_on(world::page(world::items(&lines.join("\n")).unwrap()).brief(&world::Files))
}

fn full(lines: &[String]) -> worksheet::Interpretation {
    block_on(world::page(world::items(&lines.join("\n")).unwrap()).full(&world::Files))
}

/// The texts of blocks that are no errors, line by line.
fn texts(blocks: &[Value]) -> Vec<String> {
    let texts = blocks
        .iter()
        .filter(|block| block["mode"] == "markup_block" && block.get("ids").is_some());
    texts
        .flat_map(|block| {
            block["text"]
                .as_str()
                .unwrap()
                .split('\n')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The uuids that blocks show, in order.
fn bundles(blocks: &[Value]) -> Vec<String> {
    let mut shown = Vec::new();
    for block in blocks {
        let (list, key) = if block["mode"] == "graph_block" {
            (&block["trajectories"], "bundle_uuid")
        } else {
            (&block["bundles_spec"]["bundle_infos"], "uuid")
        };
        shown.extend(
            list.as_array()
                .into_iter()
                .flatten()
                .map(|item| item[key].as_str().unwrap().to_owned()),
        );
    }
    shown
}

/// The bundles that lines should show in brief mode: those of groups that are neither hidden nor shown by a wrong display,
/// nor missing or unreadable where files are shown.
fn expected_bundles(lines: &[String]) -> Vec<String> {
    let mut display = "% display table";
    let mut expected = Vec::new();
    let mut failed = false;
    for line in lines {
        let is_bundle = line.starts_with('{') && !line.starts_with("{{");
        if !is_bundle {
            // An error ends the display it is about.
            if std::mem::take(&mut failed) {
                display = "% display table";
            }
            let shows = DISPLAYS.iter().any(|(known, _)| known == line) && line != "% display";
            if shows {
                display = line;
            } else if !line.starts_with("% search") {
                display = "% display table";
            }
            continue;
        }
        let works = DISPLAYS.iter().any(|(known, works)| *known == display && *works);
        failed |= !works;
        let reads = ["contents", "image", "graph"].iter().any(|mode| display.contains(mode));
        let gone = reads && (line == "{X}" || line == "{P}");
        if works && !display.contains("hidden") && !gone {
            expected.push(line.trim_matches(['{', '}']).to_owned());
        }
    }
    expected
}

/// Blocks without what depends on the places of their items.
fn without_places(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for key in ["ids", "sort_keys", "id", "sort_key", "first_bundle_source_index"] {
                object.remove(key);
            }
            if object.get("error").is_some_and(|error| error == true) {
                let text = object["text"].as_str().unwrap_or("");
                object["text"] = json!(text.replace(|c: char| c.is_ascii_digit(), ""));
            }
            object.values_mut().for_each(without_places);
        }
        Value::Array(items) => items.iter_mut().for_each(without_places),
        _ => {}
    }
}

fn placeless(blocks: Vec<Value>) -> Value {
    let mut blocks = Value::Array(blocks);
    without_places(&mut blocks);
    blocks
}

/// What kind of group an item may be part of.
fn group(line: &str) -> &'static str {
    match line {
        "" => "",
        _ if line.starts_with("{{") => "worksheets",
        _ if line.starts_with('{') => "bundles",
        _ if line.starts_with("% schema") || line.starts_with("% add") => "schema",
        _ if line.starts_with('%') || line.starts_with("//") => "",
        _ => "text",
    }
}

proptest! {
    #[test]
    fn no_item_takes_the_text_of_another_away(lines in shown_lines(14)) {
        let own: Vec<String> = lines.iter().filter(|line| group(line) == "text").cloned().collect();
        let brief = brief(&lines);
        prop_assert_eq!(texts(&brief.blocks), own.clone());
        // Aggregates are texts too, but here only numbers are.
        let full: Vec<String> = texts(&full(&lines).blocks).into_iter().filter(|text| text != "12").collect();
        prop_assert_eq!(full, own);
    }

    #[test]
    fn every_bundle_is_shown_once_and_in_order(lines in shown_lines(14)) {
        let blocks = brief(&lines).blocks;
        for block in &blocks {
            if block["mode"] == "table_block" {
                let count = |key: &str| block[key].as_array().unwrap().len();
                prop_assert_eq!(count("rows"), count("sort_keys"));
                prop_assert_eq!(count("rows"), block["bundles_spec"]["bundle_infos"].as_array().unwrap().len());
            }
        }
        // A graph with a bundle that may not be read is an error as a whole.
        let spoiled = lines.iter().any(|line| line.starts_with("% display graph")) && lines.iter().any(|line| line == "{P}" || line == "{X}");
        if !spoiled {
            let names: Vec<String> = bundles(&blocks).iter().map(|uuid| world::with_names(uuid)).collect();
            prop_assert_eq!(names, expected_bundles(&lines));
        }
    }

    #[test]
    fn a_second_blank_line_changes_only_places(lines in shown_lines(12), at in 0usize..12) {
        let at = at.min(lines.len());
        let (mut one, mut two) = (lines.clone(), lines);
        one.insert(at, String::new());
        two.insert(at, String::new());
        two.insert(at, String::new());
        prop_assert_eq!(placeless(brief(&one).blocks), placeless(brief(&two).blocks));
        prop_assert_eq!(placeless(full(&one).blocks), placeless(full(&two).blocks));
    }

    #[test]
    fn appended_items_change_the_last_group_at_most(lines in shown_lines(12), more in shown_lines(6)) {
        let before = brief(&lines);
        let kind = group(lines.last().unwrap());
        let start = lines.iter().rposition(|line| group(line) != kind).map_or(0, |at| at + 1);
        let first_of_group = if kind.is_empty() {
            before.blocks.len()
        } else {
            before.raw_to_block[start][0].as_u64().map_or(before.blocks.len(), |block| block as usize)
        };
        let after = brief(&[lines, more].concat());
        prop_assert_eq!(&before.blocks[..first_of_group], &after.blocks[..first_of_group]);
    }

    #[test]
    fn reading_the_cells_of_the_brief_blocks_gives_the_full_ones(lines in shown_lines(12)) {
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.contains("search")).collect();
        let (brief, full) = (brief(&lines), full(&lines));
        prop_assert_eq!(brief.raw_to_block, full.raw_to_block);
        prop_assert_eq!(brief.block_to_raw, full.block_to_raw);
        for (mut brief, mut full) in brief.blocks.into_iter().zip(full.blocks) {
            if let Some(rows) = brief.get("rows").and_then(Value::as_array) {
                let mut rows = block_on(resolve_rows(rows.clone(), &world::Files));
                for row in &mut rows {
                    // Records leave out values that are null.
                    if brief["mode"] == "record_block" && row["value"].is_null() {
                        row.as_object_mut().unwrap().remove("value");
                    }
                }
                brief["rows"] = json!(rows);
                (brief["status"], full["status"]) = (Value::Null, Value::Null);
            }
            prop_assert_eq!(brief, full);
        }
    }

    #[test]
    fn a_refresh_has_one_slot_per_brief_block(lines in shown_lines(12)) {
        let page = world::page(world::items(&lines.join("\n")).unwrap());
        let uuid = page.bundles.keys().min().unwrap().to_string();
        let slots = block_on(page.refresh(std::slice::from_ref(&uuid), &world::Files));
        let blocks = brief(&lines).blocks;
        prop_assert_eq!(slots.len(), blocks.len());
        for (slot, block) in slots.iter().zip(&blocks) {
            let shown = bundles(std::slice::from_ref(block)).contains(&uuid);
            let is_file_error = slot["text"].as_str().is_some_and(|text| text.starts_with("ERROR"));
            if block["mode"] != "placeholder_block" {
                prop_assert_eq!(!slot.is_null(), shown || is_file_error, "{:?}", block);
            }
            for info in slot["bundles_spec"]["bundle_infos"].as_array().into_iter().flatten() {
                prop_assert!(info.is_null() || info["uuid"] == json!(uuid));
            }
        }
    }
}
