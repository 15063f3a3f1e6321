//! The calls of a worker: check-in, start of a run, answers to read requests.

use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::Value;

use crate::documents::Client;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::transport::{Body, Request, encode_path};

impl Client {
    /// Checks in; gives the messages for the worker, oldest first. `timeout` covers the server's wait for a message.
    pub async fn check_in(&self, worker_id: &str, report: &impl Serialize, timeout: Duration) -> Result<Vec<Value>> {
        let path = format!("workers/{}/checkin", encode_path(worker_id));
        let request = Request::new(Method::POST, path)
            .json(&to_json(report)?)
            .timeout(timeout);
        match self.json(request).await? {
            Value::Array(messages) => Ok(messages.into_iter().filter(|message| !message.is_null()).collect()),
            Value::Null => Ok(Vec::new()),
            message @ Value::Object(_) => Ok(vec![message]),
            _ => Err(Error::BadAnswer {
                address: self.address().to_owned(),
                reason: "the answer to the check-in is not a list of messages".to_owned(),
            }),
        }
    }

    /// Asks whether this worker may start the bundle; `start_time` in Unix seconds.
    pub async fn start_bundle(&self, worker_id: &str, uuid: &str, hostname: &str, start_time: i64) -> Result<bool> {
        let path = format!("workers/{}/start_bundle/{uuid}", encode_path(worker_id));
        let body = serde_json::json!({"hostname": hostname, "start_time": start_time});
        Ok(self.post_json(&path, Query::new(), &body).await? == Value::Bool(true))
    }

    /// Answers a read request with a JSON message.
    pub async fn reply(&self, worker_id: &str, socket_id: i64, message: &impl Serialize) -> Result<()> {
        let path = format!("workers/{}/reply/{socket_id}", encode_path(worker_id));
        self.send(Request::new(Method::POST, path).json(&to_json(message)?))
            .await
            .map(drop)
    }

    /// Answers a read request with a JSON header and data.
    pub async fn reply_data(&self, worker_id: &str, socket_id: i64, header: &Value, body: Body) -> Result<()> {
        let path = format!("workers/{}/reply_data/{socket_id}", encode_path(worker_id));
        let query = Query::new().with("header_message", header.to_string());
        self.send(Request::new(Method::POST, path).query(query).body(body))
            .await
            .map(drop)
    }
}

fn to_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::Usage(format!("cannot encode a message as JSON: {error}")))
}
