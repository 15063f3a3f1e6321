//! A server, a work directory and workers on them.

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::DockerTurn;

use crate::support::{Server, Worker, new_uuid, run_message};

pub struct Setting {
    pub directory: tempfile::TempDir,
    pub server: Server,
    pub runtime: &'static str,
    _docker: Option<DockerTurn>,
}

impl Setting {
    /// `None` where the runtime is not available.
    pub async fn new(runtime: &'static str) -> Option<Self> {
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
            _docker: (runtime == "docker").then(DockerTurn::shared),
        })
    }

    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    pub fn worker(&self) -> Worker {
        self.worker_with(&[])
    }

    pub fn worker_with(&self, more: &[&str]) -> Worker {
        let mut options = vec!["--bundle-runtime", self.runtime, "--id", "w(1)", "--gpuset", "NONE"];
        options.extend(more);
        self.server.worker(&self.work(), &options)
    }

    /// Queues a run.
    pub fn run(&self, command: &str, changes: &Value) -> String {
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

pub fn dependency(uuid: &str, path: &str, child_path: &str) -> Value {
    json!({"parent_name": "p", "parent_path": path, "parent_uuid": uuid, "child_path": child_path, "child_uuid": uuid,
        "location": null})
}
