//! Is there a Docker engine to use?

use std::time::Duration;

use bollard::Docker;

/// An engine on this machine answers much faster than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether an engine answers at `DOCKER_HOST` or the usual socket; what [`crate::RuntimeKind::Auto`] goes by.
pub async fn docker_answers() -> bool {
    let Ok(docker) = Docker::connect_with_defaults() else {
        return false;
    };
    matches!(tokio::time::timeout(PATIENCE, docker.ping()).await, Ok(Ok(_)))
}
