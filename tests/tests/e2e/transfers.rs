//! Contents on their way in and out: odd trees, parts of files, large files, many clients at once.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use codalab_tests::{Runtime, Setup, System};
use rstest::rstest;
use testkit::Engine;

#[test]
fn an_odd_tree_survives_upload_run_and_download() {
    let system = System::start(Setup::new(Engine::Sqlite, Runtime::Process));
    let cl = system.cl();
    let script = system.write("tree/bin/say hello.sh", "#!/bin/sh\necho hello from $1\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    system.write("tree/größe/ünïcode.txt", "ü\n");
    system.write("tree/empty", "");
    fs::create_dir_all(system.files().join("tree/nothing inside")).unwrap();
    symlink("empty", system.files().join("tree/link")).unwrap();
    system.write("tree/junk.o", "object");
    cl.ok(&["upload", "tree", "-x", "*.o"]);
    let run = cl.ok(&[
        "run",
        "t:tree",
        "'t/bin/say hello.sh' run; cat t/gr*/*; cp -r t/. copy",
        "-n",
        "odd",
    ]);
    cl.ok(&["wait", &run]);
    assert_eq!(cl.ok(&["cat", "odd/stdout"]), "hello from run\nü");
    for target in ["tree", "odd/copy"] {
        let name = format!("copy-{}", target.replace('/', "-"));
        cl.ok(&["download", target, "-o", &name]);
        let copy = system.files().join(&name);
        let mode = fs::metadata(copy.join("bin/say hello.sh"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111, "{target}: programs stay programs");
        assert_eq!(fs::read(copy.join("größe/ünïcode.txt")).unwrap(), "ü\n".as_bytes());
        assert!(copy.join("nothing inside").is_dir(), "{target}");
        assert_eq!(
            fs::read_link(copy.join("link")).unwrap(),
            Path::new("empty"),
            "{target}"
        );
        assert!(!copy.join("junk.o").exists(), "{target}");
    }
}

#[test]
fn parts_of_files_are_served_as_clients_of_1_7_expect() {
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    let uuid = system.cl().ok(&["upload", "-c", "0123456789", "-n", "digits"]);
    let (http, path) = (system.http(), format!("/rest/bundles/{uuid}/contents/blob/"));
    for (range, expected) in [
        ("bytes=2-4", "234"),
        ("bytes=8-100", "89"),
        ("bytes=10-20", ""),
        ("bytes=99-100", ""),
    ] {
        let answer = http.request("GET", &path, &[("Range", range)], b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{range}");
    }
    let answer = http.request("GET", &path, &[("Range", "bytes=x")], b"");
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = http.get(&path);
    assert_eq!(answer.header("Target-Type"), Some("file"));
    assert_eq!(answer.header("X-Codalab-Target-Size"), Some("10"));
    let answer = http.request("GET", &path, &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(answer.header("Content-Encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(answer.body.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "0123456789");
    let info = http.get(&format!("/rest/bundles/{uuid}/contents/info/")).json();
    assert_eq!(
        (&info["data"]["type"], &info["data"]["size"]),
        (&"file".into(), &10.into())
    );
}

#[test]
fn a_large_file_passes_through_little_memory() {
    const SIZE: usize = 192 << 20;
    let system = System::start(Setup::without_worker(Engine::Sqlite));
    let cl = system.cl();
    let mut random = fs::File::open("/dev/urandom").unwrap().take(SIZE as u64);
    let mut file = fs::File::create(system.files().join("large")).unwrap();
    std::io::copy(&mut random, &mut file).unwrap();
    let uuid = cl.ok(&["upload", "large"]);
    cl.ok(&["download", &uuid, "-o", "back"]);
    let same = std::process::Command::new("cmp")
        .args(["large", "back"])
        .current_dir(system.files())
        .status()
        .unwrap();
    assert!(same.success());
    let status = fs::read_to_string(format!("/proc/{}/status", system.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 120 * 1024, "the server's memory peaked at {kib} KiB");
}

#[rstest]
fn many_clients_at_once_lose_nothing(#[values(Engine::Sqlite, Engine::Mariadb)] database: Engine) {
    let setup = Setup::new(database, Runtime::Process);
    if setup.is_skipped() {
        return;
    }
    const CLIENTS: usize = 6;
    const ROUNDS: usize = 4;
    let system = System::start(setup);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let system = &system;
            scope.spawn(move || {
                let cl = system.cl().with("CODALAB_SESSION", &format!("client-{client}"));
                for round in 0..ROUNDS {
                    let text = format!("{client}/{round}");
                    let data = cl.ok(&["upload", "-c", &text, "-n", "text"]);
                    let run = cl.ok(&["run", &format!("in:{data}"), "cat in in > out"]);
                    cl.ok(&["wait", &run]);
                    assert_eq!(cl.ok(&["cat", &format!("{run}/out")]), format!("{text}{text}"));
                }
            });
        }
    });
    let count = system.cl().ok(&["search", ".count", "owner=codalab"]);
    assert_eq!(count, (2 * CLIENTS * ROUNDS).to_string());
    assert_eq!(
        system.cl().ok(&["ls", "-u"]).lines().count(),
        2 * CLIENTS * ROUNDS,
        "every one is on the worksheet"
    );
}
