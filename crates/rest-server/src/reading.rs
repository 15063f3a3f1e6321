//! From (bundle, path) to something readable: permissions, the way through dependencies, store or worker.

use domain::run::ReadArgs;
use domain::target_info::{ResolvedTarget, TargetInfo};
use domain::{Bundle, BundleState, ErrorKind, Permission, Uuid};
use model::ObjectKind;
use storage::Contents;

use crate::auth::Viewer;
use crate::error::{ApiError, ApiResult};
use crate::relay::{self, Refusal};
use crate::state::AppState;

/// Longest chain of dependencies that a path may lead through.
pub const MOST_HOPS: usize = 64;

/// A path that exists, and the bundle that holds it.
#[derive(Debug)]
pub struct Target {
    /// Where the way through dependencies ended.
    pub bundle: Bundle,
    /// The path inside that bundle.
    pub path: String,
    /// What is there; `resolved_target` is set.
    pub info: TargetInfo,
    /// The bytes come from the worker.
    pub live: bool,
}

/// Finds a path: inside the bundle, else inside the dependency that its beginning names, and so on.
pub async fn resolve(state: &AppState, viewer: &Viewer, uuid: Uuid, path: &str, depth: u32) -> ApiResult<Target> {
    let (mut uuid, mut path) = (uuid, normalised(path));
    let mut first_failure = None;
    for _ in 0..MOST_HOPS {
        let bundle = readable_bundle(state, viewer, uuid).await?;
        match look(state, bundle, &path, depth).await {
            Ok(target) => return Ok(target),
            Err((bundle, error)) => {
                let next = if error.is_not_found() {
                    through_dependency(&bundle, &path)
                } else {
                    None
                };
                let error = first_failure.get_or_insert(error);
                match next {
                    Some((parent, rest)) => (uuid, path) = (parent, rest),
                    None => return Err(std::mem::replace(error, ApiError::not_found(""))),
                }
            }
        }
    }
    Err(first_failure.unwrap_or_else(|| ApiError::not_found(format!("Path '{path}' in bundle {uuid} not found"))))
}

/// The bundle, if the viewer may read it. 404 when it does not exist (for those who may know), else 403.
pub async fn readable_bundle(state: &AppState, viewer: &Viewer, uuid: Uuid) -> ApiResult<Bundle> {
    let Some(record) = state.model.bundles(&[uuid]).await?.pop() else {
        return Err(ApiError::not_found(format!("Could not find bundle with uuid {uuid}")));
    };
    state
        .model
        .check_permission(ObjectKind::Bundle, viewer.id(), &[uuid], Permission::Read)
        .await?;
    Ok(record.bundle)
}

/// The stored contents of a bundle.
pub fn stored(state: &AppState, bundle: &Bundle) -> Contents {
    state
        .storage
        .contents_of(&bundle.uuid, Some(bundle.metadata.str("link_url")))
}

/// What is at a path of this bundle, without its dependencies.
pub async fn look(state: &AppState, bundle: Bundle, path: &str, depth: u32) -> Result<Target, (Bundle, ApiError)> {
    let found = match bundle.state {
        BundleState::Preparing => Err(ApiError::not_found(format!(
            "Bundle {} hasn't started running yet, files not available",
            bundle.uuid
        ))),
        BundleState::Running => look_at_worker(state, &bundle, path, depth).await,
        _ => look_in_store(state, &bundle, path, depth)
            .await
            .map(|info| (info, false)),
    };
    match found {
        Ok((mut info, live)) => {
            info.resolved_target = Some(ResolvedTarget {
                bundle_uuid: bundle.uuid.to_string(),
                subpath: path.to_owned(),
            });
            Ok(Target {
                bundle,
                path: path.to_owned(),
                info,
                live,
            })
        }
        Err(error) => Err((bundle, error)),
    }
}

async fn look_at_worker(state: &AppState, bundle: &Bundle, path: &str, depth: u32) -> ApiResult<(TargetInfo, bool)> {
    match relay::target_info(state, bundle, path, i64::from(depth)).await {
        Ok(info) => Ok((info, true)),
        Err(refusal @ Refusal::Failed(_)) => Err(refusal.into_error(bundle)),
        // The run may have ended since its record was read; then its results are in the store.
        Err(refusal) => match state.model.bundle_states(&[bundle.uuid]).await?.get(&bundle.uuid) {
            Some(BundleState::Running) | None => Err(refusal.into_error(bundle)),
            Some(_) => look_in_store(state, bundle, path, depth)
                .await
                .map(|info| (info, false)),
        },
    }
}

async fn look_in_store(state: &AppState, bundle: &Bundle, path: &str, depth: u32) -> ApiResult<TargetInfo> {
    let contents = stored(state, bundle);
    let path = contents.sub_path(path)?;
    Ok(contents.info(&path, depth).await?)
}

/// Bytes of a target that lives at a worker: gzip for files, a tar.gz for directories.
pub async fn read_live(state: &AppState, target: &Target, read: ReadArgs) -> ApiResult<axum::body::Body> {
    relay::read(state, &target.bundle, &target.path, read)
        .await
        .map_err(|refusal| refusal.into_error(&target.bundle))
}

/// The first `limit` bytes of a file, unpacked.
pub async fn file_beginning(state: &AppState, target: &Target, limit: u64) -> ApiResult<contents::ByteStream> {
    if target.live {
        let body = read_live(
            state,
            target,
            ReadArgs::ReadFileSection {
                offset: 0,
                length: limit,
            },
        )
        .await?;
        return Ok(contents::gunzip_stream(body.into_data_stream()));
    }
    let contents = stored(state, &target.bundle);
    Ok(contents
        .file(&contents.sub_path(&target.path)?)
        .await?
        .range_stream(0, limit))
}

/// The parent and the path inside it, when `path` begins with the place of a dependency.
pub fn through_dependency(bundle: &Bundle, path: &str) -> Option<(Uuid, String)> {
    bundle.dependencies.iter().find_map(|dependency| {
        let place = dependency.child_path.trim_matches('/');
        let rest = path.strip_prefix(place).filter(|_| !place.is_empty())?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
        let parent_path = dependency.parent_path.trim_matches('/');
        let separator = if parent_path.is_empty() || rest.is_empty() {
            ""
        } else {
            "/"
        };
        Some((dependency.parent_uuid, format!("{parent_path}{separator}{rest}")))
    })
}

/// A path without empty and `.` components.
pub fn normalised(path: &str) -> String {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/")
}

impl ApiError {
    fn is_not_found(&self) -> bool {
        matches!(self, Self::Failure(error) if error.kind == ErrorKind::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{BundleType, Dependency, Metadata};

    fn run_with(child_path: &str, parent_path: &str) -> Bundle {
        let uuid = Uuid::from_random([1; 16]);
        Bundle {
            uuid,
            bundle_type: BundleType::Run,
            command: None,
            state: BundleState::Ready,
            owner_id: None,
            frozen: None,
            is_anonymous: false,
            storage_type: None,
            is_dir: None,
            metadata: Metadata::new(),
            dependencies: vec![Dependency {
                child_uuid: uuid,
                child_path: child_path.to_owned(),
                parent_uuid: Uuid::from_random([2; 16]),
                parent_path: parent_path.to_owned(),
            }],
        }
    }

    #[test]
    fn paths_lead_through_dependencies_by_whole_components() {
        for (child, parent, path, expected) in [
            ("data", "", "data", Some("")),
            ("data", "", "data/a/b", Some("a/b")),
            ("data", "src/", "data/a", Some("src/a")),
            ("data", "src", "data", Some("src")),
            ("a/b", "", "a/b/c", Some("c")),
            ("data", "", "database", None),
            ("data", "", "other", None),
            ("", "", "x", None),
        ] {
            let found = through_dependency(&run_with(child, parent), path);
            assert_eq!(found.map(|(_, path)| path).as_deref(), expected, "{child} {path}");
        }
    }

    #[test]
    fn paths_lose_empty_and_dot_components() {
        assert_eq!(normalised("/a//./b/"), "a/b");
        assert_eq!(normalised("../x"), "../x");
    }
}
