//! Running `cl`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use domain::error::Error;
use domain::id::is_uuid;
use tempfile::TempDir;

use super::Result;

/// A `cl` executable, and a directory for the files that it reads. The directory goes with the value.
pub struct CommandLine {
    program: PathBuf,
    directory: TempDir,
}

impl CommandLine {
    pub fn new(program: &Path) -> Result<CommandLine> {
        let directory = tempfile::Builder::new().prefix("codalab-sample-").tempdir();
        Ok(CommandLine {
            program: program.to_path_buf(),
            directory: directory
                .map_err(|error| Error::usage(format!("cannot create a directory for files to upload: {error}")))?,
        })
    }

    /// Runs a command and gives its standard output; what it says on standard error goes to ours.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let shown = || format!("{} {}", self.program.display(), shortened(arguments));
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
        if std::env::var_os("CODALAB_SESSION").is_none() {
            // The session of the shell that called us, as if it had called `cl` itself.
            command.env("CODALAB_SESSION", std::os::unix::process::parent_id().to_string());
        }
        let output = command.output().map_err(|error| {
            Error::usage(format!(
                "cannot start {} ({error}); give the path of cl with --cl-executable",
                self.program.display()
            ))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::usage(format!("{} failed: {}", shown(), said.trim())));
        }
        String::from_utf8(output.stdout)
            .map_err(|_| Error::usage(format!("{} printed something that is not UTF-8", shown())))
    }

    /// The uuids that a command prints, each on a line of its own; other lines are passed over.
    pub fn uuids(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let output = self.run(arguments)?;
        let uuids = output.lines().map(str::trim).filter(|line| is_uuid(line));
        Ok(uuids.map(str::to_owned).collect())
    }

    /// The uuid of what a command made.
    pub fn uuid(&self, arguments: &[&str]) -> Result<String> {
        self.uuids(arguments)?.pop().ok_or_else(|| {
            let shown = format!("{} {}", self.program.display(), shortened(arguments));
            Error::usage(format!("{shown} printed no uuid"))
        })
    }

    /// Writes a file for a command to read; gives its path.
    pub fn file(&self, name: &str, contents: &[u8]) -> Result<String> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, contents)
            .map_err(|error| Error::usage(format!("cannot write {}: {error}", path.display())))?;
        Ok(path.display().to_string())
    }
}

/// A command line for a message: the first few arguments.
fn shortened(arguments: &[&str]) -> String {
    const SHOWN: usize = 8;
    let mut text = arguments[..arguments.len().min(SHOWN)].join(" ");
    if arguments.len() > SHOWN {
        text.push_str(" …");
    }
    text
}
