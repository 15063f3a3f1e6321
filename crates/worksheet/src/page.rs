//! A worksheet as the server loaded it, and the answers of the interpretation endpoints (language sections 12 and 13).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::worksheet::{ItemType, PlacedItem};
use domain::{Error, Result, Uuid};
use serde_json::{Map, Value, json};

use crate::block::{Block, FileCell, PlacedInfo};
use crate::genpath::{BundleInfo, INVALID, OwnerNames, is_file};
use crate::interpret::{Content, Line, interpret, interpret_results};
use crate::layout::Layout;
use crate::post;
use crate::reader::{Found, Reader, Search};
use crate::resolve::{Cells, read_cells, resolve_all};
use crate::source;
use crate::tokens::{serialise, tokenize};

/// What has to be loaded to interpret a worksheet.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Items in display order.
    pub items: Vec<PlacedItem>,
    /// Infos of the bundles that exist: [`crate::bundle_info`], or [`crate::private_info`] for unreadable ones.
    pub bundles: HashMap<Uuid, Arc<BundleInfo>>,
    /// Infos of the linked worksheets that exist: the members of a `subworksheets_block`, `name` being `<private>` and the
    /// others null for unreadable ones.
    pub worksheets: HashMap<Uuid, Arc<BundleInfo>>,
    /// User names by id, for the genpath `owner`.
    pub owners: OwnerNames,
}

/// The interpreted part of the answer of `GET /interpret/worksheet/<uuid>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interpretation {
    /// JSON of the blocks.
    pub blocks: Vec<Value>,
    /// Per item `[block, row]` or null.
    pub raw_to_block: Value,
    /// `"block,row"` to item.
    pub block_to_raw: Map<String, Value>,
}

impl Page {
    /// The source lines of the items.
    pub fn source(&self) -> Vec<String> {
        source::emit(self.items.iter().map(|placed| &placed.item), |item| {
            if item.item_type == ItemType::Bundle {
                let info = item.bundle_uuid.and_then(|uuid| self.bundles.get(&uuid));
                return info.map(|info| source::describe_bundle(info)).unwrap_or_default();
            }
            let info = item.subworksheet_uuid.and_then(|uuid| self.worksheets.get(&uuid));
            source::describe_worksheet(
                info.and_then(|info| info.get("name"))
                    .and_then(Value::as_str)
                    .unwrap_or(""),
            )
        })
    }

    /// Brief mode: searches stay placeholders, and file cells stay lists of three.
    pub async fn brief(&self, reader: &dyn Reader) -> Interpretation {
        answer(interpret(&self.lines(), &self.owners), &Cells::Keep, reader).await
    }

    /// Full mode: searches are replaced by what they find, and file cells are read.
    pub async fn full(&self, reader: &dyn Reader) -> Interpretation {
        let lines = self.lines();
        let searches: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].content.is_search()).collect();
        let (mut results, owners) = self.expand(&lines, &searches, reader).await;
        let mut expanded = Vec::with_capacity(lines.len());
        for (at, line) in lines.into_iter().enumerate() {
            match results.remove(&at) {
                Some(found) => expanded.extend(found),
                None => expanded.push(line),
            }
        }
        answer(interpret(&expanded, &owners), &Cells::Read, reader).await
    }

    /// The blocks of one search directive, in order; none if there is no such directive, or it finds nothing. In brief mode
    /// their file cells stay lists of three.
    pub async fn directive(&self, directive: &Directive<'_>, brief: bool, reader: &dyn Reader) -> Vec<Value> {
        let lines = self.lines();
        let wanted = |line: &Line<'_>| match (directive, &line.content) {
            (Directive::Item(id), _) => line.id == Some(*id),
            (Directive::Text(text), Content::Directive(tokens)) => serialise(tokens) == *text,
            (Directive::Text(_), _) => false,
        };
        let Some(at) = lines.iter().position(|line| line.content.is_search() && wanted(line)) else {
            return Vec::new();
        };
        let (results, owners) = self.expand(&lines, &[at], reader).await;
        let blocks = interpret_results(&lines, &results, &owners).remove(&at);
        let cells = if brief { Cells::Keep } else { Cells::Read };
        resolve_all(blocks.unwrap_or_default(), &cells, reader).await
    }

    /// Refresh: one slot per block of brief mode, null unless the block shows one of the bundles; inside, the infos of all
    /// other bundles are null, and only the cells of the wanted ones are read.
    pub async fn refresh(&self, uuids: &[String], reader: &dyn Reader) -> Vec<Value> {
        let wanted: HashSet<&str> = uuids.iter().map(String::as_str).collect();
        let lines = self.lines();
        let layout = interpret(&lines, &self.owners);
        let is_bundle_search = |at: &usize| lines[*at].content.command() == Some("search");
        let searches: Vec<usize> = (0..lines.len()).filter(is_bundle_search).collect();
        let (results, owners) = self.expand(&lines, &searches, reader).await;
        let mut found = interpret_results(&lines, &results, &owners);
        let slots = searches.into_iter().filter_map(|at| Some((layout.block_of(at)?, at)));
        let slots: HashMap<usize, usize> = slots.collect();
        let (mut is_shown, mut shown) = (Vec::new(), Vec::new());
        for (index, block) in layout.blocks.into_iter().enumerate() {
            let block = match (&block, slots.get(&index)) {
                (Block::Placeholder { .. }, Some(at)) => {
                    let blocks = found.remove(at).unwrap_or_default();
                    blocks.into_iter().find(|block| shows(block, &wanted))
                }
                _ => Some(block).filter(|block| shows(block, &wanted)),
            };
            is_shown.push(block.is_some());
            shown.extend(block);
        }
        let mut shown = resolve_all(shown, &Cells::Of(&wanted), reader).await.into_iter();
        is_shown
            .into_iter()
            .map(|is_shown| match is_shown.then(|| shown.next()).flatten() {
                Some(block) => without_others(block, &wanted),
                None => Value::Null,
            })
            .collect()
    }

    /// What the searches in these lines stand for, by line, and the owners of everything on the page.
    async fn expand(
        &self,
        lines: &[Line<'_>],
        searches: &[usize],
        reader: &dyn Reader,
    ) -> (HashMap<usize, Vec<Line<'static>>>, OwnerNames) {
        let mut owners = self.owners.clone();
        if searches.is_empty() {
            return (HashMap::new(), owners);
        }
        let (asked, formats): (Vec<Search>, Vec<Option<&str>>) = searches.iter().map(|at| search(&lines[*at])).unzip();
        let searched = reader.search_all(&asked).await;
        owners.extend(searched.owners);
        let results = searches.iter().zip(formats).zip(searched.results);
        let expanded = results.map(|((at, format), result)| (*at, results_of(lines[*at].source, format, result)));
        (expanded.collect(), owners)
    }

    fn lines(&self) -> Vec<Line<'_>> {
        self.items
            .iter()
            .enumerate()
            .map(|(source, placed)| self.line(source, placed))
            .collect()
    }

    fn line<'a>(&self, source: usize, placed: &'a PlacedItem) -> Line<'a> {
        let item = &placed.item;
        let content = match item.item_type {
            ItemType::Markup => Content::Markup(Cow::Borrowed(&item.value)),
            ItemType::Directive => match tokenize(&item.value) {
                Ok(tokens) => Content::Directive(tokens),
                Err(error) => Content::Broken(error.message),
            },
            ItemType::Bundle => {
                let known = item.bundle_uuid.and_then(|uuid| self.bundles.get(&uuid));
                Content::Bundle(known.map_or_else(|| Arc::new(only_uuid(item.bundle_uuid)), Arc::clone))
            }
            ItemType::Worksheet => {
                let known = item.subworksheet_uuid.and_then(|uuid| self.worksheets.get(&uuid));
                let missing = || {
                    let mut info = only_uuid(item.subworksheet_uuid);
                    info.insert("name".to_owned(), json!(INVALID));
                    info.insert("title".to_owned(), Value::Null);
                    Arc::new(info)
                };
                Content::Worksheet(known.map_or_else(missing, Arc::clone))
            }
        };
        Line {
            source,
            id: Some(placed.id),
            sort_key: Some(placed.sort_key),
            content,
        }
    }
}

fn only_uuid(uuid: Option<Uuid>) -> BundleInfo {
    Map::from_iter([("uuid".to_owned(), json!(uuid))])
}

/// Which search directive is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive<'a> {
    /// The first with this normalised text.
    Text(&'a str),
    /// The item with this row id.
    Item(i64),
}

async fn answer(layout: Layout, cells: &Cells<'_>, reader: &dyn Reader) -> Interpretation {
    let (raw_to_block, block_to_raw) = (layout.raw_to_block(), layout.block_to_raw());
    let blocks = resolve_all(layout.blocks, cells, reader).await;
    Interpretation {
        blocks,
        raw_to_block,
        block_to_raw,
    }
}

/// A search directive as it is asked, and its format.
fn search<'a>(line: &'a Line<'_>) -> (Search, Option<&'a str>) {
    let Content::Directive(tokens) = &line.content else {
        return (Search::Bundles(Vec::new()), None);
    };
    let keywords = tokens.get(1..).unwrap_or_default();
    if line.content.command() == Some("wsearch") {
        return (Search::Worksheets(keywords.to_vec()), None);
    }
    let is_format = |keyword: &&String| keyword.starts_with(".format=");
    let format = keywords
        .iter()
        .rev()
        .find_map(|keyword| keyword.strip_prefix(".format="));
    let terms = keywords.iter().filter(|keyword| !is_format(keyword)).cloned();
    (Search::Bundles(terms.collect()), format)
}

/// What a search stands for: bundles, worksheets, a line of text, or an error.
fn results_of(source: usize, format: Option<&str>, result: Result<Found>) -> Vec<Line<'static>> {
    let contents: Vec<Content<'static>> = match result {
        Ok(Found::Bundles(infos)) => infos.into_iter().map(|info| Content::Bundle(Arc::new(info))).collect(),
        Ok(Found::Worksheets(infos)) => infos
            .into_iter()
            .map(|info| Content::Worksheet(Arc::new(info)))
            .collect(),
        Ok(Found::Aggregate(value)) => {
            // The sum over nothing is nothing.
            let value = if value.is_null() { json!(0) } else { value };
            let value = post::apply(format, value);
            vec![Content::Markup(Cow::Owned(domain::literal::display(&value)))]
        }
        Err(error) => vec![Content::Broken(error.message)],
    };
    contents
        .into_iter()
        .map(|content| Line {
            source,
            id: None,
            sort_key: None,
            content,
        })
        .collect()
}

fn shows(block: &Block, wanted: &HashSet<&str>) -> bool {
    let is_wanted = |placed: &PlacedInfo| wanted.contains(placed.uuid());
    match block {
        Block::Table { infos, .. } => infos.iter().any(is_wanted),
        Block::Record { info, .. } | Block::Contents { info, .. } | Block::Image { info, .. } => is_wanted(info),
        Block::Graph { bundles, .. } => bundles.iter().any(|(info, _)| is_wanted(info)),
        _ => false,
    }
}

fn without_others(mut block: Value, wanted: &HashSet<&str>) -> Value {
    if let Some(infos) = block
        .pointer_mut("/bundles_spec/bundle_infos")
        .and_then(Value::as_array_mut)
    {
        for info in infos {
            let keep = info
                .get("uuid")
                .and_then(Value::as_str)
                .is_some_and(|uuid| wanted.contains(uuid));
            if !keep {
                *info = Value::Null;
            }
        }
    }
    block
}

/// `POST /interpret/genpath-table-contents`: replaces the file cells of rows by their values; other values, and cells that are
/// not read in time, stay.
pub async fn resolve_rows(mut rows: Vec<Value>, reader: &dyn Reader) -> Vec<Value> {
    let mut cells = Vec::new();
    for row in &rows {
        cells.extend(
            row.as_object()
                .into_iter()
                .flatten()
                .filter_map(|(_, value)| wire_cell(value)),
        );
    }
    let values = read_cells(&cells.iter().collect::<Vec<_>>(), reader).await;
    let mut next = values.into_iter();
    for row in &mut rows {
        for (_, value) in row.as_object_mut().into_iter().flatten() {
            if wire_cell(value).is_some()
                && let Some(read) = next.next().flatten()
            {
                *value = read;
            }
        }
    }
    rows
}

/// A file cell on the wire: full uuid, text starting with a slash, null or text. Any other list is a value.
fn wire_cell(value: &Value) -> Option<FileCell> {
    let [bundle_uuid, genpath, post] = value.as_array()?.as_slice() else {
        return None;
    };
    let bundle_uuid = bundle_uuid
        .as_str()
        .filter(|text| domain::id::is_uuid(text))?
        .to_owned();
    let genpath = genpath.as_str().filter(|text| is_file(text))?.to_owned();
    let post = match post {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        _ => return None,
    };
    Some(FileCell {
        bundle_uuid,
        genpath,
        post,
    })
}

/// `POST /interpret/file-genpaths`: the values of `{"bundle_uuid", "genpath", "post"}` queries, in order; null for what is
/// not read in time.
pub async fn file_genpaths(queries: &[Value], reader: &dyn Reader) -> Result<Vec<Value>> {
    let cells: Vec<FileCell> = queries.iter().map(query_cell).collect::<Result<_>>()?;
    let values = read_cells(&cells.iter().collect::<Vec<_>>(), reader).await;
    Ok(values.into_iter().map(Option::unwrap_or_default).collect())
}

fn query_cell(query: &Value) -> Result<FileCell> {
    let text = |key: &str| {
        let missing = || Error::usage(format!("Each query needs a text `{key}`"));
        query
            .get(key)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(missing)
    };
    let genpath = text("genpath")?;
    if !is_file(&genpath) {
        return Err(Error::usage(format!("Not file genpath: {genpath}")));
    }
    let post = query.get("post").and_then(Value::as_str).map(str::to_owned);
    Ok(FileCell {
        bundle_uuid: text("bundle_uuid")?,
        genpath,
        post,
    })
}

#[cfg(test)]
mod tests;
