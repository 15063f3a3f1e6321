//! Groups and permissions.

use domain::Permission::{self, All, None as Nothing, Read};
use model::ObjectKind::{Bundle, Worksheet};

use crate::fixture::{NOW, dataset, fresh_uuid, refused};

on_both! {
    async fn groups_have_an_owner_admins_and_members(f) {
        let details = f.create_group("team", "ada").await.unwrap();
        let group = details.group;
        assert_eq!(details.members.len(), 1);
        assert!(details.members[0].is_admin);
        assert_eq!(refused(f.create_group("TEAM", "bob").await), (409, "Group with name TEAM already exists".to_owned()));
        f.add_group_members(&group, &["bob"], false).await.unwrap();
        f.add_group_members(&group, &["bob"], true).await.unwrap();
        assert_eq!(f.group(group.uuid).await.unwrap().members.len(), 2);
        assert!(refused(f.add_group_members(&group, &["ada"], true).await).1.starts_with("Cannot relegate the group owner"));
        f.check_group_admin(&group, "bob", "team").await.unwrap();
        f.add_group_members(&group, &["bob"], false).await.unwrap();
        assert_eq!(
            refused(f.check_group_admin(&group, "bob", "team").await),
            (403, "You are not the admin of group team.".to_owned())
        );
        let public = f.group(f.public_group()).await.unwrap().group;
        assert_eq!(
            refused(f.check_group_admin(&public, "0", "public").await),
            (403, "Cannot modify the public group public.".to_owned())
        );
        let names = |groups: Vec<model::GroupDetails>| groups.into_iter().map(|g| g.group.name).collect::<Vec<_>>();
        assert_eq!(names(f.groups("bob").await.unwrap()), ["public", "team"]);
        f.remove_group_members(&group, &["bob"]).await.unwrap();
        assert_eq!(names(f.groups("bob").await.unwrap()), ["public"]);
        assert_eq!(names(f.groups("0").await.unwrap()), ["public", "team"]);
        f.delete_group(group.uuid).await.unwrap();
        assert_eq!(refused(f.delete_group(group.uuid).await).0, 404);
    }

    async fn group_specs_are_uuids_prefixes_or_names(f) {
        let group = f.create_group("team", "ada").await.unwrap().group;
        for spec in [group.uuid.as_str(), &group.uuid.as_str()[..20], "team", "Team"] {
            assert_eq!(f.resolve_group(spec, None).await.unwrap().uuid, group.uuid, "{spec}");
            assert_eq!(f.resolve_group(spec, Some("ada")).await.unwrap().uuid, group.uuid, "{spec}");
            assert_eq!(refused(f.resolve_group(spec, Some("bob")).await).0, 404, "{spec}");
        }
        assert_eq!(refused(f.resolve_group("", None).await), (400, "Tried to expand empty group_spec!".to_owned()));
        assert_eq!(refused(f.resolve_group("nope", None).await), (404, "Found no group with name 'nope'".to_owned()));
        assert_eq!(f.resolve_group("public", Some("bob")).await.unwrap().uuid, f.public_group());
    }

    async fn the_strongest_of_ownership_and_groups_counts(f) {
        let worksheet = f.add_private_worksheet("ada", "w").await;
        let bundle = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        let levels = async |kind, uuid| {
            let mut levels = Vec::new();
            for viewer in [None, Some("ada"), Some("bob"), Some("0")] {
                levels.push(f.permissions_of(kind, viewer, &[uuid]).await.unwrap()[0]);
            }
            levels
        };
        assert_eq!(levels(Bundle, bundle).await, [Nothing, All, Nothing, All]);
        f.set_permission(Bundle, bundle, f.public_group(), Read).await.unwrap();
        assert_eq!(levels(Bundle, bundle).await, [Read, All, Read, All]);
        let group = f.create_group("team", "bob").await.unwrap().group.uuid;
        let id = f.set_permission(Bundle, bundle, group, All).await.unwrap();
        assert_eq!(f.set_permission(Bundle, bundle, group, All).await.unwrap(), id);
        assert_eq!(levels(Bundle, bundle).await, [Read, All, All, All]);
        assert_eq!(f.set_permission(Bundle, bundle, group, Nothing).await.unwrap(), None);
        assert_eq!(levels(Bundle, bundle).await, [Read, All, Read, All]);
        // Later changes of the bundle do not touch the worksheet.
        assert_eq!(levels(Worksheet, worksheet).await, [Nothing, All, Nothing, All]);
    }

    async fn a_refusal_names_user_objects_and_levels(f) {
        let missing = fresh_uuid();
        let (status, text) = refused(f.check_permission(Bundle, Some("bob"), &[missing], Read).await);
        assert_eq!(status, 403);
        assert_eq!(
            text,
            format!("User bob(bob) does not have sufficient permissions on bundle {missing} (have none, need read).")
        );
        let worksheet = f.add_worksheet("ada", "w").await;
        let (_, text) = refused(f.check_permission(Worksheet, None, &[worksheet], All).await);
        assert!(text.starts_with("User public(None) does not have"), "{text}");
        f.check_permission(Bundle, None, &[], All).await.unwrap();
        f.check_permission(Worksheet, None, &[worksheet], Read).await.unwrap();
    }

    async fn nobody_owns_an_object_that_does_not_exist(f) {
        assert_eq!(f.permissions_of(Bundle, None, &[fresh_uuid()]).await.unwrap(), [Nothing]);
        assert_eq!(f.permissions_of(Bundle, Some("0"), &[fresh_uuid()]).await.unwrap(), [Nothing]);
    }

    async fn new_bundles_inherit_the_rows_of_their_worksheet(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let group = f.create_group("team", "ada").await.unwrap().group.uuid;
        f.set_permission(Worksheet, worksheet, group, All).await.unwrap();
        let on = f.create("ada", Some(worksheet), dataset("on")).await.unwrap();
        let off = f.create("ada", None, dataset("off")).await.unwrap();
        let rows = f.group_permissions(Bundle, &[on, off]).await.unwrap();
        let levels: Vec<(String, Permission)> =
            rows[&on].iter().map(|row| (row.group_name.clone(), row.permission)).collect();
        assert_eq!(levels, [("public".to_owned(), Read), ("team".to_owned(), All)]);
        assert!(!rows.contains_key(&off));
        f.delete_group(group).await.unwrap();
        assert_eq!(f.group_permissions(Bundle, &[on]).await.unwrap()[&on].len(), 1);
    }

    async fn frozen_objects_keep_their_permissions(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let freeze = model::WorksheetUpdate { frozen: Some(true), ..Default::default() };
        f.update_worksheet("ada", worksheet, freeze, NOW).await.unwrap();
        assert_eq!(
            refused(f.set_permission(Worksheet, worksheet, f.public_group(), All).await),
            (403, format!("Cannot mutate frozen worksheet {worksheet}(w)."))
        );
        let group = fresh_uuid();
        let other = f.add_worksheet("ada", "other").await;
        assert_eq!(refused(f.set_permission(Worksheet, other, group, All).await).0, 404);
        assert_eq!(refused(f.set_permission(Bundle, group, f.public_group(), All).await).0, 404);
    }
}
