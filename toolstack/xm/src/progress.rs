//! A line on the terminal that says what is waited for, and for how long already.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

/// The line; it goes away with this. Without a terminal there is none.
pub struct Progress {
    what: String,
    since: Instant,
    shown: bool,
}

impl Progress {
    /// Begins to wait; nothing is shown yet.
    pub fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            since: Instant::now(),
            shown: false,
        }
    }

    /// Shows the line, or how it has changed.
    pub fn show(&mut self) {
        if stderr().is_terminal() {
            self.shown = true;
            eprint!(
                "\r{} ({} s)\x1b[K",
                self.what,
                self.since.elapsed().as_secs()
            );
        }
    }

    /// Takes the line away, until it is shown again.
    pub fn hide(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.hide();
    }
}
