//! The blocks of a page, and which item is shown in which of them (language section 9.4).

use serde_json::{Map, Value, json};

use crate::block::Block;

/// Blocks, and which item is shown where.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    pub blocks: Vec<Block>,
    /// Per line the block and row it made itself.
    pub direct: Vec<Option<(usize, usize)>>,
}

impl Layout {
    /// Per line `[block, row]`; lines without own block point where the next one does; null at the end.
    pub fn raw_to_block(&self) -> Value {
        let mut next = None;
        let mut places: Vec<Value> = self
            .direct
            .iter()
            .rev()
            .map(|place| {
                next = place.or(next);
                next.map_or(Value::Null, |(block, row)| json!([block, row]))
            })
            .collect();
        places.reverse();
        Value::Array(places)
    }

    /// `"block,row"` to the last line that made it.
    pub fn block_to_raw(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (line, place) in self.direct.iter().enumerate() {
            if let Some((block, row)) = place {
                map.insert(format!("{block},{row}"), json!(line));
            }
        }
        map
    }

    /// The block that a line made.
    pub fn block_of(&self, line: usize) -> Option<usize> {
        self.direct.get(line).copied().flatten().map(|(block, _)| block)
    }
}
