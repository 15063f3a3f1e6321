//! What the benchmarks ask of any running server: a token, and how much memory it uses.

use std::fs;

use serde_json::Value;

/// A token of an account, as the command line gets one.
pub async fn token(address: &str, user: &str, password: &str) -> Result<String, String> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let form = [("grant_type", "password"), ("username", user), ("password", password)];
    let request = reqwest::Client::new()
        .post(format!("{address}/rest/oauth2/token"))
        .form(&form);
    let answer = request.basic_auth("codalab_cli_client", Some("")).send().await;
    let answer = answer.map_err(|error| error.to_string())?;
    let body: Value = answer.json().await.map_err(|error| error.to_string())?;
    body["access_token"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("no token in {body}"))
}

/// A line of `/proc/<pid>/status` in KiB (`VmRSS` now, `VmHWM` the peak); 0 where there is none.
pub fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}
