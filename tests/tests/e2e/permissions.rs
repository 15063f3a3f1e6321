//! Two accounts: what one may see and change of the other.

use codalab_tests::{Runtime, Setup, System};
use rstest::rstest;
use serde_json::json;
use testkit::Engine;

#[rstest]
fn others_see_nothing_private_and_change_nothing(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let setup = Setup::without_worker(database);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    for name in ["mira", "noor"] {
        system.create_user(name, "long-enough-1");
    }
    let (mira, noor) = (
        system.cl_as("mira", "long-enough-1"),
        system.cl_as("noor", "long-enough-1"),
    );
    system.write("secret.txt", "mine\n");
    let worksheet = mira.ok(&["new", "mira-diary"]);
    mira.ok(&["work", &worksheet]);
    let bundle = mira.ok(&["upload", "secret.txt"]);
    let http = system.http_as("mira", "long-enough-1");
    // Uploads inherit the worksheet's permissions; take everybody's away.
    let groups = http.get("/rest/groups/public").json();
    let public = groups["data"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no public group: {groups}"))
        .to_owned();
    for (kind, target) in [("bundle", &bundle), ("worksheet", &worksheet)] {
        let permission = json!({"data": [{
            "type": format!("{kind}-permissions"),
            "attributes": {"permission": 0},
            "relationships": {
                "group": {"data": {"type": "groups", "id": public}},
                kind: {"data": {"type": format!("{kind}s"), "id": target}},
            },
        }]});
        let answer = http.post_json(&format!("/rest/{kind}-permissions"), &permission);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    assert_eq!(mira.ok(&["cat", &bundle]), "mine");
    for arguments in [
        &["cat", bundle.as_str()][..],
        &["download", &bundle],
        &["edit", &bundle, "-n", "stolen"],
        &["rm", &bundle],
        &["ls", "-w", &worksheet],
        &["add", "text", "graffiti", "--dest-worksheet", &worksheet],
    ] {
        let outcome = noor.run(arguments);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(!outcome.text().contains("mine"), "{outcome}");
    }
    // A run on what its owner may not read ends before it starts.
    let spy = noor.ok(&["run", &format!("x:{bundle}"), "cat x"]);
    noor.run(&["wait", &spy]).fails(1);
    let why = noor.ok(&["info", "-f", "failure_message", &spy]);
    assert!(why.contains("does not have sufficient permissions"), "{why}");
    assert!(!noor.run(&["search", "secret"]).text().contains("secret.txt"));
    assert_eq!(mira.ok(&["cat", &bundle]), "mine", "nothing changed");
    // The root account may do everything.
    assert_eq!(system.cl().ok(&["cat", &bundle]), "mine");
}

#[test]
fn a_readable_bundle_can_be_read_but_not_changed() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    system.create_user("mira", "long-enough-1");
    let mira = system.cl_as("mira", "long-enough-1");
    system.write("open.txt", "for all\n");
    let bundle = system.cl().ok(&["upload", "open.txt"]);
    assert_eq!(mira.ok(&["cat", &bundle]), "for all");
    let outcome = mira.run(&["edit", &bundle, "-n", "renamed"]);
    assert!(
        outcome.fails(1).contains("does not have sufficient permissions"),
        "{outcome}"
    );
    mira.run(&["rm", &bundle]).fails(1);
    mira.run(&["kill", &bundle]).fails(1);
}
