//! Values of variables, with where they come from, checked against the registry.

use super::{ConfigError, Source};
use crate::script::Data;
use crate::spec::SpecError;
use crate::vars::{self, Kind};
use std::collections::HashMap;
use std::str::FromStr;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// A line of the file; 0 for the file as a whole.
    Line(usize),
    /// A word of the command line.
    Word(String),
}

/// The variables that are set.
pub(super) struct Values<'a> {
    pub source: &'a Source<'a>,
    set: HashMap<&'static str, (Data, Origin)>,
}

impl<'a> Values<'a> {
    pub fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            set: HashMap::new(),
        }
    }

    /// Takes a word of the command line; for lists, each word adds an entry.
    pub fn add_word(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let origin = Origin::Word(format!("{name}={value}"));
        let Some(variable) = vars::find(name) else {
            return self.refuse(name, &Data::Str(value.into()), &origin);
        };
        let value = Data::Str(value.to_owned());
        match self.set.get_mut(variable.name) {
            Some((Data::List(items), _)) if variable.kind == Kind::List => items.push(value),
            _ => {
                let value = if variable.kind == Kind::List {
                    Data::List(vec![value])
                } else {
                    value
                };
                self.set.insert(variable.name, (value, origin));
            }
        }
        Ok(())
    }

    /// Takes what the script has set, unless the command line has.
    pub fn add_binding(
        &mut self,
        name: &str,
        value: Data,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let Some(variable) = vars::find(name) else {
            return self.refuse(name, &value, &origin);
        };
        if value != Data::None {
            self.set.entry(variable.name).or_insert((value, origin));
        }
        Ok(())
    }

    /// Refuses a variable, unless its value asks for nothing.
    fn refuse(&self, name: &str, value: &Data, origin: &Origin) -> Result<(), ConfigError> {
        let nothing = match value {
            Data::None | Data::Bool(false) | Data::Int(0) => true,
            Data::Str(text) => matches!(text.as_str(), "" | "0" | "no"),
            Data::List(items) => items.is_empty(),
            _ => false,
        };
        let Some(refusal) = vars::refusal(name).filter(|_| !nothing) else {
            return Ok(());
        };
        let mut error = self.error(origin, format!("'{name}' is not supported"));
        error.hint = Some(refusal.reason.to_owned());
        Err(error)
    }

    /// An error at a place.
    pub fn error(&self, origin: &Origin, message: String) -> ConfigError {
        let file = self.source.file;
        let (place, text) = match origin {
            Origin::Word(word) => (word.clone(), ""),
            Origin::Line(0) => (file.to_owned(), ""),
            Origin::Line(line) => (
                format!("{file}:{line}"),
                self.source.text.lines().nth(line - 1).unwrap_or("").trim(),
            ),
        };
        ConfigError {
            place,
            message,
            text: text.chars().take(160).collect(),
            hint: None,
        }
    }

    /// An error about a variable, where it is set or about the file when it is not.
    pub fn error_at(&self, name: &str, message: String) -> ConfigError {
        let origin = self
            .set
            .get(name)
            .map_or(Origin::Line(0), |(_, origin)| origin.clone());
        self.error(&origin, message)
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    fn get(&self, name: &str) -> Option<&Data> {
        self.set.get(name).map(|(value, _)| value)
    }

    fn wrong_type(&self, name: &str, value: &Data) -> ConfigError {
        let kind = vars::find(name).map_or(Kind::Text, |variable| variable.kind);
        let (wanted, hint) = match kind {
            Kind::Text => ("a text", "put it in quotes"),
            Kind::Int => ("an integer", "write it as digits, without a unit"),
            Kind::Float => ("a number", "write it as digits, without a unit"),
            Kind::Bool => ("yes or no", "write 1 or 0"),
            Kind::List => ("a list of texts", "put entries in quotes between [ and ]"),
            Kind::Any => ("a text or a list of texts", "put it in quotes"),
        };
        let found = match value {
            Data::None => "None".to_owned(),
            Data::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
            Data::Int(value) => value.to_string(),
            Data::Float(value) => format!("{value:?}"),
            Data::Str(text) => format!("{text:?}"),
            Data::List(_) => "a list".to_owned(),
            Data::Other(kind) => format!("a {kind}"),
        };
        let mut error = self.error_at(name, format!("'{name}' wants {wanted}, not {found}"));
        error.hint = Some(hint.to_owned());
        error
    }

    /// A text that is not empty.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.get(name) {
            None => Ok(None),
            Some(Data::Str(text)) if text.contains(['\0', '\n']) => {
                Err(self.error_at(name, format!("'{name}' holds a line break or a NUL")))
            }
            Some(Data::Str(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.wrong_type(name, other)),
        }
    }

    /// A text that a type of the specification reads.
    pub fn parsed<T: FromStr<Err = SpecError>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.trim()
            .parse()
            .map(Some)
            .map_err(|error: SpecError| self.error_at(name, error.to_string()))
    }

    /// An integer; a text of digits is one, as in 2.0.
    pub fn int<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = match value {
            Data::Int(value) => Some(*value),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "only whole numbers of a size that fits"
            )]
            Data::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => Some(*value as i64),
            Data::Str(text) if text.trim().is_empty() => return Ok(None),
            Data::Str(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.wrong_type(name, value))?;
        let in_range = T::try_from(number)
            .map_err(|_| self.error_at(name, format!("'{name}' cannot be {number}")))?;
        Ok(Some(in_range))
    }

    pub fn float(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = match value {
            #[expect(clippy::cast_precision_loss, reason = "weights are small")]
            Data::Int(value) => Some(*value as f64),
            Data::Float(value) => Some(*value),
            Data::Str(text) if text.trim().is_empty() => return Ok(None),
            Data::Str(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite()),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.wrong_type(name, value))
    }

    pub fn bool(&self, name: &str) -> Result<bool, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(false);
        };
        match value {
            Data::Bool(value) => Ok(*value),
            Data::Int(0) => Ok(false),
            Data::Int(1) => Ok(true),
            Data::Str(text) => match text.trim().to_lowercase().as_str() {
                "yes" | "1" | "on" | "true" => Ok(true),
                "no" | "0" | "off" | "false" | "" => Ok(false),
                _ => Err(self.wrong_type(name, value)),
            },
            _ => Err(self.wrong_type(name, value)),
        }
    }

    /// The entries of a list.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let Data::List(items) = value else {
            return Err(self.wrong_type(name, value));
        };
        let mut texts = Vec::new();
        for item in items {
            match item {
                Data::Str(text) => texts.push(text.as_str()),
                other => return Err(self.wrong_type(name, other)),
            }
        }
        Ok(texts)
    }

    /// A text, an integer, or a list of these, as texts.
    pub fn any(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        let one = |value: &Data| match value {
            Data::Str(text) => Ok(text.clone()),
            Data::Int(number) => Ok(number.to_string()),
            other => Err(self.wrong_type(name, other)),
        };
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Data::List(items)) => items.iter().map(one).collect(),
            Some(Data::Str(text)) if text.trim().is_empty() => Ok(Vec::new()),
            Some(value) => Ok(vec![one(value)?]),
        }
    }
}
