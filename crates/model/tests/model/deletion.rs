//! Deleting bundles: what refuses it, what it says, and what is left.

use domain::Permission;
use model::{DeleteBundles, ObjectKind, WorksheetUpdate};

use crate::fixture::{NOW, refused};

fn of(uuids: &[domain::Uuid]) -> DeleteBundles {
    DeleteBundles {
        uuids: uuids.to_vec(),
        ..DeleteBundles::default()
    }
}

on_both! {
    async fn a_refusal_hides_the_names_of_what_the_viewer_may_not_read(f) {
        let worksheet = f.add_worksheet("ada", "open").await;
        let parent = f.add_dataset("ada", worksheet, "d", 1).await;
        let private = f.add_private_worksheet("bob", "secret-plans").await;
        let child = f.add_run("bob", private, "secret-run", &[parent]).await;
        let (status, text) = refused(f.delete_bundles("ada", &of(&[parent]), NOW).await);
        assert_eq!(status, 400);
        assert!(text.ends_with(&format!("depend on them:\n  <private>({child})")), "{text}");
        let (_, text) = refused(f.delete_bundles("0", &of(&[parent]), NOW).await);
        assert!(text.ends_with(&format!("depend on them:\n  secret-run({child})")), "{text}");
        f.delete_bundles("bob", &of(&[child]), NOW).await.unwrap();

        f.append_items("bob", private, &[domain::worksheet::Item::bundle(parent)], NOW).await.unwrap();
        let (_, text) = refused(f.delete_bundles("ada", &of(&[parent]), NOW).await);
        assert!(text.ends_with(&format!("\n  open({worksheet})\n  <private>({private})")), "{text}");
        let freeze = WorksheetUpdate { frozen: Some(true), ..WorksheetUpdate::default() };
        f.update_worksheet("bob", private, freeze, NOW).await.unwrap();
        let forced = DeleteBundles { force: true, ..of(&[parent]) };
        let (_, text) = refused(f.delete_bundles("ada", &forced, NOW).await);
        assert!(text.contains("frozen worksheets") && text.ends_with(&format!("\n  <private>({private})")), "{text}");
    }

    async fn recursion_checks_every_target_before_anything_happens(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w").await;
        let parent = f.add_dataset("ada", worksheet, "d", 5).await;
        let running = f.add_running("ada", worksheet, "r", &worker).await;
        let child = f.add_run("ada", worksheet, "c", &[parent]).await;
        let recursive = DeleteBundles { recursive: true, ..of(&[parent]) };
        // A child of somebody else stops it.
        let theirs = f.add_worksheet("bob", "theirs").await;
        let foreign = f.add_run("bob", theirs, "f", &[child]).await;
        let (status, text) = refused(f.delete_bundles("ada", &recursive, NOW).await);
        assert!(status == 403 && text.contains("have all all read, need all"), "{text}");
        f.delete_bundles("bob", &of(&[foreign]), NOW).await.unwrap();
        // So does an active one, and force does not help.
        let both = DeleteBundles { force: true, ..of(&[parent, running]) };
        assert_eq!(refused(f.delete_bundles("ada", &both, NOW).await).0, 400);
        assert_eq!(f.disk_used("ada").await, 5);
        let dry = DeleteBundles { dry_run: true, ..recursive.clone() };
        let would = f.delete_bundles("ada", &dry, NOW).await.unwrap();
        assert_eq!(would.iter().map(|bundle| bundle.uuid).collect::<Vec<_>>(), [parent, child]);
        assert_eq!(f.disk_used("ada").await, 5);
        f.delete_bundles("ada", &recursive, NOW).await.unwrap();
        assert_eq!(f.disk_used("ada").await, 0);
    }

    async fn a_repeated_deletion_finds_nothing_and_changes_nothing(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 5).await;
        let data_only = DeleteBundles { data_only: true, ..of(&[uuid]) };
        for _ in 0..2 {
            f.delete_bundles("ada", &data_only, NOW).await.unwrap();
            assert_eq!((f.disk_used("ada").await, f.metadata(uuid).await.int("data_size")), (0, 0));
        }
        f.delete_bundles("ada", &of(&[uuid]), NOW + 9).await.unwrap();
        assert_eq!(f.worksheet(worksheet).await.unwrap().date_last_modified, Some(domain::UtcTime::from_unix(NOW + 9)));
        let (status, text) = refused(f.delete_bundles("ada", &of(&[uuid]), NOW).await);
        assert!(status == 403 && text.contains("(have none, need all)"), "{text}");
        let gone = (404, format!("Bundle {uuid} not found"));
        assert_eq!(refused(f.delete_bundles("0", &of(&[uuid]), NOW).await), gone);
        assert_eq!(f.disk_used("ada").await, 0);
    }

    async fn contents_of_deleted_bundles_are_noted_until_they_are_removed(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let first = f.add_dataset("ada", worksheet, "a", 5).await;
        let second = f.add_dataset("ada", worksheet, "b", 5).await;
        let dry = DeleteBundles { dry_run: true, ..of(&[first]) };
        f.delete_bundles("ada", &dry, NOW).await.unwrap();
        assert!(f.leftovers(NOW + 1, 10).await.unwrap().is_empty());
        f.delete_bundles("ada", &of(&[first, second]), NOW).await.unwrap();
        assert!(f.leftovers(NOW, 10).await.unwrap().is_empty(), "it may be at work now");
        assert_eq!(f.leftovers(NOW + 1, 10).await.unwrap(), [first, second]);
        assert!(f.trash(10).await.unwrap().is_empty());
        f.forget_leftovers(&[first]).await.unwrap();
        assert_eq!(f.leftovers(NOW + 1, 10).await.unwrap(), [second]);
    }

    async fn an_owner_gives_away_and_a_group_with_all_permission_does_not(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 5).await;
        let group = f.create_group("team", "bob").await.unwrap().group.uuid;
        f.add_user("cleo").await;
        for (kind, object) in [(ObjectKind::Bundle, uuid), (ObjectKind::Worksheet, worksheet)] {
            f.set_permission(kind, object, group, Permission::All).await.unwrap();
        }
        let to = |owner: &str| model::BundleUpdate { owner_id: Some(owner.into()), ..model::BundleUpdate::new(uuid) };
        let sheet = |owner: &str| WorksheetUpdate { owner_id: Some(owner.into()), ..WorksheetUpdate::default() };
        assert_eq!(refused(f.update_bundles("bob", vec![to("bob")], NOW).await).0, 403);
        assert_eq!(refused(f.update_worksheet("bob", worksheet, sheet("bob"), NOW).await).0, 403);
        assert_eq!(refused(f.update_bundles("ada", vec![to("nobody")], NOW).await).0, 404);
        assert_eq!(refused(f.update_worksheet("ada", worksheet, sheet("nobody"), NOW).await).0, 404);
        // The owner that it has is no change.
        f.update_bundles("bob", vec![to("ada")], NOW).await.unwrap();
        f.update_bundles("ada", vec![to("cleo")], NOW).await.unwrap();
        f.update_worksheet("ada", worksheet, sheet("cleo"), NOW).await.unwrap();
        assert_eq!((f.disk_used("ada").await, f.disk_used("cleo").await), (0, 5));
        f.update_bundles("0", vec![to("ada")], NOW).await.unwrap();
        assert_eq!((f.disk_used("ada").await, f.disk_used("cleo").await), (5, 0));
    }

    async fn a_bundle_with_contents_does_not_become_a_link(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_dataset("ada", worksheet, "d", 5).await;
        let mut update = model::BundleUpdate::new(uuid);
        update.metadata.set("link_url", "/elsewhere");
        let (status, text) = refused(f.update_bundles("ada", vec![update], NOW).await);
        assert!(status == 403 && text.contains("link_url"), "{text}");
    }

    async fn the_end_of_a_direct_upload_is_measured_and_checked(f) {
        use domain::BundleState::{Failed, Ready, Running};
        let worksheet = f.add_worksheet("ada", "w").await;
        let upload = async || f.create("ada", Some(worksheet), crate::fixture::dataset("d")).await.unwrap();
        let uuid = upload().await;
        f.increment_disk_used(uuid, 3).await.unwrap();
        assert_eq!(refused(f.report_upload(uuid, Running, None, None, NOW).await).0, 400);
        assert!(f.report_upload(uuid, Ready, None, Some(70), NOW).await.unwrap());
        assert!(!f.report_upload(uuid, Ready, None, Some(90), NOW).await.unwrap(), "it is final");
        assert_eq!((f.state(uuid).await, f.disk_used("ada").await), (Ready, 70));
        let uuid = upload().await;
        f.increment_disk_used(uuid, 3).await.unwrap();
        assert!(f.report_upload(uuid, Failed, Some("broken"), Some(0), NOW).await.unwrap());
        assert_eq!((f.metadata(uuid).await.str("failure_message"), f.disk_used("ada").await), ("broken", 70));
        let uuid = upload().await;
        let tight = model::UserUpdate { disk_quota: Some(100.0), ..model::UserUpdate::default() };
        f.update_user("ada", tight).await.unwrap();
        let (status, text) = refused(f.report_upload(uuid, Ready, None, Some(31), NOW).await);
        assert!(status == 400 && text.starts_with("Upload failed: user disk quota exceeded"), "{text}");
        assert_eq!(f.state(uuid).await, Failed);
        // Who is at the limit makes nothing more.
        let full = model::UserUpdate { disk_quota: Some(101.0), ..model::UserUpdate::default() };
        f.update_user("ada", full).await.unwrap();
        let (status, text) = refused(f.create("ada", None, crate::fixture::dataset("e")).await);
        assert_eq!((status, text.as_str()), (400, "Out of disk quota: 101 / 101 (100.0%)"));
        let out_of_time = model::UserUpdate { time_quota: Some(0.0), ..model::UserUpdate::default() };
        f.update_user("ada", out_of_time).await.unwrap();
        let (_, text) = refused(f.create("ada", None, crate::fixture::dataset("e")).await);
        assert!(text.starts_with("Out of time quota: 0.0s / 0.0s (100.0%)"), "{text}");
    }
}
