//! The cache against a source that counts what is asked of it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::run::state::{RunState, Stage};
use crate::run::store::Store;

#[derive(Default)]
struct Source {
    asked: AtomicUsize,
    failures: AtomicUsize,
    /// Never finishes.
    endless: bool,
}

#[async_trait]
impl Fetch for Source {
    async fn fetch(&self, key: &DependencyKey, target: PathBuf, received: &watch::Sender<u64>) -> Result<(), String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        received.send_replace(5);
        fs::write(&target, vec![b'x'; 1000]).map_err(|error| error.to_string())?;
        if self.endless {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        let left = self.failures.load(Ordering::SeqCst);
        if left > 0 {
            self.failures.store(left - 1, Ordering::SeqCst);
            return Err(format!("no luck with {}", key.1));
        }
        Ok(())
    }
}

fn key(path: &str) -> DependencyKey {
    ("0x11112222333344445555666677778888".to_owned(), path.to_owned())
}

fn open(work: &Path, source: &Arc<Source>, limit: u64) -> DependencyCache {
    DependencyCache::open(work, source.clone(), limit, 3).unwrap()
}

#[tokio::test]
async fn one_download_serves_everybody_and_survives_a_restart() {
    let work = tempfile::tempdir().unwrap();
    let source = Arc::new(Source::default());
    let cache = open(work.path(), &source, 1 << 20);
    let wanted = key("data");
    let (a, b) = tokio::join!(cache.get(&wanted, |_| ()), cache.get(&wanted, |_| ()));
    assert_eq!(a.unwrap(), b.unwrap());
    let second = open(work.path(), &source, 1 << 20);
    assert_eq!(second.keys(), vec![wanted.clone()]);
    let path = second.get(&wanted, |_| ()).await.unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), 1000);
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn downloads_are_tried_again_and_then_given_up() {
    for (failures, works) in [(2, true), (3, false)] {
        let work = tempfile::tempdir().unwrap();
        let source = Arc::new(Source {
            failures: AtomicUsize::new(failures),
            ..Source::default()
        });
        let cache = open(work.path(), &source, 1 << 20);
        let outcome = cache.get(&key("a"), |_| ()).await;
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
        if let Err(message) = outcome {
            assert_eq!(message, "Dependency download failed: no luck with a ");
            assert!(
                cache.get(&key("a"), |_| ()).await.is_ok(),
                "the next wish starts afresh"
            );
        }
        assert_eq!(
            fs::read_dir(work.path().join("dependencies/.partial")).unwrap().count(),
            0
        );
    }
}

#[tokio::test]
async fn a_download_that_nobody_wants_any_more_is_aborted() {
    let work = tempfile::tempdir().unwrap();
    let endless = Arc::new(Source {
        endless: true,
        ..Source::default()
    });
    let cache = open(work.path(), &endless, 1 << 20);
    let wanted = key("a");
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        outcome = cache.get(&wanted, |bytes| { let _ = heard.send(bytes); }) => panic!("{outcome:?}"),
        () = async { while hears.recv().await != Some(5) {} } => {}
    }
    assert_eq!(cache.keys(), Vec::new());
    // The lock on the entry is free again, in this process and for others.
    let source = Arc::new(Source::default());
    let other = open(work.path(), &source, 1 << 20);
    let path = tokio::time::timeout(Duration::from_secs(20), other.get(&wanted, |_| ()))
        .await
        .unwrap();
    assert!(path.is_ok());
}

#[tokio::test]
async fn the_least_recently_used_entry_goes_unless_a_run_needs_it() {
    let work = tempfile::tempdir().unwrap();
    let source = Arc::new(Source::default());
    let cache = open(work.path(), &source, 2500);
    let store = Store::open(work.path().join(format!("{STATES}x"))).unwrap();
    let mut message = crate::run::state::tests::message("true");
    message.bundle.dependencies = serde_json::from_value(serde_json::json!([{
        "parent_path": "a", "parent_uuid": key("").0, "child_path": "a", "child_uuid": message.bundle.uuid,
    }]))
    .unwrap();
    let mut state = RunState::accept(message, "1".into(), 0.0);
    store.save(&state).unwrap();
    for path in ["a", "b", "c"] {
        cache.get(&key(path), |_| ()).await.unwrap();
    }
    assert_eq!(cache.keys(), vec![key("a"), key("c")]);
    state.enter(Stage::Running, 1.0);
    state.enter(Stage::CleaningUp, 2.0);
    store.save(&state).unwrap();
    cache.get(&key("d"), |_| ()).await.unwrap();
    assert_eq!(cache.keys(), vec![key("c"), key("d")]);
    assert_eq!(fs::read_dir(work.path().join("dependencies")).unwrap().count(), 4 + 2);
}

const STATES: &str = crate::workdir::STATES_PREFIX;

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_at_the_start() {
    let work = tempfile::tempdir().unwrap();
    let source = Arc::new(Source::default());
    let kept = key("kept/file");
    open(work.path(), &source, 1 << 20).get(&kept, |_| ()).await.unwrap();
    let directory = work.path().join("dependencies");
    fs::create_dir_all(directory.join(".partial/0x1.77-0")).unwrap();
    fs::create_dir_all(directory.join("0xorphan/sub")).unwrap();
    fs::write(
        directory.join(".meta/0xgone.json"),
        r#"{"uuid":"0xgone","path":"","bytes":1}"#,
    )
    .unwrap();
    fs::write(directory.join(".meta/0xbad.json"), "{").unwrap();
    let cache = open(work.path(), &source, 1 << 20);
    assert_eq!(cache.keys(), vec![kept]);
    assert_eq!(fs::read_dir(directory.join(".meta")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(directory.join(".partial")).unwrap().count(), 0);
    assert!(!directory.join("0xorphan").exists());
}

#[test]
fn different_paths_have_different_names() {
    let paths = [
        "",
        "a/b_c",
        "a_b/c",
        "a b/c",
        "a/b/c",
        "ä",
        "x".repeat(300).leak(),
        "y".repeat(300).leak(),
    ];
    let names: BTreeSet<String> = paths.iter().map(|path| files::name(&key(path))).collect();
    assert_eq!(names.len(), paths.len());
    assert!(names.iter().all(|name| name.len() < 200 && !name.contains('/')));
}
