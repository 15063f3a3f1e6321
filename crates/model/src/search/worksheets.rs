//! Worksheet search (data-model section 16.3): own ones first, so two lists, one after the other.

use domain::Result;
use domain::search::{Comparison, WorksheetColumn, WorksheetCondition, WorksheetQuery};

use super::WorksheetRow;
use super::conditions::NOBODY;
use super::sql::{Clause, compare, lowercase, matches};
use crate::db::{Row, Tx, params};
use crate::{Model, ObjectKind};

impl Model {
    /// Searches worksheets as `viewer`: own ones first, then the most recently changed.
    pub async fn search_worksheets(&self, viewer: Option<&str>, query: &WorksheetQuery) -> Result<Vec<WorksheetRow>> {
        let mut conditions = Vec::new();
        for condition in &query.conditions {
            conditions.push(self.worksheet_condition(viewer, condition).await?);
        }
        let (mut limit, mut offset) = (query.paging.limit, query.paging.offset);
        let mut rows = Vec::new();
        let mut tx = self.db.read().await?;
        if let Some(viewer) = viewer {
            let mut own = conditions.clone();
            own.push(Clause::new("w.`owner_id` = ?", params![viewer]));
            rows = page(&mut tx, query, own, limit, offset).await?;
            let count = i64::try_from(rows.len()).unwrap_or(limit);
            limit -= count;
            // How many of the skipped ones were own matters only where the page reaches the others.
            if limit > 0 && offset > 0 && count == 0 {
                let mut own = conditions.clone();
                own.push(Clause::new("w.`owner_id` = ?", params![viewer]));
                let counted = Clause::all(own).within("SELECT COUNT(*) FROM `worksheet` w WHERE ", "");
                offset -= tx.count(counted.sql, counted.values).await?;
            } else if count > 0 {
                offset = 0;
            }
            conditions.push(Clause::new(
                "w.`owner_id` <> ? OR w.`owner_id` IS NULL",
                params![viewer],
            ));
        }
        if limit > 0 {
            conditions.extend(self.readable_worksheet(viewer));
            rows.extend(page(&mut tx, query, conditions, limit, offset).await?);
        }
        drop(tx);
        let uuids: Vec<_> = rows.iter().map(|row| row.uuid).collect();
        let mut permissions = self.group_permissions(ObjectKind::Worksheet, &uuids).await?;
        for row in &mut rows {
            row.group_permissions = permissions.remove(&row.uuid).unwrap_or_default();
        }
        Ok(rows)
    }

    async fn worksheet_condition(&self, viewer: Option<&str>, condition: &WorksheetCondition) -> Result<Clause> {
        use WorksheetCondition as C;
        let me = viewer.unwrap_or(NOBODY);
        Ok(match condition {
            C::UuidNameOrTitle(pattern) => {
                Clause::any(["uuid", "name", "title"].map(|column| matches(&format!("w.`{column}`"), pattern)))
            }
            C::Anywhere(pattern) => Clause::any(
                ["w.`uuid`", "w.`name`", "w.`title`"]
                    .map(|column| matches(column, pattern))
                    .into_iter()
                    .chain([matches("i.`value`", pattern).within(
                        "(SELECT 1 FROM `worksheet_item` i WHERE i.`worksheet_uuid` = w.`uuid` AND ",
                        " LIMIT 1) IS NOT NULL",
                    )]),
            ),
            C::Column(WorksheetColumn::OwnerId, comparison) => self.worksheet_owner(viewer, comparison),
            C::Column(WorksheetColumn::Uuid, comparison) => compare("w.`uuid`", &lowercase(comparison)),
            C::Column(column, comparison) => compare(&format!("w.`{}`", column.as_str()), comparison),
            C::Owner(name) => match self.user_by_name(name).await? {
                Some(user) => self.worksheet_owner(viewer, &Comparison::Equals(user.user_id.0)),
                None => Clause::never(),
            },
            C::Mine => Clause::new("w.`owner_id` = ?", params![me]),
            C::NotMine => Clause::new("w.`owner_id` <> ?", params![me]),
            C::Shared => shared_with(me),
            C::Group(spec) => readable_by(&self.resolve_group(spec, Some(me)).await?.uuid),
            C::Tag(comparison) => related("`worksheet_tag` r", "r.`tag`", comparison),
            C::Bundle(comparison) => related("`worksheet_item` r", "r.`bundle_uuid`", &lowercase(comparison)),
            C::Subworksheet(comparison) => {
                related("`worksheet_item` r", "r.`subworksheet_uuid`", &lowercase(comparison))
            }
        })
    }

    /// Owners of anonymous worksheets are not given away by searching for them.
    fn worksheet_owner(&self, viewer: Option<&str>, comparison: &Comparison) -> Clause {
        let owned = compare("w.`owner_id`", comparison);
        if self.is_root(viewer) {
            return owned;
        }
        let revealed = Clause::new(
            "w.`is_anonymous` = 0 OR w.`owner_id` = ?",
            params![viewer.unwrap_or(NOBODY)],
        );
        Clause::all([owned, revealed])
    }

    /// What others own and `viewer` may read; nothing to check for root.
    fn readable_worksheet(&self, viewer: Option<&str>) -> Option<Clause> {
        if self.is_root(viewer) {
            return None;
        }
        let groups = Clause::new(
            "SELECT 1 FROM `group_object_permission` p WHERE p.`object_uuid` = w.`uuid` AND p.`permission` >= 1 \
             AND (p.`group_uuid` = ? OR p.`group_uuid` IN (SELECT g.`group_uuid` FROM `user_group` g WHERE g.`user_id` = ?)) LIMIT 1",
            params![self.public_group(), viewer.unwrap_or("")],
        );
        Some(groups.within("(", ") IS NOT NULL"))
    }
}

/// One page of the worksheets for which all conditions hold.
async fn page(
    tx: &mut Tx,
    query: &WorksheetQuery,
    conditions: Vec<Clause>,
    limit: i64,
    offset: i64,
) -> Result<Vec<WorksheetRow>> {
    let order = if query.order.is_empty() {
        "w.`date_last_modified` DESC".to_owned()
    } else {
        let sorts = query.order.iter().map(|sort| {
            let direction = if sort.descending { "DESC" } else { "ASC" };
            format!("w.`{}` {direction}", sort.field.as_str())
        });
        sorts.collect::<Vec<_>>().join(", ")
    };
    let found = Clause::all(conditions)
        .within(
            "SELECT w.`id` FROM `worksheet` w WHERE ",
            &format!(" ORDER BY {order}, w.`name`, w.`id` LIMIT ? OFFSET ?"),
        )
        .then(Clause::new("", params![limit, offset.max(0)]));
    // Only ids are sorted; the rows of the page are looked up.
    let statement = found.within(
        "SELECT w.`id`, w.`uuid`, w.`name`, w.`title`, CAST(w.`frozen` AS CHAR), w.`is_anonymous`, w.`owner_id`, u.`user_name`, \
         CAST(w.`date_created` AS CHAR), CAST(w.`date_last_modified` AS CHAR) FROM (",
        &format!(
            ") f {join} `worksheet` w ON w.`id` = f.`id` LEFT JOIN `user` u ON u.`user_id` = w.`owner_id` \
             ORDER BY {order}, w.`name`, w.`id`",
            join = tx.engine().ordered_join()
        ),
    );
    tx.all(statement.sql, statement.values)
        .await?
        .into_iter()
        .map(worksheet_row)
        .collect()
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

/// A row of another table that names the worksheet compares.
fn related(table: &str, column: &str, comparison: &Comparison) -> Clause {
    compare(column, comparison).within(
        &format!("w.`uuid` IN (SELECT r.`worksheet_uuid` FROM {table} WHERE "),
        ")",
    )
}

fn readable_by(group: &domain::Uuid) -> Clause {
    Clause::new(
        "w.`uuid` IN (SELECT p.`object_uuid` FROM `group_object_permission` p WHERE p.`group_uuid` = ? AND p.`permission` >= 1)",
        params![group],
    )
}

/// Some group the user is a member of may read it; the public group has no members.
fn shared_with(viewer: &str) -> Clause {
    Clause::new(
        "w.`uuid` IN (SELECT p.`object_uuid` FROM `group_object_permission` p JOIN `user_group` g \
         ON g.`group_uuid` = p.`group_uuid` WHERE g.`user_id` = ? AND p.`permission` >= 1)",
        params![viewer],
    )
}
