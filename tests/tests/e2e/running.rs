//! Runs while they run, and the many ways in which they end.

use std::process::Stdio;
use std::time::Duration;

use codalab_tests::{Process, Runtime, Setup, System};
use rstest::rstest;
use testkit::{Engine, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

#[rstest]
fn a_run_is_followed_live_and_killed(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
    #[values(Runtime::Process, Runtime::Docker)] runtime: Runtime,
) {
    let setup = Setup::new(database, runtime);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    let script = "i=0; while true; do i=$((i+1)); echo line $i; echo $i > count; sleep 1; done";
    let run = cl.ok(&["run", script, "-n", "ticker"]);
    system.await_state(&run, "running");

    let mut lines = 0;
    wait_until("three lines on stdout of the running bundle", PATIENCE, || {
        let text = cl.run(&["cat", "ticker/stdout"]).text();
        let now = text.lines().count();
        assert!(now >= lines, "output never gets shorter: {text}");
        lines = now;
        lines >= 3
    });
    assert!(cl.ok(&["cat", "ticker/stdout", "--head", "1"]).contains("line 1"));
    assert!(cl.ok(&["cat", "ticker"]).contains("count"));
    cl.run(&["cat", "ticker/no-such-file"]).fails(1);

    // `wait -t` prints as the lines come and ends with the run.
    let mut command = cl.command(&["wait", "-t", "ticker"]);
    let mut follower = Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let last = format!("line {}", lines + 2);
    wait_until("the follower to see a later line", PATIENCE, || {
        follower.output().contains(&last)
    });
    assert!(follower.is_running());

    assert_eq!(cl.ok(&["kill", "ticker"]), run);
    system.await_state(&run, "killed");
    wait_until("the follower to end", PATIENCE, || !follower.is_running());
    assert!(follower.errors().contains("killed"), "{}", follower.errors());
    assert!(system.field(&run, "failure_message").contains("Kill requested"));
    let kept = cl.ok(&["cat", "ticker/stdout"]);
    assert!(
        kept.lines().count() >= lines,
        "what it wrote until then is kept: {kept}"
    );
}

/// Options of `cl run`, command, and what the failure message must say.
const FAILURES: &[(&str, &[&str], &str, &str)] = &[
    ("a failing command", &[], "echo before; exit 3", "Exit code 3"),
    (
        "a run over its time limit",
        &["--request-time", "1s"],
        "sleep 60",
        "Time limit exceeded.",
    ),
    (
        "a run over its memory limit",
        &["--request-memory", "64m"],
        "python3 -c 'import time; x = bytearray(400 << 20); x[::4096] = b\"x\" * len(x[::4096]); time.sleep(30)'",
        "Memory limit 64m exceeded.",
    ),
    (
        "a run over its disk limit",
        &["--request-disk", "2m"],
        "head -c 8000000 /dev/zero > big; sleep 60",
        "Disk limit 2mb exceeded.",
    ),
];

#[rstest]
fn a_run_that_fails_says_why(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
    #[values(Runtime::Process, Runtime::Docker)] runtime: Runtime,
) {
    let setup = Setup::new(database, runtime);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    for (what, options, command, message) in FAILURES {
        let run = cl.ok(&[&["run", command, "-n", "doomed"], *options].concat());
        let waited = cl.run(&["wait", &run]);
        assert_eq!(waited.code, Some(1), "{what}: {waited}");
        let (state, said) = (system.field(&run, "state"), system.field(&run, "failure_message"));
        assert_eq!(state, "failed", "{what}: {said}");
        assert!(said.contains(message), "{what}: {said}");
    }
    // What a failing command wrote is kept.
    let run = cl.ok(&["run", "echo kept; echo why >&2; exit 1"]);
    cl.run(&["wait", &run]).fails(1);
    assert_eq!(cl.ok(&["cat", &format!("{run}/stdout")]), "kept");
    assert_eq!(cl.ok(&["cat", &format!("{run}/stderr")]), "why");
}

#[test]
fn a_missing_image_fails_the_run_with_its_name() {
    let setup = Setup::new(Engine::Sqlite, Runtime::Docker);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    let run = cl.ok(&[
        "run",
        "true",
        "--request-docker-image",
        "localhost:1/no-such-image:none",
    ]);
    cl.run(&["wait", &run]).fails(1);
    assert_eq!(system.field(&run, "state"), "failed");
    let said = system.field(&run, "failure_message");
    assert!(said.contains("image"), "{said}");
}

#[rstest]
fn a_run_that_waits_for_a_worker_can_be_killed(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let setup = Setup::without_worker(database);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    let run = cl.ok(&["run", "true"]);
    system.await_state(&run, "staged");
    cl.ok(&["kill", &run]);
    system.await_state(&run, "killed");
}

#[test]
fn a_run_whose_dependency_fails_fails_and_says_so() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let cl = system.cl();
    let parent = cl.ok(&["run", "exit 1", "-n", "parent"]);
    let child = cl.ok(&["run", "p:parent", "cat p/stdout", "-n", "child"]);
    cl.run(&["wait", &child]).fails(1);
    assert_eq!(system.field(&child, "state"), "failed");
    let said = system.field(&child, "failure_message");
    assert!(said.contains(&parent), "{said}");
    let forgiving = cl.ok(&["run", "p:parent", "echo fine", "--allow-failed-dependencies"]);
    assert_eq!(cl.ok(&["wait", &forgiving]), forgiving);
}

#[test]
fn a_thousand_lines_and_binary_output_arrive_unchanged() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let cl = system.cl();
    let run = cl.ok(&[
        "run",
        "seq 100000 > numbers; head -c 300000 /dev/urandom > noise; md5sum noise > sum",
    ]);
    cl.ok(&["wait", &run]);
    let numbers = cl.run(&["cat", &format!("{run}/numbers")]).stdout;
    assert!(numbers.ends_with(b"\n99999\n100000\n") && numbers.len() == 588_895);
    cl.ok(&["download", &format!("{run}/noise"), "-o", "noise"]);
    let sum = std::process::Command::new("md5sum")
        .arg("noise")
        .current_dir(system.files())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(sum.stdout).unwrap().trim(),
        cl.ok(&["cat", &format!("{run}/sum")])
    );
    assert_eq!(
        cl.ok(&["cat", &format!("{run}/numbers"), "--tail", "2"]),
        "99999\n100000"
    );
}
