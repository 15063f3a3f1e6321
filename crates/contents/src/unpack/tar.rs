use super::*;
pub fn unpack(_: &mut dyn Read, _: &mut TreeBuilder) -> Result<()> {
    todo!()
}
