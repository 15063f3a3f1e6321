//! Runs from the message to the final report: output, exit codes, dependencies, uploads.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::setting::{Setting, dependency};
use crate::support::{new_uuid, tar_gz, text};

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
