//! The worker's three networks: one with the outside world, one without, and one over which the worker reaches the
//! ports of runs.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{NetworkConnectRequest, NetworkCreateRequest};
use bollard::query_parameters::PruneNetworksOptions;

use super::failure::is_missing;

pub struct Networks {
    docker: Docker,
    general: String,
    external: String,
    internal: String,
}

impl Networks {
    pub fn new(docker: Docker, prefix: &str) -> Self {
        Self {
            docker,
            general: format!("{prefix}_general"),
            external: format!("{prefix}_ext"),
            internal: format!("{prefix}_int"),
        }
    }

    /// The network of a run that asked for network access, or of one that did not.
    pub fn primary(&self, access: bool) -> &str {
        if access { &self.external } else { &self.internal }
    }

    /// Makes what is missing.
    pub async fn ensure(&self) -> Result<(), Error> {
        let mut pruned = false;
        for (name, internal) in [(&self.general, true), (&self.external, false), (&self.internal, true)] {
            match self.docker.inspect_network(name, None).await {
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
                Ok(_) => continue,
            }
            if !pruned {
                // The engine has addresses for about thirty networks only.
                pruned = true;
                let filters = HashMap::from([("until".to_owned(), vec!["1h".to_owned()])]);
                let options = PruneNetworksOptions { filters: Some(filters) };
                if let Err(error) = self.docker.prune_networks(Some(options)).await {
                    tracing::debug!("unused networks are not removed: {error}");
                }
            }
            let wanted = NetworkCreateRequest {
                name: name.clone(),
                internal: Some(internal),
                ..NetworkCreateRequest::default()
            };
            if let Err(error) = self.docker.create_network(wanted).await {
                // Another worker was faster.
                self.docker.inspect_network(name, None).await.map_err(|_| error)?;
            }
        }
        Ok(())
    }

    /// The container's address on the general network, which it joins now if it has not yet: joining takes longer than
    /// starting a container, and few runs are ever asked for a port.
    pub async fn address(&self, container: &str) -> Result<IpAddr, String> {
        if let Some(address) = self.known_address(container).await? {
            return Ok(address);
        }
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            ..NetworkConnectRequest::default()
        };
        let joined = self.docker.connect_network(&self.general, request).await;
        match self.known_address(container).await? {
            Some(address) => Ok(address),
            None => Err(joined
                .err()
                .map_or_else(|| "it has no address".to_owned(), |error| error.to_string())),
        }
    }

    async fn known_address(&self, container: &str) -> Result<Option<IpAddr>, String> {
        let found = self
            .docker
            .inspect_container(container, None)
            .await
            .map_err(|error| error.to_string())?;
        let networks = found
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        Ok(networks
            .get(&self.general)
            .and_then(|network| network.ip_address.as_deref()?.parse().ok()))
    }

    /// Removes the networks unless containers, perhaps of other workers, use them.
    pub async fn remove(&self) {
        for name in [&self.general, &self.external, &self.internal] {
            if let Err(error) = self.docker.remove_network(name).await {
                tracing::debug!("network {name} stays: {error}");
            }
        }
    }
}
