//! Taking over a CodaLab 1.7.3 database: nothing is lost, what was stored wrongly is repaired, old logins keep working.

use domain::{BundleState, BundleType, Permission, Uuid};
use model::{Model, ObjectKind};
use testkit::{Engine, TestDatabase};

use crate::derived::assert_derived;
use crate::fixture::{NOW, dataset, options, refused};
use crate::schema::migrations;
use crate::sql::Sql;

/// Tables and the rows that remain of them: duplicates of pairs become one.
const ROWS: [(&str, i64); 24] = [
    ("alembic_version", 1),
    ("bundle", 4),
    ("bundle_dependency", 2),
    ("bundle_location", 1),
    ("bundle_metadata", 14),
    ("bundle_store", 1),
    ("chat", 1),
    ("group", 2),
    ("group_bundle_permission", 2),
    ("group_object_permission", 1),
    ("oauth2_auth_code", 1),
    ("oauth2_client", 2),
    ("oauth2_token", 1),
    ("user", 2),
    ("user_group", 2),
    ("user_reset_code", 1),
    ("user_verification", 1),
    ("worker", 1),
    ("worker_dependency", 1),
    ("worker_run", 1),
    ("worker_socket", 1),
    ("worksheet", 2),
    ("worksheet_item", 6),
    ("worksheet_tag", 2),
];

/// The old database. `\xhh` in its text are bytes that CodaLab 1.7 sent over a Latin-1 connection.
async fn old_database() -> (TestDatabase, Sql) {
    let database = tokio::task::spawn_blocking(|| Engine::Mariadb.fresh()).await.unwrap();
    let mut sql = Sql::connect(database.url()).await;
    sql.run(&double_encode(include_str!("codalab_1_7_3.sql"))).await;
    (database, sql)
}

/// Each `\xhh` becomes the character that MySQL's latin1 has for that byte.
fn double_encode(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut result = parts.next().unwrap().to_owned();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).unwrap();
        result.push(match byte {
            0x80 => '€',
            0x82 => '‚',
            0x87 => '‡',
            0x96 => '–',
            0x98 => '˜',
            0x9f => 'Ÿ',
            other => char::from(other),
        });
        result.push_str(&part[2..]);
    }
    result
}

fn uuid(digit: &str) -> Uuid {
    Uuid::parse(&format!("0x{digit:0>32}")).unwrap()
}

fn repeated(digit: &str) -> Uuid {
    Uuid::parse(&format!("0x{}", digit.repeat(32))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_the_take_over() {
    let (database, mut sql) = old_database().await;
    let model = Model::connect(database.url(), &options()).await.unwrap();
    for (table, rows) in ROWS {
        assert_eq!(
            sql.number(&format!("SELECT COUNT(*) FROM `{table}`")).await,
            rows,
            "{table}"
        );
    }
    assert_eq!(
        sql.text("SELECT version_num FROM alembic_version").await,
        "db3ca94867b3"
    );
    assert_eq!(model.public_group().as_str(), "0x41e95d8592de417cbb726085d6986137");

    assert_derived(&mut sql).await;
    accounts_work(&model).await;
    bundles_are_read(&model).await;
    worksheets_are_read_and_repaired(&model).await;

    let worker = &model.workers().await.unwrap()[0];
    assert_eq!(
        (worker.key.worker_id.as_str(), worker.tag.as_deref(), worker.cpus_in_use),
        ("lab(1)", Some("gpu"), 2)
    );
    assert_eq!(
        (worker.run_uuids.as_slice(), worker.dependencies.len()),
        ([uuid("3")].as_slice(), 1)
    );
    model.close().await;

    // A second start changes nothing, and what was repaired is not repaired again.
    let model = Model::connect(database.url(), &options()).await.unwrap();
    assert_eq!(
        model.worksheet(repeated("4")).await.unwrap().title.as_deref(),
        Some("Café 😀")
    );
    assert_eq!(
        sql.number("SELECT COUNT(*) FROM refinery_schema_history").await,
        migrations()
    );
    model.close().await;
    sql.close().await;
}

async fn accounts_work(model: &Model) {
    let ada = model.check_credentials("ada", "hello", NOW).await.unwrap().unwrap();
    assert_eq!((ada.user_id.as_str(), ada.first_name.as_deref()), ("17", Some("José")));
    assert_eq!(ada.date_joined.sql(), "2021-02-03 04:05:06");
    // The old column had lost the last digits; now it is the sum over the bundles.
    assert_eq!(ada.quota.disk_used as i64, 123_456_789 + 11);
    assert_eq!(ada.quota.disk_quota as i64, 107_374_182_400);
    assert!((ada.quota.time_used - 12345.5).abs() < 1e-9);
    let token = "AbCdEfGhIjKlMnOpQrStUvWxYz0123";
    assert_eq!(model.authenticate(token, NOW).await.unwrap().unwrap().user_id, "17");
    assert!(model.authenticate(&token.to_lowercase(), NOW).await.unwrap().is_none());
    let refreshed = model
        .refresh_token("codalab_cli_client", "zYxWvUtSrQpOnMlKjIhGfEdCbA3210", NOW)
        .await
        .unwrap();
    assert_eq!(refreshed.unwrap().user_id, "17");
    let team = model.group(repeated("2")).await.unwrap();
    assert_eq!(
        team.members
            .iter()
            .map(|m| (m.user_id.as_str(), m.is_admin))
            .collect::<Vec<_>>(),
        [("17", true), ("0", false)]
    );
    let have = model
        .permissions_of(ObjectKind::Bundle, Some("0"), &[uuid("1")])
        .await
        .unwrap();
    assert_eq!(have, [Permission::All]);
}

async fn bundles_are_read(model: &Model) {
    let bundles = model.bundles(&["1", "2", "3", "7"].map(uuid)).await.unwrap();
    let corpus = &bundles[0].bundle;
    assert_eq!(
        (corpus.name(), corpus.metadata.list("tags")),
        ("corpus", vec!["b", "a"])
    );
    assert_eq!(
        (corpus.metadata.int("data_size"), corpus.frozen.unwrap().sql()),
        (123_456_789, "2022-02-02 02:02:02".into())
    );
    assert_eq!(corpus.metadata.str("description"), "na??ve");
    let program = &bundles[1].bundle;
    assert_eq!(
        (
            program.bundle_type,
            program.is_anonymous,
            program.metadata.int("data_size")
        ),
        (BundleType::Program, true, 11)
    );
    assert_eq!(program.storage_type.as_deref(), Some("azure_blob"));
    let run = &bundles[2];
    assert_eq!(
        (run.bundle.state, run.bundle.command.as_deref()),
        (BundleState::Running, Some("python x.py"))
    );
    assert_eq!(run.bundle.dependencies.len(), 2);
    assert_eq!(run.parents[0].name.as_deref(), Some("corpus"));
    assert_eq!(
        (
            run.parents[1].name.as_ref(),
            run.bundle.dependencies[1].parent_path.as_str()
        ),
        (None, "x/y")
    );
    assert_eq!(bundles[3].id, 7);
    let locations = model.locations(&[uuid("2")]).await.unwrap();
    assert_eq!(
        (locations[&uuid("2")].len(), locations[&uuid("2")][0].name.as_str()),
        (1, "blob")
    );
    assert_eq!(
        model.resolve_bundle(Some("17"), None, "corpus").await.unwrap(),
        uuid("1")
    );
}

async fn worksheets_are_read_and_repaired(model: &Model) {
    let home = model.worksheet(repeated("4")).await.unwrap();
    assert_eq!(home.title.as_deref(), Some("Café 😀"));
    assert_eq!(
        (home.tags, home.date_created),
        (vec!["paper".to_owned(), "data".to_owned()], None)
    );
    let items = model.worksheet_items(repeated("4")).await.unwrap();
    // Equal keys (12 and 13 had 3, before the rows without a key) were spread in the same order.
    assert_eq!(
        items.iter().map(|item| (item.id, item.sort_key)).collect::<Vec<_>>(),
        [(12, 0), (13, 1), (10, 2), (11, 3)]
    );
    assert_eq!(items[2].item.value, "中文 €");
    let icy = model.worksheet_items(repeated("5")).await.unwrap();
    assert_eq!(
        icy.iter().map(|item| (item.id, item.sort_key)).collect::<Vec<_>>(),
        [(14, 0), (15, 7)]
    );
    let title = Some("Titel 😀 ü".to_owned());
    let update = model::WorksheetUpdate {
        title: Some(title.clone()),
        ..Default::default()
    };
    let updated = model.update_worksheet("17", repeated("4"), update, NOW).await.unwrap();
    assert_eq!(updated.title, title);
    let back = model::WorksheetUpdate {
        title: Some(Some("Café 😀".into())),
        ..Default::default()
    };
    model.update_worksheet("17", repeated("4"), back, NOW).await.unwrap();
    let request = model::CreateBundles {
        owner_id: "17".into(),
        worksheet: Some(repeated("4")),
        place: model::NewItemPlace::default(),
        shadow: None,
        bundles: vec![dataset("new")],
    };
    // Row ids go on after the old ones.
    let made = model.create_bundles(request, NOW).await.unwrap()[0];
    assert_eq!(model.bundle(made).await.unwrap().id, 8);
    model.fail_upload(made, "x", None, true, NOW).await.unwrap();
    let delete = model::DeleteBundles {
        uuids: vec![made],
        ..Default::default()
    };
    model.delete_bundles("17", &delete, NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_database_that_differs_is_refused_and_left_alone() {
    let (database, mut sql) = old_database().await;
    sql.run(
        "ALTER TABLE worksheet DROP COLUMN is_anonymous; DROP TABLE chat; ALTER TABLE bundle_store DROP KEY nix_1;",
    )
    .await;
    let (_, text) = refused(Model::connect(database.url(), &options()).await.map(drop));
    for problem in [
        "worksheet.is_anonymous",
        "table chat",
        "bundle_store has no unique key on (name)",
    ] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    assert_eq!(sql.number(tables).await, 23);
    sql.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_take_over_is_finished() {
    let (database, mut sql) = old_database().await;
    let model = Model::connect(database.url(), &options()).await.unwrap();
    model.close().await;
    // As if the process had ended after the schema and before the repairs were noted.
    sql.run("DELETE FROM refinery_schema_history WHERE version >= 2; UPDATE setting SET value = 'pending';")
        .await;
    sql.run("UPDATE worksheet SET title = 'Ã¼' WHERE id = 1; UPDATE `user` SET disk_used = 5 WHERE user_id = '17';")
        .await;
    let model = Model::connect(database.url(), &options()).await.unwrap();
    assert_eq!(
        model.worksheet(repeated("4")).await.unwrap().title.as_deref(),
        Some("ü")
    );
    assert_eq!(
        model.user("17").await.unwrap().unwrap().quota.disk_used as i64,
        123_456_800
    );
    model.close().await;
    sql.close().await;
}
