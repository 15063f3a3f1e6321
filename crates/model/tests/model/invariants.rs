//! Property: whatever happens, in whatever order and at the same time, the ledger of every user is the sum over what the
//! user has: `disk_used` over the bundles, `time_used` over the charges, parallel runs over the assignments.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{BundleState, Uuid};
use model::{BundleUpdate, DeleteBundles, MakeOutcome, UserUpdate, WorkerKey};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::json;
use testkit::Engine;

use crate::fixture::{Fixture, NOW, contents, dataset, make, report, start, with};

/// One thing that can happen; numbers choose among what exists.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, u8),
    Increment(usize, i64),
    Upload(usize, i64, bool),
    FailUpload(usize, bool),
    Make(usize, i64),
    Stage(usize),
    Assign(usize),
    Start(usize),
    Report(usize, u8, i64, u8),
    Finalize(usize),
    Unassign(usize),
    LoseWorker(usize),
    Kill(usize),
    Give(usize, usize),
    Delete(usize, bool, bool),
    Replace(usize),
    Quota(usize, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = 0..100_000_i64;
    prop_oneof![
        3 => (0..2_usize, 0..3_u8).prop_map(|(owner, kind)| Step::Create(owner, kind)),
        2 => (0..8_usize, bytes.clone()).prop_map(|(bundle, bytes)| Step::Increment(bundle, bytes)),
        3 => (0..8_usize, bytes.clone(), any::<bool>()).prop_map(|(bundle, bytes, end)| Step::Upload(bundle, bytes, end)),
        1 => (0..8_usize, any::<bool>()).prop_map(|(bundle, end)| Step::FailUpload(bundle, end)),
        2 => (0..8_usize, bytes.clone()).prop_map(|(bundle, bytes)| Step::Make(bundle, bytes)),
        3 => (0..8_usize).prop_map(Step::Stage),
        3 => (0..8_usize).prop_map(Step::Assign),
        3 => (0..8_usize).prop_map(Step::Start),
        6 => (0..8_usize, 0..4_u8, bytes.clone(), any::<u8>())
            .prop_map(|(bundle, state, bytes, time)| Step::Report(bundle, state, bytes, time)),
        1 => (0..8_usize).prop_map(Step::Replace),
        1 => (0..8_usize).prop_map(Step::Finalize),
        1 => (0..8_usize).prop_map(Step::Unassign),
        1 => (0..8_usize).prop_map(Step::LoseWorker),
        1 => (0..8_usize).prop_map(Step::Kill),
        2 => (0..8_usize, 0..2_usize).prop_map(|(bundle, owner)| Step::Give(bundle, owner)),
        2 => (0..8_usize, any::<bool>(), any::<bool>()).prop_map(|(bundle, recursive, data)| Step::Delete(bundle, recursive, data)),
        1 => (0..2_usize, bytes).prop_map(|(owner, bytes)| Step::Quota(owner, bytes)),
    ]
}

const OWNERS: [&str; 2] = ["ada", "bob"];

/// Carries out a step; gives a new bundle. Refusals are as good as success: the sums must hold after both. What the
/// server answers with 500 is a failure of the test.
async fn carry_out(
    f: &Fixture,
    worksheets: &[Uuid; 2],
    worker: &WorkerKey,
    bundles: &[Uuid],
    step: &Step,
) -> Option<Uuid> {
    let at = |n: &usize| {
        bundles
            .get(n % bundles.len().max(1))
            .copied()
            .unwrap_or_else(|| Uuid::from_random([9; 16]))
    };
    match step {
        Step::Create(owner, kind) => {
            let new = match kind {
                0 => dataset("d"),
                1 => make("m", at(owner)),
                _ => crate::fixture::run("r", &[]),
            };
            let made = f.create(OWNERS[*owner], Some(worksheets[*owner]), new).await;
            let uuid = made.as_ref().ok().copied();
            settle(step, made);
            return uuid;
        }
        Step::Increment(n, bytes) => settle(step, f.model.increment_disk_used(at(n), *bytes).await),
        Step::Upload(n, bytes, end) => {
            let state = end.then_some(BundleState::Ready);
            let contents = contents(at(n), *bytes);
            settle(step, f.model.finish_upload(&contents, "disk", None, state, NOW).await);
        }
        Step::FailUpload(n, end) => settle(step, f.model.fail_upload(at(n), "x", None, *end, NOW).await),
        Step::Replace(n) => settle(step, f.model.set_data_size(at(n), 0).await),
        Step::Make(n, bytes) => {
            let outcome = MakeOutcome::Done(Box::new(contents(at(n), *bytes)));
            settle(step, f.model.start_making(at(n), NOW).await);
            settle(step, f.model.finish_making(at(n), &outcome, NOW).await);
        }
        Step::Stage(n) => settle(step, f.model.stage(at(n), NOW).await),
        Step::Assign(n) => settle(step, f.model.assign_run(at(n), worker, &json!({}), NOW).await),
        Step::Start(n) => settle(step, f.model.start_run(&start(at(n), worker)).await),
        Step::Report(n, state, bytes, time) => {
            let state = ["staged", "preparing", "running", "finalizing"][usize::from(*state)];
            let more = json!({"disk_utilization": bytes, "container_time_total": f64::from(*time) / 2.0});
            settle(step, f.model.report_run(worker, &report(at(n), state, more), NOW).await);
        }
        Step::Finalize(n) => settle(step, f.model.finalize_run(at(n), NOW).await),
        Step::Unassign(n) => settle(step, f.model.unassign_run(at(n), NOW).await),
        Step::LoseWorker(n) => settle(step, f.model.lose_worker(at(n), NOW).await),
        Step::Kill(n) => settle(step, f.model.kill(at(n), None, NOW).await),
        Step::Give(n, owner) => {
            let update = BundleUpdate {
                owner_id: Some(OWNERS[*owner].into()),
                ..BundleUpdate::new(at(n))
            };
            settle(step, f.model.update_bundles("0", vec![update], NOW).await);
        }
        Step::Delete(n, recursive, data_only) => {
            let request = DeleteBundles {
                uuids: vec![at(n), at(&(n + 1))],
                force: true,
                recursive: *recursive,
                data_only: *data_only,
                dry_run: false,
            };
            settle(step, f.model.delete_bundles("0", &request, NOW).await);
        }
        Step::Quota(owner, bytes) => {
            let update = UserUpdate {
                disk_quota: Some((*bytes * 10) as f64),
                ..UserUpdate::default()
            };
            settle(step, f.model.update_user(OWNERS[*owner], update).await);
        }
    }
    None
}

fn settle<T>(step: &Step, result: domain::Result<T>) {
    if let Err(error) = result {
        assert!(error.status() != 500, "{step:?}: {error}");
    }
}

async fn check_sums(f: &Fixture, done: &[Step]) {
    let assignments = f.model.run_assignments().await.unwrap();
    for owner in OWNERS {
        let mut sum = 0;
        let mut runs = 0;
        for record in f
            .model
            .bundles(&f.model.bundles_owned_by(owner).await.unwrap())
            .await
            .unwrap()
        {
            sum += record.bundle.metadata.int("data_size");
            let on_others = |run: &&model::RunAssignment| {
                run.run_uuid == record.bundle.uuid && run.worker.user_id.as_str() != owner
            };
            runs += assignments.iter().filter(on_others).count() as i64;
        }
        assert_eq!(f.disk_used(owner).await, sum, "{owner} after {done:?}");
        let quota = f.model.user(owner).await.unwrap().unwrap().quota.parallel_run_quota;
        let left = f.model.parallel_runs_left(owner).await.unwrap();
        assert_eq!(quota - left, runs, "{owner} after {done:?}");
    }
    // The same sums, and those of time, computed by the database in one transaction.
    assert_eq!(f.model.reconcile_usage().await.unwrap(), [], "after {done:?}");
}

async fn sums_hold(engine: Engine, sequences: usize, length: usize) {
    let config = Config {
        rng_seed: RngSeed::Fixed(20_240_501),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    with(engine, async |f| {
        let worker = f.add_worker("0", "w").await;
        for n in 0..sequences {
            let worksheets = [
                f.add_worksheet("ada", &format!("a{n}")).await,
                f.add_worksheet("bob", &format!("b{n}")).await,
            ];
            let steps = prop::collection::vec(step(), length)
                .new_tree(&mut runner)
                .unwrap()
                .current();
            let mut bundles = Vec::new();
            for (done, step) in steps.iter().enumerate() {
                bundles.extend(carry_out(f, &worksheets, &worker, &bundles, step).await);
                check_sums(f, &steps[..=done]).await;
            }
        }
    })
    .await;
}

/// Four clients at once; a fifth one compares the ledger with the sums all the time.
async fn sums_hold_under_concurrency(engine: Engine, length: usize) {
    const CLIENTS: usize = 4;
    let config = Config {
        rng_seed: RngSeed::Fixed(20_261_121),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    with(engine, async |f| {
        let worker = f.add_worker("0", "w").await;
        let worksheets = [f.add_worksheet("ada", "a").await, f.add_worksheet("bob", "b").await];
        let bundles = Mutex::new(Vec::new());
        for kind in 0..9 {
            let step = Step::Create(kind % 2, (kind % 3) as u8);
            let made = carry_out(f, &worksheets, &worker, &[], &step).await;
            bundles.lock().unwrap().extend(made);
        }
        let sequences: Vec<Vec<Step>> = (0..CLIENTS)
            .map(|_| {
                let steps = prop::collection::vec(step(), length);
                steps.new_tree(&mut runner).unwrap().current()
            })
            .collect();
        let done = AtomicBool::new(false);
        let clients = sequences.iter().map(async |steps| {
            for step in steps {
                let known = bundles.lock().unwrap().clone();
                let made = carry_out(f, &worksheets, &worker, &known, step).await;
                bundles.lock().unwrap().extend(made);
            }
        });
        let checker = async {
            let mut checks = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(f.model.reconcile_usage().await.unwrap(), [], "after {checks} checks");
                checks += 1;
                tokio::task::yield_now().await;
            }
            checks
        };
        let all = async {
            futures::future::join_all(clients).await;
            done.store(true, Ordering::Relaxed);
        };
        let (checks, ()) = futures::join!(checker, all);
        assert!(checks > 3, "only {checks} checks in between");
        check_sums(f, &[]).await;
    })
    .await;
}

#[tokio::test]
async fn the_ledger_holds_while_everybody_writes_at_once_on_sqlite() {
    sums_hold_under_concurrency(Engine::Sqlite, 120).await;
}

#[tokio::test]
async fn the_ledger_holds_while_everybody_writes_at_once_on_mariadb() {
    sums_hold_under_concurrency(Engine::Mariadb, 80).await;
}

#[tokio::test]
async fn disk_used_is_always_the_sum_over_the_bundles_on_sqlite() {
    sums_hold(Engine::Sqlite, 12, 60).await;
}

#[tokio::test]
async fn disk_used_is_always_the_sum_over_the_bundles_on_mariadb() {
    sums_hold(Engine::Mariadb, 3, 40).await;
}

async fn concurrent_changes_keep_the_sum(f: &Fixture) {
    let worksheet = f.add_worksheet("ada", "w").await;
    let mut bundles = Vec::new();
    for _ in 0..4 {
        bundles.push(f.create("ada", Some(worksheet), dataset("d")).await.unwrap());
    }
    let increments = bundles
        .iter()
        .cycle()
        .take(40)
        .map(|uuid| f.model.increment_disk_used(*uuid, 7));
    futures::future::try_join_all(increments).await.unwrap();
    assert_eq!(f.disk_used("ada").await, 280);
    check_sums(f, &[]).await;
}

on_both! {
    async fn concurrent_increments_add_up(f) {
        concurrent_changes_keep_the_sum(f).await;
    }

    async fn charged_time_outlives_restaging_giving_away_and_deletion(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w").await;
        let run = f.add_running("ada", worksheet, "r", &worker).await;
        let time = |seconds: f64| json!({"container_time_total": seconds});
        f.report_run(&worker, &report(run, "running", time(10.0)), NOW).await.unwrap();
        assert_eq!((f.time_used("ada").await, f.time_used("bob").await), (10.0, 0.0));
        // The next attempt is charged from zero.
        f.report_run(&worker, &report(run, "staged", time(10.0)), NOW).await.unwrap();
        assert!(f.assign_run(run, &worker, &json!({}), NOW).await.unwrap());
        assert!(f.start_run(&start(run, &worker)).await.unwrap());
        f.report_run(&worker, &report(run, "running", time(4.0)), NOW).await.unwrap();
        assert_eq!((f.time_used("ada").await, f.time_used("bob").await), (14.0, 0.0));
        // What runs after the bundle was given away is the new owner's.
        let give = BundleUpdate { owner_id: Some("bob".into()), ..BundleUpdate::new(run) };
        f.update_bundles("ada", vec![give], NOW).await.unwrap();
        f.report_run(&worker, &report(run, "running", time(7.0)), NOW).await.unwrap();
        assert_eq!((f.time_used("ada").await, f.time_used("bob").await), (14.0, 3.0));
        f.kill(run, None, NOW).await.unwrap();
        let ended = json!({"container_time_total": 7.0, "failure_message": "Kill requested"});
        f.report_run(&worker, &report(run, "finalizing", ended), NOW).await.unwrap();
        f.finalize_run(run, NOW).await.unwrap();
        let request = DeleteBundles { uuids: vec![run], ..DeleteBundles::default() };
        f.delete_bundles("bob", &request, NOW).await.unwrap();
        assert_eq!((f.time_used("ada").await, f.time_used("bob").await), (14.0, 3.0));
        assert_eq!((f.disk_used("ada").await, f.disk_used("bob").await), (0, 0));
        assert_eq!(f.reconcile_usage().await.unwrap(), []);
    }

    async fn wrong_counters_are_repaired(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        f.add_dataset("ada", worksheet, "d", 5).await;
        let mut sql = crate::sql::Sql::connect(f.database.url()).await;
        sql.run("UPDATE `user` SET disk_used = 77, time_used = 9.5 WHERE user_id IN ('ada', 'bob')").await;
        sql.close().await;
        let repaired = f.reconcile_usage().await.unwrap();
        let said: Vec<_> = repaired
            .iter()
            .map(|repair| (repair.user_id.as_str(), repair.counter, repair.was, repair.is))
            .collect();
        let expected = [
            ("ada", "disk_used", 77.0, 5.0),
            ("ada", "time_used", 9.5, 0.0),
            ("bob", "disk_used", 77.0, 0.0),
            ("bob", "time_used", 9.5, 0.0),
        ];
        assert_eq!(said, expected);
        assert_eq!(f.reconcile_usage().await.unwrap(), []);
    }
}
