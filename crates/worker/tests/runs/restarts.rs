//! Workers that die, terminate or leave, and what becomes of their runs.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::setting::Setting;
use crate::support::{Records, run_message, text};

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
        let reported = |records: &mut Records| records.reports.iter().any(|(_, r)| r["uuid"] == json!(uuid));
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
