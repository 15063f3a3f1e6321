//! Password hashes (data-model section 11.1) and random texts.
//!
//! New hashes are argon2id in the PHC string format, some 97 characters of the column's 128. Hashes that CodaLab 1.7
//! made (`pbkdf2_sha256$<iterations>$<salt>$<base64>`) keep verifying and are replaced at the next login.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, Result};
use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const PBKDF2: &str = "pbkdf2_sha256";

/// Most that a stored hash may ask for; more would let a planted hash block a server.
const MOST_ITERATIONS: u32 = 20_000_000;
const MOST_MEMORY_KIB: u32 = 1 << 18;
const MOST_PASSES: u32 = 64;

/// How long somebody waits for his turn to have a password hashed, and how many wait at most.
const PATIENCE: Duration = Duration::from_secs(20);
const MOST_WAITING: usize = 128;

/// What a new password hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// How often the memory is walked over.
    pub passes: u32,
    /// A refused login is answered no sooner than this, so that the answer does not tell whether there is such an
    /// account, or how its password is hashed.
    pub refusal: Duration,
}

impl PasswordCost {
    /// What OWASP recommends for argon2id: 19 MiB, 2 passes, 1 lane; some 20 ms of a core.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
        refusal: Duration::from_millis(100),
    };
    /// For tests only.
    pub const CHEAPEST: Self = Self {
        memory_kib: 8,
        passes: 1,
        refusal: Duration::ZERO,
    };
}

/// Hashes a password with a fresh salt. Takes a noticeable time.
pub fn hash_password(password: &str, cost: PasswordCost) -> Result<String> {
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("Hashing a password failed: {error}"));
    let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(|error| failed(&error))?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher
        .hash_password(password.as_bytes())
        .map_err(|error| failed(&error))?;
    Ok(hash.to_string())
}

/// Whether the password has this hash. Takes a noticeable time. An empty or foreign hash matches nothing.
pub fn verify_password(password: &str, hash: &str) -> bool {
    if hash.starts_with("$argon2id$") {
        verify_argon2(password, hash)
    } else {
        verify_pbkdf2(password, hash)
    }
}

fn verify_argon2(password: &str, hash: &str) -> bool {
    let Some((parsed, params)) = parse_argon2(hash) else {
        return false;
    };
    let bearable = params.m_cost() <= MOST_MEMORY_KIB && params.t_cost() <= MOST_PASSES && params.p_cost() == 1;
    bearable && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
}

fn parse_argon2(hash: &str) -> Option<(PasswordHash, Params)> {
    let parsed = PasswordHash::new(hash).ok()?;
    let params = Params::try_from(&parsed).ok()?;
    Some((parsed, params))
}

fn verify_pbkdf2(password: &str, hash: &str) -> bool {
    let parts: Vec<&str> = hash.split('$').collect();
    let [algorithm, iterations, salt, expected] = parts[..] else {
        return false;
    };
    let (Ok(iterations), Ok(expected)) = (iterations.parse::<u32>(), STANDARD.decode(expected)) else {
        return false;
    };
    if algorithm != PBKDF2 || !(1..=MOST_ITERATIONS).contains(&iterations) {
        return false;
    }
    let mut output = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), iterations, &mut output);
    output.ct_eq(expected.as_slice()).into()
}

/// Whether a hash is cheaper than new ones are, or of the old kind.
pub(crate) fn needs_rehash(hash: &str, cost: PasswordCost) -> bool {
    parse_argon2(hash).is_none_or(|(_, params)| params.m_cost() < cost.memory_kib || params.t_cost() < cost.passes)
}

/// Hashing on the blocking pool, a few at a time: a flood of logins takes neither all cores nor all memory.
#[derive(Debug)]
pub(crate) struct Hashing {
    pub(crate) cost: PasswordCost,
    /// Verified in place of the hash of an account that does not exist, at the same cost.
    pub(crate) nobody: String,
    places: Arc<Semaphore>,
    queue: Semaphore,
}

impl Hashing {
    pub(crate) fn new(cost: PasswordCost) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            cost,
            nobody: hash_password(&random_text(20), cost)?,
            places: Arc::new(Semaphore::new((cores / 2).clamp(1, 4))),
            queue: Semaphore::new(MOST_WAITING),
        })
    }

    /// Waits for a turn. 503 if there is none within 20 s, or if too many wait already.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let busy = || Error::unavailable("Too many logins at the same time; try again later.");
        let _place_in_queue = self.queue.try_acquire().map_err(|_| busy())?;
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(busy()),
        }
    }

    /// Runs `work` on the blocking pool. The turn comes back with the result; if nobody waits for that any more, it ends
    /// with the work and not sooner.
    pub(crate) async fn work<T: Send + 'static>(
        turn: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, OwnedSemaphorePermit)> {
        tokio::task::spawn_blocking(move || (work(), turn))
            .await
            .map_err(|error| Error::internal(format!("Hashing a password failed: {error}")))
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        let cost = self.cost;
        let (hash, _turn) = Self::work(self.turn().await?, move || hash_password(&password, cost)).await?;
        hash
    }
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

/// How a token is stored: nobody who reads the database can use it.
pub(crate) fn digest(secret: &str) -> String {
    format!("sha256:{}", hex_digest(secret))
}

/// The SHA-256 of a text in 64 hex digits.
pub(crate) fn hex_digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "pbkdf2_sha256$30000$saltsaltsalt$EN7F+HMuCfdiDKru+R71HcEYcEqsJ9Rh7vr1g5lBb7o=";

    #[test]
    fn hashes_of_codalab_1_7_verify_and_want_to_be_replaced() {
        assert!(verify_password("hello", OLD));
        assert!(!verify_password("hellO", OLD));
        assert!(needs_rehash(OLD, PasswordCost::CHEAPEST));
    }

    #[test]
    fn new_hashes_verify_differ_and_fit_the_column() {
        let cost = PasswordCost::RECOMMENDED;
        let (one, two) = (
            hash_password("pass", cost).unwrap(),
            hash_password("pass", cost).unwrap(),
        );
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(verify_password("pass", &one) && verify_password("pass", &two) && !verify_password("Pass", &one));
        assert!(one.len() <= 128 && !needs_rehash(&one, cost));
        let cheap = hash_password("pass", PasswordCost::CHEAPEST).unwrap();
        assert!(needs_rehash(&cheap, cost) && !needs_rehash(&one, PasswordCost::CHEAPEST));
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
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1$$",
            "$argon2id$v=19$m=4000000,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=8,t=4000000000,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(!verify_password("", hash), "{hash}");
        }
    }
}
