//! `public/io/`: the rings that guests share with each other.

pub mod console;
pub mod xenbus;
pub mod xs_wire;
