//! Query parameters as the API wants them: lists repeat the key, booleans are 1 or 0, `include` is comma-joined.

/// Ordered query parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `key=value`.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// Adds `key=value` if there is a value.
    pub fn with_option(self, key: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds one `key=value` per value, in order.
    pub fn with_all<S: AsRef<str>>(mut self, key: &str, values: impl IntoIterator<Item = S>) -> Self {
        self.0.extend(
            values
                .into_iter()
                .map(|value| (key.to_owned(), value.as_ref().to_owned())),
        );
        self
    }

    /// Adds `key=1` or `key=0`.
    pub fn flag(self, key: &str, value: bool) -> Self {
        self.with(key, if value { "1" } else { "0" })
    }

    /// Adds `include=a,b`; nothing if `names` is empty.
    pub fn include(self, names: &[&str]) -> Self {
        if names.is_empty() {
            self
        } else {
            self.with("include", names.join(","))
        }
    }

    /// The parameters, in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_repeat_the_key_and_booleans_are_digits() {
        let query = Query::new()
            .include(&["owner", "items"])
            .with_all("specs", ["a", "b"])
            .flag("force", false)
            .with_option("name", None::<String>)
            .with("base", "");
        let text: Vec<String> = query
            .pairs()
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(text, ["include=owner,items", "specs=a", "specs=b", "force=0", "base="]);
    }
}
