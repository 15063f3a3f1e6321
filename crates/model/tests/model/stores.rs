//! Bundle stores, locations, upload sessions, trash and statistics.

use model::{NewStore, SessionUpdate, UploadSession, WorkerKey};

use crate::fixture::{NOW, checkin, contents, dataset, fresh_uuid, refused};

fn store(name: &str, storage_type: &str) -> NewStore {
    NewStore {
        name: name.into(),
        storage_type: storage_type.into(),
        url: Some("x://y".into()),
        authentication: Some("secret".into()),
        ..NewStore::default()
    }
}

on_both! {
    async fn stores_are_made_by_root_and_seen_by_all(f) {
        assert_eq!(refused(f.create_store("ada", store("s", "disk")).await), (403, "Only root user can create bundle stores.".to_owned()));
        let made = f.create_store("0", store("s", "azure_blob")).await.unwrap();
        assert_eq!((made.storage_format.as_deref(), made.name.as_str()), (Some("compressed_v1"), "s"));
        assert!(!format!("{made:?}").contains("secret"));
        assert_eq!(refused(f.create_store("0", store("S", "disk")).await).0, 400);
        assert!(refused(f.create_store("0", store("t", "tape")).await).1.starts_with("Could not determine default storage format"));
        assert_eq!(f.stores("ada").await.unwrap(), std::slice::from_ref(&made));
        for spec in ["s", made.uuid.as_str()] {
            assert_eq!(f.find_store("ada", spec).await.unwrap().uuid, made.uuid);
        }
        assert_eq!(refused(f.find_store("ada", "nope").await), (400, "Can not find the BundleStore with name nope.".to_owned()));
        assert_eq!(refused(f.delete_store("ada", made.uuid).await).0, 404);
        f.delete_store("0", made.uuid).await.unwrap();
        assert!(f.stores("0").await.unwrap().is_empty());
    }

    async fn locations_are_noted_once(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let made = f.create_store("0", store("s", "disk")).await.unwrap();
        let mut new = dataset("d");
        new.store_uuid = Some(made.uuid);
        let uuid = f.create("ada", Some(worksheet), new).await.unwrap();
        f.add_location(uuid, made.uuid).await.unwrap();
        let locations = f.locations(&[uuid]).await.unwrap();
        assert_eq!((locations[&uuid].len(), locations[&uuid][0].url.as_deref()), (1, Some("x://y")));
        assert!(refused(f.delete_store("0", made.uuid).await).1.contains("still holds 1 bundles"));
        assert_eq!(refused(f.add_location(uuid, fresh_uuid()).await).0, 400);
        let mut published = contents(uuid, 9);
        published.store_key = made.uuid.to_string();
        f.finish_upload(&published, "disk", Some(made.uuid), Some(domain::BundleState::Ready), NOW).await.unwrap();
        let deleted = f.delete_bundles("ada", &model::DeleteBundles { uuids: vec![uuid], ..Default::default() }, NOW).await.unwrap();
        assert_eq!((deleted[0].store_uuids.as_slice(), deleted[0].contents.as_slice()), ([made.uuid].as_slice(), [published].as_slice()));
        f.delete_store("0", made.uuid).await.unwrap();
    }

    async fn upload_sessions_change_only_as_expected(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        let session = UploadSession {
            id: "u_1".into(), bundle_uuid: uuid, user_id: "ada".into(), client_key: "k".into(), params: "{}".into(),
            store_key: String::new(), placement: "default".into(), state: "open".into(), committed: 0, size: Some(10),
            digest: None, charged: 0, remote_id: None, parts: None, node: "n".into(), lease_until: NOW, error: None,
            error_status: None, created: NOW, updated: NOW, expires: NOW + 99,
        };
        assert_eq!(f.open_upload_session(&session).await.unwrap(), session);
        let again = UploadSession { id: "u_2".into(), ..session.clone() };
        assert_eq!(f.open_upload_session(&again).await.unwrap().id, "u_1");
        let grow = SessionUpdate { committed: Some(5), ..SessionUpdate::default() };
        assert!(f.update_upload_session("u_1", "open", 0, &grow, NOW + 1).await.unwrap());
        assert!(!f.update_upload_session("u_1", "open", 0, &grow, NOW + 1).await.unwrap());
        let end = SessionUpdate { state: Some("failed".into()), error: Some("é".into()), error_status: Some(400), ..SessionUpdate::default() };
        assert!(f.update_upload_session("u_1", "open", 5, &end, NOW + 2).await.unwrap());
        let read = f.upload_session("u_1").await.unwrap().unwrap();
        assert_eq!((read.committed, read.updated, read.error.as_deref(), read.error_status), (5, NOW + 2, Some("é"), Some(400)));
        assert_eq!(f.open_upload_session(&again).await.unwrap().id, "u_2");
        assert_eq!(f.upload_sessions_in(&["open", "failed"]).await.unwrap().len(), 2);
        assert_eq!(f.upload_session("u_9").await.unwrap(), None);
    }

    async fn trash_is_kept_until_it_is_gone(f) {
        let id = f.add_trash("", "default", "trash/ü", NOW).await.unwrap();
        let second = f.add_trash("", "default", "trash/2", NOW).await.unwrap();
        f.fail_trash(id, "busy").await.unwrap();
        let trash = f.trash(10).await.unwrap();
        assert_eq!(trash.iter().map(|entry| (entry.id, entry.attempts)).collect::<Vec<_>>(), [(second, 0), (id, 1)]);
        assert_eq!((trash[1].path.as_str(), trash[1].last_error.as_deref()), ("trash/ü", Some("busy")));
        f.remove_trash(id).await.unwrap();
        assert_eq!(f.trash(10).await.unwrap().len(), 1);
        assert_eq!(refused(f.fail_trash(id, "x").await).0, 404);
    }

    async fn statistics_count_everything(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        f.add_dataset("ada", worksheet, "d", 7).await;
        f.add_run("ada", worksheet, "r", &[]).await;
        let stats = f.stats().await.unwrap();
        assert_eq!((stats.bundles, stats.worksheets, stats.users, stats.groups, stats.disk_used), (2, 1, 3, 1, 7));
        assert_eq!(stats.bundles_by_state, [("created".to_owned(), 1), ("ready".to_owned(), 1)]);
    }

    async fn the_census_counts_states_workers_and_what_waits(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        f.add_dataset("ada", worksheet, "d", 7).await;
        let worker = f.add_worker("ada", "busy").await;
        f.add_worker("ada", "idle").await;
        let leaving = WorkerKey { user_id: "ada".into(), worker_id: "leaving".into() };
        let mut last = checkin();
        last.is_terminating = true;
        f.worker_checkin(&leaving, &last, NOW).await.unwrap();
        f.add_running("ada", worksheet, "r", &worker).await;
        f.add_run("ada", worksheet, "s", &[]).await;
        let census = f.census(NOW + 30).await.unwrap();
        let states: Vec<(&str, i64)> = census.bundles_by_state.iter().map(|(state, count)| (state.as_str(), *count)).collect();
        assert_eq!(states, [("created", 1), ("preparing", 1), ("ready", 1)]);
        let workers = &census.workers;
        assert_eq!((workers.online, workers.terminating, workers.silent), (2, 1, 0));
        assert_eq!((workers.cpus, workers.memory_bytes), (8, 16_000_000_000));
        assert_eq!((census.assigned_runs, census.pending_messages, census.oldest_message), (1, 1, 30));
        let later = f.census(NOW + 61).await.unwrap().workers;
        assert_eq!((later.online, later.terminating, later.silent, later.cpus), (0, 0, 3, 0));
    }
}
