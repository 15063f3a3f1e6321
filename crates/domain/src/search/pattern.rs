//! Texts with wildcards.

/// A piece of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(String),
    /// `%`: any text, also none.
    AnyText,
    /// `_`: exactly one character.
    AnyChar,
}

/// A text with wildcards, matched against the whole of another without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// The value of a `key=value`: `%` stands for any text, `_` for one character, `\` makes the next one literal.
    pub fn value(text: &str) -> Self {
        Self::parse(text, true)
    }

    /// A text that contains the word. `%` is a wildcard within it, `_` is not.
    pub fn contains(word: &str) -> Self {
        let mut pieces = vec![Piece::AnyText];
        for piece in Self::parse(word, false).0 {
            if piece != Piece::AnyText || pieces.last() != Some(&Piece::AnyText) {
                pieces.push(piece);
            }
        }
        if pieces.last() != Some(&Piece::AnyText) {
            pieces.push(Piece::AnyText);
        }
        Self(pieces)
    }

    fn parse(text: &str, underscore: bool) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let wildcard = match char {
                '%' => Piece::AnyText,
                '_' if underscore => Piece::AnyChar,
                '\\' => {
                    literal.push(chars.next().unwrap_or('\\'));
                    continue;
                }
                other => {
                    literal.push(other);
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            if wildcard != Piece::AnyText || pieces.last() != Some(&Piece::AnyText) {
                pieces.push(wildcard);
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Self(pieces)
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Whether it matches every text.
    pub fn matches_everything(&self) -> bool {
        self.0 == [Piece::AnyText]
    }

    /// Texts that each match must contain.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The text it begins with, if nothing but any text follows.
    pub fn as_prefix(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Literal(text), Piece::AnyText] => Some(text),
            _ => None,
        }
    }

    /// The text it begins with.
    pub fn starts_with(&self) -> Option<&str> {
        match self.0.first() {
            Some(Piece::Literal(text)) => Some(text),
            _ => None,
        }
    }

    /// The word, if the pattern says that a text contains it, and no more.
    pub fn as_contained_word(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::AnyText, Piece::Literal(word), Piece::AnyText] => Some(word),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.to_owned())
    }

    #[test]
    fn words_have_one_wildcard_and_values_two() {
        use Piece::{AnyChar, AnyText};
        for (text, expected) in [
            ("a_b", vec![AnyText, literal("a_b"), AnyText]),
            ("a%b", vec![AnyText, literal("a"), AnyText, literal("b"), AnyText]),
            ("", vec![AnyText]),
            ("%%a%", vec![AnyText, literal("a"), AnyText]),
            ("50\\%", vec![AnyText, literal("50%"), AnyText]),
            ("\\", vec![AnyText, literal("\\"), AnyText]),
        ] {
            assert_eq!(Pattern::contains(text).0, expected, "{text}");
        }
        for (text, expected) in [
            ("a_b%", vec![literal("a"), AnyChar, literal("b"), AnyText]),
            ("a\\_b%", vec![literal("a_b"), AnyText]),
            ("__", vec![AnyChar, AnyChar]),
            ("", vec![]),
        ] {
            assert_eq!(Pattern::value(text).0, expected, "{text}");
        }
        assert_eq!(Pattern::value("0x12%").as_prefix(), Some("0x12"));
        assert_eq!(Pattern::contains("x").as_contained_word(), Some("x"));
        assert!(Pattern::contains("%").matches_everything());
    }

    proptest! {
        #[test]
        fn escaped_texts_are_literal(text in ".{1,20}") {
            let escaped: String = text.chars().flat_map(|char| ['\\', char]).collect();
            prop_assert_eq!(Pattern::value(&escaped).0, vec![literal(&text)]);
        }
    }
}
