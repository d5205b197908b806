//! A command line that does not fit, in 2.0's words and with what would fit.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What to say about a command line that clap refused; `command` is the command's name.
pub fn explain(command: &str, error: &clap::Error) -> String {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(all)) => Some(all.join(", ")),
        _ => None,
    };
    let arg = said(ContextKind::InvalidArg).unwrap_or_default();
    let value = said(ContextKind::InvalidValue).unwrap_or_default();
    let first = match error.kind() {
        ErrorKind::MissingRequiredArgument if arg.starts_with("<DOM>") => {
            "Missing domain".to_owned()
        }
        ErrorKind::MissingRequiredArgument => format!("Missing arguments: {arg}"),
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            format!("Invalid argument(s): there is no option {arg}")
        }
        ErrorKind::UnknownArgument => format!("Invalid argument(s): {arg} is one too many"),
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("Invalid argument(s): {arg} needs a value")
        }
        ErrorKind::InvalidValue => {
            let possible = said(ContextKind::ValidValue).unwrap_or_default();
            format!("Invalid argument(s): {arg} is '{value}', but can be {possible}")
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.unwrap_or_else(|| "this does not fit".to_owned());
            format!("Invalid argument(s): {arg} is '{value}': {why}")
        }
        _ => format!("Invalid argument(s): {}", headline(error)),
    };
    format!("{command}: {first}")
}

/// The first line of clap's own text.
fn headline(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
