//! The running manager against real databases, a real store and the in-process hub.
#![allow(clippy::unwrap_used)] // the helpers belong to the tests

mod load;
mod scene;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bundle_manager::Config;
use domain::{BundleState, BundleType, Permission, Uuid};
use hub::{Event, Hub, LocalHub};
use model::{NewUser, ObjectKind, StartRun};
use rstest::rstest;
use serde_json::json;
use testkit::{Engine, wait_for};
use tokio_util::sync::CancellationToken;

use scene::{DEADLINE, GIB, ROOT, Scene, check_in, events_only, now, quick_sweeps, uuid};

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_to_an_idle_worker_at_once_with_everything_the_worker_needs(
    #[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine,
) {
    let scene = Scene::start(engine, events_only()).await;
    let data = scene.dataset("data").await;
    let worker = scene.check_in(ROOT, "w(1)", json!({})).await;
    let mut events = scene.hub.subscribe();
    let start = Instant::now();
    let run = scene.run(&[("data", data, "")]).await;
    let created = start.elapsed();
    let queued = Event::message_queued(ROOT, "w(1)");
    tokio::time::timeout(DEADLINE, async { while events.recv().await.unwrap() != queued {} })
        .await
        .unwrap();
    println!(
        "{engine:?}: created in {created:?}, assigned {:?} later",
        start.elapsed().saturating_sub(created)
    );
    scene.until(run, BundleState::Starting).await;
    let messages = scene.messages(&worker).await;
    assert_eq!(messages.len(), 1);
    let payload = &messages[0].payload;
    assert_eq!(
        (payload["type"].as_str(), messages[0].run_uuid),
        (Some("run"), Some(run))
    );
    let bundle = &payload["bundle"];
    assert_eq!(
        (bundle["uuid"].as_str(), bundle["state"].as_str()),
        (Some(run.as_str()), Some("starting"))
    );
    assert_eq!(bundle["dependencies"][0]["parent_name"], "thing");
    assert!(bundle["metadata"]["exclude_patterns"].is_array() && bundle["metadata"]["store"].is_string());
    assert_eq!(payload["resources"]["memory"], GIB);
    assert_eq!(payload["resources"]["docker_image"], "codalab/default-cpu:latest");
    assert_eq!(payload["resources"].as_object().unwrap().len(), 10);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn children_follow_their_parents_by_events_alone(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let scene = Scene::start(engine, events_only()).await;
    let parent = scene
        .create(BundleType::Dataset, BundleState::Uploading, json!({}), &[])
        .await;
    let make = scene.make(&[("a", parent, "")]).await;
    let run = scene.run(&[("b", make, "a")]).await;
    scene.upload(parent, "hello").await;
    scene.until(make, BundleState::Ready).await;
    scene.until(run, BundleState::Staged).await;
    scene.status(run, "No worker can meet").await;
    scene.check_in(&scene.user, "mine", json!({})).await;
    scene.until(run, BundleState::Starting).await;

    // The end of a bad parent fails its children and theirs.
    let bad = scene
        .create(BundleType::Dataset, BundleState::Uploading, json!({}), &[])
        .await;
    let child = scene.run(&[("x", bad, "")]).await;
    let grandchild = scene.make(&[("y", child, "")]).await;
    let tolerant = scene
        .run_with(json!({"allow_failed_dependencies": true}), &[("x", bad, "")])
        .await;
    scene.model.fail_upload(bad, "broken", None, true, now()).await.unwrap();
    scene.hub.publish(Event::bundle_changed(bad, BundleState::Failed));
    scene.until(child, BundleState::Failed).await;
    scene.until(grandchild, BundleState::Failed).await;
    scene.until(tolerant, BundleState::Starting).await;
    let message = scene.text(child, "failure_message").await;
    assert!(
        message.starts_with(&format!("Parent bundles failed: {bad} (Please use")),
        "{message}"
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn makes_have_the_right_contents(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let scene = Scene::start(engine, events_only()).await;
    let (a, b) = (scene.dataset("alpha").await, scene.dataset("beta").await);
    let none = scene.make(&[]).await;
    let same = scene.make(&[("", a, "")]).await;
    let both = scene.make(&[("a.txt", a, ""), ("deep/er/b.txt", b, "")]).await;
    let part = scene.make(&[("", both, "deep/er/b.txt")]).await;
    for make in [none, same, both, part] {
        scene.until(make, BundleState::Ready).await;
    }
    assert_eq!(scene.file(same, "").await, "alpha");
    assert_eq!(scene.file(both, "a.txt").await, "alpha");
    assert_eq!(scene.file(both, "deep/er/b.txt").await, "beta");
    assert_eq!(scene.file(part, "").await, "beta");
    let used = scene.model.user(&scene.user).await.unwrap().unwrap().quota.disk_used;
    let mut sum = 0;
    for bundle in [a, b, none, same, both, part] {
        sum += scene
            .model
            .bundle(bundle)
            .await
            .unwrap()
            .bundle
            .metadata
            .int("data_size");
    }
    assert_eq!(used as i64, sum, "the owner pays for what is stored");
    assert!(scene.model.bundle(both).await.unwrap().bundle.is_dir.unwrap());

    let cases = [
        (
            scene.make(&[("x", a, "nothing/here")]).await,
            format!("Invalid dependency {a}/nothing/here"),
        ),
        (
            scene.make(&[("x", a, "../../etc/passwd")]).await,
            format!("Invalid dependency {a}/../../etc/passwd"),
        ),
        (
            scene.make(&[("x", uuid(9), "")]).await,
            format!("Missing parent bundles: {}", uuid(9)),
        ),
    ];
    for (make, message) in cases {
        scene.until(make, BundleState::Failed).await;
        assert_eq!(scene.text(make, "failure_message").await, message);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_make_over_quota_fails_and_leaves_nothing(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let scene = Scene::start(engine, events_only()).await;
    let data = scene.dataset("0123456789").await;
    let update = model::UserUpdate {
        disk_quota: Some(15.0),
        ..model::UserUpdate::default()
    };
    scene.model.update_user(&scene.user, update).await.unwrap();
    let make = scene.make(&[("", data, "")]).await;
    scene.until(make, BundleState::Failed).await;
    let message = scene.text(make, "failure_message").await;
    assert!(message.contains("user disk quota exceeded"), "{message}");
    assert!(!scene.storage.contents(&make).exists().await.unwrap());
    assert_eq!(
        scene.model.user(&scene.user).await.unwrap().unwrap().quota.disk_used as i64,
        10
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_make_begins_again(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let mut scene = Scene::prepare(engine).await;
    let data = scene.dataset("data").await;
    let make = scene.make(&[("", data, "")]).await;
    assert!(scene.model.stage(make, now()).await.unwrap());
    assert!(scene.model.start_making(make, now()).await.unwrap());
    scene.start_manager(events_only()).await;
    scene.until(make, BundleState::Ready).await;
    assert_eq!(scene.file(make, "").await, "data");
    scene.stop_manager().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_drains_as_workers_become_free(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let scene = Scene::start(engine, events_only()).await;
    let worker = scene.check_in(&scene.user, "w", json!({"cpus": 2})).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(scene.run(&[]).await);
    }
    for started in [2, 4, 5] {
        wait_for("runs to start", DEADLINE, async || {
            (scene.messages(&worker).await.len() == started).then_some(())
        })
        .await;
        let held = scene.model.worker(&worker).await.unwrap().unwrap().run_uuids;
        assert!(held.len() <= 2, "never more than fits");
        for run in held {
            // The worker is killed from outside as far as the manager can see: the run ends and its place is free.
            scene
                .model
                .fail(run, &[BundleState::Starting], "over", None, now())
                .await
                .unwrap();
            scene.hub.publish(Event::bundle_changed(run, BundleState::Failed));
        }
        if started == 5 {
            break;
        }
    }
    let order: Vec<Uuid> = scene
        .messages(&worker)
        .await
        .iter()
        .filter(|m| m.kind == "run")
        .filter_map(|m| m.run_uuid)
        .collect();
    assert!(order.iter().all(|run| runs.contains(run)));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_limited_number_of_runs_gets_no_more(
    #[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine,
) {
    let scene = Scene::start(engine, events_only()).await;
    let worker = scene
        .check_in(&scene.user, "w", json!({"exit_after_num_runs": 2}))
        .await;
    let runs = [scene.run(&[]).await, scene.run(&[]).await, scene.run(&[]).await];
    scene.until(runs[0], BundleState::Starting).await;
    scene.until(runs[1], BundleState::Starting).await;
    scene.status(runs[2], "no runs left").await;
    assert_eq!(
        scene.model.worker(&worker).await.unwrap().unwrap().exit_after_num_runs,
        0
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_a_group_gets_only_what_its_owner_may_run(
    #[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine,
) {
    let scene = Scene::start(engine, events_only()).await;
    let other = NewUser {
        user_name: "bob".into(),
        email: "bob@example.org".into(),
        password: "correct horse".into(),
        ..NewUser::default()
    };
    let bob = scene.model.create_user(other, now()).await.unwrap().user_id.to_string();
    let group = scene.model.create_group("lab", &bob).await.unwrap().group;
    scene
        .model
        .add_group_members(&group, &[&scene.user], false)
        .await
        .unwrap();
    let worker = scene.check_in(&bob, "w", json!({"group_name": "lab"})).await;
    let (secret, shared) = (scene.run(&[]).await, scene.run(&[]).await);
    for run in [secret, shared] {
        scene.until(run, BundleState::Staged).await;
    }
    scene
        .model
        .set_permission(ObjectKind::Bundle, shared, group.uuid, Permission::All)
        .await
        .unwrap();
    scene.hub.publish(Event::PolicyChanged);
    scene.until(shared, BundleState::Starting).await;
    assert_eq!(scene.state(secret).await, BundleState::Staged);
    assert_eq!(scene.model.worker(&worker).await.unwrap().unwrap().run_uuids, [shared]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_never_started(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let scene = Scene::start(engine, events_only()).await;
    let run = scene.run(&[]).await;
    scene.until(run, BundleState::Staged).await;
    // No event: the manager still believes that the run is staged.
    scene.model.kill(run, None, now()).await.unwrap();
    let worker = scene.check_in(&scene.user, "w", json!({})).await;
    let next = scene.run(&[]).await;
    scene.until(next, BundleState::Starting).await;
    assert_eq!(scene.state(run).await, BundleState::Killed);
    let told: Vec<_> = scene
        .messages(&worker)
        .await
        .into_iter()
        .filter_map(|message| message.run_uuid)
        .collect();
    assert_eq!(told, [next]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn without_any_event_the_sweep_finds_everything(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let mut scene = Scene::prepare(engine).await;
    scene.check_in(&scene.user, "w", json!({})).await;
    scene.start_manager(quick_sweeps()).await;
    // From here on everybody else talks to a hub that the manager does not hear.
    scene.hub = Arc::new(LocalHub::new());
    let data = scene.dataset("data").await;
    let make = scene.make(&[("", data, "")]).await;
    let run = scene.run(&[("m", make, "")]).await;
    scene.until(run, BundleState::Starting).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_dead_worker_are_taken_from_it(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let mut scene = Scene::prepare(engine).await;
    let config = quick_sweeps();
    let days_ago = now() - 5 * 86_400;
    let key = scene.check_in(&scene.user, "w", json!({})).await;
    let (starting, running) = (scene.run(&[]).await, scene.run(&[]).await);
    for run in [starting, running] {
        assert!(scene.model.stage(run, now()).await.unwrap());
        assert!(
            scene
                .model
                .assign_run(run, &key, &json!({"type": "run"}), now())
                .await
                .unwrap()
        );
    }
    let start = StartRun {
        run: running,
        worker: key.clone(),
        hostname: "h".into(),
        start_time: now(),
    };
    assert!(scene.model.start_run(&start).await.unwrap());
    scene
        .model
        .worker_checkin(&key, &check_in(&json!({})), days_ago)
        .await
        .unwrap();
    scene.start_manager(config).await;
    scene.until(starting, BundleState::Staged).await;
    scene.until(running, BundleState::WorkerOffline).await;
    assert!(scene.model.worker(&key).await.unwrap().is_none());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn impossible_requests_fail_and_busy_ones_say_what_is_missing(
    #[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine,
) {
    let config = Config {
        limits: domain::config::WorkerLimits {
            max_request_memory: 4 * GIB,
            ..Default::default()
        },
        ..events_only()
    };
    let scene = Scene::start(engine, config).await;
    scene.check_in(&scene.user, "w", json!({})).await;
    let greedy = scene.run_with(json!({"request_memory": "8g"}), &[]).await;
    let big = scene
        .run_with(json!({"request_memory": "1g", "request_cpus": 16}), &[])
        .await;
    scene.until(greedy, BundleState::Failed).await;
    assert!(
        scene
            .text(greedy, "failure_message")
            .await
            .starts_with("Requested more memory (8g)")
    );
    scene.until(big, BundleState::Staged).await;
    scene.status(big, " Available resources: [4 CPUs (16 requested)]").await;
    let small = scene.run(&[]).await;
    scene.until(small, BundleState::Starting).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_of_the_lease_acts(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    let mut scene = Scene::prepare(engine).await;
    let config = Config {
        use_lease: true,
        ..quick_sweeps()
    };
    scene.start_manager(config.clone()).await;
    let second = CancellationToken::new();
    let (model, storage, hub) = (scene.model.clone(), scene.storage.clone(), scene.hub.clone());
    let other = tokio::spawn(bundle_manager::run(model, storage, hub, config, second.clone()));
    scene.check_in(&scene.user, "w", json!({})).await;
    let mut states: HashMap<BundleState, usize> = HashMap::new();
    for _ in 0..3 {
        let run = scene.run(&[]).await;
        scene.until(run, BundleState::Starting).await;
        *states.entry(scene.state(run).await).or_default() += 1;
    }
    // The first gives the lease back when it ends; the second takes over.
    scene.stop_manager().await;
    let run = scene.run(&[]).await;
    scene.until(run, BundleState::Starting).await;
    second.cancel();
    tokio::time::timeout(DEADLINE, other).await.unwrap().unwrap().unwrap();
}
