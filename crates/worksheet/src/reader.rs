//! What the interpreter needs from the outside: contents of bundles, and searches. The server implements it.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::file;
use crate::genpath::{BundleInfo, OwnerNames};

/// A path inside a bundle, as far as worksheets care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A regular file.
    File {
        /// Its beginning: at most the number of bytes asked for.
        bytes: Vec<u8>,
        /// Its whole size in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// Missing, a symbolic link, a device, or not readable now.
    NotFound,
    /// Not read before the deadline of the request.
    Late,
}

/// A file that cells take values from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileRef {
    /// The bundle; any text.
    pub bundle_uuid: String,
    /// The path inside it, without leading slash; empty for the bundle itself.
    pub path: String,
}

/// What a file holds for cells.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// The structure of its beginning, see [`parse_file`].
    Value(Arc<Value>),
    /// There is no such file.
    Nothing,
    /// The viewer may not read it.
    Forbidden,
    /// Not read before the deadline of the request.
    Late,
}

/// A search directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// `search`: the keywords without `.format=`.
    Bundles(Vec<String>),
    /// `wsearch`: the keywords.
    Worksheets(Vec<String>),
}

/// Result of a search.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Readable bundles in order, without `id` and `sort_key`.
    Bundles(Vec<BundleInfo>),
    /// The number of a `.count` or `.sum`.
    Aggregate(Value),
    /// Readable worksheets in order; the infos go into a sub-worksheets block as they are.
    Worksheets(Vec<BundleInfo>),
}

/// Results of several searches.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// Parallel to the searches.
    pub results: Vec<Result<Found>>,
    /// User names of the owners of what was found.
    pub owners: OwnerNames,
}

/// Bytes of a file that [`parse_file`] looks at.
pub fn parsed_bytes() -> u64 {
    file::head_limit(file::CELL_LINES)
}

/// The structure that cells see in the beginning of a file, up to [`parsed_bytes`]; `size` is that of the whole file. Takes
/// time and memory in proportion to `bytes`.
pub fn parse_file(bytes: &[u8], size: u64) -> Value {
    file::structure(&file::head(bytes, size, file::CELL_LINES))
}

/// Access to data on behalf of the viewer.
///
/// A page asks for everything at once where it can, so that a reader needs few look-ups: [`Reader::prepare`] comes before
/// the reads of a page, [`Reader::known`] before [`Reader::value`], and [`Reader::search_all`] once.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Looks up a path (`""` is the bundle itself) in a bundle, following dependencies, and reads at most `limit` bytes
    /// of a file. A missing permission is an error of kind [`ErrorKind::Permission`].
    async fn read(&self, bundle_uuid: &str, path: &str, limit: u64) -> Result<Target>;

    /// Runs a bundle search. The keywords are those of the directive, without `.format=`.
    async fn search(&self, keywords: &[String]) -> Result<Found>;

    /// Runs a worksheet search; the infos go into a sub-worksheets block as they are.
    async fn search_worksheets(&self, keywords: &[String]) -> Result<Vec<BundleInfo>>;

    /// These files are about to be read.
    async fn prepare(&self, _files: &[FileRef]) {}

    /// What is at hand of files without reading them; parallel to `files`. Still subject to the viewer's permissions.
    async fn known(&self, files: &[FileRef]) -> Vec<Option<Parsed>> {
        vec![None; files.len()]
    }

    /// The structure of one file.
    async fn value(&self, file: &FileRef) -> Parsed {
        match self.read(&file.bundle_uuid, &file.path, parsed_bytes()).await {
            Ok(Target::File { bytes, size }) => Parsed::Value(Arc::new(parse_file(&bytes, size))),
            Ok(Target::Late) => Parsed::Late,
            Err(error) if is_forbidden(&error) => Parsed::Forbidden,
            Ok(Target::Directory | Target::NotFound) | Err(_) => Parsed::Nothing,
        }
    }

    /// Runs all searches of a page.
    async fn search_all(&self, searches: &[Search]) -> Searched {
        let mut results = Vec::with_capacity(searches.len());
        for search in searches {
            results.push(match search {
                Search::Bundles(keywords) => self.search(keywords).await,
                Search::Worksheets(keywords) => self.search_worksheets(keywords).await.map(Found::Worksheets),
            });
        }
        Searched {
            results,
            owners: OwnerNames::new(),
        }
    }
}

/// Whether an error says that the viewer may not read something.
pub fn is_forbidden(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Permission | ErrorKind::Authentication)
}
