//! Values, tables and bundles as text, in the formats scripts rely on.

pub mod bundles;
pub mod contents;
pub mod fields;
pub mod info;
pub mod json;
pub mod source;
pub mod table;
pub mod worksheets;
