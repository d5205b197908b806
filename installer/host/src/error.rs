//! One kind of error: what failed, why, and what to do about it.

use std::fmt;
use std::path::Path;

/// The result of every step.
pub type Result<T> = std::result::Result<T, Error>;

/// What the program's exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: a step or a check failed.
    Failed,
    /// 3: the host lacks packages; the message holds the command that installs them.
    MissingPackages,
    /// 4: Debian offers another package than the lock file names, and nobody consented to it.
    LockMismatch,
    /// 130: somebody pressed Ctrl-C (128 and the signal's number, as shells say it).
    Interrupted,
}

impl Exit {
    /// The process exit status; 2 is left to usage errors.
    pub fn status(self) -> u8 {
        match self {
            Exit::Failed => 1,
            Exit::MissingPackages => 3,
            Exit::LockMismatch => 4,
            Exit::Interrupted => 130,
        }
    }
}

/// What failed, with its cause and, where we know one, the remedy.
#[derive(Debug)]
pub struct Error {
    /// What we were doing and what came of it.
    pub what: String,
    /// The underlying reason.
    pub cause: Option<String>,
    /// What the reader can do.
    pub remedy: Option<String>,
    /// The exit status it deserves.
    pub exit: Exit,
}

impl Error {
    /// An error that only says what failed.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: None,
            remedy: None,
            exit: Exit::Failed,
        }
    }

    /// Adds the underlying reason.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Says which file it is about.
    pub fn in_file(mut self, path: &Path) -> Self {
        self.what = format!("{}: {}", path.display(), self.what);
        self
    }

    /// Adds what to do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Sets the exit status.
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Turns an I/O error on `path` into ours: `.map_err(Error::io("read", path))`.
    pub fn io(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.display().to_string();
        move |cause| Error::new(format!("cannot {verb} {path}")).because(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  cause:  {}", cause.replace('\n', "\n          "))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  remedy: {}", remedy.replace('\n', "\n          "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
