//! What a REST server allows its clients: `server/limits` of `config.json`. Missing keys take their defaults.

use serde::Deserialize;

/// Bounds on connections, requests and waiting. Every number is a bound of its own; times are seconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Open connections; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Open connections from one address (one /64 network for IPv6); 0 is no limit. Loopback and private addresses are
    /// proxies and have none.
    pub max_connections_per_address: usize,
    /// The limit holds for loopback and private addresses, too.
    pub limit_private_addresses: bool,
    /// Ordinary requests that are worked on at the same time.
    pub max_requests: usize,
    /// Transfers of contents (uploads, downloads, answers of workers) at the same time.
    pub max_streams: usize,
    /// Check-ins of workers at the same time; they wait on purpose.
    pub max_checkins: usize,
    /// A request above its bound waits this long for its turn before it gets 503.
    pub queue_seconds: f64,
    /// The head of a request must be complete after this time; also the longest pause between two requests.
    pub head_seconds: f64,
    /// A body that is parsed must be complete after this time.
    pub body_seconds: f64,
    /// An upload must bring at least a kilobyte in this time of waiting for it.
    pub upload_stall_seconds: f64,
    /// A client must take at least a byte of an answer in this time.
    pub download_stall_seconds: f64,
    /// A page of a worksheet waits this long for its searches, and for files that workers or slow disks hold; what is missing
    /// then is left for the client to ask again.
    pub interpret_seconds: f64,
    /// Bytes of a request head, the target included.
    pub max_head_bytes: usize,
    /// Header fields of a request.
    pub max_header_fields: usize,
    /// Bytes of all JSON bodies beyond 64 KiB each that are held at the same time.
    pub max_json_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_connections_per_address: 256,
            limit_private_addresses: false,
            max_requests: 256,
            max_streams: 512,
            max_checkins: 4096,
            queue_seconds: 2.0,
            head_seconds: 60.0,
            body_seconds: 120.0,
            upload_stall_seconds: 300.0,
            download_stall_seconds: 300.0,
            interpret_seconds: 20.0,
            max_head_bytes: 128 << 10,
            max_header_fields: 100,
            max_json_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// What cannot work, named by its key.
    pub fn check(&self) -> Result<(), String> {
        let counts = [
            ("max_connections", self.max_connections),
            ("max_requests", self.max_requests),
            ("max_streams", self.max_streams),
            ("max_checkins", self.max_checkins),
            ("max_header_fields", self.max_header_fields),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(format!("server/limits/{key} must be at least 1"));
        }
        // A head of 64 KiB is part of the contract, and the parser needs 8 KiB.
        if self.max_head_bytes < 8 << 10 {
            return Err("server/limits/max_head_bytes must be at least 8192".to_owned());
        }
        if self.max_json_bytes < 8 << 20 {
            return Err("server/limits/max_json_bytes must be at least 8388608, the size of one body".to_owned());
        }
        let times = [
            ("queue_seconds", self.queue_seconds, 0.0),
            ("head_seconds", self.head_seconds, 0.01),
            ("body_seconds", self.body_seconds, 0.01),
            ("upload_stall_seconds", self.upload_stall_seconds, 0.01),
            ("download_stall_seconds", self.download_stall_seconds, 0.01),
            ("interpret_seconds", self.interpret_seconds, 0.01),
        ];
        match times
            .iter()
            .find(|(_, seconds, least)| !(*least..=1e6).contains(seconds))
        {
            Some((key, _, least)) => Err(format!(
                "server/limits/{key} must be between {least} and 1000000 seconds"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn missing_keys_take_their_defaults_and_impossible_values_are_named() {
        let limits: Limits = serde_json::from_value(json!({"max_requests": 7, "queue_seconds": 0.5})).unwrap();
        assert_eq!((limits.max_requests, limits.queue_seconds), (7, 0.5));
        assert_eq!(limits.max_streams, Limits::default().max_streams);
        assert_eq!(limits.check(), Ok(()));
        for (value, key) in [
            (json!({"max_streams": 0}), "max_streams"),
            (json!({"max_head_bytes": 10}), "max_head_bytes"),
            (json!({"head_seconds": 0.0}), "head_seconds"),
            (json!({"queue_seconds": -1.0}), "queue_seconds"),
        ] {
            let limits: Limits = serde_json::from_value(value).unwrap();
            assert!(limits.check().unwrap_err().contains(key));
        }
    }
}
