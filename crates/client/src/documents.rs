//! Authenticated calls: JSON:API documents and plain JSON.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};

use crate::auth::TokenSource;
use crate::error::{Error, Result};
use crate::object::{Fetched, Object, unpack};
use crate::query::Query;
use crate::transport::{Endpoint, Request, Response};

/// A logged-in client of one instance. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    tokens: Arc<dyn TokenSource>,
    server_version: Arc<Mutex<Option<String>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.endpoint).finish()
    }
}

impl Client {
    /// Nothing is sent before the first call.
    pub fn new(endpoint: Endpoint, tokens: Arc<dyn TokenSource>) -> Self {
        Self {
            endpoint,
            tokens,
            server_version: Arc::default(),
        }
    }

    /// The instance.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Address of the instance, as configured.
    pub fn address(&self) -> &str {
        self.endpoint.address()
    }

    /// `meta.version` of the last document that had one.
    pub fn server_version(&self) -> Option<String> {
        self.server_version.lock().ok()?.clone()
    }

    /// Sends a request with a bearer token. If the server no longer knows the token, it is renewed and the request
    /// repeated once, if its body allows that.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let again = request.try_clone();
        let token = self.tokens.access_token(&self.endpoint).await?;
        let error = match self.endpoint.send(request.bearer(&token)).await {
            Err(error @ Error::Status { status: 401 | 403, .. }) => error,
            other => return other,
        };
        let Some(request) = again else { return Err(error) };
        if !self.is_unknown(&error, &token).await || !self.tokens.reject(&token).await {
            return Err(error);
        }
        let token = self.tokens.access_token(&self.endpoint).await?;
        self.endpoint.send(request.bearer(&token)).await
    }

    /// Whether an error means that the token is not valid any more. A server takes a request with such a token for
    /// one without any, so a 403 may mean that, too; asking who the user is tells.
    async fn is_unknown(&self, error: &Error, token: &str) -> bool {
        error.status() == Some(401) || {
            let who = Request::new(Method::GET, "user").bearer(token);
            self.endpoint
                .send(who)
                .await
                .is_err_and(|error| error.status() == Some(401))
        }
    }

    /// Sends a request and gives the JSON of the answer, `Null` if it has none.
    pub async fn json(&self, request: Request) -> Result<Value> {
        let value = self.send(request).await?.json().await?;
        if let Some(version) = value.pointer("/meta/version").and_then(Value::as_str)
            && let Ok(mut slot) = self.server_version.lock()
        {
            *slot = Some(version.to_owned());
        }
        Ok(value)
    }

    /// `GET`, plain JSON.
    pub async fn get_json(&self, path: &str, query: Query) -> Result<Value> {
        self.json(Request::new(Method::GET, path).query(query)).await
    }

    /// `POST` of plain JSON.
    pub async fn post_json(&self, path: &str, query: Query, body: &Value) -> Result<Value> {
        self.json(Request::new(Method::POST, path).query(query).json(body))
            .await
    }

    /// `GET` of a document.
    pub async fn fetch(&self, path: &str, query: Query) -> Result<Fetched> {
        let document = self.get_json(path, query).await?;
        self.unpacked(document)
    }

    /// `GET` of exactly one object, sent alone or as a list of one. The plural of its type is the first part of `path`.
    pub async fn fetch_one(&self, path: &str, query: Query) -> Result<Object> {
        let kind = path.split('/').next().unwrap_or(path);
        match self.fetch(path, query).await? {
            Fetched::One(object) if !object.is_empty() => Ok(object),
            Fetched::Many(mut list) if list.len() == 1 => Ok(list.remove(0)),
            Fetched::Many(list) => Err(Error::Usage(format!(
                "Got {} {kind} when expecting exactly 1.",
                list.len()
            ))),
            Fetched::One(_) | Fetched::Meta(_) => Err(self.no_data(path)),
        }
    }

    /// `GET` of a list.
    pub async fn fetch_list(&self, path: &str, query: Query) -> Result<Vec<Object>> {
        match self.fetch(path, query).await? {
            Fetched::Many(list) => Ok(list),
            Fetched::One(object) => Ok(vec![object]),
            Fetched::Meta(_) => Err(self.no_data(path)),
        }
    }

    /// Creates objects: `POST` with a list of resources, see [`crate::resource`]. Gives what the server sent back.
    pub async fn create(&self, path: &str, query: Query, resources: Vec<Value>) -> Result<Vec<Object>> {
        self.write(Method::POST, path, query, resources).await
    }

    /// Changes objects: `PATCH` with a list of resources.
    pub async fn update(&self, path: &str, query: Query, resources: Vec<Value>) -> Result<Vec<Object>> {
        self.write(Method::PATCH, path, query, resources).await
    }

    /// Deletes the objects `ids` of the type named by `path`; gives the document's `meta`.
    pub async fn delete(&self, path: &str, query: Query, ids: &[String]) -> Result<Object> {
        let data: Vec<Value> = ids.iter().map(|id| json!({"type": path, "id": id})).collect();
        let request = Request::new(Method::DELETE, path)
            .query(query)
            .json(&json!({"data": data}));
        let document = self.json(request).await?;
        match self.unpacked(document)? {
            Fetched::Meta(meta) => Ok(meta),
            Fetched::One(_) | Fetched::Many(_) => Ok(Object::new()),
        }
    }

    async fn write(&self, method: Method, path: &str, query: Query, resources: Vec<Value>) -> Result<Vec<Object>> {
        let request = Request::new(method, path)
            .query(query)
            .json(&json!({"data": resources}));
        let document = self.json(request).await?;
        match self.unpacked(document)? {
            Fetched::Many(list) => Ok(list),
            Fetched::One(object) => Ok(vec![object]),
            Fetched::Meta(_) => Ok(Vec::new()),
        }
    }

    fn unpacked(&self, document: Value) -> Result<Fetched> {
        unpack(document).map_err(|reason| Error::BadAnswer {
            address: self.address().to_owned(),
            reason,
        })
    }

    fn no_data(&self, path: &str) -> Error {
        Error::BadAnswer {
            address: self.address().to_owned(),
            reason: format!("no data in the answer to GET /rest/{path}; is this a CodaLab server?"),
        }
    }
}
