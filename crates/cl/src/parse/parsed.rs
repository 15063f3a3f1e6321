//! The values of a parsed command line.

use std::collections::HashMap;

/// Values by destination. An option that was not given is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    values: HashMap<String, Vec<String>>,
}

impl Parsed {
    /// All tokens under one destination, for a command that parses them itself.
    pub fn of_tokens(dest: &str, tokens: Vec<String>) -> Self {
        let mut parsed = Self::default();
        parsed.set(dest, tokens);
        parsed
    }

    pub(super) fn set(&mut self, dest: &str, values: Vec<String>) {
        self.values.insert(dest.to_owned(), values);
    }

    /// True if the option or positional was given (an empty list counts).
    pub fn has(&self, dest: &str) -> bool {
        self.values.contains_key(dest)
    }

    /// The single value, if given.
    pub fn text(&self, dest: &str) -> Option<&str> {
        self.values.get(dest)?.first().map(String::as_str)
    }

    /// The values; empty if not given.
    pub fn list(&self, dest: &str) -> &[String] {
        self.values.get(dest).map_or(&[], Vec::as_slice)
    }

    /// The value of an argument of kind `Int`, if given.
    pub fn int(&self, dest: &str) -> Option<i64> {
        super::matching::python_int(self.text(dest)?)
    }

    #[cfg(test)]
    pub(super) fn values_for_test(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.values.iter()
    }
}
