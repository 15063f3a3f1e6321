//! Counts and sums of sizes over all bundles, or those of an owner or in a state, from kept totals.
//!
//! On MySQL every change appends a row to `bundle_total`, because transactions that change one row would wait for each
//! other; the rows are merged here when there are many.

use domain::Result;
use domain::search::{Aggregate, BundleColumn, BundleCondition, BundleField, BundleQuery, Comparison};
use serde_json::Value as Json;

use super::conditions::shared_entries;
use super::sql::{Clause, compare, lowercase};
use crate::Model;
use crate::db::{Engine, Tx, params};

/// Rows of `bundle_total` that a search reads without merging them first.
const MANY: i64 = 2_000;

/// A query that totals answer.
pub(super) struct TotalsQuery {
    /// About the columns `owner_id`, `state` and `is_anonymous` of `bundle_total` or `bundle`.
    conditions: Clause,
    sum: bool,
    at_most: Option<i64>,
}

impl TotalsQuery {
    /// None if the query asks for something else.
    pub(super) async fn of(model: &Model, viewer: Option<&str>, query: &BundleQuery) -> Result<Option<Self>> {
        let (sum, at_most) = match &query.aggregate {
            Some(Aggregate::Count { at_most }) => (false, *at_most),
            Some(Aggregate::Sum(BundleField::Metadata(key))) if key == "data_size" => (true, None),
            _ => return Ok(None),
        };
        let mut conditions = Vec::new();
        for condition in &query.conditions {
            let owner = match condition {
                BundleCondition::Field(BundleField::Column(BundleColumn::State), Comparison::Like(_)) => {
                    return Ok(None);
                }
                BundleCondition::Field(BundleField::Column(BundleColumn::State), comparison) => {
                    conditions.push(compare("c.`state`", &lowercase(comparison)));
                    continue;
                }
                BundleCondition::Field(BundleField::Column(BundleColumn::OwnerId), Comparison::Equals(owner)) => {
                    Some(owner.clone())
                }
                BundleCondition::Owner(name) => model.user_by_name(name).await?.map(|user| user.user_id.0),
                BundleCondition::Mine => viewer.map(str::to_owned),
                // Being sorted by is no condition on what totals count, unless the field may be missing.
                _ => return Ok(None),
            };
            // The total of nobody is kept under no name.
            let Some(owner) = owner.filter(|owner| !owner.is_empty()) else {
                conditions.push(Clause::never());
                continue;
            };
            conditions.push(Clause::new("c.`owner_id` = ?", params![&owner]));
            if viewer != Some(owner.as_str()) && !model.is_root(viewer) {
                conditions.push(Clause::new("c.`is_anonymous` = 0", params![]));
            }
        }
        Ok(Some(Self {
            conditions: Clause::all(conditions),
            sum,
            at_most,
        }))
    }
}

/// Bundles, those of them with a size, and the sum of the sizes.
#[derive(Default)]
struct Total {
    bundles: i64,
    sized: i64,
    bytes: f64,
}

impl Model {
    pub(super) async fn totals(&self, viewer: Option<&str>, query: &TotalsQuery) -> Result<Json> {
        let mut tx = self.db.read().await?;
        let visible = match viewer {
            _ if self.is_root(viewer) => Clause::new("1 = 1", params![]),
            None => Clause::new("c.`is_public` = 1", params![]),
            Some(viewer) => Clause::new("c.`is_public` = 1 OR c.`owner_id` = ?", params![viewer]),
        };
        let statement = Clause::all([query.conditions.clone(), visible]).within(
            "SELECT COUNT(*), COALESCE(SUM(c.`bundles`), 0), COALESCE(SUM(c.`sized`), 0), COALESCE(SUM(c.`bytes`), 0) \
             FROM `bundle_total` c WHERE ",
            "",
        );
        let (mut rows, mut total) = (0, Total::default());
        if let Some(mut row) = tx.first(statement.sql, statement.values).await? {
            rows = row.int()?;
            total = Total {
                bundles: row.int()?,
                sized: row.int()?,
                bytes: row.real()?,
            };
        }
        if let Some(viewer) = viewer.filter(|viewer| !self.is_root(Some(viewer))) {
            let more = shared(&mut tx, viewer, query).await?;
            total.bundles += more.bundles;
            total.sized += more.sized;
            total.bytes += more.bytes;
        }
        drop(tx);
        if rows > MANY
            && self.db.engine() == Engine::MySql
            && let Err(error) = self.merge_totals().await
        {
            tracing::debug!(%error, "totals were not merged now");
        }
        Ok(match (query.sum, query.at_most) {
            (true, _) if total.sized == 0 => Json::Null,
            (true, _) => total.bytes.into(),
            (false, most) => total.bundles.min(most.unwrap_or(i64::MAX)).into(),
        })
    }

    /// Merges the changes of totals that were appended since the last time.
    pub async fn merge_totals(&self) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.lock_name("bundle_total").await?;
        // Exactly the rows that are read here are replaced; others may be appended meanwhile.
        let sql = "SELECT `id`, `owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes` FROM `bundle_total`";
        let mut ids = Vec::new();
        let mut sums: std::collections::BTreeMap<_, [i64; 3]> = std::collections::BTreeMap::new();
        for mut row in tx.all(sql, params![]).await? {
            ids.push(row.int()?);
            let key = (row.text()?, row.text()?, row.int()?, row.int()?);
            let sum = sums.entry(key).or_default();
            for part in sum {
                *part = part.saturating_add(row.int()?);
            }
        }
        if ids.len() == sums.len() {
            return Ok(());
        }
        tx.run_in("DELETE FROM `bundle_total` WHERE `id` IN {in}", &[], &ids, &[])
            .await?;
        let rows = sums.into_iter().filter(|(_, sum)| *sum != [0; 3]);
        let rows = rows.map(|((owner, state, public, anonymous), [bundles, sized, bytes])| {
            params![owner, state, public, anonymous, bundles, sized, bytes]
        });
        tx.insert_rows(
            "INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)",
            Box::new(rows),
        )
        .await?;
        tx.commit().await
    }
}

/// What the viewer sees only because a group may read it.
async fn shared(tx: &mut Tx, viewer: &str, query: &TotalsQuery) -> Result<Total> {
    let engine = tx.engine();
    let reached = super::access::Access::from(shared_entries(engine, viewer)).gather(engine);
    let others = Clause::new(
        "b.`is_public` = 0 AND (b.`owner_id` IS NULL OR b.`owner_id` <> ?)",
        params![viewer],
    );
    let mut conditions = query.conditions.clone();
    conditions.sql = conditions.sql.replace("c.`", "b.`");
    let statement = reached
        .then(Clause::all([others, conditions]).within(" AND ", ""))
        .within(
            "SELECT COUNT(*), COUNT(b.`data_size`), COALESCE(SUM(b.`data_size`), 0) ",
            "",
        );
    let Some(mut row) = tx.first(statement.sql, statement.values).await? else {
        return Ok(Total::default());
    };
    Ok(Total {
        bundles: row.int()?,
        sized: row.int()?,
        bytes: row.real()?,
    })
}
