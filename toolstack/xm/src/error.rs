//! What can go wrong, in the words that the user reads.

use std::fmt;
use std::io;

/// The result of a command.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command failed. Every one is exit status 1.
#[derive(Debug)]
pub enum Error {
    /// The command line does not fit: the whole text.
    Usage(String),
    /// No such command, or more than one: the word.
    UnknownCommand {
        /// What was typed.
        word: String,
        /// The commands that it might have meant.
        near: Vec<String>,
    },
    /// Nobody answers at xend's address.
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        cause: io::Error,
    },
    /// xend answered with an error.
    Server {
        /// The HTTP status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// A file or a terminal fails: what was tried, and why it failed.
    Io(String, io::Error),
    /// Anything with its own sentence.
    Said(String),
}

impl Error {
    /// For `map_err`: what was being done when the system said no.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io(what, cause)
    }

    /// An answer of xend's that this program does not understand.
    pub fn odd(what: impl fmt::Display) -> Self {
        Self::Said(format!(
            "xend's answer is not understood: {what}; xm and xend may be of different versions"
        ))
    }

    /// The HTTP status, if xend gave one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Server { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Said(text) => f.write_str(text),
            Self::UnknownCommand { word, near } if near.len() > 1 => {
                write!(f, "Unknown command: {word} (one of {}?)", near.join(", "))
            }
            Self::UnknownCommand { word, near } => {
                write!(f, "Unknown command: {word}")?;
                near.first()
                    .map_or(Ok(()), |n| write!(f, " (did you mean {n}?)"))
            }
            Self::Unreachable { address, cause } => {
                let try_this = match cause.kind() {
                    io::ErrorKind::PermissionDenied => "it serves root; try: sudo",
                    _ => "is it running? Try: xend status",
                };
                write!(f, "Error connecting to xend at {address}: {try_this}")
            }
            Self::Server { text, .. } => f.write_str(text),
            Self::Io(what, cause) => write!(f, "{what}: {cause}"),
        }
    }
}
