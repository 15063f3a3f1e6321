//! Property: whatever happens in whatever order, `disk_used` of every user is the sum over the user's bundles.

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
    Report(usize, u8, i64),
    Finalize(usize),
    Unassign(usize),
    LoseWorker(usize),
    Kill(usize),
    Give(usize, usize),
    Delete(usize, bool, bool),
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
        4 => (0..8_usize, 0..4_u8, bytes.clone()).prop_map(|(bundle, state, bytes)| Step::Report(bundle, state, bytes)),
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

/// Carries out a step. Refusals are as good as success: the sums must hold after both.
async fn carry_out(f: &Fixture, worksheets: &[Uuid; 2], worker: &WorkerKey, bundles: &mut Vec<Uuid>, step: &Step) {
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
            bundles.extend(f.create(OWNERS[*owner], Some(worksheets[*owner]), new).await);
        }
        Step::Increment(n, bytes) => drop(f.model.increment_disk_used(at(n), *bytes).await),
        Step::Upload(n, bytes, end) => {
            let state = end.then_some(BundleState::Ready);
            drop(
                f.model
                    .finish_upload(&contents(at(n), *bytes), "disk", None, state, NOW)
                    .await,
            );
        }
        Step::FailUpload(n, end) => drop(f.model.fail_upload(at(n), "x", None, *end, NOW).await),
        Step::Make(n, bytes) => {
            drop(f.model.start_making(at(n), NOW).await);
            drop(
                f.model
                    .finish_making(at(n), &MakeOutcome::Done(Box::new(contents(at(n), *bytes))), NOW)
                    .await,
            );
        }
        Step::Stage(n) => drop(f.model.stage(at(n), NOW).await),
        Step::Assign(n) => drop(f.model.assign_run(at(n), worker, &json!({}), NOW).await),
        Step::Start(n) => drop(f.model.start_run(&start(at(n), worker)).await),
        Step::Report(n, state, bytes) => {
            let state = ["staged", "preparing", "running", "finalizing"][usize::from(*state)];
            drop(
                f.model
                    .report_run(worker, &report(at(n), state, json!({"disk_utilization": bytes})), NOW)
                    .await,
            );
        }
        Step::Finalize(n) => drop(f.model.finalize_run(at(n), NOW).await),
        Step::Unassign(n) => drop(f.model.unassign_run(at(n), NOW).await),
        Step::LoseWorker(n) => drop(f.model.lose_worker(at(n), NOW).await),
        Step::Kill(n) => drop(f.model.kill(at(n), None, NOW).await),
        Step::Give(n, owner) => {
            let update = BundleUpdate {
                owner_id: Some(OWNERS[*owner].into()),
                ..BundleUpdate::new(at(n))
            };
            drop(f.model.update_bundles("0", vec![update], NOW).await);
        }
        Step::Delete(n, recursive, data_only) => {
            let request = DeleteBundles {
                uuids: vec![at(n)],
                force: true,
                recursive: *recursive,
                data_only: *data_only,
                dry_run: false,
            };
            drop(f.model.delete_bundles("0", &request).await);
        }
        Step::Quota(owner, bytes) => {
            let update = UserUpdate {
                disk_quota: Some((*bytes * 10) as f64),
                ..UserUpdate::default()
            };
            drop(f.model.update_user(OWNERS[*owner], update).await);
        }
    }
}

async fn check_sums(f: &Fixture, done: &[Step]) {
    for owner in OWNERS {
        let mut sum = 0;
        for record in f
            .model
            .bundles(&f.model.bundles_owned_by(owner).await.unwrap())
            .await
            .unwrap()
        {
            sum += record.bundle.metadata.int("data_size");
        }
        assert_eq!(f.disk_used(owner).await, sum, "{owner} after {done:?}");
    }
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
                carry_out(f, &worksheets, &worker, &mut bundles, step).await;
                check_sums(f, &steps[..=done]).await;
            }
        }
        assert!(f.model.repair_disk_used().await.unwrap().is_empty());
    })
    .await;
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

    async fn wrong_counters_are_repaired(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        f.add_dataset("ada", worksheet, "d", 5).await;
        let mut sql = crate::sql::Sql::connect(f.database.url()).await;
        sql.run("UPDATE `user` SET disk_used = 77 WHERE user_id IN ('ada', 'bob')").await;
        sql.close().await;
        let repaired = f.repair_disk_used().await.unwrap();
        assert_eq!(repaired, [("ada".to_owned(), 77, 5), ("bob".to_owned(), 77, 0)]);
    }
}
