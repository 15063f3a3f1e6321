//! Plain SQL beside the model, to look at and to prepare databases.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

pub struct Sql(AnyConnection);

impl Sql {
    pub async fn connect(url: &str) -> Self {
        sqlx::any::install_default_drivers();
        let url = if url.starts_with("sqlite") {
            format!("{url}?mode=rwc")
        } else {
            url.to_owned()
        };
        Self(AnyConnection::connect(&url).await.unwrap())
    }

    pub async fn run(&mut self, sql: &str) {
        self.0
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }

    pub async fn number(&mut self, sql: &str) -> i64 {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut self.0)
            .await
            .unwrap()
            .get(0)
    }

    pub async fn text(&mut self, sql: &str) -> String {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut self.0)
            .await
            .unwrap()
            .get(0)
    }

    pub async fn close(self) {
        self.0.close().await.unwrap();
    }
}
