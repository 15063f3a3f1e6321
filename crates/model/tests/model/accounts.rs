//! Accounts, passwords, tokens, keys and codes.

use domain::UserId;
use model::{NewUser, UserUpdate};

use crate::fixture::{NOW, dataset, plenty, refused};
use crate::sql::Sql;

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
        f.start_session("ada", NOW + 9, NOW).await.unwrap();
        let group = f.create_group("g", "bob").await.unwrap().group;
        f.add_group_members(&group, &["ada"], false).await.unwrap();
        f.delete_user("ada").await.unwrap();
        assert_eq!(f.user("ada").await.unwrap(), None);
        assert!(f.workers().await.unwrap().is_empty());
        // The group remembers that somebody was there.
        let members = f.group(group.uuid).await.unwrap().members;
        assert_eq!(members.iter().map(|m| m.user_name.as_deref()).collect::<Vec<_>>(), [Some("bob"), None]);
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
        // A client that lost the answer asks again with the old token.
        assert!(f.refresh_token("codalab_cli_client", &token.refresh_token, later + 1).await.unwrap().is_some());
        let month = NOW + 30 * 86_400;
        assert!(f.refresh_token("codalab_cli_client", &token.refresh_token, month).await.unwrap().is_none());
        assert!(f.authenticate(&third.access_token, later).await.unwrap().is_some());
        assert!(f.authenticate(&second.access_token, later).await.unwrap().is_some());
        f.revoke_token("codalab_worker_client", &third.access_token).await.unwrap();
        f.revoke_token("codalab_cli_client", &third.access_token.to_uppercase()).await.unwrap();
        assert!(f.authenticate(&third.access_token, later).await.unwrap().is_some());
        f.revoke_token("codalab_cli_client", &third.refresh_token).await.unwrap();
        assert!(f.authenticate(&third.access_token, later).await.unwrap().is_none());
        f.set_password("ada", "new-password").await.unwrap();
        assert!(f.authenticate(&second.access_token, later).await.unwrap().is_none());
    }

    async fn verification_keys_work_once_and_not_for_ever(f) {
        let first = f.verification_key("ada", NOW).await.unwrap();
        let second = f.verification_key("ada", NOW + 9).await.unwrap();
        assert!(first.len() == 32 && first != second);
        for (key, at, good) in [(first.as_str(), NOW, true), (&second, NOW + 7 * 86_400, true),
            (&first, NOW + 7 * 86_400, false), ("nonsense", NOW, false), ("", NOW, false)] {
            assert_eq!(f.verification_key_exists(key, at).await.unwrap(), good, "{key}");
        }
        assert!(!f.verify_user("nonsense", NOW).await.unwrap());
        assert!(f.verify_user(&first, NOW).await.unwrap());
        for used in [first, second] {
            assert!(!f.verify_user(&used, NOW).await.unwrap());
        }
        let oldest = f.verification_key("ada", NOW).await.unwrap();
        for _ in 0..5 {
            f.verification_key("ada", NOW).await.unwrap();
        }
        assert!(!f.verify_user(&oldest, NOW).await.unwrap());
    }

    async fn a_new_address_makes_what_the_old_one_got_worthless(f) {
        let key = f.verification_key("ada", NOW).await.unwrap();
        let code = f.reset_code("ada", NOW).await.unwrap();
        assert_eq!(
            refused(f.change_email("ada", "BOB@example.org", NOW).await),
            (400, "User with this email already exists.".to_owned())
        );
        assert!(f.reset_code_exists(&code, NOW).await.unwrap());
        let fresh = f.change_email("ada", "new@example.org", NOW).await.unwrap();
        let ada = f.user("ada").await.unwrap().unwrap();
        assert_eq!((ada.email.as_str(), ada.is_verified), ("new@example.org", false));
        assert!(!f.verify_user(&key, NOW).await.unwrap());
        assert!(!f.reset_code_exists(&code, NOW).await.unwrap());
        assert!(f.verify_user(&fresh, NOW).await.unwrap());
        let again = f.verification_key("ada", NOW).await.unwrap();
        let same = UserUpdate { email: Some("new@example.org".into()), ..UserUpdate::default() };
        f.update_user("ada", same).await.unwrap();
        assert!(f.verification_key_exists(&again, NOW).await.unwrap());
        let other = UserUpdate { email: Some("other@example.org".into()), ..UserUpdate::default() };
        f.update_user("ada", other).await.unwrap();
        assert!(!f.verification_key_exists(&again, NOW).await.unwrap());
    }

    async fn reset_codes_work_once_for_a_day_and_only_the_newest(f) {
        let old = f.reset_code("ada", NOW).await.unwrap();
        assert!(f.reset_code_exists(&old, NOW + 86_399).await.unwrap());
        assert!(!f.reset_code_exists(&old, NOW + 86_400).await.unwrap());
        let new = f.reset_code("ada", NOW).await.unwrap();
        assert!(!f.reset_code_exists(&old, NOW).await.unwrap());
        assert_eq!(f.reset_password(&old, "brand-new", NOW).await.unwrap(), None);
        assert_eq!(f.reset_password(&new, "brand-new", NOW + 86_400).await.unwrap(), None);
        let (one, two) = tokio::join!(f.reset_password(&new, "brand-new", NOW), f.reset_password(&new, "brand-new", NOW));
        assert_eq!([one.unwrap(), two.unwrap()].iter().flatten().count(), 1);
        assert!(f.check_credentials("ada", "brand-new", NOW).await.unwrap().is_some());
    }

    async fn secrets_are_stored_as_hashes_that_open_nothing(f) {
        let code = f.reset_code("ada", NOW).await.unwrap();
        let key = f.verification_key("ada", NOW).await.unwrap();
        let token = f.issue_token("codalab_cli_client", "ada", NOW).await.unwrap();
        let session = f.start_session("ada", NOW + 10, NOW).await.unwrap();
        let mut sql = Sql::connect(f.database.url()).await;
        let stored_code = sql.text("SELECT code FROM user_reset_code").await;
        let stored_key = sql.text("SELECT `key` FROM user_verification").await;
        let stored_token = sql.text("SELECT access_token FROM oauth2_token").await;
        let stored_session = sql.text("SELECT id FROM user_session").await;
        sql.close().await;
        assert!(stored_code != code && stored_key != key && stored_token != token.access_token && stored_session != session);
        assert_eq!(f.reset_password(&stored_code, "brand-new", NOW).await.unwrap(), None);
        assert!(!f.verify_user(&stored_key, NOW).await.unwrap());
        assert_eq!(f.authenticate(&stored_token, NOW).await.unwrap(), None);
        assert_eq!(f.session_user(&stored_session, NOW).await.unwrap(), None);
    }

    async fn keys_and_codes_that_codalab_1_7_stored_in_clear_work(f) {
        let mut sql = Sql::connect(f.database.url()).await;
        sql.run("INSERT INTO user_verification (user_id, date_created, `key`) VALUES ('ada', '2027-01-15 08:00:00', '0123456789abcdef0123456789abcdef')").await;
        sql.run("INSERT INTO user_reset_code (user_id, date_created, code) VALUES ('ada', '2027-01-15 08:00:00', 'fedcba9876543210fedcba9876543210')").await;
        sql.close().await;
        assert!(f.verify_user("0123456789abcdef0123456789abcdef", NOW).await.unwrap());
        assert!(f.reset_password("fedcba9876543210fedcba9876543210", "brand-new", NOW).await.unwrap().is_some());
    }

    async fn authorization_codes_work_once_and_for_their_address(f) {
        let code = f.issue_auth_code("codalab_cli_client", "ada", "http://x", Some("abc"), NOW).await.unwrap();
        assert_eq!(f.take_auth_code("codalab_cli_client", &code, "http://y", NOW).await.unwrap(), None);
        assert_eq!(f.take_auth_code("codalab_cli_client", &code, "http://x", NOW + 101).await.unwrap(), None);
        let taken = f.take_auth_code("codalab_cli_client", &code, "http://x", NOW + 99).await.unwrap();
        assert_eq!(taken, Some((UserId::from("ada"), Some("abc".to_owned()))));
        assert_eq!(f.take_auth_code("codalab_cli_client", &code, "http://x", NOW).await.unwrap(), None);
    }

    async fn sessions_end_by_logging_out_in_time_and_with_the_password(f) {
        let one = f.start_session("ada", NOW + 100, NOW).await.unwrap();
        let two = f.start_session("ada", NOW + 100, NOW).await.unwrap();
        assert_eq!(f.session_user(&one, NOW + 99).await.unwrap().unwrap().user_id, "ada");
        assert_eq!(f.session_user(&one, NOW + 100).await.unwrap(), None);
        assert_eq!(f.session_user("", NOW).await.unwrap(), None);
        assert!(f.end_session(&one).await.unwrap());
        assert!(!f.end_session(&one).await.unwrap());
        assert_eq!(f.session_user(&one, NOW).await.unwrap(), None);
        assert!(f.session_user(&two, NOW).await.unwrap().is_some());
        f.set_password("ada", "brand-new").await.unwrap();
        assert_eq!(f.session_user(&two, NOW).await.unwrap(), None);
        let inactive = f.start_session("ada", NOW + 100, NOW).await.unwrap();
        f.update_user("ada", UserUpdate { is_active: Some(false), ..UserUpdate::default() }).await.unwrap();
        assert_eq!(f.session_user(&inactive, NOW).await.unwrap(), None);
        f.start_session("bob", NOW + 300, NOW + 200).await.unwrap();
        let mut sql = Sql::connect(f.database.url()).await;
        assert_eq!(sql.number("SELECT COUNT(*) FROM user_session").await, 1);
        sql.close().await;
    }

    async fn an_old_hash_is_replaced_at_login_and_a_foreign_one_is_not(f) {
        let mut sql = Sql::connect(f.database.url()).await;
        let old = "pbkdf2_sha256$30000$saltsaltsalt$EN7F+HMuCfdiDKru+R71HcEYcEqsJ9Rh7vr1g5lBb7o=";
        sql.run(&format!("UPDATE user SET password = '{old}' WHERE user_id = 'ada'")).await;
        assert!(f.check_credentials("ada", "wrong", NOW).await.unwrap().is_none());
        assert_eq!(sql.text("SELECT password FROM user WHERE user_id = 'ada'").await, old);
        assert!(f.check_credentials("ada", "hello", NOW).await.unwrap().is_some());
        let new = sql.text("SELECT password FROM user WHERE user_id = 'ada'").await;
        assert!(new.starts_with("$argon2id$v=19$"), "{new}");
        assert!(f.check_credentials("ada", "hello", NOW).await.unwrap().is_some());
        assert_eq!(sql.text("SELECT password FROM user WHERE user_id = 'ada'").await, new);
        sql.run("UPDATE user SET password = '' WHERE user_id = 'ada'").await;
        assert!(f.check_credentials("ada", "", NOW).await.unwrap().is_none());
        sql.close().await;
    }

    async fn root_keeps_its_tokens_if_its_password_stays(f) {
        let token = f.issue_token("codalab_cli_client", "0", NOW).await.unwrap().access_token;
        f.ensure_root("rootroot", plenty(), NOW).await.unwrap();
        assert!(f.authenticate(&token, NOW).await.unwrap().is_some());
        f.ensure_root("another1", plenty(), NOW).await.unwrap();
        assert!(f.authenticate(&token, NOW).await.unwrap().is_none());
    }
}
