//! From what a user typed to a uuid (data-model sections 15.1 and 15.2). Ignores permissions; they are checked on use.

use domain::spec::{BundleAtom, BundleSpec, NamePattern, WorksheetSpec};
use domain::{Error, Result, Uuid, name};

use crate::db::{Row, Tx, Value, params};
use crate::{Model, NewWorksheet};

/// The worksheet that is made when somebody asks for it by name.
const DASHBOARD: &str = "dashboard";

impl Model {
    /// Resolves a bundle spec relative to a worksheet.
    pub async fn resolve_bundle(&self, viewer: Option<&str>, base: Option<Uuid>, spec: &str) -> Result<Uuid> {
        let spec_text = spec.trim();
        let spec = BundleSpec::parse(spec_text)?;
        if let Some(uuid) = spec.as_uuid() {
            return Ok(uuid);
        }
        let base = match &spec.worksheet {
            Some(worksheet) => Some(self.resolve_worksheet(viewer, base, worksheet).await?),
            None => base,
        };
        let mut tx = self.db.read().await?;
        match spec.atom {
            BundleAtom::Uuid(uuid) => Ok(uuid),
            BundleAtom::Prefix(prefix) => bundle_by_prefix(&mut tx, &prefix).await,
            BundleAtom::Nth(index) => nth_bundle(&mut tx, base, index).await,
            BundleAtom::Name { pattern, index, .. } => named_bundle(&mut tx, base, spec_text, &pattern, index).await,
        }
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
        match WorksheetSpec::parse(spec)? {
            WorksheetSpec::Uuid(uuid) => Ok(uuid),
            WorksheetSpec::Home => {
                let name = self.home_name(viewer).await?;
                let mut tx = self.db.read().await?;
                worksheet_by(&mut tx, base, &Lookup::Name(&name)).await
            }
            WorksheetSpec::Prefix(prefix) => {
                let mut tx = self.db.read().await?;
                worksheet_by(&mut tx, base, &Lookup::Prefix(&prefix)).await
            }
            WorksheetSpec::Name(name) => {
                let mut tx = self.db.read().await?;
                worksheet_by(&mut tx, base, &Lookup::Name(&name)).await
            }
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
            WorksheetSpec::Home => self.home_name(viewer).await?,
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

    async fn home_name(&self, viewer: Option<&str>) -> Result<String> {
        let user = match viewer {
            Some(viewer) => self.user(viewer).await?,
            None => None,
        };
        Ok(match user {
            Some(user) => name::home_worksheet(&user.user_name),
            None => name::home_worksheet("public"),
        })
    }
}

async fn bundle_by_prefix(tx: &mut Tx, prefix: &str) -> Result<Uuid> {
    let rows = tx
        .all(
            "SELECT uuid FROM bundle WHERE uuid >= ? AND uuid < ? ORDER BY id LIMIT 2",
            params![prefix, prefix_end(prefix)],
        )
        .await?;
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
            "SELECT bundle_uuid FROM worksheet_item WHERE worksheet_uuid = ? AND bundle_uuid IS NOT NULL \
             ORDER BY id DESC LIMIT ?",
            params![worksheet, wanted],
        )
        .await?;
    let found = uuids(rows)?;
    pick(&found, index).ok_or_else(|| Error::usage(format!("{} bundles, index {index} out of bounds", found.len())))
}

async fn named_bundle(tx: &mut Tx, base: Option<Uuid>, spec: &str, pattern: &NamePattern, index: u64) -> Result<Uuid> {
    let (condition, text) = match pattern {
        NamePattern::Exact(name) => ("b.name = ?", name),
        NamePattern::Like(like) => ("b.name LIKE ? ESCAPE '|'", like),
    };
    let limit = i64::try_from(index.max(1)).unwrap_or(i64::MAX);
    let (sql, values) = match base {
        Some(worksheet) => (
            format!(
                "SELECT i.bundle_uuid FROM worksheet_item i {} bundle b ON b.uuid = i.bundle_uuid \
                 WHERE i.worksheet_uuid = ? AND {condition} ORDER BY i.id DESC LIMIT ?",
                tx.engine().ordered_join()
            ),
            params![worksheet, text, limit],
        ),
        None => (
            format!(
                "SELECT b.uuid FROM bundle b{} WHERE {condition} ORDER BY b.id DESC LIMIT ?",
                tx.engine().by_index("bundle_name_index")
            ),
            params![text, limit],
        ),
    };
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
async fn worksheet_by(tx: &mut Tx, base: Option<Uuid>, lookup: &Lookup<'_>) -> Result<Uuid> {
    let (condition, values) = match lookup {
        Lookup::Prefix(prefix) => ("uuid >= ? AND uuid < ?", params![*prefix, prefix_end(prefix)]),
        Lookup::Name(name) => ("name = ?", params![*name]),
    };
    if let Some(base) = base {
        let within = format!(
            "{condition} AND uuid IN (SELECT subworksheet_uuid FROM worksheet_item WHERE worksheet_uuid = ? \
             AND subworksheet_uuid IS NOT NULL)"
        );
        let mut values = values.clone();
        values.push(base.into());
        if let Some(uuid) = only_worksheet(tx, &within, values, lookup).await? {
            return Ok(uuid);
        }
    }
    let found = only_worksheet(tx, condition, values, lookup).await?;
    found.ok_or_else(|| {
        Error::not_found(match lookup {
            Lookup::Prefix(prefix) => format!("No worksheet found with uuid starting with '{prefix}'"),
            Lookup::Name(name) => format!("No worksheet found with name '{name}'"),
        })
    })
}

async fn only_worksheet(tx: &mut Tx, condition: &str, values: Vec<Value>, lookup: &Lookup<'_>) -> Result<Option<Uuid>> {
    let sql = format!("SELECT uuid, name FROM worksheet WHERE {condition} ORDER BY id LIMIT 100");
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
