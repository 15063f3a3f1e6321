//! The database beside the server: to prepare what no request can, and to see that a refused request changed nothing.

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

pub struct Sql {
    connection: AnyConnection,
    sqlite: bool,
    columns: HashMap<String, Vec<String>>,
}

impl Sql {
    pub async fn connect(url: &str) -> Self {
        sqlx::any::install_default_drivers();
        Self {
            connection: AnyConnection::connect(url).await.unwrap(),
            sqlite: url.starts_with("sqlite"),
            columns: HashMap::new(),
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

    /// The tables of the server.
    pub async fn tables(&mut self) -> Vec<String> {
        let sql = if self.sqlite {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        } else {
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() \
             AND table_type = 'BASE TABLE' ORDER BY table_name"
        };
        self.texts(sql).await
    }

    /// All rows of a table as text, in no particular order but always the same.
    pub async fn dump(&mut self, table: &str) -> Vec<String> {
        if !self.columns.contains_key(table) {
            let columns = self.columns_of(table).await;
            self.columns.insert(table.to_owned(), columns);
        }
        let columns: Vec<String> = self.columns[table]
            .iter()
            .map(|column| format!("COALESCE(HEX(`{column}`), '-')"))
            .collect();
        let row = if self.sqlite {
            columns.join(" || '|' || ")
        } else {
            format!("CAST(CONCAT_WS('|', {}) AS CHAR)", columns.join(", "))
        };
        self.texts(&format!("SELECT {row} AS `text` FROM `{table}` ORDER BY 1")).await
    }

    async fn columns_of(&mut self, table: &str) -> Vec<String> {
        let sql = if self.sqlite {
            format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid")
        } else {
            format!(
                "SELECT CAST(column_name AS CHAR) FROM information_schema.columns WHERE table_schema = DATABASE() \
                 AND table_name = '{table}' ORDER BY ordinal_position"
            )
        };
        self.texts(&sql).await
    }
}
