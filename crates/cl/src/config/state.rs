//! `state.json`: tokens per instance, and the instance and worksheet of each session.

use client::Token;
use serde_json::{Map, Value, json};

use super::files::{Home, lock, read_object, write_object};
use super::session::process_mark;
use crate::error::Result;

/// Instance and worksheet of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Address of the instance.
    pub address: String,
    /// Current worksheet; empty for the home worksheet.
    pub worksheet_uuid: String,
}

/// The state file. Every change reads the file again under a lock, so that parallel processes lose nothing.
#[derive(Debug, Clone)]
pub struct StateFile {
    home: Home,
}

impl StateFile {
    /// Reads nothing yet.
    pub fn new(home: &Home) -> Self {
        Self { home: home.clone() }
    }

    /// The session of that name; `None` if it was never stored or belonged to a process that is gone.
    pub fn session(&self, name: &str) -> Result<Option<Session>> {
        let values = self.read()?;
        let Some(entry) = values.get("sessions").and_then(|sessions| sessions.get(name)) else {
            return Ok(None);
        };
        if let (Some(mark), Some(process)) = (entry.get(MARK).and_then(Value::as_str), process_mark(name))
            && same_machine(mark, &process)
            && mark != process
        {
            return Ok(None);
        }
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(address) = text("address") else {
            return Ok(None);
        };
        Ok(Some(Session {
            address,
            worksheet_uuid: text("worksheet_uuid").unwrap_or_default(),
        }))
    }

    /// Stores a session; forgets those of shells that have ended.
    pub fn set_session(&self, name: &str, session: &Session) -> Result<()> {
        self.change(|values| {
            let sessions = object(values, "sessions");
            forget_ended(sessions);
            put_session(sessions, name, session);
        })
    }

    /// The token and user name cached for an instance.
    pub fn login(&self, address: &str) -> Result<Option<(Token, Option<String>)>> {
        let values = self.read()?;
        let Some(entry) = values.get("auth").and_then(|auth| auth.get(address)) else {
            return Ok(None);
        };
        let token = entry
            .get("token_info")
            .and_then(|token| serde_json::from_value(token.clone()).ok());
        let username = entry.get("username").and_then(Value::as_str).map(str::to_owned);
        Ok(token.map(|token| (token, username)))
    }

    /// Caches a token; `fallback` is stored as the session `name` if there is none yet.
    pub fn set_login(
        &self,
        address: &str,
        token: &Token,
        username: Option<&str>,
        session: (&str, &Session),
    ) -> Result<()> {
        self.change(|values| {
            let auth = object(values, "auth");
            let entry = auth.entry(address.to_owned()).or_insert_with(|| json!({}));
            if !entry.is_object() {
                *entry = json!({});
            }
            entry["token_info"] = serde_json::to_value(token).unwrap_or(Value::Null);
            if let Some(username) = username {
                entry["username"] = Value::from(username);
            }
            let sessions = object(values, "sessions");
            if !sessions.contains_key(session.0) {
                put_session(sessions, session.0, session.1);
            }
        })
    }

    /// Forgets the credentials of an instance.
    pub fn forget_login(&self, address: &str) -> Result<()> {
        if self.read()?.get("auth").and_then(|auth| auth.get(address)).is_none() {
            return Ok(());
        }
        self.change(|values| {
            object(values, "auth").shift_remove(address);
        })
    }

    /// When the versions were last compared, `YYYY-MM-DD HH:MM:SS` in UTC.
    pub fn last_version_check(&self) -> Result<Option<String>> {
        Ok(self.read()?.get(LAST_CHECK).and_then(Value::as_str).map(str::to_owned))
    }

    /// Notes when the versions were compared.
    pub fn set_last_version_check(&self, when: &str) -> Result<()> {
        self.change(|values| {
            values.insert(LAST_CHECK.to_owned(), Value::from(when));
        })
    }

    fn read(&self) -> Result<Map<String, Value>> {
        Ok(read_object(&self.home.state)?.unwrap_or_default())
    }

    fn change(&self, edit: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
        self.home.create()?;
        let _lock = lock(&self.home.state)?;
        let mut values = self.read()?;
        object(&mut values, "auth");
        object(&mut values, "sessions");
        edit(&mut values);
        write_object(&self.home.state, &values)
    }
}

const LAST_CHECK: &str = "last_check_version_datetime";
/// Member of a session that says which process it belongs to; the Python client ignores it.
const MARK: &str = "process";

fn object<'a>(values: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let entry = values.entry(key.to_owned()).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    entry.as_object_mut().expect("made an object above")
}

fn put_session(sessions: &mut Map<String, Value>, name: &str, session: &Session) {
    let entry = sessions.entry(name.to_owned()).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    entry["address"] = Value::from(session.address.as_str());
    entry["worksheet_uuid"] = Value::from(session.worksheet_uuid.as_str());
    if let Some(mark) = process_mark(name) {
        entry[MARK] = Value::from(mark);
    }
}

/// Drops the sessions of processes of this machine and boot that no longer exist. Those of others stay.
fn forget_ended(sessions: &mut Map<String, Value>) {
    let Some(own) = process_mark(&std::process::id().to_string()) else {
        return;
    };
    sessions.retain(|name, entry| match entry.get(MARK).and_then(Value::as_str) {
        Some(mark) if same_machine(mark, &own) => process_mark(name).is_some_and(|process| process == mark),
        _ => true,
    });
}

/// True if two marks come from the same boot and the same process namespace.
fn same_machine(a: &str, b: &str) -> bool {
    let place = |mark: &str| mark.rsplit_once(' ').map(|(place, _)| place.to_owned());
    place(a).is_some() && place(a) == place(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(dir: &std::path::Path) -> StateFile {
        let dir = dir.to_owned();
        StateFile::new(&Home::locate(move |name| {
            (name == "CODALAB_HOME").then(|| dir.clone().into())
        }))
    }

    fn session(worksheet: &str) -> Session {
        Session {
            address: "http://a".into(),
            worksheet_uuid: worksheet.into(),
        }
    }

    fn token(text: &str) -> Token {
        serde_json::from_value(json!({"access_token": text, "expires_at": 5.25, "token_type": "Bearer"})).unwrap()
    }

    #[test]
    fn sessions_and_logins_come_back_and_foreign_members_stay() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let path = dir.path().join("state.json");
        std::fs::write(
            &path,
            r#"{"future": 1, "sessions": {"77": {"address": "http://b", "x": 1}}}"#,
        )
        .unwrap();
        assert_eq!(state.session("77").unwrap().unwrap().worksheet_uuid, "");
        assert_eq!(state.session("mine").unwrap(), None);
        state.set_session("mine", &session("0x1")).unwrap();
        assert_eq!(state.session("mine").unwrap(), Some(session("0x1")));
        state
            .set_login("http://a", &token("t"), Some("mira"), ("other", &session("")))
            .unwrap();
        assert_eq!(
            state.login("http://a").unwrap(),
            Some((token("t"), Some("mira".into())))
        );
        assert!(state.session("other").unwrap().is_some());
        state.forget_login("http://a").unwrap();
        state.forget_login("http://a").unwrap();
        assert_eq!(state.login("http://a").unwrap(), None);
        let values: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(values["future"], 1);
        assert_eq!(values["sessions"]["77"]["x"], 1);
    }

    #[test]
    fn the_session_of_a_dead_or_recycled_process_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let me = std::process::id().to_string();
        state.set_session(&me, &session("0x1")).unwrap();
        assert!(state.session(&me).unwrap().is_some());
        // The same pid, started at another time.
        let path = dir.path().join("state.json");
        let mut values: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mark = values["sessions"][&me][MARK].as_str().unwrap().to_owned();
        let place = mark.rsplit_once(' ').unwrap().0;
        values["sessions"][&me][MARK] = json!(format!("{place} 1"));
        values["sessions"]["elsewhere"] = json!({"address": "http://b", MARK: "other-boot pid:[1] 5"});
        std::fs::write(&path, values.to_string()).unwrap();
        assert_eq!(state.session(&me).unwrap(), None);
        state.set_session("new", &session("")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains(&format!("\"{me}\"")) && text.contains("elsewhere"),
            "{text}"
        );
    }

    #[test]
    fn parallel_changes_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let state = state.clone();
                scope.spawn(move || {
                    for i in 0..10 {
                        state.set_session(&format!("s{thread}-{i}"), &session("0x1")).unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(dir.path().join("state.json")).unwrap();
        let values: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(values["sessions"].as_object().unwrap().len(), 80);
    }
}
