//! From what a user typed to a uuid (data-model sections 15.1 and 15.2). Commands resolve without regard to permissions,
//! which are checked on use; references in a source text find only what their author may read.

use std::collections::HashMap;

use domain::spec::{BundleAtom, BundleSpec, NamePattern, WorksheetSpec};
use domain::{Error, Permission, Result, Uuid, name};

use crate::db::{Row, Tx, Value, params};
use crate::permissions::ObjectKind;
use crate::users::active_user;
use crate::worksheets::items::PLACED;
use crate::{Model, NewWorksheet};

/// The worksheet that is made when somebody asks for it by name.
const DASHBOARD: &str = "dashboard";

/// Most different references that one source text may have looked up. Full uuids are not looked up.
const MOST_LOOKUPS: usize = 10_000;

/// What the references of a source text stand for, by their specs.
#[derive(Clone, Debug, Default)]
pub struct References {
    pub bundles: HashMap<String, Result<Uuid>>,
    pub worksheets: HashMap<String, Result<Uuid>>,
}

impl Model {
    /// Resolves a bundle spec relative to a worksheet.
    pub async fn resolve_bundle(&self, viewer: Option<&str>, base: Option<Uuid>, spec: &str) -> Result<Uuid> {
        if let Some(uuid) = BundleSpec::parse(spec.trim())?.as_uuid() {
            return Ok(uuid);
        }
        let sight = Sight::everything(viewer);
        self.bundle_in(&mut self.db.read().await?, &sight, base, spec).await
    }

    async fn bundle_in(&self, tx: &mut Tx, sight: &Sight<'_>, base: Option<Uuid>, spec: &str) -> Result<Uuid> {
        let spec_text = spec.trim();
        let spec = BundleSpec::parse(spec_text)?;
        let base = match &spec.worksheet {
            Some(worksheet) => {
                let worksheet = self.worksheet_in(tx, sight, base, worksheet).await?;
                if sight.public.is_some() {
                    let (kind, need) = (ObjectKind::Worksheet, Permission::Read);
                    self.check_permission_in(tx, kind, sight.viewer, &[worksheet], need)
                        .await?;
                }
                Some(worksheet)
            }
            None => base,
        };
        match spec.atom {
            BundleAtom::Uuid(uuid) => Ok(uuid),
            BundleAtom::Prefix(prefix) => bundle_by_prefix(tx, sight, &prefix).await,
            BundleAtom::Nth(index) => nth_bundle(tx, base, index).await,
            BundleAtom::Name { pattern, index, .. } => named_bundle(tx, sight, base, spec_text, &pattern, index).await,
        }
    }

    /// What the references in a source text of worksheet `base` stand for, each looked up once, among what the viewer may
    /// read. Full uuids stand for themselves, also of what does not exist. 400 for more than 10,000 different ones.
    pub async fn resolve_references(
        &self,
        viewer: Option<&str>,
        base: Uuid,
        bundles: &[&str],
        worksheets: &[&str],
    ) -> Result<References> {
        let mut found = References::default();
        let mut lookups = 0;
        let public = (!self.is_root(viewer)).then(|| self.public_group());
        let sight = Sight { viewer, public };
        let mut tx = self.db.read().await?;
        for spec in bundles {
            if !found.bundles.contains_key(*spec) {
                let uuid = BundleSpec::parse(spec.trim()).ok().and_then(|spec| spec.as_uuid());
                let result = if let Some(uuid) = uuid {
                    Ok(uuid)
                } else {
                    lookups += 1;
                    self.bundle_in(&mut tx, &sight, Some(base), spec).await
                };
                found.bundles.insert((*spec).to_owned(), answer(result)?);
            }
            too_many(lookups)?;
        }
        for spec in worksheets {
            if !found.worksheets.contains_key(*spec) {
                lookups += usize::from(!domain::id::is_uuid(spec));
                let result = self.worksheet_in(&mut tx, &sight, Some(base), spec).await;
                found.worksheets.insert((*spec).to_owned(), answer(result)?);
            }
            too_many(lookups)?;
        }
        Ok(found)
    }

    /// Resolves several, in order, duplicates kept; the first failure is the result.
    pub async fn resolve_bundles(
        &self,
        viewer: Option<&str>,
        base: Option<Uuid>,
        specs: &[String],
    ) -> Result<Vec<Uuid>> {
        let mut uuids = Vec::with_capacity(specs.len());
        for spec in specs {
            uuids.push(self.resolve_bundle(viewer, base, spec).await?);
        }
        Ok(uuids)
    }

    /// Resolves a worksheet spec. `''` and `/` are the viewer's home worksheet. Never creates one: see
    /// [`Model::resolve_or_create_worksheet`].
    pub async fn resolve_worksheet(&self, viewer: Option<&str>, base: Option<Uuid>, spec: &str) -> Result<Uuid> {
        if let WorksheetSpec::Uuid(uuid) = WorksheetSpec::parse(spec)? {
            return Ok(uuid);
        }
        let sight = Sight::everything(viewer);
        self.worksheet_in(&mut self.db.read().await?, &sight, base, spec).await
    }

    async fn worksheet_in(&self, tx: &mut Tx, sight: &Sight<'_>, base: Option<Uuid>, spec: &str) -> Result<Uuid> {
        match WorksheetSpec::parse(spec)? {
            WorksheetSpec::Uuid(uuid) => Ok(uuid),
            WorksheetSpec::Home => {
                let name = home_name(tx, sight.viewer).await?;
                worksheet_by(tx, sight, base, &Lookup::Name(&name)).await
            }
            WorksheetSpec::Prefix(prefix) => worksheet_by(tx, sight, base, &Lookup::Prefix(&prefix)).await,
            WorksheetSpec::Name(name) => worksheet_by(tx, sight, base, &Lookup::Name(&name)).await,
        }
    }

    /// The same, but the viewer's home worksheet and `dashboard` are made when missing.
    pub async fn resolve_or_create_worksheet(
        &self,
        viewer: Option<&str>,
        base: Option<Uuid>,
        spec: &str,
        now: i64,
    ) -> Result<Uuid> {
        let missing = match self.resolve_worksheet(viewer, base, spec).await {
            Err(error) if error.kind == domain::ErrorKind::NotFound => error,
            result => return result,
        };
        let name = match WorksheetSpec::parse(spec)? {
            WorksheetSpec::Home => home_name(&mut self.db.once().await?, viewer).await?,
            WorksheetSpec::Name(name) if name == DASHBOARD => name,
            _ => return Err(missing),
        };
        let new = NewWorksheet {
            name,
            ..NewWorksheet::default()
        };
        match self.create_worksheet(viewer, new, now).await {
            Ok(worksheet) => Ok(worksheet.uuid),
            // Somebody else made it at the same moment.
            Err(error) => self.resolve_worksheet(viewer, base, spec).await.map_err(|_| error),
        }
    }
}

/// Which objects a look-up finds.
struct Sight<'a> {
    viewer: Option<&'a str>,
    /// The public group, if only what the viewer may read is found.
    public: Option<Uuid>,
}

impl<'a> Sight<'a> {
    fn everything(viewer: Option<&'a str>) -> Self {
        Self { viewer, public: None }
    }

    /// `AND …` for objects with this alias, and its values.
    fn condition(&self, kind: ObjectKind, alias: &str) -> (String, Vec<Value>) {
        let Some(public) = self.public else {
            return (String::new(), Vec::new());
        };
        let sql = format!(
            " AND ({alias}.owner_id = ? OR EXISTS (SELECT 1 FROM {} p WHERE p.object_uuid = {alias}.uuid AND p.permission >= 1 \
             AND (p.group_uuid = ? OR p.group_uuid IN (SELECT m.group_uuid FROM user_group m WHERE m.user_id = ?))))",
            kind.permission_table()
        );
        // Nobody has the empty user id.
        let viewer = self.viewer.unwrap_or("");
        (sql, params![viewer, public, viewer])
    }
}

/// Answers about a spec are kept; a database that fails is no answer.
fn answer(result: Result<Uuid>) -> Result<Result<Uuid>> {
    match result {
        Err(error) if error.status() >= 500 => Err(error),
        result => Ok(result),
    }
}

fn too_many(lookups: usize) -> Result<()> {
    if lookups > MOST_LOOKUPS {
        return Err(Error::usage(format!(
            "More than {MOST_LOOKUPS} different references are looked up by name; write full uuids."
        )));
    }
    Ok(())
}

async fn home_name(tx: &mut Tx, viewer: Option<&str>) -> Result<String> {
    let user = match viewer {
        Some(viewer) => active_user(tx, "`u`.`user_id` = ?", params![viewer]).await?,
        None => None,
    };
    Ok(match user {
        Some(user) => name::home_worksheet(&user.user_name),
        None => name::home_worksheet("public"),
    })
}

async fn bundle_by_prefix(tx: &mut Tx, sight: &Sight<'_>, prefix: &str) -> Result<Uuid> {
    let (visible, more) = sight.condition(ObjectKind::Bundle, "b");
    let sql = format!("SELECT b.uuid FROM bundle b WHERE b.uuid >= ? AND b.uuid < ?{visible} ORDER BY b.id LIMIT 2");
    let mut values = params![prefix, prefix_end(prefix)];
    values.extend(more);
    let rows = tx.all(sql, values).await?;
    match uuids(rows)?.as_slice() {
        [] => Err(Error::not_found(format!(
            "uuid prefix {prefix} doesn't match any bundles"
        ))),
        [uuid] => Ok(*uuid),
        _ => Err(Error::usage(format!("More than one bundle has uuid prefix {prefix}"))),
    }
}

/// Greater than every uuid that starts with the prefix, and than no other: `g` follows the last hex digit.
pub(crate) fn prefix_end(prefix: &str) -> String {
    format!("{prefix}g")
}

/// The `index`-th newest bundle item of the worksheet, also a dangling one.
async fn nth_bundle(tx: &mut Tx, base: Option<Uuid>, index: u64) -> Result<Uuid> {
    let Some(worksheet) = base else {
        return Err(Error::usage("Nothing is specified"));
    };
    // For `^0`, which is never in bounds, all are counted.
    let wanted = match index {
        0 => i64::MAX,
        _ => i64::try_from(index).unwrap_or(i64::MAX),
    };
    let rows = tx
        .all(
            format!(
                "SELECT i.bundle_uuid FROM worksheet_item i WHERE i.worksheet_uuid = ? AND i.bundle_uuid IS NOT NULL \
                 ORDER BY {PLACED} DESC LIMIT ?"
            ),
            params![worksheet, wanted],
        )
        .await?;
    let found = uuids(rows)?;
    pick(&found, index).ok_or_else(|| Error::usage(format!("{} bundles, index {index} out of bounds", found.len())))
}

async fn named_bundle(
    tx: &mut Tx,
    sight: &Sight<'_>,
    base: Option<Uuid>,
    spec: &str,
    pattern: &NamePattern,
    index: u64,
) -> Result<Uuid> {
    let (visible, more) = sight.condition(ObjectKind::Bundle, "b");
    let (condition, text) = match pattern {
        NamePattern::Exact(name) => ("b.name = ?", name),
        NamePattern::Like(like) => ("b.name LIKE ? ESCAPE '|'", like),
    };
    let limit = i64::try_from(index.max(1)).unwrap_or(i64::MAX);
    let (sql, mut values) = match base {
        Some(worksheet) => (
            format!(
                "SELECT i.bundle_uuid FROM worksheet_item i {} bundle b ON b.uuid = i.bundle_uuid \
                 WHERE i.worksheet_uuid = ? AND {condition}{visible} ORDER BY {PLACED} DESC LIMIT ?",
                tx.engine().ordered_join()
            ),
            params![worksheet, text],
        ),
        None => (
            format!(
                "SELECT b.uuid FROM bundle b{} WHERE {condition}{visible} ORDER BY b.id DESC LIMIT ?",
                tx.engine().by_index("bundle_name_index")
            ),
            params![text],
        ),
    };
    values.extend(more);
    values.push(limit.into());
    let found = uuids(tx.all(sql, values).await?)?;
    if found.is_empty() {
        return Err(Error::not_found(format!(
            "bundle spec {spec} doesn't match any bundles"
        )));
    }
    pick(&found, index).ok_or_else(|| {
        Error::usage(format!(
            "bundle spec {spec} matches {} bundles, index {index} out of bounds",
            found.len()
        ))
    })
}

fn pick(found: &[Uuid], index: u64) -> Option<Uuid> {
    let index = usize::try_from(index).ok()?.checked_sub(1)?;
    found.get(index).copied()
}

fn uuids(rows: Vec<Row>) -> Result<Vec<Uuid>> {
    rows.into_iter().map(|mut row| row.uuid()).collect()
}

enum Lookup<'a> {
    Prefix(&'a str),
    Name(&'a str),
}

/// First among the base worksheet's own references to worksheets, then everywhere.
async fn worksheet_by(tx: &mut Tx, sight: &Sight<'_>, base: Option<Uuid>, lookup: &Lookup<'_>) -> Result<Uuid> {
    let (condition, mut values) = match lookup {
        Lookup::Prefix(prefix) => ("w.uuid >= ? AND w.uuid < ?", params![*prefix, prefix_end(prefix)]),
        Lookup::Name(name) => ("w.name = ?", params![*name]),
    };
    let (visible, more) = sight.condition(ObjectKind::Worksheet, "w");
    let condition = format!("{condition}{visible}");
    values.extend(more);
    if let Some(base) = base {
        let within = format!(
            "{condition} AND w.uuid IN (SELECT subworksheet_uuid FROM worksheet_item WHERE worksheet_uuid = ? \
             AND subworksheet_uuid IS NOT NULL)"
        );
        let mut values = values.clone();
        values.push(base.into());
        if let Some(uuid) = only_worksheet(tx, &within, values, lookup).await? {
            return Ok(uuid);
        }
    }
    let found = only_worksheet(tx, &condition, values, lookup).await?;
    found.ok_or_else(|| {
        Error::not_found(match lookup {
            Lookup::Prefix(prefix) => format!("No worksheet found with uuid starting with '{prefix}'"),
            Lookup::Name(name) => format!("No worksheet found with name '{name}'"),
        })
    })
}

async fn only_worksheet(tx: &mut Tx, condition: &str, values: Vec<Value>, lookup: &Lookup<'_>) -> Result<Option<Uuid>> {
    let sql = format!("SELECT w.uuid, w.name FROM worksheet w WHERE {condition} ORDER BY w.id LIMIT 100");
    let mut found = Vec::new();
    for mut row in tx.all(sql, values).await? {
        found.push((row.uuid()?, row.text()?));
    }
    if found.len() < 2 {
        return Ok(found.first().map(|(uuid, _)| *uuid));
    }
    let what = match lookup {
        Lookup::Prefix(prefix) => format!("uuid starting with '{prefix}'"),
        Lookup::Name(name) => format!("name '{name}'"),
    };
    let lines: Vec<String> = found
        .iter()
        .map(|(uuid, name)| format!("  Worksheet(uuid='{uuid}', name='{name}')"))
        .collect();
    let text = format!("Found multiple worksheets with {what}:\n{}", lines.join("\n"));
    Err(Error::usage(text))
}
