//! What can go wrong in xend, and how a client is told: a kind, which becomes the HTTP status, and one sentence.

use std::fmt;

/// The kind of an error; decides the HTTP status and whether a retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The named domain, device or console does not exist.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// The request is right, but not in the present state (name taken, disk in use).
    Conflict,
    /// The request may not be made by this client.
    Forbidden,
    /// Known, but not there yet.
    NotImplemented,
    /// Somebody did not answer in time.
    Timeout,
    /// The resource is not to be used by this HTTP method.
    Method,
    /// The request is larger than any that is right.
    TooLarge,
    /// The request did not arrive in time.
    Slow,
    /// The host, the hypervisor or the store failed.
    Failed,
    /// A test cut this process off: nothing further may happen, not even an undo.
    Killed,
}

/// An error with a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind it is.
    pub kind: Kind,
    /// One sentence, lower case, with names and units.
    pub text: String,
}

/// A result with xend's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error of a kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// The thing named does not exist.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, text)
    }

    /// The request is wrong.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, text)
    }

    /// The request does not fit the present state.
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, text)
    }

    /// The host, hypervisor or store failed.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Kind::Failed, text)
    }

    /// Puts what was being done before the text.
    #[must_use]
    pub fn during(mut self, what: impl fmt::Display) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    /// Whether a test cut this process off.
    pub fn is_killed(&self) -> bool {
        self.kind == Kind::Killed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}
