//! Files over HTTP and HTTPS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use domain::address::AddressPolicy;
use domain::{Error, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::{StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::{Fetcher, LONGEST, MOST_REDIRECTS, Reason, Source, shown};

/// A file on its way here.
pub struct Download {
    /// Its size, when the other side says it.
    pub size: Option<u64>,
    /// Its bytes; an error means that they are incomplete.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl Fetcher {
    /// Begins to fetch a file. Follows redirects.
    pub async fn download(&self, source: &Source) -> Result<Download> {
        let answer = self
            .follow(source.url.clone())
            .await
            .map_err(|reason| source.failed(&reason))?;
        let size = answer.content_length();
        let silence = self.silence;
        let late = Error::usage(format!(
            "Can not fetch {}: it takes longer than {} hours.",
            source.shown(),
            LONGEST.as_secs() / 3600
        ));
        let end = tokio::time::Instant::now() + LONGEST;
        let source = source.clone();
        let chunks = answer.bytes_stream().map_err(|error| describe(&error)).boxed();
        let body = futures::stream::try_unfold(chunks, move |mut chunks| {
            let (source, late) = (source.clone(), late.clone());
            async move {
                let failed = |reason: &Reason| io::Error::other(source.failed(reason).message);
                tokio::select! {
                    chunk = tokio::time::timeout(silence, chunks.next()) => match chunk {
                        Err(_) => Err(failed(&Reason::TimedOut(silence))),
                        Ok(Some(Err(reason))) => Err(failed(&reason)),
                        Ok(Some(Ok(bytes))) => Ok(Some((bytes, chunks))),
                        Ok(None) => Ok(None),
                    },
                    () = tokio::time::sleep_until(end) => Err(io::Error::other(late.message)),
                }
            }
        });
        Ok(Download {
            size,
            body: body.boxed(),
        })
    }

    /// The answer at the end of all redirects; a success.
    pub(super) async fn follow(&self, mut url: Url) -> Result<reqwest::Response, Reason> {
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.get(&url).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer);
            }
            let target = answer
                .headers()
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok())
                .filter(|_| is_redirect(status));
            let Some(target) = target else {
                return Err(Reason::Status(status.as_u16()));
            };
            let mut next = url
                .join(target)
                .map_err(|_| Reason::Other("it redirects to something that is no URL".to_owned()))?;
            if !matches!(next.scheme(), "http" | "https") {
                return Err(Reason::Other(format!("it redirects to a {} address", next.scheme())));
            }
            // Credentials are for the host that the user has named, and for no other one.
            if next.origin() == url.origin() && next.username().is_empty() {
                let _ = next.set_username(url.username());
                let _ = next.set_password(url.password());
            }
            url = next;
        }
        Err(Reason::Redirects)
    }

    /// One request, tried twice when no connection comes about.
    async fn get(&self, url: &Url) -> Result<reqwest::Response, Reason> {
        self.check_literal(url)?;
        let client = self.client()?;
        let mut failed = None;
        for attempt in 0..2 {
            if attempt > 0 {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            let sending = client
                .get(url.clone())
                .header(header::ACCEPT_ENCODING, "identity")
                .send();
            match tokio::time::timeout(self.silence, sending).await {
                Err(_) => return Err(Reason::TimedOut(self.silence)),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => match describe(&error) {
                    reason @ Reason::Other(_) if error.is_connect() => failed = Some(reason),
                    reason => return Err(reason),
                },
            }
        }
        Err(failed.unwrap_or(Reason::Redirects))
    }

    fn client(&self) -> Result<&reqwest::Client, Reason> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // A second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let resolver = Checked(self.policy.clone());
        let client = reqwest::Client::builder()
            // A proxy would connect to addresses that nobody here has seen.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(self.silence.min(std::time::Duration::from_secs(30)))
            .pool_max_idle_per_host(0)
            .user_agent(concat!("codalab/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Reason::Other(format!("cannot set up HTTP: {error}")))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The addresses of the host of `url`, all permitted.
    pub(super) async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Reason> {
        self.check_literal(url)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or(443);
        permitted_addresses(&self.policy, host, port)
            .await
            .map_err(|error| match error.downcast_ref::<NotAllowed>() {
                Some(_) => Reason::NotAllowed,
                None => Reason::Other(format!("{} cannot be resolved: {error}", shown(url))),
            })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Resolves names and gives only addresses that are permitted, which are then the ones connected to.
struct Checked(Arc<AddressPolicy>);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let addresses = permitted_addresses(&policy, name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A host with one forbidden address among others is refused altogether: it is either an attack or a mistake.
async fn permitted_addresses(policy: &AddressPolicy, host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    if addresses.iter().all(|address| policy.permits(host, address.ip())) {
        Ok(addresses)
    } else {
        Err(Box::new(NotAllowed))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("address not allowed")]
struct NotAllowed;

/// What went wrong, by the innermost cause, without the URL.
fn describe(error: &reqwest::Error) -> Reason {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if cause.is::<NotAllowed>() {
            return Reason::NotAllowed;
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => break,
        }
    }
    if error.is_timeout() {
        return Reason::Other("the connection timed out".to_owned());
    }
    Reason::Other(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_this_machine_are_refused_where_they_resolve() {
        let policy = AddressPolicy::default();
        let error = permitted_addresses(&policy, "localhost", 80).await.unwrap_err();
        assert!(error.is::<NotAllowed>());
        let policy = AddressPolicy {
            allow: vec!["localhost".parse().unwrap()],
            ..policy
        };
        assert!(!permitted_addresses(&policy, "localhost", 80).await.unwrap().is_empty());
    }
}
