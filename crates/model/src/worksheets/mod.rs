//! Worksheets (data-model section 14): records, creation, metadata, deletion. Items are in `items`.

pub(crate) mod items;
mod template;

use std::collections::HashMap;

use domain::{Error, Permission, Result, UserId, UtcTime, Uuid, name};

use crate::db::{Engine, Row, Tx, Value, params};
use crate::{Model, ObjectKind};

/// Characters of a title, in the column.
const MAX_TITLE: usize = 255;
/// Characters of a worksheet name, in the column.
const MAX_NAME: usize = 255;
/// Characters of a tag, in the column.
const MAX_TAG: usize = 63;
/// Uuids in one IN list.
const CHUNK: usize = 500;

const COLUMNS: &str = "id, uuid, name, owner_id, title, CAST(frozen AS CHAR), is_anonymous, CAST(date_created AS CHAR), \
                       CAST(date_last_modified AS CHAR)";

/// A worksheet without its items.
#[derive(Clone, Debug, PartialEq)]
pub struct Worksheet {
    pub id: i64,
    pub uuid: Uuid,
    pub name: String,
    pub owner_id: Option<UserId>,
    pub title: Option<String>,
    pub frozen: Option<UtcTime>,
    pub is_anonymous: bool,
    pub date_created: Option<UtcTime>,
    pub date_last_modified: Option<UtcTime>,
    pub tags: Vec<String>,
}

/// A worksheet to make.
#[derive(Clone, Debug, Default)]
pub struct NewWorksheet {
    /// Fresh if none.
    pub uuid: Option<Uuid>,
    pub name: String,
    pub title: Option<String>,
    pub tags: Vec<String>,
}

/// A change of a worksheet's metadata; `None` leaves things alone.
#[derive(Clone, Debug, Default)]
pub struct WorksheetUpdate {
    pub name: Option<String>,
    pub title: Option<Option<String>>,
    /// Replaces all tags.
    pub tags: Option<Vec<String>>,
    /// `Some(true)` freezes at the server's time, `Some(false)` unfreezes.
    pub frozen: Option<bool>,
    pub is_anonymous: Option<bool>,
    pub owner_id: Option<UserId>,
}

impl Worksheet {
    pub(crate) fn check_unfrozen(&self) -> Result<()> {
        match self.frozen {
            None => Ok(()),
            Some(_) => Err(Error::permission(format!(
                "Cannot mutate frozen worksheet {}({}).",
                self.uuid, self.name
            ))),
        }
    }
}

impl Model {
    /// Makes a worksheet that the public may read. 400 if the name is taken or another user's home; 403 if nobody is
    /// logged in. `dashboard` and `home` are filled from a template.
    pub async fn create_worksheet(&self, viewer: Option<&str>, new: NewWorksheet, now: i64) -> Result<Worksheet> {
        let Some(viewer) = viewer else {
            return Err(Error::permission("You must be logged in to create a worksheet."));
        };
        let user_name = self.user(viewer).await?.map(|user| user.user_name).unwrap_or_default();
        check_name(&new.name, &user_name)?;
        check_title(new.title.as_deref())?;
        check_tags(&new.tags)?;
        let template = template::for_name(&new.name);
        let title = new
            .title
            .clone()
            .or_else(|| template.as_ref().map(|template| template.title.to_owned()));
        let uuid = new.uuid.unwrap_or_else(|| Uuid::from_random(rand::random()));
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                lock_names(&mut tx).await?;
                check_name_unused(&mut tx, &new.name).await?;
                let time = UtcTime::from_unix(now);
                tx.run(
                    "INSERT INTO worksheet (uuid, name, owner_id, title, frozen, is_anonymous, date_created, \
                     date_last_modified) VALUES (?, ?, ?, ?, NULL, 0, ?, ?)",
                    params![uuid, new.name.as_str(), viewer, title.clone(), time, time],
                )
                .await?;
                tx.run(
                    "INSERT INTO group_object_permission (group_uuid, object_uuid, permission) VALUES (?, ?, ?)",
                    params![self.public_group(), uuid, Permission::Read.level()],
                )
                .await?;
                insert_tags(&mut tx, uuid, &new.tags).await?;
                if let Some(template) = &template {
                    items::insert_items(&mut tx, uuid, &template.items, None).await?;
                }
                let worksheet = load(&mut tx, uuid).await?;
                tx.commit().await?;
                Ok(worksheet)
            })
            .await
    }

    /// One worksheet. 404 `Could not find worksheet with uuid <uuid>`.
    pub async fn worksheet(&self, uuid: Uuid) -> Result<Worksheet> {
        let mut tx = self.db.read().await?;
        load(&mut tx, uuid).await
    }

    /// Worksheets by uuid; missing ones are absent.
    pub async fn worksheets(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, Worksheet>> {
        let mut tx = self.db.read().await?;
        let mut found = HashMap::new();
        for chunk in uuids.chunks(CHUNK) {
            let marks = items::placeholders(chunk.len());
            let values: Vec<Value> = chunk.iter().map(Value::from).collect();
            let sql = format!("SELECT {COLUMNS} FROM worksheet WHERE uuid IN ({marks})");
            for row in tx.all(sql, values.clone()).await? {
                let worksheet = record(row)?;
                found.insert(worksheet.uuid, worksheet);
            }
            let sql =
                format!("SELECT worksheet_uuid, tag FROM worksheet_tag WHERE worksheet_uuid IN ({marks}) ORDER BY id");
            for mut row in tx.all(sql, values).await? {
                let uuid = row.uuid()?;
                let tag = row.text()?;
                if let Some(worksheet) = found.get_mut(&uuid) {
                    worksheet.tags.push(tag);
                }
            }
        }
        Ok(found)
    }

    /// Changes metadata; checks *all* permission and the freeze rules.
    pub async fn update_worksheet(
        &self,
        viewer: &str,
        uuid: Uuid,
        update: WorksheetUpdate,
        now: i64,
    ) -> Result<Worksheet> {
        self.check_permission(ObjectKind::Worksheet, Some(viewer), &[uuid], Permission::All)
            .await?;
        check_title(update.title.as_ref().and_then(Option::as_deref))?;
        check_tags(update.tags.as_deref().unwrap_or_default())?;
        if let Some(name) = &update.name {
            let user_name = self.user(viewer).await?.map(|user| user.user_name).unwrap_or_default();
            check_name(name, &user_name)?;
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                if update.name.is_some() {
                    lock_names(&mut tx).await?;
                }
                lock_worksheet(&mut tx, uuid).await?;
                let worksheet = load(&mut tx, uuid).await?;
                if update.frozen != Some(false) {
                    worksheet.check_unfrozen()?;
                }
                apply(&mut tx, uuid, &update, now).await?;
                let worksheet = load(&mut tx, uuid).await?;
                tx.commit().await?;
                Ok(worksheet)
            })
            .await
    }

    /// Deletes a worksheet; its bundles stay. Without `force` it must be neither frozen nor have items (400).
    pub async fn delete_worksheet(&self, viewer: &str, uuid: Uuid, force: bool) -> Result<()> {
        self.check_permission(ObjectKind::Worksheet, Some(viewer), &[uuid], Permission::All)
            .await?;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                lock_worksheet(&mut tx, uuid).await?;
                let worksheet = load(&mut tx, uuid).await?;
                let refuse = |why: &str| {
                    Err(Error::usage(format!(
                        "Can't delete worksheet {uuid} because it is {why} (--force to override)."
                    )))
                };
                if !force && worksheet.frozen.is_some() {
                    return refuse("frozen");
                }
                let sql = "SELECT COUNT(*) FROM worksheet_item WHERE worksheet_uuid = ?";
                if !force && tx.count(sql, params![uuid]).await? > 0 {
                    return refuse("not empty");
                }
                for sql in [
                    "DELETE FROM group_object_permission WHERE object_uuid = ?",
                    "DELETE FROM worksheet_item WHERE worksheet_uuid = ?",
                    "DELETE FROM worksheet_item WHERE subworksheet_uuid = ?",
                    "DELETE FROM worksheet_tag WHERE worksheet_uuid = ?",
                    "DELETE FROM worksheet WHERE uuid = ?",
                ] {
                    tx.run(sql, params![uuid]).await?;
                }
                tx.commit().await
            })
            .await
    }
}

async fn apply(tx: &mut Tx, uuid: Uuid, update: &WorksheetUpdate, now: i64) -> Result<()> {
    let time = UtcTime::from_unix(now);
    let mut columns = vec!["date_last_modified = ?"];
    let mut values = params![time];
    if let Some(name) = &update.name {
        check_name_unused(tx, name).await?;
        columns.push("name = ?");
        values.push(name.into());
    }
    if let Some(title) = &update.title {
        columns.push("title = ?");
        values.push(title.clone().into());
    }
    if let Some(frozen) = update.frozen {
        columns.push("frozen = ?");
        values.push(frozen.then_some(time).into());
    }
    if let Some(is_anonymous) = update.is_anonymous {
        columns.push("is_anonymous = ?");
        values.push(is_anonymous.into());
    }
    if let Some(owner) = &update.owner_id {
        columns.push("owner_id = ?");
        values.push(owner.into());
    }
    values.push(uuid.into());
    let sql = format!("UPDATE worksheet SET {} WHERE uuid = ?", columns.join(", "));
    tx.run(sql, values).await?;
    if let Some(tags) = &update.tags {
        tx.run("DELETE FROM worksheet_tag WHERE worksheet_uuid = ?", params![uuid])
            .await?;
        insert_tags(tx, uuid, tags).await?;
    }
    Ok(())
}

async fn insert_tags(tx: &mut Tx, uuid: Uuid, tags: &[String]) -> Result<()> {
    for tag in tags {
        let sql = "INSERT INTO worksheet_tag (worksheet_uuid, tag) VALUES (?, ?)";
        tx.run(sql, params![uuid, tag]).await?;
    }
    Ok(())
}

/// The worksheet with its tags, in this transaction.
pub(crate) async fn load(tx: &mut Tx, uuid: Uuid) -> Result<Worksheet> {
    let sql = format!("SELECT {COLUMNS} FROM worksheet WHERE uuid = ?");
    let Some(row) = tx.first(sql, params![uuid]).await? else {
        return Err(Error::not_found(format!("Could not find worksheet with uuid {uuid}")));
    };
    let mut worksheet = record(row)?;
    let sql = "SELECT tag FROM worksheet_tag WHERE worksheet_uuid = ? ORDER BY id";
    for mut row in tx.all(sql, params![uuid]).await? {
        worksheet.tags.push(row.text()?);
    }
    Ok(worksheet)
}

fn record(mut row: Row) -> Result<Worksheet> {
    Ok(Worksheet {
        id: row.int()?,
        uuid: row.uuid()?,
        name: row.text()?,
        owner_id: row.opt_user_id()?,
        title: row.opt_text()?,
        frozen: row.opt_time()?,
        is_anonymous: row.flag()?,
        date_created: row.opt_time()?,
        date_last_modified: row.opt_time()?,
        tags: Vec::new(),
    })
}

/// Keeps others from changing the worksheet until the end of the transaction. SQLite has one writer anyway.
async fn lock_worksheet(tx: &mut Tx, uuid: Uuid) -> Result<()> {
    if tx.engine() == Engine::MySql {
        let sql = "SELECT id FROM worksheet WHERE uuid = ? FOR UPDATE";
        tx.all(sql, params![uuid]).await?;
    }
    Ok(())
}

/// Keeps others from taking a worksheet name until the end of the transaction: names are unique, the column is not.
async fn lock_names(tx: &mut Tx) -> Result<()> {
    if tx.engine() == Engine::MySql {
        let sql = "SELECT name FROM named_lock WHERE name = 'worksheet_name' FOR UPDATE";
        tx.all(sql, params![]).await?;
    }
    Ok(())
}

async fn check_name_unused(tx: &mut Tx, name: &str) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM worksheet WHERE name = ?";
    if tx.count(sql, params![name]).await? > 0 {
        return Err(Error::usage(format!("Worksheet with name {name} already exists")));
    }
    Ok(())
}

fn check_name(name: &str, user_name: &str) -> Result<()> {
    name::check(name)?;
    if name.len() > MAX_NAME {
        return Err(Error::usage(format!(
            "Worksheet name is longer than {MAX_NAME} characters: {name}"
        )));
    }
    if name::is_home_worksheet(name) && name != name::home_worksheet(user_name) {
        return Err(Error::usage(format!(
            "Cannot create {name} because this is potentially the home worksheet of another user"
        )));
    }
    Ok(())
}

fn check_title(title: Option<&str>) -> Result<()> {
    match title {
        Some(title) if title.chars().count() > MAX_TITLE => Err(Error::usage(format!(
            "Worksheet title is longer than {MAX_TITLE} characters; shorten it."
        ))),
        _ => Ok(()),
    }
}

fn check_tags(tags: &[String]) -> Result<()> {
    if tags.iter().any(|tag| !tag.is_ascii()) {
        return Err(Error::usage("Unsupported character detected, use ascii characters"));
    }
    match tags.iter().find(|tag| tag.len() > MAX_TAG) {
        Some(tag) => Err(Error::usage(format!("Tag is longer than {MAX_TAG} characters: {tag}"))),
        None => Ok(()),
    }
}
