use std::fmt::Write as _;
use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;

use super::*;

#[test]
fn chains_give_the_values_of_the_contract() {
    for (chain, input, output) in [
        ("date | [0:4]", json!(1_442_513_840), json!("2015")),
        ("[1:2]", json!("hello"), json!("e")),
        ("[:2]", json!("hello"), json!("he")),
        ("[2:]", json!("hello"), json!("llo")),
        ("[-3:]", json!("hello"), json!("llo")),
        ("[3:1]", json!("hello"), json!("")),
        ("[0:1]", json!(["a", "b"]), json!(["a"])),
        ("[a]", json!("x"), json!("<invalid function: [a]>")),
        ("[a:b]", json!("x"), json!("x")),
        ("%.2f", json!("1.2345"), json!("1.23")),
        ("%.2f%%", json!("0.1234567"), json!("0.12%")),
        ("%-8.2fx", json!("0.1234567"), json!("0.12    x")),
        ("%d", json!(-3.9), json!("-3")),
        ("%s", json!(12), json!("12.0")),
        ("%05.1f", json!(-2.25), json!("-02.2")),
        ("%+d", json!(5), json!("+5")),
        ("%e", json!(12345.678), json!("1.234568e+04")),
        ("%g", json!(1e10), json!("1e+10")),
        ("%g", json!(0.0001), json!("0.0001")),
        ("%.3g", json!(1234.5), json!("1.23e+03")),
        ("%x", json!(12), json!(12)),
        ("%d %d", json!(12), json!(12)),
        ("%d", json!("abc"), json!("abc")),
        ("%.99999999999999999999f", json!(1), json!(1)),
        (r"s/(.+)\/(.+)/\2\/\1", json!("3/10"), json!("10/3")),
        ("s/a/b | s/b/c", json!("a"), json!("c")),
        ("s/a/b/", json!("aa"), json!("<invalid regex: s/a/b/>")),
        ("s/a/$1", json!("a"), json!("$1")),
        ("s/(/x", json!("a("), json!("a(")),
        ("s/(?P<n>b)/<\\g<n>>", json!("abc"), json!("a<b>c")),
        ("size | %.1f", json!(2048), json!("2k")),
        ("date|[0:4]", json!(0), json!("<invalid function: date|[0:4]>")),
        ("duration2", json!(null), json!("<invalid function: duration2>")),
        (
            "key uuid | add path /stdout",
            json!("0xab"),
            json!({"uuid": "0xab", "path": "/stdout"}),
        ),
        (
            "key uuid | add path /stdout | add text Log",
            json!("0xab"),
            json!({"uuid": "0xab", "path": "/stdout", "text": "Log"}),
        ),
        (
            "add a b",
            json!(null),
            json!("arg (<class 'NoneType'>) not a dictionary"),
        ),
        ("add a", json!({}), json!({})),
        ("str", json!(null), json!("None")),
        ("str", json!([1, "a"]), json!("[1, 'a']")),
        ("size", json!(5), json!("5 bytes")),
        ("size", json!("1536"), json!("1.5k")),
        ("duration", json!(61.9), json!("1m1s")),
        ("duration", json!("nan"), json!("nan")),
        ("date", json!(null), json!(null)),
    ] {
        assert_eq!(apply(Some(chain), input.clone()), output, "{chain} on {input}");
    }
    assert_eq!(apply(None, json!([1])), json!([1]));
}

proptest! {
    #[test]
    fn no_chain_ever_fails(chain in r"(?s)(%|s/|\[|add |key |date|size|duration|str|\PC| \| |/|\\|[0-9.:\]-]){0,8}", text in "(?s).{0,20}", number: f64) {
        for value in [json!(text), json!(number), json!(null), json!([text]), json!({"a": text})] {
            let _ = apply(Some(&chain), value);
        }
    }

    #[test]
    fn slices_agree_with_the_model(text in r"\PC{0,6}", from in -8i64..8, to in -8i64..8) {
        let characters: Vec<char> = text.chars().collect();
        let at = |bound: i64| (if bound < 0 { bound + characters.len() as i64 } else { bound }).clamp(0, characters.len() as i64);
        let model: String = (at(from)..at(to)).map(|index| characters[index as usize]).collect();
        prop_assert_eq!(apply(Some(&format!("[{from}:{to}]")), json!(text)), json!(model));
    }
}

/// Formats and substitutions with the values that Python gave them.
#[test]
fn formats_and_patterns_are_those_of_python() {
    for line in include_str!("cases.jsonl").lines() {
        let case: Vec<Value> = serde_json::from_str(line).unwrap();
        assert_eq!(apply(case[0].as_str(), case[1].clone()), case[2], "{line}");
    }
}

#[test]
fn durations_and_sizes_are_those_of_the_contract() {
    for (seconds, text) in [
        (0.0, "0.0s"),
        (5.0, "5.0s"),
        (59.95, "60.0s"),
        (60.0, "1m0s"),
        (61.9, "1m1s"),
        (63.0, "1m3s"),
        (3600.0, "1h0m"),
        (3661.0, "1h1m"),
        (86_399.0, "23h59m"),
        (86_400.0, "1d0h"),
        (31_535_999.0, "364d23h"),
        (31_536_000.0, "1y0d"),
        (0.25, "0.2s"),
    ] {
        assert_eq!(apply(Some("duration"), json!(seconds)), json!(text), "{seconds}");
    }
    for (bytes, text) in [
        (5.0, "5 bytes"),
        (1.0, "1 bytes"),
        (99.01, "99.0 bytes"),
        (700.3, "700 bytes"),
        (1023.0, "1023 bytes"),
        (1024.0, "1k"),
        (1025.0, "1.0k"),
        (1536.0, "1.5k"),
        (2048.0, "2k"),
        (4125.0, "4.0k"),
        (-2000.0, "-2000 bytes"),
        (3500.0, "3.4k"),
        (102_399.0, "100.0k"),
        (400_000.0, "390k"),
        (4_000_000.0, "3.8m"),
        (400_000_000.0, "381m"),
        (4_000_000_000.0, "3.7g"),
        (350_000_000_000.0, "325g"),
        (3_500_000_000_000.0, "3.2t"),
        (450_000_000_000_000.0, "409t"),
        // 1.7 had nothing here.
        (1_125_899_906_842_624.0, "1024t"),
        (5e18, "4547473t"),
    ] {
        assert_eq!(apply(Some("size"), json!(bytes)), json!(text), "{bytes}");
    }
}

#[test]
fn dates_are_in_utc_with_their_fraction() {
    for (seconds, text) in [
        (json!(0), "1970-01-01 00:00:00"),
        (json!("1442513840"), "2015-09-17 18:17:20"),
        (json!(1_442_513_840.25), "2015-09-17 18:17:20.250000"),
        (json!(-1), "1969-12-31 23:59:59"),
    ] {
        assert_eq!(apply(Some("date"), seconds), json!(text));
    }
}

#[test]
fn values_without_a_number_are_left_alone() {
    for chain in ["date", "duration", "size", "%.2f", "%d"] {
        for value in [json!("abc"), json!([1]), json!({"a": 1}), json!(null)] {
            assert_eq!(apply(Some(chain), value.clone()), value, "{chain}");
        }
    }
    for chain in ["duration", "date", "size"] {
        for value in [json!("inf"), json!("nan")] {
            assert_eq!(apply(Some(chain), value.clone()), value, "{chain}");
        }
    }
    assert_eq!(apply(Some("date"), json!("1e300")), json!("1e300"));
}

#[test]
fn adding_to_a_map_leaves_the_original_alone() {
    let chains = Chains::default();
    let parsed = json!({"a": 1});
    assert_eq!(chains.apply(Some("add b c"), parsed.clone()), json!({"a": 1, "b": "c"}));
    assert_eq!(chains.apply(None, parsed.clone()), parsed);
}

#[test]
fn patterns_that_backtrack_without_end_leave_the_text_alone() {
    let text = json!(format!("{}b", "a".repeat(5000)));
    for chain in [
        r"s/(a*)*\1$/x",
        "s/(?=(a+)+$)a/x",
        r"s/(a|aa)+\1c/x",
        "s/((a*)*)*(?!b)$/x",
    ] {
        assert!(apply(Some(chain), text.clone()) == text, "{chain}");
    }
    // The engine without backtracking does not mind.
    assert_eq!(apply(Some("s/(a*)*b/x"), text), json!("x"));
}

#[test]
fn substitutions_of_long_texts_take_bounded_time() {
    // Each match is found only after a look at the whole rest.
    let text = json!("A".repeat(1 << 20));
    assert!(apply(Some("s/.*[^A-Z]|[A-Z]/x"), text.clone()) == text);
    // One match in a long text is no problem.
    let log = json!(format!("{}acc=0.95\n", "line of the log\n".repeat(20_000)));
    for chain in [r"s/(?s)^.*acc=([0-9.]+).*$/\1", r"s/(?s)^.*acc=([0-9.]+)\n/\1"] {
        assert!(apply(Some(chain), log.clone()) == json!("0.95"), "{chain}");
    }
    let long = "(".repeat(2000);
    assert_eq!(apply(Some(&format!("s/{long}/x")), json!("(")), json!("("));
    assert_eq!(apply(Some("s/(((a{99}){99}){99}){99}/x"), json!("a")), json!("a"));
}

#[test]
fn chains_that_grow_end() {
    let mut chain = String::from("s/a/aa");
    for _ in 0..200 {
        let _ = write!(chain, " | s/a/aa");
    }
    let grown = apply(Some(&chain), json!("a"));
    assert!(grown.as_str().unwrap().len() <= MAX_OUTPUT);
    let quoting = vec!["key it's\"\\ | str"; 100].join(" | ");
    assert!(apply(Some(&quoting), json!("x")).to_string().len() <= 3 * MAX_OUTPUT);
    let nesting = vec!["key a"; 100_000].join(" | ");
    let mut depth = 0;
    let mut value = &apply(Some(&nesting), json!(1));
    while let Some(inner) = value.get("a") {
        value = inner;
        depth += 1;
    }
    assert_eq!(depth, MAX_STEPS);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        r"(?s)[-+0-9.e_]{1,8}|\PC{0,8}|.{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-c]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_function() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "str",
            "date",
            "duration",
            "size",
            "[0:2]",
            "[-1:]",
            "[1:x]",
            "[x]",
            "key k",
            "add a b",
            "add a",
            "key",
            "%d",
            "%.2f",
            "%5.1e",
            "%g",
            "%s",
            "%x",
            "s/a/b",
            "s/a",
            "s/(/x",
            "s/[0-9]+/<\\g<0>>",
            "nothing",
            "",
        ])
        .prop_map(str::to_owned),
        r"%[-+ 0#]{0,2}[0-9]{0,2}(\.[0-9]{0,2})?[a-zA-Z%]\PC{0,2}",
        r"s/[a-c.*+?()|\\\[\]^$0-9]{0,6}/[a-c\\0-9<>g]{0,5}",
        r"\[[-0-9: ]{0,5}\]",
    ]
}

proptest! {
    #[test]
    fn a_chain_is_its_functions_one_after_the_other(first in any_function(), second in any_function(), value in any_value()) {
        let between = apply(Some(&first), value.clone());
        let both = apply(Some(&format!("{first} | {second}")), value.clone());
        let stopped = both == between;
        prop_assert!(stopped || both == apply(Some(&second), between));
    }

    #[test]
    fn null_stays_null_in_functions_of_numbers(chain in r"date|duration|size|%[-+ 0#]{0,2}[0-9]{0,2}[a-zA-Z]") {
        prop_assert_eq!(apply(Some(&chain), Value::Null), Value::Null);
    }

    #[test]
    fn sizes_and_durations_have_their_form(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        static SIZE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^-?\d+(\.\d)?( bytes|[kmgt])$").unwrap());
        static DURATION: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^-?\d+(\.\d)?s$|^-?\d+[ymhd]\d+[dhms]$").unwrap());
        for (form, chain) in [(&SIZE, "size"), (&DURATION, "duration")] {
            let text = apply(Some(chain), json!(number));
            prop_assert!(form.is_match(text.as_str().unwrap()), "{} of {} is {}", chain, number, text);
        }
    }

    #[test]
    fn no_chain_of_functions_fails(functions in prop::collection::vec(any_function(), 0..5), value in any_value()) {
        let _ = apply(Some(&functions.join(" | ")), value);
    }
}
