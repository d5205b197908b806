//! What goes wrong in a script, and how the user is told.

use std::fmt;

/// An error in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The file as the user named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
    /// The text of the line.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        if !self.text.is_empty() {
            write!(f, "\n    {}", self.text)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ScriptError {}

/// The classes of Python's exceptions that exist here, each with the class above it.
const CLASSES: &[(&str, &str)] = &[
    ("Exception", ""),
    ("StandardError", "Exception"),
    ("ArithmeticError", "StandardError"),
    ("ZeroDivisionError", "ArithmeticError"),
    ("OverflowError", "ArithmeticError"),
    ("AssertionError", "StandardError"),
    ("AttributeError", "StandardError"),
    ("EnvironmentError", "StandardError"),
    ("IOError", "EnvironmentError"),
    ("OSError", "EnvironmentError"),
    ("ImportError", "StandardError"),
    ("LookupError", "StandardError"),
    ("IndexError", "LookupError"),
    ("KeyError", "LookupError"),
    ("NameError", "StandardError"),
    ("RuntimeError", "StandardError"),
    ("SyntaxError", "StandardError"),
    ("TypeError", "StandardError"),
    ("ValueError", "StandardError"),
    ("SystemExit", ""),
];

/// The class of a name, if there is one.
pub(super) fn class(name: &str) -> Option<&'static str> {
    CLASSES
        .iter()
        .find(|(class, _)| *class == name)
        .map(|(class, _)| *class)
}

/// The names of all classes.
pub(super) fn classes() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().map(|(class, _)| *class)
}

/// An exception on its way, or the end of a limit.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The class; a limit has none, so that no `except` catches it.
    pub class: Option<&'static str>,
    pub message: String,
    pub hint: Option<String>,
    /// From 1; 0 until the expression that failed fills it in.
    pub line: u32,
}

/// The result of anything that can raise.
pub(super) type Res<T> = Result<T, Box<Fault>>;

/// An exception of a class.
pub(super) fn raise(class: &'static str, message: impl fmt::Display) -> Box<Fault> {
    Box::new(Fault {
        class: Some(class),
        message: message.to_string(),
        hint: None,
        line: 0,
    })
}

/// The end of a limit, or something that configuration files may not do.
pub(super) fn fatal(message: impl fmt::Display) -> Box<Fault> {
    Box::new(Fault {
        class: None,
        message: message.to_string(),
        hint: None,
        line: 0,
    })
}

impl Fault {
    pub fn hint(mut self: Box<Self>, hint: impl fmt::Display) -> Box<Self> {
        self.hint = Some(hint.to_string());
        self
    }

    /// Fills in the line unless a place further in has done so.
    pub fn at(mut self: Box<Self>, line: u32) -> Box<Self> {
        if self.line == 0 {
            self.line = line;
        }
        self
    }

    /// Whether `except CLASS` catches this.
    pub fn is_a(&self, wanted: &str) -> bool {
        let mut class = self.class.unwrap_or("");
        while class != wanted {
            match CLASSES.iter().find(|(name, _)| *name == class) {
                Some((_, above)) => class = above,
                None => return false,
            }
        }
        true
    }

    /// The error for the user.
    pub fn into_error(self, file: &str, source: &str) -> ScriptError {
        let line = self.line.max(1) as usize;
        let text = source.lines().nth(line - 1).unwrap_or("").trim();
        let message = match self.class {
            Some(class) if class != "SyntaxError" => format!("{class}: {}", self.message),
            _ => self.message,
        };
        ScriptError {
            file: file.to_owned(),
            line,
            message,
            text: text.chars().take(160).collect(),
            hint: self.hint,
        }
    }
}
