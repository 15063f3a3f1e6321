//! `kill -9` in the middle of things: every run finishes once, with its output.

use std::process::Stdio;
use std::time::Duration;

use codalab_tests::{Process, Runtime, Setup, System};
use rstest::rstest;
use testkit::{Engine, wait_until};

const PATIENCE: Duration = Duration::from_secs(90);

/// Works for three seconds, and its output would show a second start.
const WORK: &str = "echo started; for i in 1 2 3 4 5 6; do sleep 0.5; echo $i; done; echo done > result";

fn finishes_once(system: &System, run: &str) {
    let cl = system.cl();
    wait_until("the run to be ready", PATIENCE, || {
        let state = system.field(run, "state");
        assert!(
            !["failed", "killed"].contains(&state.as_str()),
            "{}",
            cl.run(&["info", run]).text()
        );
        state == "ready"
    });
    assert_eq!(cl.ok(&["cat", &format!("{run}/result")]), "done");
    assert_eq!(
        cl.ok(&["cat", &format!("{run}/stdout")]),
        "started\n1\n2\n3\n4\n5\n6",
        "it ran once, from begin to end"
    );
}

#[rstest]
fn a_killed_worker_that_comes_back_finishes_its_run_once(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
    #[values(Runtime::Process, Runtime::Docker)] runtime: Runtime,
) {
    if Setup::new(database, runtime).is_skipped() {
        return;
    }
    let system = System::start(Setup::without_worker(database));
    let cl = system.cl();
    let mut worker = system.worker("w", runtime);
    let run = cl.ok(&["run", WORK]);
    system.await_state(&run, "running");
    worker.kill();
    let _worker = system.worker("w", runtime);
    finishes_once(&system, &run);
}

#[rstest]
fn a_killed_instance_that_comes_back_finishes_its_run_once_and_has_lost_nothing(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
    #[values(Runtime::Process, Runtime::Docker)] runtime: Runtime,
) {
    let setup = Setup::new(database, runtime);
    if setup.is_skipped() {
        return;
    }
    let mut system = System::start(setup);
    let cl = system.cl();
    system.write("data", "precious\n");
    let data = cl.ok(&["upload", "data"]);
    let run = cl.ok(&["run", WORK]);
    let waiting = cl.ok(&["run", &format!("r:{run}"), "cat r/result > copy"]);
    system.await_state(&run, "running");
    system.kill_instance();
    system.start_instance();
    assert_eq!(cl.ok(&["cat", &data]), "precious");
    finishes_once(&system, &run);
    cl.ok(&["wait", &waiting]);
    assert_eq!(cl.ok(&["cat", &format!("{waiting}/copy")]), "done");
}

#[rstest]
fn an_instance_that_is_stopped_in_the_middle_of_a_run_finishes_it_after_the_next_start(
    #[values(Runtime::Process, Runtime::Docker)] runtime: Runtime,
) {
    let setup = Setup::new(Engine::Sqlite, runtime);
    if setup.is_skipped() {
        return;
    }
    let mut system = System::start(setup);
    let run = system.cl().ok(&["run", WORK]);
    system.await_state(&run, "running");
    system.stop_instance();
    system.start_instance();
    finishes_once(&system, &run);
}

#[test]
fn a_server_that_is_away_for_a_while_gets_its_results_from_the_worker_when_it_is_back() {
    let mut system = System::start(Setup::without_worker(Engine::Sqlite));
    let cl = system.cl();
    let _worker = system.worker("w", Runtime::Process);
    let run = cl.ok(&["run", "echo started; sleep 2; echo done > result; seq 6"]);
    system.await_state(&run, "running");
    system.kill_instance();
    // The run ends while nobody is there to hear of it.
    std::thread::sleep(Duration::from_secs(3));
    system.start_instance();
    finishes_once(&system, &run);
}

#[test]
fn a_wait_outlasts_a_restart_of_the_server() {
    let mut system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let cl = system.cl();
    let run = cl.ok(&["run", WORK]);
    system.await_state(&run, "running");
    let mut command = cl.command(&["wait", "--tail", &run]);
    let mut waiting = Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    wait_until("the output to be followed", PATIENCE, || {
        waiting.output().contains("started")
    });
    system.stop_instance();
    wait_until("the absence to be noticed", PATIENCE, || {
        assert!(waiting.is_running(), "{}", waiting.errors());
        waiting.errors().contains("waiting for the server to come back")
    });
    system.start_instance();
    wait_until("the wait to end", PATIENCE, || !waiting.is_running());
    assert_eq!(
        waiting.output().trim(),
        format!("started\n1\n2\n3\n4\n5\n6\n{run}"),
        "{}",
        waiting.errors()
    );
}

#[test]
fn a_run_waits_for_a_worker_of_its_account_where_nothing_isolates_it() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    system.create_user("mira", "a-long-password");
    let cl = system.cl_as("mira", "a-long-password");
    let run = cl.ok(&["run", "echo mine > n"]);
    let why = || cl.ok(&["info", "-f", "state,staged_status", &run]);
    wait_until("the reason to be told", PATIENCE, || {
        why().contains("only bundles of their own account")
    });
    assert!(why().starts_with("staged"), "{}", why());
    let _own = system.worker_as("own", "mira", "a-long-password");
    cl.ok(&["wait", &run]);
    assert_eq!(cl.ok(&["cat", &format!("{run}/n")]), "mine");
}

#[test]
fn a_second_worker_takes_no_run_of_the_first_and_both_work() {
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    let cl = system.cl();
    let _one = system.worker("one", Runtime::Process);
    let _two = system.worker("two", Runtime::Process);
    let runs: Vec<String> = (0..6)
        .map(|number| cl.ok(&["run", &format!("echo {number} > n; sleep 0.3")]))
        .collect();
    for (number, run) in runs.iter().enumerate() {
        cl.ok(&["wait", run]);
        assert_eq!(cl.ok(&["cat", &format!("{run}/n")]), number.to_string());
    }
    let workers = cl.ok(&["workers"]);
    assert!(workers.contains("one") && workers.contains("two"), "{workers}");
}
