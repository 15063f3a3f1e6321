//! Any chain of functions gives a value for any input: the first line is the chain, the rest the value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use worksheet::post_process;

fuzz_target!(|text: &str| {
    let (chain, value) = text.split_once('\n').unwrap_or((text, ""));
    let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    let result = post_process(Some(chain), value.clone());
    let _ = result.to_string();
    assert_eq!(post_process(None, value.clone()), value);
    let _ = post_process(Some(chain), Value::Null);
});
