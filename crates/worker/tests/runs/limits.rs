//! What ends or fences a run: kill, time, memory, disk, network.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::setting::Setting;
use crate::support::text;

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
