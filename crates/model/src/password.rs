//! Password hashes in the format of CodaLab 1.7 (data-model section 11.1).

/// Hashes a password with a fresh salt: `pbkdf2_sha256$<iterations>$<salt>$<base64>`. Takes a noticeable time.
pub fn hash_password(_password: &str) -> String {
    todo!()
}

/// Whether the password has this hash. Takes a noticeable time. An empty or foreign hash matches nothing.
pub fn verify_password(_password: &str, _hash: &str) -> bool {
    todo!()
}
