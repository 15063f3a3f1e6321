//! The `---` marker: everything after it becomes one shell-quoted token.

/// Replaces the first `---` and all that follows it by one token, the rest quoted for a POSIX shell and joined by
/// blanks.
pub fn join_after_dashes(mut tokens: Vec<String>) -> Vec<String> {
    if let Some(at) = tokens.iter().position(|token| token == "---") {
        let rest: Vec<String> = tokens.drain(at..).skip(1).map(|token| quote(&token)).collect();
        tokens.push(rest.join(" "));
    }
    tokens
}

/// Quotes one token for a POSIX shell exactly as Python's `shlex.quote` does.
fn quote(token: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !token.is_empty() && token.chars().all(plain) {
        token.to_owned()
    } else {
        format!("'{}'", token.replace('\'', "'\"'\"'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rest_becomes_one_token() {
        for (typed, command) in [
            (&["run", "---", "echo", "hello"][..], "echo hello"),
            (&["run", "---", "echo", "hello world!"], "echo 'hello world!'"),
            (&["run", "---", "echo", ""], "echo ''"),
            (&["run", "---", "echo", "it's", "$X", "-n"], "echo 'it'\"'\"'s' '$X' -n"),
            (&["run", "---"], ""),
            (&["run", "---", "a", "---", "b"], "a --- b"),
        ] {
            let tokens = join_after_dashes(typed.iter().map(|&token| token.to_owned()).collect());
            assert_eq!(tokens, ["run", command]);
        }
    }

    proptest! {
        #[test]
        fn a_shell_reads_back_what_was_quoted(tokens in prop::collection::vec("[ -~\\n]*", 0..6)) {
            let line: Vec<String> = tokens.iter().map(|token| quote(token)).collect();
            prop_assert_eq!(shlex::split(&line.join(" ")).unwrap(), tokens);
        }
    }
}
