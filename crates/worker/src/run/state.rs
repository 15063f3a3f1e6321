//! Everything known about one run: what is kept on disk, and what of it is reported at a check-in.

use std::collections::BTreeSet;

use domain::run::{ProfileStats, RunBundle, RunMessage, RunReport, RunResources, StageProfile};
use domain::{BundleState, Uuid};
use serde::{Deserialize, Serialize};

use crate::runtime::{Exit, Usage};

/// Version of the files; a file with a higher one is left alone.
pub const VERSION: u32 = 1;

/// Where a run is on its way through the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Confirmation by the server, image, dependencies, directory, start.
    Preparing,
    /// The command runs.
    Running,
    /// Removal of container and links.
    CleaningUp,
    UploadingResults,
    /// Waiting for the server's `mark_finalized`.
    Finalizing,
    /// To be forgotten.
    Finished,
    /// Handed back to the server; reported until the worker exits.
    Restaged,
}

impl Stage {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preparing => "RUN_STAGE.PREPARING",
            Self::Running => "RUN_STAGE.RUNNING",
            Self::CleaningUp => "RUN_STAGE.CLEANING_UP",
            Self::UploadingResults => "RUN_STAGE.UPLOADING_RESULTS",
            Self::Finalizing => "RUN_STAGE.FINALIZING",
            Self::Finished => "RUN_STAGE.FINISHED",
            Self::Restaged => "RUN_STAGE.RESTAGED",
        }
    }

    /// The state that the server is told.
    pub const fn reported(self) -> BundleState {
        match self {
            Self::Preparing => BundleState::Preparing,
            Self::Running | Self::CleaningUp | Self::UploadingResults => BundleState::Running,
            Self::Finalizing => BundleState::Finalizing,
            Self::Finished => BundleState::Ready,
            Self::Restaged => BundleState::Staged,
        }
    }

    /// Whether the run's files must stay in the dependency cache.
    pub const fn uses_dependencies(self) -> bool {
        matches!(self, Self::Preparing | Self::Running)
    }
}

/// One run. Times are Unix seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunState {
    pub version: u32,
    pub bundle: RunBundle,
    pub resources: RunResources,
    pub stage: Stage,
    /// The server has said that this worker may start it.
    pub confirmed: bool,
    /// Random; names this attempt at the bundle.
    pub attempt: String,
    pub run_status: String,
    /// When it was accepted.
    pub accepted_at: f64,
    /// When its command was started.
    pub started_at: Option<f64>,
    /// The runtime's handle of the started command.
    pub handle: Option<String>,
    pub docker_image: Option<String>,
    pub cpuset: BTreeSet<u32>,
    pub gpuset: BTreeSet<String>,
    /// There is something to upload.
    pub has_contents: bool,
    /// Relative paths of the links to dependencies in the run directory.
    pub links: Vec<String>,
    pub time_total: f64,
    pub time_user: f64,
    pub time_system: f64,
    pub cpu_usage: f64,
    pub memory_usage: f64,
    pub memory_max: u64,
    pub disk_utilization: u64,
    /// The command was seen to have ended.
    #[serde(default)]
    pub ended: bool,
    pub exitcode: Option<i32>,
    pub failure_message: Option<String>,
    pub is_killed: bool,
    pub kill_message: Option<String>,
    pub is_restaged: bool,
    /// The server has the final state.
    pub finalized: bool,
    pub profile: ProfileStats,
}

impl RunState {
    pub fn accept(message: RunMessage, attempt: String, now: f64) -> Self {
        let mut state = Self {
            version: VERSION,
            bundle: message.bundle,
            resources: message.resources,
            stage: Stage::Preparing,
            confirmed: false,
            attempt,
            run_status: String::new(),
            accepted_at: now,
            started_at: None,
            handle: None,
            docker_image: None,
            cpuset: BTreeSet::new(),
            gpuset: BTreeSet::new(),
            has_contents: false,
            links: Vec::new(),
            time_total: 0.0,
            time_user: 0.0,
            time_system: 0.0,
            cpu_usage: 0.0,
            memory_usage: 0.0,
            memory_max: 0,
            disk_utilization: 0,
            ended: false,
            exitcode: None,
            failure_message: None,
            is_killed: false,
            kill_message: None,
            is_restaged: false,
            finalized: false,
            profile: ProfileStats::default(),
        };
        state.profile.preparing.start = Some(now);
        state
    }

    pub fn uuid(&self) -> Uuid {
        self.bundle.uuid
    }

    /// Goes to the next stage and keeps the times.
    pub fn enter(&mut self, next: Stage, now: f64) {
        if let Some(left) = self.profile_of(self.stage) {
            left.end = Some(now);
            left.elapsed = left.start.map(|start| (now - start).max(0.0));
        }
        self.stage = next;
        if let Some(entered) = self.profile_of(next)
            && entered.start.is_none()
        {
            entered.start = Some(now);
        }
    }

    fn profile_of(&mut self, stage: Stage) -> Option<&mut StageProfile> {
        match stage {
            Stage::Preparing => Some(&mut self.profile.preparing),
            Stage::Running => Some(&mut self.profile.running),
            Stage::CleaningUp => Some(&mut self.profile.cleaning_up),
            Stage::UploadingResults => Some(&mut self.profile.uploading_results),
            Stage::Finalizing => Some(&mut self.profile.finalizing),
            Stage::Finished | Stage::Restaged => None,
        }
    }

    /// Marks the run killed; several reasons are all kept.
    pub fn kill(&mut self, message: &str) {
        self.is_killed = true;
        match &mut self.kill_message {
            Some(known) if known.contains(message) => {}
            Some(known) => {
                known.push(' ');
                known.push_str(message);
            }
            None => self.kill_message = Some(message.to_owned()),
        }
    }

    /// Adds to the failure message.
    pub fn fail(&mut self, message: &str) {
        match &mut self.failure_message {
            Some(known) if !known.is_empty() => {
                known.push_str(". ");
                known.push_str(message);
            }
            slot => *slot = Some(message.to_owned()),
        }
    }

    /// Whether the command should not run (any longer).
    pub fn is_over(&self) -> bool {
        self.is_killed || self.is_restaged
    }

    pub fn measured(&mut self, usage: Usage, memory_limit: u64) {
        self.cpu_usage = usage.cpu;
        self.memory_usage = if memory_limit == 0 {
            0.0
        } else {
            usage.memory as f64 / memory_limit as f64
        };
        self.memory_max = self.memory_max.max(usage.memory_max);
        self.time_user = usage.user_seconds;
        self.time_system = usage.system_seconds;
    }

    /// Keeps how the command ended.
    pub fn ended(&mut self, exit: &Exit, now: f64) {
        self.ended = exit.code.is_some();
        if !self.is_over() {
            self.exitcode = exit.code;
            let starved = exit.out_of_memory.unwrap_or(exit.code == Some(137)) && exit.code != Some(0);
            if starved {
                // What bash has to say about the kernel's kill adds nothing.
                self.kill(&memory_message(self.resources.memory));
            } else if let Some(failure) = &exit.failure {
                self.fail(failure);
            }
        }
        self.time_total = exit
            .wall_seconds
            .or(self.started_at.map(|start| now - start))
            .unwrap_or(0.0)
            .max(0.0);
        self.time_user = exit.user_seconds.unwrap_or(0.0).max(self.time_user);
        self.time_system = exit.system_seconds.unwrap_or(0.0).max(self.time_system);
        self.cpu_usage = 0.0;
        self.memory_usage = 0.0;
    }

    /// Names in the run directory that are not the run's own: links to dependencies.
    pub fn hidden_names(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(String::as_str).filter(|path| !path.contains('/'))
    }

    /// Names in the run directory that go before the upload: links, and whole directories made for nested ones.
    pub fn names_to_remove(&self) -> BTreeSet<&str> {
        self.links.iter().filter_map(|path| path.split('/').next()).collect()
    }

    /// The entry of this run in a check-in at `now`.
    pub fn report(&self, worker_id: &str, now: f64) -> RunReport {
        let total = match (self.stage, self.started_at) {
            (Stage::Running, Some(start)) => (now - start).max(0.0),
            _ => self.time_total,
        };
        RunReport {
            uuid: self.bundle.uuid,
            run_status: self.run_status.clone(),
            bundle_start_time: self.accepted_at,
            container_time_total: total,
            container_time_user: self.time_user,
            container_time_system: self.time_system,
            docker_image: self.docker_image.clone(),
            state: self.stage.reported(),
            remote: worker_id.to_owned(),
            exitcode: self.exitcode.map(i64::from),
            failure_message: self.failure_message.clone(),
            bundle_profile_stats: Some(self.profile),
            cpu_usage: self.cpu_usage,
            memory_usage: self.memory_usage,
            disk_utilization: i64::try_from(self.disk_utilization).unwrap_or(i64::MAX),
        }
    }
}

/// Why a run over its memory limit (bytes) was killed.
pub fn memory_message(limit: i64) -> String {
    format!("Memory limit {} exceeded.", domain::size::format(limit as f64))
}

/// Why a run over its time limit was killed; both in seconds.
pub fn time_message(uptime: f64, limit: i64) -> String {
    let format = domain::duration::format;
    format!(
        "Time limit exceeded. (Container uptime {} > time limit {})",
        format(uptime),
        format(limit as f64)
    )
}

/// Why a run over its disk limit (bytes) was killed.
pub fn disk_message(limit: i64) -> String {
    format!("Disk limit {}b exceeded.", domain::size::format(limit as f64))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    pub fn message(command: &str) -> RunMessage {
        serde_json::from_value(json!({
            "bundle": {
                "uuid": "0x0000000000000000000000000000abcd", "bundle_type": "run", "owner_id": "17", "command": command,
                "state": "starting", "is_anonymous": false, "metadata": {"exclude_patterns": [], "store": ""},
                "dependencies": [],
            },
            "resources": {"cpus": 1, "gpus": 0, "docker_image": "x:latest", "time": 0, "memory": 67_108_864, "disk": 0,
                "network": true, "tag": "", "tag_exclusive": false, "runs_left": null},
        }))
        .unwrap()
    }

    #[test]
    fn limits_are_named_in_the_words_users_know() {
        assert_eq!(disk_message(2 << 20), "Disk limit 2mb exceeded.");
        assert_eq!(memory_message(64 << 20), "Memory limit 64m exceeded.");
        assert_eq!(
            time_message(1.26, 1),
            "Time limit exceeded. (Container uptime 1.3s > time limit 1.0s)"
        );
    }

    #[test]
    fn stage_times_are_kept_across_a_restart() {
        let mut state = RunState::accept(message("true"), "a".into(), 10.0);
        state.enter(Stage::Running, 13.0);
        let text = serde_json::to_string(&state).unwrap();
        let mut state: RunState = serde_json::from_str(&text).unwrap();
        state.enter(Stage::CleaningUp, 20.0);
        assert_eq!(state.profile.preparing.elapsed, Some(3.0));
        assert_eq!(state.profile.running.elapsed, Some(7.0));
        assert_eq!(state.profile.cleaning_up.elapsed, None);
    }

    #[test]
    fn a_starved_command_has_one_reason_and_others_keep_theirs() {
        let said = |code, oom| Exit {
            code: Some(code),
            out_of_memory: Some(oom),
            failure: Some("line 1: Killed".into()),
            ..Exit::default()
        };
        for (exit, failure) in [(said(137, true), None), (said(139, false), Some("line 1: Killed"))] {
            let mut state = RunState::accept(message("x"), "a".into(), 0.0);
            state.ended(&exit, 1.0);
            assert_eq!(state.failure_message.as_deref(), failure);
            assert!(state.ended);
        }
    }

    #[test]
    fn an_exit_is_read_in_the_light_of_what_happened() {
        let killed = |code, oom| Exit {
            code: Some(code),
            out_of_memory: oom,
            ..Exit::default()
        };
        for (exit, memory) in [
            (killed(0, Some(false)), false),
            (killed(0, Some(true)), false),
            (killed(137, Some(false)), false),
            (killed(137, None), true),
            (killed(1, Some(true)), true),
        ] {
            let mut state = RunState::accept(message("x"), "a".into(), 0.0);
            state.ended(&exit, 1.0);
            assert_eq!(state.kill_message.is_some(), memory, "{exit:?}");
            assert_eq!(state.exitcode, exit.code);
        }
        let mut state = RunState::accept(message("x"), "a".into(), 0.0);
        state.kill("Kill requested");
        state.ended(&killed(137, Some(false)), 1.0);
        assert_eq!(
            (state.exitcode, state.kill_message.as_deref()),
            (None, Some("Kill requested"))
        );
    }
}
