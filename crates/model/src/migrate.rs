//! Schema migrations at start, under a lock.

use domain::Result;

use crate::db::Db;

pub(crate) async fn migrate(_db: &Db) -> Result<()> {
    todo!()
}
