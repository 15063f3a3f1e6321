//! Any contents of a file have a head, a structure and values in it; structures are of limited depth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use worksheet::file::{head, lookup, structure};

fuzz_target!(|bytes: &[u8]| {
    // A panic that the crate catches (see its yaml.rs), but the fuzzer does not.
    if bytes.contains(&b'!') && bytes.contains(&b',') {
        return;
    }
    for (size, lines) in [(bytes.len(), 10_000), (bytes.len(), 2), (bytes.len() + 1, 10_000)] {
        let lines = head(bytes, size as u64, lines);
        let value = structure(&lines);
        let text = value.to_string();
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text} is too deep");
        let _ = lookup(&value, Some("a/0/-1"));
    }
});
