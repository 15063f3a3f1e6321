//! Worksheets (data-model section 14): records, creation, metadata, deletion. Items are in `items`.

pub(crate) mod items;
mod templates;

use std::collections::HashMap;

use domain::name::{check, home_worksheet, is_home_worksheet};
use domain::worksheet::PlacedItem;
use domain::{Error, Permission, Result, UserId, UtcTime, Uuid};

use crate::Model;
use crate::db::{Row, Tx, params};
use crate::password::random_uuid;
use crate::permissions::{ObjectKind, set_permission_row};
use crate::quota::lock_account;
use crate::users::active_user;

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

impl Model {
    /// Makes a worksheet that the public may read. 400 if the name is taken or another user's home; 403 if nobody is
    /// logged in. `dashboard` and `home` are filled from a template.
    pub async fn create_worksheet(&self, viewer: Option<&str>, new: NewWorksheet, now: i64) -> Result<Worksheet> {
        let made = self.create_worksheets(viewer, &[new], now).await?.pop();
        made.ok_or_else(|| Error::internal("The new worksheet is gone"))
    }

    /// The same for several, all or none.
    pub async fn create_worksheets(
        &self,
        viewer: Option<&str>,
        new: &[NewWorksheet],
        now: i64,
    ) -> Result<Vec<Worksheet>> {
        let Some(viewer) = viewer else {
            return Err(Error::permission("You must be logged in to create a worksheet."));
        };
        for one in new {
            check_texts(Some(&one.name), one.title.as_deref(), &one.tags)?;
        }
        let uuids: Vec<Uuid> = new.iter().map(|one| one.uuid.unwrap_or_else(random_uuid)).collect();
        let kind = ObjectKind::Worksheet;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                lock_account(&mut tx, &UserId::from(viewer)).await?;
                for (one, uuid) in new.iter().zip(&uuids) {
                    create(&mut tx, viewer, *uuid, one, now).await?;
                    set_permission_row(&mut tx, kind, *uuid, self.public_group(), Permission::Read).await?;
                }
                tx.commit().await
            })
            .await?;
        let mut made = self.worksheets(&uuids).await?;
        Ok(uuids.iter().filter_map(|uuid| made.remove(uuid)).collect())
    }

    /// One worksheet. 404 `Could not find worksheet with uuid <uuid>`.
    pub async fn worksheet(&self, uuid: Uuid) -> Result<Worksheet> {
        fetch_one(&mut self.db.once().await?, uuid).await
    }

    /// Worksheets by uuid; missing ones are absent.
    pub async fn worksheets(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, Worksheet>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        fetch(&mut self.db.once().await?, uuids).await
    }

    /// The items in display order, sort keys strictly increasing.
    pub async fn worksheet_items(&self, uuid: Uuid) -> Result<Vec<PlacedItem>> {
        items::fetch(&mut self.db.once().await?, uuid).await
    }

    /// Changes metadata; checks *all* permission and the freeze rules.
    pub async fn update_worksheet(
        &self,
        viewer: &str,
        uuid: Uuid,
        update: WorksheetUpdate,
        now: i64,
    ) -> Result<Worksheet> {
        self.update_worksheets(viewer, &[(uuid, update)], now).await?;
        self.worksheet(uuid).await
    }

    /// The same for several, all or none.
    pub async fn update_worksheets(&self, viewer: &str, updates: &[(Uuid, WorksheetUpdate)], now: i64) -> Result<()> {
        for (_, update) in updates {
            let title = update.title.as_ref().and_then(Option::as_deref);
            let tags = update.tags.as_deref().unwrap_or_default();
            check_texts(update.name.as_deref(), title, tags)?;
        }
        let uuids: Vec<Uuid> = updates.iter().map(|(uuid, _)| *uuid).collect();
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                self.check_permission_in(&mut tx, ObjectKind::Worksheet, Some(viewer), &uuids, Permission::All)
                    .await?;
                for (uuid, update) in updates {
                    let worksheet = lock(&mut tx, *uuid).await?;
                    if worksheet.frozen.is_some() && update.frozen != Some(false) {
                        return Err(frozen(&worksheet));
                    }
                    self.apply(&mut tx, viewer, &worksheet, update, now).await?;
                }
                tx.commit().await
            })
            .await
    }

    async fn apply(
        &self,
        tx: &mut Tx,
        viewer: &str,
        old: &Worksheet,
        update: &WorksheetUpdate,
        now: i64,
    ) -> Result<()> {
        let set = |column: &str| format!("UPDATE `worksheet` SET `{column}` = ? WHERE `uuid` = ?");
        let uuid = old.uuid;
        if let Some(name) = update.name.as_ref().filter(|name| **name != old.name) {
            check_name(tx, viewer, name, Some(uuid)).await?;
            tx.run(set("name"), params![name, uuid]).await?;
        }
        if let Some(title) = &update.title {
            tx.run(set("title"), params![title.as_deref(), uuid]).await?;
        }
        if let Some(tags) = &update.tags {
            tx.run("DELETE FROM `worksheet_tag` WHERE `worksheet_uuid` = ?", params![uuid])
                .await?;
            insert_tags(tx, uuid, tags).await?;
        }
        if let Some(freeze) = update.frozen {
            tx.run(set("frozen"), params![freeze.then(|| UtcTime::from_unix(now)), uuid])
                .await?;
        }
        if let Some(is_anonymous) = update.is_anonymous {
            tx.run(set("is_anonymous"), params![is_anonymous, uuid]).await?;
        }
        if let Some(owner) = update
            .owner_id
            .as_ref()
            .filter(|owner| old.owner_id.as_ref() != Some(*owner))
        {
            let owns = old.owner_id.as_ref().is_some_and(|owner| *owner == viewer);
            if !owns && !self.is_root(Some(viewer)) {
                return Err(Error::permission(format!(
                    "Only its owner can give worksheet {uuid}({}) away.",
                    old.name
                )));
            }
            lock_account(tx, owner).await?;
            if active_user(tx, "`u`.`user_id` = ?", params![owner]).await?.is_none() {
                return Err(Error::not_found(format!("User {owner} not found")));
            }
            tx.run(set("owner_id"), params![owner, uuid]).await?;
        }
        items::touch(tx, uuid, now).await
    }

    /// Deletes a worksheet; its bundles stay. Without `force` it must be neither frozen nor have items (400).
    pub async fn delete_worksheet(&self, viewer: &str, uuid: Uuid, force: bool) -> Result<()> {
        self.delete_worksheets(viewer, &[uuid], force).await
    }

    /// The same for several, all or none.
    pub async fn delete_worksheets(&self, viewer: &str, uuids: &[Uuid], force: bool) -> Result<()> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                self.check_permission_in(&mut tx, ObjectKind::Worksheet, Some(viewer), uuids, Permission::All)
                    .await?;
                let mut ordered = uuids.to_vec();
                ordered.sort_unstable();
                ordered.dedup();
                for uuid in &ordered {
                    let worksheet = lock(&mut tx, *uuid).await?;
                    if !force {
                        refuse_deletion(&mut tx, &worksheet).await?;
                    }
                }
                for (table, column) in [
                    ("group_object_permission", "object_uuid"),
                    ("worksheet_item", "worksheet_uuid"),
                    ("worksheet_item", "subworksheet_uuid"),
                    ("worksheet_tag", "worksheet_uuid"),
                    ("worksheet", "uuid"),
                ] {
                    let sql = format!("DELETE FROM `{table}` WHERE `{column}` IN {{in}}");
                    tx.run_in(&sql, &[], &ordered, &[]).await?;
                }
                tx.commit().await
            })
            .await
    }
}

/// 400 if the worksheet is frozen or has items.
async fn refuse_deletion(tx: &mut Tx, worksheet: &Worksheet) -> Result<()> {
    let uuid = worksheet.uuid;
    let sql = "SELECT COUNT(*) FROM `worksheet_item` WHERE `worksheet_uuid` = ?";
    let items = tx.count(sql, params![uuid]).await?;
    let obstacle = match (worksheet.frozen.is_some(), items > 0) {
        (true, _) => "it is frozen",
        (false, true) => "it is not empty",
        (false, false) => return Ok(()),
    };
    Err(Error::usage(format!(
        "Can't delete worksheet {uuid} because {obstacle} (--force to override)."
    )))
}

async fn create(tx: &mut Tx, viewer: &str, uuid: Uuid, new: &NewWorksheet, now: i64) -> Result<()> {
    check_name(tx, viewer, &new.name, None).await?;
    if tx
        .count("SELECT COUNT(*) FROM `worksheet` WHERE `uuid` = ?", params![uuid])
        .await?
        > 0
    {
        return Err(Error::conflict(format!("Worksheet with uuid {uuid} already exists")));
    }
    let template = templates::template(&new.name);
    let title = new
        .title
        .clone()
        .or_else(|| template.as_ref().map(|template| template.title.to_owned()));
    let time = UtcTime::from_unix(now);
    tx.run(
        "INSERT INTO `worksheet` (`uuid`, `name`, `owner_id`, `title`, `frozen`, `is_anonymous`, `date_created`, \
         `date_last_modified`) VALUES (?, ?, ?, ?, NULL, 0, ?, ?)",
        params![uuid, &new.name, viewer, title, time, time],
    )
    .await?;
    insert_tags(tx, uuid, &new.tags).await?;
    if let Some(template) = template {
        items::insert(tx, uuid, &template.items, None).await?;
    }
    Ok(())
}

/// 400 if the name is somebody else's home or in use by any worksheet but `own`; holds the name until the transaction ends.
async fn check_name(tx: &mut Tx, viewer: &str, name: &str, own: Option<Uuid>) -> Result<()> {
    tx.lock_name("worksheet_name").await?;
    if is_home_worksheet(name) {
        let user = active_user(tx, "`u`.`user_id` = ?", params![viewer]).await?;
        if user.is_none_or(|user| home_worksheet(&user.user_name) != name) {
            return Err(Error::usage(format!(
                "Cannot create {name} because this is potentially the home worksheet of another user"
            )));
        }
    }
    if tx
        .count(
            "SELECT COUNT(*) FROM `worksheet` WHERE `name` = ? AND `uuid` <> ?",
            params![name, own.map(|uuid| uuid.to_string()).unwrap_or_default()],
        )
        .await?
        > 0
    {
        return Err(Error::usage(format!("Worksheet with name {name} already exists")));
    }
    Ok(())
}

/// The rules of name, title and tags that need no database: form, and the lengths of the columns.
fn check_texts(name: Option<&str>, title: Option<&str>, tags: &[String]) -> Result<()> {
    if let Some(name) = name {
        check(name)?;
        if name.len() > 255 {
            return Err(Error::usage(format!(
                "Worksheet name is longer than 255 characters: {name}"
            )));
        }
    }
    if title.is_some_and(|title| title.chars().count() > 255) {
        return Err(Error::usage(
            "Worksheet title is longer than 255 characters; shorten it.",
        ));
    }
    if tags.iter().any(|tag| !tag.is_ascii()) {
        return Err(Error::usage("Unsupported character detected, use ascii characters"));
    }
    match tags.iter().find(|tag| tag.len() > 63) {
        Some(tag) => Err(Error::usage(format!("Tag is longer than 63 characters: {tag}"))),
        None => Ok(()),
    }
}

async fn insert_tags(tx: &mut Tx, uuid: Uuid, tags: &[String]) -> Result<()> {
    let rows = tags.iter().map(|tag| params![uuid, tag]);
    tx.insert_rows("INSERT INTO `worksheet_tag` (`worksheet_uuid`, `tag`)", Box::new(rows))
        .await
}

/// Of `worksheet` as `w`, in the order [`read`] takes them.
const COLUMNS: &str = "`w`.`id`, `w`.`uuid`, `w`.`name`, `w`.`owner_id`, `w`.`title`, CAST(`w`.`frozen` AS CHAR), \
    `w`.`is_anonymous`, CAST(`w`.`date_created` AS CHAR), CAST(`w`.`date_last_modified` AS CHAR)";

fn read(row: &mut Row) -> Result<Worksheet> {
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

/// One statement per 500 worksheets, so that rows and tags agree: a row for each tag, or one without.
async fn fetch(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, Worksheet>> {
    let sql = format!(
        "SELECT `t`.`tag`, {COLUMNS} FROM `worksheet` `w` LEFT JOIN `worksheet_tag` `t` ON `t`.`worksheet_uuid` = `w`.`uuid` \
         WHERE `w`.`uuid` IN {{in}} ORDER BY `t`.`id`"
    );
    let mut distinct = uuids.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let mut found: HashMap<Uuid, Worksheet> = HashMap::new();
    for mut row in tx.all_in(&sql, &[], &distinct, &[]).await? {
        let tag = row.opt_text()?;
        let worksheet = read(&mut row)?;
        let worksheet = found.entry(worksheet.uuid).or_insert(worksheet);
        worksheet.tags.extend(tag);
    }
    Ok(found)
}

pub(crate) async fn fetch_one(tx: &mut Tx, uuid: Uuid) -> Result<Worksheet> {
    fetch(tx, &[uuid]).await?.remove(&uuid).ok_or_else(|| not_found(uuid))
}

/// Locks a worksheet's row, so that changes of its items come one after the other.
pub(crate) async fn lock(tx: &mut Tx, uuid: Uuid) -> Result<Worksheet> {
    let sql = format!(
        "SELECT {COLUMNS} FROM `worksheet` `w` WHERE `w`.`uuid` = ?{}",
        tx.engine().for_update()
    );
    tx.first(sql, params![uuid])
        .await?
        .map_or_else(|| Err(not_found(uuid)), |mut row| read(&mut row))
}

pub(crate) fn frozen(worksheet: &Worksheet) -> Error {
    Error::permission(format!(
        "Cannot mutate frozen worksheet {}({}).",
        worksheet.uuid, worksheet.name
    ))
}

fn not_found(uuid: Uuid) -> Error {
    Error::not_found(format!("Could not find worksheet with uuid {uuid}"))
}
