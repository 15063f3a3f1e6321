//! The worker's binary against a minimal server, with the process runtime and, where an engine and the default image
//! are at hand, with Docker.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};
use support::{Server, Worker, new_uuid, run_message, tar_gz, text, untar};

struct Setting {
    directory: tempfile::TempDir,
    server: Server,
    runtime: &'static str,
}

impl Setting {
    /// `None` where the runtime is not available.
    async fn new(runtime: &'static str) -> Option<Self> {
        if runtime == "docker" {
            let image = ["image", "inspect", "codalab/default-cpu:latest"];
            let found = std::process::Command::new("docker").args(image).output();
            if !found.is_ok_and(|output| output.status.success()) {
                eprintln!("no Docker engine or no image (see tools/docker): not tested");
                return None;
            }
        }
        Some(Self {
            directory: tempfile::tempdir().unwrap(),
            server: Server::start().await,
            runtime,
        })
    }

    fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    fn worker(&self) -> Worker {
        self.worker_with(&[])
    }

    fn worker_with(&self, more: &[&str]) -> Worker {
        let mut options = vec!["--bundle-runtime", self.runtime, "--id", "w(1)", "--gpuset", "NONE"];
        options.extend(more);
        self.server.worker(&self.work(), &options)
    }

    /// Queues a run.
    fn run(&self, command: &str, changes: &Value) -> String {
        let uuid = new_uuid();
        self.server.send(run_message(&uuid, command, changes));
        uuid
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.work().with_extension("log")).unwrap_or_default();
            eprintln!("--- worker\n{log}");
        }
    }
}

fn dependency(uuid: &str, path: &str, child_path: &str) -> Value {
    json!({"parent_name": "p", "parent_path": path, "parent_uuid": uuid, "child_path": child_path, "child_uuid": uuid,
        "location": null})
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_its_output_and_exit_code(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let _worker = setting.worker();
    for (command, code) in [
        ("echo hello; echo oops >&2; pwd; echo $HOME", 0),
        ("echo hello; echo oops >&2; exit 3", 3),
    ] {
        let uuid = setting.run(command, &json!({}));
        let (report, files) = setting.server.result(&uuid).await;
        assert_eq!(report["exitcode"], code, "{report}");
        assert_eq!(report["failure_message"], Value::Null);
        assert!(text(&files, "stdout").starts_with("hello\n"));
        assert_eq!(text(&files, "stderr"), "oops\n");
        assert_eq!(files.len(), 2);
        for stage in ["PREPARING", "RUNNING", "CLEANING_UP", "UPLOADING_RESULTS"] {
            let elapsed = &report["bundle_profile_stats"][format!("RUN_STAGE.{stage}")]["elapsed"];
            assert!(elapsed.as_f64().unwrap() > 0.0, "{stage}: {report}");
        }
        setting
            .server
            .wait("the run is forgotten", |r| {
                (r.check_ins.last()?["runs"] == json!([])).then_some(())
            })
            .await;
        assert!(!setting.work().join("runs").join(&uuid).exists());
    }
    let states = setting.work().join("worker-state-w(1)");
    assert_eq!(std::fs::read_dir(states).unwrap().count(), 0);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn limits_end_a_run_with_a_reason(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let _worker = setting.worker();
    let hog =
        "python3 -c 'x = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(60)'";
    let cases = [
        (
            "sleep 100",
            json!({"resources": {"time": 1}}),
            "Time limit exceeded. (Container uptime 1.",
        ),
        (
            hog,
            json!({"resources": {"memory": 100 << 20}}),
            "Memory limit 100m exceeded.",
        ),
        (
            "head -c 3000000 /dev/zero >big; sleep 100",
            json!({"resources": {"disk": 2 << 20}}),
            "Disk limit 2mb exceeded.",
        ),
        (
            "head -c 3000000 /dev/zero >big",
            json!({"resources": {"disk": 2 << 20}}),
            "Disk limit 2mb exceeded.",
        ),
    ];
    for (command, changes, message) in cases {
        let uuid = setting.run(&format!("echo start; {command}"), &changes);
        let (report, files) = setting.server.result(&uuid).await;
        let failure = report["failure_message"].as_str().unwrap_or_default();
        assert!(failure.contains(message), "{report}");
        assert_eq!(text(&files, "stdout"), "start\n", "what there was is uploaded");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_the_run_and_keeps_its_output(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let _worker = setting.worker();
    let uuid = setting.run("echo here; sleep 1000", &json!({}));
    setting.server.reported(&uuid, "running").await;
    let stdout = setting.work().join("runs").join(&uuid).join("stdout");
    let printed = || std::fs::metadata(&stdout).is_ok_and(|found| found.len() > 0);
    setting
        .server
        .wait("the command has begun", |_| printed().then_some(()))
        .await;
    let asked = Instant::now();
    setting.server.send(json!({"type": "kill", "uuid": uuid}));
    let (report, files) = setting.server.result(&uuid).await;
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(report["failure_message"], "Kill requested");
    assert_eq!(text(&files, "stdout"), "here\n");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn dependencies_are_there_but_never_uploaded(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let (data, program) = (new_uuid(), new_uuid());
    setting.server.look(|records| {
        let tree = tar_gz(&[("a.txt", "alpha\n", 0o644), ("sub/b.txt", "beta\n", 0o644)]);
        records.contents.insert(format!("{data}/"), ("directory", 0o755, tree));
        records
            .contents
            .insert(format!("{data}/a.txt"), ("file", 0o644, b"alpha\n".to_vec()));
        records.contents.insert(
            format!("{program}/"),
            ("file", 0o755, b"#!/bin/sh\ncat data/a.txt\n".to_vec()),
        );
    });
    let _worker = setting.worker();
    let dependencies = json!([
        dependency(&data, "", "data"),
        dependency(&data, "a.txt", "deep/er/alpha"),
        dependency(&data, "", "."),
        dependency(&program, "", "prog.sh"),
    ]);
    let command = "./prog.sh; cat deep/er/alpha sub/b.txt data/sub/b.txt; echo x >data/a.txt; ls";
    let uuid = setting.run(command, &json!({"bundle": {"dependencies": dependencies}}));
    let (report, files) = setting.server.result(&uuid).await;
    assert_eq!(report["failure_message"], Value::Null, "{report}");
    let listing = "a.txt\ndata\ndeep\nprog.sh\nstderr\nstdout\nsub\n";
    assert_eq!(
        text(&files, "stdout"),
        format!("alpha\nalpha\nbeta\nbeta\n{listing}"),
        "{}",
        text(&files, "stderr")
    );
    assert!(
        text(&files, "stderr").contains("Read-only file system"),
        "{}",
        text(&files, "stderr")
    );
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        ["stderr", "stdout"]
    );
    let known = setting.server.look(|records| {
        records.check_ins.last().unwrap()["dependencies"]
            .as_array()
            .unwrap()
            .len()
    });
    assert_eq!(known, 3);
    // The second run finds everything in the cache.
    setting.server.look(|records| records.contents.clear());
    let uuid = setting.run(command, &json!({"bundle": {"dependencies": dependencies}}));
    let (_, files) = setting.server.result(&uuid).await;
    assert!(text(&files, "stdout").starts_with("alpha\n"));
}

#[rstest]
#[case("../x", "Invalid dependency path")]
#[case("/etc", "Invalid dependency path")]
#[case("data", "Failed to download dependency data: Dependency download failed: ")]
#[tokio::test(flavor = "multi_thread")]
async fn bad_dependencies_fail_the_bundle(#[case] child_path: &str, #[case] message: &str) {
    let Some(setting) = Setting::new("process").await else {
        return;
    };
    let parent = new_uuid();
    setting.server.look(|records| {
        if child_path != "data" {
            records
                .contents
                .insert(format!("{parent}/"), ("file", 0o644, b"x".to_vec()));
        }
    });
    let _worker = setting.worker();
    let uuid = setting.run(
        "true",
        &json!({"bundle": {"dependencies": [dependency(&parent, "", child_path)]}}),
    );
    let (report, files) = setting.server.result(&uuid).await;
    assert!(
        report["failure_message"].as_str().unwrap().contains(message),
        "{report}"
    );
    assert!(files.is_empty());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_running_bundle_can_be_read_but_not_escaped(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let data = new_uuid();
    setting.server.look(|records| {
        records
            .contents
            .insert(format!("{data}/"), ("file", 0o644, b"x".to_vec()));
    });
    let _worker = setting.worker();
    let command = "echo one; echo two; mkdir d; echo in >d/f; ln -s d latest; ln -s / trap; ln -s /etc/passwd message; \
                   while [ ! -e go ]; do sleep 0.05; done; cat go";
    let uuid = setting.run(
        command,
        &json!({"bundle": {"dependencies": [dependency(&data, "", "data")]}}),
    );
    setting.server.reported(&uuid, "running").await;
    let server = &setting.server;
    server
        .wait("the links are made", |_| {
            setting
                .work()
                .join("runs")
                .join(&uuid)
                .join("message")
                .is_symlink()
                .then_some(())
        })
        .await;
    let info = server
        .read(&uuid, "", json!({"type": "get_target_info", "depth": 1}))
        .await
        .unwrap_err();
    let names: Vec<&str> = info["target_info"]["contents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["d", "latest", "message", "stderr", "stdout", "trap"]);
    assert_eq!(info["target_info"]["resolved_target"]["bundle_uuid"], json!(uuid));
    let file = json!({"type": "stream_file"});
    assert_eq!(server.read(&uuid, "stdout", file.clone()).await.unwrap(), b"one\ntwo\n");
    assert_eq!(server.read(&uuid, "latest/f", file.clone()).await.unwrap(), b"in\n");
    let section = |offset| json!({"type": "read_file_section", "offset": offset, "length": 3});
    assert_eq!(server.read(&uuid, "stdout", section(4)).await.unwrap(), b"two");
    assert_eq!(server.read(&uuid, "stdout", section(99)).await.unwrap(), b"");
    let tail = json!({"type": "summarize_file", "num_head_lines": 0, "num_tail_lines": 1, "max_line_length": 9,
        "truncation_text": ""});
    assert_eq!(server.read(&uuid, "stdout", tail).await.unwrap(), b"two\n");
    let tree = untar(
        &server
            .read(&uuid, "", json!({"type": "stream_directory"}))
            .await
            .unwrap(),
    );
    assert!(
        tree.contains_key("d/f") && !tree.contains_key("data"),
        "{:?}",
        tree.keys()
    );
    for (path, code) in [
        ("trap/etc/passwd", 404),
        ("../../x", 404),
        ("data", 404),
        ("nothing", 404),
        ("message", 403),
    ] {
        let error = server.read(&uuid, path, file.clone()).await.unwrap_err();
        assert_eq!(error["error_code"], code, "{path}: {error}");
    }
    let unknown = server.read(&new_uuid(), "", file).await.unwrap_err();
    assert_eq!(
        unknown,
        json!({"error_code": 500, "error_message": "Bundle no longer running"})
    );
    server.send(json!({"type": "write", "uuid": uuid, "subpath": "message", "string": "broken"}));
    server.send(json!({"type": "write", "uuid": uuid, "subpath": "go", "string": "hello\tworld"}));
    let (_, files) = server.result(&uuid).await;
    assert_eq!(text(&files, "stdout"), "one\ntwo\nhello\tworld");
    assert_eq!(text(&files, "message"), "/etc/passwd");
    assert!(server.look(|records| records.replies.values().all(|all| all.len() == 1)));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn netcat_reaches_a_port_of_the_run(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let _worker = setting.worker();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let serve = format!(
        "python3 -c 'import socket\ns = socket.create_server((\"0.0.0.0\", {port}))\nopen(\"ready\", \"w\")\n\
         c, _ = s.accept()\nc.sendall(b\"got \" + c.recv(99))'"
    );
    let uuid = setting.run(&serve, &json!({}));
    setting.server.reported(&uuid, "running").await;
    let ready = setting.work().join("runs").join(&uuid).join("ready");
    setting
        .server
        .wait("the port is open", |_| ready.exists().then_some(()))
        .await;
    let netcat = json!({"type": "netcat", "uuid": uuid, "socket_id": 5, "port": port, "message": "hi"});
    assert_eq!(setting.server.ask(5, netcat).await, (true, b"got hi".to_vec()));
    setting.server.result(&uuid).await;
    let netcat = json!({"type": "netcat", "uuid": uuid, "socket_id": 6, "port": port, "message": "hi"});
    let (is_data, error) = setting.server.ask(6, netcat).await;
    assert!(!is_data && String::from_utf8_lossy(&error).contains("500"));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_its_worker_and_is_executed_once(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let worker = setting.worker();
    // One ends while no worker is there, the other one later.
    let short = setting.run(
        "echo once >>log; while [ ! -e go ]; do sleep 0.05; done; exit 4",
        &json!({}),
    );
    let long = setting.run(
        "echo once >>log; while [ ! -e go ]; do sleep 0.05; done; exit 5",
        &json!({}),
    );
    setting.server.reported(&short, "running").await;
    setting.server.reported(&long, "running").await;
    worker.kill();
    let go = |uuid: &str| std::fs::write(setting.work().join("runs").join(uuid).join("go"), "").unwrap();
    go(&short);
    let before = setting.server.look(|records| records.check_ins.len());
    let _worker = setting.worker();
    setting
        .server
        .wait("the new worker checks in", |records| {
            (records.check_ins.len() > before).then_some(())
        })
        .await;
    let (report, files) = setting.server.result(&short).await;
    assert_eq!(
        (&report["exitcode"], &report["failure_message"]),
        (&json!(4), &Value::Null),
        "{report}"
    );
    assert_eq!(text(&files, "log"), "once\n");
    go(&long);
    let (report, files) = setting.server.result(&long).await;
    assert_eq!(report["exitcode"], 5, "{report}");
    assert_eq!(text(&files, "log"), "once\n");
    assert!(
        setting
            .server
            .look(|records| records.uploads.values().all(|uploads| uploads.len() == 1))
    );
}

/// The worker is killed at moments spread over the whole life of a run.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_moment_to_kill_the_worker_makes_a_run_start_twice(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let command = "echo once >>log; sleep 0.1; echo done";
    let mut moment = Duration::from_millis(1);
    let mut worker = setting.worker();
    for _ in 0..12 {
        let uuid = setting.run(command, &json!({}));
        setting
            .server
            .wait("the message is taken", |records| records.queue.is_empty().then_some(()))
            .await;
        tokio::time::sleep(moment).await;
        worker.kill();
        worker = setting.worker();
        // A message that a worker took with it is sent again until it has an effect, as real servers do.
        let noted = setting.work().join("worker-state-w(1)").join(format!("{uuid}.json"));
        let reported = |records: &mut support::Records| records.reports.iter().any(|(_, r)| r["uuid"] == json!(uuid));
        let mut sent = Instant::now();
        setting
            .server
            .wait("the message has an effect", |records| {
                if noted.exists() || reported(records) {
                    return Some(());
                }
                if sent.elapsed() > Duration::from_millis(300) {
                    sent = Instant::now();
                    records.queue.push(run_message(&uuid, command, &json!({})));
                }
                None
            })
            .await;
        let (report, files) = setting.server.result(&uuid).await;
        assert_eq!(
            (&report["exitcode"], &report["failure_message"]),
            (&json!(0), &Value::Null),
            "{moment:?} {report}"
        );
        assert_eq!(
            (text(&files, "log"), text(&files, "stdout")),
            ("once\n".into(), "done\n".into()),
            "{moment:?}"
        );
        moment = moment * 3 / 2;
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn termination_hands_runs_back_when_asked_to(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let mut worker = setting.worker_with(&["--pass-down-termination"]);
    let uuid = setting.run("sleep 1000", &json!({}));
    setting.server.reported(&uuid, "running").await;
    worker.terminate();
    setting.server.reported(&uuid, "staged").await;
    assert!(worker.0.wait().unwrap().success());
    let last = setting
        .server
        .look(|records| records.check_ins.last().cloned())
        .unwrap();
    assert_eq!(
        (&last["is_terminating"], &last["runs"][0]["state"]),
        (&json!(true), &json!("staged"))
    );
    assert!(setting.server.look(|records| records.uploads.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_termination_leaves_runs_alone() {
    let Some(setting) = Setting::new("process").await else {
        return;
    };
    let mut worker = setting.worker();
    let uuid = setting.run("while [ ! -e go ]; do sleep 0.05; done; echo fine", &json!({}));
    setting.server.reported(&uuid, "running").await;
    worker.terminate();
    assert!(worker.0.wait().unwrap().success());
    let _worker = setting.worker();
    std::fs::write(setting.work().join("runs").join(&uuid).join("go"), "").unwrap();
    let (report, files) = setting.server.result(&uuid).await;
    assert_eq!(
        (report["exitcode"].as_i64(), text(&files, "stdout").as_str()),
        (Some(0), "fine\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_is_repeated_or_reported() {
    let Some(setting) = Setting::new("process").await else {
        return;
    };
    let _worker = setting.worker();
    setting.server.look(|records| records.refuse_uploads = vec![500]);
    let uuid = setting.run(
        "echo kept",
        &json!({"bundle": {"metadata": {"exclude_patterns": ["*.tmp"]}}}),
    );
    let (report, files) = setting.server.result(&uuid).await;
    assert_eq!(
        (&report["failure_message"], text(&files, "stdout").as_str()),
        (&Value::Null, "kept\n")
    );
    setting.server.look(|records| records.refuse_uploads = vec![400]);
    let uuid = setting.run("touch a.tmp", &json!({}));
    let (report, _) = setting.server.result(&uuid).await;
    assert_eq!(
        report["failure_message"],
        "Error while uploading: Upload failed: no room"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_files_stay_out_and_foreign_bundles_are_refused_without_a_container() {
    let Some(setting) = Setting::new("process").await else {
        return;
    };
    let _worker = setting.worker();
    let patterns = json!({"bundle": {"metadata": {"exclude_patterns": ["*bye*.txt", "junk"]}}});
    let uuid = setting.run("mkdir junk; touch junk/x goodbye1.txt hello.txt", &patterns);
    let (_, files) = setting.server.result(&uuid).await;
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        ["hello.txt", "stderr", "stdout"]
    );
    let uuid = setting.run("true", &json!({"bundle": {"owner_id": "18"}}));
    let (report, _) = setting.server.result(&uuid).await;
    assert!(
        report["failure_message"]
            .as_str()
            .unwrap()
            .contains("accepts only bundles of its own account")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_fails_the_bundle_with_its_name() {
    let Some(setting) = Setting::new("docker").await else {
        return;
    };
    let _worker = setting.worker();
    for image in ["localhost:1/no/such-image:latest", "Not A Reference"] {
        let uuid = setting.run("true", &json!({"resources": {"docker_image": image}}));
        let (report, _) = setting.server.result(&uuid).await;
        let failure = report["failure_message"].as_str().unwrap();
        assert!(failure.starts_with("Failed to download Docker image: "), "{failure}");
    }
}

/// Makes an image from a container of the default image, or from nothing.
fn make_image(name: &str, script: &str) {
    let script = format!("set -e; docker image inspect {name} >/dev/null 2>&1 && exit; {script}");
    assert!(
        std::process::Command::new("bash")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn images_cannot_change_how_the_command_is_run() {
    let Some(setting) = Setting::new("docker").await else {
        return;
    };
    make_image(
        "codalab-test/entrypoint",
        "id=$(docker create codalab/default-cpu:latest true); \
         docker commit --change 'ENTRYPOINT [\"/bin/false\"]' --change 'WORKDIR /usr' --change 'USER nobody' $id \
         codalab-test/entrypoint >/dev/null; docker rm $id >/dev/null",
    );
    make_image(
        "codalab-test/bare",
        "mkdir -p /tmp/codalab-bare/etc; tar c -C /tmp/codalab-bare . | docker import - codalab-test/bare",
    );
    let _worker = setting.worker();
    let uuid = setting.run(
        "pwd; id -u",
        &json!({"resources": {"docker_image": "codalab-test/entrypoint", "network": false}}),
    );
    let (report, files) = setting.server.result(&uuid).await;
    assert_eq!(report["exitcode"], 0, "{report}");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(setting.work()).unwrap());
    assert_eq!(text(&files, "stdout"), format!("/{uuid}\n{owner}\n"));
    for (changes, message) in [
        (json!({"docker_image": "codalab-test/bare"}), "/bin/bash"),
        (json!({"memory": 1000}), "memory"),
    ] {
        let uuid = setting.run("true", &json!({"resources": changes}));
        let (report, _) = setting.server.result(&uuid).await;
        let failure = report["failure_message"].as_str().unwrap_or_default();
        assert!(failure.contains(message), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_unless_it_is_too_large() {
    let Some(setting) = Setting::new("docker").await else {
        return;
    };
    let (name, digest) = support::registry::start().await;
    let worker = setting.worker_with(&["--max-image-size", "1m"]);
    let changes = json!({"resources": {"docker_image": name}});
    let uuid = setting.run("true", &changes);
    let (report, _) = setting.server.result(&uuid).await;
    let failure = report["failure_message"].as_str().unwrap_or_default();
    let start = format!("Failed to download Docker image: The size of {name}:latest: 2");
    assert!(failure.starts_with(&start), "{failure}");
    assert!(
        failure.ends_with("m exceeds the maximum image size allowed 1m."),
        "{failure}"
    );
    worker.kill();
    let _worker = setting.worker();
    let uuid = setting.run("true", &changes);
    let (report, _) = setting.server.result(&uuid).await;
    let removed = std::process::Command::new("docker").args(["rmi", "-f", &name]).output();
    assert!(removed.unwrap().status.success());
    // There is no bash in it, but it was taken.
    assert_eq!(report["docker_image"], format!("{name}@{digest}"), "{report}");
    assert!(
        report["failure_message"].as_str().unwrap().contains("/bin/bash"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_vanishes_is_noticed() {
    let Some(setting) = Setting::new("docker").await else {
        return;
    };
    let _worker = setting.worker();
    let uuid = setting.run("echo here; sleep 1000", &json!({}));
    setting.server.reported(&uuid, "running").await;
    let remove = std::process::Command::new("docker")
        .args(["rm", "-f", &format!("codalab_run_{uuid}")])
        .output();
    assert!(remove.unwrap().status.success());
    let (report, _) = setting.server.result(&uuid).await;
    let failure = report["failure_message"].as_str().unwrap_or_default();
    assert!(
        failure == "Docker container not found" || report["exitcode"] == 137,
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_network_has_none() {
    let Some(setting) = Setting::new("process").await else {
        return;
    };
    let _worker = setting.worker();
    let uuid = setting.run(
        "tail -n +2 /proc/net/route | wc -l",
        &json!({"resources": {"network": false}}),
    );
    let (report, files) = setting.server.result(&uuid).await;
    assert_eq!(report["failure_message"], Value::Null, "{report}");
    // No way out, where namespaces are permitted.
    let log = std::fs::read_to_string(setting.work().with_extension("log")).unwrap();
    assert!(
        text(&files, "stdout").starts_with("0\n") || !log.contains("own mount"),
        "{}",
        text(&files, "stdout")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_conditions_are_honoured() {
    let Some(setting) = Setting::new("process").await else {
        return;
    };
    let mut worker = setting.worker_with(&["--exit-after-num-runs", "1", "--delete-work-dir-on-exit"]);
    let first = setting.run("echo 1", &json!({}));
    let (report, _) = setting.server.result(&first).await;
    assert_eq!(report["exitcode"], 0);
    assert!(worker.0.wait().unwrap().success());
    assert!(!setting.work().exists());
    let mut idle = setting.worker_with(&["--exit-when-idle", "--idle-seconds", "1"]);
    assert!(idle.0.wait().unwrap().success());
}

/// Not an assertion about speed, which a loaded machine would break, but the figures are printed.
#[tokio::test(flavor = "multi_thread")]
async fn the_happy_path_does_not_wait_for_timers() {
    let Some(setting) = Setting::new("process").await else {
        return;
    };
    let _worker = setting.worker();
    let warm = setting.run("true", &json!({}));
    setting.server.result(&warm).await;
    let begin = Instant::now();
    let uuid = setting.run("true", &json!({}));
    setting.server.result(&uuid).await;
    let elapsed = begin.elapsed();
    eprintln!("from message to finalizing: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
}
