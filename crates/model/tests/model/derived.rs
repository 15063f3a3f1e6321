//! What searches read besides the metadata (columns, pieces of names, totals, floating bundles) follows every change.

use domain::{Metadata, Permission};
use model::{BundleUpdate, DeleteBundles, ObjectKind};
use serde_json::json;

use crate::fixture::{NOW, dataset};
use crate::sql::Sql;

/// Counts of rows in which something derived differs from what it is derived from.
const DIFFERENCES: [(&str, &str); 9] = [
    (
        "name",
        "SELECT COUNT(*) FROM bundle b WHERE NOT EXISTS (SELECT 1 FROM bundle_metadata m WHERE m.bundle_uuid = b.uuid \
         AND m.metadata_key = 'name' AND m.metadata_value = b.name)",
    ),
    (
        "created and data_size",
        "SELECT COUNT(*) FROM bundle_metadata m JOIN bundle b ON b.uuid = m.bundle_uuid WHERE ((m.metadata_key = 'created' \
         AND (b.created IS NULL OR b.created <> m.metadata_value)) OR (m.metadata_key = 'data_size' \
         AND (b.data_size IS NULL OR b.data_size <> m.metadata_value))) AND NOT EXISTS (SELECT 1 FROM bundle_metadata x \
         WHERE x.bundle_uuid = m.bundle_uuid AND x.metadata_key = m.metadata_key AND x.id > m.id)",
    ),
    (
        "missing data_size",
        "SELECT COUNT(*) FROM bundle b WHERE b.data_size IS NOT NULL AND NOT EXISTS (SELECT 1 FROM bundle_metadata m \
         WHERE m.bundle_uuid = b.uuid AND m.metadata_key = 'data_size')",
    ),
    (
        "bundle of metadata",
        "SELECT COUNT(*) FROM bundle_metadata m LEFT JOIN bundle b ON b.uuid = m.bundle_uuid \
         WHERE b.id IS NULL OR m.bundle_id IS NULL OR m.bundle_id <> b.id",
    ),
    (
        "public",
        "SELECT COUNT(*) FROM bundle b WHERE b.is_public <> EXISTS (SELECT 1 FROM group_bundle_permission p \
         JOIN `group` g ON g.uuid = p.group_uuid WHERE g.name = 'public' AND p.object_uuid = b.uuid AND p.permission >= 1)",
    ),
    (
        "totals",
        "SELECT COUNT(*) FROM (SELECT owner_id, state, is_public, is_anonymous, SUM(bundles) AS n, SUM(bytes) AS s \
         FROM bundle_total GROUP BY owner_id, state, is_public, is_anonymous) t \
         LEFT JOIN (SELECT COALESCE(owner_id, '') AS owner_id, state, is_public, is_anonymous, COUNT(*) AS n, \
         COALESCE(SUM(data_size), 0) AS s FROM bundle GROUP BY COALESCE(owner_id, ''), state, is_public, is_anonymous) b \
         ON b.owner_id = t.owner_id AND b.state = t.state AND b.is_public = t.is_public AND b.is_anonymous = t.is_anonymous \
         WHERE COALESCE(b.n, 0) <> t.n OR COALESCE(b.s, 0) <> t.s",
    ),
    (
        "floating",
        "SELECT COUNT(*) FROM bundle b WHERE NOT EXISTS (SELECT 1 FROM worksheet_item i WHERE i.bundle_uuid = b.uuid) \
         AND NOT EXISTS (SELECT 1 FROM bundle_floating f WHERE f.bundle_id = b.id)",
    ),
    (
        "pieces of names",
        "SELECT COUNT(*) FROM bundle b JOIN search_position p ON p.position <= LENGTH(b.name) - 3 WHERE NOT EXISTS \
         (SELECT 1 FROM bundle_gram g WHERE g.bundle_id = b.id AND g.gram = LOWER(SUBSTR(b.name, p.position + 1, 3)))",
    ),
    (
        "pieces of nothing",
        "SELECT COUNT(*) FROM bundle_gram g LEFT JOIN bundle b ON b.id = g.bundle_id \
         WHERE b.id IS NULL OR (LENGTH(g.gram) = 3 AND LOWER(b.name) NOT LIKE CONCAT('%', g.gram, '%'))",
    ),
];

/// Everything derived is as it must be.
pub async fn assert_derived(sql: &mut Sql) {
    for (what, query) in DIFFERENCES {
        assert_eq!(sql.number(query).await, 0, "{what}");
    }
}

on_both! {
    async fn what_searches_read_follows_every_change(f) {
        let mut sql = Sql::connect(f.database.url()).await;
        let (w, v) = (f.add_worksheet("ada", "w").await, f.add_worksheet("ada", "v").await);
        let a = f.add_dataset("ada", w, "Corpus", 300).await;
        let b = f.add_dataset("ada", w, "other", 20).await;
        let run = f.add_run("ada", v, "a-run", &[a]).await;
        f.create("ada", None, dataset("loose")).await.unwrap();
        assert_derived(&mut sql).await;

        let rename = BundleUpdate { metadata: Metadata::try_from(json!({"name": "Renamed", "tags": ["x"]})).unwrap(), ..BundleUpdate::new(a) };
        let give = BundleUpdate { owner_id: Some("bob".into()), is_anonymous: Some(true), ..BundleUpdate::new(b) };
        f.update_bundles("ada", vec![rename, give], NOW).await.unwrap();
        f.set_data_size(a, 7).await.unwrap();
        assert!(f.stage(run, NOW).await.unwrap());
        let public = f.public_group();
        f.set_permission(ObjectKind::Bundle, a, public, Permission::None).await.unwrap();
        assert_derived(&mut sql).await;
        f.set_permission(ObjectKind::Bundle, a, public, Permission::All).await.unwrap();
        f.delete_worksheet("ada", v, true).await.unwrap();
        assert_derived(&mut sql).await;

        f.merge_totals().await.unwrap();
        assert_derived(&mut sql).await;
        let delete = DeleteBundles { uuids: vec![b], force: true, ..DeleteBundles::default() };
        f.delete_bundles("bob", &delete, NOW).await.unwrap();
        assert_derived(&mut sql).await;
        sql.close().await;
    }
}
