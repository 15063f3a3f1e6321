//! Answers that many operations share, as the OpenAPI description shows them.

use std::collections::BTreeMap;

use api::openapi::TokenRefusal;
use utoipa::openapi::{Content, ContentBuilder, RefOr, Response, ResponseBuilder, Type, schema::ObjectBuilder};
use utoipa::{IntoResponses, PartialSchema};

type Responses = BTreeMap<String, RefOr<Response>>;

/// What every guarded operation may answer instead.
pub struct Failures;
/// The same for operations with a body.
pub struct WriteFailures;
/// What forms of the browser may answer.
pub struct FormFailures;
/// What an open operation may answer instead.
pub struct ServerFailures;
/// Refusals of the OAuth2 endpoints.
pub struct TokenRefusals;
/// Parts of a file, for browsers.
pub struct PartAnswers;

const SERVER: [(u16, &str); 2] = [
    (
        500,
        "The server failed; the text has the request id for its administrators",
    ),
    (503, "The server is busy or ends; try again after `Retry-After`"),
];
const READ: [(u16, &str); 6] = [
    (303, "For a browser that is not logged in: to the login page"),
    (400, "The request is malformed or asks for something that cannot be"),
    (401, "The caller is not logged in, not verified, or not given access"),
    (403, "The caller may not do this"),
    (404, "Something that the request names does not exist"),
    (429, "Too many tries; try again after `Retry-After`"),
];
const WRITE: [(u16, &str); 3] = [
    (408, "The body did not arrive in time"),
    (409, "The name is taken"),
    (413, "The body is too large"),
];

impl IntoResponses for Failures {
    fn responses() -> Responses {
        texts(READ.iter().chain(&SERVER))
    }
}

impl IntoResponses for WriteFailures {
    fn responses() -> Responses {
        texts(READ.iter().chain(&WRITE).chain(&SERVER))
    }
}

impl IntoResponses for FormFailures {
    fn responses() -> Responses {
        let own = [
            (303, "To where the form says"),
            (400, "The form is malformed"),
            (403, "Another site sent the form"),
        ];
        texts(own.iter().chain(&WRITE).chain(&SERVER))
    }
}

impl IntoResponses for ServerFailures {
    fn responses() -> Responses {
        texts(WRITE.iter().chain(&SERVER))
    }
}

impl IntoResponses for TokenRefusals {
    fn responses() -> Responses {
        [
            (400, "The request is malformed"),
            (401, "Wrong client, credentials or token"),
            (429, "Too many tries; try again after `Retry-After`"),
        ]
        .into_iter()
        .map(|(status, description)| {
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/json", Content::new(Some(TokenRefusal::schema())));
            (status.to_string(), response.build().into())
        })
        .collect()
    }
}

impl IntoResponses for PartAnswers {
    fn responses() -> Responses {
        let bytes = ResponseBuilder::new()
            .description("The part that `Range` asks for")
            .content("*/*", Content::default());
        let mut responses = texts([(416, "The part lies beyond the end")].iter());
        responses.insert("206".to_owned(), bytes.build().into());
        responses
    }
}

/// A failure is a text for programs and a page for browsers.
fn texts<'a>(statuses: impl Iterator<Item = &'a (u16, &'a str)>) -> Responses {
    statuses
        .map(|(status, description)| {
            let response = ResponseBuilder::new().description(*description);
            let response = if *status == 303 {
                response
            } else {
                response.content("text/plain", text()).content("text/html", text())
            };
            (status.to_string(), response.build().into())
        })
        .collect()
}

fn text() -> Content {
    let schema = ObjectBuilder::new().schema_type(Type::String).build();
    ContentBuilder::new().schema(Some(schema)).build()
}
