//! Installs onto hosts made of files: whole runs, runs whose power is cut at every step, full disks, refusals.

mod cut;
mod fake;
mod lasting;
mod refusals;
mod script;
mod whole;
