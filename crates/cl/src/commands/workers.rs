//! `cl workers`: the machines that execute runs.

use client::Query;
use domain::run::WorkerInfo;
use domain::size;
use serde_json::Value;

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Parsed};
use crate::render::json;
use crate::render::table::Table;

pub const COMMAND: Command = Command {
    name: "workers",
    aliases: &[],
    group: Group::Server,
    summary: "Show the workers that may execute your runs.",
    arguments: || vec![Argument::json()],
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

const HEADER: [&str; 13] = [
    "worker_id",
    "cpus",
    "gpus",
    "memory",
    "free_disk",
    "last_checkin",
    "group",
    "tag",
    "runs",
    "shared_file_system",
    "tag_exclusive",
    "exit_after_num_runs",
    "is_terminating",
];

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let mut document = client.get_json("workers/info", Query::new()).await?;
    let data = document.get_mut("data").map(Value::take).unwrap_or_default();
    if parsed.has("json") {
        return json::value(&mut cli.ui, &data);
    }
    let workers: Vec<WorkerInfo> = serde_json::from_value(data).map_err(|error| {
        let reason = format!("a list of workers that makes no sense ({error})");
        client::Error::BadAnswer {
            address: client.address().to_owned(),
            reason,
        }
    })?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    cli.ui.text(table(workers, now).render())
}

fn table(mut workers: Vec<WorkerInfo>, now: f64) -> Table {
    workers.sort_by(|a, b| a.worker_id.cmp(&b.worker_id));
    let python = |flag: bool| if flag { "True" } else { "False" }.to_owned();
    let mut table = Table::new(HEADER);
    for worker in workers {
        let runs: Vec<&str> = worker
            .run_uuids
            .iter()
            .map(|uuid| uuid.get(..8).unwrap_or(uuid))
            .collect();
        table.row(vec![
            worker.worker_id.clone(),
            format!("{}/{}", worker.cpus_in_use, worker.cpus),
            format!("{}/{}", worker.gpus_in_use, worker.gpus),
            size::format(worker.memory_bytes as f64),
            worker
                .free_disk_bytes
                .map(|bytes| size::format(bytes as f64))
                .unwrap_or_default(),
            format!(
                "{} ago",
                domain::duration::format((now - worker.checkin_time as f64).max(0.0))
            ),
            worker.group_uuid.clone().unwrap_or_default(),
            worker.tag.clone().unwrap_or_default(),
            runs.join(","),
            python(worker.shared_file_system),
            python(worker.tag_exclusive),
            worker.exit_after_num_runs.to_string(),
            python(worker.is_terminating),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_line_per_worker_sorted_by_name() {
        let workers = json!([
            {"user_id": "12", "worker_id": "node7", "group_uuid": null, "tag": null, "cpus": 8, "cpus_in_use": 2, "gpus": 1,
             "gpus_in_use": 0, "memory_bytes": 33_500_000_000_i64, "free_disk_bytes": 100_000_000_000_i64,
             "checkin_time": 1000, "socket_id": 4, "run_uuids": ["0x9f8e7d6c5b4a", "0x1a2b3c4d"],
             "shared_file_system": false, "tag_exclusive": false, "exit_after_num_runs": 999_999,
             "is_terminating": false, "preemptible": false},
            {"user_id": "12", "worker_id": "node1", "group_uuid": "0x41", "tag": "gpu", "cpus": 1, "gpus": 0,
             "memory_bytes": 0, "free_disk_bytes": null, "checkin_time": 2000, "run_uuids": [],
             "shared_file_system": true, "tag_exclusive": true, "exit_after_num_runs": 1, "is_terminating": true}]);
        insta::assert_snapshot!(table(serde_json::from_value(workers).unwrap(), 1003.0).render());
        insta::assert_snapshot!(table(Vec::new(), 0.0).render());
    }
}
