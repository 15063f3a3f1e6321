//! `config.json` and `state.json` as both command-line clients write them: keys sorted, four blanks of indentation, a final
//! newline. Written beside and renamed, readable by the owner only (they hold the cookie key and tokens).

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use domain::error::Error;
use serde_json::{Map, Value};

use super::Result;

/// The object in the file; `None` if there is no file.
pub fn read(path: &Path) -> Result<Option<Map<String, Value>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::internal(format!("cannot read {}: {error}", path.display()))),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::usage(format!("Invalid JSON in {}:\n{text}\n{error}", path.display())))
}

pub fn write(path: &Path, object: &Map<String, Value>) -> Result<()> {
    let failed = |error: std::io::Error| Error::internal(format!("cannot write {}: {error}", path.display()));
    let temporary = path.with_extension(format!("json.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed)?;
    file.write_all(domain::config::to_pretty_json(&Value::Object(object.clone())).as_bytes())
        .map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_indented_private_and_read_back() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert!(read(&path).unwrap().is_none());
        let object = serde_json::from_str(r#"{"b": [1, {"z": 1, "a": {}}], "a": true}"#).unwrap();
        write(&path, &object).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let expected = "{\n    \"a\": true,\n    \"b\": [\n        1,\n        {\n            \"a\": {},\n            \"z\": 1\n        }\n    ]\n}\n";
        assert_eq!(text, expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().unwrap(), object);
    }

    #[test]
    fn a_broken_file_is_named_with_its_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        fs::write(&path, "{oops").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("Invalid JSON in") && error.contains("{oops"), "{error}");
    }
}
