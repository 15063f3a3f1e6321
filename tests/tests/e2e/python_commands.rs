//! Every command of the Python client of CodaLab 1.7 that needs no worksheet directives, against this server.
//!
//! Left out, because they never reach a server: `mount` (FUSE), `events`, `reset` and `bs-*` (they open the database of a
//! server on the same machine).

use codalab_tests::{PASSWORD, PythonCl, Runtime, Setup, System, USER, quick};
use rstest::rstest;
use testkit::Engine;

fn start(database: Engine, worker: bool) -> Option<(System, PythonCl)> {
    if quick() {
        return None;
    }
    let setup = if worker {
        Setup::new(database, Runtime::Process)
    } else {
        Setup::without_worker(database)
    };
    let system = System::start(setup);
    let cl = system.python();
    Some((system, cl))
}

/// Python prints warnings of its libraries to the same stream now and then; the uuid comes last.
fn uuid(text: &str) -> String {
    let word = text.split_whitespace().last().unwrap_or_default();
    assert!(word.starts_with("0x") && word.len() == 34, "no uuid: {text}");
    word.to_owned()
}

#[rstest]
fn sessions_and_settings(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((system, cl)) = start(database, false) else {
        return;
    };
    assert!(cl.ok(&["help"]).contains("upload (up)"));
    assert!(cl.ok(&["help", "-v"]).contains("--exclude-patterns"));
    assert!(cl.ok(&["help", "run"]).contains("usage: cl run"));
    let status = cl.ok(&["status"]);
    for part in ["server_version: 1.7.3", USER, "home-codalab"] {
        assert!(status.contains(part), "{part} is missing:\n{status}");
    }
    cl.ok(&["alias", "here", &system.address()]);
    assert!(cl.ok(&["alias"]).contains("here"));
    assert!(cl.ok(&["work", "here::"]).contains("home-codalab"));
    cl.ok(&["alias", "here", "-r"]);
    cl.ok(&["config", "cli/verbose", "2"]);
    assert_eq!(cl.ok(&["config", "cli/verbose"]), "2");
    cl.ok(&["logout"]);
    cl.ok(&["work", "/"]);
    let stranger = cl.with("CODALAB_PASSWORD", "wrong");
    stranger.ok(&["logout"]);
    let refused = stranger.run(&["status"]);
    assert_ne!(refused.code, Some(0), "{refused}");
}

#[rstest]
fn bundles_from_files(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((system, cl)) = start(database, false) else {
        return;
    };
    system.write("a.txt", "foo\nbar\n");
    system.write("tree/one.txt", "1\n");
    system.write("tree/skip.o", "object");
    system.write("tree/deep/.ignored", "two.txt\n");
    system.write("tree/deep/two.txt", "2\n");
    std::os::unix::fs::symlink("one.txt", system.files().join("tree/link")).unwrap();
    let file = uuid(&cl.ok(&["upload", "a.txt", "-n", "first", "-d", "described", "--tags", "x", "y"]));
    let tree = uuid(&cl.ok(&["upload", "tree", "-x", "*.o", "-i", ".ignored"]));
    assert_eq!(cl.run(&["cat", &file]).stdout, b"foo\nbar\n");
    let listing = cl.ok(&["cat", &tree]);
    assert!(listing.contains("one.txt") && !listing.contains("skip.o"), "{listing}");
    assert!(!cl.ok(&["cat", &format!("{tree}/deep")]).contains("two.txt"));
    let followed = uuid(&cl.ok(&["upload", "tree", "-L"]));
    assert_eq!(cl.run(&["cat", &format!("{followed}/link")]).stdout, b"1\n");
    let text = uuid(&cl.ok(&["upload", "-c", "alpha = 0.3"]));
    assert_eq!(cl.run(&["cat", &text]).stdout, b"alpha = 0.3");
    let both = uuid(&cl.ok(&["upload", "a.txt", "tree"]));
    assert_eq!(cl.run(&["cat", &format!("{both}/tree/one.txt")]).stdout, b"1\n");
    let small = uuid(&cl.ok(&["upload", "-z", "a.txt"]));
    assert_eq!(cl.run(&["cat", &small]).stdout, b"foo\nbar\n");

    // An archive comes out unpacked, or stays one.
    cl.ok(&["download", &tree, "-o", "copy"]);
    assert_eq!(std::fs::read(system.files().join("copy/one.txt")).unwrap(), b"1\n");
    let tar = std::process::Command::new("tar")
        .args(["czf", "pack.tar.gz", "tree"])
        .current_dir(system.files())
        .status();
    assert!(tar.unwrap().success());
    let unpacked = uuid(&cl.ok(&["upload", "pack.tar.gz"]));
    assert_eq!(cl.ok(&["info", "-f", "name", &unpacked]), "pack");
    let path = format!("{unpacked}/tree/deep/two.txt");
    assert_eq!(cl.run(&["cat", &path]).stdout, b"2\n");
    let packed = uuid(&cl.ok(&["upload", "-p", "pack.tar.gz"]));
    cl.ok(&["download", &packed, "-o", "again.tar.gz"]);
    assert_eq!(
        std::fs::read(system.files().join("pack.tar.gz")).unwrap(),
        std::fs::read(system.files().join("again.tar.gz")).unwrap()
    );
    cl.run(&["upload", "missing.txt"]).fails(1);

    // Metadata.
    assert_eq!(cl.ok(&["info", "-f", "name,description", &file]), "first\tdescribed");
    cl.ok(&["edit", &file, "-n", "renamed", "-d", "other", "-T", "z"]);
    assert_eq!(
        cl.ok(&["info", "-f", "name,description,tags", &file]),
        "renamed\tother\t['z']"
    );
    cl.ok(&["edit", &file, "-f", "license", "MIT"]);
    assert_eq!(cl.ok(&["info", "-f", "license", &file]), "MIT");
    cl.run(&["edit", &file, "-f", "nosuch", "1"]).fails(1);
    cl.ok(&["edit", &file, "--anonymous"]);
    cl.ok(&["edit", &file, "--not-anonymous"]);
    cl.ok(&["edit", &file, "--freeze"]);
    cl.run(&["edit", &file, "-n", "no"]).fails(1);
    cl.run(&["rm", &file]).fails(1);
    cl.ok(&["edit", &file, "--unfreeze"]);
    let raw = cl.ok(&["info", "-r", &file]);
    assert!(raw.contains("data_size") && raw.contains("renamed"), "{raw}");
    let verbose = cl.ok(&["info", "-v", &tree]);
    assert!(
        verbose.contains("host_worksheets") && verbose.contains("one.txt"),
        "{verbose}"
    );
    assert!(
        cl.ok(&["info", "-f", "args,owner,created", &file, &tree])
            .lines()
            .count()
            == 2
    );

    // Make, dependants, deletion.
    let made = uuid(&cl.ok(&["make", &format!("f:{file}"), &format!("d:{tree}/deep"), "-n", "made"]));
    cl.ok(&["wait", &made]);
    assert_eq!(cl.run(&["cat", &format!("{made}/f")]).stdout, b"foo\nbar\n");
    assert!(cl.ok(&["info", &made]).contains("dependencies"));
    cl.run(&["rm", &file]).fails(1);
    let preview = cl.ok(&["rm", "-i", "-r", &file]);
    assert!(preview.contains("made"), "{preview}");
    cl.ok(&["rm", "-d", &text]);
    assert_eq!(cl.ok(&["info", "-f", "state", &text]), "ready");
    cl.run(&["cat", &text]).fails(1);
    let gone = cl.ok(&["rm", "-r", &file]);
    assert!(gone.contains(&made) && gone.contains(&file), "{gone}");
    cl.run(&["info", &made]).fails(1);

    // On and off worksheets.
    cl.ok(&["add", "bundle", &tree]);
    cl.run(&["detach", &tree]).fails(1);
    cl.ok(&["detach", &tree, "-n", "1"]);
    assert_eq!(cl.ok(&["ls", "-u"]).matches(&tree).count(), 1);
    cl.ok(&["detach", &tree]);
    assert!(!cl.ok(&["ls", "-u"]).contains(&tree));
    cl.ok(&["open", &tree]);
}

#[rstest]
fn bundles_that_are_found(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((_system, cl)) = start(database, false) else {
        return;
    };
    let one = uuid(&cl.ok(&["upload", "-c", "12345", "-n", "apple", "--tags", "red"]));
    let two = uuid(&cl.ok(&["upload", "-c", "123", "-n", "pear", "--tags", "green", "ripe"]));
    let three = uuid(&cl.ok(&["run", "sleep 1", "-n", "pineapple"]));
    for (keywords, expected) in [
        ("apple", vec![&one, &three]),
        ("name=apple", vec![&one]),
        ("name=%apple", vec![&one, &three]),
        ("tags=ripe", vec![&two]),
        ("type=run", vec![&three]),
        ("state=ready size=.sort-", vec![&one, &two]),
        ("state=ready size=.sort", vec![&two, &one]),
        (".mine type=dataset id=.sort-", vec![&two, &one]),
        (".last .limit=1", vec![&three]),
        ("command=%sleep%", vec![&three]),
        ("name=pear,apple id=.sort", vec![&one, &two]),
        (".after=2200-01-01", vec![]),
        (".floating", vec![]),
    ] {
        let found = cl.line(&format!("search -u {keywords}")).ok();
        let mut found: Vec<&str> = found.split_whitespace().collect();
        let mut expected: Vec<&str> = expected.iter().map(|uuid| uuid.as_str()).collect();
        if !keywords.contains(".sort") {
            found.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "{keywords}");
    }
    for (keywords, expected) in [
        (".mine .count", "3"),
        ("type=dataset size=.sum", "8.0"),
        ("type=dataset size=.sum .format=size", "8 bytes"),
    ] {
        let found = cl.line(&format!("search {keywords}")).ok();
        assert!(
            found == expected || format!("{found}.0") == expected,
            "{keywords}: {found}"
        );
    }
    let table = cl.ok(&["search", "pear", "-f", "name,state,tags"]);
    assert!(table.contains("pear") && table.contains("ready"), "{table}");
    let sheet = uuid(&cl.ok(&["new", "found"]));
    cl.ok(&["work", &sheet]);
    assert!(cl.ok(&["search", "-a", "type=dataset"]).contains("Added 2 bundles"));
    assert_eq!(cl.ok(&["ls", "-u"]).split_whitespace().count(), 2);
    let table = cl.ok(&["ls", "-f", "name,tags,nosuch"]);
    assert!(table.contains("pear") && table.contains("### Worksheet:"), "{table}");
}

#[rstest]
fn runs(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((system, cl)) = start(database, true) else {
        return;
    };
    system.write("a.txt", "c\nb\na\n");
    let file = uuid(&cl.ok(&["upload", "a.txt"]));
    let waited = cl.ok(&["run", "in:a.txt", "sort in > out; cat out", "-n", "sorted", "-W"]);
    assert!(waited.contains("ready"), "{waited}");
    let sorted = cl.ok(&["info", "-f", "uuid", "sorted"]);
    let tailed = cl.ok(&["run", "in:a.txt", "cat in; echo gone >&2", "-t"]);
    assert!(tailed.contains("c\nb\na") && tailed.contains("gone"), "{tailed}");
    let again = uuid(&cl.ok(&["run", "in:a.txt", "sort in > out; cat out", "-m"]));
    assert!(again == sorted || again.starts_with(&sorted), "{again} is not {sorted}");
    let sugar = uuid(&cl.ok(&[
        "run",
        "wc -l %a.txt%",
        "--request-cpus",
        "1",
        "--request-memory",
        "100m",
    ]));
    cl.ok(&["wait", &sugar]);
    assert!(cl.ok(&["cat", &format!("{sugar}/stdout")]).starts_with('3'));
    assert!(cl.ok(&["info", "-f", "args", &sugar]).contains("--request-memory 100m"));
    let tail = cl.ok(&["wait", "-t", &sugar]);
    assert!(tail.starts_with('3'), "{tail}");
    cl.ok(&["download", &sugar, "-o", "results"]);
    assert!(system.files().join("results/stdout").exists());

    // The same with other inputs.
    system.write("b.txt", "2\n1\n");
    let other = uuid(&cl.ok(&["upload", "b.txt"]));
    let mimicked = uuid(&cl.ok(&["mimic", &file, &sorted, &other, "-n", "mimicked"]));
    cl.ok(&["wait", &mimicked]);
    assert_eq!(cl.run(&["cat", &format!("{mimicked}/out")]).stdout, b"1\n2\n");
    let tool = uuid(&cl.ok(&["upload", "-c", "x", "-n", "m-in1"]));
    let output = uuid(&cl.ok(&["run", "i:m-in1", "cat i i", "-n", "m-out"]));
    cl.ok(&["wait", &output]);
    let applied = uuid(&cl.ok(&["macro", "m", &other, "-n", "applied"]));
    cl.ok(&["wait", &applied]);
    assert_eq!(cl.run(&["cat", &format!("{applied}/stdout")]).stdout, b"2\n1\n2\n1\n");
    assert!(!tool.is_empty());

    // A run that listens.
    let endless = uuid(&cl.ok(&[
        "run",
        "while [ ! -e stop ]; do sleep 0.2; done; cat stop",
        "-n",
        "waiting",
    ]));
    system.await_state(&endless, "running");
    cl.run(&["rm", &endless]).fails(1);
    assert!(cl.ok(&["workers"]).contains(&endless[..8]));
    cl.ok(&["write", &format!("{endless}/stop"), "now"]);
    cl.ok(&["wait", &endless]);
    assert_eq!(cl.run(&["cat", &format!("{endless}/stdout")]).stdout, b"now");
    let endless = uuid(&cl.ok(&["run", "while true; do echo tick; sleep 0.5; done"]));
    system.await_state(&endless, "running");
    cl.ok(&["kill", &endless]);
    cl.run(&["wait", &endless]).fails(1);
    assert_eq!(cl.ok(&["info", "-f", "state,actions", &endless]), "killed\t['kill']");
    let failing = uuid(&cl.ok(&["run", "exit 3"]));
    cl.run(&["wait", &failing]).fails(1);
    assert_eq!(cl.ok(&["info", "-f", "state,exitcode", &failing]), "failed\t3");
}

#[rstest]
fn worksheets(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((system, cl)) = start(database, false) else {
        return;
    };
    let data = uuid(&cl.ok(&["upload", "-c", "x", "-n", "data"]));
    let sheet = uuid(&cl.ok(&["new", "rivers"]));
    cl.run(&["new", "rivers"]).fails(1);
    cl.run(&["new", "bad name"]).fails(1);
    assert!(cl.ok(&["work", "rivers"]).contains(&sheet));
    assert_eq!(cl.ok(&["work", "-u"]), sheet);
    cl.ok(&["add", "text", "hello", "## Ünicode"]);
    cl.ok(&["add", "bundle", &data]);
    cl.ok(&["add", "worksheet", "home-codalab"]);
    let printed = cl.ok(&["print"]);
    for part in ["hello", "## Ünicode", "data", "home-codalab"] {
        assert!(printed.contains(part), "{part} is missing:\n{printed}");
    }
    let source = cl.ok(&["print", "-r"]);
    assert!(source.contains(&format!("[dataset data]{{{data}}}")), "{source}");
    system.write("sheet.md", format!("# New\n\n{{{data}}}\n"));
    cl.ok(&["wedit", "-f", "sheet.md"]);
    assert!(cl.ok(&["print", "-r"]).starts_with("# New\n"));
    cl.ok(&["wedit", "-t", "River study", "-T", "hydro", "paper"]);
    let listed = cl.ok(&["wls", "tag=hydro"]);
    assert!(listed.contains("rivers"), "{listed}");
    assert_eq!(cl.ok(&["wls", "-u", "rivers", ".mine"]), sheet);
    let copy = uuid(&cl.ok(&["new", "copy"]));
    cl.ok(&["wadd", "rivers", "copy"]);
    assert!(cl.ok(&["print", "-r", "copy"]).contains(&data));
    cl.ok(&["wadd", "rivers", "copy", "-r"]);
    assert_eq!(cl.ok(&["print", "-r", "copy"]).matches(&data).count(), 1);
    cl.ok(&["wedit", "copy", "--freeze"]);
    cl.run(&["add", "text", "no", "--dest-worksheet", "copy"]).fails(1);
    cl.run(&["wrm", "copy"]).fails(1);
    cl.ok(&["wedit", "copy", "--unfreeze"]);
    cl.ok(&["wedit", "copy", "--anonymous"]);
    cl.ok(&["wedit", "copy", "--not-anonymous", "-n", "copied"]);
    cl.run(&["wrm", "copied"]).fails(1);
    cl.ok(&["wrm", "copied", "--force"]);
    cl.run(&["work", &copy]).fails(1);
    cl.ok(&["wopen"]);
    cl.ok(&["wedit", "rivers", "-f", "/dev/null"]);
    // An empty text is one empty line.
    cl.ok(&["wrm", "rivers", "--force"]);
    assert!(cl.ok(&["work"]).contains("home-codalab"));
}

#[rstest]
fn people_groups_and_permissions(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let Some((system, cl)) = start(database, false) else {
        return;
    };
    system.create_user("mira", PASSWORD);
    system.create_user("juno", PASSWORD);
    let (mira, juno) = (system.python_as("mira", PASSWORD), system.python_as("juno", PASSWORD));
    assert!(mira.ok(&["gnew", "rowers"]).starts_with("Created new group rowers"));
    mira.run(&["gnew", "rowers"]).fails(1);
    assert!(
        mira.ok(&["uadd", "juno", "rowers"])
            .contains("juno in group rowers as member")
    );
    assert!(mira.ok(&["uadd", "juno", "rowers", "-a"]).contains("admin"));
    mira.run(&["uadd", "mira", "rowers"]).fails(1);
    let members = mira.ok(&["ginfo", "rowers"]);
    assert!(members.contains("mira") && members.contains("juno"), "{members}");
    assert!(juno.ok(&["gls"]).contains("rowers"));

    let data = uuid(&mira.ok(&["upload", "-c", "secret", "-n", "data"]));
    mira.ok(&["perm", &data, "public", "none"]);
    juno.run(&["cat", &data]).fails(1);
    let set = mira.ok(&["perm", &data, "rowers", "read"]);
    assert!(set.contains("has read permission on 1 bundles"), "{set}");
    assert_eq!(juno.run(&["cat", &data]).stdout, b"secret");
    juno.run(&["edit", &data, "-n", "stolen"]).fails(1);
    mira.ok(&["perm", &data, "rowers", "all"]);
    juno.ok(&["edit", &data, "-n", "shared"]);
    let sheet = uuid(&mira.ok(&["new", "ours"]));
    assert!(
        mira.ok(&["wperm", &sheet, "rowers", "all"])
            .contains("has all permission")
    );
    juno.ok(&["add", "text", "hello", "--dest-worksheet", &sheet]);
    cl.ok(&["chown", "juno", &data]);
    assert!(cl.ok(&["info", &data]).contains("juno"));
    // Upstream's own client fails here; the server does what it was asked.
    mira.run(&["urm", "juno", "rowers"]);
    assert!(mira.ok(&["grm", "rowers"]).starts_with("Deleted group rowers"));

    let about = mira.ok(&["uinfo"]);
    assert!(about.contains("mira") && about.contains("disk"), "{about}");
    assert_eq!(mira.ok(&["uinfo", "-f", "user_name"]), "mira");
    mira.ok(&["uedit", "--first-name", "Mira", "--affiliation", "Lake"]);
    assert_eq!(mira.ok(&["uinfo", "-f", "first_name,affiliation"]), "Mira\nLake");
    mira.run(&["uedit", "juno", "--first-name", "No"]).fails(1);
    cl.ok(&["uedit", "juno", "-t", "10d", "-d", "5g", "-p", "7"]);
    assert_eq!(
        cl.ok(&["uinfo", "juno", "-f", "parallel_run_quota,disk_quota"]),
        "7\n5368709120"
    );
    cl.run(&["uedit", "juno", "--grant-access"]).fails(1);
    assert!(cl.ok(&["uls", "user_name=mira"]).contains("mira"));
    assert!(mira.ok(&["uls", "juno"]).contains("juno"));
    cl.run(&["ufarewell", "mira"]).fails(1);
    system.create_user("brief", PASSWORD);
    assert!(cl.ok(&["ufarewell", "brief"]).contains("brief"));
    cl.run(&["uinfo", "brief"]).fails(1);

    let store = cl.ok(&["store", "add", "--name", "attic", "--storage-type", "disk"]);
    assert!(cl.ok(&["store", "ls"]).contains("attic"));
    cl.run(&["store", "add", "--name", "attic", "--storage-type", "disk"])
        .fails(1);
    let store = store.split_whitespace().last().unwrap();
    cl.ok(&["store", "rm", store]);
    assert!(!cl.ok(&["store", "ls"]).contains("attic"));
}
