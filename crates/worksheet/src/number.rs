//! Numbers as Python reads them from text: `int` and `float`, with blanks around and single underscores inside.

/// Reads an integer as Python's `int` does. None if it is none, or beyond 64 bits.
pub(crate) fn integer(text: &str) -> Option<i64> {
    without_underscores(text.trim())?.parse().ok()
}

/// Reads a number as Python's `float` does: also `1e5`, `nan`, `-Infinity`.
pub(crate) fn float(text: &str) -> Option<f64> {
    without_underscores(text.trim())?.parse().ok()
}

/// Takes underscores out; they may only stand between two digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let misplaced = |at: usize| bytes[at] == b'_' && !(digit(at.checked_sub(1)) && digit(Some(at + 1)));
    if (0..bytes.len()).any(misplaced) {
        return None;
    }
    Some(text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, number) in [
            (" 12 ", Some(12)),
            ("+3", Some(3)),
            ("-1_000", Some(-1000)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1.0", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(integer(text), number, "{text}");
        }
        for (text, number) in [
            (" 1e5\n", Some(1e5)),
            ("1_0.5", Some(10.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1_.5", None),
            ("1e", None),
            ("0x10", None),
            ("", None),
        ] {
            assert_eq!(float(text), number, "{text}");
        }
        assert!(float("NaN").is_some_and(f64::is_nan));
    }
}
