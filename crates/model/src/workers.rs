//! Workers, their sockets, dependencies and runs (data-model section 13). Everything is keyed by (user, worker).

use std::collections::HashMap;

use domain::run::CheckInRequest;
use domain::{Error, ErrorKind, Result, UserId, UtcTime, Uuid, WorkerId};

use crate::Model;
use crate::db::{Row, Tx, Value, params};
use crate::transitions::{lose, unassign};

/// Identity of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerKey {
    pub user_id: UserId,
    pub worker_id: WorkerId,
}

/// A worker as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRecord {
    pub key: WorkerKey,
    pub group_uuid: Option<Uuid>,
    pub tag: Option<String>,
    pub cpus: i64,
    pub gpus: i64,
    pub memory_bytes: i64,
    pub free_disk_bytes: Option<i64>,
    pub checkin_time: UtcTime,
    pub socket_id: i64,
    pub shared_file_system: bool,
    pub tag_exclusive: bool,
    pub exit_after_num_runs: i64,
    pub is_terminating: bool,
    pub preemptible: bool,
    /// Takes bundles of its owner only.
    pub own_bundles_only: bool,
    /// Runs assigned to it, in order of creation.
    pub run_uuids: Vec<Uuid>,
    /// Cached `(bundle uuid, path)` pairs.
    pub dependencies: Vec<(String, String)>,
    /// Sums of `request_cpus` and `request_gpus` over its runs.
    pub cpus_in_use: i64,
    pub gpus_in_use: i64,
}

/// One row of `worker_run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAssignment {
    pub run_uuid: Uuid,
    pub worker: WorkerKey,
}

const COLUMNS: &str = "`w`.`user_id`, `w`.`worker_id`, `w`.`group_uuid`, `w`.`tag`, `w`.`cpus`, `w`.`gpus`, \
    `w`.`memory_bytes`, `w`.`free_disk_bytes`, CAST(`w`.`checkin_time` AS CHAR), `w`.`socket_id`, \
    `w`.`shared_file_system`, `w`.`tag_exclusive`, `w`.`exit_after_num_runs`, `w`.`is_terminating`, `w`.`preemptible`, \
    `w`.`own_bundles_only`, `d`.`dependencies`";

/// The values of [`said`], then the key.
const UPDATE: &str = "UPDATE `worker` SET `group_uuid` = ?, `tag` = ?, `cpus` = ?, `gpus` = ?, `memory_bytes` = ?, \
    `free_disk_bytes` = ?, `checkin_time` = ?, `shared_file_system` = ?, `tag_exclusive` = ?, `exit_after_num_runs` = ?, \
    `is_terminating` = ?, `preemptible` = ?, `own_bundles_only` = ? WHERE `user_id` = ? AND `worker_id` = ?";

/// What a check-in says about the worker, in the order of the columns.
fn said(group: Option<Uuid>, checkin: &CheckInRequest, now: i64) -> Vec<Value> {
    params![
        group,
        checkin.tag.clone(),
        checkin.cpus,
        checkin.gpus,
        checkin.memory_bytes,
        checkin.free_disk_bytes,
        UtcTime::from_unix(now),
        checkin.shared_file_system,
        checkin.tag_exclusive,
        checkin.exit_after_num_runs.clamp(0, i64::from(i32::MAX)),
        checkin.is_terminating,
        checkin.preemptible,
        checkin.own_bundles_only,
    ]
}

impl Model {
    /// Stores what a worker said; gives its permanent socket id.
    pub async fn worker_checkin(&self, worker: &WorkerKey, checkin: &CheckInRequest, now: i64) -> Result<i64> {
        if let Some(socket) = self.repeated_checkin(worker, checkin, now).await? {
            return Ok(socket);
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let socket =
                    self.checkin_in(&mut tx, worker, checkin, now)
                        .await
                        .map_err(|error| match error.kind {
                            // Two first check-ins at once: the second finds the row when it tries again.
                            ErrorKind::Conflict => Error::unavailable(error.message),
                            _ => error,
                        })?;
                tx.commit().await?;
                Ok(socket)
            })
            .await
    }

    /// Most check-ins are of a known worker with the dependencies that it had, and for everybody: two statements, each on
    /// its own. None if this one is different.
    async fn repeated_checkin(&self, worker: &WorkerKey, checkin: &CheckInRequest, now: i64) -> Result<Option<i64>> {
        if checkin.group_name.as_deref().is_some_and(|name| !name.is_empty()) {
            return Ok(None);
        }
        let key = params![&worker.user_id, &worker.worker_id];
        let sql = "SELECT `w`.`socket_id`, `d`.`dependencies` FROM `worker` `w` JOIN `worker_dependency` `d` \
            ON `d`.`user_id` = `w`.`user_id` AND `d`.`worker_id` = `w`.`worker_id` \
            WHERE `w`.`user_id` = ? AND `w`.`worker_id` = ?";
        let Some(mut row) = self.db.once().await?.first(sql, key.clone()).await? else {
            return Ok(None);
        };
        let (socket, dependencies) = (row.int()?, row.bytes()?);
        if dependencies != checkin.dependencies_json().into_bytes() {
            return Ok(None);
        }
        let values = [said(None, checkin, now), key].concat();
        let matched = self
            .db
            .retrying(|| async { self.db.write_once().await?.run(UPDATE, values.clone()).await })
            .await?;
        // None: it was removed meanwhile.
        Ok((matched == 1).then_some(socket))
    }

    async fn checkin_in(&self, tx: &mut Tx, worker: &WorkerKey, checkin: &CheckInRequest, now: i64) -> Result<i64> {
        let key = params![&worker.user_id, &worker.worker_id];
        let sql = format!(
            "SELECT `socket_id`, `group_uuid` FROM `worker` WHERE `user_id` = ? AND `worker_id` = ?{}",
            tx.engine().for_update()
        );
        let known = match tx.first(sql, key.clone()).await? {
            Some(mut row) => Some((row.int()?, row.opt_uuid()?)),
            None => None,
        };
        let group = self
            .group_of_checkin(tx, worker, checkin, known.and_then(|(_, group)| group))
            .await?;
        let said = said(group, checkin, now);
        let socket = if let Some((socket, _)) = known {
            tx.run(UPDATE, [said, key.clone()].concat()).await?;
            socket
        } else {
            let socket = allocate(tx, worker).await?;
            let sql = "INSERT INTO `worker` (`group_uuid`, `tag`, `cpus`, `gpus`, `memory_bytes`, `free_disk_bytes`, \
                `checkin_time`, `shared_file_system`, `tag_exclusive`, `exit_after_num_runs`, `is_terminating`, \
                `preemptible`, `own_bundles_only`, `user_id`, `worker_id`, `socket_id`) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            tx.run(sql, [said, key.clone(), params![socket]].concat()).await?;
            socket
        };
        let update = tx
            .engine()
            .on_conflict_update("`user_id`, `worker_id`", &["dependencies"]);
        let sql = format!(
            "INSERT INTO `worker_dependency` (`user_id`, `worker_id`, `dependencies`) VALUES (?, ?, ?){update}"
        );
        tx.run(
            sql,
            [key, vec![Value::Blob(checkin.dependencies_json().into_bytes())]].concat(),
        )
        .await?;
        Ok(socket)
    }

    /// The group whose members may use the worker: none if the worker names none, the stored one if there is no group of
    /// that name, none if the worker's owner is not in it.
    async fn group_of_checkin(
        &self,
        tx: &mut Tx,
        worker: &WorkerKey,
        checkin: &CheckInRequest,
        stored: Option<Uuid>,
    ) -> Result<Option<Uuid>> {
        let Some(name) = checkin.group_name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let sql = "SELECT `uuid` FROM `group` WHERE `name` = ? ORDER BY `id` LIMIT 1";
        let Some(mut row) = tx.first(sql, params![name]).await? else {
            return Ok(stored);
        };
        let group = row.uuid()?;
        if group == self.public_group() || self.is_root(Some(&worker.user_id)) {
            return Ok(Some(group));
        }
        let sql = "SELECT COUNT(*) FROM `user_group` WHERE `group_uuid` = ? AND `user_id` = ?";
        let is_member = tx.count(sql, params![group, &worker.user_id]).await? > 0;
        Ok(is_member.then_some(group))
    }

    /// All workers, ordered by (user, worker).
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        fetch(&mut self.db.read().await?, "1 = 1", Vec::new()).await
    }

    /// The workers a viewer may see: root all, others their own and those of their groups (public included).
    pub async fn workers_visible_to(&self, viewer: &str) -> Result<Vec<WorkerRecord>> {
        if self.is_root(Some(viewer)) {
            return self.workers().await;
        }
        let condition = "`w`.`user_id` = ? OR `w`.`group_uuid` = ? \
            OR `w`.`group_uuid` IN (SELECT `m`.`group_uuid` FROM `user_group` `m` WHERE `m`.`user_id` = ?)";
        let values = params![viewer, self.public_group(), viewer];
        fetch(&mut self.db.read().await?, condition, values).await
    }

    /// One worker.
    pub async fn worker(&self, worker: &WorkerKey) -> Result<Option<WorkerRecord>> {
        let condition = "`w`.`user_id` = ? AND `w`.`worker_id` = ?";
        let values = params![&worker.user_id, &worker.worker_id];
        Ok(fetch(&mut self.db.read().await?, condition, values).await?.pop())
    }

    /// Removes workers that were silent since `silent_since` (Unix seconds), with sockets, dependencies, messages
    /// and assignments, and moves their runs to `worker_offline` or `staged`, or back to `staged` if `starting`.
    /// Gives each worker with the runs it lost.
    pub async fn remove_silent_workers(&self, silent_since: i64, now: i64) -> Result<Vec<(WorkerKey, Vec<Uuid>)>> {
        let sql =
            "SELECT `user_id`, `worker_id` FROM `worker` WHERE `checkin_time` < ? ORDER BY `user_id`, `worker_id`";
        let rows = self
            .db
            .once()
            .await?
            .all(sql, params![UtcTime::from_unix(silent_since)])
            .await?;
        let mut removed = Vec::new();
        for mut row in rows {
            let worker = WorkerKey {
                user_id: row.user_id()?,
                worker_id: WorkerId(row.text()?),
            };
            // It may have checked in meanwhile.
            if let Some(runs) = self.remove_if(&worker, Some(silent_since), now).await? {
                removed.push((worker, runs));
            }
        }
        Ok(removed)
    }

    /// The same for one worker, whenever it was last heard of. Gives the runs it lost.
    pub async fn remove_worker(&self, worker: &WorkerKey, now: i64) -> Result<Vec<Uuid>> {
        Ok(self.remove_if(worker, None, now).await?.unwrap_or_default())
    }

    async fn remove_if(&self, worker: &WorkerKey, silent_since: Option<i64>, now: i64) -> Result<Option<Vec<Uuid>>> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let key = params![&worker.user_id, &worker.worker_id];
                let sql = format!(
                    "SELECT CAST(`checkin_time` AS CHAR) FROM `worker` WHERE `user_id` = ? AND `worker_id` = ?{}",
                    tx.engine().for_update()
                );
                let Some(mut row) = tx.first(sql, key.clone()).await? else {
                    return Ok(None);
                };
                let last = row.time()?.unix();
                if silent_since.is_some_and(|silent_since| last >= silent_since) {
                    return Ok(None);
                }
                let sql = "SELECT `run_uuid` FROM `worker_run` WHERE `user_id` = ? AND `worker_id` = ? ORDER BY `id`";
                let rows = tx.all(sql, key.clone()).await?;
                let runs: Vec<Uuid> = rows.into_iter().map(|mut row| row.uuid()).collect::<Result<_>>()?;
                for run in &runs {
                    if !lose(&mut tx, *run, now).await? {
                        unassign(&mut tx, *run).await?;
                    }
                }
                for table in [
                    "worker_socket",
                    "worker_message",
                    "worker_run",
                    "worker_dependency",
                    "worker",
                ] {
                    let sql = format!("DELETE FROM `{table}` WHERE `user_id` = ? AND `worker_id` = ?");
                    tx.run(sql, key.clone()).await?;
                }
                tx.commit().await?;
                Ok(Some(runs))
            })
            .await
    }

    /// Writes back how many more runs a worker takes.
    pub async fn set_exit_after_num_runs(&self, worker: &WorkerKey, runs: i64) -> Result<()> {
        let mut tx = self.db.write().await?;
        let sql = "UPDATE `worker` SET `exit_after_num_runs` = ? WHERE `user_id` = ? AND `worker_id` = ?";
        tx.run(sql, params![runs, &worker.user_id, &worker.worker_id]).await?;
        tx.commit().await
    }

    /// A new socket id on which this worker may answer.
    pub async fn allocate_socket(&self, worker: &WorkerKey) -> Result<i64> {
        let mut tx = self.db.write().await?;
        let id = allocate(&mut tx, worker).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Gives a socket id back.
    pub async fn release_socket(&self, socket_id: i64) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.run("DELETE FROM `worker_socket` WHERE `socket_id` = ?", params![socket_id])
            .await?;
        tx.commit().await
    }

    /// Whether this worker may answer on this socket.
    pub async fn has_socket(&self, worker: &WorkerKey, socket_id: i64) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM `worker_socket` WHERE `socket_id` = ? AND `user_id` = ? AND `worker_id` = ?";
        let values = params![socket_id, &worker.user_id, &worker.worker_id];
        Ok(self.db.once().await?.count(sql, values).await? > 0)
    }

    /// The worker a run is assigned to.
    pub async fn worker_of_run(&self, run: Uuid) -> Result<Option<WorkerKey>> {
        assigned_to(&mut self.db.once().await?, run).await
    }

    /// All assignments, oldest first.
    pub async fn run_assignments(&self) -> Result<Vec<RunAssignment>> {
        let sql = "SELECT `run_uuid`, `user_id`, `worker_id` FROM `worker_run` ORDER BY `id`";
        let rows = self.db.once().await?.all(sql, params![]).await?;
        rows.into_iter()
            .map(|mut row| {
                let run_uuid = row.uuid()?;
                Ok(RunAssignment {
                    run_uuid,
                    worker: WorkerKey {
                        user_id: row.user_id()?,
                        worker_id: WorkerId(row.text()?),
                    },
                })
            })
            .collect()
    }
}

pub(crate) async fn assigned_to(tx: &mut Tx, run: Uuid) -> Result<Option<WorkerKey>> {
    let sql = "SELECT `user_id`, `worker_id` FROM `worker_run` WHERE `run_uuid` = ? LIMIT 1";
    let row = tx.first(sql, params![run]).await?;
    row.map(|mut row| {
        Ok(WorkerKey {
            user_id: row.user_id()?,
            worker_id: WorkerId(row.text()?),
        })
    })
    .transpose()
}

pub(crate) async fn assign(tx: &mut Tx, run: Uuid, worker: &WorkerKey) -> Result<()> {
    let sql = "INSERT INTO `worker_run` (`user_id`, `worker_id`, `run_uuid`) VALUES (?, ?, ?)";
    tx.run(sql, params![&worker.user_id, &worker.worker_id, run])
        .await
        .map(drop)
}

pub(crate) async fn release(tx: &mut Tx, run: Uuid) -> Result<()> {
    tx.run("DELETE FROM `worker_run` WHERE `run_uuid` = ?", params![run])
        .await
        .map(drop)
}

async fn allocate(tx: &mut Tx, worker: &WorkerKey) -> Result<i64> {
    let sql = "INSERT INTO `worker_socket` (`user_id`, `worker_id`) VALUES (?, ?)";
    tx.insert(sql, params![&worker.user_id, &worker.worker_id]).await
}

async fn fetch(tx: &mut Tx, condition: &str, values: Vec<Value>) -> Result<Vec<WorkerRecord>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM `worker` `w` LEFT JOIN `worker_dependency` `d` \
         ON `d`.`user_id` = `w`.`user_id` AND `d`.`worker_id` = `w`.`worker_id` WHERE {condition} \
         ORDER BY `w`.`user_id`, `w`.`worker_id`"
    );
    let rows = tx.all(sql, values).await?;
    let mut workers: Vec<WorkerRecord> = rows.into_iter().map(|mut row| read(&mut row)).collect::<Result<_>>()?;
    if workers.is_empty() {
        return Ok(workers);
    }
    let mut runs = runs_by_worker(tx).await?;
    let uuids: Vec<Uuid> = runs.values().flatten().copied().collect();
    let cpus = requested(tx, &uuids, "request_cpus").await?;
    let gpus = requested(tx, &uuids, "request_gpus").await?;
    for worker in &mut workers {
        worker.run_uuids = runs.remove(&worker.key).unwrap_or_default();
        worker.cpus_in_use = worker.run_uuids.iter().filter_map(|run| cpus.get(run)).sum();
        worker.gpus_in_use = worker.run_uuids.iter().filter_map(|run| gpus.get(run)).sum();
    }
    Ok(workers)
}

fn read(row: &mut Row) -> Result<WorkerRecord> {
    Ok(WorkerRecord {
        key: WorkerKey {
            user_id: row.user_id()?,
            worker_id: WorkerId(row.text()?),
        },
        group_uuid: row.opt_uuid()?,
        tag: row.opt_text()?,
        cpus: row.int()?,
        gpus: row.int()?,
        memory_bytes: row.int()?,
        free_disk_bytes: row.opt_int()?,
        checkin_time: row.time()?,
        socket_id: row.int()?,
        shared_file_system: row.flag()?,
        tag_exclusive: row.flag()?,
        exit_after_num_runs: row.int()?,
        is_terminating: row.flag()?,
        preemptible: row.flag()?,
        own_bundles_only: row.flag()?,
        run_uuids: Vec::new(),
        // A list that an old database cut off at 64 kB counts as empty.
        dependencies: serde_json::from_slice(&row.bytes()?).unwrap_or_default(),
        cpus_in_use: 0,
        gpus_in_use: 0,
    })
}

async fn runs_by_worker(tx: &mut Tx) -> Result<HashMap<WorkerKey, Vec<Uuid>>> {
    let sql = "SELECT `user_id`, `worker_id`, `run_uuid` FROM `worker_run` ORDER BY `id`";
    let mut runs: HashMap<WorkerKey, Vec<Uuid>> = HashMap::new();
    for mut row in tx.all(sql, params![]).await? {
        let key = WorkerKey {
            user_id: row.user_id()?,
            worker_id: WorkerId(row.text()?),
        };
        runs.entry(key).or_default().push(row.uuid()?);
    }
    Ok(runs)
}

/// The number each run asks for under this key.
async fn requested(tx: &mut Tx, runs: &[Uuid], key: &str) -> Result<HashMap<Uuid, i64>> {
    let sql = "SELECT `bundle_uuid`, `metadata_value` FROM `bundle_metadata` \
        WHERE `bundle_uuid` IN {in} AND `metadata_key` = ? ORDER BY `id`";
    let rows = tx.all_in(sql, &[], runs, &[key.into()]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.uuid()?, row.text()?.parse().unwrap_or(0))))
        .collect()
}
