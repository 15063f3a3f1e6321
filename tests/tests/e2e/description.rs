//! The running API against its own description: schemathesis makes requests from `/rest/openapi.json`, good ones and bad
//! ones, and checks that every answer is one of those described.

use std::process::Command;
use std::time::Duration;

use codalab_tests::{Http, Setup, System, finish, python_tool, quick};
use rstest::rstest;
use serde_json::{Value, json};
use testkit::Engine;

/// How long requests are made up, in seconds.
const BUDGET: &str = "100";

/// Everything that can go wrong on the side of the server.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

const PASSWORD: &str = "prober-password-1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Nobody,
    User,
}

#[rstest]
fn answers_are_as_described(#[values(Caller::Nobody, Caller::User)] caller: Caller) {
    if quick() {
        return;
    }
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    system.create_user("prober", PASSWORD);
    let http = system.http_as("prober", PASSWORD);
    let description = with_real_objects(&http);
    let file = system.write("openapi.json", description.to_string());
    let base = format!("{}/rest", system.address());
    let mut command = Command::new(python_tool("schemathesis", "schemathesis"));
    command
        .args([
            "--config-file",
            concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis.toml"),
        ])
        .arg("run")
        .arg(file)
        .args(["--url", &base, "--checks", CHECKS])
        .args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure"])
        .args(["--seed", "7", "--max-examples", "15", "--max-time", BUDGET])
        .args(["--request-timeout", "30", "--no-color", "--warnings", "off"])
        .args(["-H", "X-Requested-With: XMLHttpRequest"])
        .current_dir(system.files());
    if let (Caller::User, Some(token)) = (caller, &http.token) {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let outcome = finish(command, Duration::from_secs(240));
    println!("{}", outcome.text());
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

/// The description, with the ids of a bundle and a worksheet of the prober wherever one is asked for, so that requests get
/// further than 404.
fn with_real_objects(http: &Http) -> Value {
    let worksheet = http.get("/rest/worksheets?specs=%2F").json()["data"][0]["id"].clone();
    let text = worksheet.as_str().expect("the home worksheet");
    let metadata = json!({"name": "d", "description": "", "tags": [], "license": "", "source_url": ""});
    let dataset =
        json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "dataset", "metadata": metadata}}]});
    let created = http
        .post_json(&format!("/rest/bundles?worksheet={text}"), &dataset)
        .json();
    let bundle = created["data"][0]["id"].clone();
    let target = format!(
        "/rest/bundles/{}/contents/blob/?filename=data.txt",
        bundle.as_str().expect("a bundle")
    );
    let uploaded = http.request("PUT", &target, &[], b"a,b\n1,2\n");
    assert_eq!(uploaded.status, 200, "{uploaded:?}");

    let mut description = http.get("/rest/openapi.json").json();
    description["components"]["schemas"]["DependencyInput"]["properties"]["parent_uuid"] =
        one_of(std::slice::from_ref(&bundle));
    let paths = description["paths"].as_object_mut().expect("paths");
    for (path, operations) in paths.iter_mut() {
        let operations = operations.as_object_mut().expect("operations");
        for parameters in operations
            .values_mut()
            .filter_map(|operation| operation.get_mut("parameters"))
        {
            for parameter in parameters.as_array_mut().expect("a list") {
                let values = match (parameter["name"].as_str(), path.contains("worksheet")) {
                    (Some("uuid"), true) | (Some("worksheet"), _) => one_of(std::slice::from_ref(&worksheet)),
                    (Some("uuid"), false) => one_of(std::slice::from_ref(&bundle)),
                    (Some("path"), _) => one_of(&[json!("data.txt"), json!("none/x")]),
                    _ => continue,
                };
                parameter["schema"] = values;
                parameter.as_object_mut().expect("an object").remove("example");
            }
        }
    }
    description
}

fn one_of(values: &[Value]) -> Value {
    json!({"type": "string", "enum": values})
}
