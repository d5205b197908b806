//! The terminal: raw while a console is attached, as it was before afterwards.

use std::io::{Stdin, stdin};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use crate::error::{Error, Result};

/// Standard input in raw mode until this is dropped; nothing when it is no terminal.
pub struct Raw {
    stdin: Stdin,
    before: Option<Termios>,
}

impl Raw {
    /// Makes standard input raw: no echo, no signals, eight bits.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter() -> Result<Self> {
        let stdin = stdin();
        if !isatty(&stdin) {
            return Ok(Self {
                stdin,
                before: None,
            });
        }
        let refused = |e: rustix::io::Errno| Error::Io("the terminal fails".to_owned(), e.into());
        let before = tcgetattr(&stdin).map_err(refused)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).map_err(refused)?;
        Ok(Self {
            stdin,
            before: Some(before),
        })
    }

    /// Whether there is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.before.is_some()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing can be done about a terminal that is gone.
            let _ = tcsetattr(&self.stdin, OptionalActions::Drain, before);
        }
    }
}
