use super::*;
pub struct TreeBuilder;
impl TreeBuilder {
    pub fn create(_: &Path, _: &UnpackOptions) -> Result<Self> {
        todo!()
    }
    pub fn finish(self) -> Result<Unpacked> {
        todo!()
    }
}
