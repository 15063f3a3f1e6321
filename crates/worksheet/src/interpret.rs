//! Items to blocks: a pure function (language section 9). Any list of items gives a result; a faulty item becomes an
//! error block and never takes others with it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::block::{Block, Cell, FileCell, PlacedInfo};
use crate::display::{Display, Fault, FileDisplay, max_lines, property};
use crate::genpath::{self, BundleInfo, INVALID, OwnerNames};
use crate::layout::Layout;
use crate::number;
use crate::post::Chains;
use crate::schema::{SchemaField, Schemas};
use crate::tokens::serialise;

/// One item with everything known about it. After the expansion of searches there may be more of these than items.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line<'a> {
    /// Index of the item in the source.
    pub source: usize,
    /// Item id, none for results of searches.
    pub id: Option<i64>,
    /// Place, none for results of searches.
    pub sort_key: Option<i64>,
    pub content: Content<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content<'a> {
    Markup(Cow<'a, str>),
    Directive(Vec<String>),
    /// A directive that cannot be read, or a search that failed: the message.
    Broken(String),
    /// Without metadata if the bundle does not exist.
    Bundle(Arc<BundleInfo>),
    Worksheet(Arc<BundleInfo>),
}

impl Content<'_> {
    pub(crate) fn command(&self) -> Option<&str> {
        match self {
            Self::Directive(tokens) => tokens.first().map(String::as_str),
            _ => None,
        }
    }

    /// A directive that stands for what it finds.
    pub(crate) fn is_search(&self) -> bool {
        matches!(self.command(), Some("search" | "wsearch"))
    }
}

/// Interprets all lines.
pub(crate) fn interpret(lines: &[Line<'_>], owners: &OwnerNames) -> Layout {
    let mut interpreter = Interpreter::new(owners);
    for line in lines {
        interpreter.feed(line);
    }
    interpreter.finish()
}

/// The blocks that the results of searches make by themselves, each in the place of its search: the display directive
/// and the schemas above it hold. `results` are by the index of the search's line, as are the blocks.
pub(crate) fn interpret_results(
    lines: &[Line<'_>],
    results: &HashMap<usize, Vec<Line<'_>>>,
    owners: &OwnerNames,
) -> HashMap<usize, Vec<Block>> {
    let mut interpreter = Interpreter::new(owners);
    let mut blocks = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        interpreter.feed(line);
        if let Some(results) = results.get(&at) {
            let mut inside = interpreter.scope();
            for line in results {
                inside.feed(line);
            }
            interpreter.budget = inside.budget;
            blocks.insert(at, inside.finish().blocks);
        }
        if blocks.len() == results.len() {
            break;
        }
    }
    blocks
}

/// What the blocks of one page may cost, see [`field_cost`]: a million bundles in four short columns. A worksheet above it
/// would make an answer of hundreds of megabytes.
const MAX_COST: usize = 4_000_000;

/// What a column costs in every row: a cell, and the texts that the answer repeats.
fn field_cost(field: &SchemaField) -> usize {
    let post = field.post.as_ref().map_or(0, String::len);
    text_cost(field.name.len() + field.genpath.len() + post)
}

fn text_cost(bytes: usize) -> usize {
    1 + bytes / 64
}

struct OpenSchema {
    name: String,
    ids: Vec<Option<i64>>,
}

struct PendingBundle {
    line: usize,
    source: usize,
    placed: PlacedInfo,
}

/// What a display of tables or records shows.
struct Columns {
    /// Arguments of the directive.
    schemas: Arc<[String]>,
    fields: Arc<[SchemaField]>,
}

struct Interpreter<'a> {
    owners: &'a OwnerNames,
    layout: Layout,
    display: Display,
    schemas: Schemas,
    open: Option<OpenSchema>,
    bundles: Vec<PendingBundle>,
    worksheets: Vec<(usize, PlacedInfo)>,
    /// The previous item was a line of text, so the next one joins its block.
    after_markup: bool,
    last_sort_key: Option<i64>,
    /// What is left of [`MAX_COST`].
    budget: usize,
    chains: Arc<Chains>,
}

impl<'a> Interpreter<'a> {
    fn new(owners: &'a OwnerNames) -> Self {
        Self {
            owners,
            layout: Layout::default(),
            display: Display::default(),
            schemas: Schemas::default(),
            open: None,
            bundles: Vec::new(),
            worksheets: Vec::new(),
            after_markup: false,
            last_sort_key: None,
            budget: MAX_COST,
            chains: Arc::default(),
        }
    }

    /// A new page on which the same display directive and schemas hold.
    fn scope(&self) -> Self {
        Self {
            display: self.display.clone(),
            schemas: self.schemas.clone(),
            budget: self.budget,
            chains: Arc::clone(&self.chains),
            ..Self::new(self.owners)
        }
    }

    fn spend(&mut self, cost: usize) -> Result<(), Fault> {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(Fault::usage(
                "the tables of this worksheet are too large to show; split it, or show fewer columns",
            )),
        }
    }

    fn feed(&mut self, line: &Line<'_>) {
        let index = self.layout.direct.len();
        self.layout.direct.push(None);
        let command = line.content.command();
        let is_bundle = matches!(line.content, Content::Bundle(_));
        if !is_bundle {
            self.flush_bundles();
        }
        if !matches!(line.content, Content::Worksheet(_)) {
            self.flush_worksheets();
        }
        if !is_bundle && command != Some("search") {
            self.display = Display::default();
        }
        if !matches!(command, Some("add" | "addschema")) {
            self.close_schema(line.sort_key);
        }
        self.last_sort_key = line.sort_key;
        let continues = std::mem::take(&mut self.after_markup);
        let place = |info: &Arc<BundleInfo>, id| PlacedInfo {
            info: Arc::clone(info),
            id,
            sort_key: line.sort_key,
        };
        match &line.content {
            Content::Bundle(info) => {
                self.bundles.push(PendingBundle {
                    line: index,
                    source: line.source,
                    placed: place(info, line.id),
                });
            }
            Content::Worksheet(info) => self.worksheets.push((index, place(info, None))),
            Content::Markup(text) => self.markup(index, line, text, continues),
            Content::Broken(message) => self.fault(Fault::usage(message), line.source, &[index]),
            Content::Directive(tokens) => {
                if let Err(fault) = self.directive(index, line, tokens) {
                    self.open = None;
                    self.fault(fault, line.source, &[index]);
                }
            }
        }
    }

    fn finish(mut self) -> Layout {
        self.flush_bundles();
        self.flush_worksheets();
        self.close_schema(self.last_sort_key);
        self.layout
    }

    fn push(&mut self, line: usize, block: Block) {
        self.layout.direct[line] = Some((self.layout.blocks.len(), 0));
        self.layout.blocks.push(block);
    }

    fn fault(&mut self, fault: Fault, source: usize, lines: &[usize]) {
        let number = source + 1;
        let text = match fault {
            Fault::Usage(message) => format!("Error in source line {number}: {message}"),
            Fault::Unexpected => format!("Unexpected error while parsing line {number}"),
        };
        for line in lines {
            self.layout.direct[*line] = Some((self.layout.blocks.len(), 0));
        }
        self.layout.blocks.push(Block::Error { text });
    }

    fn markup(&mut self, index: usize, line: &Line<'_>, text: &str, continues: bool) {
        if text.is_empty() {
            return;
        }
        self.after_markup = true;
        let last = self.layout.blocks.len().saturating_sub(1);
        if continues
            && let Some(Block::Markup {
                text: all,
                ids,
                sort_keys,
            }) = self.layout.blocks.last_mut()
        {
            all.push('\n');
            all.push_str(text);
            ids.push(line.id);
            sort_keys.push(line.sort_key);
            self.layout.direct[index] = Some((last, 0));
            return;
        }
        let (ids, sort_keys) = (vec![line.id], vec![line.sort_key]);
        self.push(
            index,
            Block::Markup {
                text: text.to_owned(),
                ids,
                sort_keys,
            },
        );
    }

    fn directive(&mut self, index: usize, line: &Line<'_>, tokens: &[String]) -> Result<(), Fault> {
        let Some((command, arguments)) = tokens.split_first() else {
            return Ok(());
        };
        match command.as_str() {
            "%" => Ok(()),
            "schema" => {
                let name = arguments.first().ok_or_else(|| Fault::usage("`schema` missing name"))?;
                self.schemas.define(name);
                self.open = Some(OpenSchema {
                    name: name.clone(),
                    ids: vec![line.id],
                });
                self.layout.direct[index] = Some((self.layout.blocks.len(), 0));
                Ok(())
            }
            "add" => self.add(line, |_, name| {
                let mut field = SchemaField::from_arguments(arguments).map_err(|error| Fault::Usage(error.message))?;
                field.from_schema = Some(name.to_owned());
                Ok(Arc::new(vec![field]))
            }),
            "addschema" => self.add(line, |schemas, _| {
                let other = arguments
                    .first()
                    .ok_or_else(|| Fault::usage("`addschema` missing name"))?;
                schemas.get(other).ok_or(Fault::Unexpected)
            }),
            "display" => {
                let (mode, rest) = arguments.split_first().ok_or(Fault::Unexpected)?;
                self.display = Display {
                    mode: mode.clone(),
                    arguments: rest.to_vec(),
                    source: Some(line.source),
                };
                Ok(())
            }
            "search" | "wsearch" => {
                let placeholder = Block::Placeholder {
                    directive: serialise(tokens),
                    sort_key: line.sort_key,
                };
                self.push(index, placeholder);
                Ok(())
            }
            _ => Err(Fault::usage(format!("unknown directive `{command}`"))),
        }
    }

    fn add(
        &mut self,
        line: &Line<'_>,
        fields: impl FnOnce(&Schemas, &str) -> Result<Arc<Vec<SchemaField>>, Fault>,
    ) -> Result<(), Fault> {
        let command = line.content.command().unwrap_or("add");
        let Some(mut open) = self.open.take() else {
            return Err(Fault::usage(format!(
                "`{command}` must be preceded by `schema` directive"
            )));
        };
        let new = fields(&self.schemas, &open.name)?;
        self.spend(new.iter().map(field_cost).sum())?;
        self.schemas
            .extend(&open.name, &new)
            .map_err(|error| Fault::Usage(error.message))?;
        open.ids.push(line.id);
        self.open = Some(open);
        Ok(())
    }

    fn close_schema(&mut self, sort_key: Option<i64>) {
        if let Some(OpenSchema { name, ids }) = self.open.take() {
            let fields = self.schemas.get(&name).unwrap_or_default();
            self.layout.blocks.push(Block::Schema {
                name,
                fields: Arc::from(fields.as_slice()),
                ids,
                sort_key,
            });
        }
    }

    fn flush_worksheets(&mut self) {
        if self.worksheets.is_empty() {
            return;
        }
        let block = self.layout.blocks.len();
        let mut infos = Vec::new();
        for (row, (line, info)) in std::mem::take(&mut self.worksheets).into_iter().enumerate() {
            self.layout.direct[line] = Some((block, row));
            infos.push(info);
        }
        self.layout.blocks.push(Block::Subworksheets { infos });
    }

    fn flush_bundles(&mut self) {
        if self.bundles.is_empty() {
            return;
        }
        let group = std::mem::take(&mut self.bundles);
        // A search that follows belongs to the group and is shown alike; any other item resets the display itself.
        let display = self.display.clone();
        let source = display.source.unwrap_or(group[0].source);
        let lines: Vec<_> = group.iter().map(|bundle| bundle.line).collect();
        if let Err(fault) = self.show(group, &display) {
            self.display = Display::default();
            self.fault(fault, source, &lines);
        }
    }

    fn show(&mut self, group: Vec<PendingBundle>, display: &Display) -> Result<(), Fault> {
        match display.mode.as_str() {
            "hidden" => {}
            "table" => self.show_table(group, display)?,
            "record" => self.show_records(group, display)?,
            "contents" | "image" => self.show_files(group, display)?,
            "graph" => self.show_graph(group, display)?,
            mode => return Err(Fault::usage(format!("Unknown display mode: {mode}"))),
        }
        Ok(())
    }

    fn columns(&self, display: &Display) -> Result<Columns, Fault> {
        let schemas: Arc<[String]> = if display.arguments.is_empty() {
            Arc::from(["default".to_owned()])
        } else {
            Arc::from(display.arguments.as_slice())
        };
        let fields = self
            .schemas
            .resolve(&schemas)
            .map_err(|error| Fault::Usage(error.message))?;
        Ok(Columns {
            schemas,
            fields: Arc::from(fields),
        })
    }

    fn show_table(&mut self, group: Vec<PendingBundle>, display: &Display) -> Result<(), Fault> {
        let Columns { schemas, fields } = self.columns(display)?;
        let row_cost: usize = fields.iter().map(field_cost).sum();
        self.spend(row_cost.saturating_mul(group.len()))?;
        let block = self.layout.blocks.len();
        let first_index = group[0].source;
        let (mut rows, mut infos) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for (row, bundle) in group.into_iter().enumerate() {
            self.layout.direct[bundle.line] = Some((block, row));
            let mut placed = bundle.placed;
            if !placed.info.contains_key("metadata") {
                Arc::make_mut(&mut placed.info).insert("metadata".to_owned(), json!({"name": INVALID}));
            }
            rows.push(self.cells(&fields, &placed));
            infos.push(placed);
        }
        self.layout.blocks.push(Block::Table {
            fields,
            rows,
            infos,
            first_index,
            schemas,
        });
        Ok(())
    }

    fn show_records(&mut self, group: Vec<PendingBundle>, display: &Display) -> Result<(), Fault> {
        let Columns { schemas, fields } = self.columns(display)?;
        let columns: usize = fields.iter().map(field_cost).sum();
        let arguments: usize = schemas.iter().map(|argument| text_cost(argument.len())).sum();
        self.spend((columns + arguments).saturating_mul(group.len()))?;
        let first_index = group[0].source;
        for bundle in group {
            let row = self.cells(&fields, &bundle.placed);
            let record = Block::Record {
                fields: Arc::clone(&fields),
                row,
                info: bundle.placed,
                first_index,
                schemas: Arc::clone(&schemas),
            };
            self.push(bundle.line, record);
        }
        Ok(())
    }

    fn show_files(&mut self, group: Vec<PendingBundle>, display: &Display) -> Result<(), Fault> {
        let FileDisplay { path, properties } = FileDisplay::parse(display)?;
        let max_lines = max_lines(&properties)?;
        let pixels = |key: &str| property(&properties, key).and_then(number::integer);
        self.spend(text_cost(path.len()).saturating_mul(group.len()))?;
        for PendingBundle { line, placed: info, .. } in group {
            let block = if !info.info.contains_key("metadata") {
                Block::Error {
                    text: "ERROR: cannot access bundle".to_owned(),
                }
            } else if display.mode == "image" {
                Block::Image {
                    info,
                    path: path.clone(),
                    width: pixels("width"),
                    height: pixels("height"),
                }
            } else {
                Block::Contents {
                    info,
                    path: path.clone(),
                    max_lines,
                }
            };
            self.push(line, block);
        }
        Ok(())
    }

    fn show_graph(&mut self, group: Vec<PendingBundle>, display: &Display) -> Result<(), Fault> {
        let FileDisplay { path, properties } = FileDisplay::parse(display)?;
        let max_lines = max_lines(&properties)?;
        let name_path = property(&properties, "display_name").unwrap_or("name");
        let mut labels: Vec<(&'static str, Value)> = Vec::new();
        for key in ["xlabel", "ylabel"] {
            labels.extend(property(&properties, key).map(|text| (key, json!(text))));
        }
        for key in ["x", "y"] {
            labels.extend(
                property(&properties, key)
                    .and_then(number::integer)
                    .map(|n| (key, json!(n))),
            );
        }
        self.spend(text_cost(path.len()).saturating_mul(group.len()))?;
        let block = self.layout.blocks.len();
        let mut bundles = Vec::with_capacity(group.len());
        for (row, bundle) in group.into_iter().enumerate() {
            self.layout.direct[bundle.line] = Some((block, row));
            let name = placed_value(&bundle.placed, name_path, self.owners);
            bundles.push((bundle.placed, name));
        }
        self.layout.blocks.push(Block::Graph {
            bundles,
            path,
            max_lines,
            labels,
        });
        Ok(())
    }

    fn cells(&self, fields: &[SchemaField], placed: &PlacedInfo) -> Vec<Cell> {
        let cell = |field: &SchemaField| {
            if genpath::is_file(&field.genpath) {
                return Cell::File(FileCell {
                    bundle_uuid: placed.uuid().to_owned(),
                    genpath: field.genpath.clone(),
                    post: field.post.clone(),
                });
            }
            let value = placed_value(placed, &field.genpath, self.owners);
            Cell::Value(self.chains.apply(field.post.as_deref(), value))
        };
        fields.iter().map(cell).collect()
    }
}

/// The value of a genpath that does not read a file, of an item: `id` and `sort_key` are the item's.
fn placed_value(placed: &PlacedInfo, genpath: &str, owners: &OwnerNames) -> Value {
    match (genpath, placed.id, placed.sort_key) {
        ("id", Some(id), _) => json!(id),
        ("sort_key", _, Some(key)) => json!(key),
        _ => genpath::value(&placed.info, genpath, owners),
    }
}
