use proptest::prelude::*;
use serde_json::{Value, json};

use super::parse;

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let alias = format!("*a{}", level - 1);
        let aliases = [alias.as_str(); 10].join(", ");
        text.extend([
            "a",
            &level.to_string(),
            ": &a",
            &level.to_string(),
            " [",
            &aliases,
            "]\n",
        ]);
    }
    assert_eq!(parse(&text), None);
}

#[test]
fn a_value_that_contains_itself_is_refused() {
    assert_eq!(parse("&a [1, *a]"), None);
    assert_eq!(parse("&a {k: *a}"), None);
    assert_eq!(parse("&a {<<: *a, k: 1}"), None);
}

#[test]
fn what_the_scanner_panics_on_is_refused() {
    assert_eq!(parse("[!x, b]"), None);
    assert_eq!(parse("[010, !!!!!!1, 0o7,? 08, 0]"), None);
    assert_eq!(parse("{a: !!str, b: 1}"), None);
}

#[test]
fn deep_nesting_is_refused_early() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(&deep(100)).is_some());
    assert_eq!(parse(&deep(10_000)), None);
    assert_eq!(parse(&"- ".repeat(100_000)), None);
    assert_eq!(parse(&"{a: ".repeat(100_000)), None);
    assert_eq!(parse(&"? ".repeat(100_000)), None);
    assert_eq!(parse(&"[".repeat(3_000_000)), None);
}

#[test]
fn large_documents_take_linear_time() {
    let lines = 50_000;
    assert_eq!(
        parse(&"word\n".repeat(lines)).and_then(|value| value.as_str().map(str::len)),
        Some(lines * 5 - 1)
    );
    let map: String = (0..lines)
        .flat_map(|n| ["k".to_owned(), n.to_string(), ": 1\n".to_owned()])
        .collect();
    assert_eq!(parse(&map).unwrap().as_object().unwrap().len(), lines);
    let list = format!("[{}]", "1,".repeat(lines));
    assert_eq!(parse(&list).unwrap().as_array().unwrap().len(), lines);
    let quoted = format!("\"{}\"", "x\n\n".repeat(lines));
    assert!(parse(&quoted).unwrap().is_string());
    let block = format!("|\n{}", "  x\n".repeat(lines));
    assert_eq!(
        parse(&block).and_then(|value| value.as_str().map(str::len)),
        Some(lines * 2)
    );
    let anchors: String = (0..lines)
        .flat_map(|n| ["- &a".to_owned(), n.to_string(), " 1\n".to_owned()])
        .collect();
    assert_eq!(parse(&anchors).unwrap().as_array().unwrap().len(), lines);
    let merges: String = (1..2_000)
        .map(|n| format!("m{n}: &m{n}\n  <<: *m{}\n  k{n}: 1\n", n - 1))
        .collect::<Vec<_>>()
        .concat();
    let _ = parse(&format!("m0: &m0 {{k0: 1}}\n{merges}"));
    let _ = parse(&": ".repeat(lines));
    let _ = parse(&"? a\n".repeat(lines));
    let _ = parse(&"%TAG ! x\n".repeat(10_000));
    let _ = parse(&"#\n".repeat(lines));
    let _ = parse(&"\n".repeat(lines * 10));
    let _ = parse(&" ".repeat(lines * 10));
    let _ = parse(&"'".repeat(lines));
    let _ = parse(&"a".repeat(lines * 10));
    let _ = parse(&"&a ".repeat(lines));
    let _ = parse(&"!".repeat(lines));
    let _ = parse(&"*".repeat(lines));
}

proptest! {
    #[test]
    fn any_text_is_a_value_or_not_without_panic(text in r#"(?s)([ \n:\-#\[\]{},'"\\a0.~&*!|>%?<=]|\PC|\t| - |: |<<: |&a |\*a|!!set |---\n){0,40}"#) {
        let _ = parse(&text);
    }
}

/// Compares with a table of texts and the values that Python's safe loader gave them.
#[test]
fn documents_have_the_values_that_python_gives_them() {
    let cases: Vec<(String, Option<Value>)> = include_str!("cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Vec<Value>>(line).unwrap())
        .map(|case| (case[0].as_str().unwrap().to_owned(), case.get(1).cloned()))
        .collect();
    for (text, value) in cases {
        assert_eq!(parse(&text), value, "{text:?}");
    }
    assert_eq!(parse("a: 2020-02-30"), Some(json!({"a": "2020-02-30"})));
}
