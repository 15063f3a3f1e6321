//! The instance's part of `config.json` and `state.json`: made at the first start, completed and kept in step with the port
//! later. Keys it does not know stay as they are.

use serde_json::{Map, Value, json};

use domain::error::Error;

use super::home::Home;
use super::{Result, json_file};

/// Where the instance listens when nothing says otherwise.
pub const DEFAULT_PORT: u16 = 2900;
/// What `cl` writes before any server exists here; it stands for "no database was chosen".
const PLACEHOLDER_ENGINE: &str = "mysql://codalab@localhost:3306/codalab_bundles";
const MAIN_INSTANCE: &str = "https://worksheets.codalab.org";

/// `config.json` of a home that an instance may use, and whether this call made the file.
pub struct Settings {
    object: Map<String, Value>,
    new: bool,
}

impl Settings {
    /// Reads the file or starts a new one; chooses SQLite unless a MySQL server was configured on purpose.
    pub fn load(home: &Home, random: &mut impl FnMut(&mut [u8])) -> Result<Settings> {
        let found = json_file::read(&home.config())?;
        let new = found.is_none();
        let mut settings = Settings {
            object: found.unwrap_or_default(),
            new,
        };
        settings.complete(home, random);
        Ok(settings)
    }

    fn complete(&mut self, home: &Home, random: &mut impl FnMut(&mut [u8])) {
        let placeholder = self
            .text("server/engine_url")
            .is_none_or(|url| url == PLACEHOLDER_ENGINE);
        if placeholder {
            self.set("server/class", json!("SQLiteModel"));
            self.set(
                "server/engine_url",
                json!(format!("sqlite:///{}", home.database().display())),
            );
        }
        for (path, value) in [
            ("server/rest_host", json!("localhost")),
            ("server/auth/class", json!("RestOAuthHandler")),
            ("server/verbose", json!(1)),
            ("cli/verbose", json!(1)),
            ("aliases/main", json!(MAIN_INSTANCE)),
            ("workers/default_cpu_image", json!("codalab/default-cpu:latest")),
            ("workers/default_gpu_image", json!("codalab/default-gpu:latest")),
        ] {
            if self.get(path).is_none() {
                self.set(path, value);
            }
        }
        if self.text("server/secret_key").is_none_or(str::is_empty) {
            self.set("server/secret_key", json!(secret_key(random)));
        }
    }

    /// The port to use: the option, else what the file says (unless it is upstream's placeholder file), else 2900.
    pub fn port(&self, option: Option<u16>) -> u16 {
        let configured = || {
            self.get("server/rest_port")
                .and_then(Value::as_u64)
                .and_then(|port| u16::try_from(port).ok())
        };
        option.or_else(configured).unwrap_or(DEFAULT_PORT)
    }

    /// Name of the root account.
    pub fn root_user_name(&self) -> &str {
        self.text("server/root_user_name").unwrap_or("codalab")
    }

    pub fn set_root_user_name(&mut self, name: &str) {
        if name != self.root_user_name() {
            self.set("server/root_user_name", json!(name));
        }
    }

    /// Points `local` (and what followed it) at the address where the instance now listens. Returns the former address.
    pub fn set_address(&mut self, address: &str, port: u16) -> Option<String> {
        let former = self
            .text("aliases/local")
            .map(str::to_owned)
            .filter(|old| old != address);
        let follows = |current: Option<&str>, untouched: &str| match current {
            None => true,
            Some(value) => value == untouched || Some(value) == former.as_deref(),
        };
        let localhost_follows = follows(self.text("aliases/localhost"), "http://localhost");
        let default_follows = self.new || follows(self.text("cli/default_address"), "local");
        self.set("aliases/local", json!(address));
        if localhost_follows {
            self.set("aliases/localhost", json!(address));
        }
        if default_follows {
            self.set("cli/default_address", json!(address));
        }
        self.set("server/rest_port", json!(port));
        self.set("ws-server/ws_port", json!(port));
        former
    }

    /// Is the database a MySQL server?
    pub fn uses_mysql(&self) -> bool {
        self.text("server/engine_url")
            .is_some_and(|url| url.starts_with("mysql"))
    }

    /// Does a plain `cl` talk to this instance?
    pub fn is_default_instance(&self, address: &str) -> bool {
        self.text("cli/default_address") == Some(address)
    }

    /// Where the database is, as [`model::Model::connect`] wants it. The file has SQLAlchemy's form: three slashes before
    /// a path within the home, four before an absolute one.
    pub fn engine_url(&self, home: &Home) -> String {
        let url = self.text("server/engine_url").unwrap_or_default();
        match url.strip_prefix("sqlite:///") {
            Some(path) if !path.starts_with(':') => format!("sqlite://{}", home.root().join(path).display()),
            _ => url.to_owned(),
        }
    }

    pub fn save(&self, home: &Home) -> Result<()> {
        json_file::write(&home.config(), &self.object)
    }

    pub fn value(&self) -> Value {
        Value::Object(self.object.clone())
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.get(path)?.as_str()
    }

    fn get(&self, path: &str) -> Option<&Value> {
        let (section, key) = path.split_once('/')?;
        let mut value = self.object.get(section)?;
        for part in key.split('/') {
            value = value.get(part)?;
        }
        Some(value)
    }

    fn set(&mut self, path: &str, value: Value) {
        let mut parts: Vec<&str> = path.split('/').collect();
        let Some(last) = parts.pop() else { return };
        let mut object = &mut self.object;
        for part in parts {
            let slot = object.entry(part).or_insert_with(|| json!({}));
            if !slot.is_object() {
                *slot = json!({});
            }
            let Value::Object(inner) = slot else { return };
            object = inner;
        }
        object.insert(last.to_owned(), value);
    }
}

/// 48 characters out of letters, digits, `=`, `+` and `/`.
fn secret_key(random: &mut impl FnMut(&mut [u8])) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = [0; 48];
    random(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 64)]))
        .collect()
}

/// A token as the token endpoint would have answered, for `state.json`.
pub struct LocalToken {
    pub access_token: String,
    pub refresh_token: Option<String>,
    /// Unix seconds.
    pub expires_at: i64,
    pub scope: String,
}

/// Keeps `state.json` in step: sessions follow the instance to its new address, and a new token is stored for it.
pub fn update_state(
    home: &Home,
    address: &str,
    former: Option<&str>,
    login: Option<(&str, &LocalToken)>,
) -> Result<()> {
    if former.is_none() && login.is_none() {
        return Ok(());
    }
    let mut state = json_file::read(&home.state())?.unwrap_or_default();
    for section in ["auth", "sessions"] {
        if !state.get(section).is_some_and(Value::is_object) {
            state.insert(section.to_owned(), json!({}));
        }
    }
    if let Some(former) = former {
        if let Some(Value::Object(sessions)) = state.get_mut("sessions") {
            for session in sessions.values_mut().filter(|session| session["address"] == former) {
                session["address"] = json!(address);
            }
        }
        if let Some(Value::Object(auth)) = state.get_mut("auth")
            && let Some(login) = auth.remove(former)
        {
            auth.entry(address).or_insert(login);
        }
    }
    if let (Some((username, token)), Some(Value::Object(auth))) = (login, state.get_mut("auth")) {
        let token_info = json!({
            "access_token": token.access_token,
            "refresh_token": token.refresh_token,
            "token_type": "Bearer",
            "scope": token.scope,
            "expires_at": token.expires_at as f64,
        });
        auth.insert(
            address.to_owned(),
            json!({"token_info": token_info, "username": username}),
        );
    }
    json_file::write(&home.state(), &state).map_err(|error| Error::internal(format!("state of the client: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn zeros(bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path())).unwrap();
        (directory, home)
    }

    #[test]
    fn a_new_home_gets_sqlite_a_key_and_itself_as_the_default_instance() {
        let (_directory, home) = home();
        let mut settings = Settings::load(&home, &mut zeros).unwrap();
        assert_eq!(settings.port(None), 2900);
        assert_eq!(settings.port(Some(1)), 1);
        settings.set_address("http://localhost:2900", 2900);
        settings.save(&home).unwrap();
        let value = Settings::load(&home, &mut zeros).unwrap().value();
        assert_eq!(value["server"]["class"], "SQLiteModel");
        let url = value["server"]["engine_url"].as_str().unwrap();
        assert!(
            url.starts_with("sqlite:////") && Path::new(&url[10..]).is_absolute(),
            "{url}"
        );
        assert_eq!(value["server"]["secret_key"].as_str().unwrap().len(), 48);
        assert_eq!(value["cli"]["default_address"], "http://localhost:2900");
    }

    #[test]
    fn database_urls_become_paths() {
        let (_directory, home) = home();
        let root = home.root().display().to_string();
        for (written, meant) in [
            ("sqlite:////abs/x.db", "sqlite:///abs/x.db".to_owned()),
            ("sqlite:///x.db", format!("sqlite://{root}/x.db")),
            ("mysql://a:b@c/d", "mysql://a:b@c/d".to_owned()),
        ] {
            let mut settings = Settings::load(&home, &mut zeros).unwrap();
            settings.set("server/engine_url", json!(written));
            assert_eq!(settings.engine_url(&home), meant);
        }
    }

    #[test]
    fn a_chosen_database_key_and_default_instance_stay_and_unknown_keys_survive() {
        let (_directory, home) = home();
        let before = json!({
            "server": {"class": "MySQLModel", "engine_url": "mysql://a:b@db/x", "secret_key": "k", "rest_port": 77},
            "cli": {"default_address": MAIN_INSTANCE},
            "other": [1],
        });
        json_file::write(&home.config(), before.as_object().unwrap()).unwrap();
        let mut settings = Settings::load(&home, &mut zeros).unwrap();
        assert_eq!(settings.port(None), 77);
        settings.set_address("http://localhost:77", 77);
        let value = settings.value();
        assert_eq!(value["server"]["engine_url"], "mysql://a:b@db/x");
        assert_eq!(value["server"]["secret_key"], "k");
        assert_eq!(value["cli"]["default_address"], MAIN_INSTANCE);
        assert_eq!(value["aliases"]["local"], "http://localhost:77");
        assert_eq!(value["other"], json!([1]));
        assert!(!settings.is_default_instance("http://localhost:77"));
    }

    #[test]
    fn the_placeholder_database_of_the_command_line_is_not_a_choice() {
        let (_directory, home) = home();
        let before = json!({"server": {"class": "MySQLModel", "engine_url": PLACEHOLDER_ENGINE}});
        json_file::write(&home.config(), before.as_object().unwrap()).unwrap();
        assert_eq!(
            Settings::load(&home, &mut zeros).unwrap().value()["server"]["class"],
            "SQLiteModel"
        );
    }

    #[test]
    fn sessions_and_tokens_follow_the_instance_to_another_port() {
        let (_directory, home) = home();
        let token = LocalToken {
            access_token: "a".into(),
            refresh_token: None,
            expires_at: 5,
            scope: "default".into(),
        };
        update_state(&home, "http://localhost:1", None, Some(("codalab", &token))).unwrap();
        let mut state = json_file::read(&home.state()).unwrap().unwrap();
        state.insert(
            "sessions".into(),
            json!({"7": {"address": "http://localhost:1", "worksheet_uuid": "0x1"}}),
        );
        json_file::write(&home.state(), &state).unwrap();
        update_state(&home, "http://localhost:2", Some("http://localhost:1"), None).unwrap();
        let state = Value::Object(json_file::read(&home.state()).unwrap().unwrap());
        assert_eq!(state["sessions"]["7"]["address"], "http://localhost:2");
        assert_eq!(state["auth"]["http://localhost:2"]["username"], "codalab");
        assert!(state["auth"].get("http://localhost:1").is_none());
    }

    #[test]
    fn a_moved_port_takes_the_default_instance_along() {
        let (_directory, home) = home();
        let mut settings = Settings::load(&home, &mut zeros).unwrap();
        settings.set_address("http://localhost:1", 1);
        settings.save(&home).unwrap();
        let mut settings = Settings::load(&home, &mut zeros).unwrap();
        assert_eq!(
            settings.set_address("http://localhost:2", 2).as_deref(),
            Some("http://localhost:1")
        );
        assert!(settings.is_default_instance("http://localhost:2"));
    }
}
