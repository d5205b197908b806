//! What a command has to say: text for people, a value for programs.

use std::io::{self, Write};

use serde_json::Value;

use crate::error::{Error, Result};

/// What a command has to say.
#[derive(Debug, Default)]
pub struct Report {
    /// What people read, with its last newline.
    pub text: String,
    /// What `--json` prints instead.
    pub value: Value,
}

impl Report {
    /// Something to read.
    pub fn new(text: impl Into<String>, value: Value) -> Self {
        Self {
            text: text.into(),
            value,
        }
    }

    /// An operation that prints nothing when it succeeds.
    pub fn done(value: Value) -> Self {
        Self::new("", value)
    }

    /// Prints it to standard output.
    ///
    /// # Errors
    /// Nobody can take it; except for a closed pipe, whose reader has seen enough.
    pub fn print(&self, json: bool) -> Result<()> {
        if json {
            emit(&format!("{:#}\n", self.value))
        } else {
            emit(&self.text)
        }
    }
}

/// Prints to standard output at once.
///
/// # Errors
/// Like [`Report::print`].
pub fn emit(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.map_err(Error::io("cannot write to standard output")),
    }
}
