//! One HTTP exchange over a socket, written byte by byte: no library in between that would tidy up a path, a header or a
//! body, and nothing hidden of what comes back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No exchange of these tests may take longer.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// As it stands in the request line.
    pub target: Vec<u8>,
    /// `HTTP/1.1` unless a test says otherwise.
    pub version: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: impl Into<Vec<u8>>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name))
    }

    fn head(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} ", self.method).into_bytes();
        head.extend_from_slice(&self.target);
        head.extend_from_slice(format!(" {}\r\n", self.version).as_bytes());
        if !self.has("host") {
            head.extend_from_slice(format!("Host: {address}\r\n").as_bytes());
        }
        head.extend_from_slice(b"Connection: close\r\n");
        let bodiless = self.body.is_empty() && matches!(self.method.as_str(), "GET" | "HEAD");
        if !bodiless && !self.has("transfer-encoding") && !self.has("content-length") {
            head.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        for (name, value) in &self.headers {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Without the transfer encoding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header; several are joined with a comma.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request on a connection of its own and reads the answer to its end.
pub async fn send(address: SocketAddr, request: &Request) -> io::Result<Answer> {
    let mut bytes = request.head(address);
    bytes.extend_from_slice(&request.body);
    let answer = send_bytes(address, &bytes).await?;
    parse(&answer, request.method == "HEAD")
}

/// Writes these bytes to a new connection and gives everything that comes back until the server closes it.
pub async fn send_bytes(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        // A server may refuse a body before all of it has arrived; what it said counts.
        let write = async {
            let _ = writer.write_all(bytes).await;
        };
        let ((), read) = tokio::join!(write, reader.read_to_end(&mut answer));
        match read {
            Err(error) if answer.is_empty() => Err(error),
            _ => Ok(answer),
        }
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))?
}

/// Takes an answer apart.
pub fn parse(bytes: &[u8], bodiless: bool) -> io::Result<Answer> {
    let broken = |what: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{what}: {:?}", String::from_utf8_lossy(bytes)),
        )
    };
    let mut rest = bytes;
    loop {
        let end = find(rest, b"\r\n\r\n").ok_or_else(|| broken("an answer without a complete head"))?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| broken("a head that is not UTF-8"))?;
        let body = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status: u16 = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|line| line.get(2..5))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| broken("a malformed status line"))?;
        if status < 200 {
            rest = body;
            continue;
        }
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| broken("a malformed header"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: body.to_vec(),
        };
        if answer
            .header("transfer-encoding")
            .is_some_and(|value| value.contains("chunked"))
            && !bodiless
        {
            answer.body = dechunk(body).ok_or_else(|| broken("a cut-off chunked body"))?;
        } else if let Some(length) = answer.header("content-length").filter(|_| !bodiless) {
            let length: usize = length.parse().map_err(|_| broken("a malformed length"))?;
            if body.len() < length {
                return Err(broken("a body shorter than its length"));
            }
            answer.body.truncate(length);
        }
        return Ok(answer);
    }
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = find(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
