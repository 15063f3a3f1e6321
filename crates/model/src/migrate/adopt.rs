//! Taking over a CodaLab 1.7.3 database in place: its tables are compared with the baseline before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Error, Result};

use super::{HISTORY, MYSQL, REVISION_1_7_3, Session, statements};
use crate::db::Engine;

/// Columns by table.
type Columns = BTreeMap<String, BTreeSet<String>>;

/// Verifies that the database is CodaLab 1.7.3 and notes that it is taken over. The caller records version 1.
pub(super) async fn adopt(session: &mut Session, tables: &[String]) -> Result<()> {
    let mut revisions = session.rows("SELECT version_num FROM alembic_version").await?;
    let revision = match revisions.first_mut() {
        Some(row) => row.text()?,
        None => String::new(),
    };
    if revisions.len() != 1 || revision != REVISION_1_7_3 {
        return Err(Error::internal(format!(
            "The database belongs to CodaLab with schema revision '{revision}', but only CodaLab 1.7.3 (revision \
             {REVISION_1_7_3}) can be taken over. Upgrade it to 1.7.3 with CodaLab 1.7 first."
        )));
    }
    if session.engine() == Engine::Sqlite {
        return Err(Error::internal(
            "This SQLite database was made by CodaLab 1.7; only its MySQL databases can be taken over in place.",
        ));
    }
    let problems = problems(session, tables).await?;
    if !problems.is_empty() {
        return Err(Error::internal(format!(
            "The database says that it is CodaLab 1.7.3, but it differs: {}. Nothing was changed.",
            problems.join("; ")
        )));
    }
    tracing::info!("taking over a CodaLab 1.7.3 database");
    // Remembered before the history exists, so that an interrupted take-over is still finished as one.
    session
        .execute_one(
            "CREATE TABLE IF NOT EXISTS `setting` (`name` VARCHAR(63) NOT NULL, \
             `value` MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL, PRIMARY KEY (`name`)) ENGINE=InnoDB DEFAULT CHARSET=utf8",
        )
        .await?;
    session
        .execute_one("INSERT IGNORE INTO `setting` (`name`, `value`) VALUES ('repair_1_7', 'pending')")
        .await
}

/// What differs from the baseline: missing tables, columns, unique keys. Additional things are none of our business, and
/// a missing plain index only costs time.
async fn problems(session: &mut Session, tables: &[String]) -> Result<Vec<String>> {
    let expected = expected_tables(MYSQL[0].1);
    let found = found_columns(session).await?;
    let unique = unique_keys(session).await?;
    let mut problems = Vec::new();
    for (table, columns) in &expected {
        if !tables.contains(table) {
            problems.push(format!("table {table} is missing"));
            continue;
        }
        let nothing = BTreeSet::new();
        for column in columns.difference(found.get(table).unwrap_or(&nothing)) {
            problems.push(format!("column {table}.{column} is missing"));
        }
    }
    for (table, columns) in expected_unique_keys(MYSQL[0].1) {
        if tables.contains(&table) && !unique.contains(&(table.clone(), columns.clone())) {
            problems.push(format!("{table} has no unique key on ({columns})"));
        }
    }
    let indexes = index_prefixes(session).await?;
    for (table, columns) in expected_indexes(MYSQL[0].1) {
        let covered = indexes
            .iter()
            .any(|(t, c)| *t == table && (*c == columns || c.starts_with(&format!("{columns},"))));
        if tables.contains(&table) && !covered {
            tracing::warn!(
                table,
                columns,
                "the database lacks an index of CodaLab 1.7.3; queries may be slow"
            );
        }
    }
    problems.retain(|problem| !problem.contains(HISTORY));
    Ok(problems)
}

async fn found_columns(session: &mut Session) -> Result<Columns> {
    let sql = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()";
    let mut columns = Columns::new();
    for mut row in session.rows(sql).await? {
        columns.entry(row.text()?).or_default().insert(row.text()?);
    }
    Ok(columns)
}

async fn unique_keys(session: &mut Session) -> Result<BTreeSet<(String, String)>> {
    keys(session, "AND non_unique = 0").await
}

async fn index_prefixes(session: &mut Session) -> Result<BTreeSet<(String, String)>> {
    keys(session, "").await
}

async fn keys(session: &mut Session, condition: &str) -> Result<BTreeSet<(String, String)>> {
    let sql = format!(
        "SELECT table_name, GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ',') \
         FROM information_schema.statistics WHERE table_schema = DATABASE() {condition} GROUP BY table_name, index_name"
    );
    let rows = session.rows(&sql).await?;
    rows.into_iter().map(|mut row| Ok((row.text()?, row.text()?))).collect()
}

/// Tables and columns that a migration script makes.
pub(super) fn expected_tables(script: &str) -> Columns {
    let mut tables = Columns::new();
    for (table, lines) in definitions(script) {
        let columns = lines
            .iter()
            .filter(|line| line.starts_with('`'))
            .filter_map(|line| quoted(line))
            .collect();
        tables.insert(table, columns);
    }
    tables
}

fn expected_unique_keys(script: &str) -> Vec<(String, String)> {
    expected_keys(script, &["PRIMARY KEY", "UNIQUE KEY"])
}

fn expected_indexes(script: &str) -> Vec<(String, String)> {
    expected_keys(script, &["KEY"])
}

fn expected_keys(script: &str, kinds: &[&str]) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    for (table, lines) in definitions(script) {
        for line in lines
            .iter()
            .filter(|line| kinds.iter().any(|kind| line.starts_with(kind)))
        {
            let list = line.find('(').map_or("", |start| &line[start + 1..]);
            let names: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
            keys.push((table.clone(), names.join(",")));
        }
    }
    keys
}

/// Name and definition lines of each `CREATE TABLE`.
fn definitions(script: &str) -> Vec<(String, Vec<String>)> {
    let mut tables = Vec::new();
    for statement in statements(script) {
        let Some(rest) = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ") else {
            continue;
        };
        let Some(name) = quoted(rest) else { continue };
        let lines = rest
            .lines()
            .skip(1)
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.starts_with(')'));
        tables.push((name, lines.collect()));
    }
    tables
}

/// The first name in backquotes.
fn quoted(text: &str) -> Option<String> {
    text.split('`').nth(1).map(ToOwned::to_owned)
}
