//! The everyday commands of `cl`, as users type them.

use codalab_tests::{Runtime, Setup, System};
use rstest::rstest;
use testkit::Engine;

#[rstest]
fn worksheets_are_made_edited_listed_and_printed(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let setup = Setup::new(database, Runtime::Process);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    let uuid = cl.ok(&["new", "rivers"]);
    assert!(
        cl.ok(&["work", "rivers"])
            .contains(&format!("/worksheets/{uuid} (rivers)"))
    );
    assert_eq!(cl.ok(&["work", "-u"]), uuid);
    cl.run(&["new", "rivers"]).fails(1);
    system.write("levels.csv", "a,b\n1,2\n");
    let levels = cl.ok(&["upload", "levels.csv", "-d", "gauge levels", "--tags", "hydro", "raw"]);
    cl.ok(&["add", "text", "# Results"]);
    cl.ok(&["add", "bundle", &levels]);
    assert_eq!(cl.ok(&["ls", "-u"]), format!("{levels}\n{levels}"));
    let listed = cl.ok(&["ls"]);
    for part in ["### Worksheet: ", "(rivers)", "levels.csv", "ready", "8 bytes"] {
        assert!(listed.contains(part), "{part} is missing:\n{listed}");
    }
    cl.ok(&["wedit", "-t", "River study", "--tags", "hydro", "paper"]);
    let printed = cl.ok(&["print"]);
    for part in [
        "### Title: River study",
        "### Tags: hydro paper",
        "# Results",
        "levels.csv",
    ] {
        assert!(printed.contains(part), "{part} is missing:\n{printed}");
    }
    let source = cl.ok(&["print", "--raw"]);
    assert!(source.contains("# Results") && source.contains(&levels), "{source}");
    system.write("new.md", format!("Only text now\n[dataset levels.csv]{{{levels}}}\n"));
    cl.ok(&["wedit", "-f", "new.md"]);
    assert!(cl.ok(&["print"]).contains("Only text now"));
    let worksheets = cl.ok(&["wls", ".mine"]);
    assert!(worksheets.contains("rivers"), "{worksheets}");
    cl.ok(&["work", "/"]);
    assert!(cl.ok(&["work"]).contains("home-codalab"));
}

#[rstest]
fn bundles_are_described_found_renamed_and_removed(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let setup = Setup::new(database, Runtime::Process);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    let one = cl.ok(&["upload", "-c", "alpha = 0.3", "-n", "params"]);
    assert_eq!(cl.run(&["cat", "params"]).stdout, b"alpha = 0.3");
    let run = cl.ok(&["run", ":params", "wc -c params", "-n", "count", "-d", "counts"]);
    cl.ok(&["wait", "count"]);
    assert_eq!(cl.ok(&["cat", "count/stdout"]), "11 params");
    let info = cl.ok(&["info", "count"]);
    for part in ["bundle_type", "run", "wc -c params", "ready", &run] {
        assert!(info.contains(part), "{part} is missing:\n{info}");
    }
    assert_eq!(cl.ok(&["info", "-f", "name,state", "^"]), "count\tready");
    assert_eq!(cl.ok(&["info", "-f", "uuid", "^2"]), one);
    assert!(cl.ok(&["search", "name=params", "-u"]).contains(&one));
    assert_eq!(cl.ok(&["search", ".count", "owner=codalab"]), "2");

    cl.ok(&["edit", "params", "-n", "parameters", "-d", "the model", "-T", "tuned"]);
    assert_eq!(
        cl.ok(&["info", "-f", "name,description,tags", &one]),
        "parameters\tthe model\t['tuned']"
    );
    // What others depend on stays, unless told otherwise.
    cl.run(&["rm", &one]).fails(1);
    cl.ok(&["info", "-f", "uuid", &one]);
    assert_eq!(cl.ok(&["rm", "count", &one]).lines().count(), 2);
    cl.run(&["info", &one]).fails(1);
    assert_eq!(cl.ok(&["search", ".count", "owner=codalab"]), "0");
}

#[test]
fn session_aliases_configuration_workers_and_help() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let cl = system.cl();
    let status = cl.ok(&["status"]);
    for part in [
        "codalab_home: ",
        "session: test",
        "address: http://localhost:",
        "user: codalab(",
    ] {
        assert!(status.contains(part), "{part} is missing:\n{status}");
    }
    assert!(cl.ok(&["alias"]).contains(&format!("local: {}", system.address())));
    cl.ok(&["alias", "here", &system.address()]);
    assert_eq!(cl.ok(&["alias", "here"]), format!("here: {}", system.address()));
    cl.ok(&["alias", "here", "-r"]);
    cl.ok(&["config", "cli/verbose", "0"]);
    assert_eq!(cl.ok(&["config", "cli/verbose"]), "0");
    cl.run(&["config", "cli/nothing"]).fails(1);
    // The instance answers before its worker has checked in for the first time.
    testkit::wait_until("the worker to be listed", std::time::Duration::from_secs(30), || {
        let workers = cl.ok(&["workers"]);
        workers.contains("worker_id") && workers.lines().count() == 3
    });
    assert!(cl.ok(&["help"]).contains("upload"));
    assert!(cl.ok(&["help", "run"]).contains("--request-memory"));
    cl.ok(&["logout"]);
    let locked_out = cl.clone().with("CODALAB_PASSWORD", "wrong");
    locked_out.run(&["status"]).fails(1);
    cl.ok(&["status"]);
}

#[test]
fn a_quoted_command_and_what_it_reads_arrive_as_typed() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let cl = system.cl();
    let text = "grüße \"q\" 'x' $HOME \\n";
    let run = cl.ok(&[
        "run",
        "printf '%s' \"$0\" | cat; echo \"a  b\"; echo '$x'",
        "-n",
        "quotes",
    ]);
    cl.ok(&["wait", &run]);
    assert!(cl.ok(&["cat", "quotes/stdout"]).ends_with("a  b\n$x"));
    let contents = cl.ok(&["upload", "-c", text, "-n", "text"]);
    assert_eq!(String::from_utf8(cl.run(&["cat", &contents]).stdout).unwrap(), text);
    let separate = cl.ok(&["run", ":text", "---", "wc", "-c", "text"]);
    cl.ok(&["wait", &separate]);
    assert_eq!(
        cl.ok(&["cat", &format!("{separate}/stdout")]),
        format!("{} text", text.len())
    );
}
