//! The running API against its own description: schemathesis makes requests from `/rest/openapi.json`, good ones and bad
//! ones, and checks that every answer is one of those described.

use std::process::Command;
use std::time::Duration;

use codalab_tests::{Setup, System, finish, python_tool, quick};
use rstest::rstest;
use testkit::Engine;

/// How long requests are made up, in seconds.
const BUDGET: &str = "70";

/// Everything that can go wrong on the side of the server.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

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
    let base = format!("{}/rest", system.address());
    let mut command = Command::new(python_tool("schemathesis", "schemathesis"));
    command
        .args([
            "--config-file",
            concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis.toml"),
        ])
        .args(["run", &format!("{base}/openapi.json"), "--url", &base])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--seed", "7", "--max-examples", "15", "--max-time", BUDGET])
        .args(["--request-timeout", "30", "--no-color", "--warnings", "off"])
        .args(["-H", "X-Requested-With: XMLHttpRequest"])
        .current_dir(system.files());
    if caller == Caller::User {
        system.create_user("prober", "prober-password-1");
        let token = system.http_as("prober", "prober-password-1").token;
        let token = token.expect("a token");
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let outcome = finish(command, Duration::from_secs(240));
    println!("{}", outcome.text());
    assert_eq!(outcome.code, Some(0), "{outcome}");
}
