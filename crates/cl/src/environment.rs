//! The process environment as the commands see it, replaceable in tests.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::Arc;

/// Environment variables, and whether somebody can be asked.
#[derive(Clone)]
pub struct Environment {
    fixed: Option<Arc<HashMap<String, String>>>,
    nobody_to_ask: bool,
}

impl Environment {
    /// That of this process.
    pub fn process() -> Self {
        Self {
            fixed: None,
            nobody_to_ask: false,
        }
    }

    /// These variables only, and nobody to ask.
    pub fn fixed<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            fixed: Some(Arc::new(variables)),
            nobody_to_ask: true,
        }
    }

    /// A variable.
    pub fn get(&self, name: &str) -> Option<OsString> {
        match &self.fixed {
            Some(variables) => variables.get(name).map(OsString::from),
            None => std::env::var_os(name),
        }
    }

    /// A variable that is text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.into_string().ok()
    }

    /// The same variables, but nobody is asked for anything.
    pub fn without_prompts(mut self) -> Self {
        self.nobody_to_ask = true;
        self
    }

    /// False in tests, in servers and while completing.
    pub fn may_prompt(&self) -> bool {
        !self.nobody_to_ask
    }
}
