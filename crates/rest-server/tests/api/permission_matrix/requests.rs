//! One well-formed request per route: it would succeed for somebody who may do it.

use reqwest::Method;
use serde_json::{Value, json};

use super::scene::{BUSY_WORKER, Objects, Scene};

pub struct Request {
    pub method: Method,
    pub path: String,
    pub body: Body,
    /// A full answer contains what only readers may see.
    pub shows_object: bool,
}

pub enum Body {
    None,
    Form(Vec<(&'static str, &'static str)>),
    Json(Value),
    Text(String),
}

/// The request for a row such as `GET /rest/bundles/{uuid}`.
pub fn request(route: &str, scene: &Scene, objects: &Objects) -> Request {
    let (method, template) = route.split_once(' ').unwrap();
    let bundle = match (method, template) {
        ("PUT" | "PATCH", _) if template.contains("/contents/") => objects.upload,
        ("POST", "/rest/bundles/{uuid}/state") => objects.upload,
        (_, "/rest/workers/{worker_id}/start_bundle/{uuid}") => objects.run,
        (_, template) if template.contains("/netcat/") => objects.run,
        (_, template) if template.contains("worksheet") => objects.worksheet,
        _ => objects.data,
    };
    let spec = if template.contains("groups") {
        objects.crew.to_string()
    } else {
        "owner".to_owned()
    };
    let store = if template.starts_with("/rest/bundle_stores") {
        scene.store
    } else {
        bundle
    };
    let path = template
        .replace("bundle_stores/{uuid}", &format!("bundle_stores/{store}"))
        .replace("{uuid}", bundle.as_str())
        .replace("{store_uuid}", scene.store.as_str())
        .replace("{spec}", &spec)
        .replace("{*path}", "nowhere")
        .replace("{key}", "0123456789abcdef0123456789abcdef")
        .replace("{code}", "0123456789abcdef0123456789abcdef")
        .replace("{port}", "8080")
        .replace("{worker_id}", "mine")
        .replace("{socket_id}", &scene.socket.to_string());
    Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: path + &query(method, template, objects),
        body: body(method, template, objects),
        shows_object: shows_object(method, template),
    }
}

fn shows_object(method: &str, template: &str) -> bool {
    let reading = method == "GET" || template.starts_with("/rest/interpret/");
    reading
        && (template.contains("worksheets/{uuid}")
            || template.contains("worksheet/{uuid}")
            || template.contains("contents/blob")
            || [
                "/rest/bundles",
                "/rest/bundles/{uuid}",
                "/rest/worksheets",
                "/rest/workers/info",
                "/rest/interpret/wsearch",
                "/rest/interpret/genpath-table-contents",
                "/rest/interpret/file-genpaths",
            ]
            .contains(&template))
}

fn query(method: &str, template: &str, objects: &Objects) -> String {
    match (method, template) {
        ("GET", "/rest/bundles") => format!("?specs={}", objects.data),
        ("POST", "/rest/bundles") => format!("?worksheet={}", objects.worksheet),
        ("DELETE", "/rest/bundles" | "/rest/worksheets") => "?force=1".to_owned(),
        ("GET", "/rest/bundles/locations") => format!("?uuids={}", objects.data),
        ("GET", "/rest/worksheets") => format!("?specs={}", objects.worksheet),
        ("GET", "/rest/worksheets/") | ("POST", "/rest/worksheet-items") => format!("?uuid={}", objects.worksheet),
        ("PUT", _) if template.contains("contents/blob") => "?filename=data.txt".to_owned(),
        (_, "/rest/workers/{worker_id}/reply_data/{socket_id}") => "?header_message=%7B%7D".to_owned(),
        _ => String::new(),
    }
}

fn body(method: &str, template: &str, objects: &Objects) -> Body {
    let linkage = |kind: &str, id: &str| json!({"data": {"type": kind, "id": id}});
    let value = match (method, template) {
        ("GET", _) | ("POST", "/rest/bundles/{uuid}/state") => return Body::None,
        (_, "/rest/worksheets/{uuid}/raw" | "/rest/workers/{worker_id}/reply_data/{socket_id}") => {
            return Body::Text("text".to_owned());
        }
        ("PUT", _) if template.contains("contents/blob") => return Body::Text("text".to_owned()),
        ("POST", _) if template.starts_with("/rest/account/") || template.starts_with("/rest/oauth2/") => {
            return Body::Form(vec![("username", "nobody"), ("password", "wrong-password")]);
        }
        ("PATCH", "/rest/user") => json!({"data": {"type": "users", "attributes": {"first_name": "Ada"}}}),
        (_, "/rest/user/increment_disk_used") => json!({"data": [{"type": "user/increment_disk_used",
            "attributes": {"disk_used_increment": 1, "bundle_uuid": objects.upload}}]}),
        ("PATCH", "/rest/users") => {
            json!({"data": [{"type": "users", "id": objects.victim, "attributes": {"disk_quota": 5}}]})
        }
        ("DELETE", "/rest/users") => linkage("users", &objects.victim),
        ("POST", "/rest/groups") => {
            let name = format!("g{}", uuid::Uuid::new_v4().simple());
            json!({"data": [{"type": "groups", "attributes": {"name": name}}]})
        }
        ("DELETE", "/rest/groups") => linkage("groups", objects.crew.as_str()),
        ("POST", "/rest/groups/{spec}/relationships/members" | "/rest/groups/{spec}/relationships/admins") => {
            linkage("users", "worker")
        }
        ("DELETE", "/rest/groups/{spec}/relationships/members" | "/rest/groups/{spec}/relationships/admins") => {
            linkage("users", "reader")
        }
        (_, "/rest/bundle-permissions") => permission("bundle", objects.data.as_str()),
        (_, "/rest/worksheet-permissions") => permission("worksheet", objects.worksheet.as_str()),
        ("POST", "/rest/bundles") => json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "dataset",
            "metadata": {"name": "new", "description": "", "tags": [], "license": "", "source_url": ""}}}]}),
        ("PATCH", "/rest/bundles") => json!({"data": [{"type": "bundles", "id": objects.data,
            "attributes": {"metadata": {"description": "changed"}}}]}),
        ("DELETE", "/rest/bundles") => linkage("bundles", objects.data.as_str()),
        (_, "/rest/bundle-actions") => {
            json!({"data": [{"type": "bundle-actions", "attributes": {"type": "kill", "uuid": objects.run}}]})
        }
        (_, "/rest/bundles/{uuid}/contents/filesize/") => {
            json!({"data": [{"type": "bundles", "attributes": {"filesize": 4}}]})
        }
        (_, "/rest/bundles/{uuid}/netcat/{port}/") => json!({"message": "hello"}),
        ("POST", "/rest/bundle_stores") => {
            let name = format!("s{}", uuid::Uuid::new_v4().simple());
            json!({"data": [{"type": "bundle_stores", "attributes": {"name": name, "storage_type": "disk"}}]})
        }
        ("DELETE", "/rest/bundle_stores") => linkage("bundle_stores", objects.empty_store.as_str()),
        ("POST", _) if template.contains("locations") => json!({"data": [{"type": "bundle_locations",
            "attributes": {"bundle_uuid": objects.data, "bundle_store_uuid": objects.empty_store}}]}),
        ("POST", "/rest/worksheets") => {
            let name = format!("w{}", uuid::Uuid::new_v4().simple());
            json!({"data": [{"type": "worksheets", "attributes": {"name": name}}]})
        }
        ("PATCH", "/rest/worksheets") => {
            json!({"data": [{"type": "worksheets", "id": objects.worksheet, "attributes": {"title": "changed"}}]})
        }
        ("DELETE", "/rest/worksheets") => linkage("worksheets", objects.worksheet.as_str()),
        (_, "/rest/worksheets/{uuid}/add-items") => json!({"items": ["text"]}),
        (_, "/rest/worksheet-items") => json!({"data": [{"type": "worksheet-items",
            "attributes": {"type": "markup", "value": "text"},
            "relationships": {"worksheet": linkage("worksheets", objects.worksheet.as_str())}}]}),
        (_, template) if template.contains("/netcurl/") => return Body::Text("text".to_owned()),
        ("POST", "/rest/cli/command") => json!({"worksheet_uuid": null, "command": "ls"}),
        (_, "/rest/interpret/search") => json!({"keywords": [objects.data]}),
        (_, "/rest/interpret/wsearch") => json!({"keywords": [objects.worksheet]}),
        (_, "/rest/interpret/file-genpaths") => {
            json!({"queries": [{"bundle_uuid": objects.data, "genpath": "/", "post": null}]})
        }
        (_, "/rest/interpret/genpath-table-contents") => json!({"contents": [{"x": [objects.data, "/", null]}]}),
        (_, "/rest/workers/{worker_id}/checkin") => json!({"cpus": 1, "gpus": 0, "memory_bytes": 1,
            "dependencies": [], "wait_seconds": 0, "runs": [{"uuid": objects.run, "state": "running", "run_status": "x", "remote": BUSY_WORKER,
                "container_time_total": 100, "disk_utilization": 100}]}),
        (_, "/rest/workers/{worker_id}/start_bundle/{uuid}") => json!({"hostname": "x", "start_time": 1}),
        _ => json!({}),
    };
    Body::Json(value)
}

fn permission(kind: &str, id: &str) -> Value {
    json!({"data": [{"type": format!("{kind}-permissions"), "attributes": {"permission": 0}, "relationships": {
        "group": {"data": {"type": "groups", "id": "readers"}},
        (kind): {"data": {"type": format!("{kind}s"), "id": id}}}}]})
}
