//! Creating, reading, changing and deleting bundles.

use domain::{BundleState, BundleType, Metadata, Permission, UtcTime, Uuid};
use model::{BundleUpdate, CreateBundles, DeleteBundles, NewItemPlace, ObjectKind, WorksheetUpdate};
use serde_json::{Value, json};

use crate::fixture::{Fixture, NOW, dataset, depends_on, fresh_uuid, make, refused, run};

fn metadata(value: Value) -> Metadata {
    Metadata::try_from(value).unwrap()
}

fn with_metadata(uuid: Uuid, value: Value) -> BundleUpdate {
    BundleUpdate {
        metadata: metadata(value),
        ..BundleUpdate::new(uuid)
    }
}

fn frozen(uuid: Uuid, frozen: bool) -> BundleUpdate {
    BundleUpdate {
        frozen: Some(frozen.then(|| UtcTime::from_unix(1))),
        ..BundleUpdate::new(uuid)
    }
}

async fn delete(
    f: &Fixture,
    viewer: &str,
    uuids: &[Uuid],
    change: impl Fn(&mut DeleteBundles),
) -> domain::Result<Vec<Uuid>> {
    let mut request = DeleteBundles {
        uuids: uuids.to_vec(),
        ..DeleteBundles::default()
    };
    change(&mut request);
    let deleted = f.model.delete_bundles(viewer, &request, NOW).await?;
    Ok(deleted.into_iter().map(|bundle| bundle.uuid).collect())
}

on_both! {
    async fn a_bundle_reads_back_as_it_was_created(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let parent = f.add_dataset("ada", worksheet, "corpus", 7).await;
        let gone = fresh_uuid();
        let mut new = run("r", &[parent, gone]);
        new.metadata.set("tags", json!(["b", "a"]));
        new.metadata.set("request_time", "3d");
        new.metadata.set("exitcode", 5); // generated: not the client's business
        let uuid = f.create("ada", Some(worksheet), new).await.unwrap();
        let record = f.bundle(uuid).await.unwrap();
        let bundle = &record.bundle;
        assert_eq!((bundle.bundle_type, bundle.state, bundle.owner_id.as_deref()), (BundleType::Run, BundleState::Created, Some("ada")));
        assert_eq!((bundle.metadata.list("tags"), bundle.metadata.int("created")), (vec!["b", "a"], NOW));
        assert_eq!((bundle.metadata.str("request_time"), bundle.metadata.get("exitcode")), ("3d", None));
        assert_eq!(bundle.metadata.get("request_network"), Some(&json!(true)));
        assert_eq!(bundle.dependencies.iter().map(|d| (d.child_path.as_str(), d.parent_uuid)).collect::<Vec<_>>(), [("in0", parent), ("in1", gone)]);
        assert!(bundle.dependencies.iter().all(|dependency| dependency.child_uuid == uuid));
        assert_eq!(record.parents[0].name.as_deref(), Some("corpus"));
        assert_eq!((record.parents[0].state, record.parents[1].state), (Some(BundleState::Ready), None));
        assert_eq!(refused(f.bundle(gone).await), (404, format!("Bundle {gone} not found")));
        let listed = f.bundles(&[uuid, gone, parent, uuid]).await.unwrap();
        assert_eq!(listed.iter().map(|record| record.bundle.uuid).collect::<Vec<_>>(), [uuid, parent, uuid]);
        assert_eq!(f.bundle_names(&[uuid, gone]).await.unwrap().len(), 1);
        assert_eq!(f.bundle_owners(&[uuid]).await.unwrap()[&uuid].as_deref(), Some("ada"));
        assert_eq!(f.bundles_in_states(&[BundleState::Created, BundleState::Ready], None).await.unwrap(), [parent, uuid]);
        assert!(f.bundles_in_states(&[BundleState::Created], Some(BundleType::Make)).await.unwrap().is_empty());
    }

    async fn creation_is_all_or_nothing(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let taken = f.add_dataset("ada", worksheet, "d", 1).await;
        let mut twice = dataset("x");
        twice.uuid = taken;
        let request = |bundles| CreateBundles { owner_id: "ada".into(), worksheet: Some(worksheet), place: NewItemPlace::default(), shadow: None, bundles };
        assert_eq!(refused(f.create_bundles(request(vec![dataset("y"), twice]), NOW).await).0, 409);
        let same = dataset("z");
        assert_eq!(refused(f.create_bundles(request(vec![same.clone(), same]), NOW).await).0, 409);
        let mut bad = dataset("ok");
        bad.metadata.set("name", "not ok");
        assert_eq!(refused(f.create_bundles(request(vec![dataset("y"), bad]), NOW).await).0, 400);
        let mut doubled = run("r", &[taken]);
        doubled.dependencies.push(depends_on("in0", taken));
        assert_eq!(refused(f.create_bundles(request(vec![doubled]), NOW).await).0, 400);
        assert_eq!(f.worksheet_items(worksheet).await.unwrap().len(), 1);
        assert_eq!(f.bundles_owned_by("ada").await.unwrap(), [taken]);
    }

    async fn creation_needs_permission_on_an_unfrozen_worksheet(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        assert_eq!(refused(f.create("bob", Some(worksheet), dataset("d")).await).0, 403);
        f.update_worksheet("ada", worksheet, WorksheetUpdate { is_anonymous: Some(true), ..Default::default() }, NOW).await.unwrap();
        let uuid = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        assert!(f.bundle(uuid).await.unwrap().bundle.is_anonymous);
        f.update_worksheet("ada", worksheet, WorksheetUpdate { frozen: Some(true), ..Default::default() }, NOW).await.unwrap();
        assert_eq!(
            refused(f.create("ada", Some(worksheet), dataset("d")).await),
            (403, format!("Cannot mutate frozen worksheet {worksheet}(w)."))
        );
    }

    async fn new_items_go_where_they_are_wanted(f) {
        let (one, two) = (f.add_worksheet("ada", "one").await, f.add_worksheet("bob", "two").await);
        let first = f.create("ada", Some(one), dataset("first")).await.unwrap();
        f.append_items("bob", two, &[domain::worksheet::Item::bundle(first)], NOW).await.unwrap();
        let mut request = CreateBundles {
            owner_id: "ada".into(), worksheet: Some(one), shadow: None, bundles: vec![dataset("top")],
            place: NewItemPlace { after_sort_key: Some(-1), after_image: true },
        };
        let top = f.create_bundles(request.clone(), NOW).await.unwrap()[0];
        let items = f.worksheet_items(one).await.unwrap();
        assert_eq!(items.iter().map(|i| (i.sort_key, i.item.bundle_uuid)).collect::<Vec<_>>(), [(0, None), (1, Some(top)), (2, Some(first))]);
        // A shadow goes beside its original, but not on a worksheet its owner may not edit.
        request.bundles = vec![dataset("shadow")];
        request.shadow = Some(first);
        request.place = NewItemPlace::default();
        let shadow = f.create_bundles(request, NOW).await.unwrap()[0];
        let items = f.worksheet_items(one).await.unwrap();
        assert_eq!(items.iter().filter_map(|i| i.item.bundle_uuid).collect::<Vec<_>>(), [top, first, shadow]);
        assert_eq!(f.worksheet_items(two).await.unwrap().len(), 1);
    }

    async fn edits_are_partial_and_matched_by_uuid(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let (a, b) = (f.add_dataset("ada", worksheet, "a", 5).await, f.add_dataset("ada", worksheet, "b", 6).await);
        let updates = vec![with_metadata(b, json!({"description": "of b", "tags": ["x", "y"]})), with_metadata(a, json!({"name": "A"}))];
        f.update_bundles("ada", updates, NOW).await.unwrap();
        let (first, second) = (f.metadata(a).await, f.metadata(b).await);
        assert_eq!((first.name(), first.str("description"), first.int("data_size")), ("A", "", 5));
        assert_eq!((second.name(), second.str("description"), second.list("tags")), ("b", "of b", vec!["x", "y"]));
        f.update_bundles("ada", vec![with_metadata(b, json!({"tags": [], "description": null}))], NOW).await.unwrap();
        assert_eq!((f.metadata(b).await.list("tags").len(), f.metadata(b).await.str("description")), (0, ""));
        let both = vec![with_metadata(a, json!({"name": "changed"})), with_metadata(fresh_uuid(), json!({"name": "x"}))];
        assert_eq!(refused(f.update_bundles("ada", both, NOW).await).0, 403);
        assert_eq!(f.metadata(a).await.name(), "A");
        assert_eq!(refused(f.update_bundles("bob", vec![with_metadata(a, json!({"name": "x"}))], NOW).await).0, 403);
    }

    async fn generated_and_locked_metadata_are_not_for_users(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let data = f.add_dataset("ada", worksheet, "d", 5).await;
        for value in [json!({"data_size": 0}), json!({"created": 1}), json!({"failure_message": "x"}), json!({"data_size": null})] {
            assert_eq!(refused(f.update_bundles("ada", vec![with_metadata(data, value)], NOW).await).0, 403);
        }
        // What equals the stored value is let pass.
        f.update_bundles("ada", vec![with_metadata(data, json!({"data_size": 5, "name": "e"}))], NOW).await.unwrap();
        let uuid = f.add_run("ada", worksheet, "r", &[]).await;
        let cpus = |n: i64| vec![with_metadata(uuid, json!({"request_cpus": n}))];
        f.update_bundles("ada", cpus(2), NOW).await.unwrap();
        f.report_final_state(uuid, BundleState::Failed, None, NOW).await.unwrap();
        assert_eq!(refused(f.update_bundles("ada", cpus(3), NOW).await).0, 403);
        f.update_bundles("ada", cpus(2), NOW).await.unwrap();
        for (value, text) in [
            (json!({"name": ""}), "Runs must have non-empty names"),
            (json!({"name": null}), "Runs must have non-empty names"),
            (json!({"nope": 1}), "Unexpected metadata key: nope"),
            (json!({"description": "日本"}), "Invalid character detected; use ascii characters only."),
        ] {
            assert_eq!(refused(f.update_bundles("ada", vec![with_metadata(uuid, value)], NOW).await), (400, text.to_owned()));
        }
    }

    async fn frozen_bundles_change_only_when_they_are_unfrozen(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 5).await;
        let created = f.add_run("ada", worksheet, "r", &[]).await;
        assert_eq!(
            refused(f.update_bundles("ada", vec![frozen(created, true)], NOW).await),
            (403, format!("Cannot freeze bundle {created}(r), bundle is not in a final state."))
        );
        f.update_bundles("ada", vec![frozen(uuid, true)], NOW + 7).await.unwrap();
        assert_eq!(f.bundle(uuid).await.unwrap().bundle.frozen.unwrap().unix(), NOW + 7);
        let mutate = (403, format!("Cannot mutate frozen bundle {uuid}(d)."));
        assert_eq!(refused(f.update_bundles("ada", vec![frozen(uuid, true)], NOW).await), mutate);
        assert_eq!(refused(f.update_bundles("ada", vec![with_metadata(uuid, json!({"name": "x"}))], NOW).await), mutate);
        assert_eq!(refused(f.set_permission(ObjectKind::Bundle, uuid, f.public_group(), Permission::All).await), mutate);
        assert_eq!(refused(delete(f, "ada", &[uuid], |_| ()).await), mutate);
        let both = BundleUpdate { metadata: metadata(json!({"name": "x"})), ..frozen(uuid, false) };
        f.update_bundles("ada", vec![both], NOW).await.unwrap();
        let bundle = f.bundle(uuid).await.unwrap().bundle;
        assert_eq!((bundle.frozen, bundle.name()), (None, "x"));
    }

    async fn disk_usage_moves_with_the_owner(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 5).await;
        let give = |owner: &str| vec![BundleUpdate { owner_id: Some(owner.into()), ..BundleUpdate::new(uuid) }];
        assert_eq!(refused(f.update_bundles("ada", give("zoe"), NOW).await).0, 404);
        f.set_permission(ObjectKind::Bundle, uuid, f.public_group(), Permission::All).await.unwrap();
        assert_eq!(refused(f.update_bundles("bob", give("bob"), NOW).await).0, 403);
        f.update_bundles("ada", give("bob"), NOW).await.unwrap();
        assert_eq!((f.disk_used("ada").await, f.disk_used("bob").await), (0, 5));
        f.update_bundles("0", give("ada"), NOW).await.unwrap();
        assert_eq!((f.disk_used("ada").await, f.disk_used("bob").await), (5, 0));
    }

    async fn deletion_checks_in_order_and_cleans_up(f) {
        let (one, two) = (f.add_worksheet("ada", "one").await, f.add_worksheet("ada", "two").await);
        let parent = f.add_dataset("ada", one, "p", 100).await;
        let child = f.create("ada", Some(one), make("c", parent)).await.unwrap();
        let (status, text) = refused(delete(f, "ada", &[parent], |_| ()).await);
        assert_eq!((status, text), (400, format!("Can't delete bundles {parent} because the following bundles depend on them:\n  c({child})")));
        assert_eq!(delete(f, "ada", &[parent], |r| { r.recursive = true; r.dry_run = true; }).await.unwrap(), [parent, child]);
        assert_eq!(refused(delete(f, "bob", &[parent], |r| r.recursive = true).await).0, 403);
        f.append_items("ada", two, &[domain::worksheet::Item::bundle(parent)], NOW).await.unwrap();
        let (_, text) = refused(delete(f, "ada", &[parent], |r| r.recursive = true).await);
        assert!(text.starts_with(&format!("Can't delete bundle {parent}")) && text.contains("appears in multiple worksheets") && text.contains(&format!("\n  two({two})")), "{text}");
        f.stage(child, NOW).await.unwrap();
        f.start_making(child, NOW).await.unwrap();
        let (_, text) = refused(delete(f, "ada", &[parent], |r| { r.recursive = true; r.force = true; }).await);
        assert!(text.starts_with(&format!("Can't delete bundles: {child}.")), "{text}");
        f.restart_making(child).await.unwrap();
        assert_eq!(delete(f, "ada", &[parent, parent], |r| r.force = true).await.unwrap(), [parent]);
        assert_eq!(f.disk_used("ada").await, 0);
        assert_eq!(f.worksheet_items(two).await.unwrap().len(), 0);
        let record = f.bundle(child).await.unwrap();
        assert_eq!((record.bundle.dependencies[0].parent_uuid, record.parents[0].state), (parent, None));
        // It does not exist any more: nobody has a permission on it.
        assert_eq!(refused(delete(f, "ada", &[parent], |r| r.force = true).await).0, 403);
        assert_eq!(refused(delete(f, "0", &[parent], |r| r.force = true).await).0, 404);
    }

    async fn a_frozen_worksheet_protects_its_bundles(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 5).await;
        f.update_worksheet("ada", worksheet, WorksheetUpdate { frozen: Some(true), ..Default::default() }, NOW).await.unwrap();
        let (status, text) = refused(delete(f, "ada", &[uuid], |r| r.force = true).await);
        assert!(status == 400 && text.contains("appears in frozen worksheets"), "{text}");
    }

    async fn data_only_deletion_keeps_the_rows(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 5).await;
        delete(f, "ada", &[uuid], |r| r.data_only = true).await.unwrap();
        assert_eq!((f.metadata(uuid).await.int("data_size"), f.disk_used("ada").await), (0, 0));
        assert!(f.contents(&[uuid]).await.unwrap().is_empty());
    }

    async fn relations_are_found(f) {
        let (mine, hidden) = (f.add_worksheet("ada", "mine").await, f.add_private_worksheet("ada", "hidden").await);
        let a = f.add_dataset("ada", mine, "a", 1).await;
        let b = f.add_run("ada", mine, "b", &[a, a]).await;
        let c = f.add_run("ada", mine, "c", &[b, a]).await;
        f.append_items("ada", hidden, &[domain::worksheet::Item::bundle(a), domain::worksheet::Item::bundle(a)], NOW).await.unwrap();
        assert_eq!(f.children(&[a]).await.unwrap()[&a], [b, c]);
        assert_eq!(f.self_and_descendants(&[a], Some(1)).await.unwrap(), [a, b, c]);
        assert_eq!(f.self_and_descendants(&[b], None).await.unwrap(), [b, c]);
        assert_eq!(f.self_and_descendants(&[c, a], Some(0)).await.unwrap(), [c, a]);
        let hosts = async |viewer: Option<&str>| {
            let found = f.host_worksheets(viewer, &[a]).await.unwrap();
            found.get(&a).map(|hosts| hosts.iter().map(|host| host.name.clone()).collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(hosts(Some("ada")).await, ["mine", "hidden"]);
        assert_eq!((hosts(Some("bob")).await, hosts(None).await), (vec!["mine".to_owned()], vec!["mine".to_owned()]));
        let command = "sort < in0 > out";
        let wanted = [("in0".to_owned(), a), ("in1".to_owned(), a)];
        assert_eq!(f.memoized("ada", command, &wanted).await.unwrap(), [b]);
        assert!(f.memoized("ada", "SORT < in0 > out", &wanted).await.unwrap().is_empty());
        assert!(f.memoized("ada", command, &wanted[..1]).await.unwrap().is_empty());
        assert!(f.memoized("ada", command, &[]).await.unwrap().is_empty());
        assert!(f.memoized("bob", command, &wanted).await.unwrap().is_empty());
    }

    async fn a_thousand_bundles_are_read_in_order(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let bundles: Vec<_> = (0..1100).map(|n| dataset(&format!("d{n}"))).collect();
        let uuids: Vec<Uuid> = bundles.iter().map(|bundle| bundle.uuid).collect();
        let request = CreateBundles { owner_id: "ada".into(), worksheet: Some(worksheet), place: NewItemPlace::default(), shadow: None, bundles };
        f.create_bundles(request, NOW).await.unwrap();
        let reversed: Vec<Uuid> = uuids.iter().rev().copied().collect();
        let read = f.bundles(&reversed).await.unwrap();
        assert_eq!(read.len(), 1100);
        assert_eq!((read[0].bundle.name(), read[1099].bundle.name()), ("d1099", "d0"));
        assert_eq!(f.permissions_of(ObjectKind::Bundle, None, &uuids).await.unwrap(), vec![Permission::Read; 1100]);
        let items = f.worksheet_items(worksheet).await.unwrap();
        assert_eq!((items.len(), items[1099].sort_key), (1100, 1099));
    }
}
