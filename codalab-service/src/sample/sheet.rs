//! The source of the sample worksheet, and what `cl print` must show of it. Both are written by the same functions, so that a
//! part cannot be added to one without the other.

use super::expected::Expected;
use super::rendering::RENDERING;

const DEFAULT_HEADER: [&str; 6] = [
    "uuid[0:8]",
    "name",
    "summary[0:1024]",
    "data_size",
    "state",
    "description",
];
const VALID: &str = "valid_schema";
const VALID_HEADER: [&str; 6] = ["uuid", "name", "summary", "metadata", "permission", "group_permissions"];
const PROCESSED: &str = "processed_schema";
const PROCESSED_HEADER: [&str; 4] = ["duration time", "updated", "size", "uuid"];

/// Which bundles and worksheets a sample worksheet refers to (uuids).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub worksheets: Vec<String>,
    pub private_worksheets: Vec<String>,
    pub bundles: Vec<String>,
    pub private_bundles: Vec<String>,
    pub images: Vec<String>,
    pub pages: Vec<String>,
    pub tables: Vec<String>,
    /// The limit of searches.
    pub limit: usize,
}

/// A sample worksheet.
#[derive(Debug, Default)]
pub struct Sheet {
    /// Source, line by line.
    pub source: Vec<String>,
    /// What `cl print` shows after the description of the worksheet.
    pub expected: Vec<Expected>,
}

impl Sheet {
    /// The whole worksheet.
    pub fn new(title: &str, parts: &Parts) -> Sheet {
        let mut sheet = Sheet::default();
        sheet.text(&[
            "## Introduction",
            &format!("This is the **{title}**. It has one example of everything that a worksheet can show."),
        ]);
        sheet.references(parts);
        sheet.schemas(&parts.bundles);
        sheet.display_modes(parts);
        sheet.searches(parts.limit);
        sheet.heading("## Invalid Directives");
        for word in ["hi", "hello"] {
            sheet.source(&[&format!("% {word}"), ""]);
            sheet.expect(Expected::like(format!(
                r"Error in source line \d+: unknown directive `{word}`"
            )));
        }
        sheet.heading("## Rendering");
        for (title, lines) in RENDERING {
            sheet.heading(&format!("#### {title}"));
            sheet.text(lines);
        }
        sheet
    }

    fn references(&mut self, parts: &Parts) {
        self.heading("## Worksheet References");
        self.heading("#### Valid References");
        self.worksheets(&parts.worksheets);
        self.heading("#### Private References");
        self.worksheets(&parts.private_worksheets);
        self.heading("## Bundle References");
        self.heading("#### Valid References");
        self.table("", &parts.bundles, &DEFAULT_HEADER);
        self.heading("#### Private References");
        self.table("", &parts.private_bundles, &DEFAULT_HEADER);
    }

    fn schemas(&mut self, bundles: &[String]) {
        self.heading("## Schemas");
        self.heading("#### Valid Schema");
        let fields = VALID_HEADER[1..].iter().map(|name| (*name).to_owned());
        let fields: Vec<String> = ["uuid uuid \"[0:8]\"".to_owned()].into_iter().chain(fields).collect();
        self.schema(VALID, &fields);
        self.table("% display table valid_schema", bundles, &VALID_HEADER);
        self.heading("#### Post-Processors");
        let fields = [
            "\"duration time\" time duration",
            "updated last_updated date",
            "size data_size size",
            "uuid uuid \"[0:8]\"",
        ];
        self.schema(PROCESSED, &fields.map(str::to_owned));
        self.table("% display table processed_schema", bundles, &PROCESSED_HEADER);
        self.heading("#### Combined Schemas");
        self.source(&[
            "% schema combined_schema",
            &format!("% addschema {VALID}"),
            &format!("% addschema {PROCESSED}"),
        ]);
        self.expect(Expected::is("[SchemaBlock]"));
        let header: Vec<&str> = VALID_HEADER.iter().chain(&PROCESSED_HEADER).copied().collect();
        self.table("% display table combined_schema", bundles, &header);
        self.heading("#### Invalid Schema: a Field Outside of One");
        self.source(&["% add name"]);
        self.expect_error("Error in source line {}: `add` must be preceded by `schema` directive");
        self.heading("#### Invalid Schema: Unknown Parent");
        self.source(&["% schema orphan_schema", "% addschema no_such_schema"]);
        self.expect_error("Unexpected error while parsing line {}");
        self.heading("#### Invalid Schema: Unknown Functions");
        let fields = [
            "time time duration2",
            "updated last_updated date2",
            "size data_size size2",
        ];
        self.schema("invalid_schema", &fields.map(str::to_owned));
        self.source(&["% display table invalid_schema"]);
        self.bundles(bundles);
        let cells = ["duration2", "date2", "size2"].map(|name| format!("<invalid function: {name}>"));
        let row = Expected::is(&format!("  {}  {}  {}", cells[0], cells[1], cells[2]));
        self.expect_table(&["time", "updated", "size"], vec![row; bundles.len()]);
    }

    fn display_modes(&mut self, parts: &Parts) {
        self.heading("## Display Modes");
        self.heading("#### Table");
        self.table("% display table", &parts.bundles, &DEFAULT_HEADER);
        self.heading("#### Image");
        self.source(&["% display image / width=500"]);
        self.bundles(&parts.images);
        for _ in &parts.images {
            self.expect(Expected::is("[Image]"));
        }
        self.heading("#### Record");
        self.source(&["% display record valid_schema"]);
        self.bundles(&parts.bundles);
        for uuid in &parts.bundles {
            self.expect(Expected::like(" {2}-+"));
            let prefix = &uuid[..8];
            self.expected.push(Expected::like(format!(" {{2}}uuid: +{prefix} *")));
            let others = VALID_HEADER[1..].iter();
            self.expected
                .extend(others.map(|name| Expected::like(format!(" {{2}}{name}: .*"))));
        }
        self.heading("#### HTML");
        self.source(&["% display html /"]);
        self.bundles(&parts.pages);
        self.expect(Expected::like(
            r"Error in source line \d+: Unknown display mode: html".to_owned(),
        ));
        self.heading("#### Graph");
        self.source(&["% display graph /"]);
        self.bundles(&parts.tables);
        self.expect(Expected::is("[Graph]"));
    }

    fn searches(&mut self, limit: usize) {
        self.heading("## Search");
        self.heading("#### Search for Bundles");
        self.search(&format!("search echo run .limit={limit}"), limit, &DEFAULT_HEADER);
        self.heading("#### Search for the Beginning of a Uuid");
        self.search(&format!("search 0x .limit={limit}"), limit, &DEFAULT_HEADER);
        self.heading("#### Search for Worksheets");
        self.worksheet_search(&format!("wsearch worksheet .limit={limit}"), limit);
        self.heading("#### Total Disk Usage");
        self.source(&["Bytes of everybody:", "% search size=.sum .format=size", ""]);
        self.expect(Expected::is("Bytes of everybody:"));
        self.expected
            .push(Expected::like(r"\d+(\.\d)?( bytes|[kmgt])".to_owned()));
        self.heading("#### My Bundles");
        self.search(&format!("search .mine .limit={limit}"), limit, &DEFAULT_HEADER);
        self.heading("#### Largest Bundles");
        self.search(&format!("search size=.sort- .limit={limit}"), limit, &DEFAULT_HEADER);
        self.heading("#### Recently Finished Bundles");
        let recent = format!("search state=ready .limit={limit} id=.sort-");
        self.search(&recent, limit, &DEFAULT_HEADER);
        self.heading("#### Worksheets with a Tag");
        self.worksheet_search(&format!("wsearch tag={} .limit={limit}", super::TAG), limit);
        self.heading("#### Search with a Schema");
        self.source(&["% display table processed_schema"]);
        self.search(&format!("search echo run .limit={limit}"), limit, &PROCESSED_HEADER);
    }

    fn heading(&mut self, line: &str) {
        self.text(&[line]);
    }

    /// Lines of text; an empty line among them ends a block.
    fn text(&mut self, lines: &[&str]) {
        self.source(lines);
        self.source(&[""]);
        let blocks = lines.split(|line| line.is_empty()).filter(|block| !block.is_empty());
        for block in blocks {
            self.expected.push(Expected::is(""));
            self.expected.extend(block.iter().map(|line| Expected::is(line)));
        }
    }

    fn source(&mut self, lines: &[&str]) {
        self.source.extend(lines.iter().map(|line| (*line).to_owned()));
    }

    /// A block that begins with this line.
    fn expect(&mut self, first: Expected) {
        self.expected.push(Expected::is(""));
        self.expected.push(first);
    }

    /// An error about the last line of the source; `{}` is its number.
    fn expect_error(&mut self, message: &str) {
        let line = self.source.len().to_string();
        self.expect(Expected::is(&message.replace("{}", &line)));
        self.source(&[""]);
    }

    fn worksheets(&mut self, uuids: &[String]) {
        self.expected.push(Expected::is(""));
        for uuid in uuids {
            self.source(&[&format!("{{{{{uuid}}}}}")]);
            self.expected
                .push(Expected::like(format!(r"\[Worksheet .*/worksheets/{uuid} \(.+\)\]")));
        }
        self.source(&[""]);
    }

    fn bundles(&mut self, uuids: &[String]) {
        self.source.extend(uuids.iter().map(|uuid| format!("{{{uuid}}}")));
        self.source(&[""]);
    }

    fn schema(&mut self, name: &str, fields: &[String]) {
        self.source(&[&format!("% schema {name}")]);
        self.source.extend(fields.iter().map(|field| format!("% add {field}")));
        self.expect(Expected::is("[SchemaBlock]"));
    }

    /// Bundles as a table; each row has the beginning of its uuid.
    fn table(&mut self, directive: &str, uuids: &[String], header: &[&str]) {
        if !directive.is_empty() {
            self.source(&[directive]);
        }
        self.bundles(uuids);
        let rows = uuids
            .iter()
            .map(|uuid| Expected::like(format!(" {{2}}(.* )?{}( .*)?", &uuid[..8])));
        self.expect_table(header, rows.collect());
    }

    fn expect_table(&mut self, header: &[&str], rows: Vec<Expected>) {
        let names: Vec<String> = header.iter().map(|name| regex::escape(name)).collect();
        self.expect(Expected::like(format!(" {{2}}{} *", names.join(" {2,}"))));
        self.expected.push(Expected::like(" {2}-+"));
        self.expected.extend(rows);
    }

    fn search(&mut self, directive: &str, limit: usize, header: &[&str]) {
        self.source(&[&format!("% {directive}"), ""]);
        let rows = Expected::some(" {2}(.* )?0x[0-9a-f]{6}( .*)?", 1, limit);
        self.expect_table(header, vec![rows]);
    }

    fn worksheet_search(&mut self, directive: &str, limit: usize) {
        self.source(&[&format!("% {directive}"), ""]);
        self.expect(Expected::some(
            r"\[Worksheet .*/worksheets/0x[0-9a-f]{32} \(.+\)\]",
            1,
            limit,
        ));
    }
}

/// The parts of a sample worksheet that exists, from its source; a worksheet that is something else has fewer.
pub fn parts_of(source: &[String]) -> Parts {
    let mut parts = Parts::default();
    let (mut section, mut part) = ("", "");
    for line in source {
        if let Some(title) = line.strip_prefix("## ") {
            (section, part) = (title, "");
        } else if let Some(title) = line.strip_prefix("#### ") {
            part = title;
        } else if let Some(limit) = line.strip_prefix("% search echo run .limit=") {
            parts.limit = limit.parse().unwrap_or_default();
        }
        let list = match (section, part) {
            ("Worksheet References", "Valid References") => &mut parts.worksheets,
            ("Worksheet References", _) => &mut parts.private_worksheets,
            ("Bundle References", "Valid References") => &mut parts.bundles,
            ("Bundle References", _) => &mut parts.private_bundles,
            ("Display Modes", "Image") => &mut parts.images,
            ("Display Modes", "HTML") => &mut parts.pages,
            ("Display Modes", "Graph") => &mut parts.tables,
            _ => continue,
        };
        list.extend(reference(line).map(str::to_owned));
    }
    parts
}

/// The uuid in the braces that end a line.
fn reference(line: &str) -> Option<&str> {
    let inside = line.strip_suffix('}')?;
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let (_, uuid) = inside.rsplit_once('{')?;
    domain::id::is_uuid(uuid).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuids(first: u8) -> Vec<String> {
        (0..2)
            .map(|index| format!("0x{:02x}{}", first + index, "0".repeat(30)))
            .collect()
    }

    fn parts() -> Parts {
        Parts {
            worksheets: uuids(0x10),
            private_worksheets: uuids(0x20),
            bundles: uuids(0x30),
            private_bundles: uuids(0x40),
            images: uuids(0x50),
            pages: uuids(0x60),
            tables: uuids(0x70),
            limit: 2,
        }
    }

    #[test]
    fn the_parts_are_found_again_in_the_source() {
        let sheet = Sheet::new("Small Worksheet", &parts());
        assert_eq!(parts_of(&sheet.source), parts());
        // Also as `cl print -r` shows it.
        let printed: Vec<String> = sheet
            .source
            .iter()
            .map(|line| match reference(line) {
                Some(uuid) if line.starts_with("{{") => format!("[worksheet w]{{{{{uuid}}}}}"),
                Some(uuid) => format!("[run r : echo {{x}}]{{{uuid}}}"),
                None => line.clone(),
            })
            .collect();
        assert_eq!(parts_of(&printed), parts());
        assert_eq!(parts_of(&["# Something else".to_owned()]), Parts::default());
    }

    #[test]
    fn errors_are_expected_at_the_line_of_their_directive() {
        let sheet = Sheet::new("Small Worksheet", &parts());
        let line = 1 + sheet.source.iter().position(|line| line == "% add name").unwrap();
        // The first `% add name` belongs to the valid schema; the one without schema stands after a heading.
        let alone = 1
            + sheet
                .source
                .windows(2)
                .position(|lines| lines[0].is_empty() && lines[1] == "% add name")
                .unwrap()
            + 1;
        assert!(line < alone);
        let message = format!("Error in source line {alone}: `add` must be preceded by `schema` directive");
        assert!(sheet.expected.contains(&Expected::is(&message)));
    }
}
