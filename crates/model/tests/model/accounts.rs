//! Accounts, passwords, tokens, keys and codes.

use domain::UserId;
use model::{NewUser, UserUpdate};

use crate::fixture::{NOW, dataset, plenty, refused};

on_both! {
    async fn accounts_are_found_by_id_name_and_email(f) {
        let ada = f.find_user("ada").await.unwrap();
        assert_eq!(f.find_user("ADA@example.org").await.unwrap(), ada);
        assert_eq!(f.user_by_name("Ada").await.unwrap().unwrap().user_id, "ada");
        assert_eq!(f.user("Nobody").await.unwrap(), None);
        assert_eq!(f.user_by_name("").await.unwrap(), None);
        assert_eq!(refused(f.find_user("zoe").await), (404, "User zoe not found".to_owned()));
        assert_eq!(f.users(&["ada", "bob", "zoe"]).await.unwrap().len(), 2);
    }

    async fn names_and_emails_are_unique_without_regard_to_case(f) {
        for (user_name, email) in [("ADA", "x@y.zz"), ("new", "Ada@Example.org")] {
            let user = NewUser { user_name: user_name.into(), email: email.into(), ..NewUser::default() };
            let (status, text) = refused(f.create_user(user, NOW).await);
            assert_eq!((status, text.as_str()), (400, "User with this username or email already exists."));
        }
        let bad = NewUser { user_name: "a b".into(), ..NewUser::default() };
        assert_eq!(refused(f.create_user(bad, NOW).await).0, 400);
        let fresh = NewUser { user_name: "new".into(), email: "n@y.zz".into(), password: "x".into(), ..NewUser::default() };
        let made = f.create_user(fresh, NOW).await.unwrap();
        assert!(made.user_id.starts_with("0x") && made.user_id.len() == 34);
        assert_eq!((made.date_joined.unix(), made.notifications, made.is_verified), (NOW, 2, false));
    }

    async fn passwords_are_checked_by_name_and_email(f) {
        assert!(f.check_credentials("ada", "wrong", NOW).await.unwrap().is_none());
        assert!(f.check_credentials("zoe", "password", NOW).await.unwrap().is_none());
        assert!(f.check_credentials("", "rootroot", NOW).await.unwrap().is_none());
        for name in ["ada", "ada@example.org"] {
            let user = f.check_credentials(name, "password", NOW + 5).await.unwrap().unwrap();
            assert_eq!(user.last_login.unwrap().unix(), NOW + 5);
        }
        assert_eq!(f.user("ada").await.unwrap().unwrap().last_login.unwrap().unix(), NOW + 5);
    }

    async fn root_is_reset_and_not_made_twice(f) {
        f.ensure_root("another1", plenty(), NOW).await.unwrap();
        assert!(f.check_credentials("codalab", "rootroot", NOW).await.unwrap().is_none());
        let root = f.check_credentials("codalab", "another1", NOW).await.unwrap().unwrap();
        assert_eq!((root.user_id.as_str(), root.is_verified, root.has_access), ("0", true, true));
    }

    async fn updates_write_only_what_is_named(f) {
        let update = UserUpdate {
            first_name: Some(Some("Žofie".into())),
            affiliation: Some(Some("名古屋 😀".into())),
            disk_quota: Some(123_456_789_012.0),
            ..UserUpdate::default()
        };
        let user = f.update_user("ada", update).await.unwrap();
        assert_eq!(user.first_name.as_deref(), Some("Žofie"));
        assert_eq!(user.affiliation.as_deref(), Some("名古屋 😀"));
        assert!((user.quota.disk_quota - 123_456_789_012.0).abs() < 0.5);
        assert_eq!(user.user_name, "ada");
        let clear = UserUpdate { first_name: Some(None), ..UserUpdate::default() };
        assert_eq!(f.update_user("ada", clear).await.unwrap().first_name, None);
        let rename = |name: &str| UserUpdate { user_name: Some(name.into()), ..UserUpdate::default() };
        assert_eq!(refused(f.update_user("ada", rename("Bob")).await), (400, "User name Bob is already taken.".to_owned()));
        assert_eq!(f.update_user("ada", rename("Ada")).await.unwrap().user_name, "Ada");
        assert_eq!(refused(f.update_user("zoe", rename("zoe")).await).0, 404);
    }

    async fn inactive_accounts_are_invisible(f) {
        f.update_user("ada", UserUpdate { is_active: Some(false), ..UserUpdate::default() }).await.unwrap();
        assert_eq!(f.user("ada").await.unwrap(), None);
        assert!(f.check_credentials("ada", "password", NOW).await.unwrap().is_none());
    }

    async fn who_owns_something_is_not_deleted(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let bundle = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        let group = f.create_group("g", "ada").await.unwrap().group.uuid;
        assert_eq!(
            refused(f.delete_user("ada").await),
            (404, format!(
                "User ada owns bundles, can't delete user. UUIDs: {bundle}\n\n\
                 User ada owns worksheets, can't delete. UUIDs: {worksheet}\n\n\
                 User ada owns groups, can't delete. UUIDs: {group}"
            ))
        );
        assert_eq!(refused(f.delete_user("0").await), (401, "Cannot delete root user.".to_owned()));
        assert_eq!(refused(f.delete_user("zoe").await).0, 404);
        assert_eq!(f.bundles_owned_by("ada").await.unwrap(), [bundle]);
    }

    async fn deletion_takes_all_that_hangs_on_an_account(f) {
        f.add_worker("ada", "w1").await;
        f.issue_token("codalab_cli_client", "ada", NOW).await.unwrap();
        f.verification_key("ada", NOW).await.unwrap();
        f.reset_code("ada", NOW).await.unwrap();
        let group = f.create_group("g", "bob").await.unwrap().group;
        f.add_group_members(&group, &["ada"], false).await.unwrap();
        f.delete_user("ada").await.unwrap();
        assert_eq!(f.user("ada").await.unwrap(), None);
        assert!(f.workers().await.unwrap().is_empty());
        assert_eq!(f.group(group.uuid).await.unwrap().members.len(), 1);
    }

    async fn tokens_are_issued_checked_refreshed_and_revoked(f) {
        let client = f.oauth_client("codalab_cli_client").await.unwrap().unwrap();
        assert_eq!((client.grant_type.as_str(), client.scopes), ("password", vec!["default".to_owned()]));
        assert!(f.oauth_client("codalab_worker_client").await.unwrap().is_some());
        let token = f.issue_token("codalab_cli_client", "ada", NOW).await.unwrap();
        assert_eq!((token.access_token.len(), token.expires_in), (30, 3600));
        assert_eq!(f.authenticate(&token.access_token, NOW + 3599).await.unwrap().unwrap().user_id, "ada");
        assert_eq!(f.authenticate(&token.access_token, NOW + 3600).await.unwrap(), None);
        for wrong in ["", "x", &token.access_token.to_lowercase(), &token.refresh_token] {
            assert_eq!(f.authenticate(wrong, NOW).await.unwrap(), None);
        }
        // Another machine logs in after the first token has expired; the first one can still refresh.
        let later = NOW + 10_000;
        let second = f.issue_token("codalab_cli_client", "ada", later).await.unwrap();
        assert!(f.refresh_token("codalab_worker_client", &token.refresh_token, later).await.unwrap().is_none());
        let third = f.refresh_token("codalab_cli_client", &token.refresh_token, later).await.unwrap().unwrap();
        assert!(f.refresh_token("codalab_cli_client", &token.refresh_token, later).await.unwrap().is_none());
        assert!(f.authenticate(&third.access_token, later).await.unwrap().is_some());
        assert!(f.authenticate(&second.access_token, later).await.unwrap().is_some());
        f.revoke_token(&third.access_token).await.unwrap();
        assert!(f.authenticate(&third.access_token, later).await.unwrap().is_none());
        f.set_password("ada", "new-password").await.unwrap();
        assert!(f.authenticate(&second.access_token, later).await.unwrap().is_none());
    }

    async fn keys_and_codes_work_once_and_not_for_ever(f) {
        let key = f.verification_key("ada", NOW).await.unwrap();
        assert_eq!(f.verification_key("ada", NOW + 9).await.unwrap(), key);
        assert!(!f.verify_user("nonsense", NOW).await.unwrap());
        assert!(f.verify_user(&key, NOW).await.unwrap());
        assert!(!f.verify_user(&key, NOW).await.unwrap());
        let old = f.reset_code("ada", NOW).await.unwrap();
        assert!(!f.reset_code_exists(&old, NOW + 25 * 3600).await.unwrap());
        let (one, two) = (f.reset_code("ada", NOW).await.unwrap(), f.reset_code("ada", NOW).await.unwrap());
        assert!(f.reset_code_exists(&one, NOW).await.unwrap());
        assert_eq!(f.reset_password(&two, "brand-new", NOW).await.unwrap(), Some(UserId::from("ada")));
        assert_eq!(f.reset_password(&one, "brand-new", NOW).await.unwrap(), None);
        assert!(f.check_credentials("ada", "brand-new", NOW).await.unwrap().is_some());
        let code = f.issue_auth_code("codalab_cli_client", "ada", "http://x", NOW).await.unwrap();
        assert_eq!(f.take_auth_code("codalab_cli_client", &code, "http://y", NOW).await.unwrap(), None);
        assert_eq!(f.take_auth_code("codalab_cli_client", &code, "http://x", NOW + 101).await.unwrap(), None);
        assert!(f.take_auth_code("codalab_cli_client", &code, "http://x", NOW + 99).await.unwrap().is_some());
        assert_eq!(f.take_auth_code("codalab_cli_client", &code, "http://x", NOW).await.unwrap(), None);
    }
}
