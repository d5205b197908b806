//! Tests of the room, one rule each.

use super::*;

mod cpuid;
mod msr;
mod registers;
