//! The statements that the model really executes, and how the databases would execute them: none of the frequent queries
//! may read a large table from end to end.

use domain::search::{BundleQuery, WorksheetQuery};
use domain::{BundleState, BundleType};
use model::{ObjectKind, Statement};

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

on_both! {
    async fn no_frequent_query_reads_a_large_table_from_end_to_end(f) {
        fill(f).await;
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
