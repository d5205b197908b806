//! Small programs of 2.0's that xm is under other names.

mod miniterm;
mod xencons;

use crate::error::Result;

/// A program: takes its arguments.
pub type Tool = fn(&[String]) -> Result<()>;

/// The tool that a program's name means, if it is one.
pub fn named(name: &str) -> Option<Tool> {
    match name {
        "miniterm" => Some(miniterm::run),
        "xencons" => Some(xencons::run),
        _ => None,
    }
}
