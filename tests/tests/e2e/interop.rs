//! The Python programs of CodaLab 1.7 against this server: its command line, and its worker. `python_commands.rs` has every
//! command.

use codalab_tests::{Runtime, Setup, System, quick};
use rstest::rstest;
use testkit::{DockerTurn, Engine};

#[rstest]
#[case::sqlite_and_processes(Engine::Sqlite, Runtime::Process)]
#[case::mariadb_and_docker(Engine::Mariadb, Runtime::Docker)]
fn the_python_client_drives_the_server(#[case] database: Engine, #[case] runtime: Runtime) {
    if quick() {
        return;
    }
    let system = System::start(Setup::new(database, runtime));
    let cl = system.python();
    assert!(cl.ok(&["status"]).contains("codalab"));
    cl.ok(&["work", &format!("{}::", system.address())]);
    system.write("a.txt", "foo\nbar\n");
    system.write("tree/one.txt", "1\n");
    system.write("tree/deep/two.txt", "2\n");
    let file = last_word(&cl.ok(&["upload", "a.txt"]));
    let tree = last_word(&cl.ok(&["upload", "tree"]));
    let run = last_word(&cl.ok(&[
        "run",
        &format!("input:{file}"),
        &format!("t:{tree}"),
        "sort input > output; cat t/one.txt t/deep/two.txt > both",
        "-n",
        "python-run",
    ]));
    cl.ok(&["wait", &run]);
    assert_eq!(cl.run(&["cat", &format!("{run}/output")]).stdout, b"bar\nfoo\n");
    assert_eq!(cl.run(&["cat", &format!("{run}/both")]).stdout, b"1\n2\n");
    assert!(cl.ok(&["cat", &tree]).contains("one.txt"));
    cl.ok(&["download", &format!("{run}/output"), "-o", "sorted"]);
    assert_eq!(std::fs::read(system.files().join("sorted")).unwrap(), b"bar\nfoo\n");
    cl.ok(&["download", &tree, "-o", "copy"]);
    assert_eq!(std::fs::read(system.files().join("copy/deep/two.txt")).unwrap(), b"2\n");
    cl.ok(&["edit", &file, "-n", "renamed.txt", "-d", "described"]);
    assert_eq!(cl.ok(&["info", "-f", "name", &file]), "renamed.txt");
    let made = last_word(&cl.ok(&[
        "make",
        &format!("out:{run}/output"),
        &format!("in:{file}"),
        "-n",
        "made",
    ]));
    cl.ok(&["wait", &made]);
    assert_eq!(cl.run(&["cat", &format!("{made}/out")]).stdout, b"bar\nfoo\n");
    let printed = cl.ok(&["print"]);
    for name in ["renamed.txt", "tree", "python-run", "made"] {
        assert!(printed.contains(name), "{name} is missing:\n{printed}");
    }
    assert!(cl.ok(&["ls"]).contains("python-run"));
    assert!(cl.ok(&["search", "python-run"]).contains("python-run"));
    assert!(cl.ok(&["workers"]).contains("worker_id"));
    let worksheet = last_word(&cl.ok(&["new", "python-sheet"]));
    cl.ok(&["work", &worksheet]);
    cl.ok(&["add", "text", "hello from Python"]);
    cl.ok(&["add", "bundle", &made]);
    assert!(cl.ok(&["print"]).contains("hello from Python"));
    let ticker = last_word(&cl.ok(&["run", "while true; do echo tick; sleep 1; done"]));
    testkit::wait_until(
        "the Python client to read a running bundle",
        std::time::Duration::from_secs(60),
        || cl.run(&["cat", &format!("{ticker}/stdout")]).text().contains("tick"),
    );
    cl.ok(&["kill", &ticker]);
    cl.run(&["wait", &ticker]).fails(1);
    assert_eq!(system.field(&ticker, "state"), "killed");
    cl.run(&["rm", &made]).fails(1); // it is on two worksheets
    cl.ok(&["rm", "--force", &made]);
    cl.run(&["info", &made]).fails(1);
    cl.run(&["info", "0x00000000000000000000000000000000"]).fails(1);
}

#[test]
fn both_clients_share_one_home() {
    if quick() {
        return;
    }
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    let rust = system.cl();
    let mut python = system.python_cl();
    python = python.with("CODALAB_HOME", &system.home().display().to_string());
    let worksheet = rust.ok(&["new", "shared"]);
    rust.ok(&["work", &worksheet]);
    assert!(python.ok(&["work"]).contains(&worksheet));
    python.ok(&["work", "/"]);
    assert!(rust.ok(&["work"]).contains("home-codalab"));
}

#[rstest]
fn the_python_worker_executes_a_run(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    if quick() {
        return;
    }
    let _docker = DockerTurn::alone();
    let system = System::start(Setup::without_worker(database));
    let worker = system.python_worker("python-worker");
    let cl = system.cl();
    system.write("a.txt", "foo\nbar\n");
    system.write("tree/one.txt", "1\n");
    cl.ok(&["upload", "a.txt"]);
    cl.ok(&["upload", "tree"]);
    let run = cl.ok(&[
        "run",
        "input:a.txt",
        "t:tree",
        "sort input > output; cat t/one.txt; echo done",
        "-n",
        "old",
    ]);
    let waited = cl.run(&["wait", &run]);
    assert_eq!(
        waited.code,
        Some(0),
        "{waited}\n{}\n{}",
        system.cl().run(&["info", &run]).text(),
        worker.errors()
    );
    assert_eq!(cl.ok(&["cat", "old/output"]), "bar\nfoo");
    assert_eq!(cl.ok(&["cat", "old/stdout"]), "1\ndone");
    let ticker = cl.ok(&["run", "while true; do echo tick; sleep 1; done"]);
    testkit::wait_until(
        "a running bundle on the Python worker to be readable",
        std::time::Duration::from_secs(60),
        || cl.run(&["cat", &format!("{ticker}/stdout")]).text().contains("tick"),
    );
    cl.ok(&["kill", &ticker]);
    cl.run(&["wait", &ticker]).fails(1);
}

/// Python prints warnings of its libraries to the same stream now and then; the uuid comes last.
fn last_word(text: &str) -> String {
    text.split_whitespace().last().unwrap_or_default().to_owned()
}
