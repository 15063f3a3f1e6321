//! The body of an upload: incomplete ones become errors, refused ones are read away.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::listener::Aborted;

/// An upload that sends nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(1200);

/// The body with its ways of being incomplete made into errors: silence, fewer bytes than announced, and an end that is
/// only that of the connection.
pub fn watched(
    body: Body,
    announced: Option<u64>,
    aborted: Option<Aborted>,
) -> impl Stream<Item = Result<Bytes, String>> + Unpin + Send {
    let chunks = body.into_data_stream();
    let cut_off = move |received: u64| {
        announced.is_some_and(|announced| announced != received)
            || aborted.as_ref().is_some_and(|Aborted(token)| token.is_cancelled())
    };
    let start = (chunks, 0u64, false, cut_off);
    let stream = futures::stream::unfold(start, |(mut chunks, received, ended, cut_off)| async move {
        if ended {
            return None;
        }
        match tokio::time::timeout(IDLE, chunks.next()).await {
            Err(_) => Some((
                Err("the client stopped sending".to_owned()),
                (chunks, received, true, cut_off),
            )),
            Ok(Some(Ok(bytes))) => {
                let received = received + bytes.len() as u64;
                Some((Ok(bytes), (chunks, received, false, cut_off)))
            }
            Ok(Some(Err(error))) => Some((
                Err(format!("the request body was cut off: {error}")),
                (chunks, received, true, cut_off),
            )),
            Ok(None) if cut_off(received) => Some((
                Err("the request body was cut off".to_owned()),
                (chunks, received, true, cut_off),
            )),
            Ok(None) => None,
        }
    });
    // Fused, because a refused body is drained, to its end and maybe from there.
    Box::pin(stream.fuse())
}

/// Reads what the client still sends, within reason.
pub async fn drain(body: &mut (impl Stream<Item = Result<Bytes, String>> + Unpin)) {
    const MOST: usize = 1 << 30;
    let mut seen = 0;
    while let Some(Ok(bytes)) = body.next().await {
        seen += bytes.len();
        if seen > MOST {
            break;
        }
    }
}
