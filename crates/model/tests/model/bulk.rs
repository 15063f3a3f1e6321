//! Many bundles in one request: all or nothing, once, and in a number of statements that does not grow with each bundle.

use domain::{Permission, Uuid};
use model::PermissionChange;
use model::{BundleUpdate, CreateBundles, DeleteBundles, NewBundle, NewItemPlace, NewWorksheet, WorksheetUpdate};

use crate::fixture::{Fixture, NOW, dataset, named, refused, run};

const MANY: usize = 1000;

/// What a future gives, and how many statements it took.
async fn counted<T>(f: &Fixture, future: impl Future<Output = T>) -> (T, u64) {
    let before = f.statements().count();
    let output = future.await;
    (output, f.statements().count() - before)
}

fn request(owner: &str, worksheet: Option<Uuid>, bundles: Vec<NewBundle>) -> CreateBundles {
    CreateBundles {
        owner_id: owner.into(),
        worksheet,
        place: NewItemPlace::default(),
        shadow: None,
        bundles,
    }
}

on_both! {
    async fn bundles_come_with_everything_and_their_permissions_in_one_statement(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let hidden = f.add_private_worksheet("ada", "p").await;
        let parent = f.add_dataset("ada", worksheet, "d", 10).await;
        let gone = f.add_dataset("ada", worksheet, "gone", 1).await;
        let child = f.add_run("ada", worksheet, "r", &[parent, gone]).await;
        let private = f.add_run("ada", hidden, "p", &[]).await;
        let force = DeleteBundles { uuids: vec![gone], force: true, ..DeleteBundles::default() };
        f.delete_bundles("ada", &force, NOW).await.unwrap();
        // In the order asked for, once for each time, without those that are not there.
        let asked = [child, private, gone, parent, child];
        for (viewer, permissions) in [
            (Some("ada"), [Permission::All; 4]),
            (Some(f.root_user_id()), [Permission::All; 4]),
            (Some("bob"), [Permission::Read, Permission::None, Permission::Read, Permission::Read]),
            (None, [Permission::Read, Permission::None, Permission::Read, Permission::Read]),
        ] {
            let (found, statements) = counted(f, f.bundles_for(viewer, &asked)).await;
            let (records, have): (Vec<_>, Vec<_>) = found.unwrap().into_iter().unzip();
            assert_eq!(statements, 1);
            assert_eq!(have, permissions, "{viewer:?}");
            assert_eq!(records, f.bundles(&asked).await.unwrap());
            let uuids: Vec<Uuid> = records.iter().map(|record| record.bundle.uuid).collect();
            assert_eq!(uuids, [child, private, parent, child]);
            let [known, unknown] = &records[0].parents[..] else { panic!("two parents") };
            assert_eq!((known.name.as_deref(), known.state), (Some("d"), Some(domain::BundleState::Ready)));
            assert_eq!((unknown.name.as_deref(), unknown.state), (None, None));
            assert_eq!(records[2].bundle.metadata.int("data_size"), 10);
        }
    }

    async fn a_thousand_bundles_cost_few_statements(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let parent = f.add_dataset("ada", worksheet, "d", 10).await;
        let bundles: Vec<NewBundle> = (0..MANY).map(|n| run(&format!("r{n}"), &[parent])).collect();

        let (made, create) = counted(f, f.create_bundles(request("ada", Some(worksheet), bundles), NOW)).await;
        let uuids = made.unwrap();
        assert_eq!(uuids.len(), MANY);

        let (records, fetch) = counted(f, f.bundles(&uuids)).await;
        let names: Vec<String> = records.unwrap().iter().map(|record| record.bundle.name().to_owned()).collect();
        assert!(names.iter().enumerate().all(|(n, name)| *name == format!("r{n}")));

        let change = |(n, uuid): (usize, &Uuid)| BundleUpdate {
            metadata: named(&format!("s{n}")),
            is_anonymous: Some(n % 2 == 0),
            ..BundleUpdate::new(*uuid)
        };
        let updates = uuids.iter().enumerate().rev().map(change).collect();
        let (changed, update) = counted(f, f.update_bundles("ada", updates, NOW)).await;
        changed.unwrap();
        let records = f.bundles(&uuids).await.unwrap();
        assert!(records.iter().enumerate().all(|(n, record)| {
            record.bundle.name() == format!("s{n}") && record.bundle.is_anonymous == (n % 2 == 0)
        }));

        let all = DeleteBundles { uuids: uuids.clone(), ..DeleteBundles::default() };
        let (deleted, delete) = counted(f, f.delete_bundles("ada", &all, NOW)).await;
        assert_eq!(deleted.unwrap().len(), MANY);
        assert!(f.bundles(&uuids).await.unwrap().is_empty());
        assert_eq!(f.worksheet_items(worksheet).await.unwrap().len(), 1);
        for (what, statements, most) in
            [("create", create, 100), ("fetch", fetch, 20), ("update", update, 40), ("delete", delete, 100)]
        {
            assert!(statements <= most, "{what}: {statements} statements for {MANY} bundles");
        }
        assert_eq!(f.reconcile_usage().await.unwrap(), []);
    }

    async fn the_same_creation_by_the_same_owner_happens_once(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let bundles = vec![run("a", &[]), dataset("b")];
        let again = || request("ada", Some(worksheet), bundles.clone());
        let uuids = f.create_bundles(again(), NOW).await.unwrap();
        // The first one has gone on meanwhile.
        assert!(f.stage(uuids[0], NOW).await.unwrap());
        assert_eq!(f.create_bundles(again(), NOW + 60).await.unwrap(), uuids);
        assert_eq!(f.worksheet_items(worksheet).await.unwrap().len(), 2);
        assert_eq!(f.state(uuids[0]).await, domain::BundleState::Staged);

        let taken = format!("Bundle with uuid {} already exists", uuids[0]);
        // Later, by somebody else, something else, or only in part, it is another bundle with a uuid in use.
        assert_eq!(refused(f.create_bundles(again(), NOW + 3600).await), (409, taken.clone()));
        let home = f.add_worksheet("bob", "bobs").await;
        assert_eq!(refused(f.create_bundles(request("bob", Some(home), bundles.clone()), NOW).await), (409, taken.clone()));
        let mut other = again();
        other.bundles[1].metadata = named("c").with_client_defaults(domain::BundleType::Dataset);
        assert_eq!(refused(f.create_bundles(other, NOW).await), (409, taken.clone()));
        let mut command = again();
        command.bundles[0].command = Some("date".to_owned());
        assert_eq!(refused(f.create_bundles(command, NOW).await), (409, taken.clone()));
        let mut more = again();
        more.bundles.push(dataset("new"));
        let fresh = more.bundles[2].uuid;
        assert_eq!(refused(f.create_bundles(more, NOW).await), (409, taken));
        assert!(f.bundles(&[fresh]).await.unwrap().is_empty());
        let twice = dataset("x");
        assert_eq!(refused(f.create_bundles(request("ada", None, vec![twice.clone(), twice]), NOW).await).0, 409);
    }

    async fn the_same_creation_many_times_at_once_happens_once(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let bundle = run("a", &[]);
        let tries = (0..6).map(|_| f.create_bundles(request("ada", Some(worksheet), vec![bundle.clone()]), NOW));
        for made in futures::future::join_all(tries).await {
            assert_eq!(made.unwrap(), [bundle.uuid]);
        }
        assert_eq!(f.worksheet_items(worksheet).await.unwrap().len(), 1);
        assert_eq!(f.bundles_owned_by("ada").await.unwrap(), [bundle.uuid]);
    }

    async fn a_bundle_named_twice_in_one_update_gets_both(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 10).await;
        let freeze = BundleUpdate { frozen: Some(Some(domain::UtcTime::from_unix(0))), ..BundleUpdate::new(uuid) };
        let rename = BundleUpdate { metadata: named("e"), ..BundleUpdate::new(uuid) };
        // The second meets a frozen bundle: nothing of both happens.
        let (status, text) = refused(f.update_bundles("ada", vec![freeze.clone(), rename.clone()], NOW).await);
        assert_eq!((status, text), (403, format!("Cannot mutate frozen bundle {uuid}(d).")));
        f.update_bundles("ada", vec![rename, freeze], NOW).await.unwrap();
        let record = f.bundle(uuid).await.unwrap();
        assert_eq!((record.bundle.name(), record.bundle.frozen), ("e", Some(domain::UtcTime::from_unix(NOW))));
    }

    async fn worksheets_groups_permissions_stores_and_users_change_together_or_not_at_all(f) {
        let named = |name: &str| NewWorksheet { name: name.to_owned(), ..NewWorksheet::default() };
        let (status, _) = refused(f.create_worksheets(Some("ada"), &[named("one"), named("home-bob")], NOW).await);
        assert_eq!(status, 400);
        let made = f.create_worksheets(Some("ada"), &[named("one"), named("two")], NOW).await.unwrap();
        assert_eq!(made.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);

        let rename = |name: &str| WorksheetUpdate { name: Some(name.to_owned()), ..WorksheetUpdate::default() };
        let clash = [(made[0].uuid, rename("three")), (made[1].uuid, rename("three"))];
        assert_eq!(refused(f.update_worksheets("ada", &clash, NOW).await).0, 400);
        assert_eq!(f.worksheet(made[0].uuid).await.unwrap().name, "one");
        // The name it has already is no clash.
        f.update_worksheets("ada", &[(made[0].uuid, rename("one"))], NOW).await.unwrap();
        f.update_worksheets("ada", &[(made[0].uuid, rename("ONE"))], NOW).await.unwrap();

        let full = f.add_dataset("ada", made[1].uuid, "d", 1).await;
        let both = [made[0].uuid, made[1].uuid];
        assert_eq!(refused(f.delete_worksheets("ada", &both, false).await).0, 400);
        assert_eq!(f.worksheets(&both).await.unwrap().len(), 2);

        assert_eq!(refused(f.create_groups(&["g", "h", "G"], "ada").await).0, 409);
        assert_eq!(f.groups("ada").await.unwrap().len(), 1);
        let groups = f.create_groups(&["g", "h"], "ada").await.unwrap();
        let change = |object, group: &str| PermissionChange {
            object,
            group: group.to_owned(),
            permission: Permission::All,
        };
        let kind = model::ObjectKind::Bundle;
        let changes = [change(full, "g"), change(full, "nobody")];
        assert_eq!(refused(f.set_permissions("ada", kind, &changes).await).0, 404);
        assert_eq!(f.group_permissions(kind, &[full]).await.unwrap()[&full].len(), 1);
        let (status, text) = refused(f.set_permissions("bob", kind, &[change(full, "g")]).await);
        assert!(status == 403 && text.contains("(have read, need all)"), "{status} {text}");
        let rows = f.set_permissions("ada", kind, &[change(full, "g"), change(full, "h")]).await.unwrap();
        assert!(rows.iter().all(|row| row.id > 0));
        let uuids = [groups[0].group.uuid, crate::fixture::fresh_uuid()];
        assert_eq!(refused(f.delete_groups(&uuids).await).0, 404);
        assert_eq!(f.groups("ada").await.unwrap().len(), 3);
        assert_eq!(refused(f.add_group_members(&groups[0].group, &["bob", "nobody"], false).await).0, 404);
        assert_eq!(f.group(uuids[0]).await.unwrap().members.len(), 1);

        let store = |name: &str| model::NewStore {
            name: name.to_owned(),
            storage_type: "disk".to_owned(),
            ..model::NewStore::default()
        };
        assert_eq!(refused(f.create_stores("0", &[store("s"), store("S")]).await).0, 400);
        assert!(f.stores("0").await.unwrap().is_empty());
        let stores = f.create_stores("0", &[store("s"), store("t")]).await.unwrap();
        f.add_location(full, stores[1].uuid).await.unwrap();
        let both = [stores[0].uuid, stores[1].uuid];
        assert_eq!(refused(f.delete_stores("0", &both).await).0, 400);
        assert_eq!(f.stores("0").await.unwrap().len(), 2);

        f.add_user("cleo").await;
        let (status, text) = refused(f.delete_users(&["cleo", "ada"]).await);
        assert!(status == 404 && text.contains("User ada owns bundles"), "{text}");
        assert!(f.user("cleo").await.unwrap().is_some());
    }

    async fn of_many_groups_and_worksheets_with_one_name_one_is_made(f) {
        let tries = (0..6).map(|n| f.create_group("team", ["ada", "bob"][n % 2]));
        let made = futures::future::join_all(tries).await;
        assert_eq!(made.iter().filter(|group| group.is_ok()).count(), 1);
        assert!(made.into_iter().filter_map(Result::err).all(|error| error.status() == 409));
        let new = NewWorksheet { name: "plans".to_owned(), ..NewWorksheet::default() };
        let tries = (0..6).map(|n| f.create_worksheet(Some(["ada", "bob"][n % 2]), new.clone(), NOW));
        let made = futures::future::join_all(tries).await;
        assert_eq!(made.iter().filter(|worksheet| worksheet.is_ok()).count(), 1);
        assert!(made.into_iter().filter_map(Result::err).all(|error| error.status() == 400));
    }

    async fn who_deletes_an_account_while_it_makes_something_gets_one_or_the_other(f) {
        for n in 0..4 {
            let name = format!("user{n}");
            f.add_user(&name).await;
            let worksheet = NewWorksheet { name: format!("w{n}"), ..NewWorksheet::default() };
            let making = async {
                let made = f.create_worksheet(Some(&name), worksheet, NOW).await;
                made.is_ok()
            };
            let detached = f.create_bundles(request(&name, None, vec![dataset("d")]), NOW);
            let (made, bundles, deleted) = futures::join!(making, detached, f.delete_user(&name));
            let owns = made || bundles.is_ok();
            assert!(owns != deleted.is_ok(), "made: {owns}, deleted: {deleted:?}");
        }
    }

    async fn a_deleted_user_stays_in_the_listing_of_the_group(f) {
        let group = f.create_group("team", "ada").await.unwrap().group;
        f.add_group_members(&group, &["bob"], true).await.unwrap();
        f.delete_user("bob").await.unwrap();
        let members = f.group(group.uuid).await.unwrap().members;
        let shown: Vec<_> = members.iter().map(|m| (m.user_id.as_str(), m.user_name.as_deref(), m.is_admin)).collect();
        assert_eq!(shown, [("ada", Some("ada"), true), ("bob", None, true)]);
        // Somebody who gets the same id has nothing of it.
        f.add_user("bob").await;
        assert_eq!(f.group(group.uuid).await.unwrap().members.len(), 1);
        assert_eq!(refused(f.administered_group("bob", "team").await).0, 404);
        f.delete_user("bob").await.unwrap();
        f.remove_group_members(&group, &["bob"]).await.unwrap();
        assert_eq!(f.group(group.uuid).await.unwrap().members.len(), 1);
    }
}
