//! Bad input: a clear message, the right exit status and HTTP status, and no trace in database or store.

use codalab_tests::{Cl, Http, Outcome, Runtime, Setup, System};
use rstest::rstest;
use serde_json::json;
use testkit::Engine;

fn system(database: Engine) -> Option<System> {
    let setup = Setup::new(database, Runtime::Process);
    (!setup.is_skipped()).then(|| System::start(setup))
}

/// Runs the command and checks that it neither succeeded nor left anything.
fn leaves_no_trace(system: &System, cl: &Cl, code: i32, arguments: &[&str]) -> Outcome {
    let before = system.traces();
    let outcome = cl.run(arguments);
    assert_eq!(outcome.code, Some(code), "{outcome}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    assert!(!outcome.stderr.trim().is_empty(), "a failure says why: {outcome}");
    assert_eq!(system.traces(), before, "{outcome}");
    outcome
}

#[rstest]
fn mistakes_on_the_command_line_are_named(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some(system) = system(database) else { return };
    let cl = system.cl();
    system.write("a.txt", "a\n");
    cl.ok(&["upload", "a.txt"]);
    let unknown = "0x00000000000000000000000000000000";
    for (code, arguments, said) in [
        (1, &["info", unknown][..], "NotFoundError"),
        (1, &["cat", "no-such-bundle"], "NotFoundError"),
        (1, &["info", "^99"], "UsageError"),
        (1, &["run", "x:no-such-bundle", "true"], "NotFoundError"),
        (1, &["run", "../x:a.txt", "true"], "UsageError"),
        (1, &["run", "true", "--request-memory", "lots"], "UsageError"),
        (1, &["upload", "no-such-file"], "UsageError"),
        (1, &["upload", "a.txt", "-n", "bad name!"], "UsageError"),
        (1, &["make", "x:no-such-bundle"], "NotFoundError"),
        (1, &["cat", "a.txt/inside"], "doesn't exist"),
        (1, &["work", "no-such-worksheet"], "NotFoundError"),
        (
            2,
            &["info", "--no-such-option", "a.txt"],
            "unrecognized arguments: --no-such-option",
        ),
        (2, &["run"], "the following arguments are required"),
        (2, &["no-such-command"], "invalid choice: 'no-such-command'"),
        (2, &["run", "true", "--request-cpus", "two"], "invalid int value: 'two'"),
    ] {
        let outcome = leaves_no_trace(&system, &cl, code, arguments);
        assert!(outcome.stderr.contains(said), "{said} is missing:\n{outcome}");
    }
    let refused = cl
        .clone()
        .with("CODALAB_PASSWORD", "wrong")
        .with("CODALAB_HOME", &fresh_home(&system));
    let outcome = leaves_no_trace(&system, &refused, 1, &["status"]);
    assert!(outcome.stderr.contains("Invalid username or password"), "{outcome}");
}

/// A home that knows the instance but has no token for it.
fn fresh_home(system: &System) -> String {
    let home = system.home().with_file_name("home-fresh");
    std::fs::create_dir_all(&home).unwrap();
    let config = json!({"cli": {"default_address": system.address()}});
    std::fs::write(home.join("config.json"), config.to_string()).unwrap();
    home.display().to_string()
}

#[rstest]
fn an_archive_that_points_outside_itself_is_refused(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some(system) = system(database) else { return };
    let http = system.http();
    for (name, entry) in [
        ("up", "../escape"),
        ("deep", "a/../../escape"),
        ("absolute", "/tmp/codalab-escape"),
        ("dot", "a/./../../escape"),
    ] {
        let archive = hostile_tar(entry);
        let uuid = new_bundle(&http, &format!("hostile-{name}"));
        let before = system.traces().0;
        let path = format!("/rest/bundles/{uuid}/contents/blob/?filename=x.tar.gz&unpack=1");
        let answer = http.request("PUT", &path, &[], &archive);
        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
        assert_eq!(system.traces().0, before, "{name}: nothing is left in the store");
        assert!(!system.home().join("escape").exists() && !system.home().join("data/escape").exists());
        assert!(!std::path::Path::new("/tmp/codalab-escape").exists());
    }
}

#[rstest]
fn a_body_that_is_cut_off_leaves_nothing_in_the_store(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some(system) = system(database) else { return };
    let http = system.http();
    let uuid = new_bundle(&http, "cut");
    let before = system.traces().0;
    http.cut_off(
        "PUT",
        &format!("/rest/bundles/{uuid}/contents/blob/?filename=x"),
        1_000_000,
        &[7; 4096],
    );
    let quiet = std::time::Duration::from_secs(20);
    testkit::wait_until("the half upload to be swept away", quiet, || {
        system.traces().0 == before
    });
    let answer = http.get(&format!("/rest/bundles/{uuid}/contents/blob/"));
    assert_eq!(answer.status, 404, "{answer:?}");
    // The same upload again, complete.
    let path = format!("/rest/bundles/{uuid}/contents/blob/?filename=x&unpack=0");
    let answer = http.request("PUT", &path, &[], b"whole");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(http.get(&format!("/rest/bundles/{uuid}/contents/blob/")).body, b"whole");
}

#[rstest]
fn requests_without_a_valid_token_or_with_broken_bodies_are_refused(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
) {
    let Some(system) = system(database) else { return };
    let before = system.traces();
    let (root, anonymous) = (
        system.http(),
        Http {
            port: system.port(),
            token: None,
        },
    );
    let expired = Http {
        token: Some("expired-or-never-issued".into()),
        ..anonymous.clone()
    };
    let bundle = json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "run", "command": "true"}}]});
    assert_eq!(expired.post_json("/rest/bundles", &bundle).status, 401);
    assert_eq!(anonymous.post_json("/rest/bundles", &bundle).status, 401);
    assert_eq!(expired.get("/rest/user").status, 401);
    for (path, body) in [
        ("/rest/bundles", "{"),
        ("/rest/bundles", "[]"),
        ("/rest/bundles", r#"{"data": 7}"#),
        ("/rest/bundles", r#"{"data": [{"type": "bundles"}]}"#),
        (
            "/rest/bundles",
            r#"{"data": [{"type": "bundles", "attributes": {"bundle_type": "nonsense"}}]}"#,
        ),
        (
            "/rest/worksheets",
            r#"{"data": [{"type": "worksheets", "attributes": {"name": "no good name!"}}]}"#,
        ),
    ] {
        let answer = root.request("POST", path, &[("Content-Type", "application/json")], body.as_bytes());
        assert!((400..500).contains(&answer.status), "{path} {body}: {answer:?}");
        assert!(!answer.text().is_empty(), "{path} {body}");
    }
    for path in [
        "/rest/bundles/not-a-uuid",
        "/rest/bundles/0x00000000000000000000000000000000",
        "/rest/bundles/0x00000000000000000000000000000000/contents/blob/",
        "/rest/worksheets/0x00000000000000000000000000000000",
        "/rest/no-such-route",
        "/rest/bundles/%2e%2e%2f%2e%2e/contents/blob/%2e%2e/%2e%2e/etc/passwd",
    ] {
        let answer = root.get(path);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    assert_eq!(system.traces(), before);
}

/// A dataset without contents.
fn new_bundle(http: &Http, name: &str) -> String {
    let found = http.get("/rest/worksheets?specs=%2F").json();
    let worksheet = found["data"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no home worksheet: {found}"))
        .to_owned();
    let metadata = json!({"name": name, "description": "", "tags": [], "license": "", "source_url": ""});
    let bundle = json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "dataset", "metadata": metadata}}]});
    let path = format!("/rest/bundles?worksheet={worksheet}&wait_for_upload=1");
    let answer = http.post_json(&path, &bundle);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"][0]["id"].as_str().unwrap().to_owned()
}

/// A tar.gz file with one good entry and one under a name that no honest archiver writes.
fn hostile_tar(name: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, contents) in [("good", b"good\n".as_slice()), (name, b"escaped\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, contents).unwrap();
    }
    let bytes = archive.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &bytes).unwrap();
    gzip.finish().unwrap()
}
