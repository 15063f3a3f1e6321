//! Contents and searches for one page, on behalf of its viewer, until the deadline of the request.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::permission::insufficient;
use domain::search::{BundleQuery, WorksheetQuery};
use domain::target_info::TargetType;
use domain::{Bundle, BundleState, Error, ErrorKind, Permission, Uuid};
use futures::{FutureExt, StreamExt, stream};
use model::{BundleRecord, ObjectKind, WorksheetRow};
use serde_json::Value;
use storage::{Beginning, WayEnd};
use tokio::time::{Instant, timeout_at};
use worksheet::{BundleInfo, FileRef, Found, Parsed, Reader, Search, Searched, Target};

use super::values::FileVersion;
use super::{known_infos, names_of, worksheet_values};
use crate::auth::Viewer;
use crate::error::{ApiError, ApiResult};
use crate::reading::{self, MOST_HOPS, normalised, through_dependency};
use crate::state::AppState;

/// Searches of a page that run at the same time.
const SEARCHES: usize = 4;

/// Files whose versions are asked for in one task.
const VERSIONS: usize = 256;

/// What is known of a bundle that a page reads from.
#[derive(Clone, Debug)]
enum Known {
    Readable(Arc<Bundle>),
    /// Not readable, or not there.
    Denied,
}

/// The places where a path may lie: in the bundle itself, else in the dependency that its beginning names, and so on.
struct Way {
    steps: Vec<(Arc<Bundle>, String)>,
    /// Why it goes no further; none when nothing leads on.
    end: Option<Error>,
}

impl Way {
    /// What a cell sees when nothing is at any of the places.
    fn nothing(&self) -> Parsed {
        match &self.end {
            Some(error) if error.kind == ErrorKind::Permission => Parsed::Forbidden,
            _ => Parsed::Nothing,
        }
    }
}

pub struct ServerReader {
    state: AppState,
    viewer: Viewer,
    deadline: Instant,
    known: Mutex<HashMap<Uuid, Known>>,
}

impl ServerReader {
    /// A reader whose deadline begins to run now.
    pub fn new(state: &AppState, viewer: &Viewer) -> Self {
        Self {
            state: state.clone(),
            viewer: viewer.clone(),
            deadline: Instant::now() + Duration::from_secs_f64(state.config.limits.interpret_seconds),
            known: Mutex::default(),
        }
    }

    /// Remembers what was loaded, for this request. Uuids that there are no records of do not exist.
    pub fn know(&self, uuids: &[Uuid], records: HashMap<Uuid, BundleRecord>, permissions: &HashMap<Uuid, Permission>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = records;
        for uuid in uuids {
            let readable = permissions
                .get(uuid)
                .is_some_and(|permission| *permission != Permission::None);
            let entry = match records.remove(uuid).filter(|_| readable) {
                Some(record) => Known::Readable(Arc::new(record.bundle)),
                None => Known::Denied,
            };
            known.insert(*uuid, entry);
        }
    }

    fn of(&self, uuid: &Uuid) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(uuid).cloned()
    }

    /// Looks up bundles and permissions, each once per request.
    async fn load(&self, uuids: &[Uuid]) -> domain::Result<()> {
        let unknown: Vec<Uuid> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            uuids.iter().filter(|uuid| !known.contains_key(uuid)).copied().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let records = self.state.model.bundles_by_uuid(&unknown).await?;
        let permissions = permissions(&self.state, &self.viewer, ObjectKind::Bundle, &unknown).await?;
        self.know(&unknown, records, &permissions);
        Ok(())
    }

    /// Looks up all bundles on the ways of these paths: one round of statements for each step that any of them takes.
    async fn load_ways(&self, mut ends: Vec<(Uuid, String)>) -> domain::Result<()> {
        let mut seen = HashSet::new();
        for _ in 0..MOST_HOPS {
            ends.retain(|end| seen.insert(end.clone()));
            if ends.is_empty() {
                return Ok(());
            }
            let mut uuids: Vec<Uuid> = ends.iter().map(|(uuid, _)| *uuid).collect();
            uuids.sort_unstable();
            uuids.dedup();
            self.load(&uuids).await?;
            let next = |(uuid, path): (Uuid, String)| match self.of(&uuid) {
                Some(Known::Readable(bundle)) => through_dependency(&bundle, &path),
                _ => None,
            };
            ends = ends.into_iter().filter_map(next).collect();
        }
        Ok(())
    }

    /// Everything on the way must have been looked up.
    fn way(&self, uuid: Uuid, path: String) -> Way {
        let (mut steps, mut next, mut end) = (Vec::new(), Some((uuid, path)), None);
        while let Some((uuid, path)) = next.take() {
            let Some(Known::Readable(bundle)) = self.of(&uuid) else {
                end = Some(self.denial(uuid));
                break;
            };
            if steps.len() < MOST_HOPS {
                next = through_dependency(&bundle, &path);
            }
            steps.push((bundle, path));
        }
        Way { steps, end }
    }

    async fn looked_up_way(&self, bundle_uuid: &str, path: &str) -> domain::Result<Way> {
        let uuid = Uuid::parse(bundle_uuid)?;
        let path = normalised(path);
        self.load_ways(vec![(uuid, path.clone())]).await?;
        Ok(self.way(uuid, path))
    }

    /// Root sees that there is no such bundle; to others it is one that they may not read.
    fn denial(&self, uuid: Uuid) -> Error {
        if self.viewer.is_root(&self.state) {
            return Error::not_found(format!("Could not find bundle with uuid {uuid}"));
        }
        let who = match self.viewer.user() {
            Some(user) => domain::permission::Viewer::User {
                name: &user.user_name,
                id: &user.user_id,
            },
            None => domain::permission::Viewer::Anonymous,
        };
        insufficient(who, "bundle", &[uuid.as_str()], &[Permission::None], Permission::Read)
    }

    /// Waits for a result until the deadline.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.deadline, work).await.ok()
    }

    /// The beginning of what is at a path, and the version of a stored file.
    async fn beginning(&self, bundle_uuid: &str, path: &str, limit: u64) -> domain::Result<Located> {
        let way = self.looked_up_way(bundle_uuid, path).await?;
        for (bundle, path) in way.steps {
            match self.step(&bundle, &path, limit).await {
                Ok(located) => return Ok(located),
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(way.end.unwrap_or_else(|| Error::not_found("no such path")))
    }

    async fn step(&self, bundle: &Bundle, path: &str, limit: u64) -> domain::Result<Located> {
        if matches!(bundle.state, BundleState::Preparing | BundleState::Running) {
            let read = self.live_beginning(bundle, path, limit).await;
            return read.map(|target| (target, None)).map_err(plain_error);
        }
        let _turn = self.state.file_values.turn().await;
        let contents = reading::stored(&self.state, bundle);
        let found = contents.beginning(&contents.sub_path(path)?, limit).await?;
        Ok(match found {
            Beginning::File { bytes, size, version } => {
                let version = FileVersion {
                    bundle: bundle.uuid,
                    path: path.to_owned(),
                    version,
                };
                (Target::File { bytes, size }, Some(version))
            }
            Beginning::Directory => (Target::Directory, None),
            Beginning::Other => (Target::NotFound, None),
        })
    }

    /// From the worker; from the store if the run has ended meanwhile.
    async fn live_beginning(&self, bundle: &Bundle, path: &str, limit: u64) -> ApiResult<Target> {
        let target = reading::look(&self.state, bundle.clone(), path, 0)
            .await
            .map_err(|(_, error)| error)?;
        Ok(match target.info.target_type {
            TargetType::Directory => Target::Directory,
            TargetType::Link | TargetType::Other => Target::NotFound,
            TargetType::File => {
                let mut stream = reading::file_beginning(&self.state, &target, limit).await?;
                let mut bytes = Vec::new();
                while let Some(chunk) = stream.next().await {
                    bytes.extend_from_slice(&chunk.map_err(Error::from)?);
                    if bytes.len() as u64 >= limit {
                        bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                        break;
                    }
                }
                // A file that grew since it was looked at is not cut off.
                let size = target.info.size.max(bytes.len() as u64);
                Target::File { bytes, size }
            }
        })
    }

    async fn parsed(&self, file: &FileRef) -> domain::Result<Parsed> {
        let (target, version) = self
            .beginning(&file.bundle_uuid, &file.path, worksheet::parsed_bytes())
            .await?;
        let Target::File { bytes, size } = target else {
            return Ok(Parsed::Nothing);
        };
        let value = self.state.file_values.parse(bytes, size).await?;
        if let Some(version) = version {
            self.state.file_values.keep(version, &value);
        }
        Ok(Parsed::Value(value))
    }

    /// What is at hand of files, for ways that lead through stored bundles only.
    async fn at_hand(&self, ways: Vec<Way>) -> Vec<Option<Parsed>> {
        let places = |way: &Way| {
            let place = |(bundle, path): &(Arc<Bundle>, String)| {
                let contents = reading::stored(&self.state, bundle);
                contents.sub_path(path).ok().map(|path| (contents, path))
            };
            // A path that leaves its bundle is found nowhere.
            way.steps.iter().map_while(place).collect()
        };
        let ends = self.state.storage.way_ends(ways.iter().map(places).collect()).await;
        let ends = ends.unwrap_or_else(|_| vec![WayEnd::Failed; ways.len()]);
        let parsed = ways.into_iter().zip(ends).map(|(mut way, end)| match end {
            WayEnd::File { step, version } => {
                let (bundle, path) = way.steps.swap_remove(step);
                let file = FileVersion {
                    bundle: bundle.uuid,
                    path,
                    version,
                };
                self.state.file_values.get(&file).map(Parsed::Value)
            }
            WayEnd::Other => Some(Parsed::Nothing),
            WayEnd::Nothing => Some(way.nothing()),
            WayEnd::Failed => None,
        });
        parsed.collect()
    }

    async fn found(&self, search: &Search) -> domain::Result<FoundRows> {
        let model = &self.state.model;
        let work = async {
            Ok(match search {
                Search::Bundles(keywords) => {
                    let query = BundleQuery::parse(keywords)?;
                    FoundRows::Bundles(model.search_bundles(self.viewer.id(), &query).await?)
                }
                Search::Worksheets(keywords) => {
                    let query = WorksheetQuery::parse(keywords)?;
                    FoundRows::Worksheets(model.search_worksheets(self.viewer.id(), &query).await?)
                }
            })
        };
        let late = || Err(Error::usage("The search took too long; narrow it, or reload the page."));
        self.in_time(work).await.unwrap_or_else(late)
    }

    /// The infos of everything that searches found, each object looked up once.
    async fn infos(&self, found: &[domain::Result<FoundRows>]) -> ApiResult<Infos> {
        let mut uuids: Vec<Uuid> = Vec::new();
        let mut worksheets: HashMap<Uuid, &WorksheetRow> = HashMap::new();
        for result in found.iter().flatten() {
            match result {
                FoundRows::Bundles(model::Found::Bundles(found)) => uuids.extend(found),
                FoundRows::Bundles(model::Found::Value(_)) => {}
                FoundRows::Worksheets(rows) => worksheets.extend(rows.iter().map(|row| (row.uuid, row))),
            }
        }
        uuids.sort_unstable();
        uuids.dedup();
        let records = self.state.model.bundles_by_uuid(&uuids).await?;
        let permissions = permissions(&self.state, &self.viewer, ObjectKind::Bundle, &uuids).await?;
        let bundles = known_infos(&self.state, &self.viewer, &records, &permissions, |_| None);
        let owners = names_of(&self.state, records.values()).await?;
        self.know(&uuids, records, &permissions);
        let rows: Vec<&WorksheetRow> = worksheets.into_values().collect();
        let values = worksheet_values(&self.state, &self.viewer, &rows).await?;
        let worksheets = rows.iter().zip(values).filter_map(|(row, value)| match value {
            Value::Object(info) => Some((row.uuid, info)),
            _ => None,
        });
        Ok(Infos {
            bundles,
            worksheets: worksheets.collect(),
            owners,
        })
    }
}

type Located = (Target, Option<FileVersion>);

enum FoundRows {
    Bundles(model::Found),
    Worksheets(Vec<WorksheetRow>),
}

#[derive(Default)]
struct Infos {
    bundles: HashMap<Uuid, BundleInfo>,
    worksheets: HashMap<Uuid, BundleInfo>,
    owners: worksheet::OwnerNames,
}

impl Infos {
    fn of(&self, rows: FoundRows) -> Found {
        match rows {
            FoundRows::Bundles(model::Found::Value(value)) => Found::Aggregate(value),
            FoundRows::Bundles(model::Found::Bundles(uuids)) => Found::Bundles(
                uuids
                    .iter()
                    .filter_map(|uuid| self.bundles.get(uuid))
                    .cloned()
                    .collect(),
            ),
            FoundRows::Worksheets(rows) => {
                let infos = rows.iter().filter_map(|row| self.worksheets.get(&row.uuid));
                Found::Worksheets(infos.cloned().collect())
            }
        }
    }
}

#[async_trait]
impl Reader for ServerReader {
    async fn read(&self, bundle_uuid: &str, path: &str, limit: u64) -> domain::Result<Target> {
        match self.in_time(self.beginning(bundle_uuid, path, limit)).await {
            None => Ok(Target::Late),
            Some(Ok((target, _))) => Ok(target),
            Some(Err(error)) if error.kind == ErrorKind::Permission => Err(error),
            Some(Err(error)) if error.status() < 500 => Ok(Target::NotFound),
            Some(Err(error)) => {
                tracing::warn!(bundle_uuid, path, %error, "cannot read a file of a page");
                Err(error)
            }
        }
    }

    async fn search(&self, keywords: &[String]) -> domain::Result<Found> {
        first(self.search_all(&[Search::Bundles(keywords.to_vec())]).await)
    }

    async fn search_worksheets(&self, keywords: &[String]) -> domain::Result<Vec<BundleInfo>> {
        match first(self.search_all(&[Search::Worksheets(keywords.to_vec())]).await)? {
            Found::Worksheets(infos) => Ok(infos),
            Found::Bundles(_) | Found::Aggregate(_) => Ok(Vec::new()),
        }
    }

    async fn prepare(&self, files: &[FileRef]) {
        let end = |file: &FileRef| Some((Uuid::parse(&file.bundle_uuid).ok()?, normalised(&file.path)));
        let ends = files.iter().filter_map(end).collect();
        if let Err(error) = self.load_ways(ends).await {
            // Each read tries for itself and tells its own failure.
            tracing::warn!(%error, "cannot look up the bundles of a page together");
        }
    }

    async fn known(&self, files: &[FileRef]) -> Vec<Option<Parsed>> {
        let mut known: Vec<Option<Parsed>> = vec![None; files.len()];
        let (mut at, mut ways) = (Vec::new(), Vec::new());
        for (index, file) in files.iter().enumerate() {
            let Ok(uuid) = Uuid::parse(&file.bundle_uuid) else {
                continue;
            };
            if self.of(&uuid).is_none() {
                continue;
            }
            let way = self.way(uuid, normalised(&file.path));
            if way.steps.is_empty() {
                known[index] = Some(way.nothing());
                continue;
            }
            let is_live = |(bundle, _): &(Arc<Bundle>, String)| {
                matches!(bundle.state, BundleState::Preparing | BundleState::Running)
            };
            if !way.steps.iter().any(is_live) {
                at.push(index);
                ways.push(way);
            }
        }
        let mut chunks = Vec::new();
        while !ways.is_empty() {
            let rest = ways.split_off(ways.len().min(VERSIONS));
            chunks.push(std::mem::replace(&mut ways, rest));
        }
        let kept = chunks.into_iter().map(|ways| self.at_hand(ways).boxed());
        let kept = stream::iter(kept.collect::<Vec<_>>()).buffered(4).collect::<Vec<_>>();
        if let Some(kept) = self.in_time(kept).await {
            for (index, value) in at.into_iter().zip(kept.into_iter().flatten()) {
                known[index] = value;
            }
        }
        known
    }

    async fn value(&self, file: &FileRef) -> Parsed {
        match self.in_time(self.parsed(file)).await {
            None => Parsed::Late,
            Some(Ok(parsed)) => parsed,
            Some(Err(error)) if error.kind == ErrorKind::Permission => Parsed::Forbidden,
            Some(Err(error)) => {
                if error.status() >= 500 {
                    tracing::warn!(bundle = file.bundle_uuid, path = file.path, %error, "cannot read a file of a page");
                }
                Parsed::Nothing
            }
        }
    }

    async fn search_all(&self, searches: &[Search]) -> Searched {
        let found = searches.iter().map(|search| self.found(search).boxed());
        let found = stream::iter(found.collect::<Vec<_>>()).buffered(SEARCHES);
        let found: Vec<domain::Result<FoundRows>> = found.collect().await;
        match self.infos(&found).await {
            Ok(infos) => Searched {
                results: found.into_iter().map(|rows| rows.map(|rows| infos.of(rows))).collect(),
                owners: infos.owners,
            },
            Err(error) => {
                let error = plain_error(error);
                Searched {
                    results: searches.iter().map(|_| Err(error.clone())).collect(),
                    owners: worksheet::OwnerNames::new(),
                }
            }
        }
    }
}

fn first(searched: Searched) -> domain::Result<Found> {
    let missing = || Err(Error::internal("a search without a result"));
    searched.results.into_iter().next().unwrap_or_else(missing)
}

/// The viewer's permission on each object.
pub(super) async fn permissions(
    state: &AppState,
    viewer: &Viewer,
    kind: ObjectKind,
    uuids: &[Uuid],
) -> domain::Result<HashMap<Uuid, Permission>> {
    let permissions = state.model.permissions_of(kind, viewer.id(), uuids).await?;
    Ok(uuids.iter().copied().zip(permissions).collect())
}

fn plain_error(error: ApiError) -> Error {
    match error {
        ApiError::Failure(error) => error,
        error if error.status().is_client_error() => Error::not_found(error.message()),
        other => Error::internal(other.message()),
    }
}
