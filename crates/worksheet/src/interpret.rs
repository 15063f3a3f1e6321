//! Items to blocks: a pure function (language section 9). Any list of items gives a result; a faulty item becomes an
//! error block and never takes others with it.

use serde_json::{Value, json};

use crate::block::{Block, Cell, FileCell};
use crate::display::{Display, Fault, FileDisplay, max_lines, property};
use crate::genpath::{self, BundleInfo, INVALID, OwnerNames};
use crate::layout::Layout;
use crate::post;
use crate::schema::{SchemaField, Schemas};
use crate::tokens::serialise;

/// One item with everything known about it. After the expansion of searches there may be more of these than items.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// Index of the item in the source.
    pub source: usize,
    /// Item id, null for results of searches.
    pub id: Value,
    /// Place, null for results of searches.
    pub sort_key: Value,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Markup(String),
    Directive(Vec<String>),
    /// A directive that cannot be read, or a search that failed: the message.
    Broken(String),
    /// Without metadata if the bundle does not exist.
    Bundle(BundleInfo),
    Worksheet(BundleInfo),
}

impl Content {
    fn command(&self) -> Option<&str> {
        match self {
            Self::Directive(tokens) => tokens.first().map(String::as_str),
            _ => None,
        }
    }
}

/// Interprets all lines.
pub(crate) fn interpret(lines: &[Line], owners: &OwnerNames) -> Layout {
    let mut interpreter = Interpreter::new(owners);
    for line in lines {
        interpreter.feed(line);
    }
    interpreter.finish()
}

/// The blocks that `results` make when they stand in the place of a search that follows `before`.
pub(crate) fn interpret_results(before: &[Line], results: &[Line], owners: &OwnerNames) -> Vec<Block> {
    let mut interpreter = Interpreter::new(owners);
    for line in before {
        interpreter.feed(line);
    }
    interpreter.flush_bundles();
    interpreter.flush_worksheets();
    interpreter.close_schema(&Value::Null);
    interpreter.after_markup = false;
    let start = interpreter.layout.blocks.len();
    for line in results {
        interpreter.feed(line);
    }
    interpreter.finish().blocks.split_off(start)
}

struct OpenSchema {
    name: String,
    ids: Vec<Value>,
}

struct PendingBundle {
    line: usize,
    source: usize,
    info: BundleInfo,
}

struct Interpreter<'a> {
    owners: &'a OwnerNames,
    layout: Layout,
    display: Display,
    schemas: Schemas,
    open: Option<OpenSchema>,
    bundles: Vec<PendingBundle>,
    worksheets: Vec<(usize, BundleInfo)>,
    /// The previous item was a line of text, so the next one joins its block.
    after_markup: bool,
    last_sort_key: Value,
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
            last_sort_key: Value::Null,
        }
    }

    fn feed(&mut self, line: &Line) {
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
            self.close_schema(&line.sort_key);
        }
        self.last_sort_key = line.sort_key.clone();
        let continues = std::mem::take(&mut self.after_markup);
        match &line.content {
            Content::Bundle(info) => {
                self.bundles.push(PendingBundle {
                    line: index,
                    source: line.source,
                    info: info.clone(),
                });
            }
            Content::Worksheet(info) => self.worksheets.push((index, info.clone())),
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
        let last = self.last_sort_key.clone();
        self.close_schema(&last);
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

    fn markup(&mut self, index: usize, line: &Line, text: &str, continues: bool) {
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
            ids.push(line.id.clone());
            sort_keys.push(line.sort_key.clone());
            self.layout.direct[index] = Some((last, 0));
            return;
        }
        let (ids, sort_keys) = (vec![line.id.clone()], vec![line.sort_key.clone()]);
        self.push(
            index,
            Block::Markup {
                text: text.to_owned(),
                ids,
                sort_keys,
            },
        );
    }

    fn directive(&mut self, index: usize, line: &Line, tokens: &[String]) -> Result<(), Fault> {
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
                    ids: vec![line.id.clone()],
                });
                self.layout.direct[index] = Some((self.layout.blocks.len(), 0));
                Ok(())
            }
            "add" => self.add(line, |_, name| {
                let mut field = SchemaField::from_arguments(arguments).map_err(|error| Fault::Usage(error.message))?;
                field.from_schema = Some(name.to_owned());
                Ok(vec![field])
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
                    sort_key: line.sort_key.clone(),
                };
                self.push(index, placeholder);
                Ok(())
            }
            _ => Err(Fault::usage(format!("unknown directive `{command}`"))),
        }
    }

    fn add(
        &mut self,
        line: &Line,
        fields: impl FnOnce(&Schemas, &str) -> Result<Vec<SchemaField>, Fault>,
    ) -> Result<(), Fault> {
        let command = line.content.command().unwrap_or("add");
        let Some(open) = &mut self.open else {
            return Err(Fault::usage(format!(
                "`{command}` must be preceded by `schema` directive"
            )));
        };
        let new = fields(&self.schemas, &open.name)?;
        open.ids.push(line.id.clone());
        self.schemas.extend(&open.name, new);
        Ok(())
    }

    fn close_schema(&mut self, sort_key: &Value) {
        if let Some(OpenSchema { name, ids }) = self.open.take() {
            let fields = self.schemas.get(&name).unwrap_or_default();
            self.layout.blocks.push(Block::Schema {
                name,
                fields,
                ids,
                sort_key: sort_key.clone(),
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
        let display = std::mem::take(&mut self.display);
        let source = display.source.unwrap_or(group[0].source);
        let lines: Vec<_> = group.iter().map(|bundle| bundle.line).collect();
        if let Err(fault) = self.show(group, &display) {
            self.fault(fault, source, &lines);
        }
    }

    fn show(&mut self, group: Vec<PendingBundle>, display: &Display) -> Result<(), Fault> {
        match display.mode.as_str() {
            "hidden" => {}
            "table" => self.show_table(group, display),
            "record" => self.show_records(group, display),
            "contents" | "image" => self.show_files(group, display)?,
            "graph" => self.show_graph(group, display)?,
            mode => return Err(Fault::usage(format!("Unknown display mode: {mode}"))),
        }
        Ok(())
    }

    fn columns(&self, display: &Display) -> (Vec<String>, Vec<SchemaField>) {
        let schemas = if display.arguments.is_empty() {
            vec!["default".to_owned()]
        } else {
            display.arguments.clone()
        };
        let fields = self.schemas.resolve(&schemas);
        (schemas, fields)
    }

    fn show_table(&mut self, group: Vec<PendingBundle>, display: &Display) {
        let (schemas, fields) = self.columns(display);
        let block = self.layout.blocks.len();
        let first_index = group[0].line;
        let (mut rows, mut infos) = (Vec::new(), Vec::new());
        for (row, bundle) in group.into_iter().enumerate() {
            self.layout.direct[bundle.line] = Some((block, row));
            let mut info = bundle.info;
            info.entry("metadata").or_insert_with(|| json!({"name": INVALID}));
            rows.push(cells(&fields, &info, self.owners));
            infos.push(info);
        }
        self.layout.blocks.push(Block::Table {
            fields,
            rows,
            infos,
            first_index,
            schemas,
        });
    }

    fn show_records(&mut self, group: Vec<PendingBundle>, display: &Display) {
        let (schemas, fields) = self.columns(display);
        let first_index = group[0].line;
        for bundle in group {
            let row = cells(&fields, &bundle.info, self.owners);
            let record = Block::Record {
                fields: fields.clone(),
                row,
                info: bundle.info,
                first_index,
                schemas: schemas.clone(),
            };
            self.push(bundle.line, record);
        }
    }

    fn show_files(&mut self, group: Vec<PendingBundle>, display: &Display) -> Result<(), Fault> {
        let FileDisplay { path, properties } = FileDisplay::parse(display)?;
        let max_lines = max_lines(&properties)?;
        let pixels = |key: &str| property(&properties, key).and_then(|text| text.parse().ok());
        for PendingBundle { line, info, .. } in group {
            let block = if !info.contains_key("metadata") {
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
                    .and_then(|text| text.parse::<i64>().ok())
                    .map(|n| (key, json!(n))),
            );
        }
        let block = self.layout.blocks.len();
        let mut bundles = Vec::new();
        for (row, bundle) in group.into_iter().enumerate() {
            self.layout.direct[bundle.line] = Some((block, row));
            let name = genpath::value(&bundle.info, name_path, self.owners);
            bundles.push((bundle.info, name));
        }
        self.layout.blocks.push(Block::Graph {
            bundles,
            path,
            max_lines,
            labels,
        });
        Ok(())
    }
}

fn cells(fields: &[SchemaField], info: &BundleInfo, owners: &OwnerNames) -> Vec<Cell> {
    fields
        .iter()
        .map(|field| {
            if genpath::is_file(&field.genpath) {
                Cell::File(FileCell {
                    bundle_uuid: info.get("uuid").and_then(Value::as_str).unwrap_or("").to_owned(),
                    genpath: field.genpath.clone(),
                    post: field.post.clone(),
                })
            } else {
                Cell::Value(post::apply(
                    field.post.as_deref(),
                    genpath::value(info, &field.genpath, owners),
                ))
            }
        })
        .collect()
}
