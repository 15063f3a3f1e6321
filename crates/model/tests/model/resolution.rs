//! From specs to uuids.

use domain::Uuid;
use domain::worksheet::Item;

use crate::fixture::{NOW, dataset, fresh_uuid, refused};

on_both! {
    async fn bundles_are_found_by_uuid_prefix_name_and_place(f) {
        let (w, v) = (f.add_worksheet("ada", "w").await, f.add_worksheet("ada", "v").await);
        let a1 = f.add_dataset("ada", w, "a", 1).await;
        let b = f.add_dataset("ada", w, "a_b", 1).await;
        let a2 = f.add_dataset("ada", w, "a", 1).await;
        let elsewhere = f.add_dataset("ada", v, "a", 1).await;
        let find = async |base: Option<Uuid>, spec: &str| f.resolve_bundle(Some("ada"), base, spec).await;
        for (base, spec, expected) in [
            (Some(w), "a", a2),
            (Some(w), " a^2 ", a1),
            (Some(w), "A^", a2),
            (None, "a", elsewhere),
            (None, "a^3", a1),
            (Some(w), "^1", a2),
            (Some(w), "^3", a1),
            (Some(w), "a.*b", b),
            (Some(w), "%b", b),
            (Some(v), "w/a^2", a1),
            (Some(v), &format!("{w}/^2"), b),
            (None, b.as_str(), b),
            (None, &b.as_str()[..30], b),
        ] {
            assert_eq!(find(base, spec).await.unwrap(), expected, "{spec}");
        }
        let missing = fresh_uuid();
        assert_eq!(find(None, missing.as_str()).await.unwrap(), missing);
        for (base, spec, status, text) in [
            (Some(w), "", 400, "Tried to expand empty bundle_spec!"),
            (Some(w), "nope", 404, "bundle spec nope doesn't match any bundles"),
            (Some(w), "a^3", 400, "bundle spec a^3 matches 2 bundles, index 3 out of bounds"),
            (Some(w), "a^0", 400, "bundle spec a^0 matches 1 bundles, index 0 out of bounds"),
            (Some(w), "^4", 400, "3 bundles, index 4 out of bounds"),
            (None, "^1", 400, "Nothing is specified"),
            (Some(w), "a b", 400, "Invalid bundle_spec: a b"),
            (Some(w), "nope/a", 404, "No worksheet found with name 'nope'"),
        ] {
            let (got, message) = refused(find(base, spec).await);
            assert_eq!(got, status, "{spec}: {message}");
            assert!(message.starts_with(text), "{spec}: {message}");
        }
        let (status, text) = refused(find(None, &missing.as_str()[..33]).await);
        assert_eq!((status, text), (404, format!("uuid prefix {} doesn't match any bundles", &missing.as_str()[..33])));
        let all = f.resolve_bundles(Some("ada"), Some(w), &["a".into(), "^2".into(), "a".into()]).await.unwrap();
        assert_eq!(all, [a2, b, a2]);
    }

    async fn places_count_item_rows_not_positions(f) {
        let w = f.add_worksheet("ada", "w").await;
        let a = f.create("ada", Some(w), dataset("a")).await.unwrap();
        let b = f.create("ada", Some(w), dataset("b")).await.unwrap();
        let gone = fresh_uuid();
        f.edit_items("ada", w, &[], &[Item::bundle(gone)], Some(-1), NOW).await.unwrap();
        f.append_items("ada", w, &[Item::bundle(a)], NOW).await.unwrap();
        let mut found = Vec::new();
        for n in 1..=4 {
            found.push(f.resolve_bundle(None, Some(w), &format!("^{n}")).await.unwrap());
        }
        assert_eq!(found, [a, gone, b, a]);
        assert_eq!(f.resolve_bundle(None, Some(w), "a^2").await.unwrap(), a);
    }

    async fn worksheets_are_found_and_homes_are_made(f) {
        let (w, host) = (f.add_worksheet("ada", "w").await, f.add_worksheet("ada", "host").await);
        let find = async |viewer: Option<&str>, base: Option<Uuid>, spec: &str| f.resolve_worksheet(viewer, base, spec).await;
        f.append_items("ada", host, &[Item::worksheet(w)], NOW).await.unwrap();
        for (base, spec) in [(None, "w"), (None, w.as_str()), (Some(host), "W"), (Some(host), &w.as_str()[..20]), (None, " w ")] {
            assert_eq!(find(None, base, spec).await.unwrap(), w, "{spec}");
        }
        assert_eq!(refused(find(Some("ada"), None, "").await), (404, "No worksheet found with name 'home-ada'".to_owned()));
        assert_eq!(refused(f.resolve_or_create_worksheet(Some("ada"), None, "nope", NOW).await).0, 404);
        let home = f.resolve_or_create_worksheet(Some("ada"), None, "/", NOW).await.unwrap();
        assert_eq!(f.worksheet(home).await.unwrap().name, "home-ada");
        assert_eq!(f.resolve_or_create_worksheet(Some("ada"), None, "", NOW).await.unwrap(), home);
        assert_eq!(find(Some("ada"), None, "home-ada").await.unwrap(), home);
        let dashboard = f.resolve_or_create_worksheet(Some("bob"), None, "dashboard", NOW).await.unwrap();
        assert_eq!(find(None, None, "dashboard").await.unwrap(), dashboard);
        assert!(f.resolve_or_create_worksheet(None, None, "", NOW).await.is_err());
        assert_eq!(refused(find(None, None, "0xfffffffffff").await), (404, "No worksheet found with uuid starting with '0xfffffffffff'".to_owned()));
        assert_eq!(refused(find(None, None, "a b").await).0, 400);
    }
}
