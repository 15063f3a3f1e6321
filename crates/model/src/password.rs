//! Password hashes in the format of CodaLab 1.7 (data-model section 11.1), and random texts.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const ALGORITHM: &str = "pbkdf2_sha256";

/// Most iterations that a stored hash may ask for; more would let a planted hash block a server.
const MOST_ITERATIONS: u32 = 20_000_000;

/// Hashes a password with a fresh salt: `pbkdf2_sha256$<iterations>$<salt>$<base64>`. Takes a noticeable time.
pub fn hash_password(password: &str, iterations: u32) -> String {
    let salt = random_text(12);
    format!(
        "{ALGORITHM}${iterations}${salt}${}",
        STANDARD.encode(derive(password, &salt, iterations))
    )
}

/// Whether the password has this hash. Takes a noticeable time. An empty or foreign hash matches nothing.
pub fn verify_password(password: &str, hash: &str) -> bool {
    let parts: Vec<&str> = hash.split('$').collect();
    let [algorithm, iterations, salt, expected] = parts[..] else {
        return false;
    };
    let (Ok(iterations), Ok(expected)) = (iterations.parse::<u32>(), STANDARD.decode(expected)) else {
        return false;
    };
    if algorithm != ALGORITHM || !(1..=MOST_ITERATIONS).contains(&iterations) {
        return false;
    }
    derive(password, salt, iterations).ct_eq(expected.as_slice()).into()
}

/// Whether a hash was made with fewer iterations than new ones are.
pub(crate) fn needs_rehash(hash: &str, iterations: u32) -> bool {
    hash.split('$')
        .nth(1)
        .and_then(|text| text.parse::<u32>().ok())
        .is_none_or(|used| used < iterations)
}

/// Letters and digits from the operating system's random source.
pub(crate) fn random_text(length: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), length)
}

/// A fresh uuid.
pub(crate) fn random_uuid() -> domain::Uuid {
    domain::Uuid::from_random(rand::random())
}

/// 32 random hex digits.
pub(crate) fn random_hex() -> String {
    random_uuid().as_str()[2..].to_owned()
}

/// How a token or code is stored: nobody who reads the database can use it.
pub(crate) fn digest(secret: &str) -> String {
    let hash = Sha256::digest(secret.as_bytes());
    let mut text = String::from("sha256:");
    for byte in hash {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn derive(password: &str, salt: &str, iterations: u32) -> [u8; 32] {
    let mut output = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), iterations, &mut output);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_codalab_1_7_verify() {
        let hash = "pbkdf2_sha256$30000$saltsaltsalt$EN7F+HMuCfdiDKru+R71HcEYcEqsJ9Rh7vr1g5lBb7o=";
        assert!(verify_password("hello", hash));
        assert!(!verify_password("hellO", hash));
        assert!(needs_rehash(hash, 600_000));
    }

    #[test]
    fn new_hashes_verify_and_differ() {
        let (one, two) = (hash_password("pass", 1000), hash_password("pass", 1000));
        assert_ne!(one, two);
        assert!(verify_password("pass", &one) && verify_password("pass", &two));
        assert!(one.len() <= 128 && !needs_rehash(&one, 1000));
    }

    #[test]
    fn nonsense_never_matches() {
        for hash in [
            "",
            "$",
            "md5$1$a$b",
            "pbkdf2_sha256$0$a$",
            "pbkdf2_sha256$x$a$b",
            "pbkdf2_sha256$4000000000$a$AAAA",
        ] {
            assert!(!verify_password("", hash), "{hash}");
        }
    }
}
