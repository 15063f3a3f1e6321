//! Worksheets and the order of their items.

use domain::worksheet::Item;
use domain::{Permission, Uuid};
use model::{Base, NewWorksheet, ObjectKind, WorksheetUpdate};

use crate::fixture::{Fixture, NOW, fresh_uuid, refused};

fn named(name: &str) -> NewWorksheet {
    NewWorksheet {
        name: name.to_owned(),
        ..NewWorksheet::default()
    }
}

fn lines(texts: &[&str]) -> Vec<Item> {
    texts.iter().map(|text| Item::markup(*text)).collect()
}

async fn shown(f: &Fixture, worksheet: Uuid) -> Vec<(i64, String)> {
    let items = f.model.worksheet_items(worksheet).await.unwrap();
    items.into_iter().map(|item| (item.sort_key, item.item.value)).collect()
}

fn read(last_item_id: i64, length: usize) -> Base<'static> {
    Base::Read { last_item_id, length }
}

fn keyed(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
    pairs.iter().map(|(key, text)| (*key, (*text).to_owned())).collect()
}

on_both! {
    async fn a_worksheet_reads_back_with_its_title_and_tags(f) {
        let new = NewWorksheet { title: Some("Überblick 😀".into()), tags: vec!["b".into(), "a".into(), "b".into()], ..named("w") };
        let made = f.create_worksheet(Some("ada"), new, NOW).await.unwrap();
        assert_eq!(made.title.as_deref(), Some("Überblick 😀"));
        assert_eq!((made.tags.join(","), made.owner_id.as_deref()), ("b,a,b".into(), Some("ada")));
        assert_eq!((made.date_created, made.date_created.unwrap().unix()), (made.date_last_modified, NOW));
        assert_eq!(f.worksheets(&[made.uuid, fresh_uuid()]).await.unwrap()[&made.uuid], made);
        let have = f.permissions_of(ObjectKind::Worksheet, None, &[made.uuid]).await.unwrap();
        assert_eq!(have, [Permission::Read]);
        let missing = fresh_uuid();
        assert_eq!(refused(f.worksheet(missing).await), (404, format!("Could not find worksheet with uuid {missing}")));
    }

    async fn names_are_unique_and_homes_are_personal(f) {
        f.add_worksheet("ada", "w").await;
        assert_eq!(refused(f.create_worksheet(Some("bob"), named("W"), NOW).await), (400, "Worksheet with name W already exists".to_owned()));
        assert!(refused(f.create_worksheet(Some("bob"), named("home-ada"), NOW).await).1.starts_with("Cannot create home-ada"));
        f.create_worksheet(Some("ada"), named("home-ada"), NOW).await.unwrap();
        assert_eq!(refused(f.create_worksheet(None, named("x"), NOW).await).0, 403);
        for (new, status) in [
            (named("a b"), 400),
            (named(&"a".repeat(256)), 400),
            (NewWorksheet { title: Some("t".repeat(256)), ..named("t") }, 400),
            (NewWorksheet { tags: vec!["é".into()], ..named("t") }, 400),
        ] {
            assert_eq!(refused(f.create_worksheet(Some("ada"), new, NOW).await).0, status);
        }
        let made = futures::future::join_all((0..5).map(|_| f.create_worksheet(Some("bob"), named("race"), NOW))).await;
        assert_eq!(made.iter().filter(|result| result.is_ok()).count(), 1);
    }

    async fn the_public_home_and_the_dashboard_are_filled_when_they_are_made(f) {
        let made = f.create_worksheet(Some("ada"), named("dashboard"), NOW).await.unwrap();
        assert_eq!(made.title.as_deref(), Some("CodaLab Dashboard"));
        let values: Vec<String> = shown(f, made.uuid).await.into_iter().map(|(_, value)| value).collect();
        for directive in [
            "wsearch .mine", "add uuid uuid '[0:8]'", "add created created date", "add time time duration",
            "search state=running created=.sort- .limit=10000 .mine", "search state=staged created=.sort- .limit=10000 .mine",
            "search id=.sort- .limit=5 .mine", "search .mine .floating", "search .mine .count", "search .mine size=.sum .format=size",
        ] {
            assert!(values.iter().any(|value| value == directive), "{directive}");
        }
        let made = f.create_worksheet(Some("ada"), named("home"), NOW).await.unwrap();
        assert_eq!(made.title.as_deref(), Some("Public Home"));
        let values: Vec<String> = shown(f, made.uuid).await.into_iter().map(|(_, value)| value).collect();
        for pair in [
            ["display table run owner", "search state=created,staged,making,starting,running id=.sort- .limit=10000"],
            ["display table default owner", "search id=.sort- .limit=10"],
            ["Number of bundles:", "search .count"],
            ["Disk usage:", "search size=.sum .format=size"],
        ] {
            assert!(values.windows(2).any(|lines| lines == pair), "{pair:?}");
        }
        assert!(values.iter().any(|value| value == "wsearch"));
    }

    async fn metadata_changes_obey_the_freeze(f) {
        let uuid = f.add_worksheet("ada", "w").await;
        let title = |text: &str| WorksheetUpdate { title: Some(Some(text.into())), ..Default::default() };
        assert_eq!(refused(f.update_worksheet("bob", uuid, title("x"), NOW).await).0, 403);
        let update = WorksheetUpdate { tags: Some(vec!["t".into()]), frozen: Some(true), ..title("x") };
        let updated = f.update_worksheet("ada", uuid, update, NOW + 9).await.unwrap();
        assert_eq!((updated.frozen.unwrap().unix(), updated.date_last_modified.unwrap().unix(), updated.tags.len()), (NOW + 9, NOW + 9, 1));
        for update in [title("y"), WorksheetUpdate { frozen: Some(true), ..Default::default() }] {
            assert_eq!(refused(f.update_worksheet("ada", uuid, update, NOW).await), (403, format!("Cannot mutate frozen worksheet {uuid}(w).")));
        }
        assert_eq!(refused(f.append_items("ada", uuid, &lines(&["x"]), NOW).await).0, 403);
        let thaw = WorksheetUpdate { frozen: Some(false), name: Some("v".into()), ..title("y") };
        let updated = f.update_worksheet("ada", uuid, thaw, NOW).await.unwrap();
        assert_eq!((updated.frozen, updated.name.as_str(), updated.title.as_deref()), (None, "v", Some("y")));
        let give = |owner: &str| WorksheetUpdate { owner_id: Some(owner.into()), ..Default::default() };
        assert_eq!(refused(f.update_worksheet("ada", uuid, give("zoe"), NOW).await).0, 404);
        f.update_worksheet("ada", uuid, give("bob"), NOW).await.unwrap();
        assert_eq!(refused(f.update_worksheet("ada", uuid, title("z"), NOW).await).0, 403);
    }

    async fn inserted_items_get_exactly_the_keys_that_follow(f) {
        let w = f.add_worksheet("ada", "w").await;
        f.append_items("ada", w, &lines(&["a", "b"]), NOW).await.unwrap();
        assert_eq!(shown(f, w).await, keyed(&[(0, "a"), (1, "b")]));
        f.edit_items("ada", w, &[], &lines(&["t", "u"]), Some(-1), NOW).await.unwrap();
        assert_eq!(shown(f, w).await, keyed(&[(0, "t"), (1, "u"), (2, "a"), (3, "b")]));
        f.edit_items("ada", w, &[], &lines(&["m"]), Some(2), NOW).await.unwrap();
        assert_eq!(shown(f, w).await, keyed(&[(0, "t"), (1, "u"), (2, "a"), (3, "m"), (4, "b")]));
        // What moved down is the same item as before.
        let items = f.worksheet_items(w).await.unwrap();
        let mut by_age: Vec<_> = items.iter().collect();
        by_age.sort_by_key(|item| item.id);
        assert_eq!(by_age.iter().map(|item| item.item.value.as_str()).collect::<Vec<_>>(), ["a", "b", "t", "u", "m"]);
        // Replace one, delete two without replacement.
        f.edit_items("ada", w, &[items[0].id], &lines(&["T", "V"]), Some(0), NOW).await.unwrap();
        let values: Vec<String> = shown(f, w).await.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["T", "V", "u", "a", "m", "b"]);
        let ids: Vec<i64> = f.worksheet_items(w).await.unwrap()[..5].iter().map(|item| item.id).collect();
        f.edit_items("ada", w, &ids, &[], None, NOW + 3).await.unwrap();
        assert_eq!(shown(f, w).await.len(), 1);
        assert_eq!(f.worksheet(w).await.unwrap().date_last_modified.unwrap().unix(), NOW + 3);
    }

    async fn items_of_other_worksheets_are_out_of_reach(f) {
        let (mine, other) = (f.add_worksheet("ada", "mine").await, f.add_worksheet("bob", "other").await);
        let id = f.append_items("bob", other, &lines(&["x"]), NOW).await.unwrap()[0];
        assert_eq!(refused(f.edit_items("ada", mine, &[id], &lines(&["y"]), None, NOW).await).0, 400);
        assert_eq!(refused(f.edit_items("ada", other, &[id], &[], None, NOW).await).0, 403);
        assert_eq!((shown(f, other).await.len(), shown(f, mine).await.len()), (1, 0));
    }

    async fn replacing_everything_notices_concurrent_changes(f) {
        let w = f.add_worksheet("ada", "w").await;
        let ids = f.append_items("ada", w, &lines(&["a", "b"]), NOW).await.unwrap();
        f.append_items("ada", w, &lines(&["late"]), NOW).await.unwrap();
        f.replace_items("ada", w, read(ids[1], 2), &lines(&["x", "y", "中文 😀"]), NOW).await.unwrap();
        assert_eq!(shown(f, w).await, keyed(&[(0, "x"), (1, "y"), (2, "中文 😀"), (3, "late")]));
        let (status, text) = refused(f.replace_items("ada", w, read(ids[1], 2), &lines(&["z"]), NOW).await);
        assert_eq!((status, text), (400, format!("Worksheet(uuid='{w}', name='w') was updated concurrently!")));
        assert_eq!(shown(f, w).await.len(), 4);
        let empty = f.add_worksheet("ada", "empty").await;
        f.replace_items("ada", empty, read(-1, 0), &lines(&["first"]), NOW).await.unwrap();
        assert_eq!(shown(f, empty).await, keyed(&[(0, "first")]));
    }

    async fn concurrent_appends_lose_nothing(f) {
        let w = f.add_worksheet("ada", "w").await;
        let item = lines(&["x"]);
        futures::future::try_join_all((0..20).map(|_| f.append_items("ada", w, &item, NOW))).await.unwrap();
        let keys: Vec<i64> = shown(f, w).await.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, (0..20).collect::<Vec<_>>());
    }

    async fn long_texts_and_many_items_are_kept(f) {
        let w = f.add_worksheet("ada", "w").await;
        let long = "中".repeat(100_000);
        let mut items = lines(&[&long]);
        items.extend((0..1500).map(|n| Item::markup(n.to_string())));
        f.append_items("ada", w, &items, NOW).await.unwrap();
        let read = shown(f, w).await;
        assert_eq!((read.len(), read[0].1.len(), read[1500].1.as_str()), (1501, 300_000, "1499"));
    }

    async fn deletion_needs_force_for_frozen_and_full_worksheets(f) {
        let (w, host) = (f.add_worksheet("ada", "w").await, f.add_worksheet("ada", "host").await);
        f.append_items("ada", w, &lines(&["x"]), NOW).await.unwrap();
        f.append_items("ada", host, &[Item::worksheet(w)], NOW).await.unwrap();
        assert_eq!(refused(f.delete_worksheet("bob", w, true).await).0, 403);
        let because = |why: &str| (400, format!("Can't delete worksheet {w} because it is {why} (--force to override)."));
        assert_eq!(refused(f.delete_worksheet("ada", w, false).await), because("not empty"));
        f.update_worksheet("ada", w, WorksheetUpdate { frozen: Some(true), ..Default::default() }, NOW).await.unwrap();
        assert_eq!(refused(f.delete_worksheet("ada", w, false).await), because("frozen"));
        f.delete_worksheet("ada", w, true).await.unwrap();
        assert_eq!(refused(f.worksheet(w).await).0, 404);
        assert!(shown(f, host).await.is_empty());
    }
}
