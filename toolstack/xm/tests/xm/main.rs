//! xm as a program: run against a xend that answers from a table.

mod commands;
mod completion;
mod console;
mod create;
mod fake;
mod managers;
