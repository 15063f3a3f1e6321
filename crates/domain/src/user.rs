//! Account facts that several crates share: quotas and what is left of them (data-model section 10).

use crate::error::{Error, Result};
use crate::{duration, size};

/// A user's quotas and usage. Seconds and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quota {
    /// Container seconds allowed on workers of the root user.
    pub time_quota: f64,
    /// Container seconds used there.
    pub time_used: f64,
    /// Bytes of contents allowed.
    pub disk_quota: f64,
    /// Bytes of contents stored.
    pub disk_used: f64,
    /// Runs allowed at the same time on workers of others.
    pub parallel_run_quota: i64,
}

impl Quota {
    /// Seconds left; negative when overdrawn.
    pub fn time_left(&self) -> f64 {
        self.time_quota - self.time_used
    }

    /// Bytes left; negative when overdrawn.
    pub fn disk_left(&self) -> f64 {
        self.disk_quota - self.disk_used
    }

    /// The check made before any bundle is created.
    pub fn check(&self) -> Result<()> {
        if self.time_used >= self.time_quota {
            let used = ratio(self.time_used, self.time_quota, duration::format);
            return Err(Error::usage(format!("Out of time quota: {used}")));
        }
        if self.disk_used >= self.disk_quota {
            let used = ratio(self.disk_used, self.disk_quota, size::format);
            return Err(Error::usage(format!("Out of disk quota: {used}")));
        }
        Ok(())
    }
}

/// `a / b (p%)` with one decimal; 100% if `b` is zero.
pub fn ratio(a: f64, b: f64, format: impl Fn(f64) -> String) -> String {
    let percentage = if b == 0.0 { 100.0 } else { a / b * 100.0 };
    format!("{} / {} ({percentage:.1}%)", format(a), format(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_quota_is_named() {
        let quota = Quota {
            time_quota: 3600.0,
            time_used: 3600.0,
            disk_quota: 1024.0,
            disk_used: 0.0,
            parallel_run_quota: 1,
        };
        assert_eq!(
            quota.check().unwrap_err().message,
            "Out of time quota: 1h0m / 1h0m (100.0%)"
        );
        let quota = Quota {
            time_used: 0.0,
            disk_used: 1536.0,
            ..quota
        };
        assert_eq!(
            quota.check().unwrap_err().message,
            "Out of disk quota: 1.5k / 1k (150.0%)"
        );
        let quota = Quota {
            disk_used: 5.0,
            ..quota
        };
        assert!(quota.check().is_ok());
        assert_eq!(ratio(0.0, 0.0, size::format), "0 / 0 (100.0%)");
    }
}
