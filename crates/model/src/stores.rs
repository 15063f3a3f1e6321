//! Bundle stores and where bundles are (data-model section 12).

use std::collections::{BTreeSet, HashMap};

use domain::{Error, Result, UserId, Uuid};

use crate::Model;
use crate::db::{Row, Tx, params};
use crate::password::random_uuid;

/// A place that holds contents of bundles. The secret is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleStore {
    pub id: i64,
    pub uuid: Uuid,
    pub owner_id: Option<UserId>,
    pub name: String,
    /// `disk`, `azure_blob` or `gcs`.
    pub storage_type: Option<String>,
    /// `uncompressed` or `compressed_v1`.
    pub storage_format: Option<String>,
    pub url: Option<String>,
    pub authentication_env: Option<String>,
}

/// A store to make.
#[derive(Clone, Debug, Default)]
pub struct NewStore {
    pub name: String,
    pub storage_type: String,
    /// The type's usual format if none.
    pub storage_format: Option<String>,
    pub url: Option<String>,
    pub authentication: Option<String>,
    pub authentication_env: Option<String>,
}

/// One place where a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleLocation {
    pub bundle_uuid: Uuid,
    pub store_uuid: Uuid,
    pub name: String,
    pub storage_type: Option<String>,
    pub storage_format: Option<String>,
    pub url: Option<String>,
}

const COLUMNS: &str = "`id`, `uuid`, `owner_id`, `name`, `storage_type`, `storage_format`, `url`, `authentication_env`";

fn read(row: &mut Row) -> Result<BundleStore> {
    Ok(BundleStore {
        id: row.int()?,
        uuid: row.uuid()?,
        owner_id: row.opt_user_id()?,
        name: row.text()?,
        storage_type: row.opt_text()?,
        storage_format: row.opt_text()?,
        url: row.opt_text()?,
        authentication_env: row.opt_text()?,
    })
}

impl Model {
    /// Makes stores, all or none. 403 unless the viewer is root; 400 if a name is taken or a type has no usual format.
    pub async fn create_stores(&self, viewer: &str, stores: &[NewStore]) -> Result<Vec<BundleStore>> {
        if !self.is_root(Some(viewer)) {
            return Err(Error::permission("Only root user can create bundle stores."));
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let mut made = Vec::with_capacity(stores.len());
                for store in stores {
                    made.push(create(&mut tx, viewer, store).await?);
                }
                tx.commit().await?;
                Ok(made)
            })
            .await
    }

    /// [`Model::create_stores`] for one.
    pub async fn create_store(&self, viewer: &str, store: NewStore) -> Result<BundleStore> {
        let made = self.create_stores(viewer, &[store]).await?.pop();
        made.ok_or_else(|| Error::internal("The new bundle store is gone"))
    }

    /// Stores the viewer can see: root's and his own.
    pub async fn stores(&self, viewer: &str) -> Result<Vec<BundleStore>> {
        let values = params![self.root_user_id(), viewer];
        fetch(&mut self.db.read().await?, "`owner_id` IN (?, ?)", values).await
    }

    /// A visible store by uuid or name. 400 naming it if there is none.
    pub async fn find_store(&self, viewer: &str, uuid_or_name: &str) -> Result<BundleStore> {
        let values = params![self.root_user_id(), viewer, uuid_or_name, uuid_or_name];
        let condition = "`owner_id` IN (?, ?) AND (`uuid` = ? OR `name` = ?)";
        let found = fetch(&mut self.db.read().await?, condition, values)
            .await?
            .into_iter()
            .next();
        found.ok_or_else(|| {
            let what = if domain::id::is_uuid(uuid_or_name) {
                "uuid"
            } else {
                "name"
            };
            Error::usage(format!("Can not find the BundleStore with {what} {uuid_or_name}."))
        })
    }

    /// Deletes the viewer's own stores, all or none. 404 if one is not, 400 if one still holds bundles.
    pub async fn delete_stores(&self, viewer: &str, uuids: &[Uuid]) -> Result<()> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                for uuid in uuids {
                    delete(&mut tx, viewer, *uuid).await?;
                }
                tx.commit().await
            })
            .await
    }

    /// [`Model::delete_stores`] for one.
    pub async fn delete_store(&self, viewer: &str, uuid: Uuid) -> Result<()> {
        self.delete_stores(viewer, &[uuid]).await
    }

    /// Notes that a bundle is in a store; again is no error.
    pub async fn add_location(&self, bundle: Uuid, store: Uuid) -> Result<()> {
        let mut tx = self.db.write().await?;
        add_location(&mut tx, bundle, store).await?;
        tx.commit().await
    }

    /// Where bundles are, in the order in which that was noted; bundles without rows are absent.
    pub async fn locations(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<BundleLocation>>> {
        let mut found: HashMap<Uuid, Vec<BundleLocation>> = HashMap::new();
        if uuids.is_empty() {
            return Ok(found);
        }
        let sql = "SELECT `l`.`bundle_uuid`, `s`.`uuid`, `s`.`name`, `s`.`storage_type`, `s`.`storage_format`, `s`.`url` \
            FROM `bundle_location` `l` JOIN `bundle_store` `s` ON `s`.`uuid` = `l`.`bundle_store_uuid` \
            WHERE `l`.`bundle_uuid` IN {in} ORDER BY `l`.`id`";
        for mut row in self.db.once().await?.all_in(sql, &[], uuids, &[]).await? {
            let location = BundleLocation {
                bundle_uuid: row.uuid()?,
                store_uuid: row.uuid()?,
                name: row.text()?,
                storage_type: row.opt_text()?,
                storage_format: row.opt_text()?,
                url: row.opt_text()?,
            };
            found.entry(location.bundle_uuid).or_default().push(location);
        }
        Ok(found)
    }
}

async fn create(tx: &mut Tx, viewer: &str, store: &NewStore) -> Result<BundleStore> {
    let format = match (&store.storage_format, store.storage_type.as_str()) {
        (Some(format), _) => format.clone(),
        (None, "azure_blob" | "gcs") => "compressed_v1".to_owned(),
        (None, "disk") => "uncompressed".to_owned(),
        (None, other) => {
            return Err(Error::usage(format!(
                "Could not determine default storage format for storage type {other}; give one, or use disk, azure_blob \
                 or gcs."
            )));
        }
    };
    let uuid = random_uuid();
    let inserted = tx
        .run(
            "INSERT INTO `bundle_store` (`uuid`, `owner_id`, `name`, `storage_type`, `storage_format`, `url`, \
             `authentication`, `authentication_env`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                uuid,
                viewer,
                &store.name,
                &store.storage_type,
                format,
                store.url.clone(),
                store.authentication.clone(),
                store.authentication_env.clone()
            ],
        )
        .await;
    match inserted {
        Err(error) if error.kind == domain::ErrorKind::Conflict => {
            return Err(Error::usage(format!(
                "Bundle store with name {} already exists",
                store.name
            )));
        }
        result => result?,
    };
    let made = fetch(tx, "`uuid` = ?", params![uuid]).await?.pop();
    made.ok_or_else(|| Error::internal("The new bundle store is gone"))
}

async fn delete(tx: &mut Tx, viewer: &str, uuid: Uuid) -> Result<()> {
    let sql = format!(
        "SELECT `name` FROM `bundle_store` WHERE `uuid` = ? AND `owner_id` = ?{}",
        tx.engine().for_update()
    );
    let Some(mut row) = tx.first(sql, params![uuid, viewer]).await? else {
        return Err(Error::not_found(format!("You own no bundle store with uuid {uuid}")));
    };
    let name = row.text()?;
    let sql = "SELECT COUNT(*) FROM `bundle_location` WHERE `bundle_store_uuid` = ?";
    let bundles = tx.count(sql, params![uuid]).await?;
    if bundles > 0 {
        return Err(Error::usage(format!(
            "Bundle store {name} still holds {bundles} bundles; only an empty store can be deleted."
        )));
    }
    tx.run("DELETE FROM `bundle_store` WHERE `uuid` = ?", params![uuid])
        .await
        .map(drop)
}

/// Notes that a bundle is in a store. 400 if there is no such store.
pub(crate) async fn add_location(tx: &mut Tx, bundle: Uuid, store: Uuid) -> Result<()> {
    add_locations(tx, &[(bundle, store)]).await
}

/// The same for many (bundle, store) pairs.
pub(crate) async fn add_locations(tx: &mut Tx, locations: &[(Uuid, Uuid)]) -> Result<()> {
    let stores: BTreeSet<Uuid> = locations.iter().map(|(_, store)| *store).collect();
    for store in stores {
        // Locked, so that nobody deletes it meanwhile because it is empty.
        let sql = format!(
            "SELECT 1 FROM `bundle_store` WHERE `uuid` = ?{}",
            tx.engine().for_update()
        );
        if tx.first(sql, params![store]).await?.is_none() {
            return Err(Error::usage(format!("Can not find the BundleStore with uuid {store}.")));
        }
    }
    let ignore = tx.engine().insert_ignore();
    let rows = locations.iter().map(|(bundle, store)| params![*bundle, *store]);
    tx.insert_rows(
        &format!("{ignore} `bundle_location` (`bundle_uuid`, `bundle_store_uuid`)"),
        Box::new(rows),
    )
    .await
}

async fn fetch(tx: &mut Tx, condition: &str, values: Vec<crate::db::Value>) -> Result<Vec<BundleStore>> {
    let rows = tx
        .all(
            format!("SELECT {COLUMNS} FROM `bundle_store` WHERE {condition} ORDER BY `id`"),
            values,
        )
        .await?;
    rows.into_iter().map(|mut row| read(&mut row)).collect()
}
