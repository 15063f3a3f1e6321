//! Contents that this server fetches itself.

use std::sync::{Arc, Mutex, PoisonError};

use domain::{Error, Result, Uuid};
use futures::{StreamExt, TryStreamExt};
use storage::{ReceiveOptions, Staged, over_quota};

use crate::fetch::{Cloned, Source};
use crate::state::AppState;

/// Fetches a file and takes it in as if it had been uploaded. `options.filename` decides whether it is an archive.
pub async fn file(state: &AppState, uuid: &Uuid, source: &Source, options: ReceiveOptions) -> Result<Staged> {
    until_shutdown(state, async {
        let _turn = state.fetcher.turn().await?;
        let download = state.fetcher.download(source).await?;
        if let (Some(size), Some(limit)) = (download.size, options.max_bytes)
            && size > limit
        {
            return Err(over_quota(uuid, &format!("{size} bytes"), limit));
        }
        // What the other side did wrong is known better here than where the bytes go.
        let broken = Arc::new(Mutex::new(None::<String>));
        let noted = broken.clone();
        let mut body = download.body.inspect_err(move |error| {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        });
        let received = state.storage.receive(uuid, body.by_ref(), options).await;
        let reason = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (received, reason) {
            (Err(_), Some(reason)) => Err(Error::usage(reason)),
            (received, _) => received,
        }
    })
    .await
}

/// Clones a repository: its newest commit, and its `.git`.
pub async fn repository(state: &AppState, uuid: &Uuid, source: &Source, max_bytes: Option<u64>) -> Result<Staged> {
    until_shutdown(state, async {
        let _turn = state.fetcher.turn().await?;
        let draft = state.storage.draft(uuid).await?;
        match state.fetcher.clone_repository(source, &draft.tree(), max_bytes).await? {
            Cloned::Complete => draft.finish(max_bytes).await,
            Cloned::TooBig => {
                let limit = max_bytes.unwrap_or(0);
                Err(over_quota(uuid, &format!("more than {limit} bytes"), limit))
            }
        }
    })
    .await
}

/// A fetch may take hours; a server that ends does not wait for it.
async fn until_shutdown<T>(state: &AppState, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = state.shutdown.cancelled() => Err(Error::new(
            domain::ErrorKind::Unavailable,
            "the server is shutting down. Upload again in a minute.",
        )),
    }
}
