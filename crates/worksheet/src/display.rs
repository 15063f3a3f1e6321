//! Display directives: their modes and arguments, and what can be wrong with them (language section 5.2).

use crate::number;

/// Lines of a file that are shown when the directive does not say.
const DEFAULT_MAX_LINES: usize = 10;

/// Why an item could not be interpreted.
pub(crate) enum Fault {
    /// The author's mistake, named.
    Usage(String),
    /// Anything else.
    Unexpected,
}

impl Fault {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Display {
    pub mode: String,
    pub arguments: Vec<String>,
    /// Item index of the directive; none for the default.
    pub source: Option<usize>,
}

impl Default for Display {
    fn default() -> Self {
        Self {
            mode: "table".to_owned(),
            arguments: Vec::new(),
            source: None,
        }
    }
}

/// Arguments of `display contents|image|graph <genpath> [key=value…]`.
pub(crate) struct FileDisplay {
    pub path: String,
    pub properties: Vec<(String, String)>,
}

impl FileDisplay {
    pub fn parse(display: &Display) -> Result<Self, Fault> {
        let mode = &display.mode;
        let (genpath, rest) = display.arguments.split_first().ok_or_else(|| {
            Fault::usage(format!(
                "Expected '% display {mode} (genpath)', but got '% display {mode}'"
            ))
        })?;
        let path = genpath
            .strip_prefix('/')
            .ok_or_else(|| Fault::usage(format!("Not file genpath: {genpath}")))?
            .to_owned();
        let mut properties = Vec::new();
        for argument in rest {
            let (key, value) = argument
                .split_once('=')
                .ok_or_else(|| Fault::usage(format!("Expected <key>=<value>, but got {argument}")))?;
            properties.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self { path, properties })
    }
}

pub(crate) fn property<'a>(properties: &'a [(String, String)], key: &str) -> Option<&'a str> {
    properties
        .iter()
        .rev()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

pub(crate) fn max_lines(properties: &[(String, String)]) -> Result<usize, Fault> {
    match property(properties, "maxlines") {
        None => Ok(DEFAULT_MAX_LINES),
        Some(text) => {
            let lines = number::integer(text).ok_or_else(|| Fault::usage("maxlines must be integer"))?;
            Ok(usize::try_from(lines).unwrap_or(0))
        }
    }
}
