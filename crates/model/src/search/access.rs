//! Ways to reach the bundles that satisfy a condition: an index, and how its entries lead to bundles.
//!
//! Neither database's planner knows how far it has to read an ordered index until ten bundles are found, so the way is
//! chosen here, from counts of index entries, and forced on both.

use super::sql::Clause;
use crate::db::{Engine, Tx};
use domain::Result;

/// Index entries that are counted at most, and bundles that are gathered and sorted at most. What is found more often
/// than this is walked in the order of the results until enough are found.
pub(super) const SPARSE: i64 = 10_000;

/// How an entry names its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The row is the bundle.
    Bundle,
    /// This column is the bundle's id.
    Id(&'static str),
    /// This column is the bundle's uuid.
    Uuid(&'static str),
}

/// Entries of one index.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    /// Table with alias, `b` for bundles; the index is that of the last one.
    pub(super) table: String,
    pub(super) index: Option<&'static str>,
    pub(super) condition: Clause,
    pub(super) link: Link,
    /// The entries come in the order of the bundles' ids.
    pub(super) by_id: bool,
    /// Several entries may lead to one bundle.
    pub(super) repeats: bool,
    /// Holds for one of the entries of a bundle only, where they are walked.
    pub(super) once: Option<&'static str>,
}

impl Entries {
    /// Bundles through an index of `bundle`.
    pub(super) fn bundles(index: &'static str, condition: Clause, by_id: bool) -> Self {
        Self {
            table: "`bundle` b".to_owned(),
            index: Some(index),
            condition,
            link: Link::Bundle,
            by_id,
            repeats: false,
            once: None,
        }
    }

    /// Entries of another table, in no order.
    pub(super) fn of(table: impl Into<String>, index: Option<&'static str>, condition: Clause, link: Link) -> Self {
        Self {
            table: table.into(),
            index,
            condition,
            link,
            by_id: false,
            repeats: true,
            once: None,
        }
    }

    fn from(&self, engine: Engine) -> String {
        let index = self.index.map(|index| engine.by_index(index)).unwrap_or_default();
        format!("{}{index}", self.table)
    }

    fn select(&self, engine: Engine, what: &str) -> Clause {
        let from = self.from(engine);
        self.condition
            .clone()
            .within(&format!("SELECT {what} FROM {from} WHERE "), "")
    }

    fn key(&self, by_uuid: bool) -> &'static str {
        match (self.link, by_uuid) {
            (Link::Bundle, false) => "b.`id`",
            (Link::Bundle, true) => "b.`uuid`",
            (Link::Id(column) | Link::Uuid(column), _) => column,
        }
    }
}

/// One way to the bundles of a condition: the union of entries.
#[derive(Clone, Debug)]
pub(super) struct Access(Vec<Entries>);

impl From<Entries> for Access {
    fn from(entries: Entries) -> Self {
        Self(vec![entries])
    }
}

impl Access {
    /// Entries whose union is wanted.
    pub(super) fn union(parts: Vec<Entries>) -> Self {
        Self(parts)
    }

    /// The entries, if they come in the order of ids.
    pub(super) fn ordered(&self) -> Option<&Entries> {
        match self.0.as_slice() {
            [entries] if entries.by_id => Some(entries),
            _ => None,
        }
    }

    /// `FROM … WHERE …` of each bundle once, in no order. More conditions on `b` may follow.
    pub(super) fn gather(&self, engine: Engine) -> Clause {
        if let [entries] = self.0.as_slice()
            && entries.link == Link::Bundle
        {
            let from = entries.from(engine);
            return entries.condition.clone().within(&format!("FROM {from} WHERE ("), ")");
        }
        let by_uuid = self.0.iter().any(|entries| matches!(entries.link, Link::Uuid(_)));
        let mut union = Clause::default();
        for entries in &self.0 {
            let separator = if union.sql.is_empty() { "" } else { " UNION " };
            // A union drops repetitions, a single select must be told to.
            let distinct = if self.0.len() == 1 && entries.repeats {
                "DISTINCT "
            } else {
                ""
            };
            let select = entries.select(engine, &format!("{distinct}{} AS k", entries.key(by_uuid)));
            union = union.then(select.within(separator, ""));
        }
        let column = if by_uuid { "uuid" } else { "id" };
        union.within(
            "FROM (",
            &format!(
                ") found {} `bundle` b ON b.`{column}` = found.k WHERE 1 = 1",
                engine.ordered_join()
            ),
        )
    }
}

impl Entries {
    /// `FROM … WHERE …` of each bundle once in the order of ids, and the column to order by.
    pub(super) fn walk(&self, engine: Engine) -> (Clause, &'static str) {
        let from = self.from(engine);
        let Link::Id(column) = self.link else {
            let clause = self.condition.clone().within(&format!("FROM {from} WHERE ("), ")");
            return (clause, "b.`id`");
        };
        let join = engine.ordered_join();
        let once = self.once.map(|once| format!(" AND {once}")).unwrap_or_default();
        let clause = self.condition.clone().within(
            &format!("FROM {from} {join} `bundle` b ON b.`id` = {column} WHERE ("),
            &format!("){once}"),
        );
        (clause, column)
    }
}

/// The index of the way with the fewest entries, and their number up to [`SPARSE`].
pub(super) async fn fewest(tx: &mut Tx, ways: &[Access]) -> Result<Option<(usize, i64)>> {
    if ways.is_empty() {
        return Ok(None);
    }
    let engine = tx.engine();
    let mut statement = Clause::new("SELECT ", Vec::new());
    for (number, way) in ways.iter().enumerate() {
        for (part, entries) in way.0.iter().enumerate() {
            let operator = match (number, part) {
                (0, 0) => "",
                (_, 0) => ", ",
                _ => " + ",
            };
            let select = entries.select(engine, "1");
            let before = format!("{operator}(SELECT COUNT(*) FROM (");
            statement = statement.then(select.within(&before, &format!(" LIMIT {SPARSE}) n{number}_{part})")));
        }
    }
    let Some(mut row) = tx.first(statement.sql, statement.values).await? else {
        return Ok(None);
    };
    let counts: Vec<i64> = ways.iter().map(|_| row.int()).collect::<Result<_>>()?;
    Ok(counts.into_iter().enumerate().min_by_key(|(_, count)| *count))
}
