//! The daemon's log: lines to the standard error or a file, requests only when asked for.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Where lines go, and whether requests are among them.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    /// Whether each request is a line.
    pub requests: bool,
}

impl Log {
    /// Appends to this file from now on.
    ///
    /// # Errors
    /// It cannot be opened; lines go where they went.
    pub fn to_file(&mut self, path: &Path) -> io::Result<()> {
        self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        Ok(())
    }

    /// Writes a line.
    pub fn line(&mut self, text: fmt::Arguments<'_>) {
        let line = format!("xenstored: {text}\n");
        // A log that cannot be written has nobody else to tell.
        let _ = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
}
