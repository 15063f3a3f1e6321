//! Several servers on one database: an answer of a worker arrives at any of them and belongs to the one that waits.
//!
//! Every server takes a number, as a lease in the database that also says where the others reach it. The id of a reply
//! channel names the server: `socket id * 1024 + number`. An answer for another server is passed on to it as it arrives.

use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Body;
use domain::{Error, Result};
use http::{HeaderMap, HeaderName, StatusCode, header};
use model::Model;
use tokio_util::sync::CancellationToken;

use crate::error::{ApiError, ApiResult};
use crate::respond;
use crate::state::AppState;

/// Servers on one database, at most.
const MOST_SERVERS: i64 = 1024;
/// A server that has not renewed its lease for this long is gone.
const LEASE: Duration = Duration::from_secs(60);
/// On requests that another server has passed on; they are never passed on again.
const PASSED_ON: HeaderName = HeaderName::from_static("x-codalab-passed-on");
/// The other server must take the connection in this time.
const CONNECT: Duration = Duration::from_secs(10);

/// This server among its peers.
#[derive(Default)]
pub struct Peers {
    place: OnceLock<Place>,
    client: OnceLock<reqwest::Client>,
}

struct Place {
    number: i64,
    /// Address and a word of this process, so that a successor at the same address is not taken for this one.
    holder: String,
}

/// Where an answer goes: the socket, and the server that waits at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    pub socket: i64,
    server: i64,
}

impl Channel {
    /// Reads the id that a worker names.
    pub fn from_id(id: i64) -> Self {
        Self {
            socket: id.div_euclid(MOST_SERVERS),
            server: id.rem_euclid(MOST_SERVERS),
        }
    }
}

impl Peers {
    /// The id that a worker has to name to answer at a socket of this server.
    pub fn channel_id(&self, socket: i64) -> i64 {
        socket * MOST_SERVERS + self.number()
    }

    /// 0 without peers.
    fn number(&self) -> i64 {
        self.place.get().map_or(0, |place| place.number)
    }

    fn is_mine(&self, channel: Channel) -> bool {
        channel.server == self.number()
    }
}

impl AppState {
    /// Takes a number among the servers of the database. `address`: where the others reach this one, `http://host:port`.
    /// Keeps it until the server ends.
    pub async fn join_peers(&self, address: &str) -> Result<()> {
        let holder = format!("{address} {}", uuid::Uuid::new_v4().simple());
        for number in 0..MOST_SERVERS {
            if !take(&self.model, number, &holder, self.now()).await? {
                continue;
            }
            let place = Place {
                number,
                holder: holder.clone(),
            };
            if self.peers.place.set(place).is_ok() {
                tokio::spawn(keep(self.model.clone(), number, holder, self.shutdown.clone()));
            }
            return Ok(());
        }
        Err(Error::internal(format!("there are {MOST_SERVERS} servers already")))
    }

    /// Gives the number back.
    pub(crate) async fn leave_peers(&self) {
        if let Some(place) = self.peers.place.get()
            && let Err(error) = self.model.release_lease(&lease(place.number), &place.holder).await
        {
            tracing::debug!(%error, "cannot give the number of this server back");
        }
    }

    /// None when the answer is for this server; else what the server said that it was passed on to.
    pub(crate) async fn pass_on(
        &self,
        channel: Channel,
        path: &str,
        headers: &HeaderMap,
        body: impl FnOnce() -> Body,
    ) -> Option<ApiResult> {
        if self.peers.is_mine(channel) || headers.contains_key(PASSED_ON) {
            return None;
        }
        Some(self.send_to(channel.server, path, headers, body()).await)
    }

    async fn send_to(&self, server: i64, path: &str, headers: &HeaderMap, body: Body) -> ApiResult {
        let holder = self.model.lease_holder(&lease(server), self.now()).await?;
        let Some((address, _)) = holder.as_deref().and_then(|holder| holder.split_once(' ')) else {
            // The server has gone, and with it whoever waited.
            return Ok(respond::empty());
        };
        let mut request = self
            .peers
            .client()?
            .post(format!("{address}{path}"))
            .header(PASSED_ON, "1");
        for name in [header::AUTHORIZATION, header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let answer = request
            .header("x-requested-with", "XMLHttpRequest")
            .body(reqwest::Body::wrap_stream(body.into_data_stream()))
            .send()
            .await
            .map_err(|error| {
                let message = format!("the server that waits for this answer cannot be reached: {error}");
                ApiError::Status(StatusCode::SERVICE_UNAVAILABLE, message)
            })?;
        let status = answer.status();
        if status.is_success() {
            Ok(respond::empty())
        } else {
            Err(ApiError::Status(status, answer.text().await.unwrap_or_default()))
        }
    }
}

impl Peers {
    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // A second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| Error::internal(format!("cannot set up HTTP: {error}")))?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn lease(number: i64) -> String {
    format!("rest-server-{number}")
}

async fn take(model: &Model, number: i64, holder: &str, now: i64) -> Result<bool> {
    model
        .acquire_lease(&lease(number), holder, LEASE.as_secs() as i64, now)
        .await
}

/// Renews the lease until the server ends.
async fn keep(model: Model, number: i64, holder: String, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LEASE / 3) => {}
            () = shutdown.cancelled() => return,
        }
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs() as i64);
        match take(&model, number, &holder, now).await {
            Ok(true) => {}
            Ok(false) => tracing::error!(number, "another server has taken the number of this one; restart it"),
            Err(error) => tracing::warn!(%error, "cannot renew the number of this server"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_ids_name_socket_and_server() {
        let peers = Peers::default();
        assert_eq!(Channel::from_id(peers.channel_id(7)), Channel { socket: 7, server: 0 });
        assert!(peers.is_mine(Channel::from_id(7 * MOST_SERVERS)));
        assert!(!peers.is_mine(Channel::from_id(7 * MOST_SERVERS + 3)));
        assert_eq!(Channel::from_id(7 * MOST_SERVERS + 3).socket, 7);
        for id in [i64::MIN, -1, 0, i64::MAX] {
            let _ = Channel::from_id(id);
        }
    }
}
