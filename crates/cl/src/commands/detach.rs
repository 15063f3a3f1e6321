//! `cl detach`: take bundles off a worksheet.

use client::{Object, Query};
use domain::literal::display;
use serde_json::{Value, json};

use super::{Command, Group};
use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::parse::{Argument, Arity, Kind, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "detach",
    aliases: &["de"],
    group: Group::Bundles,
    summary: "Take bundles off a worksheet. They are not deleted.",
    arguments,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

fn arguments() -> Vec<Argument> {
    vec![
        Argument::positional("bundle_spec", Arity::AtLeastOne, "Bundles to take off."),
        Argument::option(
            "index",
            "-n --index",
            Arity::One,
            "Which occurrence, if there are several; 1 is the last one.",
        )
        .kind(Kind::Int),
        Argument::worksheet(),
    ]
}

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let worksheet = cli.worksheet(parsed.text("worksheet_spec")).await?;
    let (client, uuids) = cli.bundles(parsed.list("bundle_spec"), &worksheet).await?;
    if client.address() != worksheet.client.address() {
        return Err(Error::usage(
            "The bundles are on another instance than the worksheet; name the worksheet with -w <instance>::<worksheet>.",
        ));
    }
    let path = format!("worksheets/{}", worksheet.uuid);
    let query = Query::new().include(&["items", "items.bundle"]);
    let sheet = client.fetch_one(&path, query).await?;
    let chosen = chosen_items(&fields::related(&sheet, "items"), &uuids, parsed.int("index"))?;
    if chosen.is_empty() {
        return Ok(());
    }
    // Only these items are removed, so that what others add meanwhile stays.
    let body = json!({"items": [], "ids": chosen});
    client
        .post_json(&format!("{path}/add-items"), Query::new(), &body)
        .await?;
    Ok(())
}

/// The ids of the items to remove: of every bundle the occurrence of that index, counted from the end.
fn chosen_items(items: &[&Object], uuids: &[String], index: Option<i64>) -> Result<Vec<Value>> {
    let mut chosen = Vec::new();
    for (position, uuid) in uuids.iter().enumerate() {
        if uuids[..position].contains(uuid) {
            continue;
        }
        let occurrences: Vec<&&Object> = items.iter().rev().filter(|item| shows(item, uuid)).collect();
        let at = match index {
            None if occurrences.len() > 1 => {
                return Err(Error::usage(format!(
                    "bundle {uuid} shows up more than once; say with -n which one is meant (1 is the last one)"
                )));
            }
            None => 1,
            Some(index) => index,
        };
        let item = usize::try_from(at)
            .ok()
            .and_then(|at| occurrences.get(at.checked_sub(1)?));
        match item {
            Some(item) => chosen.push(item_id(item)),
            None if occurrences.is_empty() => {}
            None => {
                return Err(Error::usage(format!(
                    "bundle {uuid} shows up {} times, can't get index {at}",
                    occurrences.len()
                )));
            }
        }
    }
    Ok(chosen)
}

fn shows(item: &Object, uuid: &str) -> bool {
    item.get("bundle")
        .and_then(|bundle| bundle.get("id").or_else(|| bundle.get("uuid")))
        .and_then(Value::as_str)
        == Some(uuid)
}

/// Ids of items are numbers that JSON:API shows as text.
fn item_id(item: &Object) -> Value {
    let id = item.get("id").cloned().unwrap_or(Value::Null);
    display(&id).parse::<i64>().map_or(id, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(bundles: &[&str]) -> Vec<Object> {
        let item = |(index, uuid): (usize, &&str)| {
            let item = json!({"id": index.to_string(), "type": "bundle", "bundle": {"id": uuid}});
            item.as_object().unwrap().clone()
        };
        bundles.iter().enumerate().map(item).collect()
    }

    #[test]
    fn occurrences_are_counted_from_the_end() {
        let items = sheet(&["A", "B", "A", "B", "C"]);
        let items: Vec<&Object> = items.iter().collect();
        for (uuids, index, expected) in [
            (&["C"][..], None, Ok(vec![4])),
            (&["C", "C"], None, Ok(vec![4])),
            (&["D"], None, Ok(vec![])),
            (&["B"], Some(2), Ok(vec![1])),
            (&["A", "B"], Some(1), Ok(vec![2, 3])),
            (&["A"], None, Err("bundle A shows up more than once")),
            (&["A"], Some(3), Err("bundle A shows up 2 times, can't get index 3")),
            (&["A"], Some(0), Err("bundle A shows up 2 times, can't get index 0")),
            (&["A"], Some(-1), Err("bundle A shows up 2 times, can't get index -1")),
        ] {
            let uuids: Vec<String> = uuids.iter().map(|&uuid| uuid.to_owned()).collect();
            match (chosen_items(&items, &uuids, index), expected) {
                (Ok(chosen), Ok(expected)) => {
                    assert_eq!(chosen, expected.into_iter().map(Value::from).collect::<Vec<_>>());
                }
                (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
                (other, _) => panic!("{uuids:?} {index:?}: {other:?}"),
            }
        }
    }
}
