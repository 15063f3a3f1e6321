//! Laws of items (language sections 4 and 21.2): insertion, replacement, versions, keys of old rows, references.

use domain::worksheet::{Item, PlacedItem};
use domain::{Permission, Uuid};
use futures::future::{join, try_join_all};
use model::{Base, MOST_ITEM_BYTES, MOST_ITEMS, ObjectKind, Replaced, source_version};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::fixture::{Fixture, NOW, dataset, fresh_uuid, refused};
use crate::sql::Sql;

fn lines(texts: impl IntoIterator<Item = impl Into<String>>) -> Vec<Item> {
    texts.into_iter().map(Item::markup).collect()
}

async fn items(f: &Fixture, worksheet: Uuid) -> Vec<PlacedItem> {
    f.model.worksheet_items(worksheet).await.unwrap()
}

fn values(items: &[PlacedItem]) -> Vec<&str> {
    items.iter().map(|placed| placed.item.value.as_str()).collect()
}

fn version(items: &[PlacedItem]) -> String {
    source_version(items.iter().map(|placed| &placed.item))
}

fn as_read(items: &[PlacedItem]) -> Base<'static> {
    Base::Read {
        last_item_id: items.iter().map(|placed| placed.id).max().unwrap_or(-1),
        length: items.len(),
    }
}

/// An edit of a worksheet; numbers choose among its items.
#[derive(Clone, Debug)]
struct Edit {
    remove: Vec<usize>,
    add: usize,
    /// None appends, 0 is the top, others follow an item.
    after: Option<usize>,
    /// Some keys of the worksheet are made like those of old databases first.
    spoil: bool,
}

fn edit() -> impl Strategy<Value = Edit> {
    let remove = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..20_usize, 1..4)];
    (
        remove,
        0..5_usize,
        prop::option::weighted(0.8, 0..20_usize),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(remove, add, after, spoil)| Edit {
            remove,
            add,
            after,
            spoil,
        })
}

/// Law 15: the old items keep their order and ids; the new ones are contiguous, directly after the last item whose key was at
/// most the given one; of the ids, exactly those given are gone. Keys are never negative and grow.
async fn edited(f: &Fixture, worksheet: Uuid, number: usize, edit: &Edit) {
    let before = items(f, worksheet).await;
    let mut remove: Vec<i64> = Vec::new();
    if !before.is_empty() {
        remove.extend(edit.remove.iter().map(|index| before[index % before.len()].id));
    }
    let after = edit.after.map(|index| match index {
        0 => -1,
        index if before.is_empty() => index as i64,
        index => before[index % before.len()].sort_key,
    });
    let new: Vec<String> = (0..edit.add).map(|index| format!("{number}.{index}")).collect();
    let ids = f
        .edit_items("ada", worksheet, &remove, &lines(&new), after, NOW)
        .await
        .unwrap();
    let now = items(f, worksheet).await;

    let mut expected: Vec<(Option<i64>, &str)> = Vec::new();
    let stays = |placed: &&PlacedItem| !remove.contains(&placed.id);
    let above = |placed: &&PlacedItem| after.is_none_or(|after| placed.sort_key <= after);
    expected.extend(
        before
            .iter()
            .filter(above)
            .filter(stays)
            .map(|p| (Some(p.id), p.item.value.as_str())),
    );
    expected.extend(new.iter().map(|text| (None, text.as_str())));
    expected.extend(
        before
            .iter()
            .filter(|p| !above(p))
            .filter(stays)
            .map(|p| (Some(p.id), p.item.value.as_str())),
    );
    assert_eq!(
        values(&now),
        expected.iter().map(|(_, text)| *text).collect::<Vec<_>>(),
        "{edit:?}"
    );
    for (placed, (id, text)) in now.iter().zip(&expected) {
        assert!(
            id.is_none_or(|id| placed.id == id),
            "{text} has another id now: {edit:?}"
        );
    }
    let new_ids: Vec<i64> = now
        .iter()
        .zip(&expected)
        .filter(|(_, (id, _))| id.is_none())
        .map(|(p, _)| p.id)
        .collect();
    assert_eq!(ids, new_ids);
    if let (Some(after), Some(first)) = (after, ids.first()) {
        let at = now.iter().position(|placed| placed.id == *first).unwrap();
        let keys: Vec<i64> = now[at..at + ids.len()].iter().map(|placed| placed.sort_key).collect();
        assert_eq!(keys, (after.max(-1) + 1..).take(ids.len()).collect::<Vec<_>>());
    }
    assert!(now.iter().all(|placed| placed.sort_key >= 0));
    assert!(
        now.windows(2).all(|pair| pair[0].sort_key < pair[1].sort_key),
        "{now:?}"
    );
}

/// Keys as a 1.7 server leaves them: missing, negative, twice.
async fn spoil(f: &Fixture, worksheet: Uuid) {
    let before = items(f, worksheet).await;
    let mut sql = Sql::connect(f.database.url()).await;
    sql.run(&format!(
        "UPDATE worksheet_item SET sort_key = sort_key - 7 WHERE worksheet_uuid = '{worksheet}';"
    ))
    .await;
    sql.close().await;
    let now = items(f, worksheet).await;
    assert_eq!(values(&now), values(&before));
    if before.iter().any(|placed| placed.sort_key < 7) {
        assert!(
            now.windows(2).all(|pair| pair[0].sort_key + 1 == pair[1].sort_key),
            "{now:?}"
        );
    }
}

on_both! {
    async fn insertions_keep_everything_else_in_its_order(f) {
        let config = Config { rng_seed: RngSeed::Fixed(15), ..Config::default() };
        let mut runner = TestRunner::new(config);
        for round in 0..4 {
            let worksheet = f.add_worksheet("ada", &format!("w{round}")).await;
            for number in 0..30 {
                let edit = edit().new_tree(&mut runner).unwrap().current();
                if edit.spoil {
                    spoil(f, worksheet).await;
                }
                edited(f, worksheet, number, &edit).await;
            }
        }
    }

    async fn appends_during_a_replacement_are_there_afterwards(f) {
        let w = f.add_worksheet("ada", "w").await;
        let mut appended = 0;
        for round in 0..6_usize {
            let before = items(f, w).await;
            // More and fewer lines than there were.
            let new: Vec<String> = (0..if round % 2 == 0 { 40 } else { 3 }).map(|n| format!("{round}/{n}")).collect();
            let new_items = lines(&new);
            let replacing = f.replace_items("ada", w, as_read(&before), &new_items, NOW);
            let late: Vec<Vec<Item>> = (0..5).map(|n| lines([format!("late {round} {n}")])).collect();
            let appending = try_join_all(late.iter().map(|item| f.append_items("ada", w, item, NOW)));
            let (replaced, ids) = join(replacing, appending).await;
            let ids = ids.unwrap();
            let after = items(f, w).await;
            assert!(matches!(replaced.unwrap(), Replaced::Done { .. }));
            assert_eq!(values(&after)[..new.len()], new);
            assert_eq!(after.len(), new.len() + ids.len(), "round {round}");
            assert!(ids.iter().flatten().all(|id| after[new.len()..].iter().any(|placed| placed.id == *id)));
            assert!(after.windows(2).all(|pair| pair[0].sort_key < pair[1].sort_key));
            assert!(after[..new.len()].windows(2).all(|pair| pair[0].sort_key + 1 == pair[1].sort_key));
            appended += ids.len();
        }
        assert_eq!(appended, 30);
    }

    async fn of_several_replacements_of_one_version_one_wins(f) {
        let w = f.add_worksheet("ada", "w").await;
        f.append_items("ada", w, &lines(["a", "b"]), NOW).await.unwrap();
        let base = version(&items(f, w).await);
        let texts: Vec<Vec<Item>> = (0..6).map(|n| lines([format!("{n}"), "x".to_owned()])).collect();
        let outcomes = try_join_all(texts.iter().map(|text| f.replace_items("ada", w, Base::Version(&base), text, NOW))).await.unwrap();
        let won: Vec<usize> = (0..6).filter(|n| outcomes[*n] != Replaced::Conflict).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        let now = items(f, w).await;
        assert_eq!(values(&now), [won[0].to_string().as_str(), "x"]);
        assert_eq!(outcomes[won[0]], Replaced::Done { version: version(&now) });

        // An appended item makes another version, and one that was there before makes the same again.
        f.append_items("ada", w, &lines(["late"]), NOW).await.unwrap();
        let stale = version(&now);
        assert_eq!(f.replace_items("ada", w, Base::Version(&stale), &lines(["y"]), NOW).await.unwrap(), Replaced::Conflict);
        assert_eq!(items(f, w).await.len(), 3);
        let ids: Vec<i64> = items(f, w).await[2..].iter().map(|placed| placed.id).collect();
        f.edit_items("ada", w, &ids, &[], None, NOW).await.unwrap();
        let done = f.replace_items("ada", w, Base::Version(&stale), &lines(["y"]), NOW + 5).await.unwrap();
        assert_eq!(done, Replaced::Done { version: version(&items(f, w).await) });
        assert_eq!(f.worksheet(w).await.unwrap().date_last_modified.unwrap().unix(), NOW + 5);
        // Rights come first.
        assert_eq!(refused(f.replace_items("bob", w, Base::Version("x"), &[], NOW).await).0, 403);
    }

    async fn keys_of_a_replacement_follow_the_largest_id(f) {
        let (other, w) = (f.add_worksheet("ada", "other").await, f.add_worksheet("ada", "w").await);
        f.append_items("ada", other, &lines(vec!["x"; 50]), NOW).await.unwrap();
        let ids = f.append_items("ada", w, &lines(["a", "b", "c"]), NOW).await.unwrap();
        f.replace_items("ada", w, as_read(&items(f, w).await), &lines(["d", "e"]), NOW).await.unwrap();
        let keys: Vec<i64> = items(f, w).await.iter().map(|placed| placed.sort_key).collect();
        assert_eq!(keys, [ids[2] - 2, ids[2] - 1]);
        // More lines than the largest id: the first key is 0 and nothing is above the top.
        let many = lines((0..ids[2] + 20).map(|n| n.to_string()));
        f.replace_items("ada", w, as_read(&items(f, w).await), &many, NOW).await.unwrap();
        assert_eq!(items(f, w).await[0].sort_key, 0);
        f.edit_items("ada", w, &[], &lines(["top"]), Some(-1), NOW).await.unwrap();
        assert_eq!(items(f, w).await[0].item.value, "top");
    }

    async fn rows_without_keys_are_read_in_order_and_get_keys_with_the_next_insertion(f) {
        let w = f.add_worksheet("ada", "w").await;
        f.append_items("ada", w, &lines(["a", "b", "c"]), NOW).await.unwrap();
        let mut sql = Sql::connect(f.database.url()).await;
        sql.run(&format!(
            "UPDATE worksheet_item SET sort_key = -9 WHERE worksheet_uuid = '{w}' AND value = 'c';\
             UPDATE worksheet_item SET sort_key = NULL WHERE worksheet_uuid = '{w}' AND value <> 'c';"
        )).await;
        let before = items(f, w).await;
        assert_eq!(values(&before), ["c", "a", "b"]);
        assert!(before[0].sort_key >= 0 && before.windows(2).all(|pair| pair[0].sort_key + 1 == pair[1].sort_key));
        // Reading wrote nothing.
        let unset = format!("SELECT COUNT(*) FROM worksheet_item WHERE worksheet_uuid = '{w}' AND sort_key IS NULL");
        assert_eq!(sql.number(&unset).await, 2);
        f.edit_items("ada", w, &[], &lines(["after c"]), Some(before[0].sort_key), NOW).await.unwrap();
        f.edit_items("ada", w, &[], &lines(["top"]), Some(-1), NOW).await.unwrap();
        let now = items(f, w).await;
        assert_eq!(values(&now), ["top", "c", "after c", "a", "b"]);
        assert_eq!(before.iter().map(|p| p.id).collect::<Vec<_>>(), [now[1].id, now[3].id, now[4].id]);
        assert_eq!(sql.number(&unset).await, 0);
        sql.close().await;
    }

    async fn what_an_insertion_moves_down_counts_as_placed_just_before(f) {
        let w = f.add_worksheet("ada", "w").await;
        let mut made = Vec::new();
        for name in ["a", "b", "c", "d"] {
            made.push(f.create("ada", None, dataset(name)).await.unwrap());
        }
        let refs: Vec<Item> = made.iter().map(|uuid| Item::bundle(*uuid)).collect();
        f.append_items("ada", w, &refs[..3], NOW).await.unwrap();
        let first = items(f, w).await[0].sort_key;
        f.edit_items("ada", w, &[], &refs[3..], Some(first), NOW).await.unwrap();
        let mut newest = Vec::new();
        for n in 1..=4 {
            newest.push(f.resolve_bundle(None, Some(w), &format!("^{n}")).await.unwrap());
        }
        assert_eq!(newest, [made[3], made[2], made[1], made[0]]);
        // A replacement places all anew, in display order.
        let reversed: Vec<Item> = refs.iter().rev().cloned().collect();
        f.replace_items("ada", w, as_read(&items(f, w).await), &reversed, NOW).await.unwrap();
        assert_eq!(f.resolve_bundle(None, Some(w), "^1").await.unwrap(), made[0]);
        f.append_items("ada", w, &refs[1..2], NOW).await.unwrap();
        assert_eq!(f.resolve_bundle(None, Some(w), "^1").await.unwrap(), made[1]);
    }

    async fn too_long_and_too_many_lines_are_refused_by_number(f) {
        let w = f.add_worksheet("ada", "w").await;
        let most = "a".repeat(MOST_ITEM_BYTES);
        f.append_items("ada", w, &lines([&most]), NOW).await.unwrap();
        let longer = lines(["short".to_owned(), format!("{most}b")]);
        for result in [
            f.append_items("ada", w, &longer, NOW).await.map(drop),
            f.replace_items("ada", w, as_read(&items(f, w).await), &longer, NOW).await.map(drop),
        ] {
            let (status, text) = refused(result);
            assert!(status == 400 && text.starts_with("Error in source line 2: the line has 1048577 bytes"), "{text}");
        }
        let (status, text) = refused(f.append_items("ada", w, &vec![Item::markup(""); MOST_ITEMS + 1], NOW).await);
        assert!(status == 400 && text.contains("too many"), "{text}");
        assert_eq!(items(f, w).await.len(), 1);
    }

    async fn references_find_only_what_may_be_read_and_ignore_case(f) {
        let (w, theirs, hidden) = (
            f.add_worksheet("ada", "w").await, f.add_worksheet("bob", "theirs").await, f.add_worksheet("bob", "hidden").await,
        );
        let public = f.public_group();
        let own = f.create("ada", Some(w), dataset("Digits")).await.unwrap();
        let open = f.create("bob", Some(theirs), dataset("open")).await.unwrap();
        let secret = f.create("bob", Some(theirs), dataset("secret")).await.unwrap();
        let buried = f.create("bob", Some(hidden), dataset("buried")).await.unwrap();
        f.set_permission(ObjectKind::Bundle, secret, public, Permission::None).await.unwrap();
        f.set_permission(ObjectKind::Worksheet, hidden, public, Permission::None).await.unwrap();
        let missing = fresh_uuid();
        let prefix = |uuid: Uuid| uuid.as_str()[..20].to_owned();
        let (open_prefix, secret_prefix) = (prefix(open), prefix(secret));
        let hidden_name = format!("{hidden}/buried");
        let specs = [
            "digits", "DIGITS^1", "^1", "theirs/OPEN", &open_prefix, missing.as_str(), secret.as_str(), "theirs/secret",
            &secret_prefix, "hidden/buried", &hidden_name, "nothing", "{}",
        ];
        let found = f.resolve_references(Some("ada"), w, &specs, &["theirs", "HIDDEN", hidden.as_str(), "a b"]).await.unwrap();
        for (spec, expected) in [
            ("digits", own), ("DIGITS^1", own), ("^1", own), ("theirs/OPEN", open), (&open_prefix, open),
            (missing.as_str(), missing), (secret.as_str(), secret),
        ] {
            assert_eq!(found.bundles[spec].as_ref().unwrap(), &expected, "{spec}");
        }
        for (spec, status) in [
            ("theirs/secret", 404), (&secret_prefix, 404), ("hidden/buried", 404), (&hidden_name, 403), ("nothing", 404), ("{}", 400),
        ] {
            assert_eq!(refused(found.bundles[spec].clone()).0, status, "{spec}");
        }
        assert_eq!(found.worksheets["theirs"].as_ref().unwrap(), &theirs);
        assert_eq!(refused(found.worksheets["HIDDEN"].clone()).1, "No worksheet found with name 'HIDDEN'");
        assert_eq!(found.worksheets[hidden.as_str()].as_ref().unwrap(), &hidden);
        assert_eq!(refused(found.worksheets["a b"].clone()).0, 400);
        // Their owner and root find them.
        for viewer in ["bob", f.root_user_id()] {
            let found = f.resolve_references(Some(viewer), w, &["hidden/buried", &secret_prefix], &["hidden"]).await.unwrap();
            assert_eq!(found.bundles["hidden/buried"].as_ref().unwrap(), &buried);
            assert_eq!(found.bundles[&secret_prefix].as_ref().unwrap(), &secret);
            assert_eq!(found.worksheets["hidden"].as_ref().unwrap(), &hidden);
        }
        let many: Vec<String> = (0..10_001).map(|n| format!("n{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(refused(f.resolve_references(Some("ada"), w, &many, &[]).await.map(drop)).0, 400);
    }
}
