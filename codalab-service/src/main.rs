//! `codalab-service`: see `codalab-service --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    codalab_service::cli::main()
}
