//! Schemas: named lists of table columns (language section 6).

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Error, Result};
use serde_json::{Value, json};

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaField {
    /// Column name.
    pub name: String,
    /// Where the value comes from.
    pub genpath: String,
    /// Post-processor chain.
    pub post: Option<String>,
    /// The user-defined schema that declared it; none for built-in and inline fields.
    pub from_schema: Option<String>,
}

impl SchemaField {
    fn new(name: &str, genpath: &str, post: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            genpath: genpath.to_owned(),
            post: post.map(str::to_owned),
            from_schema: None,
        }
    }

    /// A field of the arguments of `add`: `[name] genpath [post]`.
    pub fn from_arguments(arguments: &[String]) -> Result<Self> {
        match arguments {
            [genpath] => Ok(Self::new(default_name(genpath), genpath, None)),
            [name, genpath] => Ok(Self::new(name, genpath, None)),
            [name, genpath, post] => Ok(Self::new(name, genpath, Some(post))),
            _ => {
                let list = domain::literal::repr(&json!(arguments));
                Err(Error::usage(format!("Invalid number of arguments: {list}")))
            }
        }
    }

    /// The row of a schema block.
    pub fn to_row(&self) -> Value {
        json!({
            "field": self.name, "generalized-path": self.genpath, "post-processor": self.post,
            "from_schema_name": self.from_schema,
        })
    }
}

/// The last path component, of which the part after the last colon.
fn default_name(genpath: &str) -> &str {
    let last = genpath.rsplit('/').next().unwrap_or("");
    last.rsplit(':').next().unwrap_or("")
}

/// Most columns of a schema or a table. `addschema` can double a schema with each line, so there must be an end.
pub const MAX_FIELDS: usize = 1000;

/// The schemas known at one place of a worksheet. A copy shares the definitions.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    defined: HashMap<String, Arc<Vec<SchemaField>>>,
}

impl Schemas {
    /// Starts a definition, which replaces an older one.
    pub fn define(&mut self, name: &str) {
        self.defined.insert(name.to_owned(), Arc::default());
    }

    /// Appends fields to a schema that [`Self::define`] started. Fails, and appends nothing, above [`MAX_FIELDS`].
    pub fn extend(&mut self, name: &str, fields: &[SchemaField]) -> Result<()> {
        let defined = Arc::make_mut(self.defined.entry(name.to_owned()).or_default());
        if defined.len() + fields.len() > MAX_FIELDS {
            return Err(Error::usage(format!(
                "schema `{name}` would have more than {MAX_FIELDS} columns; split it"
            )));
        }
        defined.extend_from_slice(fields);
        Ok(())
    }

    /// The fields of a schema; user-defined ones shadow built-in ones.
    pub fn get(&self, name: &str) -> Option<Arc<Vec<SchemaField>>> {
        self.defined.get(name).cloned().or_else(|| built_in(name).map(Arc::new))
    }

    /// The fields of the arguments of `display table` or `display record`: schema names or inline `name:genpath:post`.
    /// Fails above [`MAX_FIELDS`].
    pub fn resolve(&self, arguments: &[String]) -> Result<Vec<SchemaField>> {
        let mut fields = Vec::new();
        for argument in arguments {
            match self.get(argument) {
                Some(schema) => fields.extend_from_slice(&schema),
                None => fields.push(inline(argument)),
            }
            if fields.len() > MAX_FIELDS {
                return Err(Error::usage(format!(
                    "the display has more than {MAX_FIELDS} columns; show fewer schemas"
                )));
            }
        }
        Ok(fields)
    }
}

fn inline(argument: &str) -> SchemaField {
    let parts: Vec<String> = argument.splitn(3, ':').map(str::to_owned).collect();
    SchemaField::from_arguments(&parts).unwrap_or_else(|_| SchemaField::new(argument, argument, None))
}

/// Columns of the built-in schemas, each the name of a one-column schema below.
const COMBINED: [(&str, &[&str]); 5] = [
    (
        "default",
        &["uuid", "name", "summary", "data_size", "state", "description"],
    ),
    ("program", &["uuid", "name", "data_size", "description"]),
    ("dataset", &["uuid", "name", "data_size", "description"]),
    (
        "make",
        &["uuid", "name", "summary", "data_size", "state", "description"],
    ),
    (
        "run",
        &["uuid", "name", "summary", "data_size", "time", "state", "description"],
    ),
];

fn built_in(name: &str) -> Option<Vec<SchemaField>> {
    if let Some((_, columns)) = COMBINED.iter().find(|(combined, _)| *combined == name) {
        return Some(columns.iter().filter_map(|column| column_field(column)).collect());
    }
    column_field(name).map(|field| vec![field])
}

fn column_field(name: &str) -> Option<SchemaField> {
    let (header, post) = match name {
        "uuid" => ("uuid[0:8]", Some("[0:8]")),
        "summary" => ("summary[0:1024]", None),
        "data_size" => (name, Some("size")),
        "time" => (name, Some("duration")),
        "created" => (name, Some("date")),
        "name" | "state" | "description" => (name, None),
        _ => return None,
    };
    Some(SchemaField::new(header, name, post))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_of_add_make_fields() {
        for (arguments, name, genpath, post) in [
            ("/stats.json:train/acc", "acc", "/stats.json:train/acc", None),
            ("/stats.json:acc", "acc", "/stats.json:acc", None),
            ("dependencies/in", "in", "dependencies/in", None),
            ("/", "", "/", None),
            ("|", "|", "|", None),
            ("n g", "n", "g", None),
            ("n g p", "n", "g", Some("p")),
        ] {
            assert_eq!(
                SchemaField::from_arguments(&words(arguments)).unwrap(),
                SchemaField::new(name, genpath, post)
            );
        }
        let error = SchemaField::from_arguments(&words("a b c d")).unwrap_err().message;
        assert_eq!(error, "Invalid number of arguments: ['a', 'b', 'c', 'd']");
        assert_eq!(
            SchemaField::from_arguments(&[]).unwrap_err().message,
            "Invalid number of arguments: []"
        );
    }

    #[test]
    fn display_arguments_are_schemas_or_inline_fields() {
        let mut schemas = Schemas::default();
        for (argument, name, genpath, post) in [
            ("/stdout", "stdout", "/stdout", None),
            ("owner:owner_name", "owner", "owner_name", None),
            ("when:created:date", "when", "created", Some("date")),
            ("/stats.json:acc", "/stats.json", "acc", None),
            ("acc:/stats.json:acc", "acc", "/stats.json", Some("acc")),
            ("a:b:c:d", "a", "b", Some("c:d")),
            ("uuid", "uuid[0:8]", "uuid", Some("[0:8]")),
        ] {
            assert_eq!(
                schemas.resolve(&[argument.to_owned()]).unwrap(),
                [SchemaField::new(name, genpath, post)],
                "{argument}"
            );
        }
        assert_eq!(schemas.resolve(&words("default")).unwrap().len(), 6);
        schemas.define("name");
        schemas.extend("name", &[SchemaField::new("x", "y", None)]).unwrap();
        assert_eq!(schemas.resolve(&words("name")).unwrap()[0].name, "x");
    }

    #[test]
    fn schemas_and_displays_have_a_largest_width() {
        let mut schemas = Schemas::default();
        schemas.define("s");
        let field = SchemaField::new("x", "y", None);
        schemas.extend("s", &vec![field.clone(); MAX_FIELDS]).unwrap();
        let error = schemas.extend("s", &[field]).unwrap_err().message;
        assert_eq!(error, "schema `s` would have more than 1000 columns; split it");
        assert_eq!(schemas.resolve(&words("s")).unwrap().len(), MAX_FIELDS);
        assert_eq!(
            schemas.resolve(&words("s s")).unwrap_err().message,
            "the display has more than 1000 columns; show fewer schemas"
        );
    }
}
