//! User search (data-model section 16.4).

use domain::{Error, Result, UtcTime};

use super::UserSearch;
use super::keyword::{Clause, Keyword, Paging, Wanted, contains, formatted, moment, number};
use crate::Model;
use crate::db::params;

/// Columns that root may use as keys; the numeric ones are compared and sorted as numbers by the database anyway.
const KEYS: [&str; 14] = [
    "id",
    "user_id",
    "user_name",
    "email",
    "last_login",
    "first_name",
    "last_name",
    "affiliation",
    "time_quota",
    "parallel_run_quota",
    "time_used",
    "disk_quota",
    "disk_used",
    "date_joined",
];

/// Keys that everybody may use.
const OPEN_KEYS: [&str; 10] = [
    "",
    ".limit",
    ".offset",
    ".format",
    ".joined_before",
    ".joined_after",
    "user_name",
    "first_name",
    "last_name",
    "affiliation",
];

#[derive(Debug, Default)]
struct Query {
    conditions: Vec<Clause>,
    order: Vec<String>,
    paging: Paging,
    count: bool,
    format: Option<String>,
}

impl Model {
    /// Searches active accounts as `viewer`. 403 when somebody other than root uses a reserved keyword.
    pub async fn search_users(&self, viewer: &str, keywords: &[String]) -> Result<UserSearch> {
        let mut query = Query::default();
        for keyword in keywords {
            match keyword.as_str() {
                ".last" => query.order.insert(0, "u.id DESC".to_owned()),
                ".count" => query.count = true,
                _ => match Keyword::parse(keyword) {
                    Keyword::Word(word) => query.conditions.push(anywhere(&word)),
                    Keyword::Pair { key, value } => {
                        self.check_open(viewer, &key)?;
                        query.add(&key, &value)?;
                    }
                },
            }
        }
        query.conditions.push(Clause::new("u.is_active <> 0", params![]));
        self.found_users(query).await
    }

    fn check_open(&self, viewer: &str, key: &str) -> Result<()> {
        if self.is_root(Some(viewer)) || OPEN_KEYS.contains(&key) {
            return Ok(());
        }
        Err(Error::permission(format!(
            "You don't have access to search for users by '{key}'; ask an administrator."
        )))
    }

    async fn found_users(&self, query: Query) -> Result<UserSearch> {
        let conditions = Clause::all(query.conditions);
        if query.count {
            let statement = conditions.within("SELECT COUNT(*) FROM `user` u WHERE ", "");
            let mut tx = self.db.read().await?;
            let count = tx.count(statement.sql, statement.values).await?;
            return Ok(UserSearch::Value(formatted(count.into(), query.format.as_deref())));
        }
        let mut statement = conditions.within("SELECT u.user_id FROM `user` u WHERE ", " ORDER BY ");
        for order in &query.order {
            statement.sql.push_str(order);
            statement.sql.push_str(", ");
        }
        statement.sql.push_str("u.id LIMIT ? OFFSET ?");
        statement
            .values
            .extend(params![query.paging.limit, query.paging.offset]);
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

impl Query {
    fn add(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "" => self.conditions.push(anywhere(value)),
            ".limit" => self.paging.limit = number(key, value)?,
            ".offset" => self.paging.offset = number(key, value)?,
            ".format" => self.format = Some(value.to_owned()),
            ".joined_before" => self.time("date_joined", "<=", value)?,
            ".joined_after" => self.time("date_joined", ">=", value)?,
            ".active_before" => self.time("last_login", "<=", value)?,
            ".active_after" => self.time("last_login", ">=", value)?,
            ".disk_used_less_than" => self.share("disk", "<=", value)?,
            ".disk_used_more_than" => self.share("disk", ">=", value)?,
            ".time_used_less_than" => self.share("time", "<=", value)?,
            ".time_used_more_than" => self.share("time", ">=", value)?,
            _ if KEYS.contains(&key) => match Wanted::parse(value) {
                Wanted::Sort { descending } => {
                    let direction = if descending { "DESC" } else { "ASC" };
                    self.order.insert(0, format!("u.{key} {direction}"));
                }
                Wanted::Sum => return Err(Error::usage("User search has no .sum")),
                Wanted::Where(condition) => self.conditions.push(condition.sql(&format!("u.{key}"))),
            },
            _ => return Err(Error::usage(format!("Unknown key: {key}"))),
        }
        Ok(())
    }

    fn time(&mut self, column: &str, operator: &str, value: &str) -> Result<()> {
        let time = UtcTime::from_unix(moment(value)?);
        self.conditions
            .push(Clause::new(format!("u.{column} {operator} ?"), params![time]));
        Ok(())
    }

    /// Used divided by quota, as `70%` or `0.7`.
    fn share(&mut self, what: &str, operator: &str, value: &str) -> Result<()> {
        let number = match value.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
            None => value.trim().parse::<f64>(),
        };
        let Some(share) = number.ok().filter(|share| share.is_finite()) else {
            return Err(Error::usage(format!("'{value}' is not a share: write 70% or 0.7.")));
        };
        let sql = format!("u.{what}_used {operator} ? * u.{what}_quota");
        self.conditions.push(Clause::new(sql, params![share]));
        Ok(())
    }
}

fn anywhere(word: &str) -> Clause {
    let pattern = contains(word);
    let columns = ["user_id", "user_name", "first_name", "last_name"];
    Clause::any(
        columns
            .map(|column| Clause::new(format!("u.{column} LIKE ? ESCAPE '|'"), params![pattern.as_str()]))
            .into(),
    )
}
