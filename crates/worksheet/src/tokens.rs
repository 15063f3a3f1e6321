//! Words of a directive: splitting as a POSIX shell does, and quoting (language section 2.4).

use domain::{Error, Result};

/// Splits the text after `%` into tokens. Fails on an unclosed quote or a trailing backslash.
pub fn tokenize(text: &str) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    let mut token: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => tokens.extend(token.take()),
            '\'' => read_single_quoted(&mut chars, token.get_or_insert_default())?,
            '"' => read_double_quoted(&mut chars, token.get_or_insert_default())?,
            '\\' => {
                let escaped = chars.next().ok_or_else(unescaped)?;
                token.get_or_insert_default().push(escaped);
            }
            c => token.get_or_insert_default().push(c),
        }
    }
    tokens.extend(token);
    Ok(tokens)
}

fn read_single_quoted(chars: &mut std::str::Chars<'_>, token: &mut String) -> Result<()> {
    loop {
        match chars.next() {
            None => return Err(unclosed()),
            Some('\'') => return Ok(()),
            Some(c) => token.push(c),
        }
    }
}

fn read_double_quoted(chars: &mut std::str::Chars<'_>, token: &mut String) -> Result<()> {
    loop {
        match chars.next() {
            None => return Err(unclosed()),
            Some('"') => return Ok(()),
            Some('\\') => match chars.next() {
                None => return Err(unescaped()),
                Some(c @ ('"' | '\\')) => token.push(c),
                Some(c) => token.extend(['\\', c]),
            },
            Some(c) => token.push(c),
        }
    }
}

fn unclosed() -> Error {
    Error::usage("No closing quotation")
}

fn unescaped() -> Error {
    Error::usage("No escaped character")
}

/// Joins tokens by blanks, each quoted where needed, so that [`tokenize`] gives the same tokens.
pub fn serialise<S: AsRef<str>>(tokens: &[S]) -> String {
    tokens
        .iter()
        .map(|token| quote(token.as_ref()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quote(token: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if token.is_empty() {
        "''".to_owned()
    } else if token.chars().all(plain) {
        token.to_owned()
    } else {
        format!("'{}'", token.replace('\'', r#"'"'"'"#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_split_and_quote_as_in_the_contract() {
        for (typed, tokens, stored) in [
            (
                r#"add "run time" time duration"#,
                vec!["add", "run time", "time", "duration"],
                "add 'run time' time duration",
            ),
            (
                "add uuid uuid [0:8]",
                vec!["add", "uuid", "uuid", "[0:8]"],
                "add uuid uuid '[0:8]'",
            ),
            (
                r"search name=it\'s",
                vec!["search", "name=it's"],
                r#"search 'name=it'"'"'s'"#,
            ),
            ("add #n /s.json:n", vec!["add", "#n", "/s.json:n"], "add '#n' /s.json:n"),
            ("", vec![], ""),
            (r#"a"b"c '' x"#, vec!["abc", "", "x"], "abc '' x"),
            (r#""a\"b\\c\d" \e"#, vec![r#"a"b\c\d"#, "e"], r#"'a"b\c\d' e"#),
        ] {
            let found = tokenize(typed).unwrap();
            assert_eq!(found, tokens, "{typed}");
            assert_eq!(serialise(&found), stored, "{typed}");
        }
    }

    #[test]
    fn open_quotes_and_backslashes_are_errors() {
        for (text, message) in [
            ("'a", "No closing quotation"),
            ("\"a\\", "No escaped character"),
            ("\"a\\b", "No closing quotation"),
            ("a\\", "No escaped character"),
        ] {
            assert_eq!(tokenize(text).unwrap_err().message, message);
        }
    }

    proptest! {
        #[test]
        fn any_tokens_survive_quoting(tokens in prop::collection::vec("(?s).{0,8}", 0..5)) {
            prop_assert_eq!(tokenize(&serialise(&tokens)).unwrap(), tokens);
        }

        #[test]
        fn any_text_splits_or_is_refused_without_panic(text in "(?s).*") {
            let _ = tokenize(&text);
        }
    }
}
