//! Limits on logins and on what sends mail.

use std::time::Duration;

use domain::Rate;
use model::{Limit, Login, LoginAttempt, LoginLimits, Model, ModelOptions, PasswordCost};

use crate::fixture::{Fixture, NOW, options};
use crate::sql::Sql;

/// Three failures for an account from an address, five from everywhere, six from an address; in a minute each.
const LIMITS: LoginLimits = LoginLimits {
    account_from_address: Some(Rate::new(3, 60.0)),
    account: Some(Rate::new(5, 60.0)),
    address: Some(Rate::new(6, 60.0)),
};

async fn login(model: &Model, name: &str, password: &str, address: &str, now: i64) -> Login {
    let attempt = LoginAttempt {
        name: name.to_owned(),
        password: password.to_owned(),
        address: address.to_owned(),
        fingerprint: format!("{name} {password} {address}"),
    };
    model.login(attempt, LIMITS, now).await.unwrap()
}

/// Fails `count` times with different passwords.
async fn fail(f: &Fixture, name: &str, address: &str, count: usize) {
    for i in 0..count {
        assert_eq!(
            login(f, name, &format!("wrong-{address}-{i}"), address, NOW).await,
            Login::Refused,
            "{i}"
        );
    }
}

fn accepted(login: &Login) -> bool {
    matches!(login, Login::Accepted(_))
}

on_both! {
    async fn failures_of_an_account_block_it_for_the_address_they_came_from(f) {
        for (name, address) in [("ada", "a"), ("nobody", "z")] {
            fail(f, name, address, 3).await;
            assert_eq!(login(f, name, "another", address, NOW).await, Login::Throttled(20), "{name}");
            assert_eq!(login(f, name, "another", address, NOW + 19).await, Login::Throttled(1));
            assert_eq!(login(f, name, "another", address, NOW + 20).await, Login::Refused);
        }
        assert_eq!(login(f, "ADA@example.org", "password", "a", NOW).await, Login::Throttled(40));
        assert!(accepted(&login(f, "ada", "password", "b", NOW).await));
    }

    async fn failures_from_many_addresses_block_the_account(f) {
        fail(f, "ada", "a", 2).await;
        fail(f, "ada", "b", 3).await;
        assert_eq!(login(f, "ada", "password", "c", NOW).await, Login::Throttled(12));
        assert!(accepted(&login(f, "ada", "password", "c", NOW + 12).await));
    }

    async fn failures_with_many_accounts_block_the_address(f) {
        for name in ["ada", "nobody", "somebody"] {
            fail(f, name, "a", 2).await;
        }
        assert_eq!(login(f, "bob", "password", "a", NOW).await, Login::Throttled(10));
        assert!(accepted(&login(f, "bob", "password", "b", NOW).await));
    }

    async fn success_costs_nothing_and_forgives(f) {
        for _ in 0..20 {
            assert!(accepted(&login(f, "ada", "password", "a", NOW).await));
        }
        fail(f, "ada", "a", 2).await;
        assert!(accepted(&login(f, "ada", "password", "a", NOW).await));
        assert_eq!(login(f, "ada", "wrong-1", "a", NOW).await, Login::Refused);
        assert_eq!(login(f, "ada", "wrong-2", "a", NOW).await, Login::Refused);
    }

    async fn the_second_sending_of_a_failure_is_not_counted(f) {
        for _ in 0..9 {
            assert_eq!(login(f, "ada", "wrong", "a", NOW).await, Login::Refused);
        }
        assert_eq!(login(f, "ada", "wrong", "a", NOW + 2).await, Login::Refused);
        assert_eq!(login(f, "ada", "wrong", "a", NOW + 3).await, Login::Refused); // the second one that counts
        assert_eq!(login(f, "ada", "other", "a", NOW + 3).await, Login::Refused);
        assert_eq!(login(f, "ada", "other", "a", NOW + 4).await, Login::Refused);
        assert!(matches!(login(f, "ada", "third", "a", NOW + 4).await, Login::Throttled(_)));
    }

    async fn failures_are_remembered_by_other_servers_and_after_a_restart(f) {
        fail(f, "ada", "a", 3).await;
        let other = Model::connect(f.database.url(), &options()).await.unwrap();
        assert_eq!(login(&other, "ada", "password", "a", NOW).await, Login::Throttled(20));
        other.close().await;
    }

    async fn failures_at_the_same_time_do_not_slip_through(f) {
        let attempts = (0..30).map(|i| async move { login(f, "ada", &format!("wrong-{i}"), "a", NOW).await });
        let outcomes = futures::future::join_all(attempts).await;
        let refused = outcomes.iter().filter(|login| **login == Login::Refused).count();
        // As many as may be hashed at the same time can be under way when the third failure is noted.
        assert!((3..=6).contains(&refused), "{refused}");
    }

    async fn all_limits_are_taken_or_none(f) {
        let account = Limit::new("mail-account", "ada", Rate::new(2, 60.0));
        let address = Limit::new("mail-address", "a", Rate::new(9, 60.0));
        let both = [account.clone(), address.clone()];
        assert_eq!(f.take(&both, "1", NOW).await.unwrap(), None);
        assert_eq!(f.take(&both, "2", NOW).await.unwrap(), None);
        assert_eq!(f.take(&both, "2", NOW).await.unwrap(), None); // the same again
        assert_eq!(f.take(&both, "3", NOW).await.unwrap(), Some(30));
        for i in 0..7 {
            assert_eq!(f.take(std::slice::from_ref(&address), &format!("x{i}"), NOW).await.unwrap(), None);
        }
        assert_eq!(f.take(&[address], "y", NOW).await.unwrap(), Some(7));
        assert_eq!(f.take(&[Limit::new("mail-account", "ADA", Rate::new(2, 60.0))], "4", NOW).await.unwrap(), Some(30));
        assert_eq!(f.take(&[], "4", NOW).await.unwrap(), None);
    }

    async fn what_says_nothing_any_more_is_removed(f) {
        for i in 0..10 {
            let limit = Limit::new("mail-account", &format!("user-{i}"), Rate::new(2, 60.0));
            assert_eq!(f.take(&[limit], "1", NOW).await.unwrap(), None);
        }
        let limit = Limit::new("mail-account", "late", Rate::new(2, 60.0));
        assert_eq!(f.take(&[limit], "1", NOW + 100).await.unwrap(), None);
        let mut sql = Sql::connect(f.database.url()).await;
        assert_eq!(sql.number("SELECT COUNT(*) FROM rate_limit").await, 1);
        sql.close().await;
    }
}

#[tokio::test]
async fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    let cost = PasswordCost {
        refusal: Duration::from_millis(300),
        ..PasswordCost::RECOMMENDED
    };
    let options = ModelOptions {
        password_cost: cost,
        ..options()
    };
    let model = Model::connect("sqlite::memory:", &options).await.unwrap();
    model
        .ensure_root("rootroot", crate::fixture::plenty(), NOW)
        .await
        .unwrap();
    for name in ["codalab", "nobody", ""] {
        let started = std::time::Instant::now();
        assert_eq!(login(&model, name, "wrong", "a", NOW).await, Login::Refused);
        assert!(started.elapsed() >= cost.refusal, "{name}: {:?}", started.elapsed());
    }
}
