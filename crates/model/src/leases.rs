//! Who is the one scheduler (scheduler section 12.1).

use domain::Result;

use crate::Model;

impl Model {
    /// Takes or renews the lease `name` for `holder` until `now + seconds`; false while somebody else has it.
    pub async fn acquire_lease(&self, _name: &str, _holder: &str, _seconds: i64, _now: i64) -> Result<bool> {
        todo!()
    }

    /// Gives the lease back, if `holder` has it.
    pub async fn release_lease(&self, _name: &str, _holder: &str) -> Result<()> {
        todo!()
    }
}
