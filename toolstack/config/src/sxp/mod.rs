//! S-expressions as Xen 2.0 wrote them: the text of domain configurations, of xend's answers and of `xend-config.sxp`.
//!
//! An expression is an atom or a list; all atoms are text, and whoever reads one converts its numbers. `parse` reads,
//! with limits on size and depth because the text may come over a socket; `print` writes, flat (`Display`) or on lines
//! of up to 80 columns; `tree` has the notions of elements, attributes and children.

mod parse;
mod print;
mod tree;

pub use parse::{MAX_DEPTH, MAX_SIZE, Reader, SxpError, SxpErrorKind, parse_all, parse_one};

/// An S-expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sexp {
    /// A text value; numbers are text, too.
    Atom(String),
    /// A parenthesised list.
    List(Vec<Sexp>),
}

#[cfg(test)]
mod tests;
