//! Bundle types and states (data-model sections 4.1 and 6.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a bundle comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BundleType {
    /// Uploaded or linked contents.
    Dataset,
    /// The historic name for an uploaded program; behaves as a dataset.
    Program,
    /// Copies of other bundles, made by the server.
    Make,
    /// The result of a command, made by a worker.
    Run,
    /// Placeholder for a bundle that the viewer may not read; never stored.
    Private,
}

impl BundleType {
    /// All stored types.
    pub const STORED: [Self; 4] = [Self::Dataset, Self::Program, Self::Make, Self::Run];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Program => "program",
            Self::Make => "make",
            Self::Run => "run",
            Self::Private => "private",
        }
    }
}

/// Where a bundle is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BundleState {
    /// Just made; dependencies not checked yet.
    Created,
    /// Dependencies are ready; waits for a worker.
    Staged,
    /// The server copies the dependencies.
    Making,
    /// Assigned to a worker that has not begun yet.
    Starting,
    /// The worker fetches dependencies and image.
    Preparing,
    /// The command runs.
    Running,
    /// The results are stored; the worker tidies up.
    Finalizing,
    /// Done; usable as a dependency.
    Ready,
    /// Went wrong.
    Failed,
    /// Ended by a user.
    Killed,
    /// Contents are being uploaded by a client.
    Uploading,
    /// Contact with the worker is lost.
    WorkerOffline,
}

impl BundleState {
    /// All states.
    pub const ALL: [Self; 12] = [
        Self::Created,
        Self::Staged,
        Self::Making,
        Self::Starting,
        Self::Preparing,
        Self::Running,
        Self::Finalizing,
        Self::Ready,
        Self::Failed,
        Self::Killed,
        Self::Uploading,
        Self::WorkerOffline,
    ];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Staged => "staged",
            Self::Making => "making",
            Self::Starting => "starting",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Finalizing => "finalizing",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Uploading => "uploading",
            Self::WorkerOffline => "worker_offline",
        }
    }

    /// Ready, failed or killed: never changes again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Failed | Self::Killed)
    }

    /// Somebody works on it right now, so it must not be deleted.
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            Self::Making | Self::Starting | Self::Running | Self::Finalizing | Self::Preparing
        )
    }

    /// Whether locked metadata (resource requests) may still be edited.
    pub const fn allows_locked_edits(self) -> bool {
        matches!(self, Self::Created | Self::Staged)
    }
}

macro_rules! text_enum {
    ($name:ident, $what:literal, $all:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                $all.into_iter()
                    .find(|value| value.as_str() == text)
                    .ok_or_else(|| Error::usage(format!("Unknown {} '{text}'", $what)))
            }
        }
    };
}

text_enum!(
    BundleType,
    "bundle type",
    BundleType::STORED.into_iter().chain([BundleType::Private])
);
text_enum!(BundleState, "bundle state", BundleState::ALL);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_through_text_and_json() {
        for state in BundleState::ALL {
            assert_eq!(state.as_str().parse::<BundleState>().unwrap(), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for bundle_type in BundleType::STORED {
            assert_eq!(bundle_type.as_str().parse::<BundleType>().unwrap(), bundle_type);
            assert_eq!(serde_json::to_value(bundle_type).unwrap(), bundle_type.as_str());
        }
        assert!("nope".parse::<BundleState>().is_err());
    }
}
