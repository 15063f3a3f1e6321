//! The notation of the contract rows. `rows/*.http` are written in it; CONTRIBUTING.md shows how to add one.
//!
//! ```text
//! ## Condition, with the section of the API document (11.1)
//! given dataset D of alice
//! > bob GET /bundles/$D?include=owner
//! X-Some-Header: value
//! < 200
//! Content-Type: application/json
//! {"data": {"type": "bundles", "id": "$D", "...": "..."}}
//! ```
//!
//! Every row ends with the exchange that is tested; `given` lines and earlier exchanges prepare it.

use std::fmt;

/// One condition of the contract.
#[derive(Clone, Debug)]
pub struct Row {
    pub title: String,
    pub line: usize,
    pub steps: Vec<Step>,
}

impl Row {
    /// The exchange that the row is about.
    pub fn tested(&self) -> Option<&Exchange> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Exchange(exchange) => Some(exchange),
            Step::Given(..) => None,
        })
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    /// A preparation that `scene` knows; with its line.
    Given(usize, String),
    Exchange(Exchange),
}

/// A request and what must come back.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub line: usize,
    /// `anonymous` or the name of an account.
    pub role: String,
    /// Sent as a browser's page does: without `X-Requested-With`.
    pub page: bool,
    pub method: String,
    /// Below `/rest`, unless it starts with `//`.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    pub status: u16,
    /// Patterns; `-` means that the header must be absent.
    pub expected_headers: Vec<(String, String)>,
    pub expected: Expected,
}

#[derive(Clone, Debug)]
pub enum Body {
    None,
    /// Starts with a bracket; sent as it stands, labelled `application/json`.
    Json(String),
    /// `form a=b&c=d`
    Form(String),
    /// `multipart a=b&c=d`: the same fields as `multipart/form-data`, taken as they stand.
    Multipart(String),
    /// `| text` lines, joined with newlines, labelled `text/plain`.
    Text(String),
    /// `archive NAME=TEXT ...`: a gzip-compressed tar of these files.
    Archive(Vec<(String, String)>),
}

#[derive(Clone, Debug)]
pub enum Expected {
    /// `(any)`
    Any,
    /// `(empty)`
    Empty,
    /// A JSON pattern.
    Json(String),
    /// `| text` lines: the whole body.
    Text(String),
    /// `<pre> text`: the first `<pre>` of a page.
    Pre(String),
    /// `gzip | text` lines: the body when unpacked.
    Gzip(String),
}

#[derive(Debug)]
pub struct Malformed {
    line: usize,
    what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads a file of rows.
pub fn parse(text: &str) -> Result<Vec<Row>, Malformed> {
    let mut rows: Vec<Row> = Vec::new();
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_end()))
        .peekable();
    while let Some((number, line)) = lines.next() {
        let wrong = |what: &str| Malformed {
            line: number,
            what: format!("{what}: {line}"),
        };
        if let Some(title) = line.strip_prefix("## ") {
            rows.push(Row {
                title: title.trim().to_owned(),
                line: number,
                steps: Vec::new(),
            });
        } else if line.is_empty() || line.starts_with("# ") || line == "#" {
        } else {
            let row = rows.last_mut().ok_or_else(|| wrong("before the first row"))?;
            if let Some(given) = line.strip_prefix("given ") {
                row.steps.push(Step::Given(number, given.trim().to_owned()));
            } else if let Some(request) = line.strip_prefix("> ") {
                let mut block = Vec::new();
                while let Some((_, next)) = lines.peek() {
                    if next.starts_with("## ") || next.starts_with("> ") || next.starts_with("given ") {
                        break;
                    }
                    block.extend(lines.next());
                }
                row.steps.push(Step::Exchange(exchange(number, request, &block)?));
            } else {
                return Err(wrong("neither a row, a given nor a request"));
            }
        }
    }
    for row in &rows {
        if row.tested().is_none() {
            return Err(Malformed {
                line: row.line,
                what: "a row without a request".to_owned(),
            });
        }
    }
    Ok(rows)
}

fn exchange(line: usize, request: &str, block: &[(usize, &str)]) -> Result<Exchange, Malformed> {
    let wrong = |what: &str| Malformed {
        line,
        what: format!("{what}: {request}"),
    };
    let mut words = request.splitn(2, ' ');
    let role = words.next().unwrap_or_default().to_owned();
    let mut rest = words.next().ok_or_else(|| wrong("no method"))?;
    let page = rest.starts_with("page ");
    if page {
        rest = &rest["page ".len()..];
    }
    let (method, path) = rest.split_once(' ').ok_or_else(|| wrong("no path"))?;
    let answer = block
        .iter()
        .position(|(_, text)| text.starts_with("< "))
        .ok_or_else(|| wrong("no `< status`"))?;
    let status = block[answer].1["< ".len()..]
        .trim()
        .parse()
        .map_err(|_| wrong("no status"))?;
    let (headers, body) = headers_and_rest(&block[..answer]);
    let (expected_headers, expected) = headers_and_rest(&block[answer + 1..]);
    Ok(Exchange {
        line,
        role,
        page,
        method: method.to_owned(),
        path: path.trim().to_owned(),
        headers,
        body: body_of(&body).ok_or_else(|| wrong("a body in no known form"))?,
        status,
        expected_headers,
        expected: expected_of(&expected).ok_or_else(|| wrong("an expectation in no known form"))?,
    })
}

fn headers_and_rest(block: &[(usize, &str)]) -> (Vec<(String, String)>, Vec<String>) {
    let mut headers = Vec::new();
    let mut rest: Vec<String> = Vec::new();
    for (_, line) in block {
        if line.starts_with("# ") || (line.is_empty() && rest.is_empty()) {
            continue;
        }
        let header = line.split_once(": ").filter(|(name, _)| {
            rest.is_empty()
                && name.starts_with(|first: char| first.is_ascii_uppercase())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
        match header {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => rest.push((*line).to_owned()),
        }
    }
    while rest.last().is_some_and(String::is_empty) {
        rest.pop();
    }
    (headers, rest)
}

fn body_of(lines: &[String]) -> Option<Body> {
    let Some(first) = lines.first() else {
        return Some(Body::None);
    };
    if first.starts_with(['{', '[']) {
        return Some(Body::Json(lines.join("\n")));
    }
    if let Some(form) = first.strip_prefix("form ") {
        return Some(Body::Form(form.to_owned()));
    }
    if let Some(form) = first.strip_prefix("multipart ") {
        return Some(Body::Multipart(form.to_owned()));
    }
    if let Some(files) = first.strip_prefix("archive ") {
        let files = files.split(' ').map(|file| {
            let (name, text) = file.split_once('=')?;
            Some((name.to_owned(), text.to_owned()))
        });
        return Some(Body::Archive(files.collect::<Option<_>>()?));
    }
    Some(Body::Text(bar_lines(lines, "|")?))
}

fn expected_of(lines: &[String]) -> Option<Expected> {
    let first = lines.first()?;
    match first.as_str() {
        "(any)" => return Some(Expected::Any),
        "(empty)" => return Some(Expected::Empty),
        _ => {}
    }
    if first.starts_with('|') {
        return Some(Expected::Text(bar_lines(lines, "|")?));
    }
    if first.starts_with("gzip |") {
        return Some(Expected::Gzip(bar_lines(lines, "gzip |")?));
    }
    if let Some(text) = first.strip_prefix("<pre> ") {
        return Some(Expected::Pre(text.to_owned()));
    }
    Some(Expected::Json(lines.join("\n")))
}

fn bar_lines(lines: &[String], bar: &str) -> Option<String> {
    let lines: Option<Vec<&str>> = lines
        .iter()
        .map(|line| {
            let rest = line.strip_prefix(bar)?;
            Some(rest.strip_prefix(' ').unwrap_or(rest))
        })
        .collect();
    Some(lines?.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_preparations_a_request_and_an_expectation() {
        let text = "# about\n\n## It works (1.1)\ngiven dataset D of alice\n> bob page POST /x?a=b c\nA-B: c d\n\n| one\n|\n| two\n< 400\nX: -\n\n| no…\n";
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].title, "It works (1.1)");
        let exchange = rows[0].tested().unwrap();
        assert!(exchange.page);
        assert_eq!(exchange.path, "/x?a=b c");
        assert_eq!(exchange.headers, [("A-B".to_owned(), "c d".to_owned())]);
        assert!(matches!(&exchange.body, Body::Text(text) if text == "one\n\ntwo"));
        assert_eq!(exchange.status, 400);
        assert_eq!(exchange.expected_headers, [("X".to_owned(), "-".to_owned())]);
        assert!(matches!(&exchange.expected, Expected::Text(text) if text == "no…"));
    }

    #[test]
    fn a_row_without_an_expectation_is_refused() {
        assert!(parse("## x\n> a GET /\n< 200\n").is_err());
        assert!(parse("## x\n").is_err());
    }
}
