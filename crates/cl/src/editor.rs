//! Editing a text in the user's editor.

use std::io::Write;

use tempfile::NamedTempFile;

use crate::environment::Environment;
use crate::error::{Error, Result};

/// An edited text and the file it is in. The file goes when this is dropped.
pub struct Edited {
    /// The text as it was saved.
    pub text: String,
    file: NamedTempFile,
}

impl Edited {
    /// Keeps the file and adds to `error` where it is, so that nothing typed is lost.
    pub fn keep(self, error: &Error) -> Error {
        kept(self.file, error)
    }
}

/// Puts what could not be saved into a file and adds to `error` where that is.
pub fn keep_bytes(bytes: &[u8], suffix: &str, error: &Error) -> Error {
    let written = new_file(suffix).and_then(|mut file| {
        file.write_all(bytes)?;
        file.flush()?;
        Ok(file)
    });
    match written {
        Ok(file) => kept(file, error),
        Err(_) => error.clone(),
    }
}

fn kept(file: NamedTempFile, error: &Error) -> Error {
    match file.keep() {
        Ok((_, path)) => {
            let note = format!("\nYour text is kept in {}", path.display());
            match error {
                Error::Named { class, message } => Error::Named {
                    class,
                    message: format!("{message}{note}"),
                },
                other => Error::other(format!("{other}{note}")),
            }
        }
        Err(_) => error.clone(),
    }
}

fn new_file(suffix: &str) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix("codalab-").suffix(suffix).tempfile()
}

/// Opens `text` in `EDITOR` (default `vi`; may have arguments) and waits for the end of the editor.
pub fn edit(environment: &Environment, text: &str, suffix: &str) -> Result<Edited> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Error::other(format!("cannot {what}: {error}"));
    let mut file = new_file(suffix).map_err(|error| failed("create a file to edit", &error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.flush())
        .map_err(|error| failed("write the file to edit", &error))?;
    let editor = environment
        .text("EDITOR")
        .filter(|editor| !editor.trim().is_empty())
        .unwrap_or_else(|| "vi".into());
    let words = shlex::split(&editor).filter(|words| !words.is_empty());
    let Some((program, arguments)) = words.as_ref().and_then(|words| words.split_first()) else {
        return Err(Error::usage(format!("EDITOR is not a command: {editor}")));
    };
    let status = std::process::Command::new(program)
        .args(arguments)
        .arg(file.path())
        .status()
        .map_err(|error| Error::usage(format!("cannot start the editor {program} ({error}); set EDITOR")))?;
    // Many editors replace the file instead of writing to it: read by name.
    let text = std::fs::read_to_string(file.path());
    let edited = Edited {
        text: text.as_deref().unwrap_or_default().to_owned(),
        file,
    };
    if !status.success() {
        return Err(edited.keep(&Error::usage(format!(
            "the editor ended with {status}; nothing was saved"
        ))));
    }
    match text {
        Ok(_) => Ok(edited),
        Err(error) => Err(edited.keep(&failed("read the edited file", &error))),
    }
}
