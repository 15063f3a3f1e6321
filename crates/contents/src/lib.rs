//! File trees as bundles hold them: looking inside safely, reading parts of files, packing into archives and unpacking
//! archives that nobody trusts. Works on plain paths and knows nothing of stores, bundles or databases.
//!
//! Everything here runs in constant memory, whatever the size of a file or the number of entries of an archive. The
//! functions block; [`stream`] connects them to asynchronous byte streams on the blocking pool.
#![forbid(unsafe_code)]

mod archive_kind;
mod beneath;
mod copy;
mod digest;
mod error;
mod exclude;
mod gzip;
mod info;
mod pack;
mod read;
mod remove;
pub mod stream;
mod sub_path;
mod summary;
mod unpack;
mod walk;

pub use archive_kind::ArchiveKind;
pub use copy::copy_tree;
pub use digest::{FileHasher, file_digest, tree_digest};
pub use error::{Error, Result};
pub use exclude::{DEFAULT_IGNORED, Excludes};
pub use gzip::{gunzip_stream, gzip_bytes, gzip_stream};
pub use info::{MAX_INFO_DEPTH, MAX_INFO_ENTRIES, info};
pub use pack::{PackOptions, pack_paths, pack_paths_stream, pack_tree, pack_tree_stream};
pub use read::{Beginning, FileBlob, beginning, kind, open_file, version};
pub use remove::remove_tree;
pub use stream::ByteStream;
pub use sub_path::SubPath;
pub use summary::{Summary, summarize};
pub use unpack::{Limits, UnpackOptions, Unpacked, unpack};
pub use walk::{Usage, disk_usage};
