//! A configuration file and the words beside it on the command line → a specification.
//!
//! The script sets variables, the command line overrides them, `value` checks each against the registry, and `build`
//! makes the specification of them; `disk` and `vif` read the entries of those two lists. Every error knows the file
//! and the line that set the variable.

mod build;
mod disk;
mod value;
mod vif;

pub use disk::parse_disk;
pub use vif::parse_vif;

use crate::script::{self, Host, IP_HELPERS, Run, ScriptError};
use crate::spec::DomainSpec;
use crate::vars;
use std::fmt;
use value::{Origin, Values};

/// Whose command reads the file. They differ in one thing: without `vif`, 2.0 gave a domain one network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// 2.0's `xm`.
    #[default]
    Xm,
    /// Today's `xl`.
    Xl,
}

/// A configuration to be read.
#[derive(Clone, Debug, Default)]
pub struct Source<'a> {
    /// The path of the file, as the user gave it or as it was found.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
    /// `NAME=VALUE` words of the command line, in order.
    pub words: &'a [(String, String)],
    /// The directory that relative paths of kernel and ramdisk start from.
    pub directory: &'a str,
    /// Whose command reads it.
    pub style: Style,
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `FILE`, `FILE:LINE`, or the word of the command line.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// The text of the line, if there is one.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if !self.text.is_empty() {
            write!(f, "\n    {}", self.text)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ScriptError> for ConfigError {
    fn from(error: ScriptError) -> Self {
        let place = format!("{}:{}", error.file, error.line);
        Self {
            place,
            message: error.message,
            text: error.text,
            hint: error.hint,
        }
    }
}

/// Names that every script finds set, beside Python's own.
pub fn predefined() -> Vec<&'static str> {
    let own = ["os", "os.path", "sys", "xm_file", "xm_help", "xm_vars"];
    own.iter().chain(IP_HELPERS).copied().collect()
}

/// Reads a configuration.
///
/// # Errors
/// The script fails, sets a variable that does not exist or is refused, or a value does not fit.
pub fn load(source: &Source<'_>, host: &dyn Host) -> Result<DomainSpec, ConfigError> {
    let (known, script): (Vec<_>, Vec<_>) = source
        .words
        .iter()
        .cloned()
        .partition(|(name, _)| is_known(name));
    let outcome = script::run(
        &Run {
            file: source.file,
            text: source.text,
            variables: &script,
            help: false,
        },
        host,
    )?;
    let mut values = Values::new(source);
    for (name, value) in &known {
        values.add_word(name, value)?;
    }
    for binding in outcome.bindings {
        let origin = Origin::Line(binding.line);
        if is_known(&binding.name) {
            values.add_binding(&binding.name, binding.value, origin)?;
        } else if !binding.is_used && !binding.name.starts_with('_') {
            let mut error = values.error(&origin, format!("unknown variable '{}'", binding.name));
            error.hint = Some(match vars::suggestion(&binding.name) {
                Some(meant) => format!("did you mean '{meant}'?"),
                None => "the manual page xmdomain.cfg(5) lists the variables; a helper of the script's own must be used in it".into(),
            });
            return Err(error);
        }
    }
    if let Some((name, value)) = script
        .iter()
        .find(|(name, _)| outcome.unused.contains(name))
    {
        let place = format!("{name}={value}");
        let message = format!(
            "'{name}' is no variable, and {} has no use for it",
            source.file
        );
        let hint = vars::suggestion(name).map(|meant| format!("did you mean '{meant}'?"));
        return Err(ConfigError {
            place,
            message,
            text: String::new(),
            hint,
        });
    }
    build::spec(&values)
}

/// Has a script explain its own variables through the host: what `xm create --help` and `--help_config` show.
///
/// # Errors
/// The file is no script at all; what it raises is passed over.
pub fn help(file: &str, text: &str, host: &dyn Host) -> Result<(), ConfigError> {
    script::run(
        &Run {
            file,
            text,
            variables: &[],
            help: true,
        },
        host,
    )?;
    Ok(())
}

fn is_known(name: &str) -> bool {
    vars::find(name).is_some() || vars::refusal(name).is_some()
}

#[cfg(test)]
mod tests;
