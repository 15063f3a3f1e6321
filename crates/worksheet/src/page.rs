//! A worksheet as the server loaded it, and the answers of the interpretation endpoints (language sections 12 and 13).

use std::collections::{HashMap, HashSet};

use domain::worksheet::{ItemType, PlacedItem};
use domain::{Error, Result, Uuid};
use serde_json::{Map, Value, json};

use crate::block::{Block, FileCell};
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
    pub bundles: HashMap<Uuid, BundleInfo>,
    /// Infos of the linked worksheets that exist: the members of a `subworksheets_block`, `name` being `<private>` and the
    /// others null for unreadable ones.
    pub worksheets: HashMap<Uuid, Map<String, Value>>,
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
                return info.map(source::describe_bundle).unwrap_or_default();
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
        let wanted = |line: &Line| matches!(&line.content, Content::Directive(tokens) if serialise(tokens) == text);
        let Some(at) = lines
            .iter()
            .position(|line| search_command(&line.content).is_some() && wanted(line))
        else {
            return Vec::new();
        };
        let results = expand(&lines[at], reader).await;
        resolve_all(interpret_results(&lines[..at], &results, &self.owners), true, reader).await
    }

    /// Refresh: one slot per block of brief mode, null unless the block shows one of the bundles; inside, the infos of all
    /// other bundles are null.
    pub async fn refresh(&self, uuids: &[String], reader: &dyn Reader) -> Vec<Value> {
        let wanted: HashSet<&str> = uuids.iter().map(String::as_str).collect();
        let lines = self.lines();
        let layout = interpret(&lines, &self.owners);
        let mut searches = HashMap::new();
        for (at, line) in lines.iter().enumerate() {
            if search_command(&line.content) == Some("search")
                && let Some(block) = layout.block_of(at)
            {
                searches.insert(block, at);
            }
        }
        let mut slots = Vec::new();
        for (index, block) in layout.blocks.into_iter().enumerate() {
            let shown = match (&block, searches.get(&index)) {
                (Block::Placeholder { .. }, Some(at)) => {
                    let results = expand(&lines[*at], reader).await;
                    interpret_results(&lines[..*at], &results, &self.owners)
                        .into_iter()
                        .find(|b| shows(b, &wanted))
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

    fn lines(&self) -> Vec<Line> {
        self.items
            .iter()
            .enumerate()
            .map(|(source, placed)| self.line(source, placed))
            .collect()
    }

    fn line(&self, source: usize, placed: &PlacedItem) -> Line {
        let (id, sort_key) = (json!(placed.id), json!(placed.sort_key));
        let item = &placed.item;
        let content = match item.item_type {
            ItemType::Markup => Content::Markup(item.value.clone()),
            ItemType::Directive => match tokenize(&item.value) {
                Ok(tokens) => Content::Directive(tokens),
                Err(error) => Content::Broken(error.message),
            },
            ItemType::Bundle => {
                let known = item.bundle_uuid.and_then(|uuid| self.bundles.get(&uuid));
                let mut info = known.cloned().unwrap_or_else(|| only_uuid(item.bundle_uuid));
                info.insert("id".to_owned(), id.clone());
                info.insert("sort_key".to_owned(), sort_key.clone());
                Content::Bundle(info)
            }
            ItemType::Worksheet => {
                let known = item.subworksheet_uuid.and_then(|uuid| self.worksheets.get(&uuid));
                let mut info = known.cloned().unwrap_or_else(|| {
                    let mut info = only_uuid(item.subworksheet_uuid);
                    info.insert("name".to_owned(), json!(INVALID));
                    info.insert("title".to_owned(), Value::Null);
                    info
                });
                info.insert("sort_key".to_owned(), sort_key.clone());
                Content::Worksheet(info)
            }
        };
        Line {
            source,
            id,
            sort_key,
            content,
        }
    }
}

fn only_uuid(uuid: Option<Uuid>) -> BundleInfo {
    Map::from_iter([("uuid".to_owned(), json!(uuid))])
}

fn search_command(content: &Content) -> Option<&str> {
    match content {
        Content::Directive(tokens) => tokens
            .first()
            .map(String::as_str)
            .filter(|c| matches!(*c, "search" | "wsearch")),
        _ => None,
    }
}

/// What a search directive stands for: bundles, worksheets, a line of text, or an error.
async fn expand(line: &Line, reader: &dyn Reader) -> Vec<Line> {
    let Content::Directive(tokens) = &line.content else {
        return vec![line.clone()];
    };
    let result = if tokens.first().is_some_and(|command| command == "wsearch") {
        reader
            .search_worksheets(&tokens[1..])
            .await
            .map(|infos| infos.into_iter().map(Content::Worksheet).collect())
    } else {
        search_bundles(&tokens[1..], reader).await
    };
    let contents: Vec<Content> = result.unwrap_or_else(|error| vec![Content::Broken(error.message)]);
    contents
        .into_iter()
        .map(|mut content| {
            if let Content::Bundle(info) | Content::Worksheet(info) = &mut content {
                info.insert("sort_key".to_owned(), Value::Null);
            }
            Line {
                source: line.source,
                id: Value::Null,
                sort_key: Value::Null,
                content,
            }
        })
        .collect()
}

async fn search_bundles(keywords: &[String], reader: &dyn Reader) -> Result<Vec<Content>> {
    let mut format = None;
    let mut terms = Vec::new();
    for keyword in keywords {
        match keyword.strip_prefix(".format=") {
            Some(chain) => format = Some(chain),
            None => terms.push(keyword.clone()),
        }
    }
    Ok(match reader.search(&terms).await? {
        Found::Bundles(infos) => infos.into_iter().map(Content::Bundle).collect(),
        Found::Aggregate(value) => {
            // The sum over nothing is nothing.
            let value = if value.is_null() { json!(0) } else { value };
            let value = post::apply(format, value);
            vec![Content::Markup(domain::literal::display(&value))]
        }
    })
}

fn shows(block: &Block, wanted: &HashSet<&str>) -> bool {
    let is_wanted = |info: &BundleInfo| {
        info.get("uuid")
            .and_then(Value::as_str)
            .is_some_and(|uuid| wanted.contains(uuid))
    };
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
