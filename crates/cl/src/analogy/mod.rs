//! Re-creating bundles by analogy, the work of `mimic` and `macro`: collect the bundles around the given ones, find those
//! that depend on the old inputs, create their images with the new inputs, and place these on the worksheet.

mod graph;
mod placing;

use std::collections::{HashMap, HashSet};

use client::{Client, Object, Query, resource};
use domain::BundleType;
use domain::metadata::fields;
use serde_json::{Map, Value, json};

use self::graph::Known;
use crate::cli::{Worksheet, uuid_of};
use crate::error::{Error, Result};
use crate::render::fields::{bundle_name, dependencies_of, field, metadata, text};
use crate::reuse::equal_run;
use crate::ui::Ui;

/// Uuids asked for in one request.
const BATCH: usize = 50;

/// What to do, and how.
pub struct Options {
    /// Steps to look up and down.
    pub depth: u32,
    /// Name of the new output; prefix of all other names.
    pub name: Option<String>,
    /// Put the new bundles next to the old ones.
    pub shadow: bool,
    /// Create nothing.
    pub dry_run: bool,
    /// Use equal runs that exist.
    pub memoize: bool,
    /// Metadata for all new bundles.
    pub overrides: Map<String, Value>,
}

/// An old bundle and the one that stands for it now.
pub struct Image {
    /// The old bundle.
    pub old_uuid: String,
    /// The new one; none in a dry run.
    pub new_uuid: Option<String>,
}

/// One analogy: old inputs to new inputs as old output to what is wanted.
pub struct Analogy {
    worksheet: Worksheet,
    old_inputs: Vec<String>,
    old_output: Option<String>,
    new_inputs: Vec<String>,
    options: Options,
}

impl Analogy {
    /// Of `uuids` the first half are old inputs, the last half new ones; one in the middle is the old output.
    pub fn new(worksheet: Worksheet, uuids: Vec<String>, options: Options) -> Self {
        let half = uuids.len() / 2;
        let mut rest = uuids;
        let mut middle = rest.split_off(half);
        let old_output = (middle.len() > half).then(|| middle.remove(0));
        Self {
            worksheet,
            old_inputs: rest,
            old_output,
            new_inputs: middle,
            options,
        }
    }

    /// Creates the images, says so on stderr, and places them. Gives them in the order of creation.
    pub async fn carry_out(&self, ui: &mut Ui) -> Result<Vec<Image>> {
        let (known, listed) = self.collect().await?;
        let wanted = match &self.old_output {
            Some(output) => vec![output.clone()],
            None => listed,
        };
        let order = graph::to_recreate(&known, &wanted, &self.old_inputs, self.old_output.as_deref());
        let mut now: HashMap<String, String> = self
            .old_inputs
            .iter()
            .cloned()
            .zip(self.new_inputs.iter().cloned())
            .collect();
        let mut images = Vec::new();
        for old_uuid in order {
            let Some(old) = known.get(&old_uuid) else { continue };
            let (new_uuid, name) = self.create(old, &now).await?;
            let shown = new_uuid.as_deref().unwrap_or("None");
            ui.notice(format!("{}({old_uuid}) => {name}({shown})", bundle_name(old)));
            if let Some(new_uuid) = &new_uuid {
                now.insert(old_uuid.clone(), new_uuid.clone());
            }
            images.push(Image { old_uuid, new_uuid });
        }
        if !self.options.shadow && !self.options.dry_run && !images.is_empty() {
            let anchor = self.old_output.as_ref().or(self.old_inputs.first());
            placing::place(&self.worksheet, anchor.map(String::as_str), &images).await?;
        }
        Ok(images)
    }

    /// The bundles around: by uuid, and listed so that older layers come first.
    async fn collect(&self) -> Result<(Known, Vec<String>)> {
        let client = &self.worksheet.client;
        let mut query = Query::new();
        if self.old_output.is_none() {
            query = query.with("depth", self.options.depth.to_string());
        }
        let seeds: Vec<&String> = match &self.old_output {
            Some(output) => vec![output],
            None => self.old_inputs.iter().collect(),
        };
        let found = client.fetch_list("bundles", query.with_all("specs", seeds)).await?;
        let mut known = Known::new();
        let mut listed = Vec::new();
        for bundle in found {
            let uuid = uuid_of(client, &bundle)?;
            if known.insert(uuid.clone(), bundle).is_none() {
                listed.push(uuid);
            }
        }
        let mut seen: HashSet<String> = listed.iter().cloned().collect();
        let mut layer = listed.clone();
        for _ in 0..self.options.depth {
            let mut above: Vec<String> = Vec::new();
            for bundle in layer.iter().filter_map(|uuid| known.get(uuid)) {
                let parents = graph::parents(bundle).into_iter();
                above.extend(
                    parents
                        .filter(|parent| seen.insert((*parent).to_owned()))
                        .map(str::to_owned),
                );
            }
            if above.is_empty() {
                break;
            }
            for bundle in fetch_known(client, &above).await? {
                known.insert(uuid_of(client, &bundle)?, bundle);
            }
            listed.splice(0..0, above.iter().cloned());
            layer = above;
        }
        Ok((known, listed))
    }

    /// The image of a bundle, its dependencies mapped by `now`: uuid (none in a dry run) and name.
    async fn create(&self, old: &Object, now: &HashMap<String, String>) -> Result<(Option<String>, String)> {
        let client = &self.worksheet.client;
        let old_uuid = field(old, "uuid");
        let Ok(kind @ (BundleType::Make | BundleType::Run)) = field(old, "bundle_type").parse() else {
            return Err(Error::usage(format!(
                "Can't mimic {old_uuid} since it is not make or run"
            )));
        };
        let dependencies = mapped_dependencies(old, now);
        let command = text(old.get("command")).filter(|_| kind == BundleType::Run);
        let name = self.name_of(old);
        if self.options.dry_run {
            return Ok((None, name));
        }
        if self.options.memoize
            && let Some(command) = command
            && let Some(equal) = equal_run(client, command, &dependencies).await?
        {
            let found = client.fetch_one(&format!("bundles/{equal}"), Query::new()).await?;
            return Ok((Some(equal), bundle_name(&found).to_owned()));
        }
        let mut metadata = copied_metadata(old, kind, &self.options.overrides);
        pin_image(old, kind, &self.options.overrides, &mut metadata);
        metadata.insert("name".to_owned(), Value::from(name.clone()));
        let attributes = json!({"bundle_type": kind.as_str(), "command": old.get("command"), "metadata": metadata,
            "dependencies": dependencies});
        let mut query = Query::new().with("worksheet", self.worksheet.uuid.clone());
        query = if self.options.shadow {
            query.with("shadow", old_uuid)
        } else {
            query.flag("detached", true)
        };
        let bundle = resource("bundles", None, attributes, json!({}));
        let created = client.create("bundles", query, vec![bundle]).await?;
        let uuid = match created.as_slice() {
            [created] => uuid_of(client, created)?,
            _ => return Err(Error::other("the server did not say which bundle it created")),
        };
        Ok((Some(uuid), name))
    }

    fn name_of(&self, old: &Object) -> String {
        match &self.options.name {
            None => bundle_name(old).to_owned(),
            Some(name) if self.old_output.as_deref() == Some(field(old, "uuid")) => name.clone(),
            Some(name) => format!("{name}-{}", bundle_name(old)),
        }
    }
}

/// Fetches bundles of which some may not exist any more.
async fn fetch_known(client: &Client, uuids: &[String]) -> Result<Vec<Object>> {
    let mut found = Vec::new();
    for batch in uuids.chunks(BATCH) {
        match client
            .fetch_list("bundles", Query::new().with_all("specs", batch))
            .await
        {
            Ok(bundles) => found.extend(bundles),
            // One that was deleted fails them all.
            Err(error) if error.is_not_found() => {
                for uuid in batch {
                    match client.fetch_one(&format!("bundles/{uuid}"), Query::new()).await {
                        Ok(bundle) => found.push(bundle),
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// The dependencies of a bundle, as the server wants them for a new one.
pub fn mapped_dependencies(old: &Object, now: &HashMap<String, String>) -> Vec<Value> {
    dependencies_of(old)
        .into_iter()
        .map(|dependency| {
            let parent = field(dependency, "parent_uuid");
            let parent = now.get(parent).map_or(parent, String::as_str);
            json!({"child_path": field(dependency, "child_path"), "parent_uuid": parent,
                   "parent_path": field(dependency, "parent_path")})
        })
        .collect()
}

/// What users may set of the metadata of a bundle, and what they set now instead.
pub fn copied_metadata(old: &Object, kind: BundleType, overrides: &Map<String, Value>) -> Map<String, Value> {
    fields(kind)
        .iter()
        .filter(|field| !field.generated)
        .filter_map(|field| {
            let value = overrides.get(field.key).or_else(|| metadata(old, field.key))?;
            Some((field.key.to_owned(), value.clone()))
        })
        .collect()
}

/// A run gets the very image that was used, unless another one is asked for.
fn pin_image(old: &Object, kind: BundleType, overrides: &Map<String, Value>, new: &mut Map<String, Value>) {
    const REQUEST: &str = "request_docker_image";
    let used = text(metadata(old, "docker_image")).filter(|image| !image.is_empty());
    if let Some(image) = used
        && kind == BundleType::Run
        && !overrides.contains_key(REQUEST)
    {
        new.insert(REQUEST.to_owned(), Value::from(image));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_what_users_set_and_pins_what_was_used() {
        let old = json!({"uuid": "0x1", "bundle_type": "run", "frozen": "2024-01-01", "metadata": {
            "name": "fit", "description": "d", "tags": ["a"], "request_memory": "4g", "request_docker_image": "x:latest",
            "docker_image": "x@sha256:1", "created": 5, "exitcode": 0, "time": 2.5}});
        let old = old.as_object().unwrap();
        let copied = |overrides: Value| {
            let overrides = overrides.as_object().unwrap().clone();
            let mut metadata = copied_metadata(old, BundleType::Run, &overrides);
            pin_image(old, BundleType::Run, &overrides, &mut metadata);
            Value::Object(metadata)
        };
        assert_eq!(
            copied(json!({})),
            json!({"name": "fit", "description": "d", "tags": ["a"], "request_memory": "4g",
                   "request_docker_image": "x@sha256:1"})
        );
        assert_eq!(
            copied(json!({"request_docker_image": "y", "request_cpus": 2, "nosuch": 1})),
            json!({"name": "fit", "description": "d", "tags": ["a"], "request_memory": "4g", "request_cpus": 2,
                   "request_docker_image": "y"})
        );
    }

    #[test]
    fn dependencies_follow_the_map() {
        let old = json!({"dependencies": [
            {"child_path": "a", "parent_uuid": "0x1", "parent_path": "p", "parent_name": "n", "child_uuid": "0x9"},
            {"child_path": "b", "parent_uuid": "0x2", "parent_path": ""}]});
        let now = [("0x1".to_owned(), "0x7".to_owned())].into();
        assert_eq!(
            Value::from(mapped_dependencies(old.as_object().unwrap(), &now)),
            json!([{"child_path": "a", "parent_uuid": "0x7", "parent_path": "p"},
                   {"child_path": "b", "parent_uuid": "0x2", "parent_path": ""}])
        );
    }
}
