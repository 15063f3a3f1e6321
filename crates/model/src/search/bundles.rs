//! Bundle search (data-model section 16.2): one statement, every condition a subquery of its own.

use domain::Result;
use domain::metadata::{self, FieldKind};
use serde_json::Value as Json;

use super::Found;
use super::keyword::{Clause, Keyword, Paging, Wanted, contains, formatted, moment, number};
use crate::Model;
use crate::db::params;

/// Columns of `bundle` that are keys of the search language.
const COLUMNS: [&str; 5] = ["id", "uuid", "state", "command", "owner_id"];

/// A bundle search taken apart.
#[derive(Debug, Default)]
struct Query {
    conditions: Vec<Clause>,
    order: Vec<Clause>,
    paging: Paging,
    aggregate: Option<Aggregate>,
    /// A `.limit` after `.count` caps the count.
    count_limit: Option<i64>,
    format: Option<String>,
}

#[derive(Debug)]
enum Aggregate {
    Count,
    Sum(String),
}

impl Model {
    /// Searches bundles as `viewer`.
    pub async fn search_bundles(&self, viewer: Option<&str>, keywords: &[String]) -> Result<Found> {
        let mut query = Query::default();
        for keyword in keywords {
            self.add_keyword(&mut query, viewer, keyword).await?;
        }
        query.conditions.extend(self.visible(viewer));
        let conditions = Clause::all(std::mem::take(&mut query.conditions));
        let mut tx = self.db.read().await?;
        let statement = query.statement(conditions);
        match &query.aggregate {
            None => {
                let rows = tx.all(statement.sql, statement.values).await?;
                let uuids: Result<Vec<_>> = rows.into_iter().map(|mut row| row.uuid()).collect();
                uuids.map(Found::Bundles)
            }
            Some(Aggregate::Count) => {
                let count = tx.count(statement.sql, statement.values).await?;
                let count = query.count_limit.map_or(count, |limit| count.min(limit));
                Ok(Found::Value(formatted(count.into(), query.format.as_deref())))
            }
            Some(Aggregate::Sum(_)) => {
                let row = tx.first(statement.sql, statement.values).await?;
                let sum = match row {
                    Some(mut row) => row.opt_real()?,
                    None => None,
                };
                let sum = sum.map_or(Json::Null, Json::from);
                Ok(Found::Value(formatted(sum, query.format.as_deref())))
            }
        }
    }

    async fn add_keyword(&self, query: &mut Query, viewer: Option<&str>, keyword: &str) -> Result<()> {
        match keyword {
            ".mine" => query.conditions.push(owned_by(viewer.unwrap_or(NOBODY))),
            ".last" => query.sort("id", true),
            ".shared" => query.conditions.push(shared_with(viewer.unwrap_or(NOBODY))),
            ".floating" => query.conditions.push(Clause::new(
                "NOT EXISTS (SELECT 1 FROM worksheet_item i WHERE i.bundle_uuid = b.uuid)",
                Vec::new(),
            )),
            ".count" => {
                query.aggregate = Some(Aggregate::Count);
                query.count_limit = None;
            }
            _ => match Keyword::parse(keyword) {
                Keyword::Word(word) => query.conditions.push(uuid_or_name(&word)),
                Keyword::Pair { key, value } => self.add_pair(query, viewer, &key, &value).await?,
            },
        }
        Ok(())
    }

    async fn add_pair(&self, query: &mut Query, viewer: Option<&str>, key: &str, value: &str) -> Result<()> {
        match key {
            "" => query.conditions.push(any_field(value)),
            "uuid_name" => query.conditions.push(uuid_or_name(value)),
            ".limit" => {
                query.paging.limit = number(key, value)?;
                query.count_limit = Some(query.paging.limit);
            }
            ".offset" => query.paging.offset = number(key, value)?,
            ".format" => query.format = Some(value.to_owned()),
            ".before" => query.conditions.push(created("<=", moment(value)?)),
            ".after" => query.conditions.push(created(">=", moment(value)?)),
            "owner" => {
                let owner = self.user_by_name(value).await?;
                let owner = owner.map_or_else(|| NOBODY.to_owned(), |user| user.user_id.0);
                query.conditions.push(self.owner_condition(viewer, &owner));
            }
            "owner_id" if matches!(Wanted::parse(value), Wanted::Where(_)) && !value.contains(['%', ',']) => {
                query.conditions.push(self.owner_condition(viewer, value));
            }
            "group" => {
                let group = self.resolve_group(value, Some(viewer.unwrap_or(NOBODY))).await?;
                query.conditions.push(Clause::new(
                    "b.uuid IN (SELECT object_uuid FROM group_bundle_permission WHERE group_uuid = ? AND permission >= 1)",
                    params![group.uuid],
                ));
            }
            "worksheet" | "host_worksheet" => query.conditions.push(Clause::new(
                "b.uuid IN (SELECT bundle_uuid FROM worksheet_item WHERE worksheet_uuid = ? AND bundle_uuid IS NOT NULL)",
                params![value],
            )),
            "dependency" => query.conditions.push(Clause::new(
                "b.uuid IN (SELECT child_uuid FROM bundle_dependency WHERE parent_uuid = ?)",
                params![value],
            )),
            _ => match key.strip_prefix("dependency/") {
                Some(child_path) => query.conditions.push(Clause::new(
                    "b.uuid IN (SELECT child_uuid FROM bundle_dependency WHERE parent_uuid = ? AND child_path = ?)",
                    params![value, child_path],
                )),
                None => query.add_field(field_name(key), &Wanted::parse(value)),
            },
        }
        Ok(())
    }

    /// Owners of anonymous bundles are not given away by searching for them.
    fn owner_condition(&self, viewer: Option<&str>, owner: &str) -> Clause {
        let owned = owned_by(owner);
        if viewer == Some(owner) || self.is_root(viewer) {
            return owned;
        }
        owned.within("", " AND b.is_anonymous = 0")
    }

    /// What `viewer` may read; nothing to check for root.
    fn visible(&self, viewer: Option<&str>) -> Option<Clause> {
        if self.is_root(viewer) {
            return None;
        }
        let public = Clause::new(
            "b.uuid IN (SELECT object_uuid FROM group_bundle_permission WHERE group_uuid = ? AND permission >= 1)",
            params![self.public_group()],
        );
        Some(match viewer {
            None => public,
            Some(viewer) => Clause::any(vec![owned_by(viewer), public, shared_with(viewer)]),
        })
    }
}

/// An owner id that no account has.
const NOBODY: &str = "x";

impl Query {
    fn add_field(&mut self, field: &str, wanted: &Wanted) {
        match wanted {
            Wanted::Sort { descending } => self.sort(field, *descending),
            Wanted::Sum => self.aggregate = Some(Aggregate::Sum(field.to_owned())),
            Wanted::Where(condition) => self.conditions.push(if let Some(column) = column(field) {
                condition.sql(&column)
            } else {
                let value = condition.sql("m.metadata_value");
                let sql = format!(
                    "b.uuid IN (SELECT m.bundle_uuid FROM bundle_metadata m WHERE m.metadata_key = ? AND {})",
                    value.sql
                );
                Clause::new(sql, [params![field], value.values].concat())
            }),
        }
    }

    /// Later sort keywords are more important than earlier ones; bundles without the field are left out.
    fn sort(&mut self, field: &str, descending: bool) {
        let direction = if descending { "DESC" } else { "ASC" };
        let value = sort_value(field);
        if column(field).is_none() {
            self.conditions.push(Clause::new(
                "EXISTS (SELECT 1 FROM bundle_metadata m WHERE m.bundle_uuid = b.uuid AND m.metadata_key = ?)",
                params![field],
            ));
        }
        self.order.insert(0, value.within("", &format!(" {direction}")));
    }

    fn statement(&self, conditions: Clause) -> Clause {
        match &self.aggregate {
            Some(Aggregate::Count) => conditions.within("SELECT COUNT(*) FROM bundle b WHERE ", ""),
            Some(Aggregate::Sum(field)) => {
                let mut value = number_value(field).within("SELECT SUM(v) FROM (SELECT ", " AS v FROM bundle b WHERE ");
                value.sql.push_str(&conditions.sql);
                value.sql.push_str(") t");
                value.values.extend(conditions.values);
                value
            }
            None => {
                let mut statement = conditions.within("SELECT b.uuid FROM bundle b WHERE ", " ORDER BY ");
                for order in &self.order {
                    statement.sql.push_str(&order.sql);
                    statement.sql.push_str(", ");
                    statement.values.extend(order.values.clone());
                }
                statement.sql.push_str("b.id LIMIT ? OFFSET ?");
                statement.values.extend(params![self.paging.limit, self.paging.offset]);
                statement
            }
        }
    }
}

fn field_name(key: &str) -> &str {
    match key {
        "type" => "bundle_type",
        "size" => "data_size",
        other => other,
    }
}

/// The column of `bundle` that holds a field, if one does.
fn column(field: &str) -> Option<String> {
    (field == "bundle_type" || COLUMNS.contains(&field)).then(|| format!("b.{field}"))
}

/// What a field is ordered by: numbers as numbers, text as text.
fn sort_value(field: &str) -> Clause {
    if let Some(column) = column(field) {
        return Clause::new(column, Vec::new());
    }
    let is_text =
        metadata::any_field(field).is_some_and(|field| matches!(field.kind, FieldKind::Str | FieldKind::List));
    if is_text {
        // SQLite forgets the column's collation on the way out of a subquery.
        metadata_value(field, "LOWER(MIN(m.metadata_value))")
    } else {
        number_value(field)
    }
}

/// A field as a number: both databases take the number a text begins with, else 0.
fn number_value(field: &str) -> Clause {
    match column(field) {
        Some(column) => Clause::new(format!("({column} + 0)"), Vec::new()),
        None => metadata_value(field, "MIN(m.metadata_value + 0)"),
    }
}

fn metadata_value(field: &str, expression: &str) -> Clause {
    let sql =
        format!("(SELECT {expression} FROM bundle_metadata m WHERE m.bundle_uuid = b.uuid AND m.metadata_key = ?)");
    Clause::new(sql, params![field])
}

fn owned_by(owner: &str) -> Clause {
    Clause::new("b.owner_id = ?", params![owner])
}

/// Some group the user is a member of may read it; the public group has no members.
fn shared_with(viewer: &str) -> Clause {
    Clause::new(
        "b.uuid IN (SELECT p.object_uuid FROM group_bundle_permission p JOIN user_group g \
         ON g.group_uuid = p.group_uuid WHERE g.user_id = ? AND p.permission >= 1)",
        params![viewer],
    )
}

fn created(operator: &str, time: i64) -> Clause {
    Clause::new(
        format!(
            "b.uuid IN (SELECT m.bundle_uuid FROM bundle_metadata m \
             WHERE m.metadata_key = 'created' AND m.metadata_value + 0 {operator} ?)"
        ),
        params![time],
    )
}

/// A bare word: in the uuid or in the name. A whole uuid is looked up instead.
fn uuid_or_name(word: &str) -> Clause {
    if domain::id::is_uuid(word) {
        return Clause::new("b.uuid = ?", params![word]);
    }
    if word.is_empty() {
        return Clause::new("1 = 1", Vec::new());
    }
    let pattern = contains(word);
    Clause::new(
        "b.uuid LIKE ? ESCAPE '|' OR b.uuid IN (SELECT m.bundle_uuid FROM bundle_metadata m \
         WHERE m.metadata_key = 'name' AND m.metadata_value LIKE ? ESCAPE '|')",
        params![pattern.as_str(), pattern.as_str()],
    )
}

/// `=word`: in the uuid, the command or any metadata value.
fn any_field(word: &str) -> Clause {
    let pattern = contains(word);
    Clause::new(
        "b.uuid LIKE ? ESCAPE '|' OR b.command LIKE ? ESCAPE '|' OR b.uuid IN \
         (SELECT m.bundle_uuid FROM bundle_metadata m WHERE m.metadata_value LIKE ? ESCAPE '|')",
        params![pattern.as_str(), pattern.as_str(), pattern.as_str()],
    )
}

#[cfg(test)]
mod tests {
    use domain::BundleType;

    use super::*;

    #[test]
    fn every_bundle_type_has_searchable_fields_of_known_kind() {
        for bundle_type in [BundleType::Dataset, BundleType::Make, BundleType::Run] {
            for field in metadata::fields(bundle_type) {
                assert!(sort_value(field.key).sql.contains("metadata_value"), "{}", field.key);
            }
        }
    }

    #[test]
    fn later_sort_keywords_come_first() {
        let mut query = Query::default();
        query.sort("id", false);
        query.sort("created", true);
        let conditions = Clause::all(std::mem::take(&mut query.conditions));
        let statement = query.statement(conditions);
        let order = statement.sql.split(" ORDER BY ").last().unwrap();
        assert!(order.starts_with("(SELECT MIN(m.metadata_value + 0)"), "{order}");
        assert!(order.ends_with("DESC, b.id ASC, b.id LIMIT ? OFFSET ?"), "{order}");
    }
}
