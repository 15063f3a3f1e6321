//! Load over kept-alive HTTP/1.1 connections: each asks again as soon as it has its answer.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub struct Target {
    pub method: &'static str,
    pub path: String,
    /// Value of the `Authorization` header.
    pub authorization: String,
    /// JSON text; empty for none.
    pub body: Bytes,
}

/// What a load showed.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub answers: usize,
    pub per_second: f64,
    pub median: Duration,
    /// 99 of 100 answers came at least this fast.
    pub slowest_percent: Duration,
}

/// Sends requests over so many connections until `span` has passed; an answer other than 200 ends it with an error.
pub async fn run(port: u16, target: &Target, connections: usize, span: Duration) -> Result<Figures, String> {
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for _ in 0..connections {
        tasks.spawn(one_connection(port, target.clone(), started + span));
    }
    let mut times = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        times.extend(outcome.map_err(|error| error.to_string())??);
    }
    let elapsed = started.elapsed();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Figures {
        answers: times.len(),
        per_second: times.len() as f64 / elapsed.as_secs_f64(),
        median: at(0.5),
        slowest_percent: at(0.99),
    })
}

/// At least one request, however slow.
async fn one_connection(port: u16, target: Target, end: Instant) -> Result<Vec<Duration>, String> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let mut times = Vec::new();
    loop {
        let asked = Instant::now();
        let (status, body) = ask(&mut sender, port, &target).await?;
        times.push(asked.elapsed());
        if status != StatusCode::OK {
            return Err(format!(
                "{} {}: {status} {}",
                target.method,
                target.path,
                String::from_utf8_lossy(&body)
            ));
        }
        if Instant::now() >= end {
            return Ok(times);
        }
    }
}

/// One request and its whole answer.
pub async fn ask(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    port: u16,
    target: &Target,
) -> Result<(StatusCode, Bytes), String> {
    let mut request = Request::builder()
        .method(target.method)
        .uri(&target.path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("authorization", &target.authorization)
        .header("x-requested-with", "XMLHttpRequest");
    if !target.body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request
        .body(Full::new(target.body.clone()))
        .map_err(|error| error.to_string())?;
    sender.ready().await.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}
