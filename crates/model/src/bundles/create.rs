//! Creating bundles: rows, metadata, dependencies, permissions and worksheet items in one transaction (data-model 18.1).

use std::collections::HashSet;

use domain::bundle::{check_command, check_dependencies};
use domain::metadata::fields;
use domain::worksheet::Item;
use domain::{Bundle, BundleState, Dependency, Error, ErrorKind, Metadata, Permission, Result, UserId, Uuid};
use serde_json::Value as Json;

use super::{CreateBundles, NewBundle, fetch, metadata};
use crate::db::{Tx, params};
use crate::permissions::{ObjectKind, refuse_frozen};
use crate::quota::{lock_account, quota};
use crate::worksheets::items;
use crate::{Model, stores};

/// An identical request within this time after the first is a repeat of it, by a client that got no answer.
const REPEATS: i64 = 600;

impl Model {
    /// Creates all bundles or none. Checks quota (400), the bundles (400), that uuids are unused (409), and, unless
    /// detached, *all* permission on the worksheet and that it is not frozen (403). Gives the uuids in order. When the
    /// same owner asks for the same bundles with the same uuids again within ten minutes, nothing happens a second time.
    pub async fn create_bundles(&self, request: CreateBundles, now: i64) -> Result<Vec<Uuid>> {
        for bundle in &request.bundles {
            check(bundle)?;
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                self.create_in(&mut tx, &request, now).await?;
                tx.commit().await
            })
            .await?;
        Ok(request.bundles.iter().map(|bundle| bundle.uuid).collect())
    }

    async fn create_in(&self, tx: &mut Tx, request: &CreateBundles, now: i64) -> Result<()> {
        let owner = request.owner_id.as_str();
        if is_repeat(tx, request, now).await? {
            return Ok(());
        }
        if let Some(worksheet) = request.worksheet {
            let kind = ObjectKind::Worksheet;
            self.check_permission_in(tx, kind, Some(owner), &[worksheet], Permission::All)
                .await?;
            refuse_frozen(tx, kind, worksheet).await?;
        }
        lock_account(tx, &request.owner_id).await?;
        quota(tx, owner).await?.check()?;
        let is_anonymous = match request.worksheet {
            Some(worksheet) => {
                tx.count(
                    "SELECT `is_anonymous` FROM `worksheet` WHERE `uuid` = ?",
                    params![worksheet],
                )
                .await?
                    != 0
            }
            None => false,
        };
        insert(tx, &request.bundles, owner, is_anonymous, now).await?;
        if let Some(worksheet) = request.worksheet {
            inherit_permissions(tx, &request.bundles, worksheet).await?;
        }
        self.place(tx, request, now).await
    }

    /// Puts the new bundles on their worksheet, or beside the bundle they shadow.
    async fn place(&self, tx: &mut Tx, request: &CreateBundles, now: i64) -> Result<()> {
        if let Some(old) = request.shadow {
            for bundle in &request.bundles {
                self.shadow(tx, &request.owner_id, old, bundle.uuid, now).await?;
            }
            return Ok(());
        }
        let Some(worksheet) = request.worksheet else {
            return Ok(());
        };
        let mut new_items = Vec::new();
        for bundle in &request.bundles {
            if request.place.after_image {
                new_items.push(Item::markup(""));
            }
            new_items.push(Item::bundle(bundle.uuid));
        }
        items::insert(tx, worksheet, &new_items, request.place.after_sort_key).await?;
        items::touch(tx, worksheet, now).await
    }

    /// Adds an item for `new` directly after every occurrence of `old`, where the owner may edit.
    async fn shadow(&self, tx: &mut Tx, owner: &str, old: Uuid, new: Uuid, now: i64) -> Result<()> {
        let sql = "SELECT DISTINCT `i`.`worksheet_uuid` FROM `worksheet_item` `i` \
            JOIN `worksheet` `w` ON `w`.`uuid` = `i`.`worksheet_uuid` \
            WHERE `i`.`bundle_uuid` = ? AND `w`.`frozen` IS NULL ORDER BY 1";
        let rows = tx.all(sql, params![old]).await?;
        let worksheets: Vec<Uuid> = rows.into_iter().map(|mut row| row.uuid()).collect::<Result<_>>()?;
        let have = self
            .permissions_in(tx, ObjectKind::Worksheet, Some(owner), &worksheets)
            .await?;
        for (worksheet, permission) in worksheets.into_iter().zip(have) {
            if permission == Permission::All {
                items::insert_beside(tx, worksheet, old, new).await?;
                items::touch(tx, worksheet, now).await?;
            }
        }
        Ok(())
    }
}

fn check(bundle: &NewBundle) -> Result<()> {
    bundle.metadata.validate(bundle.bundle_type)?;
    check_command(bundle.bundle_type, bundle.command.as_deref())?;
    check_dependencies(bundle.bundle_type, &bundle.dependencies)
}

/// Whether these very bundles have just been made by the same owner. 409 if a uuid is in use in any other way.
async fn is_repeat(tx: &mut Tx, request: &CreateBundles, now: i64) -> Result<bool> {
    let uuids = uuids(&request.bundles);
    let mut seen = HashSet::new();
    let twice = uuids.iter().find(|uuid| !seen.insert(**uuid)).copied();
    let existing = fetch::fetch(tx, &uuids).await?;
    if existing.is_empty() && twice.is_none() {
        return Ok(false);
    }
    let same = |bundle: &NewBundle| {
        existing
            .get(&bundle.uuid)
            .is_some_and(|record| is_same(&record.bundle, bundle, &request.owner_id, now))
    };
    if twice.is_none() && request.bundles.iter().all(same) {
        return Ok(true);
    }
    let taken = uuids.iter().find(|uuid| existing.contains_key(*uuid)).copied();
    match taken.or(twice) {
        Some(uuid) => Err(Error::conflict(format!("Bundle with uuid {uuid} already exists"))),
        None => Ok(false),
    }
}

fn is_same(old: &Bundle, new: &NewBundle, owner: &UserId, now: i64) -> bool {
    let places = |dependencies: &[Dependency]| {
        let place = |d: &Dependency| (d.child_path.clone(), d.parent_uuid, d.parent_path.clone());
        dependencies.iter().map(place).collect::<Vec<_>>()
    };
    let same_metadata = fields(new.bundle_type)
        .iter()
        .filter(|field| !field.generated)
        .all(|field| {
            let zero = field.kind.zero();
            let value = |metadata: &Metadata| match metadata.get(field.key) {
                None | Some(Json::Null) => zero.clone(),
                Some(value) => value.clone(),
            };
            value(&old.metadata) == value(&new.metadata)
        });
    old.owner_id.as_ref() == Some(owner)
        && old.bundle_type == new.bundle_type
        && old.command == new.command
        && old.metadata.int("created") >= now - REPEATS
        && places(&old.dependencies) == places(&new.dependencies)
        && same_metadata
}

fn uuids(bundles: &[NewBundle]) -> Vec<Uuid> {
    bundles.iter().map(|bundle| bundle.uuid).collect()
}

/// The rows of all bundles, 500 per statement.
async fn insert(tx: &mut Tx, bundles: &[NewBundle], owner: &str, is_anonymous: bool, now: i64) -> Result<()> {
    let rows = bundles.iter().map(|bundle| {
        params![
            bundle.uuid,
            bundle.bundle_type,
            bundle.command.as_deref(),
            bundle.state,
            owner,
            is_anonymous
        ]
    });
    let inserted = tx
        .insert_rows(
            "INSERT INTO `bundle` (`uuid`, `bundle_type`, `command`, `state`, `owner_id`, `is_anonymous`)",
            Box::new(rows),
        )
        .await;
    inserted.map_err(|error| match error.kind {
        // The same request at the same moment: the next try finds what that one made.
        ErrorKind::Conflict => Error::unavailable(error.message),
        _ => error,
    })?;
    let metadata = bundles.iter().map(|bundle| (bundle.uuid, stored_metadata(bundle, now)));
    metadata::insert_all(tx, Box::new(metadata)).await?;
    let dependencies = bundles.iter().flat_map(|bundle| {
        bundle
            .dependencies
            .iter()
            .map(|d| params![bundle.uuid, &d.child_path, d.parent_uuid, &d.parent_path])
    });
    tx.insert_rows(
        "INSERT INTO `bundle_dependency` (`child_uuid`, `child_path`, `parent_uuid`, `parent_path`)",
        Box::new(dependencies),
    )
    .await?;
    let located = bundles
        .iter()
        .filter_map(|bundle| Some((bundle.uuid, bundle.store_uuid?)));
    stores::add_locations(tx, &located.collect::<Vec<_>>()).await
}

/// What is stored of the metadata that was sent.
fn stored_metadata(bundle: &NewBundle, now: i64) -> Metadata {
    let mut stored = bundle.metadata.clone();
    // A copy of a finished bundle (uploading) keeps its history; a new one has none. Sizes are always measured here.
    for field in fields(bundle.bundle_type) {
        let copied = bundle.state == BundleState::Uploading && field.key != "data_size";
        if field.generated && !copied {
            stored.remove(field.key);
        }
    }
    stored.set("created", now);
    stored
}

/// Every permission row of the worksheet for every bundle. Read first: a statement that reads `bundle` must not fire the
/// triggers that write it.
async fn inherit_permissions(tx: &mut Tx, bundles: &[NewBundle], worksheet: Uuid) -> Result<()> {
    let sql = "SELECT `group_uuid`, `permission` FROM `group_object_permission` WHERE `object_uuid` = ? ORDER BY `id`";
    let mut inherited = Vec::new();
    for mut row in tx.all(sql, params![worksheet]).await? {
        inherited.push((row.uuid()?, row.int()?));
    }
    let rows = bundles.iter().flat_map(|bundle| {
        let uuid = bundle.uuid;
        inherited
            .iter()
            .map(move |(group, permission)| params![*group, uuid, *permission])
    });
    tx.insert_rows(
        "INSERT INTO `group_bundle_permission` (`group_uuid`, `object_uuid`, `permission`)",
        Box::new(rows),
    )
    .await
}
