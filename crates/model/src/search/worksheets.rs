//! Worksheet search (data-model section 16.3).

use domain::{Error, Result};

use super::WorksheetRow;
use super::keyword::{Clause, Condition, Keyword, Paging, Wanted, contains, number};
use crate::db::{Row, params};
use crate::{Model, ObjectKind};

#[derive(Debug, Default)]
struct Query {
    conditions: Vec<Clause>,
    /// `column direction`, the most important first.
    order: Vec<String>,
    paging: Paging,
}

impl Model {
    /// Searches worksheets as `viewer`: own ones first, then the most recently changed.
    pub async fn search_worksheets(&self, viewer: Option<&str>, keywords: &[String]) -> Result<Vec<WorksheetRow>> {
        let mut query = Query::default();
        for keyword in keywords {
            self.add_worksheet_keyword(&mut query, viewer, keyword).await?;
        }
        query.conditions.extend(self.visible_worksheets(viewer));
        let mut rows = self.worksheet_rows(viewer, query).await?;
        let uuids: Vec<_> = rows.iter().map(|row| row.uuid).collect();
        let mut permissions = self.group_permissions(ObjectKind::Worksheet, &uuids).await?;
        for row in &mut rows {
            row.group_permissions = permissions.remove(&row.uuid).unwrap_or_default();
        }
        Ok(rows)
    }

    async fn worksheet_rows(&self, viewer: Option<&str>, query: Query) -> Result<Vec<WorksheetRow>> {
        let mut statement = Clause::all(query.conditions).within(
            "SELECT w.id, w.uuid, w.name, w.title, CAST(w.frozen AS CHAR), w.is_anonymous, w.owner_id, u.user_name, \
             CAST(w.date_created AS CHAR), CAST(w.date_last_modified AS CHAR) FROM worksheet w \
             LEFT JOIN `user` u ON u.user_id = w.owner_id WHERE ",
            " ORDER BY ",
        );
        if let Some(viewer) = viewer {
            statement.sql.push_str("CASE WHEN w.owner_id = ? THEN 0 ELSE 1 END, ");
            statement.values.extend(params![viewer]);
        }
        let order = if query.order.is_empty() {
            "w.date_last_modified DESC".to_owned()
        } else {
            query.order.join(", ")
        };
        statement.sql.push_str(&order);
        statement.sql.push_str(", w.name, w.id LIMIT ? OFFSET ?");
        statement
            .values
            .extend(params![query.paging.limit, query.paging.offset]);
        let mut tx = self.db.read().await?;
        tx.all(statement.sql, statement.values)
            .await?
            .into_iter()
            .map(worksheet_row)
            .collect()
    }

    async fn add_worksheet_keyword(&self, query: &mut Query, viewer: Option<&str>, keyword: &str) -> Result<()> {
        let me = viewer.unwrap_or(NOBODY);
        match keyword {
            ".mine" => query.conditions.push(Clause::new("w.owner_id = ?", params![me])),
            ".notmine" => query.conditions.push(Clause::new("w.owner_id <> ?", params![me])),
            ".last" => query.order.insert(0, "w.id DESC".to_owned()),
            ".shared" => query.conditions.push(shared_with(me)),
            _ => match Keyword::parse(keyword) {
                Keyword::Word(word) => query.conditions.push(uuid_name_or_title(&word)),
                Keyword::Pair { key, value } => self.add_worksheet_pair(query, viewer, &key, &value).await?,
            },
        }
        Ok(())
    }

    async fn add_worksheet_pair(&self, query: &mut Query, viewer: Option<&str>, key: &str, value: &str) -> Result<()> {
        match key {
            "" => query.conditions.push(Clause::any(vec![
                uuid_name_or_title(value),
                Clause::new(
                    "w.uuid IN (SELECT i.worksheet_uuid FROM worksheet_item i WHERE i.value LIKE ? ESCAPE '|')",
                    params![contains(value)],
                ),
            ])),
            ".limit" => query.paging.limit = number(key, value)?,
            ".offset" => query.paging.offset = number(key, value)?,
            "id" | "uuid" | "name" | "title" => query.column(&format!("w.{key}"), value)?,
            "owner" => {
                let owner = self.user_by_name(value).await?;
                let owner = owner.map_or_else(|| NOBODY.to_owned(), |user| user.user_id.0);
                query.conditions.push(self.worksheet_owner(viewer, &owner));
            }
            "owner_id" => match Wanted::parse(value) {
                Wanted::Where(Condition::Equals(owner)) => query.conditions.push(self.worksheet_owner(viewer, &owner)),
                _ => query.column("w.owner_id", value)?,
            },
            "tag" => query.related(
                "w.uuid IN (SELECT t.worksheet_uuid FROM worksheet_tag t WHERE ",
                "t.tag",
                value,
            )?,
            "bundle" => query.related(
                "w.uuid IN (SELECT i.worksheet_uuid FROM worksheet_item i WHERE ",
                "i.bundle_uuid",
                value,
            )?,
            "worksheet" => query.related(
                "w.uuid IN (SELECT i.worksheet_uuid FROM worksheet_item i WHERE ",
                "i.subworksheet_uuid",
                value,
            )?,
            "group" => {
                let group = self.resolve_group(value, Some(viewer.unwrap_or(NOBODY))).await?;
                query.conditions.push(readable_by(&group.uuid));
            }
            _ => return Err(Error::usage(format!("Unknown key: {key}"))),
        }
        Ok(())
    }

    /// Owners of anonymous worksheets are not given away by searching for them.
    fn worksheet_owner(&self, viewer: Option<&str>, owner: &str) -> Clause {
        let owned = Clause::new("w.owner_id = ?", params![owner]);
        if viewer == Some(owner) || self.is_root(viewer) {
            return owned;
        }
        owned.within("", " AND w.is_anonymous = 0")
    }

    fn visible_worksheets(&self, viewer: Option<&str>) -> Option<Clause> {
        if self.is_root(viewer) {
            return None;
        }
        let public = readable_by(&self.public_group());
        Some(match viewer {
            None => public,
            Some(viewer) => Clause::any(vec![
                Clause::new("w.owner_id = ?", params![viewer]),
                public,
                shared_with(viewer),
            ]),
        })
    }
}

/// An owner id that no account has.
const NOBODY: &str = "x";

impl Query {
    fn column(&mut self, column: &str, value: &str) -> Result<()> {
        match Wanted::parse(value) {
            Wanted::Sort { descending } => {
                let direction = if descending { "DESC" } else { "ASC" };
                self.order.insert(0, format!("{column} {direction}"));
            }
            Wanted::Sum => return Err(Error::usage("Worksheet search has no .sum")),
            Wanted::Where(condition) => self.conditions.push(condition.sql(column)),
        }
        Ok(())
    }

    fn related(&mut self, before: &str, column: &str, value: &str) -> Result<()> {
        match Wanted::parse(value) {
            Wanted::Where(condition) => {
                self.conditions.push(condition.sql(column).within(before, ")"));
                Ok(())
            }
            _ => Err(Error::usage(format!("Worksheets cannot be sorted by {column}"))),
        }
    }
}

fn worksheet_row(mut row: Row) -> Result<WorksheetRow> {
    Ok(WorksheetRow {
        id: row.int()?,
        uuid: row.uuid()?,
        name: row.text()?,
        title: row.opt_text()?,
        frozen: row.opt_time()?,
        is_anonymous: row.flag()?,
        owner_id: row.opt_user_id()?,
        owner_name: row.opt_text()?,
        date_created: row.opt_time()?,
        date_last_modified: row.opt_time()?,
        group_permissions: Vec::new(),
    })
}

fn uuid_name_or_title(word: &str) -> Clause {
    let pattern = contains(word);
    Clause::new(
        "w.uuid LIKE ? ESCAPE '|' OR w.name LIKE ? ESCAPE '|' OR w.title LIKE ? ESCAPE '|'",
        params![pattern.as_str(), pattern.as_str(), pattern.as_str()],
    )
}

fn readable_by(group: &domain::Uuid) -> Clause {
    Clause::new(
        "w.uuid IN (SELECT object_uuid FROM group_object_permission WHERE group_uuid = ? AND permission >= 1)",
        params![group],
    )
}

/// Some group the user is a member of may read it; the public group has no members.
fn shared_with(viewer: &str) -> Clause {
    Clause::new(
        "w.uuid IN (SELECT p.object_uuid FROM group_object_permission p JOIN user_group g \
         ON g.group_uuid = p.group_uuid WHERE g.user_id = ? AND p.permission >= 1)",
        params![viewer],
    )
}
