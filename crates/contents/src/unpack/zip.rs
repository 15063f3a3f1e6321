use super::*;
pub fn unpack(_: Input<'_>, _: &Path, _: &UnpackOptions) -> Result<Unpacked> {
    todo!()
}
