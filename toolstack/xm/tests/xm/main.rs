//! xm as a program: run against a xend that answers from a table, and against our own on a simulated host.

mod commands;
mod completion;
mod console;
mod create;
mod fake;
mod host;
mod managers;
mod progress;
mod tools;
mod transcript;
mod xend;
