//! User search (data-model section 16.4). Accounts are few: no index is needed beyond those that identify them.

use domain::search::{Bound, Pattern, Resource, UserCondition, UserQuery};
use domain::{Result, UtcTime};

use super::UserSearch;
use super::sql::{Clause, compare, matches};
use crate::Model;
use crate::db::params;

impl Model {
    /// Searches active accounts. Who may ask for what was decided when the query was read.
    pub async fn search_users(&self, query: &UserQuery) -> Result<UserSearch> {
        let active = Clause::new("u.`is_active` <> 0", params![]);
        let conditions = Clause::all(query.conditions.iter().map(condition).chain([active]));
        if query.count {
            let statement = conditions.within("SELECT COUNT(*) FROM `user` u WHERE ", "");
            let mut tx = self.db.read().await?;
            return Ok(UserSearch::Value(
                tx.count(statement.sql, statement.values).await?.into(),
            ));
        }
        let mut statement = conditions.within("SELECT u.`user_id` FROM `user` u WHERE ", " ORDER BY ");
        for sort in &query.order {
            let direction = if sort.descending { "DESC" } else { "ASC" };
            let order = format!("u.`{}` {direction}, ", sort.field.as_str());
            statement = statement.then(Clause::new(order, params![]));
        }
        let paging = query.paging;
        let statement = statement.then(Clause::new(
            "u.`id` LIMIT ? OFFSET ?",
            params![paging.limit, paging.offset],
        ));
        let mut ids = Vec::new();
        {
            let mut tx = self.db.read().await?;
            for mut row in tx.all(statement.sql, statement.values).await? {
                ids.push(row.user_id()?);
            }
        }
        let names: Vec<&str> = ids.iter().map(domain::UserId::as_str).collect();
        let mut users = self.users(&names).await?;
        Ok(UserSearch::Users(
            ids.iter().filter_map(|id| users.remove(id)).collect(),
        ))
    }
}

fn condition(condition: &UserCondition) -> Clause {
    match condition {
        UserCondition::Name(pattern) => named(pattern),
        UserCondition::Field(field, comparison) => compare(&format!("u.`{}`", field.as_str()), comparison),
        UserCondition::Time(field, bound, time) => Clause::new(
            format!("u.`{}` {} ?", field.as_str(), operator(*bound)),
            params![UtcTime::from_unix(*time)],
        ),
        UserCondition::Share(resource, bound, share) => {
            let what = match resource {
                Resource::Disk => "disk",
                Resource::Time => "time",
            };
            let sql = format!("u.`{what}_used` {} ? * u.`{what}_quota`", operator(*bound));
            Clause::new(sql, params![*share])
        }
    }
}

fn operator(bound: Bound) -> &'static str {
    match bound {
        Bound::AtMost => "<=",
        Bound::AtLeast => ">=",
    }
}

fn named(pattern: &Pattern) -> Clause {
    let columns = ["user_id", "user_name", "first_name", "last_name"];
    Clause::any(columns.map(|column| matches(&format!("u.`{column}`"), pattern)))
}
