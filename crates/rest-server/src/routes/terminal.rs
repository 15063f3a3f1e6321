//! `POST /cli/command`: the web terminal. The commands are those of the command line, run here as the user who typed them.

use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use crate::auth::Protected;
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::inside;
use crate::openapi::WriteFailures;
use crate::origin;
use crate::respond;
use crate::state::AppState;
use api::openapi;

/// What the terminal of the browser asks for.
#[derive(Debug, PartialEq)]
struct CommandRequest {
    /// Current worksheet; none is the home worksheet.
    worksheet: Option<String>,
    /// The words of the command, without a leading `cl`. Never empty.
    words: Vec<String>,
    /// Complete the last word instead of executing.
    autocomplete: bool,
}

/// Executes a command, or completes it.
#[utoipa::path(
    post,
    path = "/cli/command",
    tag = "terminal",
    summary = "A command of the web terminal: its output, or completions of its last word.",
    request_body(content = openapi::AnyAttributes, content_type = "application/json"),
    responses(
        (status = 200, description = "The output, or the completions", body = openapi::AnyAttributes, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn command(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    headers: HeaderMap,
    body: JsonBody,
) -> ApiResult {
    let request = CommandRequest::read(&body.object())?;
    let address = match &state.config.public_url {
        Some(address) => address.clone(),
        None => origin::of_request(&headers),
    };
    let client = inside::client(&state, &viewer, &address);
    let worksheet = request.worksheet.unwrap_or_default();
    let mut answer = Map::new();
    if request.autocomplete {
        let completions = cl::complete_on_web(&request.words, client, &worksheet).await;
        answer.insert("completions".to_owned(), Value::from(completions));
    } else {
        let outcome = cl::run_on_web(request.words, client, &worksheet)
            .await
            .map_err(failure)?;
        answer.insert(
            "structured_result".to_owned(),
            outcome.structured.unwrap_or(Value::Null),
        );
        answer.insert("output".to_owned(), Value::from(outcome.output));
    }
    Ok(respond::json_object(answer, &state.settings.version))
}

/// What a command failed with is what the request fails with.
fn failure(error: cl::WebError) -> ApiError {
    match StatusCode::from_u16(error.status) {
        Ok(status) if status.is_client_error() => ApiError::Status(status, error.message),
        _ => ApiError::internal(error.message),
    }
}

impl CommandRequest {
    fn read(body: &Map<String, Value>) -> ApiResult<Self> {
        let worksheet = match body.get("worksheet_uuid") {
            // The clients know the message by its spelling.
            None => return Err(ApiError::usage("Missing `workhseet_uuid`")),
            Some(Value::Null) => None,
            Some(Value::String(uuid)) => Some(uuid.clone()).filter(|uuid| !uuid.is_empty()),
            Some(_) => return Err(ApiError::usage("worksheet_uuid: Not a valid string.")),
        };
        let mut words = match body.get("command") {
            None => return Err(ApiError::usage("Missing `command`")),
            Some(Value::String(text)) => split(text).map_err(ApiError::usage)?,
            Some(Value::Array(words)) => words
                .iter()
                .map(|word| word.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| ApiError::usage("command: Not a valid list of words."))?,
            Some(_) => return Err(ApiError::usage("command: Not a text or a list of words.")),
        };
        if words.first().is_some_and(|word| word == "cl") {
            words.remove(0);
        }
        let autocomplete = body.get("autocomplete") == Some(&Value::Bool(true));
        let ends_in_blank = body
            .get("command")
            .and_then(Value::as_str)
            .is_some_and(|text| text.ends_with(char::is_whitespace));
        if autocomplete && (ends_in_blank || words.is_empty()) {
            // The word to complete has not been begun.
            words.push(String::new());
        } else if words.is_empty() {
            words.push("help".to_owned());
        }
        Ok(Self {
            worksheet,
            words,
            autocomplete,
        })
    }
}

/// The words of a command line: separated by blanks, with the quotes of the shell and nothing else of it. Within quotes
/// of both kinds a backslash protects the quote and itself; outside it protects every character. `#` begins a comment.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '#' => {
                for c in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
                words.extend(word.take());
            }
            '\\' => {
                let escaped = chars.next().ok_or("No escaped character")?;
                word.get_or_insert_default().push(escaped);
            }
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("No closing quotation")? {
                        end if end == c => break,
                        '\\' if chars.peek().is_some_and(|next| *next == c || *next == '\\') => {
                            word.extend(chars.next());
                        }
                        other => word.push(other),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn command_lines_are_split_as_the_terminal_of_1_7_does() {
        for (text, expected) in [
            ("run 'a b' --name=x", &["run", "a b", "--name=x"][..]),
            ("run \"it's\" 'say \"x\"'", &["run", "it's", "say \"x\""]),
            (r"'it\'s' 'a\\b' 'a\b'", &["it's", r"a\b", r"a\b"]),
            (r#""a\"b" a\ b"#, &["a\"b", "a b"]),
            ("ls # all of them\nwls", &["ls", "wls"]),
            ("ls ab#c d", &["ls", "ab"]),
            ("a;b|c", &["a;b|c"]),
            ("x '' y", &["x", "", "y"]),
            ("  ", &[]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        for text in ["'open", "\"open", "a 'b\\'"] {
            assert_eq!(split(text), Err("No closing quotation"), "{text}");
        }
    }

    #[test]
    fn requests_are_checked_before_anything_runs() {
        let read = |value: Value| CommandRequest::read(value.as_object().unwrap());
        for (body, message) in [
            (json!({"command": "ls"}), "Missing `workhseet_uuid`"),
            (json!({"worksheet_uuid": null}), "Missing `command`"),
            (
                json!({"worksheet_uuid": 3, "command": "ls"}),
                "worksheet_uuid: Not a valid string.",
            ),
            (
                json!({"worksheet_uuid": null, "command": 3}),
                "command: Not a text or a list of words.",
            ),
            (
                json!({"worksheet_uuid": null, "command": [1]}),
                "command: Not a valid list of words.",
            ),
            (json!({"worksheet_uuid": null, "command": "'"}), "No closing quotation"),
        ] {
            assert_eq!(read(body).unwrap_err().message(), message);
        }
        let request =
            read(json!({"worksheet_uuid": "0x1", "command": ["cl", "ls", "-u"], "autocomplete": true})).unwrap();
        assert_eq!(request.words, ["ls", "-u"]);
        assert_eq!(
            (request.worksheet.as_deref(), request.autocomplete),
            (Some("0x1"), true)
        );
        assert_eq!(
            read(json!({"worksheet_uuid": null, "command": ""})).unwrap().words,
            ["help"]
        );
        for (text, words) in [
            ("cl wor", &["wor"][..]),
            ("cat ", &["cat", ""]),
            ("", &[""]),
            ("cl", &[""]),
        ] {
            let body = json!({"worksheet_uuid": null, "command": text, "autocomplete": true});
            assert_eq!(read(body).unwrap().words, words);
        }
    }
}
