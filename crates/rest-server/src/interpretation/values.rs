//! Parsed files that cells take their values from, kept for the next page, and turns at reading and parsing.
//!
//! Invariant: what is kept is found only by the version of the file that lies in the store now, and only after the viewer's
//! permissions were checked; nothing about permissions is kept.

use std::sync::Arc;

use domain::Uuid;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use worksheet::weight;

/// Memory of all kept structures, roughly, in bytes.
const KEPT_BYTES: u64 = 64 << 20;

/// Largest structure that is kept, in bytes; larger ones would push out too many others.
const MOST_KEPT: u64 = KEPT_BYTES / 16;

/// Files that are read at the same time by all requests.
const TURNS: usize = 32;

/// MiB of files that are parsed at the same time by all requests: a structure takes several times the memory of its file.
const PARSED_MIB: usize = 32;

/// A state of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileVersion {
    pub bundle: Uuid,
    /// Inside the bundle.
    pub path: String,
    /// See [`contents::version`].
    pub version: String,
}

#[derive(Clone)]
struct Weight;

impl Weighter<FileVersion, Arc<Value>> for Weight {
    fn weight(&self, file: &FileVersion, value: &Arc<Value>) -> u64 {
        weight(value) + (file.path.len() + file.version.len() + 128) as u64
    }
}

/// See the module.
pub struct FileValues {
    kept: Cache<FileVersion, Arc<Value>, Weight>,
    reading: Arc<Semaphore>,
    parsing: Arc<Semaphore>,
}

impl Default for FileValues {
    fn default() -> Self {
        Self {
            kept: Cache::with_weighter(10_000, KEPT_BYTES, Weight),
            reading: Arc::new(Semaphore::new(TURNS)),
            parsing: Arc::new(Semaphore::new(PARSED_MIB)),
        }
    }
}

impl FileValues {
    /// The structure of this version of a file, if it is kept.
    pub(super) fn get(&self, file: &FileVersion) -> Option<Arc<Value>> {
        self.kept.get(file)
    }

    /// Keeps a structure, unless it is very large.
    pub(super) fn keep(&self, file: FileVersion, value: &Arc<Value>) {
        if weight(value) <= MOST_KEPT {
            self.kept.insert(file, Arc::clone(value));
        }
    }

    /// Waits for a turn at reading.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphores are never closed.
        Arc::clone(&self.reading).acquire_owned().await.ok()
    }

    /// The structure of the beginning of a file, on the blocking pool.
    pub(super) async fn parse(&self, bytes: Vec<u8>, size: u64) -> domain::Result<Arc<Value>> {
        let mib = 1 + (bytes.len() >> 20);
        let turns = u32::try_from(mib.min(PARSED_MIB)).unwrap_or(1);
        let turn = Arc::clone(&self.parsing).acquire_many_owned(turns).await.ok();
        let parsed = tokio::task::spawn_blocking(move || {
            // Held to the end, also when nobody waits any more.
            let _turn = turn;
            Arc::new(worksheet::parse_file(&bytes, size))
        });
        parsed
            .await
            .map_err(|error| domain::Error::internal(format!("parse a file: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(path: &str, version: &str) -> FileVersion {
        FileVersion {
            bundle: Uuid::from_random([1; 16]),
            path: path.to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn structures_are_kept_by_version_within_bounds() {
        let values = FileValues::default();
        let small = Arc::new(json!({"a": 1}));
        values.keep(file("f", "1"), &small);
        assert_eq!(values.get(&file("f", "1")), Some(small));
        assert_eq!(values.get(&file("f", "2")), None);
        let large = Arc::new(json!("x".repeat(MOST_KEPT as usize)));
        values.keep(file("g", "1"), &large);
        assert_eq!(values.get(&file("g", "1")), None);
        let medium = Arc::new(json!("x".repeat(1 << 20)));
        for number in 0..200 {
            values.keep(file("h", &number.to_string()), &medium);
        }
        assert!(values.kept.weight() <= KEPT_BYTES);
    }

    #[tokio::test]
    async fn files_are_parsed_beside_each_other_within_their_turns() {
        let values = Arc::new(FileValues::default());
        let parse = |bytes: Vec<u8>| {
            let values = Arc::clone(&values);
            async move { values.parse(bytes, 1 << 40).await.unwrap() }
        };
        let large = vec![b'x'; PARSED_MIB << 21];
        let all = futures::future::join_all((0..3).map(|_| parse(large.clone()))).await;
        assert!(
            all.iter().all(|value| **value == json!("")),
            "an endless line gives nothing"
        );
        assert_eq!(values.parsing.available_permits(), PARSED_MIB);
    }
}
