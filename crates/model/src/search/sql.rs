//! Pieces of SQL with the values of their placeholders, and comparisons as SQL.
//!
//! Patterns are written with `|` as escape character in every LIKE, because `\` itself has to be escaped on MySQL only.

use domain::search::{Comparison, Pattern, Piece};

use crate::db::{Value, params};
use crate::dialect::list;

/// A piece of SQL with the values of its placeholders.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clause {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Clause {
    pub(super) fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self {
            sql: sql.into(),
            values,
        }
    }

    /// Never true.
    pub(super) fn never() -> Self {
        Self::new("1 = 0", Vec::new())
    }

    /// Puts text around the SQL.
    pub(super) fn within(mut self, before: &str, after: &str) -> Self {
        self.sql = format!("{before}{}{after}", self.sql);
        self
    }

    /// Appends another piece.
    pub(super) fn then(mut self, other: Self) -> Self {
        self.sql.push_str(&other.sql);
        self.values.extend(other.values);
        self
    }

    /// `(a) OR (b) …`; nothing in, never true out.
    pub(super) fn any(clauses: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(clauses, " OR ", "1 = 0")
    }

    /// `(a) AND (b) …`; nothing in, always true out.
    pub(super) fn all(clauses: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(clauses, " AND ", "1 = 1")
    }

    fn joined(clauses: impl IntoIterator<Item = Self>, operator: &str, empty: &str) -> Self {
        let mut joined = Self::default();
        for clause in clauses {
            let operator = if joined.sql.is_empty() { "" } else { operator };
            joined = joined.then(clause.within(&format!("{operator}("), ")"));
        }
        if joined.sql.is_empty() {
            Self::new(empty, Vec::new())
        } else {
            joined
        }
    }
}

/// `column = ?`, `column IN (…)` or `column LIKE ?`.
pub(super) fn compare(column: &str, comparison: &Comparison) -> Clause {
    match comparison {
        Comparison::Equals(text) => Clause::new(format!("{column} = ?"), params![text]),
        Comparison::AnyOf(texts) => Clause::new(
            format!("{column} IN {}", list(texts.len())),
            texts.iter().map(Value::from).collect(),
        ),
        Comparison::Like(pattern) => matches(column, pattern),
    }
}

/// `column LIKE ?`.
pub(super) fn matches(column: &str, pattern: &Pattern) -> Clause {
    Clause::new(format!("{column} LIKE ? ESCAPE '|'"), params![like(pattern)])
}

/// The pattern as SQL has it.
pub(super) fn like(pattern: &Pattern) -> String {
    let mut text = String::new();
    for piece in pattern.pieces() {
        match piece {
            Piece::AnyText => text.push('%'),
            Piece::AnyChar => text.push('_'),
            Piece::Literal(literal) => {
                for char in literal.chars() {
                    if matches!(char, '%' | '_' | '|') {
                        text.push('|');
                    }
                    text.push(char);
                }
            }
        }
    }
    text
}

/// The same comparison with texts in lower case, for columns that hold only such.
pub(super) fn lowercase(comparison: &Comparison) -> Comparison {
    match comparison {
        Comparison::Equals(text) => Comparison::Equals(text.to_ascii_lowercase()),
        Comparison::AnyOf(texts) => Comparison::AnyOf(texts.iter().map(|text| text.to_ascii_lowercase()).collect()),
        Comparison::Like(pattern) => Comparison::Like(pattern.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_escape_what_sql_would_take_as_a_wildcard() {
        for (word, expected) in [
            ("a_b", "%a|_b%"),
            ("a%b", "%a%b%"),
            ("50\\%", "%50|%%"),
            ("a|b", "%a||b%"),
            ("\\", "%\\%"),
        ] {
            assert_eq!(like(&Pattern::contains(word)), expected, "{word}");
        }
        assert_eq!(like(&Pattern::value("a_%")), "a_%");
    }

    #[test]
    fn pieces_keep_their_values_in_order() {
        let both = Clause::all([
            Clause::new("a = ?", params![1]),
            Clause::any([Clause::new("b = ?", params![2]), Clause::new("c = ?", params![3])]),
        ]);
        assert_eq!(both.sql, "(a = ?) AND ((b = ?) OR (c = ?))");
        assert_eq!(both.values, params![1, 2, 3]);
        assert_eq!(Clause::any([]), Clause::never());
    }
}
