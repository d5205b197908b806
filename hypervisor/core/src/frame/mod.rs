//! Who owns a frame of the machine, how often it is held, and as what. `docs/frame-types.md` has the rules in a page.
//!
//! - `word.rs`: the packed word and the pure function that changes it
//! - `table.rs`: the table of all frames, with the compare-exchange loops
//! - `buddy.rs`: the allocator of free frames, which knows the ones that have yet to be scrubbed
//! - `pool.rs`: the allocator with what domains have claimed of it
//!
//! Here a type is only a name with a count. What it means for contents to be valid is `pvmmu`'s business.

mod buddy;
mod pool;
mod table;
mod word;

#[cfg(test)]
mod tests;

pub use buddy::{Buddy, Dirty, MAX_ORDER};
pub use pool::{Block, Claim, ClaimError, MemoryFigures, Pool};
pub use table::{FrameInfo, FrameTable, Progress, Put, Taken};
pub use word::{
    FrameError, FrameType, MAX_REFS, MAX_TYPE_COUNT, Request, Word, Word64, apply, update,
};
