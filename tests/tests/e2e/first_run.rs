//! The sequence that the product promises to a newcomer.

use codalab_tests::{Runtime, Setup, System};
use rstest::rstest;
use testkit::Engine;

const SORT: &str = "import sys\nfor line in sorted(sys.stdin):\n    print(line.strip())\n";

#[rstest]
fn a_newcomer_uploads_runs_reads_makes_prints_and_downloads(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
    #[values(Runtime::Process, Runtime::Docker)] runtime: Runtime,
) {
    let setup = Setup::new(database, runtime);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    system.write("a.txt", "foo\nbar\nbaz\n");
    system.write("sort.py", SORT);

    let data = cl.ok(&["upload", "a.txt"]);
    cl.ok(&["upload", "sort.py"]);
    let run = cl.ok(&[
        "run",
        "sort.py:sort.py",
        "input:a.txt",
        "python3 sort.py < input > output",
        "-n",
        "sort-run",
    ]);
    for uuid in [&data, &run] {
        assert!(
            uuid.len() == 34 && uuid.starts_with("0x"),
            "a uuid and nothing else: {uuid}"
        );
    }
    assert_eq!(cl.ok(&["wait", "sort-run"]), run);
    assert_eq!(cl.run(&["cat", "sort-run/output"]).stdout, b"bar\nbaz\nfoo\n");

    let made = cl.ok(&["make", "sort-run/output", "-n", "a-sorted"]);
    assert_eq!(cl.ok(&["wait", "a-sorted"]), made);
    let printed = cl.ok(&["print"]);
    for name in ["a.txt", "sort.py", "sort-run", "a-sorted"] {
        assert!(printed.contains(name), "{name} is missing in:\n{printed}");
    }
    cl.ok(&["download", "a-sorted"]);
    assert_eq!(
        std::fs::read(system.files().join("a-sorted")).unwrap(),
        b"bar\nbaz\nfoo\n"
    );
    assert_eq!(system.field("sort-run", "state"), "ready");
    for stage in [
        "time_preparing",
        "time_running",
        "time_cleaning_up",
        "time_uploading_results",
    ] {
        assert_ne!(system.field("sort-run", stage), "", "{stage}");
    }
}

#[rstest]
fn directories_are_dependencies_outputs_and_downloads(
    #[values(Engine::Sqlite, Engine::Mariadb)] database: Engine,
    #[values(Runtime::Process, Runtime::Docker)] runtime: Runtime,
) {
    let setup = Setup::new(database, runtime);
    if setup.is_skipped() {
        return;
    }
    let system = System::start(setup);
    let cl = system.cl();
    system.write("tree/one.txt", "1\n");
    system.write("tree/deep/two.txt", "2\n");
    let tree = cl.ok(&["upload", "tree"]);
    let run = cl.ok(&[
        "run",
        "t:tree",
        "two:tree/deep/two.txt",
        "mkdir -p out/sub && cat t/one.txt two > out/sub/both && ln -s sub out/link",
        "-n",
        "walk",
    ]);
    cl.ok(&["wait", "walk"]);
    assert_eq!(cl.run(&["cat", "walk/out/sub/both"]).stdout, b"1\n2\n");
    // The run's own listing shows its files, not its dependencies; those can be read all the same.
    let listing = cl.ok(&["cat", &run]);
    assert!(listing.contains("out") && !listing.contains("two"), "{listing}");
    assert_eq!(cl.run(&["cat", "walk/t/deep/two.txt"]).stdout, b"2\n");

    cl.ok(&["download", "walk", "-o", "copy"]);
    assert_eq!(
        std::fs::read(system.files().join("copy/out/sub/both")).unwrap(),
        b"1\n2\n"
    );
    assert!(!system.files().join("copy/t").exists());
    cl.ok(&["download", &format!("{tree}/deep"), "-o", "deep"]);
    assert_eq!(std::fs::read(system.files().join("deep/two.txt")).unwrap(), b"2\n");

    // A make bundle out of several parts.
    cl.ok(&["make", "left:tree/one.txt", "right:walk/out", "-n", "made"]);
    cl.ok(&["wait", "made"]);
    assert_eq!(cl.run(&["cat", "made/left"]).stdout, b"1\n");
    assert_eq!(cl.run(&["cat", "made/right/sub/both"]).stdout, b"1\n2\n");
}

#[test]
fn an_archive_arrives_unpacked_and_a_chain_of_runs_waits_for_its_parents() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let cl = system.cl();
    let archive = tar_gz(&[("a", b"first\n"), ("b", b"second\n")]);
    system.write("top.tar.gz", archive);
    cl.ok(&["upload", "top.tar.gz"]);
    assert_eq!(cl.run(&["cat", "top/a"]).stdout, b"first\n");
    cl.ok(&["run", "in:top/a", "sleep 0.2; cat in > out", "-n", "one"]);
    cl.ok(&["run", "in:one/out", "cat in in > out", "-n", "two"]);
    cl.ok(&["run", "in:two/out", "wc -l < in > out", "-n", "three"]);
    cl.ok(&["wait", "three"]);
    assert_eq!(cl.ok(&["cat", "three/out"]).trim(), "2");
}

fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (path, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *contents).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}
