//! Fills an empty database with very many bundles, for benchmarks and for tests of query plans. It is here because no
//! other crate may contain SQL, and not behind a feature so that it is compiled, and kept working, with everything else.

use domain::{Error, Result, Uuid};

use crate::Model;
use crate::db::{Tx, params};
use crate::migrate::statements_of;

/// Bundles that are made by one statement.
const CHUNK: i64 = 65_536;

/// The migration whose triggers keep what searches need; its tables are filled at once instead.
const SEARCH: &str = "V4__search.sql";

/// The migration that made the other indexes.
const FIRST_INDEXES: &str = "V2__codalab_2.sql";

/// Indexes that are made anew after the rows, which is much faster than to keep them in step.
const INDEXES: [&str; 3] = [
    "bundle_metadata_uuid_key_index",
    "metadata_search_index",
    "metadata_number_index",
];

/// Metadata of every sample: key, and the value as SQL about the bundle `b`.
const METADATA: [(&str, &str); 8] = [
    ("name", "b.`name`"),
    ("description", "''"),
    ("tags", "CONCAT('tag', b.`id` % 1000)"),
    ("created", "CONCAT(b.`created`, '')"),
    ("data_size", "CONCAT(b.`data_size`, '')"),
    ("request_docker_image", "CONCAT('codalab/image:', b.`id` % 5)"),
    ("request_cpus", "CONCAT(1 + b.`id` % 4, '')"),
    ("time", "CONCAT(b.`id` * 7919 % 100000, '.5')"),
];

impl Model {
    /// Makes this many bundles of the users `sample0` to `sample99`, nine in ten of them public, on worksheets of fifty,
    /// each run with a dependency. There must be no bundles yet (400). Other programs must not write meanwhile.
    #[doc(hidden)]
    pub async fn fill_with_samples(&self, bundles: i64, team: Option<Uuid>) -> Result<()> {
        let mut tx = self.db.write().await?;
        if tx.count("SELECT COUNT(*) FROM `bundle`", params![]).await? > 0 {
            return Err(Error::usage(
                "There are bundles already; samples need an empty database.",
            ));
        }
        let engine = tx.engine();
        let of_search = statements_of(engine, SEARCH);
        let triggers: Vec<&String> = of_search
            .iter()
            .filter(|sql| sql.starts_with("CREATE TRIGGER"))
            .collect();
        for trigger in &triggers {
            let name = trigger.split('`').nth(1).unwrap_or_default();
            script(&mut tx, &format!("DROP TRIGGER `{name}`")).await?;
        }
        for index in INDEXES {
            script(&mut tx, &engine.drop_index("bundle_metadata", index)).await?;
        }
        tx.commit().await?;
        let mut first = 1;
        while first <= bundles {
            let last = (first + CHUNK - 1).min(bundles);
            self.fill_chunk(first, last, team).await?;
            first = last + 1;
        }
        let derived = ["`bundle_gram`", "`bundle_floating`", "`bundle_total`"];
        for sql in of_search.iter().filter(|sql| sql.starts_with("INSERT")) {
            if derived.iter().any(|table| sql.contains(table)) {
                let mut tx = self.db.write().await?;
                tx.run(sql.as_str(), params![]).await?;
                tx.commit().await?;
            }
        }
        let mut tx = self.db.write().await?;
        for sql in [statements_of(engine, FIRST_INDEXES), of_search.clone()].concat() {
            if INDEXES
                .iter()
                .any(|index| sql.starts_with(&format!("CREATE INDEX `{index}`")))
            {
                script(&mut tx, &sql).await?;
            }
        }
        for trigger in triggers {
            script(&mut tx, trigger).await?;
        }
        script(&mut tx, engine.analyze()).await?;
        tx.commit().await
    }

    async fn fill_chunk(&self, first: i64, last: i64, team: Option<Uuid>) -> Result<()> {
        let mut tx = self.db.write().await?;
        let uuid = tx.engine().random_uuid("n");
        let sql = format!(
            "INSERT INTO `bundle` (`id`, `uuid`, `bundle_type`, `command`, `state`, `owner_id`, `is_anonymous`, `name`, \
             `created`, `data_size`, `is_public`) SELECT n, {uuid}, CASE WHEN n % 10 = 0 THEN 'dataset' ELSE 'run' END, \
             CASE WHEN n % 10 <> 0 THEN CONCAT('python train.py --seed ', n) END, \
             CASE WHEN n % 1000 < 900 THEN 'ready' WHEN n % 1000 < 980 THEN 'failed' WHEN n % 1000 < 995 THEN 'killed' \
             WHEN n % 1000 < 999 THEN 'running' ELSE 'staged' END, CONCAT('sample', n % 100), 0, \
             CONCAT(CASE n % 8 WHEN 0 THEN 'corpus' WHEN 1 THEN 'train' WHEN 2 THEN 'evaluate' WHEN 3 THEN 'run-python' \
             WHEN 4 THEN 'features' WHEN 5 THEN 'baseline' WHEN 6 THEN 'model' ELSE 'plot' END, '-', n % 50000), \
             1600000000 + n * 60, n * 7919 % 1000003 * 100, CASE WHEN n % 10 <> 3 THEN 1 ELSE 0 END \
             FROM (SELECT ? + a.`position` + 256 * b.`position` AS n FROM `search_position` a CROSS JOIN `search_position` b) s \
             WHERE n <= ? ORDER BY n"
        );
        tx.run(sql, params![first, last]).await?;
        for (key, value) in METADATA {
            let number = if matches!(key, "created" | "data_size" | "request_cpus" | "time") {
                format!("{value} + 0")
            } else {
                "NULL".to_owned()
            };
            let sql = format!(
                "INSERT INTO `bundle_metadata` (`bundle_uuid`, `metadata_key`, `metadata_value`, `bundle_id`, `number`) \
                 SELECT b.`uuid`, '{key}', {value}, b.`id`, {number} FROM `bundle` b WHERE b.`id` BETWEEN ? AND ? ORDER BY b.`id`"
            );
            tx.run(sql, params![first, last]).await?;
        }
        let range = "b.`id` BETWEEN ? AND ?";
        let common = format!(
            "INSERT INTO `bundle_metadata` (`bundle_uuid`, `metadata_key`, `metadata_value`, `bundle_id`) \
             SELECT b.`uuid`, 'tags', 'common', b.`id` FROM `bundle` b WHERE {range} AND b.`id` % 3 <> 0 ORDER BY b.`id`"
        );
        tx.run(common, params![first, last]).await?;
        let sql = format!(
            "INSERT INTO `bundle_dependency` (`child_uuid`, `child_path`, `parent_uuid`, `parent_path`) SELECT b.`uuid`, 'in', \
             p.`uuid`, '' FROM `bundle` b JOIN `bundle` p ON p.`id` = b.`id` - 1 - b.`id` % 7 WHERE {range} AND b.`id` % 10 <> 0"
        );
        tx.run(sql, params![first, last]).await?;
        let permission = "INSERT INTO `group_bundle_permission` (`group_uuid`, `object_uuid`, `permission`) SELECT ?, b.`uuid`, 1 \
                          FROM `bundle` b WHERE b.`id` BETWEEN ? AND ? AND ";
        tx.run(
            format!("{permission} b.`is_public` = 1"),
            params![self.public_group(), first, last],
        )
        .await?;
        if let Some(team) = team {
            tx.run(format!("{permission} b.`id` % 1000 = 13"), params![team, first, last])
                .await?;
        }
        self.fill_worksheets(&mut tx, first, last).await?;
        tx.commit().await
    }

    async fn fill_worksheets(&self, tx: &mut Tx, first: i64, last: i64) -> Result<()> {
        let uuid = tx.engine().random_uuid("b.`id`");
        let sql = format!(
            "INSERT INTO `worksheet` (`uuid`, `name`, `owner_id`, `title`, `is_anonymous`, `date_created`, `date_last_modified`) \
             SELECT {uuid}, CONCAT('sample-', b.`id`), b.`owner_id`, CONCAT('Results of ', b.`name`), 0, \
             '2020-01-01 00:00:00', CONCAT('20', 10 + b.`id` % 15, '-0', 1 + b.`id` % 9, '-1', b.`id` % 10, ' 12:00:00') \
             FROM `bundle` b WHERE b.`id` BETWEEN ? AND ? AND b.`id` % 50 = 1"
        );
        tx.run(sql, params![first, last]).await?;
        let join = tx.engine().ordered_join();
        let sql = format!(
            "INSERT INTO `group_object_permission` (`group_uuid`, `object_uuid`, `permission`) SELECT ?, w.`uuid`, 1 \
             FROM `bundle` b {join} `worksheet` w ON w.`name` = CONCAT('sample-', b.`id`) \
             WHERE b.`id` BETWEEN ? AND ? AND b.`id` % 50 = 1"
        );
        tx.run(sql, params![self.public_group(), first, last]).await?;
        // One bundle in a thousand is on no worksheet.
        let sql = format!(
            "INSERT INTO `worksheet_item` (`worksheet_uuid`, `bundle_uuid`, `subworksheet_uuid`, `value`, `type`, `sort_key`) \
             SELECT w.`uuid`, b.`uuid`, NULL, '', 'bundle', (b.`id` - 1) % 50 FROM `bundle` b \
             {join} `worksheet` w ON w.`name` = CONCAT('sample-', b.`id` - (b.`id` - 1) % 50) \
             WHERE b.`id` BETWEEN ? AND ? AND b.`id` % 1000 <> 500"
        );
        tx.run(sql, params![first, last]).await.map(drop)
    }
}

async fn script(tx: &mut Tx, sql: &str) -> Result<()> {
    let done = tx.script(sql).await;
    done.map_err(|error| crate::db::database_error(&error, sql))
}
