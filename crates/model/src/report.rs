//! A worker's report about one of its runs (data-model section 6.4, scheduler section 7).

use domain::run::RunReport;
use domain::{BundleState, Metadata, Permission, Result, Uuid};
use serde_json::Value;

use crate::bundles::metadata;
use crate::db::{Tx, params};
use crate::outbox::forget_run;
use crate::quota::{LockedBundle, charge_time, lock_bundle, quota, set_size};
use crate::transitions::{reset, set_state};
use crate::workers::{assign, assigned_to, release};
use crate::{Model, ObjectKind, WorkerKey};

/// What a report did.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportOutcome {
    /// Stored; the bundle is now in this state. When it is `finalizing` the caller goes on with `finalize_run`.
    Applied {
        state: BundleState,
        /// The kill message when the owner's quota is used up.
        over_quota: Option<String>,
    },
    /// The worker gave the run back; it is `staged` again.
    Restaged,
    /// The run does not belong to this worker: answer with a kill, and with `mark_finalized` if it was finalizing.
    /// `state` is none when there is no such bundle.
    NotAssigned { state: Option<BundleState> },
    /// The reported state is none that a worker reports, or one the run has left behind.
    Ignored,
}

impl Model {
    /// Applies one entry of a check-in in one transaction.
    pub async fn report_run(&self, worker: &WorkerKey, report: &RunReport, now: i64) -> Result<ReportOutcome> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let outcome = self.report_in(&mut tx, worker, report, now).await?;
                if matches!(outcome, ReportOutcome::Applied { .. } | ReportOutcome::Restaged) {
                    tx.commit().await?;
                }
                Ok(outcome)
            })
            .await
    }

    async fn report_in(&self, tx: &mut Tx, worker: &WorkerKey, report: &RunReport, now: i64) -> Result<ReportOutcome> {
        use BundleState::{Finalizing, Preparing, Running, Staged};
        if !matches!(report.state, Staged | Preparing | Running | Finalizing) {
            return Ok(ReportOutcome::Ignored);
        }
        let Some(bundle) = lock_bundle(tx, report.uuid).await? else {
            return Ok(ReportOutcome::NotAssigned { state: None });
        };
        if !self.belongs_to(tx, &bundle, worker, report.uuid).await? {
            return Ok(ReportOutcome::NotAssigned {
                state: Some(bundle.state),
            });
        }
        let upload_failed = bundle.state == BundleState::Failed;
        if report.state == Staged {
            if upload_failed {
                return Ok(ReportOutcome::NotAssigned {
                    state: Some(bundle.state),
                });
            }
            release(tx, report.uuid).await?;
            forget_run(tx, report.uuid).await?;
            reset(tx, report.uuid).await?;
            set_state(tx, report.uuid, &[], Staged).await?;
            return Ok(ReportOutcome::Restaged);
        }
        if bundle.state == Finalizing && report.state != Finalizing {
            return Ok(ReportOutcome::Ignored);
        }
        if bundle.state == BundleState::WorkerOffline {
            assign(tx, report.uuid, worker).await?;
        }
        self.charge(tx, &bundle, worker, report).await?;
        self.store_report(tx, report, upload_failed, now).await?;
        // A run whose upload was refused stays failed until its worker is done with it.
        let state = if upload_failed && report.state != Finalizing {
            bundle.state
        } else {
            report.state
        };
        set_state(tx, report.uuid, &[], state).await?;
        let over_quota = match &bundle.owner_id {
            Some(owner) if report.state != Finalizing => over_quota(tx, owner).await?,
            _ => None,
        };
        Ok(ReportOutcome::Applied { state, over_quota })
    }

    /// Whether the worker may report: the run is assigned to it, or to nobody after contact was lost. A bundle in a final
    /// state is only reported on when its upload failed while the worker still had it.
    async fn belongs_to(&self, tx: &mut Tx, bundle: &LockedBundle, worker: &WorkerKey, run: Uuid) -> Result<bool> {
        if bundle.state.is_final() && bundle.state != BundleState::Failed {
            return Ok(false);
        }
        match assigned_to(tx, run).await? {
            Some(assigned) => Ok(assigned == *worker),
            None if bundle.state == BundleState::WorkerOffline => {
                let sql = "SELECT COUNT(*) FROM `worker` WHERE `user_id` = ? AND `worker_id` = ?";
                let known = tx.count(sql, params![&worker.user_id, &worker.worker_id]).await? > 0;
                let have = self
                    .permissions_in(tx, ObjectKind::Bundle, Some(&worker.user_id), &[run])
                    .await?;
                Ok(known && have == [Permission::All])
            }
            None => Ok(false),
        }
    }

    /// Charges the owner for container time on root's workers. A time smaller than the stored one is that of a new
    /// attempt and is charged in full.
    async fn charge(&self, tx: &mut Tx, bundle: &LockedBundle, worker: &WorkerKey, report: &RunReport) -> Result<()> {
        let new = report.container_time_total.max(0.0);
        let Some(owner) = bundle
            .owner_id
            .as_ref()
            .filter(|_| self.is_root(Some(&worker.user_id)) && new.is_finite())
        else {
            return Ok(());
        };
        let old = metadata::number(tx, report.uuid, "time").await?;
        let charge = if new < old { new } else { new - old };
        if charge == 0.0 {
            return Ok(());
        }
        charge_time(tx, report.uuid, owner, charge).await
    }

    async fn store_report(&self, tx: &mut Tx, report: &RunReport, upload_failed: bool, now: i64) -> Result<()> {
        let uuid = report.uuid;
        let mut changes = Metadata::new();
        changes.set("run_status", report.run_status.as_str());
        changes.set("last_updated", now);
        changes.set("time", report.container_time_total);
        changes.set("time_user", report.container_time_user);
        changes.set("time_system", report.container_time_system);
        changes.set("remote", report.remote.as_str());
        changes.set("cpu_usage", report.cpu_usage);
        changes.set("memory_usage", report.memory_usage);
        if let Some(image) = &report.docker_image {
            changes.set("docker_image", image.as_str());
        }
        if let Some(stats) = &report.bundle_profile_stats {
            for (key, elapsed) in stats.elapsed() {
                changes.set(key, elapsed.map_or(Value::Null, Value::from));
            }
        }
        if report.state == BundleState::Finalizing {
            let message = match (&report.failure_message, report.exitcode) {
                (Some(message), _) => Some(message.clone()),
                // The reason why the upload was refused says more than the exit code.
                (None, _) if upload_failed => None,
                (None, Some(code)) if code != 0 => Some(format!("Exit code {code}")),
                (None, _) => None,
            };
            if let Some(message) = message {
                changes.set("failure_message", message);
            }
            if let Some(code) = report.exitcode {
                changes.set("exitcode", code);
            }
        }
        metadata::replace(tx, uuid, &changes).await?;
        // 0 also stands for "not measured"; a run directory is never really empty.
        if !upload_failed && report.disk_utilization > 0 {
            set_size(tx, uuid, Some(report.disk_utilization)).await?;
        }
        Ok(())
    }
}

/// The kill message for a run whose owner has used up a quota; time is tested first.
async fn over_quota(tx: &mut Tx, owner: &str) -> Result<Option<String>> {
    let quota = quota(tx, owner).await?;
    let which = if quota.time_left() <= 0.0 {
        "time"
    } else if quota.disk_left() <= 0.0 {
        "disk"
    } else {
        return Ok(None);
    };
    Ok(Some(format!(
        "Kill requested: User {which} quota exceeded. To apply for more quota, ask the administrators of this CodaLab server."
    )))
}
