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
use crate::reader::{Found, Reader};
use crate::resolve::{read_cells, resolve, resolve_all};
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
        self.answer(interpret(&self.lines(), &self.owners), true, reader).await
    }

    /// Full mode: searches are replaced by what they find, and file cells are read.
    pub async fn full(&self, reader: &dyn Reader) -> Interpretation {
        let mut lines = Vec::new();
        for line in self.lines() {
            match search_command(&line.content) {
                Some(_) => lines.extend(expand(&line, reader).await),
                None => lines.push(line),
            }
        }
        self.answer(interpret(&lines, &self.owners), false, reader).await
    }

    /// The blocks of the search directive whose normalised text this is; none if there is no such directive, or it finds
    /// nothing.
    pub async fn directive(&self, text: &str, reader: &dyn Reader) -> Vec<Value> {
        let lines = self.lines();
        let wanted = |line: &Line<'_>| matches!(&line.content, Content::Directive(tokens) if serialise(tokens) == text);
        let Some(at) = lines
            .iter()
            .position(|line| search_command(&line.content).is_some() && wanted(line))
        else {
            return Vec::new();
        };
        let results = HashMap::from([(at, expand(&lines[at], reader).await)]);
        let blocks = interpret_results(&lines, &results, &self.owners).remove(&at);
        resolve_all(blocks.unwrap_or_default(), true, reader).await
    }

    /// Refresh: one slot per block of brief mode, null unless the block shows one of the bundles; inside, the infos of all
    /// other bundles are null.
    pub async fn refresh(&self, uuids: &[String], reader: &dyn Reader) -> Vec<Value> {
        let wanted: HashSet<&str> = uuids.iter().map(String::as_str).collect();
        let lines = self.lines();
        let layout = interpret(&lines, &self.owners);
        let (mut searches, mut results) = (HashMap::new(), HashMap::new());
        for (at, line) in lines.iter().enumerate() {
            if search_command(&line.content) == Some("search")
                && let Some(block) = layout.block_of(at)
            {
                searches.insert(block, at);
                results.insert(at, expand(line, reader).await);
            }
        }
        let mut found = interpret_results(&lines, &results, &self.owners);
        let mut slots = Vec::new();
        for (index, block) in layout.blocks.into_iter().enumerate() {
            let shown = match (&block, searches.get(&index)) {
                (Block::Placeholder { .. }, Some(at)) => {
                    let blocks = found.remove(at).unwrap_or_default();
                    blocks.into_iter().find(|block| shows(block, &wanted))
                }
                _ => Some(block).filter(|block| shows(block, &wanted)),
            };
            slots.push(match shown {
                Some(block) => without_others(resolve(block, false, reader).await, &wanted),
                None => Value::Null,
            });
        }
        slots
    }

    async fn answer(&self, layout: Layout, brief: bool, reader: &dyn Reader) -> Interpretation {
        let (raw_to_block, block_to_raw) = (layout.raw_to_block(), layout.block_to_raw());
        let blocks = resolve_all(layout.blocks, brief, reader).await;
        Interpretation {
            blocks,
            raw_to_block,
            block_to_raw,
        }
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

fn search_command<'a>(content: &'a Content<'_>) -> Option<&'a str> {
    match content {
        Content::Directive(tokens) => tokens
            .first()
            .map(String::as_str)
            .filter(|c| matches!(*c, "search" | "wsearch")),
        _ => None,
    }
}

/// What a search directive stands for: bundles, worksheets, a line of text, or an error.
async fn expand(line: &Line<'_>, reader: &dyn Reader) -> Vec<Line<'static>> {
    let Content::Directive(tokens) = &line.content else {
        return Vec::new();
    };
    let result = if tokens.first().is_some_and(|command| command == "wsearch") {
        reader.search_worksheets(&tokens[1..]).await.map(|infos| {
            infos
                .into_iter()
                .map(|info| Content::Worksheet(Arc::new(info)))
                .collect()
        })
    } else {
        search_bundles(&tokens[1..], reader).await
    };
    let contents: Vec<Content<'static>> = result.unwrap_or_else(|error| vec![Content::Broken(error.message)]);
    contents
        .into_iter()
        .map(|content| Line {
            source: line.source,
            id: None,
            sort_key: None,
            content,
        })
        .collect()
}

async fn search_bundles(keywords: &[String], reader: &dyn Reader) -> Result<Vec<Content<'static>>> {
    let mut format = None;
    let mut terms = Vec::new();
    for keyword in keywords {
        match keyword.strip_prefix(".format=") {
            Some(chain) => format = Some(chain),
            None => terms.push(keyword.clone()),
        }
    }
    Ok(match reader.search(&terms).await? {
        Found::Bundles(infos) => infos.into_iter().map(|info| Content::Bundle(Arc::new(info))).collect(),
        Found::Aggregate(value) => {
            // The sum over nothing is nothing.
            let value = if value.is_null() { json!(0) } else { value };
            let value = post::apply(format, value);
            vec![Content::Markup(Cow::Owned(domain::literal::display(&value)))]
        }
    })
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

/// `POST /interpret/genpath-table-contents`: replaces the file cells of rows by their values; other values stay.
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
            if wire_cell(value).is_some() {
                *value = next.next().unwrap_or(Value::Null);
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

/// `POST /interpret/file-genpaths`: the values of `{"bundle_uuid", "genpath", "post"}` queries, in order.
pub async fn file_genpaths(queries: &[Value], reader: &dyn Reader) -> Result<Vec<Value>> {
    let cells: Vec<FileCell> = queries.iter().map(query_cell).collect::<Result<_>>()?;
    Ok(read_cells(&cells.iter().collect::<Vec<_>>(), reader).await)
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
