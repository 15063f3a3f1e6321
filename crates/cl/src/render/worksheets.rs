//! The description that `ls` and `print` begin with, and the table of `wls`.

use client::Object;
use serde_json::Value;

use super::fields::{field, flag, group_permissions, text, user, worksheet};
use super::table::Table;

/// The five `###` lines.
pub fn header(address: &str, sheet: &Object) -> String {
    let tags: Vec<&str> = match sheet.get("tags") {
        Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let anonymous = if flag(sheet, "is_anonymous") {
        " [anonymous]"
    } else {
        ""
    };
    let frozen = if sheet.get("frozen").is_some_and(|frozen| !frozen.is_null()) {
        " [frozen]"
    } else {
        ""
    };
    format!(
        "### Worksheet: {}\n### Title: {}\n### Tags: {}\n### Owner: {}{anonymous}\n### Permissions: {}{frozen}\n",
        worksheet(address, field(sheet, "uuid"), field(sheet, "name")),
        text(sheet.get("title"))
            .filter(|title| !title.is_empty())
            .unwrap_or("<none>"),
        tags.join(" "),
        user(sheet.get("owner")),
        group_permissions(sheet),
    )
}

/// The table of `wls`.
pub fn table(sheets: &[Object]) -> Table {
    let mut table = Table::new(["uuid", "name", "owner", "permissions"]);
    for sheet in sheets {
        table.row(vec![
            field(sheet, "uuid").chars().take(8).collect(),
            field(sheet, "name").to_owned(),
            user(sheet.get("owner")),
            group_permissions(sheet),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_description_has_five_lines() {
        let mut sheet = json!({
            "uuid": "0x77aa11bb22cc43dd84ee55ff66007788", "name": "rivers", "title": null, "tags": ["hydro", "paper"],
            "frozen": null, "is_anonymous": false, "owner": {"id": "12", "user_name": "mira"},
            "group_permissions": [{"group_name": "public", "permission": 1, "group": {"id": "0x41e95d8592de417cbb72"}}],
        });
        let plain = header("https://cl.example.org", sheet.as_object().unwrap());
        for (key, value) in [
            ("frozen", json!("2024")),
            ("is_anonymous", json!(true)),
            ("tags", json!([])),
            ("owner", json!(null)),
            ("group_permissions", json!([])),
            ("title", json!("T")),
        ] {
            sheet[key] = value;
        }
        let other = header("https://cl.example.org", sheet.as_object().unwrap());
        insta::assert_snapshot!(format!("{plain}\n{other}").replace(" \n", " $\n"));
    }
}
