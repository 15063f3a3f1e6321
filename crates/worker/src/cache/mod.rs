//! The dependency cache: each dependency is downloaded once, shared by all runs, and removed when space is needed.
//!
//! Several workers may use one directory. Whoever downloads an entry holds a lock on it, which the kernel drops with the
//! process. What is in use is not counted anywhere: it is what the persisted states of all workers' runs say, so a crash
//! cannot leak or lose a reference. Invariant: a run's state is on disk before it asks for its first dependency.

mod fetch;
mod files;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use domain::run::DependencyKey;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::fetch::HttpFetch;
use self::files::Files;

/// How often to look whether another process has finished a download.
const FOREIGN_PAUSE: Duration = Duration::from_millis(300);

/// Brings one dependency to this machine.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// Writes the file or directory to `target`, which does not exist, and reports the bytes received so far.
    async fn fetch(&self, key: &DependencyKey, target: PathBuf, received: &watch::Sender<u64>) -> Result<(), String>;
}

/// The cache of one work directory.
pub struct DependencyCache {
    files: Arc<Files>,
    fetch: Arc<dyn Fetch>,
    attempts: u32,
    downloads: Mutex<HashMap<DependencyKey, Weak<Download>>>,
    /// What the server is told.
    known: Arc<Mutex<BTreeSet<DependencyKey>>>,
}

/// A download that goes on while somebody waits for it.
struct Download {
    progress: watch::Receiver<Progress>,
    _while_wanted: DropGuard,
}

#[derive(Clone, Debug)]
enum Progress {
    Received(u64),
    Done(Result<PathBuf, String>),
}

impl DependencyCache {
    /// Opens the cache below the work directory and removes what crashes left behind. Blocks.
    pub fn open(work: &std::path::Path, fetch: Arc<dyn Fetch>, limit: u64, attempts: u32) -> std::io::Result<Self> {
        let files = Files::open(work, limit)?;
        let known = files.reconcile()?;
        Ok(Self {
            files: Arc::new(files),
            fetch,
            attempts: attempts.max(1),
            downloads: Mutex::default(),
            known: Arc::new(Mutex::new(known)),
        })
    }

    /// All entries, also those still coming, for the check-in.
    pub fn keys(&self) -> Vec<DependencyKey> {
        let mut keys = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let downloads = self.downloads.lock().unwrap_or_else(PoisonError::into_inner);
        keys.extend(
            downloads
                .iter()
                .filter(|(_, download)| download.strong_count() > 0)
                .map(|(key, _)| key.clone()),
        );
        keys.into_iter().collect()
    }

    /// The dependency's place on this machine, downloaded if need be. `received` hears about bytes. Dropping the last
    /// future that waits for a key aborts its download.
    pub async fn get(&self, key: &DependencyKey, mut received: impl FnMut(u64)) -> Result<PathBuf, String> {
        let files = self.files.clone();
        let wanted = key.clone();
        if let Some(path) = blocking(move || files.ready(&wanted)).await? {
            return Ok(path);
        }
        let download = self.join(key);
        let mut progress = download.progress.clone();
        loop {
            match &*progress.borrow_and_update() {
                Progress::Received(bytes) => received(*bytes),
                Progress::Done(outcome) => return outcome.clone(),
            }
            if progress.changed().await.is_err() {
                return Err("Aborted by user".to_owned());
            }
        }
    }

    /// The running download of a key, or a new one.
    fn join(&self, key: &DependencyKey) -> Arc<Download> {
        let mut downloads = self.downloads.lock().unwrap_or_else(PoisonError::into_inner);
        downloads.retain(|_, download| download.strong_count() > 0);
        if let Some(running) = downloads.get(key).and_then(Weak::upgrade)
            && !matches!(&*running.progress.borrow(), Progress::Done(Err(_)))
        {
            return running;
        }
        let (sender, progress) = watch::channel(Progress::Received(0));
        let cancel = CancellationToken::new();
        let download = Arc::new(Download {
            progress,
            _while_wanted: cancel.clone().drop_guard(),
        });
        downloads.insert(key.clone(), Arc::downgrade(&download));
        let task = Transfer {
            files: self.files.clone(),
            fetch: self.fetch.clone(),
            attempts: self.attempts,
            known: self.known.clone(),
            key: key.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                outcome = task.run(&sender) => drop(sender.send(Progress::Done(outcome))),
                () = cancel.cancelled() => tracing::debug!("download of {}/{} aborted", task.key.0, task.key.1),
            }
        });
        download
    }
}

struct Transfer {
    files: Arc<Files>,
    fetch: Arc<dyn Fetch>,
    attempts: u32,
    known: Arc<Mutex<BTreeSet<DependencyKey>>>,
    key: DependencyKey,
}

impl Transfer {
    async fn run(&self, progress: &watch::Sender<Progress>) -> Result<PathBuf, String> {
        // Held until the end: other processes wait for it.
        let _lock = loop {
            let (files, key) = (self.files.clone(), self.key.clone());
            if let Some(lock) = blocking(move || files.lock_entry(&key)).await? {
                break lock;
            }
            tokio::time::sleep(FOREIGN_PAUSE).await;
        };
        let (files, key) = (self.files.clone(), self.key.clone());
        if let Some(path) = blocking(move || files.ready(&key)).await? {
            return Ok(path);
        }
        let mut attempt = 1;
        loop {
            match self.attempt(progress).await {
                Ok(path) => return Ok(path),
                Err(error) if attempt >= self.attempts => return Err(format!("Dependency download failed: {error} ")),
                Err(error) => tracing::warn!("{}/{}: attempt {attempt}: {error}", self.key.0, self.key.1),
            }
            attempt += 1;
        }
    }

    async fn attempt(&self, progress: &watch::Sender<Progress>) -> Result<PathBuf, String> {
        let (files, key) = (self.files.clone(), self.key.clone());
        let partial = blocking(move || files.new_partial(&key)).await?;
        let (sender, mut received) = watch::channel(0);
        let fetched = self.fetch.fetch(&self.key, partial.path(), &sender);
        tokio::pin!(fetched);
        let outcome = loop {
            tokio::select! {
                outcome = &mut fetched => break outcome,
                Ok(()) = received.changed() => {
                    let bytes = *received.borrow_and_update();
                    progress.send_replace(Progress::Received(bytes));
                }
            }
        };
        outcome?;
        let (files, key, known) = (self.files.clone(), self.key.clone(), self.known.clone());
        blocking(move || {
            let path = files.publish(&key, &partial)?;
            let all = files.make_room(&key)?;
            *known.lock().unwrap_or_else(PoisonError::into_inner) = all;
            Ok(path)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("dependency cache: {error}")),
        Err(error) => Err(format!("dependency cache: {error}")),
    }
}

/// Sizes and ages of entries by name, for choosing what has to go.
type Entries = BTreeMap<String, files::Entry>;

#[cfg(test)]
mod tests;
