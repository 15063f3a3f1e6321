//! Schema migrations, run at every start under a lock so that servers may start together (service section 23.1).
//!
//! | State of the database | What happens |
//! |---|---|
//! | no tables | all migrations run |
//! | own history (also an empty one: an interrupted first start) | pending migrations run |
//! | no own history, `alembic_version` is CodaLab 1.7.3 | verified, recorded as version 1, later migrations run |
//! | no own history, another `alembic_version` | refused: upgrade to 1.7.3 first |
//! | tables, but neither history | refused |
//! | history newer than this program | refused |

mod adopt;
mod repair;
mod session;

use domain::{Error, Result};
use refinery_core::{Migration, Runner, Target};

use self::session::Session;
use crate::db::{Db, Engine};

/// Where refinery keeps its history.
const HISTORY: &str = "refinery_schema_history";

/// The alembic revision of CodaLab 1.7.3.
const REVISION_1_7_3: &str = "db3ca94867b3";

/// Name and text of every migration.
const MYSQL: &[(&str, &str)] = &[
    (
        "V1__codalab_1_7_3.sql",
        include_str!("../../../../migrations/mysql/V1__codalab_1_7_3.sql"),
    ),
    (
        "V2__codalab_2.sql",
        include_str!("../../../../migrations/mysql/V2__codalab_2.sql"),
    ),
    (
        "V3__accounts.sql",
        include_str!("../../../../migrations/mysql/V3__accounts.sql"),
    ),
    (
        "V4__search.sql",
        include_str!("../../../../migrations/mysql/V4__search.sql"),
    ),
    (
        "V5__ledger.sql",
        include_str!("../../../../migrations/mysql/V5__ledger.sql"),
    ),
    (
        "V6__placement.sql",
        include_str!("../../../../migrations/mysql/V6__placement.sql"),
    ),
    (
        "V7__own_bundles.sql",
        include_str!("../../../../migrations/mysql/V7__own_bundles.sql"),
    ),
];
const SQLITE: &[(&str, &str)] = &[
    (
        "V1__codalab_1_7_3.sql",
        include_str!("../../../../migrations/sqlite/V1__codalab_1_7_3.sql"),
    ),
    (
        "V2__codalab_2.sql",
        include_str!("../../../../migrations/sqlite/V2__codalab_2.sql"),
    ),
    (
        "V3__accounts.sql",
        include_str!("../../../../migrations/sqlite/V3__accounts.sql"),
    ),
    (
        "V4__search.sql",
        include_str!("../../../../migrations/sqlite/V4__search.sql"),
    ),
    (
        "V5__ledger.sql",
        include_str!("../../../../migrations/sqlite/V5__ledger.sql"),
    ),
    (
        "V6__placement.sql",
        include_str!("../../../../migrations/sqlite/V6__placement.sql"),
    ),
    (
        "V7__own_bundles.sql",
        include_str!("../../../../migrations/sqlite/V7__own_bundles.sql"),
    ),
];

/// Brings the schema up to date, or says why that cannot be done.
pub(crate) async fn migrate(db: &Db) -> Result<()> {
    let mut session = Session::lock(db).await?;
    let result = migrate_locked(&mut session).await;
    session.unlock(result.is_ok()).await?;
    result
}

async fn migrate_locked(session: &mut Session) -> Result<()> {
    let migrations = migrations(session.engine())?;
    let tables = session.tables().await?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if has(HISTORY) {
        refuse_newer(session, &migrations).await?;
    } else if has("alembic_version") {
        adopt::adopt(session, &tables).await?;
        run(session, &migrations, Target::FakeVersion(1)).await?;
    } else if !tables.is_empty() {
        return Err(Error::internal(format!(
            "The database holds tables ({}) but neither a CodaLab history nor an alembic_version: it is not a CodaLab \
             database. Give an empty database.",
            tables.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
        )));
    }
    run(session, &migrations, Target::Latest).await?;
    repair::repair_if_adopted(session).await
}

async fn run(session: &mut Session, migrations: &[Migration], target: Target) -> Result<()> {
    // One migration after the other: each is recorded as soon as it is done.
    let report = Runner::new(migrations).set_target(target).run_async(session).await;
    let report = report.map_err(|error| Error::internal(format!("Cannot migrate the database: {}", causes(&error))))?;
    for migration in report.applied_migrations() {
        tracing::info!(%migration, "database schema migrated");
    }
    Ok(())
}

async fn refuse_newer(session: &mut Session, known: &[Migration]) -> Result<()> {
    let newest_known = known
        .iter()
        .map(|migration| i64::from(migration.version()))
        .max()
        .unwrap_or(0);
    let newest = session.count(&format!("SELECT MAX(version) FROM {HISTORY}")).await?;
    if newest > newest_known {
        return Err(Error::internal(format!(
            "The database has schema version {newest}, this program knows versions up to {newest_known}: it was used by \
             a newer CodaLab. Start that version, or restore a backup."
        )));
    }
    Ok(())
}

fn migrations(engine: Engine) -> Result<Vec<Migration>> {
    let files = match engine {
        Engine::Sqlite => SQLITE,
        Engine::MySql => MYSQL,
    };
    let migrations = files.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    migrations
        .collect::<Result<_, _>>()
        .map_err(|error| Error::internal(format!("Malformed migration: {error}")))
}

/// The statements of the newest version of a migration, for those who fill a database with samples.
pub(crate) fn statements_of(engine: Engine, name: &str) -> Vec<String> {
    let files = match engine {
        Engine::Sqlite => SQLITE,
        Engine::MySql => MYSQL,
    };
    let scripts = files.iter().filter(|(file, _)| *file == name);
    scripts.flat_map(|(_, script)| statements(script)).collect()
}

/// An error with everything that caused it; refinery hides the database's message in the source.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The statements of a script: comment lines dropped, split at semicolons that end a line. A line `BEGIN` begins a body
/// of a trigger, whose semicolons do not count, up to the line `END;`.
fn statements(script: &str) -> Vec<String> {
    let lines: Vec<&str> = script
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut in_body = false;
    for line in lines {
        in_body = (in_body || line == "BEGIN") && line != "END;";
        statement.push_str(line);
        if !in_body && line.ends_with(';') {
            statements.push(std::mem::take(&mut statement));
        } else {
            statement.push('\n');
        }
    }
    statements.push(statement);
    let texts = statements
        .iter()
        .map(|text| text.trim().trim_end_matches(';').to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_have_the_same_numbers_and_names() {
        let names = |files: &[(&'static str, &str)]| files.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names(MYSQL), names(SQLITE));
    }

    #[test]
    fn scripts_are_split_into_statements() {
        assert_eq!(
            statements("-- a;\nCREATE x (\n  y\n);\n\nINSERT z;\n"),
            ["CREATE x (\n  y\n)", "INSERT z"]
        );
        assert_eq!(
            statements("CREATE TRIGGER t\nBEGIN\n  a;\n  b;\nEND;\nx;\n"),
            ["CREATE TRIGGER t\nBEGIN\n  a;\n  b;\nEND", "x"]
        );
        assert_eq!(statements(MYSQL[0].1).len(), 25);
    }

    #[test]
    fn both_databases_get_the_same_tables_and_columns() {
        let columns = |files: &[(&'static str, &'static str)]| {
            let mut tables = std::collections::BTreeMap::new();
            for (_, sql) in files {
                tables.extend(adopt::expected_tables(sql));
            }
            tables.remove("worker_run"); // has its id from the start in SQLite
            tables
        };
        assert_eq!(columns(MYSQL), columns(SQLITE));
    }
}
