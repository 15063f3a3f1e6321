//! The differences between SQLite and MySQL, each named once, and the pieces that lists of values need. Everything else
//! is one SQL text for both: names in backquotes, `?` placeholders, dates selected as `CAST(… AS CHAR)`.

use domain::Result;

use crate::db::{Engine, Row, Tx, Value};

/// Most values in one `IN (…)` list, and most rows in one INSERT.
pub(crate) const CHUNK: usize = 500;

/// An INSERT of up to so many rows is kept prepared.
const FEW: usize = 8;

/// The unique index of bundles by uuid.
pub(crate) const BUNDLE_UUID: &str = "uix_1";

impl Engine {
    /// The start of an INSERT that leaves existing rows alone.
    pub(crate) fn insert_ignore(self) -> &'static str {
        match self {
            Self::Sqlite => "INSERT OR IGNORE INTO",
            Self::MySql => "INSERT IGNORE INTO",
        }
    }

    /// What follows the values of an INSERT so that the row with the same key is changed instead; assignments follow, in
    /// which a column means the row that exists.
    pub(crate) fn on_conflict(self, key: &str) -> String {
        match self {
            Self::Sqlite => format!(" ON CONFLICT (`{key}`) DO UPDATE SET"),
            Self::MySql => " ON DUPLICATE KEY UPDATE".to_owned(),
        }
    }

    /// What follows the values of an INSERT so that the row with the same key gets these new values instead.
    pub(crate) fn on_conflict_update(self, key: &str, columns: &[&str]) -> String {
        let (start, set): (String, fn(&str) -> String) = match self {
            Self::Sqlite => (format!(" ON CONFLICT ({key}) DO UPDATE SET "), |column| {
                format!("`{column}` = excluded.`{column}`")
            }),
            Self::MySql => (" ON DUPLICATE KEY UPDATE ".to_owned(), |column| {
                format!("`{column}` = VALUES(`{column}`)")
            }),
        };
        let assignments: Vec<_> = columns.iter().map(|column| set(column)).collect();
        start + &assignments.join(", ")
    }

    /// The same where the new value is added to the old one.
    pub(crate) fn on_conflict_add(self, key: &str, table: &str, column: &str) -> String {
        match self {
            Self::Sqlite => {
                format!(" ON CONFLICT ({key}) DO UPDATE SET `{column}` = `{table}`.`{column}` + excluded.`{column}`")
            }
            Self::MySql => {
                format!(" ON DUPLICATE KEY UPDATE `{column}` = `{table}`.`{column}` + VALUES(`{column}`)")
            }
        }
    }

    /// Appended to a SELECT whose rows must not change until the transaction ends. SQLite has one writer anyway.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::MySql => " FOR UPDATE",
        }
    }

    /// The join whose tables are read in the order they are written.
    pub(crate) fn ordered_join(self) -> &'static str {
        match self {
            Self::Sqlite => "CROSS JOIN",
            Self::MySql => "STRAIGHT_JOIN",
        }
    }

    /// After a table's alias: read it through this index and no other.
    pub(crate) fn by_index(self, index: &str) -> String {
        match self {
            // SQLite names the indexes of constraints itself.
            Self::Sqlite if index == BUNDLE_UUID => " INDEXED BY `sqlite_autoindex_bundle_1`".to_owned(),
            Self::Sqlite => format!(" INDEXED BY `{index}`"),
            Self::MySql => format!(" FORCE INDEX (`{index}`)"),
        }
    }

    /// After a table's alias: read it in the order of its ids.
    pub(crate) fn by_id(self) -> &'static str {
        match self {
            Self::Sqlite => " NOT INDEXED",
            Self::MySql => " FORCE INDEX (PRIMARY)",
        }
    }

    /// A random uuid for the row with this number.
    pub(crate) fn random_uuid(self, number: &str) -> String {
        match self {
            Self::Sqlite => "CONCAT('0x', LOWER(HEX(RANDOMBLOB(16))))".to_owned(),
            Self::MySql => format!("CONCAT('0x', MD5(CONCAT(RAND(), {number})))"),
        }
    }

    /// Drops an index.
    pub(crate) fn drop_index(self, table: &str, index: &str) -> String {
        match self {
            Self::Sqlite => format!("DROP INDEX `{index}`"),
            Self::MySql => format!("DROP INDEX `{index}` ON `{table}`"),
        }
    }

    /// Brings the planner's statistics up to date.
    pub(crate) fn analyze(self) -> &'static str {
        match self {
            Self::Sqlite => "ANALYZE",
            Self::MySql => {
                "ANALYZE TABLE `bundle`, `bundle_metadata`, `bundle_dependency`, `bundle_gram`, `worksheet`, `worksheet_item`, \
                 `group_bundle_permission`, `group_object_permission`"
            }
        }
    }

    /// Before a statement: how it would be executed, instead of executing it.
    pub(crate) fn explain(self) -> &'static str {
        match self {
            Self::Sqlite => "EXPLAIN QUERY PLAN ",
            Self::MySql => "EXPLAIN ",
        }
    }

    /// A whole number made of a text.
    pub(crate) fn integer(self, text: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST({text} AS INTEGER)"),
            Self::MySql => format!("CAST({text} AS SIGNED)"),
        }
    }
}

/// `(?, ?, …)` with this many placeholders.
pub(crate) fn list(count: usize) -> String {
    format!("({})", vec!["?"; count].join(", "))
}

/// Rows to insert, each made when its turn comes.
pub(crate) type Rows<'a> = Box<dyn Iterator<Item = Vec<Value>> + Send + 'a>;

impl Tx {
    /// Runs a query once per 500 values and gives all rows. `{in}` in the text becomes the list; `before` and `after`
    /// are the values bound before and after it.
    pub(crate) async fn all_in<T: Clone + Into<Value>>(
        &mut self,
        sql: &str,
        before: &[Value],
        values: &[T],
        after: &[Value],
    ) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for chunk in values.chunks(CHUNK) {
            let bound = bind_list(before, chunk, after);
            let text = sql.replace("{in}", &list(bound.len() - before.len() - after.len()));
            rows.extend(self.all(text, bound).await?);
        }
        Ok(rows)
    }

    /// Runs a query once per 500 values, in which the list `{in}` stands `lists` times, after these values; gives each row to
    /// `take` as it arrives.
    pub(crate) async fn each_in<T: Clone + Into<Value>>(
        &mut self,
        sql: &str,
        before: &[Value],
        values: &[T],
        lists: usize,
        take: &mut (dyn FnMut(Row) -> Result<()> + Send),
    ) -> Result<()> {
        for chunk in values.chunks(CHUNK) {
            let one = bind_list(&[], chunk, &[]);
            let text = sql.replace("{in}", &list(one.len()));
            let bound = before.iter().chain(std::iter::repeat_n(&one, lists).flatten()).cloned();
            self.each(text, bound.collect(), take).await?;
        }
        Ok(())
    }

    /// The same for a statement that changes rows; gives their number.
    pub(crate) async fn run_in<T: Clone + Into<Value>>(
        &mut self,
        sql: &str,
        before: &[Value],
        values: &[T],
        after: &[Value],
    ) -> Result<u64> {
        let mut count = 0;
        for chunk in values.chunks(CHUNK) {
            let bound = bind_list(before, chunk, after);
            let text = sql.replace("{in}", &list(bound.len() - before.len() - after.len()));
            count += self.run(text, bound).await?;
        }
        Ok(count)
    }

    /// Inserts rows, 500 per statement. `head` is everything before `VALUES`.
    pub(crate) async fn insert_rows(&mut self, head: &str, rows: Rows<'_>) -> Result<()> {
        let mut rows = rows.peekable();
        while let Some(first) = rows.peek() {
            let width = first.len();
            let most = CHUNK.min(30_000 / width.max(1));
            let (mut count, mut values) = (0, Vec::new());
            for row in rows.by_ref().take(most) {
                values.extend(row);
                count += 1;
            }
            let tuples = vec![list(width); count].join(", ");
            let sql = format!("{head} VALUES {tuples}");
            // Other numbers of rows hardly come again, and a prepared statement of hundreds of rows is large.
            if count == most || count <= FEW {
                self.run(sql, values).await?;
            } else {
                self.run_unprepared(sql, values).await?;
            }
        }
        Ok(())
    }

    /// Waits until no other transaction holds this row of `named_lock`, and holds it until the end. For checks that no
    /// unique index can make.
    pub(crate) async fn lock_name(&mut self, name: &str) -> Result<()> {
        let sql = format!(
            "SELECT `name` FROM `named_lock` WHERE `name` = ?{}",
            self.engine().for_update()
        );
        self.all(sql, vec![name.into()]).await.map(drop)
    }
}

/// Pads the list to a power of two by repeating its last value, so that few different statements are prepared.
fn bind_list<T: Clone + Into<Value>>(before: &[Value], chunk: &[T], after: &[Value]) -> Vec<Value> {
    let size = chunk.len().next_power_of_two();
    let padding = chunk.last().into_iter().cycle().take(size - chunk.len());
    let list = chunk.iter().chain(padding).cloned().map(Into::into);
    before
        .iter()
        .cloned()
        .chain(list)
        .chain(after.iter().cloned())
        .collect()
}
