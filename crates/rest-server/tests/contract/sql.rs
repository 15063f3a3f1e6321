//! The database beside the server: to prepare what no request can, and to see that a refused request changed nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

/// What a refused request may change: counters of attempts, and what the server keeps in step by itself.
const VOLATILE: &[&str] = &[
    "bundle_gram",
    "named_lock",
    "oauth2_auth_code",
    "oauth2_token",
    "rate_limit",
    "refinery_schema_history",
    "scheduler_lease",
    "search_position",
    "store_trash",
    "user_session",
];

pub struct Sql {
    connection: AnyConnection,
    sqlite: bool,
    tables: Vec<String>,
    /// The version of a SQLite database and what its tables were at it.
    seen: Option<(i64, BTreeMap<String, String>)>,
}

impl Sql {
    pub async fn connect(url: &str) -> Self {
        sqlx::any::install_default_drivers();
        Self {
            connection: AnyConnection::connect(url).await.unwrap(),
            sqlite: url.starts_with("sqlite"),
            tables: Vec::new(),
            seen: None,
        }
    }

    pub async fn run(&mut self, sql: &str) {
        self.connection
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }

    /// The first column of all rows.
    pub async fn texts(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.connection)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// A text per table that changes when any of its rows does.
    pub async fn fingerprint(&mut self) -> BTreeMap<String, String> {
        if self.tables.is_empty() {
            self.tables = self.list_tables().await;
        }
        if self.sqlite {
            self.sqlite_fingerprint().await
        } else {
            let tables: Vec<String> = self.tables.iter().map(|table| format!("`{table}`")).collect();
            let rows = sqlx::query(AssertSqlSafe(format!("CHECKSUM TABLE {}", tables.join(", "))))
                .fetch_all(&mut self.connection)
                .await
                .unwrap();
            let name = |row: &AnyRow| {
                row.get::<String, _>(0)
                    .rsplit('.')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            };
            rows.iter()
                .map(|row| (name(row), row.get::<i64, _>(1).to_string()))
                .collect()
        }
    }

    /// Reads the tables only when another connection has written since the last time.
    async fn sqlite_fingerprint(&mut self) -> BTreeMap<String, String> {
        let version: i64 = sqlx::query("PRAGMA data_version")
            .fetch_one(&mut self.connection)
            .await
            .unwrap()
            .get(0);
        if let Some((seen, tables)) = &self.seen
            && *seen == version
        {
            return tables.clone();
        }
        let mut found = BTreeMap::new();
        for table in self.tables.clone() {
            let columns = self
                .texts(&format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"))
                .await;
            let columns: Vec<String> = columns.iter().map(|column| format!("quote(`{column}`)")).collect();
            let sql = format!("SELECT {} FROM `{table}` ORDER BY 1", columns.join(" || '|' || "));
            let mut hasher = DefaultHasher::new();
            self.texts(&sql).await.hash(&mut hasher);
            found.insert(table, hasher.finish().to_string());
        }
        self.seen = Some((version, found.clone()));
        found
    }

    async fn list_tables(&mut self) -> Vec<String> {
        let sql = if self.sqlite {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        } else {
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() \
             AND table_type = 'BASE TABLE' ORDER BY table_name"
        };
        let tables = self.texts(sql).await.into_iter();
        tables.filter(|table| !VOLATILE.contains(&table.as_str())).collect()
    }
}
