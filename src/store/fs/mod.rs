//! placeholder
/// placeholder
#[derive(Debug)]
pub struct FsStore;
