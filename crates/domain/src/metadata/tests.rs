//! Tables of cases for metadata validation and storage.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn metadata(value: Value) -> Metadata {
    Metadata::try_from(value).unwrap()
}

fn valid_run() -> Metadata {
    metadata(json!({"name": "run-x"})).with_client_defaults(BundleType::Run)
}

#[test]
fn stored_rows_read_back_as_the_contract_shows() {
    let rows = [
        ("name", "corpus"),
        ("description", ""),
        ("tags", "nlp"),
        ("tags", "2024"),
        ("created", "1700000000"),
        ("data_size", "4096"),
        ("license", ""),
        ("source_url", ""),
        ("forgotten_key", "x"),
    ];
    let read = Metadata::from_rows(BundleType::Dataset, rows);
    assert_eq!(
        serde_json::to_string(&read).unwrap(),
        r#"{"created":1700000000,"data_size":4096,"description":"","license":"","link_format":"","link_url":"","name":"corpus","source_url":"","store":"","tags":["nlp","2024"]}"#
    );
}

#[test]
fn values_are_stored_as_python_prints_them() {
    for (value, rows) in [
        (json!(""), vec![""]),
        (json!(5), vec!["5"]),
        (json!(0.5), vec!["0.5"]),
        (json!(1e-5), vec!["1e-05"]),
        (json!(true), vec!["True"]),
        (json!(["a", "b"]), vec!["a", "b"]),
        (json!([]), vec![]),
        (json!(null), vec![]),
    ] {
        assert_eq!(rows_of(&value), rows, "{value}");
    }
}

#[test]
fn odd_rows_never_fail() {
    let rows = [
        ("created", "1e3"),
        ("exitcode", "x"),
        ("time", "nan"),
        ("request_network", "true"),
        ("name", "é"),
    ];
    let read = Metadata::from_rows(BundleType::Run, rows);
    assert_eq!(read.int("created"), 1000);
    assert_eq!(read.int("exitcode"), 0);
    assert!(!read.bool("request_network"));
    assert_eq!(read.name(), "?");
}

#[test]
fn a_fresh_run_has_user_fields_and_lists_only() {
    let read = Metadata::from_rows(BundleType::Run, valid_run().to_rows());
    assert!(read.get("actions").is_some() && read.get("request_priority").is_some() && read.get("store").is_some());
    assert!(
        read.get("time").is_none() && read.get("cpu_usage").is_none() && read.get("on_preemptible_worker").is_none()
    );
}

#[test]
fn client_defaults_are_those_of_the_table() {
    let run = valid_run();
    assert_eq!(run.get("request_memory"), Some(&json!("2g")));
    assert_eq!(run.get("request_cpus"), Some(&json!(1)));
    assert_eq!(run.get("request_priority"), Some(&json!(0)));
    assert_eq!(run.get("request_network"), Some(&json!(true)));
    assert_eq!(run.get("exclude_patterns"), Some(&json!([])));
    assert!(run.validate(BundleType::Run).is_ok());
}

#[test]
fn every_wrong_value_is_refused_with_its_message() {
    for (key, value, message) in [
        ("nope", json!(1), "Unexpected metadata key: nope"),
        (
            "request_cpus",
            json!("x"),
            "Metadata value for request_cpus should be of type int, was x (type str)",
        ),
        (
            "request_cpus",
            json!(true),
            "Metadata value for request_cpus should be of type int, was True (type bool)",
        ),
        (
            "request_cpus",
            json!(1.5),
            "Metadata value for request_cpus should be of type int, was 1.5 (type float)",
        ),
        (
            "tags",
            json!("x"),
            "Metadata value for tags should be of type list, was x (type str)",
        ),
        (
            "tags",
            json!([1]),
            "Metadata value for tags should be of type list of str, was 1 (type int)",
        ),
        (
            "description",
            json!({"k": []}),
            "Metadata value for description should be of type str, was {'k': []} (type dict)",
        ),
        (
            "request_time",
            json!("1d2h"),
            "Invalid duration: 1d2h, expected <number>[<s|m|h|d|y>]",
        ),
        (
            "request_memory",
            json!("10mb"),
            "Invalid size: 10mb, expected <number>[<k|m|g|t>]",
        ),
        (
            "description",
            json!("日本"),
            "Invalid character detected; use ascii characters only.",
        ),
        (
            "tags",
            json!(["é"]),
            "Invalid character detected; use ascii characters only.",
        ),
        ("name", json!(""), "Runs must have non-empty names"),
        ("name", json!(null), "Runs must have non-empty names"),
    ] {
        let mut run = valid_run();
        run.set(key, value);
        let error = run.validate(BundleType::Run).unwrap_err();
        assert_eq!((error.status(), error.message.as_str()), (400, message));
    }
    let mut run = valid_run();
    run.remove("request_gpus");
    assert_eq!(
        run.validate(BundleType::Run).unwrap_err().message,
        "Missing metadata key: request_gpus"
    );
    run.set("request_gpus", json!(null));
    run.set("cpu_usage", json!(1));
    assert!(run.validate(BundleType::Run).is_ok());
    run.set("name", "a b");
    assert!(
        run.validate(BundleType::Run)
            .unwrap_err()
            .message
            .starts_with("Invalid name 'a b'.")
    );
}

#[test]
fn updates_delete_on_null_and_keep_the_rest() {
    let mut run = valid_run();
    run.update(&metadata(json!({"description": null, "tags": ["x"]})));
    assert!(run.get("description").is_none());
    assert_eq!(run.list("tags"), ["x"]);
    assert_eq!(run.name(), "run-x");
    assert!(metadata(json!({"tags": []})).validate_update(BundleType::Run).is_ok());
    assert!(
        metadata(json!({"name": null}))
            .validate_update(BundleType::Run)
            .is_err()
    );
}

#[test]
fn locked_fields_are_editable_only_before_the_run_starts() {
    assert!(editable_keys(BundleType::Run, BundleState::Staged).contains(&"request_time"));
    assert_eq!(
        editable_keys(BundleType::Run, BundleState::Ready),
        ["name", "description", "tags"]
    );
    assert!(!editable_keys(BundleType::Run, BundleState::Created).contains(&"created"));
}

#[test]
fn restaging_keeps_actions_and_creation_time() {
    let keys: Vec<_> = reset_keys().collect();
    assert!(keys.contains(&"data_size") && keys.contains(&"remote_history") && keys.contains(&"staged_status"));
    assert!(!keys.contains(&"actions") && !keys.contains(&"created") && !keys.contains(&"name"));
}

#[test]
fn values_display_with_units() {
    let zone = jiff::tz::TimeZone::UTC;
    for (key, value, text) in [
        ("data_size", json!(312), "312 bytes"),
        ("time", json!(75.2), "1m15s"),
        ("request_memory", json!("2g"), "2g"),
        ("request_time", json!("60"), "1m0s"),
        ("created", json!(1_700_000_000), "2023-11-14 22:13:20"),
        ("tags", json!(["a", "b"]), "a b"),
        ("request_network", json!(true), "True"),
        ("request_time", json!(""), ""),
    ] {
        assert_eq!(
            display_value(field(BundleType::Run, key).unwrap(), &value, &zone),
            text,
            "{key}"
        );
    }
}

proptest! {
    #[test]
    fn rows_of_valid_metadata_read_back_equal(
        description in "[ -~]*", tags in prop::collection::vec("[a-z]{1,5}", 0..4), cpus: i64, time: Option<f64>,
    ) {
        let mut run = valid_run();
        run.set("description", description);
        run.set("tags", tags);
        run.set("request_cpus", cpus);
        if let Some(time) = time.filter(|t| t.is_finite()) {
            run.set("time", time);
        }
        prop_assert!(run.validate(BundleType::Run).is_ok());
        let read = Metadata::from_rows(BundleType::Run, run.to_rows());
        for (key, value) in run.iter() {
            prop_assert_eq!(read.get(key), Some(value));
        }
    }
}
