//! Rules for passwords and e-mail addresses of accounts (data-model section 11.1, REST section 8.3). Hashing is elsewhere.

use crate::error::{Error, Result};

/// The shortest password.
pub const MIN_LENGTH: usize = 8;

/// Checks a new password: printable ASCII without white space, at least eight characters.
pub fn check(password: &str) -> Result<()> {
    if !password.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::usage(
            "Password must consist of only printable ASCII characters without white space.",
        ));
    }
    if password.len() < MIN_LENGTH {
        return Err(Error::usage("Password must contain at least 8 characters."));
    }
    Ok(())
}

/// The longest e-mail address.
pub const MAX_EMAIL: usize = 254;

/// Checks an e-mail address: something, `@`, something with a dot inside, and no second `@`. White space and control
/// characters cannot be part of one, nor can it be longer than mail allows.
pub fn check_email(email: &str) -> Result<()> {
    let plain = email.len() <= MAX_EMAIL && !email.chars().any(|c| c.is_whitespace() || c.is_control());
    let valid = plain
        && email.split_once('@').is_some_and(|(local, host)| {
            let inner_dot = host
                .char_indices()
                .any(|(at, c)| c == '.' && at > 0 && at + 1 < host.len());
            !local.is_empty() && !host.contains('@') && inner_dot
        });
    if valid {
        Ok(())
    } else {
        Err(Error::usage("Email address is invalid."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_printable() {
        assert!(check("correct-horse").is_ok());
        assert_eq!(
            check("short").unwrap_err().message,
            "Password must contain at least 8 characters."
        );
        for bad in ["with space", "tab\there!", "pässword", "new\nline"] {
            assert!(
                check(bad)
                    .unwrap_err()
                    .message
                    .starts_with("Password must consist of only printable"),
                "{bad}"
            );
        }
    }

    #[test]
    fn email_addresses_have_a_host_with_a_dot() {
        for (email, valid) in [
            ("a@b.c", true),
            ("a@b", false),
            ("@b.c", false),
            ("a@@b.c", false),
            ("a@.c", false),
            ("a@b.", false),
            ("", false),
            ("a b@c.d", false),
            ("a@c.d\nBcc: x@y.z", false),
            ("ü@b.c", true),
        ] {
            assert_eq!(check_email(email).is_ok(), valid, "{email}");
        }
    }
}
