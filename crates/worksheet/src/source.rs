//! Source text to items and back (language sections 2 and 3).

use std::borrow::Cow;

use domain::spec::{BundleSpec, WorksheetSpec};
use domain::worksheet::{Item, ItemType};
use domain::{Error, Result, Uuid};
use serde_json::{Map, Value};

use crate::genpath;
use crate::tokens::{serialise, tokenize};

/// One line of source, with references still to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceLine {
    /// Markup or a directive: complete.
    Item(Item),
    /// A reference to a bundle. A failed look-up refuses the whole text.
    Bundle {
        /// Valid bundle spec, trimmed.
        spec: String,
    },
    /// A reference to a worksheet. A failed look-up makes it a line of text, see [`unresolved_worksheet`].
    Worksheet {
        /// Worksheet spec, trimmed; may be invalid.
        spec: String,
        /// The line as it was typed.
        line: String,
    },
}

/// Most lines of a worksheet.
pub const MAX_LINES: usize = 1_000_000;

/// Reads the source of a worksheet: one element per line, blank lines included. Fails with the line number on a
/// directive with an open quote, and above [`MAX_LINES`].
pub fn parse(text: &str) -> Result<Vec<SourceLine>> {
    if text.matches('\n').nth(MAX_LINES - 1).is_some() {
        return Err(Error::usage(format!(
            "The source has more than {MAX_LINES} lines; split the worksheet"
        )));
    }
    text.split('\n')
        .enumerate()
        .map(|(index, line)| parse_line(line).map_err(|error| at_line(index, &error)))
        .collect()
}

/// An error with the number of the source line, counted from 0 here and from 1 in the message.
pub fn at_line(index: usize, error: &Error) -> Error {
    Error::new(
        error.kind,
        format!("Error in source line {}: {}", index + 1, error.message),
    )
}

/// The item that a worksheet reference becomes when its look-up fails.
pub fn unresolved_worksheet(error: &Error, line: &str) -> Item {
    Item::markup(format!("{}: {line}", error.message))
}

/// Classifies one line.
pub fn parse_line(line: &str) -> Result<SourceLine> {
    if let Some(rest) = line.strip_prefix("//") {
        return Ok(SourceLine::Item(Item::directive(serialise(&["%", rest]))));
    }
    match braces(line) {
        Some(Braces::One(spec)) if is_reference(spec) => Ok(SourceLine::Bundle { spec: spec.to_owned() }),
        Some(Braces::Two(spec)) => Ok(SourceLine::Worksheet {
            spec: spec.to_owned(),
            line: line.to_owned(),
        }),
        _ => match line.trim_start_matches(is_blank).strip_prefix('%') {
            Some(text) => {
                let tokens = tokenize(text.trim_start_matches(is_blank))?;
                Ok(SourceLine::Item(Item::directive(serialise(&tokens))))
            }
            None => Ok(SourceLine::Item(Item::markup(line))),
        },
    }
}

/// Checks the value of a directive that comes in through another door than the source text.
pub fn check_directive(value: &str) -> Result<()> {
    tokenize(value).map(drop)
}

/// The value of a stored directive as clients get it. Clients split it themselves, and some give up a whole worksheet
/// for one open quote; a value that cannot be split becomes one quoted token.
pub fn served_directive(value: &str) -> Cow<'_, str> {
    match tokenize(value) {
        Ok(_) => Cow::Borrowed(value),
        Err(_) => Cow::Owned(serialise(&[value])),
    }
}

/// What the braces of a reference hold: `{…}` or `{{…}}` at the end of a line, after an optional `[…]`.
enum Braces<'a> {
    One(&'a str),
    Two(&'a str),
}

/// Reads a reference. The description in brackets reaches up to the last bracket that leaves a reference, so that it may
/// hold brackets and braces itself.
fn braces(line: &str) -> Option<Braces<'_>> {
    let line = trim(line);
    if !line.starts_with(['[', '{']) || !line.ends_with('}') {
        return None;
    }
    let is_description =
        |text: &str| text.is_empty() || (text.len() > 1 && text.starts_with('[') && text.ends_with(']'));
    let brace = line.rfind('{')?;
    if is_description(line[..brace].trim_end_matches(is_blank)) {
        return Some(Braces::One(trim(&line[brace + 1..line.len() - 1])));
    }
    let inner = |text: &'_ str| {
        text.strip_prefix("{{")
            .and_then(|text| text.strip_suffix("}}"))
            .map(str::len)
    };
    let after_description = |(at, _)| inner(line[at + 1..].trim_start_matches(is_blank));
    let length = if line.starts_with('[') {
        line.rmatch_indices(']').find_map(after_description)?
    } else {
        inner(line)?
    };
    Some(Braces::Two(trim(&line[line.len() - 2 - length..line.len() - 2])))
}

/// White space as Python knows it: also the four separators of ASCII.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Whether braces hold a bundle spec and not just any text, such as a line of JSON.
fn is_reference(spec: &str) -> bool {
    BundleSpec::parse(spec).is_ok_and(|spec| match spec.worksheet {
        Some(worksheet) => WorksheetSpec::parse(&worksheet).is_ok(),
        None => true,
    })
}

/// The source line of one item. `description` is the text for the brackets of a reference (see [`describe_bundle`] and
/// [`describe_worksheet`]); it is ignored for markup and directives.
pub fn emit_item(item: &Item, description: &str) -> String {
    match item.item_type {
        ItemType::Markup => item.value.clone(),
        ItemType::Directive => emit_directive(&item.value),
        ItemType::Bundle => format!("[{description}]{{{}}}", uuid_text(item.bundle_uuid)),
        ItemType::Worksheet => format!("[{description}]{{{{{}}}}}", uuid_text(item.subworksheet_uuid)),
    }
}

/// The source lines of items. `description` gives the text for the brackets of references.
pub fn emit<'a>(
    items: impl IntoIterator<Item = &'a Item>,
    mut description: impl FnMut(&Item) -> String,
) -> Vec<String> {
    items
        .into_iter()
        .map(|item| match item.item_type {
            ItemType::Bundle | ItemType::Worksheet => emit_item(item, &description(item)),
            ItemType::Markup | ItemType::Directive => emit_item(item, ""),
        })
        .collect()
}

fn uuid_text(uuid: Option<Uuid>) -> String {
    uuid.map(String::from).unwrap_or_default()
}

fn emit_directive(value: &str) -> String {
    // A value that cannot be split was stored by an older server; it is shown as it is.
    let Ok(tokens) = tokenize(value) else {
        return format!("% {value}");
    };
    match tokens.as_slice() {
        [] => "%".to_owned(),
        [first, rest @ ..] if first == "%" => format!("//{}", rest.join(" ")),
        tokens => {
            let text = serialise(tokens);
            let space = if text.starts_with('%') { "" } else { " " };
            format!("%{space}{text}")
        }
    }
}

/// The bracket text of a bundle reference, from a bundle info or a fetched bundle: type and name, dependencies, command.
/// Empty for a bundle that does not exist.
pub fn describe_bundle(info: &Map<String, Value>) -> String {
    let Some(metadata) = info.get("metadata").filter(|value| !value.is_null()) else {
        return String::new();
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    let mut description = format!("{} {}", text(info.get("bundle_type")), text(metadata.get("name")));
    let dependencies = genpath::dependencies_text(info);
    if !dependencies.is_empty() {
        description.push_str(" -- ");
        description.push_str(&dependencies);
    }
    let command = text(info.get("command"));
    if !command.is_empty() {
        description.push_str(" : ");
        description.push_str(&command);
    }
    description.replace('\n', " ")
}

/// The bracket text of a worksheet reference; the name is empty when unknown.
pub fn describe_worksheet(name: &str) -> String {
    format!("worksheet {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const UUID: &str = "0x0123456789abcdef0123456789abcdef";

    fn bundle(spec: &str) -> SourceLine {
        SourceLine::Bundle { spec: spec.into() }
    }

    #[test]
    fn lines_are_classified_as_in_the_contract() {
        for (line, spec) in [
            ("{a}", "a"),
            ("  {a}  ", "a"),
            ("[x]{a}", "a"),
            ("[x] { a }", "a"),
            ("[a] b]{a}", "a"),
            ("[run z : echo ${y}]{a}", "a"),
            ("{ws/^2}", "ws/^2"),
            ("{/x}", "/x"),
            ("\u{1c}{\u{a0}a\u{1f}}\u{3000}\r", "a"),
        ] {
            assert_eq!(parse_line(line).unwrap(), bundle(spec), "{line}");
        }
        for (line, spec) in [("{{a}}", "a"), ("[w] {{ a }}", "a"), ("{{}}", "")] {
            let expected = SourceLine::Worksheet {
                spec: spec.into(),
                line: line.into(),
            };
            assert_eq!(parse_line(line).unwrap(), expected, "{line}");
        }
        for line in [
            "{ {a}}",
            "{{a}",
            "{a}x",
            "x{a}",
            "[a]{b}{c}",
            "[text](url)",
            "{a{b}",
            " // x",
            "x % y",
            "!rm ^",
            "",
            "  ",
            // No bundle spec could look so; these are text, not references.
            "{}",
            "{ }",
            "[]{}",
            "{1,2,3}",
            "{\"k\": 1}",
            "{a}}",
            "a\r",
            "[a]{{x]{y}}",
        ] {
            assert_eq!(
                parse_line(line).unwrap(),
                SourceLine::Item(Item::markup(line)),
                "{line}"
            );
        }
        for (line, value) in [
            ("% x", "x"),
            ("%x", "x"),
            ("   % x", "x"),
            ("%", ""),
            ("//x", "% x"),
            ("// x", "% ' x'"),
            ("//", "% ''"),
            ("% x\r", "x"),
        ] {
            assert_eq!(
                parse_line(line).unwrap(),
                SourceLine::Item(Item::directive(value)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_broken_directive_is_refused_with_its_line() {
        let error = parse("a\n% 'x").unwrap_err();
        assert_eq!(
            (error.status(), error.message.as_str()),
            (400, "Error in source line 2: No closing quotation")
        );
    }

    #[test]
    fn a_stored_directive_is_served_so_that_clients_can_split_it() {
        for (value, served) in [
            ("add 'run time' time", "add 'run time' time"),
            ("a  b", "a  b"),
            ("broken 'quote", r#"'broken '"'"'quote'"#),
            ("end\\", r"'end\'"),
        ] {
            assert_eq!(served_directive(value), served);
            check_directive(&served_directive(value)).unwrap();
        }
    }

    #[test]
    fn every_newline_makes_one_more_item() {
        assert_eq!(parse("").unwrap().len(), 1);
        assert_eq!(parse("a\n\n").unwrap().len(), 3);
    }

    #[test]
    fn items_are_emitted_as_in_the_contract() {
        let uuid = Uuid::parse(UUID).unwrap();
        for (item, description, line) in [
            (Item::markup(" x "), "", " x "),
            (Item::directive("% ' note'"), "", "// note"),
            (Item::directive(""), "", "%"),
            (Item::directive("%x"), "", "%%x"),
            (Item::directive("add 'run time' time"), "", "% add 'run time' time"),
            (Item::directive("broken 'quote"), "", "% broken 'quote"),
            (
                Item::bundle(uuid),
                "dataset digits",
                "[dataset digits]{0x0123456789abcdef0123456789abcdef}",
            ),
            (Item::bundle(uuid), "", "[]{0x0123456789abcdef0123456789abcdef}"),
            (
                Item::worksheet(uuid),
                "worksheet notes",
                "[worksheet notes]{{0x0123456789abcdef0123456789abcdef}}",
            ),
        ] {
            assert_eq!(emit_item(&item, description), line);
        }
    }

    #[test]
    fn bundles_are_described_by_type_name_dependencies_and_command() {
        let info = json!({
            "bundle_type": "run", "command": "python train.py\n--lr 0.1", "metadata": {"name": "train-a"},
            "dependencies": [
                {"child_path": "train.py", "parent_name": "code", "parent_path": "src/train.py", "parent_uuid": UUID},
                {"child_path": "digits", "parent_name": "digits", "parent_path": "", "parent_uuid": UUID},
            ],
        });
        assert_eq!(
            describe_bundle(info.as_object().unwrap()),
            "run train-a -- train.py:code/src/train.py,:digits : python train.py --lr 0.1"
        );
        assert_eq!(describe_bundle(json!({"uuid": UUID}).as_object().unwrap()), "");
    }

    /// Resolves every reference to the same object, for the laws below.
    fn items(text: &str) -> Option<Vec<Item>> {
        let uuid = Uuid::parse(UUID).unwrap();
        let lines = parse(text).ok()?;
        Some(
            lines
                .into_iter()
                .map(|line| match line {
                    SourceLine::Item(item) => item,
                    SourceLine::Bundle { .. } => Item::bundle(uuid),
                    SourceLine::Worksheet { .. } => Item::worksheet(uuid),
                })
                .collect(),
        )
    }

    fn normal(text: &str) -> Option<String> {
        Some(emit(&items(text)?, |_| "worksheet x]{y}".into()).join("\n"))
    }

    /// The patterns of the contract, with white space as Python knows it.
    fn by_patterns(line: &str) -> SourceLine {
        let capture = |pattern: &str| {
            let pattern = regex::Regex::new(&pattern.replace('_', r"[\s\x1c-\x1f]")).unwrap();
            pattern.captures(line).map(|groups| groups[1].to_owned())
        };
        if let Some(spec) = capture(r"^_*(?:\[.*\])?_*\{([^{]*)\}_*$") {
            return if is_reference(trim(&spec)) {
                bundle(trim(&spec))
            } else {
                SourceLine::Item(Item::markup(line))
            };
        }
        if let Some(spec) = capture(r"^_*(?:\[.*\])?_*\{\{(.*)\}\}_*$") {
            return SourceLine::Worksheet {
                spec: trim(&spec).to_owned(),
                line: line.to_owned(),
            };
        }
        match capture(r"^_*%_*(.*)$") {
            Some(text) => SourceLine::Item(Item::directive(serialise(&tokenize(&text).unwrap_or_default()))),
            None => SourceLine::Item(Item::markup(line)),
        }
    }

    proptest! {
        #[test]
        fn lines_are_read_as_the_patterns_of_the_contract_say(
            line in r"([\[\]{}a% ]|\{\{|\}\}|\x1c|[^\n]){0,12}".prop_filter("a comment", |line| !line.starts_with("//"))
        ) {
            let found = parse_line(&line).unwrap_or_else(|_| SourceLine::Item(Item::directive("")));
            prop_assert_eq!(found, by_patterns(&line));
        }

        #[test]
        fn the_normal_form_is_a_fixed_point_and_keeps_all_items(
            lines in prop::collection::vec(r#"[ %/\[\]{}a-z0-9'"\\\^]{0,12}|// ?[a-z]*|% [a-z ]*|\{[a-z]+\}|\{\{[a-z]*\}\}|\PC{0,6}"#, 0..6)
        ) {
            let text = lines.join("\n");
            if let Some(parsed) = items(&text) {
                prop_assert_eq!(parsed.len(), 1 + text.matches('\n').count());
                let once = normal(&text).unwrap();
                let again = items(&once);
                prop_assert!(again.is_some(), "{:?} does not parse", once);
                // `% % a b` becomes the comment `//a b`, which counts as two tokens from then on.
                let comment = |item: &Item| item.value == "%" || item.value.starts_with("% ");
                for (before, after) in parsed.iter().zip(again.unwrap()) {
                    prop_assert!(before == &after || comment(before), "{:?} became {:?}", before, after);
                }
                prop_assert_eq!(normal(&once).unwrap(), once);
            }
        }
    }
}
