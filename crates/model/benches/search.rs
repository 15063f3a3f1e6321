//! How long searches take among very many bundles: `tools/with-mariadb cargo bench -p model --bench search`.
//!
//! Prints a table per database with the median and the 99th percentile over the repetitions, and the SQL statements of
//! one search. `CODALAB_BENCH_BUNDLES` (1000000) says how many bundles, `CODALAB_BENCH_REPEAT` (50) how often,
//! `CODALAB_BENCH_ENGINES` (`sqlite,mariadb`) where. `CODALAB_TEST_MYSQL_BUFFER=2G` gives MariaDB the memory that a server
//! of this size has.
#![allow(clippy::unwrap_used)] // a failed preparation ends the benchmark

use std::io::Write;
use std::time::{Duration, Instant};

use domain::search::{BundleQuery, WorksheetQuery};
use domain::user::Quota;
use domain::{BundleType, Metadata, UserId, Uuid};
use model::{CreateBundles, Model, ModelOptions, NewBundle, NewItemPlace, NewUser, PasswordCost};
use testkit::Engine;

const NOW: i64 = 1_800_000_000;

/// Who searches, and what for. `{uuid}`, `{prefix}` and `{worksheet}` stand for those of some bundle.
const SEARCHES: [(&str, &[&str]); 34] = [
    ("0", &[".count"]),
    ("0", &["size=.sum"]),
    ("0", &["size=.sort-", ".limit=5"]),
    ("0", &[".last", ".limit=5"]),
    ("sample1", &[]),
    ("sample1", &[".mine"]),
    ("sample1", &[".mine", ".last"]),
    ("sample1", &[".mine", "size=.sort-"]),
    ("sample1", &[".mine", "size=.sum"]),
    ("sample1", &[".mine", ".count", "state=failed"]),
    ("sample1", &[".mine", ".count", ".floating"]),
    ("sample1", &[".count"]),
    ("sample1", &["owner=sample2"]),
    ("sample1", &["state=ready"]),
    ("sample1", &["state=running"]),
    ("sample1", &["name=corpus-8"]),
    ("sample1", &["name=corp%"]),
    ("sample1", &["tags=tag7"]),
    ("sample1", &["tags=common"]),
    ("sample1", &["request_docker_image=codalab/image:1"]),
    ("sample1", &["created=.sort-"]),
    ("sample1", &["time=.sort-"]),
    ("sample1", &["tags=tag7", "size=.sort-"]),
    ("sample1", &[".after=2021-06-01"]),
    ("sample1", &[".before=2020-10-01", ".last"]),
    ("sample1", &["corpus"]),
    ("sample1", &["baseline-4321"]),
    ("sample1", &["decade"]),
    ("sample1", &["{prefix}"]),
    ("sample1", &["{uuid}"]),
    ("sample1", &["uuid={prefix}%"]),
    ("sample1", &[".floating"]),
    ("sample1", &[".shared"]),
    ("nobody", &[".last"]),
];

fn print(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let number = |name: &str, default: i64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let bundles = number("CODALAB_BENCH_BUNDLES", 1_000_000);
    let repeat = usize::try_from(number("CODALAB_BENCH_REPEAT", 50)).unwrap_or(50).max(1);
    let options = ModelOptions {
        password_cost: PasswordCost::CHEAPEST,
        ..ModelOptions::default()
    };
    let engines = std::env::var("CODALAB_BENCH_ENGINES").unwrap_or_else(|_| "sqlite,mariadb".to_owned());
    for name in engines.split(',') {
        let engine = if name == "sqlite" {
            Engine::Sqlite
        } else {
            Engine::Mariadb
        };
        let database = tokio::task::spawn_blocking(move || engine.fresh()).await.unwrap();
        let model = Model::connect(database.url(), &options).await.unwrap();
        let started = Instant::now();
        prepare(&model, bundles).await;
        let filled = started.elapsed().as_secs();
        print(&format!("\n{name}: {bundles} bundles, made in {filled} s"));
        print(&format!(
            "{:58} {:>10} {:>10} {:>11}",
            "search", "median ms", "99 % ms", "statements"
        ));
        measure(&model, repeat).await;
        model.close().await;
    }
}

async fn prepare(model: &Model, bundles: i64) {
    let quota = Quota {
        time_quota: 1e9,
        disk_quota: 1e18,
        parallel_run_quota: 3,
        ..Quota::default()
    };
    model.ensure_root("root-password", quota, NOW).await.unwrap();
    for name in ["sample1", "sample2", "sample7", "nobody"] {
        let user = NewUser {
            user_id: Some(UserId::from(name)),
            user_name: name.to_owned(),
            email: format!("{name}@example.org"),
            password: "a-password".to_owned(),
            quota,
            is_verified: true,
            ..NewUser::default()
        };
        model.create_user(user, NOW).await.unwrap();
    }
    let team = model.create_group("team", "sample1").await.unwrap().group;
    model.fill_with_samples(bundles, Some(team.uuid)).await.unwrap();
}

async fn measure(model: &Model, repeat: usize) {
    let uuid = model.resolve_bundle(None, None, "corpus-8").await.unwrap();
    let worksheet = model.resolve_worksheet(None, None, "sample-1").await.unwrap();
    for (viewer, keywords) in SEARCHES {
        let keywords: Vec<String> = keywords
            .iter()
            .map(|keyword| {
                keyword
                    .replace("{uuid}", uuid.as_str())
                    .replace("{prefix}", &uuid.as_str()[..10])
            })
            .collect();
        let what = format!("{viewer}: {}", keywords.join(" "));
        timed(model, &what, repeat, async || {
            let query = BundleQuery::parse(&keywords).unwrap();
            model.search_bundles(Some(viewer), &query).await.unwrap();
        })
        .await;
    }
    timed(model, "worksheets of sample1, then others", repeat, async || {
        model
            .search_worksheets(Some("sample1"), &WorksheetQuery::default())
            .await
            .unwrap();
    })
    .await;
    timed(model, "resolve a name", repeat, async || {
        model.resolve_bundle(None, None, "corpus-8").await.unwrap();
    })
    .await;
    timed(model, "resolve a uuid prefix", repeat, async || {
        model.resolve_bundle(None, None, &uuid.as_str()[..16]).await.unwrap();
    })
    .await;
    timed(model, "resolve ^2 on a worksheet", repeat, async || {
        model.resolve_bundle(None, Some(worksheet), "^2").await.unwrap();
    })
    .await;
    timed(model, "what a run would do again (memoized)", repeat, async || {
        model
            .memoized("sample7", "python train.py --seed 7", &[])
            .await
            .unwrap();
    })
    .await;
    timed(model, "children", repeat, async || {
        model.children(&[uuid]).await.unwrap();
    })
    .await;
    timed(model, "one bundle", repeat, async || {
        model.bundle(uuid).await.unwrap();
    })
    .await;
    timed(model, "create 1000 bundles", 1, async || {
        let bundles = (0..1000).map(new_bundle).collect();
        let request = CreateBundles {
            owner_id: UserId::from("sample1"),
            worksheet: Some(worksheet),
            place: NewItemPlace::default(),
            shadow: None,
            bundles,
        };
        // The worksheet is that of its first bundle's owner.
        model.create_bundles(request, NOW).await.unwrap();
    })
    .await;
}

fn new_bundle(number: u32) -> NewBundle {
    let name = serde_json::json!({ "name": format!("bench-{number}") });
    NewBundle {
        uuid: Uuid::from_random(rand::random()),
        bundle_type: BundleType::Dataset,
        command: None,
        state: domain::BundleState::Uploading,
        metadata: Metadata::try_from(name)
            .unwrap()
            .with_client_defaults(BundleType::Dataset),
        dependencies: Vec::new(),
        store_uuid: None,
    }
}

async fn timed(model: &Model, what: &str, repeat: usize, operation: impl AsyncFn()) {
    let before = model.statements().count();
    operation().await; // also warms the caches
    let statements = model.statements().count() - before;
    let mut times = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        let started = Instant::now();
        operation().await;
        times.push(started.elapsed());
    }
    times.sort();
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let median = ms(times[times.len() / 2]);
    let high = ms(times[(times.len() * 99).div_ceil(100) - 1]);
    print(&format!("{what:58} {median:>10.2} {high:>10.2} {statements:>11}"));
}
