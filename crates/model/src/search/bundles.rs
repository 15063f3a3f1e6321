//! Bundle search (data-model section 16.2): chooses how to reach the bundles, and reads one page or one value.
//!
//! What is found rarely is gathered and sorted. What is found often is walked in the order of the results, through an
//! index that has this order, until the page is full. Which of the two it is, is counted first.

use domain::metadata::{self, FieldKind};
use domain::search::{Aggregate, BundleColumn, BundleField, BundleQuery, Sort};
use domain::{Result, Uuid};
use serde_json::Value as Json;

use super::Found;
use super::access::{Entries, SPARSE, fewest};
use super::conditions::{Condition, typed_column};
use super::sql::Clause;
use super::totals::TotalsQuery;
use crate::Model;
use crate::db::{Engine, Row, Tx, Value, params};

impl Model {
    /// Searches bundles as `viewer`. Aggregates come without the query's format.
    pub async fn search_bundles(&self, viewer: Option<&str>, query: &BundleQuery) -> Result<Found> {
        if query.aggregate.is_none() && query.paging.limit == 0 {
            return Ok(Found::Bundles(Vec::new()));
        }
        if let Some(totals) = TotalsQuery::of(self, viewer, query).await? {
            return self.totals(viewer, &totals).await.map(Found::Value);
        }
        let mut conditions = Vec::new();
        for condition in &query.conditions {
            conditions.extend(self.condition(viewer, condition).await?);
        }
        let owns = query.conditions.contains(&domain::search::BundleCondition::Mine);
        conditions.extend(self.visible(viewer).filter(|_| !owns));
        let mut tx = self.db.read().await?;
        let search = Search {
            engine: tx.engine(),
            conditions,
            query,
        };
        match &query.aggregate {
            None => search.page(&mut tx).await.map(Found::Bundles),
            Some(aggregate) => search.value(&mut tx, aggregate).await.map(Found::Value),
        }
    }
}

struct Search<'a> {
    engine: Engine,
    conditions: Vec<Condition>,
    query: &'a BundleQuery,
}

/// Which way to take: the number of the condition and of its way.
type Choice = (usize, usize);

/// An order that an index delivers.
enum Order {
    Id {
        descending: bool,
    },
    Column {
        name: &'static str,
        index: &'static str,
        descending: bool,
    },
    Number {
        key: String,
        descending: bool,
    },
}

impl Order {
    fn of(order: &[Sort<BundleField>]) -> Option<Self> {
        let [sort] = order else {
            return order.is_empty().then_some(Self::Id { descending: false });
        };
        let descending = sort.descending;
        let column = |name, index| Self::Column {
            name,
            index,
            descending,
        };
        match &sort.field {
            BundleField::Column(BundleColumn::Id) => Some(Self::Id { descending }),
            BundleField::Column(_) => None,
            BundleField::Metadata(key) => match key.as_str() {
                "name" => Some(column("b.`name`", "bundle_name_index")),
                "created" => Some(column("b.`created`", "bundle_created_index")),
                "data_size" => Some(column("b.`data_size`", "bundle_size_index")),
                _ if is_number(key) => Some(Self::Number {
                    key: key.clone(),
                    descending,
                }),
                _ => None,
            },
        }
    }
}

impl Search<'_> {
    async fn page(&self, tx: &mut Tx) -> Result<Vec<Uuid>> {
        let order = Order::of(&self.query.order);
        let ways: Vec<Choice> = self
            .conditions
            .iter()
            .enumerate()
            .flat_map(|(number, condition)| (0..condition.ways.len()).map(move |way| (number, way)))
            .collect();
        if self.conditions.iter().any(|condition| condition.unique) {
            return self.gather(tx, None).await;
        }
        let by_id = matches!(order, Some(Order::Id { .. }));
        let only_ordered = matches!(ways.as_slice(), [only] if by_id && self.entries(*only).is_some());
        if !only_ordered {
            let accesses: Vec<_> = ways
                .iter()
                .map(|(c, w)| self.conditions[*c].ways[*w].access.clone())
                .collect();
            if let Some((best, count)) = fewest(tx, &accesses).await?
                && count < SPARSE
            {
                return self.gather(tx, Some(ways[best])).await;
            }
        }
        let about_creation = self.conditions.iter().any(|condition| condition.by_creation);
        match order {
            None => self.gather(tx, None).await,
            // Ids are given in the order of creation, so this is the same order, and an index bounds it.
            Some(Order::Id { descending }) if about_creation => self.walk_creation(tx, descending).await,
            Some(Order::Id { descending }) => {
                let ordered = ways.into_iter().find(|way| self.entries(*way).is_some());
                self.walk(tx, ordered, descending).await
            }
            Some(order) => self.walk_values(tx, &order).await,
        }
    }

    /// The entries of a way that come by id.
    fn entries(&self, (condition, way): Choice) -> Option<&Entries> {
        self.conditions[condition].ways[way].access.ordered()
    }

    /// `AND (…)` for every condition that the chosen way does not imply.
    fn checks(&self, chosen: Option<Choice>) -> Clause {
        let mut checks = Clause::default();
        for (number, condition) in self.conditions.iter().enumerate() {
            let implied = chosen.is_some_and(|(c, w)| c == number && condition.ways[w].exact);
            if !implied && condition.check.sql != "1 = 1" {
                checks = checks.then(condition.check.clone().within(" AND (", ")"));
            }
        }
        checks
    }

    /// `FROM … WHERE …` of all bundles, each once.
    fn source(&self, chosen: Option<Choice>) -> Clause {
        let from = match chosen {
            Some((condition, way)) => self.conditions[condition].ways[way].access.gather(self.engine),
            None => Clause::new("FROM `bundle` b WHERE 1 = 1", Vec::new()),
        };
        from.then(self.checks(chosen))
    }

    /// All that match, sorted; the page of it.
    async fn gather(&self, tx: &mut Tx, chosen: Option<Choice>) -> Result<Vec<Uuid>> {
        let mut statement = self.source(chosen).within("SELECT b.`uuid` ", " ORDER BY ");
        for sort in &self.query.order {
            let direction = if sort.descending { " DESC, " } else { " ASC, " };
            statement = statement.then(sort_value(&sort.field).within("", direction));
        }
        let paging = self.query.paging;
        let page = Clause::new("b.`id` LIMIT ? OFFSET ?", params![paging.limit, paging.offset]);
        let statement = statement.then(page);
        uuids(tx.all(statement.sql, statement.values).await?)
    }

    /// In the order of ids, through entries that have it.
    async fn walk(&self, tx: &mut Tx, chosen: Option<Choice>, descending: bool) -> Result<Vec<Uuid>> {
        let (from, column) = if let Some(entries) = chosen.and_then(|way| self.entries(way)) {
            entries.walk(self.engine)
        } else {
            let from = format!("FROM `bundle` b{} WHERE 1 = 1", self.engine.by_id());
            (Clause::new(from, Vec::new()), "b.`id`")
        };
        let direction = if descending { "DESC" } else { "ASC" };
        let paging = self.query.paging;
        let statement = from
            .then(self.checks(chosen))
            .within(
                "SELECT b.`uuid` ",
                &format!(" ORDER BY {column} {direction} LIMIT ? OFFSET ?"),
            )
            .then(Clause::new("", params![paging.limit, paging.offset]));
        uuids(tx.all(statement.sql, statement.values).await?)
    }

    async fn walk_creation(&self, tx: &mut Tx, descending: bool) -> Result<Vec<Uuid>> {
        let direction = if descending { "DESC" } else { "ASC" };
        let from = format!(
            "FROM `bundle` b{} WHERE 1 = 1",
            self.engine.by_index("bundle_created_index")
        );
        let paging = self.query.paging;
        let order = format!(" ORDER BY b.`created` {direction}, b.`id` {direction} LIMIT ? OFFSET ?");
        let statement = Clause::new(from, Vec::new())
            .then(self.checks(None))
            .within("SELECT b.`uuid` ", &order)
            .then(Clause::new("", params![paging.limit, paging.offset]));
        uuids(tx.all(statement.sql, statement.values).await?)
    }

    /// In the order of a value, ties by id. An index that is read backwards has ties in the wrong order, so those at the
    /// end of the page are read again.
    async fn walk_values(&self, tx: &mut Tx, order: &Order) -> Result<Vec<Uuid>> {
        let (from, value, id, descending) = match order {
            Order::Id { .. } => return self.gather(tx, None).await,
            Order::Column {
                name,
                index,
                descending,
            } => {
                let from = format!(
                    "FROM `bundle` b{} WHERE {name} IS NOT NULL",
                    self.engine.by_index(index)
                );
                (Clause::new(from, Vec::new()), *name, "b.`id`", *descending)
            }
            Order::Number { key, descending } => {
                let from = format!(
                    "FROM `bundle_metadata` s{} {} `bundle` b ON b.`id` = s.`bundle_id` \
                     WHERE s.`metadata_key` = ? AND s.`number` IS NOT NULL AND (SELECT 1 FROM `bundle_metadata` x \
                     WHERE x.`bundle_uuid` = s.`bundle_uuid` AND x.`metadata_key` = s.`metadata_key` AND x.`id` > s.`id` \
                     LIMIT 1) IS NULL",
                    self.engine.by_index("metadata_number_index"),
                    self.engine.ordered_join()
                );
                (
                    Clause::new(from, params![key]),
                    "s.`number`",
                    "s.`bundle_id`",
                    *descending,
                )
            }
        };
        let paging = self.query.paging;
        let last = paging.limit.saturating_add(paging.offset);
        let source = from
            .then(self.checks(None))
            .within(&format!("SELECT b.`uuid`, {value} "), "");
        let direction = if descending { "DESC" } else { "ASC" };
        let first = source
            .clone()
            .within("", &format!(" ORDER BY {value} {direction}, {id} {direction} LIMIT ?"))
            .then(Clause::new("", params![last]));
        let mut found = Vec::new();
        for mut row in tx.all(first.sql, first.values).await? {
            found.push((row.uuid()?, row.value()?));
        }
        if descending {
            let complete = i64::try_from(found.len()).is_ok_and(|count| count < last);
            let tied = found.last().map(|(_, value)| value.clone()).filter(|_| !complete);
            if let Some(tied) = tied {
                found.retain(|(_, value)| !same(value, &tied));
                let missing = last - i64::try_from(found.len()).unwrap_or(0);
                let ties = source
                    .within("", &format!(" AND {value} = ? ORDER BY {id} LIMIT ?"))
                    .then(Clause::new("", params![tied.clone(), missing]));
                reverse_ties(&mut found);
                for mut row in tx.all(ties.sql, ties.values).await? {
                    found.push((row.uuid()?, tied.clone()));
                }
            } else {
                reverse_ties(&mut found);
            }
        }
        let offset = usize::try_from(paging.offset).unwrap_or(usize::MAX);
        Ok(found.into_iter().skip(offset).map(|(uuid, _)| uuid).collect())
    }

    async fn value(&self, tx: &mut Tx, aggregate: &Aggregate) -> Result<Json> {
        let mut choices = Vec::new();
        let mut accesses = Vec::new();
        for (number, condition) in self.conditions.iter().enumerate() {
            for (way, found) in condition.ways.iter().enumerate() {
                choices.push((number, way));
                accesses.push(found.access.clone());
            }
        }
        let best = match accesses.len() {
            0 | 1 => choices.first().copied(),
            _ => fewest(tx, &accesses).await?.map(|(best, _)| choices[best]),
        };
        let unique = self.conditions.iter().any(|condition| condition.unique);
        let source = self.source(best.filter(|_| !unique));
        match aggregate {
            Aggregate::Count { at_most } => {
                let statement = source.within("SELECT COUNT(*) ", "");
                let count = tx.count(statement.sql, statement.values).await?;
                Ok(at_most.map_or(count, |most| count.min(most)).into())
            }
            Aggregate::Sum(field) => {
                let statement = number_value(field)
                    .within("SELECT SUM(v) FROM (SELECT ", " AS v ")
                    .then(source)
                    .within("", ") t");
                let sum = match tx.first(statement.sql, statement.values).await? {
                    Some(mut row) => row.opt_real()?,
                    None => None,
                };
                Ok(sum.map_or(Json::Null, Json::from))
            }
        }
    }
}

/// Reverses each run of equal values.
fn reverse_ties(found: &mut [(Uuid, Value)]) {
    for ties in found.chunk_by_mut(|(_, one), (_, other)| same(one, other)) {
        ties.reverse();
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => one.eq_ignore_ascii_case(other),
        _ => one == other,
    }
}

fn uuids(rows: Vec<Row>) -> Result<Vec<Uuid>> {
    rows.into_iter().map(|mut row| row.uuid()).collect()
}

fn is_number(key: &str) -> bool {
    metadata::any_field(key).is_some_and(|field| matches!(field.kind, FieldKind::Int | FieldKind::Float))
}

/// What a field is ordered by: numbers as numbers, text as text.
fn sort_value(field: &BundleField) -> Clause {
    match field {
        BundleField::Column(column) => Clause::new(format!("b.`{}`", column.as_str()), Vec::new()),
        BundleField::Metadata(key) => match typed_column(key) {
            Some(column) => Clause::new(column, Vec::new()),
            None if is_number(key) => metadata_number(key),
            // SQLite forgets the column's collation on the way out of a subquery.
            None => metadata_value(key, "LOWER(MIN(m.`metadata_value`))"),
        },
    }
}

/// A field as a number; text counts 0.
fn number_value(field: &BundleField) -> Clause {
    match field {
        BundleField::Column(column) => Clause::new(format!("(b.`{}` + 0)", column.as_str()), Vec::new()),
        BundleField::Metadata(key) => match typed_column(key) {
            Some("b.`name`") => Clause::new("CASE WHEN b.`name` IS NOT NULL THEN 0 END", Vec::new()),
            Some(column) => Clause::new(column, Vec::new()),
            None => metadata_number(key),
        },
    }
}

fn metadata_number(key: &str) -> Clause {
    let sql = "(SELECT COALESCE(m.`number`, 0) FROM `bundle_metadata` m WHERE m.`bundle_uuid` = b.`uuid` AND m.`metadata_key` = ? \
               ORDER BY m.`id` DESC LIMIT 1)";
    Clause::new(sql, params![key])
}

fn metadata_value(key: &str, expression: &str) -> Clause {
    let sql = format!(
        "(SELECT {expression} FROM `bundle_metadata` m WHERE m.`bundle_uuid` = b.`uuid` AND m.`metadata_key` = ?)"
    );
    Clause::new(sql, params![key])
}
