//! Where the files are, and how they are read and written: sorted keys, four blanks, ASCII, whole or not at all.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Paths of the client's files.
#[derive(Debug, Clone)]
pub struct Home {
    /// `CODALAB_HOME`, default `~/.codalab`.
    pub dir: PathBuf,
    /// `CODALAB_CONFIG`, default `config.json` there.
    pub config: PathBuf,
    /// `CODALAB_STATE`, default `state.json` there.
    pub state: PathBuf,
}

impl Home {
    /// Reads the variables with `variable`; creates nothing.
    pub fn locate(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let user = variable("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let get = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(|value| expand(&user, value))
        };
        let dir = get("CODALAB_HOME").unwrap_or_else(|| user.join(".codalab"));
        Self {
            config: get("CODALAB_CONFIG").unwrap_or_else(|| dir.join("config.json")),
            state: get("CODALAB_STATE").unwrap_or_else(|| dir.join("state.json")),
            dir,
        }
    }

    /// Creates the directory (its last component only) if it is missing; only its owner may look into it.
    pub fn create(&self) -> Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::other(format!(
                "cannot create {} (CODALAB_HOME): {error}",
                self.dir.display()
            ))),
            _ => Ok(()),
        }
    }
}

fn expand(user: &Path, value: OsString) -> PathBuf {
    let path = PathBuf::from(value);
    match path.strip_prefix("~") {
        Ok(rest) => user.join(rest),
        Err(_) => path,
    }
}

/// Reads a JSON object; `None` if there is no such file.
pub(super) fn read_object(path: &Path) -> Result<Option<Map<String, Value>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::other(format!("cannot read {}: {error}", path.display()))),
    };
    let complaint = match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => return Ok(Some(map)),
        Ok(_) => "not a JSON object".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Error::other(format!(
        "Invalid JSON in {}:\n{}\n{complaint}",
        path.display(),
        text.trim_end()
    )))
}

/// Writes a JSON object in the form the Python client writes.
pub(super) fn write_object(path: &Path, map: &Map<String, Value>) -> Result<()> {
    write_atomically(path, to_text(map).as_bytes())
        .map_err(|error| Error::other(format!("cannot write {}: {error}", path.display())))
}

/// Replaces a file (mode 0600) so that a reader sees the old or the new contents. A link is followed, not replaced.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_string_lossy()
        .into_owned();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// An exclusive lock beside `path`, held until the file is dropped.
pub(super) fn lock(path: &Path) -> Result<fs::File> {
    let name = path.with_extension("lock");
    let failed = |error: io::Error| Error::other(format!("cannot lock {}: {error}", name.display()));
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(file)
}

fn to_text(map: &Map<String, Value>) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, AsciiLines::new());
    let sorted = sorted(&Value::Object(map.clone()));
    serde::Serialize::serialize(&sorted, &mut serializer).expect("JSON values can be written to memory");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("the formatter writes ASCII")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Four blanks of indentation and no byte outside ASCII, so that a reader in any locale gets the same text.
struct AsciiLines(serde_json::ser::PrettyFormatter<'static>);

impl AsciiLines {
    fn new() -> Self {
        Self(serde_json::ser::PrettyFormatter::with_indent(b"    "))
    }
}

impl serde_json::ser::Formatter for AsciiLines {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_look_as_the_python_client_writes_them() {
        let value = json!({"b": {"y": [1, "é"], "x": 1.5}, "a": {}, "c": []});
        let expected = "{\n    \"a\": {},\n    \"b\": {\n        \"x\": 1.5,\n        \"y\": [\n            1,\n            \
                        \"\\u00e9\"\n        ]\n    },\n    \"c\": []\n}\n";
        assert_eq!(to_text(value.as_object().unwrap()), expected);
    }

    #[test]
    fn writing_replaces_the_file_and_keeps_it_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let map = |n: i32| json!({"n": n}).as_object().unwrap().clone();
        write_object(&path, &map(1)).unwrap();
        write_object(&path, &map(2)).unwrap();
        assert_eq!(read_object(&path).unwrap(), Some(map(2)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(read_object(&dir.path().join("none")).unwrap(), None);
    }

    #[test]
    fn broken_files_are_named_and_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, "{oops\n").unwrap();
        let message = read_object(&path).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("Invalid JSON in {}:\n{{oops\n", path.display())),
            "{message}"
        );
    }

    #[test]
    fn the_environment_moves_the_files() {
        let locate = |pairs: &'static [(&str, &str)]| {
            Home::locate(move |name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into())
            })
        };
        let home = locate(&[("HOME", "/home/mira")]);
        assert_eq!(home.config, Path::new("/home/mira/.codalab/config.json"));
        let home = locate(&[
            ("HOME", "/home/mira"),
            ("CODALAB_HOME", "~/x"),
            ("CODALAB_STATE", "/s.json"),
        ]);
        assert_eq!((home.dir, home.state), ("/home/mira/x".into(), "/s.json".into()));
    }
}
