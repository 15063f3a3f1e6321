//! The statements that the model really executes, and how the databases would execute them: none of the frequent queries
//! may read a large table from end to end.

use domain::search::{BundleQuery, WorksheetQuery};
use domain::{BundleState, BundleType};
use model::{Found, ObjectKind, Statement};

use crate::fixture::{Fixture, NOW};

/// Enough that an index is worth it and that some values are frequent.
const BUNDLES: i64 = 16_000;

/// Tables that stay small, derived tables, and their aliases.
const SMALL: [&str; 10] = [
    "found",
    "f",
    "c",
    "user_group",
    "g",
    "u",
    "user",
    "w",
    "worksheet",
    "worker_run",
];

/// Why the plan is too slow: the lines that read a large table from end to end. To walk along an index until a page is
/// full is allowed.
fn full_scans(statement: &Statement, plan: &[String]) -> Vec<String> {
    let sorts = plan.iter().any(|line| {
        line.contains("TEMP B-TREE") || line.contains("Using filesort") || line.contains("Using temporary")
    });
    let stops = statement.sql.contains("LIMIT") && !sorts;
    let bad = plan.iter().filter(|line| {
        let (table, scan, ordered) = if let Some(at) = line.find("SCAN ") {
            let rest = &line[at + 5..];
            (rest.split(' ').next().unwrap_or(""), true, true)
        } else {
            let columns: Vec<&str> = line.split(" | ").collect();
            let kind = columns.get(3).copied().unwrap_or("");
            (
                columns.get(2).copied().unwrap_or(""),
                matches!(kind, "ALL" | "index"),
                kind == "index",
            )
        };
        let small = SMALL.contains(&table) || table.starts_with('<') || table.starts_with('(') || table == "CONSTANT";
        scan && !small && !(stops && ordered)
    });
    bad.cloned().collect()
}

/// What an operation did, one complaint per slow statement.
async fn complaints(f: &Fixture, statements: Vec<Statement>) -> Vec<String> {
    let mut complaints = Vec::new();
    for statement in statements {
        if !statement.sql.starts_with("SELECT") {
            continue;
        }
        let plan = f.explain(&statement).await.unwrap();
        for line in full_scans(&statement, &plan) {
            complaints.push(format!("{line}\n    of {}", statement.sql));
        }
    }
    complaints
}

async fn fill(f: &Fixture) {
    for number in [0, 1] {
        f.add_user(&format!("sample{number}")).await;
    }
    let team = f.create_group("team", "ada").await.unwrap().group;
    f.add_group_members(&team, &["bob"], false).await.unwrap();
    f.fill_with_samples(BUNDLES, Some(team.uuid)).await.unwrap();
}

/// The row ids of what is found, which say what a sample is.
async fn found_ids(f: &Fixture, viewer: &str, keywords: &[&str]) -> Vec<i64> {
    let query = BundleQuery::parse(keywords).unwrap();
    match f.search_bundles(Some(viewer), &query).await.unwrap() {
        Found::Bundles(uuids) => f
            .bundles(&uuids)
            .await
            .unwrap()
            .iter()
            .map(|record| record.id)
            .collect(),
        Found::Value(value) => panic!("{value}"),
    }
}

/// The first ids, ordered by a value of each.
fn first_by<K: Ord>(value: impl Fn(i64) -> K) -> Vec<i64> {
    let mut ids: Vec<i64> = (1..=BUNDLES).collect();
    ids.sort_by_key(|id| value(*id));
    ids.truncate(3);
    ids
}

/// What is found often is walked, not sorted; it must come out as if it were.
async fn walks_give_what_sorting_gives(f: &Fixture) {
    let size = |id: i64| id * 7919 % 1_000_003;
    let smallest = first_by(size);
    let largest = first_by(|id| -size(id));
    let slowest = first_by(|id| -(id * 7919 % 100_000));
    for (viewer, keywords, expected) in [
        ("0", vec![".last"], vec![16_000, 15_999, 15_998]),
        ("0", vec!["tags=common"], vec![1, 2, 4]),
        ("0", vec!["tags=common", ".last"], vec![16_000, 15_998, 15_997]),
        (
            "0",
            vec!["tags=common", ".last", ".offset=1"],
            vec![15_998, 15_997, 15_995],
        ),
        ("0", vec!["state=ready", ".last"], vec![16_000, 15_899, 15_898]),
        ("0", vec!["state=ready,failed", ".last"], vec![16_000, 15_979, 15_978]),
        ("0", vec!["type=run", "type=dataset"], vec![]),
        ("0", vec!["size=.sort"], smallest),
        ("0", vec!["size=.sort-"], largest),
        ("0", vec!["time=.sort-"], slowest),
        // Ties come by id, also where the index is read backwards.
        ("0", vec!["request_cpus=.sort-"], vec![3, 7, 11]),
        (
            "0",
            vec!["request_cpus=.sort-", ".offset=3998"],
            vec![15_995, 15_999, 2],
        ),
        ("0", vec!["request_cpus=.sort-", ".offset=4000"], vec![2, 6, 10]),
        ("0", vec!["request_cpus=.sort"], vec![4, 8, 12]),
        ("0", vec![".after=2020-09-13T12:28:40"], vec![2, 3, 4]),
        ("0", vec![".before=2020-12-31", ".last"], vec![16_000, 15_999, 15_998]),
        ("0", vec!["un"], vec![3, 11, 19]),
        ("0", vec!["baseline"], vec![5, 13, 21]),
        ("bob", vec![], vec![1, 2, 4]),
        ("bob", vec!["name=run-python-13,run-python-3,run-python-11"], vec![11]),
        ("bob", vec![".shared"], vec![13, 1013, 2013]),
        ("sample1", vec![".mine", "size=.sort-", ".limit=0"], vec![]),
        ("0", vec![".floating"], vec![500, 1500, 2500]),
    ] {
        let keywords = [keywords, vec![".limit=3"]].concat();
        let keywords: &[&str] = if keywords.contains(&".limit=0") {
            &keywords[..3]
        } else {
            &keywords
        };
        assert_eq!(found_ids(f, viewer, keywords).await, expected, "{viewer} {keywords:?}");
    }
}

on_both! {
    async fn no_frequent_query_reads_a_large_table_from_end_to_end(f) {
        fill(f).await;
        walks_give_what_sorting_gives(f).await;
        let BundleSample { uuid, worksheet } = sample(f).await;
        let short = format!("uuid={}%", &uuid.as_str()[..8]);
        let word = uuid.as_str()[8..16].to_owned();
        let host = format!("worksheet={worksheet}");
        let dependency = format!("dependency={uuid}");
        let mut found = Vec::new();
        for viewer in [Some("0"), Some("sample1"), Some("bob"), None] {
            for keywords in [
                vec![".mine"], vec![".last"], vec!["owner=sample1"], vec!["owner=sample1", "state=ready"],
                vec!["state=running"], vec!["state=ready"], vec!["name=corpus-8"], vec!["name=corp%"],
                vec!["corpus"], vec!["baseline-1"], vec!["0x12"], vec![word.as_str()], vec![short.as_str()], vec![uuid.as_str()],
                vec!["size=.sort-"], vec!["size=.sort"], vec!["created=.sort-"], vec!["time=.sort-"], vec!["name=.sort"],
                vec!["size=.sum"], vec![".count"], vec!["owner=sample1", "state=ready", ".count"], vec![".mine", "size=.sum"],
                vec!["tags=tag7"], vec!["tags=common"], vec!["tags=tag7,tag8"], vec!["request_docker_image=codalab/image:1"],
                vec![".after=2020-09-14"], vec![".before=2020-09-14", ".last"], vec![".floating"], vec![".shared"],
                vec!["group=team"], vec![host.as_str()], vec![dependency.as_str()], vec!["command=python train.py --seed 7"],
                vec!["tags=tag7", "size=.sort-"], vec!["tags=common", "size=.sort-"],
            ] {
                if keywords == ["group=team"] && !matches!(viewer, Some("0" | "bob")) {
                    continue; // others do not know the group
                }
                f.statements().record();
                let query = BundleQuery::parse(&keywords).unwrap();
                f.search_bundles(viewer, &query).await.unwrap();
                for complaint in complaints(f, f.statements().take()).await {
                    found.push(format!("{viewer:?} {keywords:?}: {complaint}"));
                }
            }
            f.statements().record();
            f.search_worksheets(viewer, &WorksheetQuery::default()).await.unwrap();
            f.permissions_of(ObjectKind::Bundle, viewer, &[uuid]).await.unwrap();
            f.host_worksheets(viewer, &[uuid]).await.unwrap();
            found.extend(complaints(f, f.statements().take()).await);
        }
        f.statements().record();
        f.bundle(uuid).await.unwrap();
        f.bundles(&[uuid, uuid]).await.unwrap();
        f.bundles_in_states(&[BundleState::Staged], Some(BundleType::Run)).await.unwrap();
        f.resolve_bundle(None, None, &uuid.as_str()[..20]).await.unwrap();
        f.resolve_bundle(None, None, "corpus-8").await.unwrap();
        f.resolve_bundle(None, Some(worksheet), "^2").await.unwrap();
        f.resolve_bundle(None, Some(worksheet), "corpus-8").await.unwrap();
        f.children(&[uuid]).await.unwrap();
        f.memoized("sample7", "python train.py --seed 7", &[]).await.unwrap();
        f.worksheet_items(worksheet).await.unwrap();
        f.group_permissions(ObjectKind::Bundle, &[uuid]).await.unwrap();
        f.authenticate("no such token", NOW).await.unwrap();
        f.parallel_runs_left("sample1").await.unwrap();
        let statements = f.statements().take();
        assert!(statements.len() >= 13, "{}", statements.len());
        found.extend(complaints(f, statements).await);
        // The test itself can fail: nothing has an index on descriptions.
        f.statements().record();
        f.search_bundles(Some("0"), &BundleQuery::parse(&["description=.sort"]).unwrap()).await.unwrap();
        assert_eq!(complaints(f, f.statements().take()).await.len(), 1);
        assert!(found.is_empty(), "{} full scans:\n{}", found.len(), found.join("\n"));
    }
}

struct BundleSample {
    uuid: domain::Uuid,
    worksheet: domain::Uuid,
}

async fn sample(f: &Fixture) -> BundleSample {
    let uuid = f.resolve_bundle(None, None, "corpus-8").await.unwrap();
    let worksheet = f.resolve_worksheet(None, None, "sample-1").await.unwrap();
    BundleSample { uuid, worksheet }
}
