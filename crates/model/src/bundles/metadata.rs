//! Writing metadata rows: per key the old rows go and the new ones come (data-model section 4.5).

use std::collections::{BTreeMap, HashMap};

use domain::metadata::rows_of;
use domain::{Metadata, Result, Uuid};
use serde_json::Value as Json;

use crate::db::{Row, Tx, Value, params};
use crate::dialect::Rows;

/// Replaces the rows of every key that is given; a null (or empty list) only deletes.
pub(crate) async fn replace(tx: &mut Tx, uuid: Uuid, changes: &Metadata) -> Result<()> {
    let keys: Vec<&str> = changes.iter().map(|(key, _)| key.as_str()).collect();
    remove(tx, uuid, &keys).await?;
    insert(tx, uuid, changes).await
}

/// The same for many bundles, with one statement per key (and 500 bundles) that goes and one per 500 rows that come.
pub(crate) async fn replace_all(tx: &mut Tx, changes: &[(Uuid, Metadata)]) -> Result<()> {
    let mut by_key: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for (uuid, metadata) in changes {
        for (key, _) in metadata.iter() {
            by_key.entry(key).or_default().push(*uuid);
        }
    }
    for (key, uuids) in by_key {
        remove_key(tx, &uuids, key).await?;
    }
    insert_all(tx, Box::new(changes.iter().cloned())).await
}

/// Inserts the rows of metadata that a bundle does not have yet.
pub(crate) async fn insert(tx: &mut Tx, uuid: Uuid, metadata: &Metadata) -> Result<()> {
    insert_rows(tx, Box::new(rows(uuid, metadata).into_iter())).await
}

/// The same for many bundles.
pub(crate) async fn insert_all(
    tx: &mut Tx,
    metadata: Box<dyn Iterator<Item = (Uuid, Metadata)> + Send + '_>,
) -> Result<()> {
    insert_rows(tx, Box::new(metadata.flat_map(|(uuid, one)| rows(uuid, &one)))).await
}

/// Sets one scalar of many bundles to the same text.
pub(crate) async fn set_all(tx: &mut Tx, uuids: &[Uuid], key: &str, text: &str) -> Result<()> {
    remove_key(tx, uuids, key).await?;
    insert_rows(tx, Box::new(uuids.iter().map(|uuid| params![*uuid, key, text]))).await
}

async fn remove_key(tx: &mut Tx, uuids: &[Uuid], key: &str) -> Result<()> {
    let sql = "DELETE FROM `bundle_metadata` WHERE `bundle_uuid` IN {in} AND `metadata_key` = ?";
    tx.run_in(sql, &[], uuids, &[key.into()]).await.map(drop)
}

fn rows(uuid: Uuid, metadata: &Metadata) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for (key, value) in metadata.iter() {
        rows.extend(rows_of(value).into_iter().map(|text| params![uuid, key, ascii(text)]));
    }
    rows
}

async fn insert_rows(tx: &mut Tx, rows: Rows<'_>) -> Result<()> {
    tx.insert_rows(
        "INSERT INTO `bundle_metadata` (`bundle_uuid`, `metadata_key`, `metadata_value`)",
        rows,
    )
    .await
}

pub(crate) async fn remove(tx: &mut Tx, uuid: Uuid, keys: &[&str]) -> Result<()> {
    let sql = "DELETE FROM `bundle_metadata` WHERE `bundle_uuid` = ? AND `metadata_key` IN {in}";
    tx.run_in(sql, &[uuid.into()], keys, &[]).await.map(drop)
}

/// Sets one scalar.
pub(crate) async fn set(tx: &mut Tx, uuid: Uuid, key: &str, value: impl Into<Json>) -> Result<()> {
    replace(tx, uuid, &Metadata::from_iter([(key.to_owned(), value.into())])).await
}

/// Appends one element to a list.
pub(crate) async fn append(tx: &mut Tx, uuid: Uuid, key: &str, text: &str) -> Result<()> {
    let sql = "INSERT INTO `bundle_metadata` (`bundle_uuid`, `metadata_key`, `metadata_value`) VALUES (?, ?, ?)";
    tx.run(sql, params![uuid, key, ascii(text.to_owned())]).await.map(drop)
}

/// The last stored text of a key.
pub(crate) async fn text(tx: &mut Tx, uuid: Uuid, key: &str) -> Result<Option<String>> {
    let sql = "SELECT `metadata_value` FROM `bundle_metadata` WHERE `bundle_uuid` = ? AND `metadata_key` = ? \
        ORDER BY `id` DESC LIMIT 1";
    tx.first(sql, params![uuid, key])
        .await?
        .map(|mut row: Row| row.text())
        .transpose()
}

/// The last stored number of a key; 0 without a row or for text.
pub(crate) async fn number(tx: &mut Tx, uuid: Uuid, key: &str) -> Result<f64> {
    Ok(text(tx, uuid, key).await?.map_or(0.0, |text| parse_number(&text)))
}

/// The same for many bundles; those without a row are absent.
pub(crate) async fn numbers(tx: &mut Tx, uuids: &[Uuid], key: &str) -> Result<HashMap<Uuid, f64>> {
    let sql = "SELECT `bundle_uuid`, `metadata_value` FROM `bundle_metadata` \
        WHERE `bundle_uuid` IN {in} AND `metadata_key` = ? ORDER BY `id`";
    let rows = tx.all_in(sql, &[], uuids, &[key.into()]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.uuid()?, parse_number(&row.text()?))))
        .collect()
}

fn parse_number(text: &str) -> f64 {
    text.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .unwrap_or(0.0)
}

/// What the system itself writes (tracebacks, texts of workers) is made ASCII; users are refused earlier.
fn ascii(text: String) -> String {
    if text.is_ascii() {
        text
    } else {
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }
}
