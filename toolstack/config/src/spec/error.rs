//! What can be wrong with a specification.

use std::fmt;

/// Why a specification, or a part of one, is refused. The text stands alone: whoever knows file and line puts them before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecError {
    /// There is no name: 2.0's words, which its clients look for.
    MissingName,
    /// The name breaks the rules of names.
    InvalidName(String),
    /// A part that must be there is not.
    Missing(&'static str),
    /// A value does not fit.
    Invalid {
        /// What the value is for: `mac`, `disk`, ...
        what: &'static str,
        /// The value as written.
        value: String,
        /// What would fit.
        expected: String,
    },
    /// Something that is understood and not offered.
    Refused {
        /// What was asked for.
        what: String,
        /// Why not, and what to do instead.
        reason: String,
    },
}

impl SpecError {
    pub(crate) fn invalid(
        what: &'static str,
        value: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self::Invalid {
            what,
            value: value.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn refused(what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::Refused {
            what: what.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingName => write!(f, "missing vm name"),
            Self::InvalidName(name) => write!(
                f,
                "invalid vm name: {name:?} (a name starts with no digit and consists of letters, digits and _-.:/+)"
            ),
            Self::Missing(what) => write!(f, "missing {what}"),
            Self::Invalid {
                what,
                value,
                expected,
            } => write!(f, "invalid {what}: {value:?} ({expected})"),
            Self::Refused { what, reason } => write!(f, "{what} is not supported: {reason}"),
        }
    }
}

impl std::error::Error for SpecError {}
