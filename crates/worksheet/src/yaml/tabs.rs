//! Tabs between tokens: libyaml skips them as blanks, Python's loader refuses them. Texts with tabs, such as logs, are
//! common, so this decides whether they show as they are or folded into one line.

/// Whether each tab stands in a comment or in one of the quoted or block scalars, which are ranges of characters in
/// ascending order.
pub(super) fn are_allowed(text: &str, scalars: &[(usize, usize)]) -> bool {
    let mut scalars = scalars.iter().peekable();
    let mut in_comment = false;
    let mut after_blank = true;
    for (at, c) in text.chars().enumerate() {
        while scalars.next_if(|(_, end)| *end <= at).is_some() {}
        if scalars.peek().is_some_and(|(start, _)| *start <= at) {
            in_comment = false;
            after_blank = false;
            continue;
        }
        match c {
            '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                in_comment = false;
                after_blank = true;
            }
            _ if in_comment => {}
            '#' if after_blank => in_comment = true,
            '\t' => return false,
            c => after_blank = c == ' ',
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::are_allowed;

    #[test]
    fn tabs_are_allowed_in_comments_and_scalars_only() {
        for (text, scalars, allowed) in [
            ("a: b # c\td", &[][..], true),
            ("a: b#\tc", &[], false),
            ("a:\tb", &[], false),
            ("#\n\t", &[], false),
            ("a: \"\t\" # \t", &[(3, 6)], true),
            ("a: \"\t\"\t", &[(3, 6)], false),
        ] {
            assert_eq!(are_allowed(text, scalars), allowed, "{text:?}");
        }
    }
}
