//! The three searches.

use domain::search::{BundleQuery, UserQuery, WorksheetQuery};
use domain::{Permission, Uuid};
use model::{BundleUpdate, Found, ObjectKind, UserSearch, UserUpdate};
use serde_json::{Value, json};

use crate::fixture::{Fixture, NOW, dataset, make, refused};

async fn search(f: &Fixture, viewer: Option<&str>, keywords: &[&str]) -> domain::Result<Found> {
    f.model.search_bundles(viewer, &BundleQuery::parse(keywords)?).await
}

async fn bundles(f: &Fixture, viewer: Option<&str>, keywords: &[&str]) -> Vec<Uuid> {
    match search(f, viewer, keywords).await.unwrap() {
        Found::Bundles(uuids) => uuids,
        Found::Value(value) => panic!("{value}"),
    }
}

async fn value(f: &Fixture, viewer: Option<&str>, keywords: &[&str]) -> Value {
    match search(f, viewer, keywords).await.unwrap() {
        Found::Value(value) => value,
        Found::Bundles(uuids) => panic!("{uuids:?}"),
    }
}

async fn users(f: &Fixture, viewer: &str, keywords: &[&str]) -> domain::Result<UserSearch> {
    let query = UserQuery::parse(keywords, f.model.is_root(Some(viewer)))?;
    f.model.search_users(&query).await
}

on_both! {
    async fn bundles_are_found_by_words_and_fields(f) {
        let w = f.add_worksheet("ada", "w").await;
        let a = f.add_dataset("ada", w, "corpus_one", 300).await;
        let b = f.add_dataset("ada", w, "Corpus-two", 20).await;
        let c = f.create("ada", Some(w), make("c", a)).await.unwrap();
        let detached = f.create("ada", None, dataset("loose")).await.unwrap();
        let tags = BundleUpdate { metadata: domain::Metadata::try_from(json!({"tags": ["nlp", "old"]})).unwrap(), ..BundleUpdate::new(a) };
        f.update_bundles("ada", vec![tags], NOW).await.unwrap();
        let me = Some("ada");
        let prefix = format!("uuid={}.*", &a.as_str()[..20]);
        let short = format!("uuid={}", &a.as_str()[..20]);
        let dependency = format!("dependency={a}");
        let keyed = format!("dependency/={a}");
        let host = format!("host_worksheet={w}");
        for (keywords, expected) in [
            (vec![], vec![a, b, c, detached]),
            (vec![""], vec![a, b, c, detached]),
            (vec!["corpus"], vec![a, b]),
            (vec!["corpus", "two"], vec![b]),
            (vec!["corpus_one"], vec![a]),
            (vec!["corpus.*one"], vec![a]),
            (vec!["s_o"], vec![a]),
            (vec![a.as_str()], vec![a]),
            (vec![prefix.as_str()], vec![a]),
            (vec![short.as_str()], vec![]),
            (vec!["name=corpus-TWO"], vec![b]),
            (vec!["name=corpus-two,c"], vec![b, c]),
            (vec!["name=corp%"], vec![a, b]),
            (vec!["name=corpus\\_one%"], vec![a]),
            (vec!["tags=nlp"], vec![a]),
            (vec!["tags=nlp", "tags=old"], vec![a]),
            (vec!["tags=nlp", "tags=new"], vec![]),
            (vec!["=nlp"], vec![a]),
            (vec!["type=make"], vec![c]),
            (vec!["state=ready,created"], vec![a, b, c]),
            (vec![dependency.as_str(), keyed.as_str()], vec![c]),
            (vec![host.as_str()], vec![a, b, c]),
            (vec![".floating"], vec![detached]),
            (vec![".floating", host.as_str()], vec![]),
            (vec!["owner=ADA", "data_size=300"], vec![a]),
            (vec!["owner=nobody"], vec![]),
            (vec!["unknown=1"], vec![]),
            (vec![".mine", "id=.sort-", ".limit=2"], vec![detached, c]),
            (vec![".last", ".limit=1", ".offset=1"], vec![c]),
            (vec!["size=.sort"], vec![b, a]),
            (vec!["size=.sort-"], vec![a, b]),
            (vec!["name=.sort"], vec![c, b, a, detached]),
            (vec!["tags=.sort"], vec![a]),
        ] {
            assert_eq!(bundles(f, me, &keywords).await, expected, "{keywords:?}");
        }
        assert_eq!(refused(search(f, me, &[".limit=x"]).await).0, 400);
        assert!(refused(search(f, me, &[".before=soon"]).await).1.starts_with("Unable to parse datetime."));
    }

    async fn aggregates_count_and_sum(f) {
        let w = f.add_worksheet("ada", "w").await;
        f.add_dataset("ada", w, "same", 300).await;
        f.add_dataset("ada", w, "same", 20).await;
        for _ in 0..12 {
            f.create("ada", Some(w), dataset("other")).await.unwrap();
        }
        for (keywords, expected) in [
            (vec!["name=same", ".count"], json!(2)),
            (vec![".count"], json!(14)),
            (vec![".limit=3", ".count"], json!(14)),
            (vec![".count", ".limit=3"], json!(3)),
            (vec!["data_size=.sum"], json!(320.0)),
            (vec!["size=.sum", ".limit=1"], json!(320.0)),
            (vec!["name=nothing", "size=.sum"], Value::Null),
        ] {
            assert_eq!(value(f, Some("ada"), &keywords).await, expected, "{keywords:?}");
        }
        assert_eq!(bundles(f, Some("ada"), &["other"]).await.len(), 10);
    }

    async fn times_are_compared_as_numbers(f) {
        let w = f.add_worksheet("ada", "w").await;
        let a = f.create("ada", Some(w), dataset("a")).await.unwrap();
        let time = |seconds: i64| domain::UtcTime::from_unix(seconds).iso_naive();
        for (keywords, expected) in [
            (vec![format!(".after={}", time(NOW))], vec![a]),
            (vec![format!(".after={}", time(NOW + 1))], vec![]),
            (vec![format!(".before={}", time(NOW)), format!(".after={}.000001", time(NOW - 1))], vec![a]),
            (vec![".before=2042-03-14".to_owned()], vec![a]),
            (vec![".after=2042-03".to_owned()], vec![]),
        ] {
            let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
            assert_eq!(bundles(f, Some("ada"), &keywords).await, expected, "{keywords:?}");
        }
    }

    async fn viewers_find_what_they_may_read(f) {
        let (open, closed) = (f.add_worksheet("ada", "open").await, f.add_private_worksheet("ada", "closed").await);
        let public = f.add_dataset("ada", open, "public", 1).await;
        let private = f.add_dataset("ada", closed, "private", 10).await;
        let shared = f.add_dataset("ada", closed, "shared", 100).await;
        f.add_user("eve").await;
        let team = f.create_group("team", "ada").await.unwrap().group;
        f.add_group_members(&team, &["bob"], false).await.unwrap();
        f.set_permission(ObjectKind::Bundle, shared, team.uuid, Permission::Read).await.unwrap();
        for (viewer, expected, sum) in [
            (Some("ada"), vec![public, private, shared], 111.0),
            (Some("0"), vec![public, private, shared], 111.0),
            (Some("bob"), vec![public, shared], 101.0),
            (Some("eve"), vec![public], 1.0),
            (None, vec![public], 1.0),
        ] {
            assert_eq!(bundles(f, viewer, &[]).await, expected, "{viewer:?}");
            assert_eq!(value(f, viewer, &[".count"]).await, json!(expected.len()));
            assert_eq!(value(f, viewer, &["size=.sum"]).await, json!(sum));
        }
        assert_eq!(bundles(f, Some("bob"), &[".shared"]).await, [shared]);
        assert_eq!(bundles(f, Some("bob"), &["group=team"]).await, [shared]);
        assert_eq!(bundles(f, Some("bob"), &[&format!("group={}", team.uuid)]).await, [shared]);
        assert!(bundles(f, Some("eve"), &[".shared"]).await.is_empty());
        assert_eq!(refused(search(f, Some("eve"), &["group=team"]).await).0, 404);
        let hide = BundleUpdate { is_anonymous: Some(true), ..BundleUpdate::new(public) };
        f.update_bundles("ada", vec![hide], NOW).await.unwrap();
        assert!(bundles(f, Some("eve"), &["owner=ada"]).await.is_empty());
        assert_eq!(bundles(f, Some("eve"), &["public"]).await, [public]);
        assert_eq!(bundles(f, Some("ada"), &[".mine", "public"]).await, [public]);
    }

    async fn worksheets_come_own_first_then_newest(f) {
        let mut at = NOW;
        let mut add = async |owner: &str, name: &str| {
            at += 10;
            let new = model::NewWorksheet { name: name.into(), title: Some(format!("title of {name}")), tags: vec!["t".into()], ..Default::default() };
            f.create_worksheet(Some(owner), new, at).await.unwrap().uuid
        };
        let (a, b, c) = (add("ada", "a").await, add("bob", "b").await, add("ada", "c").await);
        let hidden = f.add_private_worksheet("bob", "hidden").await;
        let bundle = f.create("ada", Some(a), dataset("d")).await.unwrap();
        let found = async |viewer: Option<&str>, keywords: &[&str]| {
            let rows = f.search_worksheets(viewer, &WorksheetQuery::parse(keywords).unwrap()).await.unwrap();
            rows.into_iter().map(|row| row.uuid).collect::<Vec<_>>()
        };
        for (viewer, keywords, expected) in [
            (Some("ada"), vec![], vec![c, a, b]),
            (Some("bob"), vec![], vec![b, hidden, c, a]),
            (None, vec![], vec![c, b, a]),
            (Some("ada"), vec![".mine"], vec![c, a]),
            (Some("ada"), vec![".notmine"], vec![b]),
            (Some("ada"), vec!["title of b"], vec![b]),
            (Some("ada"), vec!["name=.sort", "tag=t"], vec![a, c, b]),
            (Some("ada"), vec!["owner=bob"], vec![b]),
            (Some("0"), vec!["hidden"], vec![hidden]),
            (Some("ada"), vec![".shared"], vec![]),
            (Some("ada"), vec![".limit=1", ".offset=1"], vec![a]),
        ] {
            assert_eq!(found(viewer, &keywords).await, expected, "{viewer:?} {keywords:?}");
        }
        assert_eq!(found(Some("ada"), &[&format!("bundle={bundle}")]).await, [a]);
        let row = &f.search_worksheets(Some("bob"), &WorksheetQuery::parse(&["name=a"]).unwrap()).await.unwrap()[0];
        assert_eq!((row.owner_name.as_deref(), row.group_permissions.len()), (Some("ada"), 1));
        let team = f.create_group("team", "bob").await.unwrap().group;
        f.add_group_members(&team, &["ada"], false).await.unwrap();
        f.set_permission(ObjectKind::Worksheet, hidden, team.uuid, Permission::Read).await.unwrap();
        assert_eq!(found(Some("ada"), &[".shared", ".notmine"]).await, [hidden]);
        assert_eq!(found(Some("ada"), &["group=team"]).await, [hidden]);
    }

    async fn users_are_found_by_open_keywords_only(f) {
        f.update_user("bob", UserUpdate { first_name: Some(Some("Robert".into())), ..UserUpdate::default() }).await.unwrap();
        let found = async |viewer: &str, keywords: &[&str]| match users(f, viewer, keywords).await {
            Ok(UserSearch::Users(users)) => json!(users.iter().map(|user| user.user_name.clone()).collect::<Vec<_>>()),
            Ok(UserSearch::Value(value)) => value,
            Err(error) => json!(error.status()),
        };
        for (viewer, keywords, expected) in [
            ("ada", vec![""], json!(["codalab", "ada", "bob"])),
            ("ada", vec!["rob"], json!(["bob"])),
            ("ada", vec![".count"], json!(3)),
            ("ada", vec!["user_name=ADA"], json!(["ada"])),
            ("ada", vec![".joined_after=2000-01-01", ".count"], json!(3)),
            ("ada", vec![".joined_before=2000-01-01"], json!([])),
            ("ada", vec![".active_after=2000-01-01"], json!(403)),
            ("ada", vec!["email=x"], json!(403)),
            ("ada", vec![".last", ".limit=1"], json!(["bob"])),
            ("0", vec!["email=bob@example.org"], json!(["bob"])),
            ("0", vec!["disk_used=.sort-", "user_id=.sort"], json!(["codalab", "ada", "bob"])),
            ("0", vec![".disk_used_less_than=70%"], json!(["codalab", "ada", "bob"])),
            ("0", vec![".disk_foo=1"], json!(400)),
        ] {
            assert_eq!(found(viewer, &keywords).await, expected, "{viewer} {keywords:?}");
        }
    }
}
