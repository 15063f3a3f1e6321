//! Figures under load; `cargo nextest run -p bundle-manager --run-ignored all --no-capture -E 'test(load)'` prints them.

use std::time::{Duration, Instant};

use domain::{BundleState, BundleType, Metadata, Uuid};
use hub::{Event, Hub};
use model::{CreateBundles, NewBundle, NewItemPlace};
use rstest::rstest;
use serde_json::json;
use testkit::{Engine, wait_for};

use crate::scene::{DEADLINE, ROOT, Scene, events_only, now};

const WAITING: usize = 10_000;
const WORKERS: usize = 1_000;

#[rstest]
#[ignore = "prints figures, takes a minute"]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_waiting_runs_and_a_thousand_workers(#[values(Engine::Sqlite, Engine::Mariadb)] engine: Engine) {
    // CODALAB_LOG=bundle_manager=debug shows the passes.
    let filter = tracing_subscriber::EnvFilter::from_env("CODALAB_LOG");
    let _ = tracing_subscriber::fmt().with_env_filter(filter).try_init();
    let mut scene = Scene::prepare(engine).await;
    let start = Instant::now();
    for batch in 0..WAITING / 500 {
        let bundles = (0..500).map(|n| greedy_run(batch * 500 + n)).collect();
        let request = CreateBundles {
            owner_id: scene.user.as_str().into(),
            worksheet: None,
            place: NewItemPlace::default(),
            shadow: None,
            bundles,
        };
        scene.model.create_bundles(request, now()).await.unwrap();
    }
    println!("{engine:?}: {WAITING} runs created in {:?}", start.elapsed());
    for n in 0..WORKERS {
        scene.check_in(ROOT, &format!("w{n}"), json!({})).await;
    }
    let mut config = events_only();
    // The workers of this test check in only once.
    config.timeouts.worker = Duration::from_secs(3600);
    scene.start_manager(config).await;

    let start = Instant::now();
    let run = scene.run(&[]).await;
    wait_for("assignment", DEADLINE * 10, async || {
        (scene.state(run).await == BundleState::Starting).then_some(())
    })
    .await;
    println!(
        "{engine:?}: all of them staged and one more run assigned in {:?}",
        start.elapsed()
    );

    let small: Vec<Uuid> = futures::future::join_all((0..100).map(|_| scene.run(&[]))).await;
    let start = Instant::now();
    wait_for("assignments", DEADLINE * 10, async || {
        let states = scene.model.bundle_states(&small).await.unwrap();
        states
            .values()
            .all(|state| *state == BundleState::Starting)
            .then_some(())
    })
    .await;
    println!("{engine:?}: 100 more runs assigned in {:?}", start.elapsed());

    scene.hub.publish(Event::Resync);
    let start = Instant::now();
    let run = scene.run(&[]).await;
    wait_for("a sweep", DEADLINE * 10, async || {
        (scene.state(run).await == BundleState::Starting).then_some(())
    })
    .await;
    println!("{engine:?}: a full sweep and one run in {:?}", start.elapsed());
}

/// Asks for more CPUs than any worker has.
fn greedy_run(n: usize) -> NewBundle {
    let metadata = json!({"name": format!("greedy{n}"), "request_memory": "1g", "request_cpus": 99});
    NewBundle {
        uuid: Uuid::from_random(rand::random()),
        bundle_type: BundleType::Run,
        command: Some("true".into()),
        state: BundleState::Created,
        metadata: Metadata::try_from(metadata)
            .unwrap()
            .with_client_defaults(BundleType::Run),
        dependencies: vec![],
        store_uuid: None,
    }
}
