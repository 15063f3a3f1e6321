//! Fetching what a user names by URL: files over HTTP, and git repositories.
//!
//! A URL from a user is a request that the server sends from inside its network, so (S8): only `http` and `https`; only
//! to addresses that [`domain::address::AddressPolicy`] permits, checked on the addresses that are really connected to
//! and again after every redirect; with bounds on redirects, silence, total time, size, and fetches at the same time.

mod git;
mod web;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::address::AddressPolicy;
use domain::{Error, Result};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

pub use git::Cloned;

/// Most redirects of one fetch.
const MOST_REDIRECTS: usize = 10;
/// Most fetches at the same time; more wait.
const MOST_FETCHES: usize = 8;
/// No fetch takes longer.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// The part of the server that fetches.
pub struct Fetcher {
    policy: Arc<AddressPolicy>,
    /// Longest silence of the other side.
    silence: Duration,
    client: OnceLock<reqwest::Client>,
    turns: Semaphore,
}

/// A URL as the user gave it, checked for its form.
#[derive(Clone, Debug)]
pub struct Source {
    url: Url,
}

impl Fetcher {
    /// `silence`: how long the other side may send nothing.
    pub fn new(policy: AddressPolicy, silence: Duration) -> Self {
        Self {
            policy: Arc::new(policy),
            silence,
            client: OnceLock::new(),
            turns: Semaphore::new(MOST_FETCHES),
        }
    }

    /// Waits for a turn. Hold it while fetching.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.turns
            .acquire()
            .await
            .map_err(|error| Error::internal(error.to_string()))
    }

    /// Refuses hosts that are given as an address which is not permitted. Names are checked when they are resolved.
    fn check_literal(&self, url: &Url) -> Result<(), Reason> {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => address.into(),
            Some(url::Host::Ipv6(address)) => address.into(),
            Some(url::Host::Domain(_)) => return Ok(()),
            None => return Err(Reason::Other("it names no host".to_owned())),
        };
        if self.policy.permits(url.host_str().unwrap_or_default(), address) {
            Ok(())
        } else {
            Err(Reason::NotAllowed)
        }
    }
}

impl Source {
    /// Reads what a user gave as URL; 400 with the remedy when it cannot be fetched by its form alone.
    pub fn parse(text: &str) -> Result<Self> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => {}
            Some("ftp") => {
                return Err(Error::usage(format!(
                    "Can not fetch {}: ftp is not supported. Use an http or https address, or download the file and \
                     upload it.",
                    text.rsplit('@').next().unwrap_or_default()
                )));
            }
            _ => {
                return Err(Error::usage(
                    "Path must be a URL. It has to begin with http:// or https://.",
                ));
            }
        }
        let url = Url::parse(text).map_err(|error| Error::usage(format!("Path must be a URL. {error}.")))?;
        Ok(Self { url })
    }

    /// The name of the file: the last part of the path, without the query.
    pub fn file_name(&self) -> String {
        let last = self
            .url
            .path()
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        if last.is_empty() {
            self.url.host_str().unwrap_or_default().to_owned()
        } else {
            percent_encoding::percent_decode_str(last)
                .decode_utf8_lossy()
                .replace('/', "_")
        }
    }

    /// The URL for messages: without user name, password and query.
    fn shown(&self) -> String {
        shown(&self.url)
    }

    fn failed(&self, reason: &Reason) -> Error {
        let text = match reason {
            Reason::NotAllowed => "address not allowed. The host lies in a private network, or an address of it does; \
                the administrators of this server can allow it with storage/fetch/allow in config.json."
                .to_owned(),
            Reason::TimedOut(limit) => format!("timed out after {} s.", limit.as_secs()),
            Reason::Redirects => "too many redirects.".to_owned(),
            Reason::Status(status) => format!("HTTP status {status}."),
            Reason::Other(text) => format!("{}.", text.trim_end_matches('.')),
        };
        Error::usage(format!("Can not fetch {}: {text}", self.shown()))
    }
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Why a fetch failed.
#[derive(Debug)]
enum Reason {
    NotAllowed,
    TimedOut(Duration),
    Redirects,
    Status(u16),
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_last_part_of_the_path() {
        for (url, name) in [
            ("https://host/a/set.tar.bz2?v=2", "set.tar.bz2"),
            ("https://host", "host"),
            ("http://host/", "host"),
            ("http://host/x/", "x"),
            ("http://host/a%20b.txt#part", "a b.txt"),
            ("http://host/a%2Fb", "a_b"),
        ] {
            assert_eq!(Source::parse(url).unwrap().file_name(), name, "{url}");
        }
    }

    #[test]
    fn only_http_addresses_are_taken() {
        for (text, start) in [
            ("file:///etc/passwd", "Path must be a URL."),
            ("ext::sh -c true", "Path must be a URL."),
            ("-oProxyCommand=x", "Path must be a URL."),
            ("ssh://git@host/x", "Path must be a URL."),
            ("host/x", "Path must be a URL."),
            ("", "Path must be a URL."),
            ("http://", "Path must be a URL."),
            ("http://[::1", "Path must be a URL."),
            ("ftp://me:secret@host/x", "Can not fetch host/x: ftp is not supported."),
        ] {
            let message = Source::parse(text).unwrap_err().message;
            assert!(message.starts_with(start), "{text}: {message}");
        }
    }

    #[test]
    fn messages_hold_no_secrets() {
        let source = Source::parse("https://me:secret@host/x?token=t").unwrap();
        assert_eq!(
            source.failed(&Reason::Status(404)).message,
            "Can not fetch https://host/x: HTTP status 404."
        );
    }
}
