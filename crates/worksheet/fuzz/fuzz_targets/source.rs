//! The laws of source text: one item per line, the normal form is a fixed point, and it keeps all items.
#![no_main]

use domain::Uuid;
use domain::worksheet::Item;
use libfuzzer_sys::fuzz_target;
use worksheet::source::{SourceLine, emit, parse, served_directive};
use worksheet::tokens::{serialise, tokenize};

fn items(text: &str) -> Option<Vec<Item>> {
    let uuid = Uuid::parse("0x0123456789abcdef0123456789abcdef").expect("a uuid");
    let item = |line| match line {
        SourceLine::Item(item) => item,
        SourceLine::Bundle { .. } => Item::bundle(uuid),
        SourceLine::Worksheet { .. } => Item::worksheet(uuid),
    };
    Some(parse(text).ok()?.into_iter().map(item).collect())
}

fuzz_target!(|text: &str| {
    let description = text.replace('\n', " ");
    let normal = |items: &[Item]| emit(items, |_| description.clone()).join("\n");
    tokenize(&served_directive(text)).expect("clients can split what they are served");
    if let Ok(tokens) = tokenize(text) {
        assert_eq!(tokenize(&serialise(&tokens)).expect("own quotes are closed"), tokens);
    }
    let Some(parsed) = items(text) else { return };
    assert_eq!(parsed.len(), 1 + text.matches('\n').count());
    let once = normal(&parsed);
    let again = items(&once).expect("the normal form parses");
    assert_eq!(parsed.len(), again.len());
    for (before, after) in parsed.iter().zip(&again) {
        // `% % a b` becomes the comment `//a b`, which counts as two tokens from then on.
        let comment = before.value == "%" || before.value.starts_with("% ");
        assert!(before == after || comment, "{before:?} became {after:?}");
    }
    assert_eq!(normal(&again), once);
});
