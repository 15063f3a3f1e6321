//! The worker's three networks: one with the outside world, one without, and one over which the worker reaches the
//! ports of runs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{NetworkConnectRequest, NetworkCreateRequest};
use bollard::query_parameters::{ListNetworksOptionsBuilder, PruneNetworksOptionsBuilder};

pub struct Networks {
    docker: Docker,
    names: Names<String>,
    /// Names are not unique: two workers that start together may both have created them.
    ids: Mutex<Names<String>>,
}

#[derive(Clone, Default)]
struct Names<T> {
    general: T,
    external: T,
    internal: T,
}

impl Networks {
    pub fn new(docker: Docker, prefix: &str) -> Self {
        let names = Names {
            general: format!("{prefix}_general"),
            external: format!("{prefix}_ext"),
            internal: format!("{prefix}_int"),
        };
        Self {
            docker,
            ids: Mutex::new(names.clone()),
            names,
        }
    }

    fn ids(&self) -> Names<String> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The network (its id) of a run that asked for network access, or of one that did not.
    pub fn primary(&self, access: bool) -> String {
        let ids = self.ids();
        if access { ids.external } else { ids.internal }
    }

    /// Finds the networks and makes what is missing.
    pub async fn ensure(&self) -> Result<(), Error> {
        let found = Names {
            general: self.find_or_create(&self.names.general, true).await?,
            external: self.find_or_create(&self.names.external, false).await?,
            internal: self.find_or_create(&self.names.internal, true).await?,
        };
        *self.ids.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    async fn find_or_create(&self, name: &str, internal: bool) -> Result<String, Error> {
        if let Some(id) = self.oldest(name).await? {
            return Ok(id);
        }
        // The engine has addresses for about thirty networks only.
        let filters = HashMap::from([("until", vec!["1h"])]);
        let options = PruneNetworksOptionsBuilder::default().filters(&filters).build();
        if let Err(error) = self.docker.prune_networks(Some(options)).await {
            tracing::debug!("unused networks are not removed: {error}");
        }
        let wanted = NetworkCreateRequest {
            name: name.to_owned(),
            internal: Some(internal),
            ..NetworkCreateRequest::default()
        };
        let created = self.docker.create_network(wanted).await;
        let Some(oldest) = self.oldest(name).await? else {
            return created.map(|network| network.id);
        };
        if let Ok(ours) = created
            && ours.id != oldest
            && let Err(error) = self.docker.remove_network(&ours.id).await
        {
            tracing::debug!("a second network {name} stays: {error}");
        }
        Ok(oldest)
    }

    /// The id of the first network that was created under this name.
    async fn oldest(&self, name: &str) -> Result<Option<String>, Error> {
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let found = self.docker.list_networks(Some(options)).await?;
        // The filter also finds names that only contain the wanted one.
        let same = found
            .into_iter()
            .filter(|network| network.name.as_deref() == Some(name));
        Ok(same
            .filter_map(|network| Some((network.created.clone(), network.id?)))
            .min()
            .map(|(_, id)| id))
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
        let joined = self.docker.connect_network(&self.ids().general, request).await;
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
            .get(&self.names.general)
            .and_then(|network| network.ip_address.as_deref()?.parse().ok()))
    }

    /// Removes the networks unless containers, perhaps of other workers, use them.
    pub async fn remove(&self) {
        let ids = self.ids();
        for name in [&ids.general, &ids.external, &ids.internal] {
            if let Err(error) = self.docker.remove_network(name).await {
                tracing::debug!("network {name} stays: {error}");
            }
        }
    }
}
