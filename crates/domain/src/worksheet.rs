//! Worksheet items as they are stored and travel (data-model section 14).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::Uuid;

/// What a line of a worksheet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemType {
    /// A line of text.
    Markup,
    /// A line that begins with `%`, or a comment.
    Directive,
    /// A reference to a bundle.
    Bundle,
    /// A reference to another worksheet.
    Worksheet,
}

impl ItemType {
    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Markup => "markup",
            Self::Directive => "directive",
            Self::Bundle => "bundle",
            Self::Worksheet => "worksheet",
        }
    }
}

impl fmt::Display for ItemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ItemType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "markup" => Ok(Self::Markup),
            "directive" => Ok(Self::Directive),
            "bundle" => Ok(Self::Bundle),
            "worksheet" => Ok(Self::Worksheet),
            _ => Err(Error::usage("Not a valid choice.")),
        }
    }
}

/// One item of a worksheet without its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// Markup, directive, bundle or worksheet.
    pub item_type: ItemType,
    /// Source text of markup and directives; empty for references.
    pub value: String,
    /// The bundle of a bundle item.
    pub bundle_uuid: Option<Uuid>,
    /// The worksheet of a worksheet item.
    pub subworksheet_uuid: Option<Uuid>,
}

impl Item {
    /// One source line of text.
    pub fn markup(line: impl Into<String>) -> Self {
        Self {
            item_type: ItemType::Markup,
            value: line.into(),
            bundle_uuid: None,
            subworksheet_uuid: None,
        }
    }

    /// The text after `%` of a directive.
    pub fn directive(text: impl Into<String>) -> Self {
        Self {
            item_type: ItemType::Directive,
            value: text.into(),
            bundle_uuid: None,
            subworksheet_uuid: None,
        }
    }

    /// A reference to a bundle.
    pub fn bundle(uuid: Uuid) -> Self {
        Self {
            item_type: ItemType::Bundle,
            value: String::new(),
            bundle_uuid: Some(uuid),
            subworksheet_uuid: None,
        }
    }

    /// A reference to a worksheet.
    pub fn worksheet(uuid: Uuid) -> Self {
        Self {
            item_type: ItemType::Worksheet,
            value: String::new(),
            bundle_uuid: None,
            subworksheet_uuid: Some(uuid),
        }
    }
}

/// An item in its place on a worksheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedItem {
    /// Row id, never reused.
    pub id: i64,
    /// Display order, strictly increasing.
    pub sort_key: i64,
    /// The item.
    pub item: Item,
}
