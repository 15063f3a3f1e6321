//! Programs that listen in a run, reached from outside through netcurl and netcat.

use codalab_tests::{Runtime, Setup, System};
use rstest::rstest;
use serde_json::json;
use std::time::Duration;
use testkit::{Engine, free_port, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A web server in a run, and what it answers.
fn serve_and_ask(system: &System, port: u16) {
    let cl = system.cl();
    let command = format!("echo hello > hello.txt; exec python3 -u -m http.server {port}");
    let run = cl.ok(&["run", &command, "-n", "web"]);
    system.await_state(&run, "running");
    let (http, base) = (system.http(), format!("/rest/bundles/{run}/netcurl/{port}"));
    wait_until("the web server in the run to answer", PATIENCE, || {
        http.get(&format!("{base}/hello.txt")).status == 200
    });
    let hello = http.get(&format!("{base}/hello.txt?x=1"));
    assert_eq!(hello.text(), "hello\n");
    assert_eq!(hello.header("content-security-policy"), Some("sandbox"));
    let listing = http.get(&format!("{base}/"));
    assert!(listing.text().contains("hello.txt"), "{}", listing.text());
    assert_eq!(
        http.get(&format!("{base}/nothing")).status,
        404,
        "the status of the program"
    );
    let post = http.request("POST", &format!("{base}/hello.txt"), &[], b"body");
    assert_eq!(post.status, 501, "Python's web server cannot POST and says so itself");

    let body = json!({"message": "GET /hello.txt HTTP/1.0\r\n\r\n"}).to_string();
    let headers = [("Content-Type", "application/json")];
    let path = format!("/rest/bundles/{run}/netcat/{port}/");
    let raw = http.request("PUT", &path, &headers, body.as_bytes());
    assert_eq!(raw.status, 200);
    assert!(raw.text().ends_with("\r\n\r\nhello\n"), "{}", raw.text());

    cl.ok(&["kill", &run]);
    system.await_state(&run, "killed");
    let gone = http.get(&format!("{base}/hello.txt"));
    assert_eq!(gone.status, 403);
    assert!(
        gone.text().contains("Cannot netcurl bundle, bundle already finalized."),
        "{gone:?}"
    );
}

#[rstest]
fn a_web_server_in_a_run_is_reached_through_netcurl(#[values(Runtime::Process, Runtime::Docker)] runtime: Runtime) {
    let setup = Setup::new(Engine::Sqlite, runtime);
    if setup.is_skipped() {
        return;
    }
    // A process shares the ports of this machine; a container has its own.
    let port = match runtime {
        Runtime::Process => free_port(),
        Runtime::Docker => 8000,
    };
    serve_and_ask(&System::start(setup), port);
}

#[test]
fn the_python_worker_passes_netcurl_on_as_well() {
    let setup = Setup::without_worker(Engine::Sqlite);
    if Setup::new(Engine::Sqlite, Runtime::Docker).is_skipped() {
        return;
    }
    let _turn = testkit::DockerTurn::shared();
    let system = System::start(setup);
    let _worker = system.python_worker("old");
    serve_and_ask(&system, 8000);
}
