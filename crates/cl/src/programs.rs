//! Programs that are installed beside this one and do what needs a server's code.

use std::os::unix::process::CommandExt;

use crate::cli::Cli;
use crate::error::{Error, Result};

/// Runs and administers instances.
pub const SERVICE: &str = "codalab-service";
/// Executes runs.
pub const WORKER: &str = "cl-worker";

/// Becomes another program, which is looked for beside this one, then in the PATH. Returns only if that fails.
pub fn exec<S: AsRef<std::ffi::OsStr>>(cli: &mut Cli, program: &str, arguments: &[S]) -> Result<()> {
    cli.ui.flush()?;
    let beside = std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name(program))
        .filter(|path| path.is_file());
    let path = beside.unwrap_or_else(|| program.into());
    let error = std::process::Command::new(&path).args(arguments).exec();
    Err(Error::other(format!(
        "cannot start {} ({error}); this command needs {program} installed beside cl or in the PATH",
        path.display()
    )))
}
