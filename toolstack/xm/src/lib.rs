//! The command line to xend.
