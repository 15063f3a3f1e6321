//! Any source text gives blocks and index maps in all modes, whatever files and searches answer.
#![no_main]

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::worksheet::{Item, ItemType, PlacedItem};
use domain::{Error, Result, Uuid};
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use worksheet::source::{SourceLine, parse};
use worksheet::{BundleInfo, Directive, Found, OwnerNames, Page, Reader, Target};

struct Files<'a>(&'a [u8]);

#[async_trait]
impl Reader for Files<'_> {
    async fn read(&self, _: &str, path: &str, limit: u64) -> Result<Target> {
        match path.len() % 4 {
            0 => Ok(Target::Directory),
            1 => Err(Error::permission("forbidden")),
            _ => Ok(Target::File {
                bytes: self.0[..self.0.len().min(limit as usize)].to_vec(),
                size: self.0.len() as u64,
            }),
        }
    }

    async fn search(&self, keywords: &[String]) -> Result<Found> {
        match keywords.len() % 3 {
            0 => Ok(Found::Aggregate(json!(12))),
            1 => Ok(Found::Bundles(vec![info(0), info(1)])),
            _ => Err(Error::usage("no")),
        }
    }

    async fn search_worksheets(&self, _: &[String]) -> Result<Vec<BundleInfo>> {
        Ok(vec![info(2)])
    }
}

fn uuid(number: u8) -> Uuid {
    Uuid::from_random([number; 16])
}

fn info(number: u8) -> BundleInfo {
    let value = json!({
        "uuid": uuid(number), "bundle_type": "run", "command": "x", "state": "ready", "owner_id": "7",
        "metadata": {"name": "n", "time": 1.5, "tags": ["a", "b", "c"], "deep": {"a": [null, {}]}}, "dependencies": 5,
    });
    value.as_object().cloned().unwrap_or_default()
}

fuzz_target!(|text: &str| {
    let Ok(lines) = parse(text) else { return };
    let item = |line| match line {
        SourceLine::Item(item) => item,
        SourceLine::Bundle { spec } => Item::bundle(uuid(spec.len() as u8 % 4)),
        SourceLine::Worksheet { spec, .. } => Item::worksheet(uuid(spec.len() as u8 % 4)),
    };
    let place = |(index, line)| PlacedItem {
        id: 41 + index as i64,
        sort_key: 20 + index as i64,
        item: item(line),
    };
    let items: Vec<PlacedItem> = lines.into_iter().enumerate().map(place).collect();
    let known = |numbers: [u8; 2]| HashMap::from(numbers.map(|number| (uuid(number), Arc::new(info(number)))));
    let count = items.len();
    let texts = items
        .iter()
        .filter(|placed| placed.item.item_type == ItemType::Markup && !placed.item.value.is_empty());
    let texts: Vec<String> = texts.map(|placed| placed.item.value.clone()).collect();
    let page = Page {
        items,
        bundles: known([0, 1]),
        worksheets: known([0, 2]),
        owners: OwnerNames::from([("7".to_owned(), "ann".to_owned())]),
    };
    let reader = Files(text.as_bytes());
    assert_eq!(page.source().len(), count);
    let brief = block_on(page.brief(&reader));
    assert_eq!(brief.raw_to_block.as_array().map(Vec::len), Some(count));
    let shown: Vec<&str> = brief
        .blocks
        .iter()
        .filter(|block| block.get("ids").is_some() && block["mode"] == "markup_block")
        .flat_map(|block| block["text"].as_str().unwrap_or_default().split('\n'))
        .collect();
    assert_eq!(shown, texts);
    let full = block_on(page.full(&reader));
    let _ = Value::from(full.blocks).to_string();
    let uuids = [uuid(1).to_string()];
    assert_eq!(block_on(page.refresh(&uuids, &reader)).len(), brief.blocks.len());
    for block in &brief.blocks {
        if let Some(directive) = block["directive"].as_str() {
            let _ = block_on(page.directive(&Directive::Text(directive), true, &reader));
        }
    }
});
