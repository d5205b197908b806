//! What can go wrong for a client.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::wire::{Errno, Op};

/// Why a client's call failed.
#[derive(Debug)]
pub enum Error {
    /// The store said no.
    Refused {
        /// The request.
        op: Op,
        /// The store's reason.
        errno: Errno,
        /// The node it was about.
        path: Option<String>,
    },
    /// No daemon could be reached.
    Connect {
        /// What was tried, with the reason of each.
        tried: Vec<(PathBuf, io::Error)>,
    },
    /// The connection broke: it is not known whether the request was carried out.
    Lost {
        /// The request.
        op: Op,
    },
    /// The reply makes no sense.
    Garbled {
        /// The request.
        op: Op,
    },
    /// The value is not UTF-8 text.
    NotText {
        /// The node.
        path: String,
    },
}

impl Error {
    /// The store's reason, if it was the store that said no.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the node does not exist.
    pub fn is_missing(&self) -> bool {
        self.errno() == Some(Errno::ENOENT)
    }

    pub(super) fn about(mut self, node: &str) -> Error {
        if let Error::Refused { path, .. } = &mut self {
            path.get_or_insert_with(|| node.to_owned());
        }
        self
    }

    pub(super) fn if_missing<T>(self, instead: T) -> Result<T, Error> {
        if self.is_missing() {
            Ok(instead)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused {
                op,
                errno,
                path: None,
            } => write!(f, "xenstore: {op:?}: {errno}"),
            Error::Refused {
                op,
                errno,
                path: Some(path),
            } => write!(f, "xenstore: {op:?} {path}: {errno}"),
            Error::Connect { tried } => {
                f.write_str("xenstore: cannot reach xenstored (is it running?)")?;
                tried
                    .iter()
                    .try_for_each(|(path, e)| write!(f, "; {}: {e}", path.display()))
            }
            Error::Lost { op } => write!(f, "xenstore: {op:?}: the connection to xenstored broke"),
            Error::Garbled { op } => write!(f, "xenstore: {op:?}: the reply makes no sense"),
            Error::NotText { path } => write!(f, "xenstore: {path}: the value is not text"),
        }
    }
}

impl std::error::Error for Error {}
