//! Creating bundles: rows, metadata, dependencies, permissions and worksheet items in one transaction (data-model 18.1).

use std::collections::HashSet;

use domain::bundle::{check_command, check_dependencies};
use domain::worksheet::Item;
use domain::{BundleState, Error, Permission, Result, Uuid};

use super::{CreateBundles, NewBundle, metadata};
use crate::db::{Tx, params};
use crate::permissions::{ObjectKind, refuse_frozen};
use crate::quota::quota;
use crate::worksheets::items;
use crate::{Model, stores};

impl Model {
    /// Creates all bundles or none. Checks quota (400), the bundles (400), that uuids are unused (409), and, unless
    /// detached, *all* permission on the worksheet and that it is not frozen (403). Gives the uuids in order.
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
        if let Some(worksheet) = request.worksheet {
            let kind = ObjectKind::Worksheet;
            self.check_permission_in(tx, kind, Some(owner), &[worksheet], Permission::All)
                .await?;
            refuse_frozen(tx, kind, worksheet).await?;
        }
        quota(tx, owner).await?.check()?;
        refuse_existing(tx, request).await?;
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
        for bundle in &request.bundles {
            insert(tx, bundle, owner, is_anonymous, now).await?;
            if let Some(worksheet) = request.worksheet {
                tx.run(
                    "INSERT INTO `group_bundle_permission` (`group_uuid`, `object_uuid`, `permission`) \
                     SELECT `group_uuid`, ?, `permission` FROM `group_object_permission` WHERE `object_uuid` = ?",
                    params![bundle.uuid, worksheet],
                )
                .await?;
            }
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
        let sql = "SELECT `i`.`worksheet_uuid`, COALESCE(`i`.`sort_key`, `i`.`id`) FROM `worksheet_item` `i` \
            JOIN `worksheet` `w` ON `w`.`uuid` = `i`.`worksheet_uuid` \
            WHERE `i`.`bundle_uuid` = ? AND `w`.`frozen` IS NULL ORDER BY 2 DESC, `i`.`id` DESC";
        let rows = tx.all(sql, params![old]).await?;
        let places: Vec<(Uuid, i64)> = rows
            .into_iter()
            .map(|mut row| Ok((row.uuid()?, row.int()?)))
            .collect::<Result<_>>()?;
        let worksheets: Vec<Uuid> = places.iter().map(|(worksheet, _)| *worksheet).collect();
        let have = self
            .permissions_in(tx, ObjectKind::Worksheet, Some(owner), &worksheets)
            .await?;
        // From the bottom up: an insertion moves only what is below it.
        for ((worksheet, sort_key), permission) in places.into_iter().zip(have) {
            if permission == Permission::All {
                items::insert(tx, worksheet, &[Item::bundle(new)], Some(sort_key)).await?;
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

async fn refuse_existing(tx: &mut Tx, request: &CreateBundles) -> Result<()> {
    let uuids: Vec<Uuid> = request.bundles.iter().map(|bundle| bundle.uuid).collect();
    let mut seen = HashSet::new();
    let twice = uuids.iter().find(|uuid| !seen.insert(**uuid)).copied();
    let mut existing = tx
        .all_in("SELECT `uuid` FROM `bundle` WHERE `uuid` IN {in}", &[], &uuids, &[])
        .await?;
    let taken = match existing.first_mut() {
        Some(row) => Some(row.uuid()?),
        None => twice,
    };
    match taken {
        Some(uuid) => Err(Error::conflict(format!("Bundle with uuid {uuid} already exists"))),
        None => Ok(()),
    }
}

async fn insert(tx: &mut Tx, bundle: &NewBundle, owner: &str, is_anonymous: bool, now: i64) -> Result<()> {
    tx.run(
        "INSERT INTO `bundle` (`uuid`, `bundle_type`, `command`, `state`, `owner_id`, `frozen`, `is_anonymous`, \
         `storage_type`, `is_dir`) VALUES (?, ?, ?, ?, ?, NULL, ?, NULL, NULL)",
        params![
            bundle.uuid,
            bundle.bundle_type,
            bundle.command.as_deref(),
            bundle.state,
            owner,
            is_anonymous
        ],
    )
    .await?;
    let mut stored = bundle.metadata.clone();
    // A copy of a finished bundle (uploading) keeps its history; a new one has none. Sizes are always measured here.
    for field in domain::metadata::fields(bundle.bundle_type) {
        let copied = bundle.state == BundleState::Uploading && field.key != "data_size";
        if field.generated && !copied {
            stored.remove(field.key);
        }
    }
    stored.set("created", now);
    metadata::insert(tx, bundle.uuid, &stored).await?;
    let rows = bundle.dependencies.iter().map(|dependency| {
        params![
            bundle.uuid,
            &dependency.child_path,
            dependency.parent_uuid,
            &dependency.parent_path
        ]
    });
    tx.insert_rows(
        "INSERT INTO `bundle_dependency` (`child_uuid`, `child_path`, `parent_uuid`, `parent_path`)",
        rows.collect(),
    )
    .await?;
    match bundle.store_uuid {
        Some(store) => stores::add_location(tx, bundle.uuid, store).await,
        None => Ok(()),
    }
}
