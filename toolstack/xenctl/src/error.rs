//! Why a call failed: which call, on which domain, and what is missing where that can be said.

use std::fmt;

use rexen_core::units::DomId;
use rustix::io::Errno;

/// What this crate's functions answer.
pub type Result<T> = std::result::Result<T, Error>;

/// A call that the kernel or the hypervisor refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    domain: Option<DomId>,
    errno: Errno,
    remedy: Option<String>,
}

impl Error {
    /// `call` failed with `errno`. Public for those who stand in for the hypervisor.
    pub const fn new(call: &'static str, errno: Errno) -> Self {
        Self {
            call,
            domain: None,
            errno,
            remedy: None,
        }
    }

    /// The same, on this domain.
    #[must_use]
    pub const fn on(mut self, domain: DomId) -> Self {
        self.domain = Some(domain);
        self
    }

    /// The same, with what a user should do or know.
    pub(crate) fn because(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The error number.
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    /// The call's name.
    pub const fn call(&self) -> &'static str {
        self.call
    }

    /// The domain it was about.
    pub const fn domain(&self) -> Option<DomId> {
        self.domain
    }

    /// Whether there is no such domain (any more).
    pub fn is_no_domain(&self) -> bool {
        self.errno == Errno::SRCH
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.call)?;
        if let Some(domain) = self.domain {
            write!(f, " on domain {}", domain.0)?;
        }
        write!(f, ": {}", self.errno)?;
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::new(std::io::Error::from(error.errno).kind(), error)
    }
}
