//! `config.json`: aliases of instances and the client's settings.

use std::io::Read;

use serde_json::{Map, Value, json};

use super::files::{Home, lock, read_object, write_object};
use crate::error::{Error, Result};

const MAIN_ADDRESS: &str = "https://worksheets.codalab.org";

/// The configuration as read; changes are written at once.
#[derive(Debug, Clone)]
pub struct Settings {
    home: Home,
    values: Map<String, Value>,
}

impl Settings {
    /// Reads the file; creates it on first use, then the second value is true.
    pub fn load(home: &Home) -> Result<(Self, bool)> {
        if let Some(values) = read_object(&home.config)? {
            return Ok((
                Self {
                    home: home.clone(),
                    values,
                },
                false,
            ));
        }
        home.create()?;
        let _lock = lock(&home.config)?;
        let (values, created) = match read_object(&home.config)? {
            Some(values) => (values, false),
            None => (initial()?, true),
        };
        if created {
            write_object(&home.config, &values)?;
        }
        Ok((
            Self {
                home: home.clone(),
                values,
            },
            created,
        ))
    }

    /// Instance of a new session.
    pub fn default_address(&self) -> String {
        self.string("cli/default_address")
            .unwrap_or_else(|| MAIN_ADDRESS.to_owned())
    }

    /// Worksheet of a new session; empty for the home worksheet.
    pub fn default_worksheet(&self) -> String {
        self.string("cli/default_worksheet_uuid").unwrap_or_default()
    }

    /// Extra HTTP headers for an instance.
    pub fn extra_headers(&self, address: &str) -> Vec<(String, String)> {
        let headers = self
            .values
            .get("cli")
            .and_then(|cli| cli.get("extra_headers"))
            .and_then(|all| all.get(address));
        let Some(Value::Object(headers)) = headers else {
            return Vec::new();
        };
        let text = |value: &Value| Self::expanded(&domain::literal::display(value));
        headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    /// Alias names and addresses, sorted by name.
    pub fn aliases(&self) -> Vec<(String, String)> {
        let Some(Value::Object(aliases)) = self.values.get("aliases") else {
            return Vec::new();
        };
        let mut list: Vec<(String, String)> = aliases
            .iter()
            .filter_map(|(name, address)| Some((name.clone(), Self::expanded(address.as_str()?))))
            .collect();
        list.sort();
        list
    }

    /// The address behind an alias; anything else is an address already.
    pub fn address(&self, instance: &str) -> String {
        self.alias(instance).unwrap_or_else(|| instance.to_owned())
    }

    /// The address of an alias.
    pub fn alias(&self, name: &str) -> Option<String> {
        Some(Self::expanded(self.values.get("aliases")?.get(name)?.as_str()?))
    }

    /// The value at a `/`-separated path.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path
            .split_once('/')
            .map_or((path, None), |(first, rest)| (first, Some(rest)));
        let mut value = self.values.get(first)?;
        for key in rest.into_iter().flat_map(|rest| rest.split('/')) {
            value = value.get(key)?;
        }
        Some(value)
    }

    /// Sets the value at a `/`-separated path, creating objects on the way.
    pub fn set(&mut self, path: &str, value: Value) -> Result<()> {
        let keys: Vec<&str> = path.split('/').collect();
        self.change(|values| {
            let (last, parents) = keys.split_last().expect("split gives at least one part");
            let mut map = values;
            for key in parents {
                let entry = map.entry((*key).to_owned()).or_insert_with(|| json!({}));
                if !entry.is_object() {
                    *entry = json!({});
                }
                map = entry.as_object_mut().expect("made an object above");
            }
            map.insert((*last).to_owned(), value);
        })
    }

    /// Removes the value at a `/`-separated path; false if there is none.
    pub fn remove(&mut self, path: &str) -> Result<bool> {
        if self.get(path).is_none() {
            return Ok(false);
        }
        let keys: Vec<&str> = path.split('/').collect();
        self.change(|values| {
            let (last, parents) = keys.split_last().expect("split gives at least one part");
            let mut map = Some(values);
            for key in parents {
                map = map.and_then(|map| map.get_mut(*key)).and_then(Value::as_object_mut);
            }
            if let Some(map) = map {
                map.shift_remove(*last);
            }
        })?;
        Ok(true)
    }

    /// Changes the file as it is now, which another process may have changed since it was read.
    fn change(&mut self, edit: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
        let _lock = lock(&self.home.config)?;
        let mut values = read_object(&self.home.config)?.unwrap_or_default();
        edit(&mut values);
        write_object(&self.home.config, &values)?;
        self.values = values;
        Ok(())
    }

    fn string(&self, path: &str) -> Option<String> {
        Some(Self::expanded(self.get(path)?.as_str()?))
    }

    /// `$CODALAB_CLI` stands for the directory of the program.
    fn expanded(text: &str) -> String {
        if !text.contains("$CODALAB_CLI") {
            return text.to_owned();
        }
        let program = std::env::current_exe().ok();
        let dir = program
            .as_deref()
            .and_then(|path| path.parent())
            .map(|path| path.display().to_string());
        text.replace("$CODALAB_CLI", &dir.unwrap_or_default())
    }
}

fn initial() -> Result<Map<String, Value>> {
    let Value::Object(values) = json!({
        "aliases": {"localhost": "http://localhost", "main": MAIN_ADDRESS},
        "cli": {"default_address": MAIN_ADDRESS, "verbose": 1},
        "server": {
            "rest_host": "localhost", "rest_port": 2900, "class": "MySQLModel",
            "engine_url": "mysql://codalab@localhost:3306/codalab_bundles",
            "auth": {"class": "RestOAuthHandler"}, "verbose": 1,
            "secret_key": secret_key()?,
        },
        "workers": {
            "default_cpu_image": "codalab/default-cpu:latest",
            "default_gpu_image": "codalab/default-gpu:latest",
        },
        "ws-server": {"ws_port": 2901},
    }) else {
        unreachable!("the literal is an object")
    };
    Ok(values)
}

/// 48 random characters.
fn secret_key() -> Result<String> {
    const ALPHABET: &[u8; 64] = b"=/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0; 48];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::other(format!("cannot read /dev/urandom: {error}")))?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 64)]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn home(dir: &std::path::Path) -> Home {
        let dir: OsString = dir.join("h").into();
        Home::locate(move |name| (name == "CODALAB_HOME").then(|| dir.clone()))
    }

    #[test]
    fn the_first_use_creates_the_documented_file() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, created) = Settings::load(&home(dir.path())).unwrap();
        assert!(created);
        assert!(!Settings::load(&home(dir.path())).unwrap().1);
        assert_eq!(settings.default_address(), MAIN_ADDRESS);
        assert_eq!(settings.get("server/secret_key").unwrap().as_str().unwrap().len(), 48);
        assert_eq!(settings.address("localhost"), "http://localhost");
        assert_eq!(settings.address("https://x"), "https://x");
    }

    #[test]
    fn paths_are_set_and_removed_and_unknown_keys_survive() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        std::fs::create_dir(&home.dir).unwrap();
        std::fs::write(
            &home.config,
            r#"{"future": {"key": [1]}, "cli": {"extra_headers": {"http://a": {"X": "1"}}}}"#,
        )
        .unwrap();
        let (mut settings, _) = Settings::load(&home).unwrap();
        settings.set("aliases/here", json!("http://here")).unwrap();
        settings.set("cli/verbose", json!(2)).unwrap();
        assert!(settings.remove("aliases/here").unwrap());
        assert!(!settings.remove("aliases/here").unwrap());
        let (settings, _) = Settings::load(&home).unwrap();
        assert_eq!(settings.get("future/key"), Some(&json!([1])));
        assert_eq!(settings.get("cli/verbose"), Some(&json!(2)));
        assert_eq!(settings.extra_headers("http://a"), [("X".to_owned(), "1".to_owned())]);
    }
}
