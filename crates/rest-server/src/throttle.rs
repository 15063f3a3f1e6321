//! Limits on attempts: which ones apply to what, and what the refused are told. The counting is in the model.

use domain::Rate;
use model::{Limit, Login, LoginAttempt, LoginLimits};

use crate::client_address::ClientAddress;
use crate::error::ApiResult;
use crate::state::AppState;

/// Checks name and password within the limits of the configuration.
pub async fn login(state: &AppState, client: ClientAddress, name: &str, password: &str) -> ApiResult<Login> {
    let limits = &state.config.attempts;
    let limits = LoginLimits {
        account_from_address: limits.login_account_from_address,
        account: limits.login_account,
        address: limits.login_address,
    };
    let address = client.place();
    let attempt = LoginAttempt {
        name: name.to_owned(),
        password: password.to_owned(),
        fingerprint: state.sessions.fingerprint(&["login", name, password, &address]),
        address,
    };
    Ok(state.model.login(attempt, limits, state.now()).await?)
}

/// Counts a sign-up; gives the seconds to wait if there were too many from this address.
pub async fn sign_up(state: &AppState, client: ClientAddress, attempt: &[&str]) -> ApiResult<Option<i64>> {
    let place = client.place();
    let limits = [limit("signup-address", &place, state.config.attempts.signup_address)];
    take(state, limits, &place, attempt).await
}

/// Counts a mail about an account (`subject`: its id or its address); gives the seconds to wait if there were too many
/// about it or from this address.
pub async fn mail(state: &AppState, client: ClientAddress, subject: &str, attempt: &[&str]) -> ApiResult<Option<i64>> {
    let place = client.place();
    let limits = [
        limit("mail-account", subject, state.config.attempts.mail_account),
        limit("mail-address", &place, state.config.attempts.mail_address),
    ];
    take(state, limits, &place, attempt).await
}

/// What to tell whoever has to wait.
pub fn wait_text(what: &str, seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..=1 => (1, "second"),
        2..=120 => (seconds, "seconds"),
        121..=7200 => ((seconds + 59) / 60, "minutes"),
        _ => ((seconds + 3599) / 3600, "hours"),
    };
    format!("Too many {what}. Try again in {number} {unit}.")
}

fn limit(what: &str, subject: &str, rate: Option<Rate>) -> Option<Limit> {
    rate.map(|rate| Limit::new(what, subject, rate))
}

async fn take<const N: usize>(
    state: &AppState,
    limits: [Option<Limit>; N],
    place: &str,
    attempt: &[&str],
) -> ApiResult<Option<i64>> {
    let limits: Vec<Limit> = limits.into_iter().flatten().collect();
    if limits.is_empty() {
        return Ok(None);
    }
    let fingerprint = state.sessions.fingerprint(&[&[place], attempt].concat());
    Ok(state.model.take(&limits, &fingerprint, state.now()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_are_told_in_whole_units() {
        for (seconds, expected) in [
            (0, "1 second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (121, "3 minutes"),
            (3600, "60 minutes"),
            (7201, "3 hours"),
        ] {
            let text = wait_text("failed logins", seconds);
            assert_eq!(text, format!("Too many failed logins. Try again in {expected}."));
        }
    }
}
