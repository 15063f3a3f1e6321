//! A worker's report about one of its runs (data-model section 6.4, scheduler section 7).

use domain::{BundleState, Result};

use crate::{Model, WorkerKey};

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
    /// The reported state is none that a worker reports.
    Ignored,
}

impl Model {
    /// Applies one entry of a check-in in one transaction.
    pub async fn report_run(
        &self,
        _worker: &WorkerKey,
        _report: &domain::run::RunReport,
        _now: i64,
    ) -> Result<ReportOutcome> {
        todo!()
    }
}
