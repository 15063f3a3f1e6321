//! The notice that the server is newer than this program, at most once a day.

use domain::UtcTime;

use crate::cli::{CLIENT_VERSION, Cli};
use crate::error::Result;

const PERIOD_SECONDS: i64 = 24 * 3600;

/// Compares the versions if that was not done for a day and a server was talked to.
pub fn check(cli: &mut Cli) -> Result<()> {
    if cli.is_web() {
        return Ok(());
    }
    let Some(server) = cli.used_clients().find_map(client::Client::server_version) else {
        return Ok(());
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let last = cli.state.last_version_check()?;
    let last = last.and_then(|text| UtcTime::parse(&text).ok()).map(UtcTime::unix);
    if last.is_some_and(|last| now - last < PERIOD_SECONDS) {
        return Ok(());
    }
    cli.state.set_last_version_check(&UtcTime::from_unix(now).sql())?;
    if is_newer(&server, CLIENT_VERSION) {
        cli.ui.notice(format!(
            "NOTICE: the server has version {server}, this client {CLIENT_VERSION}. Update it: pull the sources of \
             CodaLab and run make there."
        ));
    }
    Ok(())
}

/// Compares dotted numbers part by part; anything else is not newer.
fn is_newer(a: &str, b: &str) -> bool {
    let parts = |version: &str| {
        version
            .split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<Vec<u64>>>()
    };
    matches!((parts(a), parts(b)), (Some(a), Some(b)) if a > b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_numbers() {
        for (a, b, newer) in [
            ("1.7.4", "1.7.3", true),
            ("1.10.0", "1.9.9", true),
            ("1.7.3", "1.7.3", false),
            ("1.6", "1.7.3", false),
            ("2.0-rc1", "1.7.3", false),
        ] {
            assert_eq!(is_newer(a, b), newer, "{a} {b}");
        }
    }
}
