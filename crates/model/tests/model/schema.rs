//! Opening databases: migrations, the lock around them, and what is refused.

use model::Model;
use testkit::{Engine, TestDatabase};

use crate::fixture::{options, refused};
use crate::sql::Sql;

/// How many migrations there are.
pub fn migrations() -> i64 {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/mysql"));
    i64::try_from(files.unwrap().count()).unwrap()
}

async fn fresh(engine: Engine) -> TestDatabase {
    tokio::task::spawn_blocking(move || engine.fresh()).await.unwrap()
}

async fn servers_that_start_together_migrate_once(engine: Engine) {
    let database = fresh(engine).await;
    let options = options();
    let starts = (0..4).map(|_| Model::connect(database.url(), &options));
    let models = futures::future::try_join_all(starts).await.unwrap();
    let public = models[0].public_group();
    for model in &models {
        assert_eq!(model.public_group(), public);
        model.ping().await.unwrap();
    }
    futures::future::join_all(models.iter().map(Model::close)).await;
    let mut sql = Sql::connect(database.url()).await;
    assert_eq!(
        sql.number("SELECT COUNT(*) FROM refinery_schema_history").await,
        migrations()
    );
    assert_eq!(sql.number("SELECT COUNT(*) FROM `group`").await, 1);
    assert_eq!(sql.number("SELECT COUNT(*) FROM oauth2_client").await, 2);
    assert_eq!(
        sql.text("SELECT version_num FROM alembic_version").await,
        "db3ca94867b3"
    );
    sql.close().await;
}

async fn foreign_and_newer_databases_are_refused(engine: Engine) {
    let database = fresh(engine).await;
    let mut sql = Sql::connect(database.url()).await;
    sql.run("CREATE TABLE cats (id INTEGER)").await;
    let (_, text) = refused(Model::connect(database.url(), &options()).await.map(drop));
    assert!(text.contains("not a CodaLab database"), "{text}");
    sql.run("DROP TABLE cats").await;

    let model = Model::connect(database.url(), &options()).await.unwrap();
    model.close().await;
    sql.run("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (99, 'x', '2099-01-01T00:00:00Z', '1')").await;
    let (_, text) = refused(Model::connect(database.url(), &options()).await.map(drop));
    assert!(text.contains("schema version 99"), "{text}");
    sql.close().await;
}

async fn an_interrupted_first_start_is_finished(engine: Engine) {
    let database = fresh(engine).await;
    let model = Model::connect(database.url(), &options()).await.unwrap();
    model.close().await;
    let mut sql = Sql::connect(database.url()).await;
    // As if the process had ended in the middle of the second migration.
    sql.run("DELETE FROM refinery_schema_history WHERE version >= 2").await;
    match engine {
        Engine::Mariadb => sql.run("DROP TABLE store_trash").await,
        // SQLite rolls an interrupted migration back, so nothing of it can be there.
        Engine::Sqlite => return sql.close().await,
    }
    let model = Model::connect(database.url(), &options()).await.unwrap();
    assert!(model.trash(10).await.unwrap().is_empty());
    model.close().await;
    sql.close().await;
}

async fn an_older_codalab_is_refused(engine: Engine) {
    let database = fresh(engine).await;
    let mut sql = Sql::connect(database.url()).await;
    sql.run("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        .await;
    sql.run("INSERT INTO alembic_version VALUES ('0123456789ab')").await;
    let (_, text) = refused(Model::connect(database.url(), &options()).await.map(drop));
    assert!(text.contains("0123456789ab") && text.contains("1.7.3"), "{text}");
    sql.run("UPDATE alembic_version SET version_num = 'db3ca94867b3'").await;
    let (_, text) = refused(Model::connect(database.url(), &options()).await.map(drop));
    assert!(
        text.contains("table bundle is missing") || text.contains("SQLite"),
        "{text}"
    );
    sql.close().await;
}

macro_rules! engines {
    ($($name:ident)*) => { $(mod $name {
        #[tokio::test(flavor = "multi_thread")]
        async fn sqlite() { super::$name(testkit::Engine::Sqlite).await; }
        #[tokio::test(flavor = "multi_thread")]
        async fn mariadb() { super::$name(testkit::Engine::Mariadb).await; }
    })* };
}
engines! {
    servers_that_start_together_migrate_once
    foreign_and_newer_databases_are_refused
    an_interrupted_first_start_is_finished
    an_older_codalab_is_refused
}

#[tokio::test]
async fn a_database_in_memory_works_and_odd_addresses_do_not() {
    let model = Model::connect("sqlite::memory:", &options()).await.unwrap();
    model.create_group("g", "0").await.unwrap_err(); // no such user: the foreign key holds
    model.ping().await.unwrap();
    for bad in ["", "postgres://x/y", "sqlite:///no/such/directory/x.db"] {
        assert!(Model::connect(bad, &options()).await.is_err(), "{bad}");
    }
}
