//! The home directory of a service: finding it, reading `config.json`, making both when they do not exist.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use domain::config::{ServerConfig, default_config, to_pretty_json};
use domain::{Error, Result};
use rand::RngExt;
use serde_json::{Value, json};

const SECRET_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=+/";
const SECRET_LENGTH: usize = 48;

/// A home directory whose configuration has been read.
#[derive(Clone, Debug)]
pub struct Home {
    /// Absolute path.
    pub dir: PathBuf,
    /// The server's settings.
    pub config: ServerConfig,
    /// The whole of `config.json`.
    pub value: Value,
}

impl Home {
    /// `CODALAB_HOME`, else `~/.codalab`.
    pub fn default_dir() -> PathBuf {
        let text = |name| std::env::var_os(name).filter(|value: &std::ffi::OsString| !value.is_empty());
        match (text("CODALAB_HOME"), text("HOME")) {
            (Some(home), _) => home.into(),
            (None, Some(user)) => PathBuf::from(user).join(".codalab"),
            (None, None) => PathBuf::from(".codalab"),
        }
    }

    /// Reads a home that another service keeps; creates nothing. Without a `config.json` the defaults hold.
    pub fn read(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(|error| failed(dir, &error))?;
        let value = read_config(&config_path(&dir))?.unwrap_or_else(|| json!({}));
        let config = ServerConfig::from_value(&value)?;
        Ok(Self { dir, config, value })
    }

    /// Opens a home, creating the directory (0700), `config.json` and the secret key where they are missing.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| failed(dir, &error))?;
        let dir = dir.canonicalize().map_err(|error| failed(dir, &error))?;
        let path = config_path(&dir);
        let mut value = match read_config(&path)? {
            Some(value) => value,
            None => default_config(&new_secret(), &dir.join("bundle.db").to_string_lossy(), "local"),
        };
        let has_secret = value["server"]["secret_key"]
            .as_str()
            .is_some_and(|secret| !secret.is_empty());
        if !has_secret {
            let server = value
                .as_object_mut()
                .map(|config| config.entry("server").or_insert_with(|| json!({})))
                .and_then(Value::as_object_mut)
                .ok_or_else(|| {
                    Error::usage(format!(
                        "{} is not a JSON object with a `server` object",
                        path.display()
                    ))
                })?;
            server.insert("secret_key".to_owned(), new_secret().into());
        }
        if !has_secret || !path.exists() {
            write_private(&path, &to_pretty_json(&value)).map_err(|error| failed(&path, &error))?;
        }
        let config = ServerConfig::from_value(&value)?;
        Ok(Self { dir, config, value })
    }

    /// The database URL; a relative SQLite path is taken from the home.
    pub fn engine_url(&self) -> String {
        let default = || format!("sqlite:///{}", self.dir.join("bundle.db").display());
        let Some(url) = &self.config.engine_url else {
            return default();
        };
        match url.strip_prefix("sqlite:///") {
            Some(path) if !path.starts_with('/') => format!("sqlite:///{}", self.dir.join(path).display()),
            _ => url.clone(),
        }
    }
}

fn failed(what: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("Cannot use {}: {error}", what.display()))
}

/// None if there is no such file.
fn read_config(path: &Path) -> Result<Option<Value>> {
    match fs::read_to_string(path) {
        // The text is not repeated: it holds secrets.
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Error::usage(format!("Invalid JSON in {}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

fn config_path(dir: &Path) -> PathBuf {
    match std::env::var_os("CODALAB_CONFIG") {
        Some(path) if !path.is_empty() => path.into(),
        _ => dir.join("config.json"),
    }
}

fn new_secret() -> String {
    let mut random = rand::rng();
    (0..SECRET_LENGTH)
        .map(|_| char::from(SECRET_ALPHABET[random.random_range(0..SECRET_ALPHABET.len())]))
        .collect()
}

/// Replaces a file in one step, readable by its owner only.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_home_gets_a_configuration_that_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("a/home");
        let first = Home::open(&dir).unwrap();
        assert_eq!(first.config.secret_key.len(), SECRET_LENGTH);
        let again = Home::open(&dir).unwrap();
        assert_eq!(again.config.secret_key, first.config.secret_key);
        assert!(
            first.engine_url().ends_with("/a/home/bundle.db"),
            "{}",
            first.engine_url()
        );
        assert!(first.engine_url().starts_with("sqlite:////"), "{}", first.engine_url());
    }

    #[test]
    fn a_home_that_is_only_read_stays_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("home");
        let home = Home::read(&dir).unwrap();
        assert!(home.engine_url().ends_with("/home/bundle.db"));
        assert!(!dir.exists());
    }

    #[test]
    fn a_missing_secret_is_added_and_other_keys_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(
            scratch.path().join("config.json"),
            r#"{"mine": 1, "server": {"engine_url": "sqlite:///x.db"}}"#,
        )
        .unwrap();
        let home = Home::open(scratch.path()).unwrap();
        assert!(home.engine_url().ends_with("/x.db"));
        let text = fs::read_to_string(scratch.path().join("config.json")).unwrap();
        assert!(text.contains("\"mine\": 1") && text.contains("secret_key"), "{text}");
    }

    #[test]
    fn broken_configurations_are_named() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("config.json"), "{").unwrap();
        let error = Home::open(scratch.path()).unwrap_err();
        assert!(error.message.starts_with("Invalid JSON in "), "{}", error.message);
    }
}
