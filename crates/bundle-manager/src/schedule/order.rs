//! The order in which staged runs are considered.

use std::cmp::Reverse;
use std::collections::HashMap;

use domain::UserId;

use super::StagedRun;

/// Users keep their places in the global queue; priorities reorder only a user's own runs within them.
///
/// Higher priority first, unset counting as 0; among equals runs that name a queue first, then the original order.
pub fn start_order<'a>(queue: &[&'a StagedRun]) -> Vec<&'a StagedRun> {
    let mut by_owner: HashMap<&UserId, Vec<&'a StagedRun>> = HashMap::new();
    for run in queue {
        by_owner.entry(&run.owner).or_default().push(run);
    }
    let mut sorted: HashMap<&UserId, _> = by_owner
        .into_iter()
        .map(|(owner, mut runs)| {
            runs.sort_by_key(|run| (Reverse(run.fields.priority), run.fields.queue.is_empty()));
            (owner, runs.into_iter())
        })
        .collect();
    queue
        .iter()
        .filter_map(|run| sorted.get_mut(&run.owner)?.next())
        .collect()
}
