//! Arguments of our own functions, checked and taken apart.

use super::fault::{Res, raise};
use super::interp::Args;
use super::value::Value;
use std::rc::Rc;

impl Args {
    pub fn of(positional: impl Into<Vec<Value>>) -> Self {
        Self {
            positional: positional.into(),
            keywords: Vec::new(),
        }
    }

    /// Puts arguments to parameters; the first `required` must be there.
    pub fn bind<const N: usize>(
        self,
        function: &str,
        parameters: [&str; N],
        required: usize,
    ) -> Res<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        let given = self.positional.len();
        if given > N {
            return Err(raise(
                "TypeError",
                format_args!("{function}() takes {N} arguments at most, and {given} are given"),
            ));
        }
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (keyword, value) in self.keywords {
            let at = parameters
                .iter()
                .position(|parameter| *parameter == &*keyword);
            match at.filter(|at| bound[*at].is_none()) {
                Some(at) => bound[at] = Some(value),
                None => {
                    return Err(raise(
                        "TypeError",
                        format_args!("{function}() has no use for '{keyword}'"),
                    ));
                }
            }
        }
        if let Some(at) = bound.iter().take(required).position(Option::is_none) {
            return Err(raise(
                "TypeError",
                format_args!("{function}() wants '{}'", parameters[at]),
            ));
        }
        Ok(bound)
    }

    /// The one argument a function takes.
    pub fn one(self, function: &str, parameter: &str) -> Res<Value> {
        let [value] = self.bind(function, [parameter], 1)?;
        Ok(value.unwrap_or(Value::None))
    }

    pub fn none(self, function: &str) -> Res<()> {
        let [] = self.bind(function, [], 0)?;
        Ok(())
    }
}

/// An argument that must be a text.
pub(super) fn text(value: &Value, function: &str) -> Res<Rc<str>> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        other => {
            let fault = raise(
                "TypeError",
                format_args!("{function}() wants a text, not {}", other.type_name()),
            );
            Err(if matches!(other, Value::None) {
                fault.hint("is the variable set?")
            } else {
                fault
            })
        }
    }
}

/// An argument that may be left out, and must else be a text.
pub(super) fn optional_text(value: Option<&Value>, function: &str) -> Res<Option<Rc<str>>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => text(value, function).map(Some),
    }
}

/// An argument that must be an integer.
pub(super) fn int(value: &Value, function: &str) -> Res<i64> {
    value.as_int().ok_or_else(|| {
        raise(
            "TypeError",
            format_args!("{function}() wants an integer, not {}", value.type_name()),
        )
    })
}
