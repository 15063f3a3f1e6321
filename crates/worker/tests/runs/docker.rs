//! What only concerns containers: images, entry points, vanished containers.

use serde_json::json;

use crate::setting::Setting;
use crate::support::{registry, text};

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
    let (name, digest) = registry::start().await;
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
