//! What operators do: truth, equality, order, arithmetic, and values as text.

use super::fault::{Res, raise};
use super::format::shortest;
use super::interp::Interp;
use super::value::{Object, Value};
use std::cmp::Ordering;
use std::rc::Rc;

/// The binary operators, which are also those of augmented assignment.
pub(super) const BINARY: &[&str] = &[
    "+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>",
];

impl Interp<'_> {
    pub fn truth(&self, value: &Value) -> bool {
        match value {
            Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(id) | Value::Tuple(id) => !self.heap.items(*id).is_empty(),
            Value::Dict(id) => !self.heap.entries(*id).is_empty(),
            _ => true,
        }
    }

    pub fn equal(&mut self, a: &Value, b: &Value) -> Res<bool> {
        self.step()?;
        Ok(match (a, b) {
            (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                let (a, b) = (self.heap.items(*a).to_vec(), self.heap.items(*b).to_vec());
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(&b) {
                    if !self.deeper(|interp| interp.equal(a, b))? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Dict(a), Value::Dict(b)) => {
                let (a, b) = (self.heap.entries(*a).to_vec(), *b);
                if a.len() != self.heap.entries(b).len() {
                    return Ok(false);
                }
                for (key, value) in &a {
                    let Some(at) = self.find_key(b, key)? else {
                        return Ok(false);
                    };
                    let other = self.heap.entries(b)[at].1.clone();
                    if !self.deeper(|interp| interp.equal(value, &other))? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Function(a), Value::Function(b))
            | (Value::Exception(a), Value::Exception(b)) => a == b,
            (Value::Builtin(a), Value::Builtin(b))
            | (Value::Module(a), Value::Module(b))
            | (Value::Class(a), Value::Class(b)) => a == b,
            _ => match (a.as_int(), b.as_int()) {
                (Some(a), Some(b)) => a == b,
                _ => matches!((a.as_float(), b.as_float()), (Some(a), Some(b)) if a == b),
            },
        })
    }

    pub fn order(&mut self, a: &Value, b: &Value) -> Res<Ordering> {
        self.step()?;
        let unordered = || {
            let (a, b) = (a.type_name(), b.type_name());
            let fault = raise(
                "TypeError",
                format_args!("{a} and {b} cannot be compared by size"),
            );
            if [a, b].contains(&"str") {
                fault.hint("int(...) makes a number of a text")
            } else {
                fault
            }
        };
        match (a, b) {
            (Value::Str(a), Value::Str(b)) => Ok(a.cmp(b)),
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                let (a, b) = (self.heap.items(*a).to_vec(), self.heap.items(*b).to_vec());
                for (a, b) in a.iter().zip(&b) {
                    if !self.deeper(|interp| interp.equal(a, b))? {
                        return self.deeper(|interp| interp.order(a, b));
                    }
                }
                Ok(a.len().cmp(&b.len()))
            }
            _ => match (a.as_int(), b.as_int()) {
                (Some(a), Some(b)) => Ok(a.cmp(&b)),
                _ => match (a.as_float(), b.as_float()) {
                    (Some(a), Some(b)) => a.partial_cmp(&b).ok_or_else(unordered),
                    _ => Err(unordered()),
                },
            },
        }
    }

    pub fn contains(&mut self, container: &Value, wanted: &Value) -> Res<bool> {
        match (container, wanted) {
            (Value::Str(text), Value::Str(wanted)) => {
                self.work(text.len())?;
                Ok(text.contains(&**wanted))
            }
            (Value::Str(_), _) => Err(raise(
                "TypeError",
                format_args!("'in' a text wants a text, not {}", wanted.type_name()),
            )),
            (Value::Dict(id), _) => Ok(self.find_key(*id, wanted)?.is_some()),
            _ => {
                for item in self.iterate(container)? {
                    if self.equal(&item, wanted)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    pub fn compare(&mut self, op: &str, a: &Value, b: &Value) -> Res<bool> {
        Ok(match op {
            "==" => self.equal(a, b)?,
            "!=" => !self.equal(a, b)?,
            "in" => self.contains(b, a)?,
            "not in" => !self.contains(b, a)?,
            "is" | "is not" => {
                let same = match (a, b) {
                    (Value::List(a), Value::List(b))
                    | (Value::Tuple(a), Value::Tuple(b))
                    | (Value::Dict(a), Value::Dict(b)) => a == b,
                    _ => a.type_name() == b.type_name() && self.equal(a, b)?,
                };
                same == (op == "is")
            }
            "<" => self.order(a, b)?.is_lt(),
            "<=" => self.order(a, b)?.is_le(),
            ">" => self.order(a, b)?.is_gt(),
            _ => self.order(a, b)?.is_ge(),
        })
    }

    pub fn unary(&mut self, op: &str, value: &Value) -> Res<Value> {
        let overflow = || raise("OverflowError", "the result is too large");
        match (op, value) {
            ("not", _) => Ok(Value::Bool(!self.truth(value))),
            ("-", Value::Float(value)) => Ok(Value::Float(-value)),
            ("+", Value::Float(value)) => Ok(Value::Float(*value)),
            _ => match (op, value.as_int()) {
                ("-", Some(value)) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
                ("+", Some(value)) => Ok(Value::Int(value)),
                ("~", Some(value)) => Ok(Value::Int(!value)),
                _ => Err(raise(
                    "TypeError",
                    format_args!("'{op}' cannot be applied to {}", value.type_name()),
                )),
            },
        }
    }

    pub fn binary(&mut self, op: &'static str, a: &Value, b: &Value) -> Res<Value> {
        match (op, a, b) {
            ("%", Value::Str(format), _) => return self.percent(format, b),
            ("+", Value::Str(a), Value::Str(b)) => {
                self.heap.charge_string(a.len() + b.len())?;
                return Ok(Value::Str(format!("{a}{b}").into()));
            }
            ("+", Value::List(x), Value::List(y)) | ("+", Value::Tuple(x), Value::Tuple(y)) => {
                let items = [self.heap.items(*x), self.heap.items(*y)].concat();
                self.work(items.len())?;
                return if matches!(a, Value::List(_)) {
                    self.heap.list(items)
                } else {
                    self.heap.tuple(items)
                };
            }
            ("*", sequence @ (Value::Str(_) | Value::List(_) | Value::Tuple(_)), nr)
            | ("*", nr, sequence @ (Value::Str(_) | Value::List(_) | Value::Tuple(_)))
                if nr.as_int().is_some() =>
            {
                return self.repeat(sequence, nr.as_int().unwrap_or(0));
            }
            _ => {}
        }
        if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
            return integers(op, a, b);
        }
        if let (Some(a), Some(b)) = (a.as_float(), b.as_float()) {
            return floats(op, a, b);
        }
        let fault = raise(
            "TypeError",
            format_args!(
                "'{op}' cannot be applied to {} and {}",
                a.type_name(),
                b.type_name()
            ),
        );
        Err(match (op, a, b) {
            ("+", Value::Str(_), Value::Int(_) | Value::Float(_))
            | ("+", Value::Int(_) | Value::Float(_), Value::Str(_)) => {
                fault.hint("str(...) makes a text of a number, int(...) a number of a text")
            }
            _ => fault,
        })
    }

    fn repeat(&mut self, sequence: &Value, nr: i64) -> Res<Value> {
        let nr = usize::try_from(nr.max(0)).unwrap_or(usize::MAX);
        match sequence {
            Value::Str(text) => {
                self.heap.charge_string(text.len().saturating_mul(nr))?;
                Ok(Value::Str(text.repeat(nr).into()))
            }
            Value::List(id) | Value::Tuple(id) => {
                let items = self.heap.items(*id);
                let total = items.len().saturating_mul(nr);
                // Accounted for before it is made: a small list times a large number is the oldest bomb.
                self.heap.charge_values(total)?;
                self.work(total)?;
                let items = self.heap.items(*id);
                let items = items.iter().cycle().take(total).cloned().collect();
                if matches!(sequence, Value::List(_)) {
                    self.heap.list(items)
                } else {
                    self.heap.tuple(items)
                }
            }
            _ => Ok(Value::None),
        }
    }

    /// A value as `str()` has it.
    pub fn text(&mut self, value: &Value) -> Res<Rc<str>> {
        match value {
            Value::Str(text) => Ok(text.clone()),
            Value::Exception(id) => match self.heap.get(*id) {
                Object::Exception { message, .. } => Ok(message.clone()),
                _ => Ok("".into()),
            },
            _ => {
                let mut out = String::new();
                self.write_repr(value, &mut out)?;
                self.heap.charge_string(out.len())?;
                Ok(out.into())
            }
        }
    }

    /// A value as `repr()` has it.
    pub fn repr(&mut self, value: &Value) -> Res<String> {
        let mut out = String::new();
        self.write_repr(value, &mut out)?;
        self.heap.charge_string(out.len())?;
        Ok(out)
    }

    fn write_repr(&mut self, value: &Value, out: &mut String) -> Res<()> {
        self.work(1 + out.len() / 1024)?;
        match value {
            Value::None => out.push_str("None"),
            Value::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
            Value::Int(value) => out.push_str(&value.to_string()),
            Value::Float(value) => out.push_str(&shortest(*value)),
            Value::Str(text) => {
                self.work(text.len())?;
                quote(text, out);
            }
            Value::List(id) | Value::Tuple(id) => {
                let list = matches!(value, Value::List(_));
                let items = self.heap.items(*id).to_vec();
                out.push(if list { '[' } else { '(' });
                for (nr, item) in items.iter().enumerate() {
                    if nr > 0 {
                        out.push_str(", ");
                    }
                    self.deeper(|interp| interp.write_repr(item, out))?;
                }
                if !list && items.len() == 1 {
                    out.push(',');
                }
                out.push(if list { ']' } else { ')' });
            }
            Value::Dict(id) => {
                let entries = self.heap.entries(*id).to_vec();
                out.push('{');
                for (nr, (key, value)) in entries.iter().enumerate() {
                    if nr > 0 {
                        out.push_str(", ");
                    }
                    self.deeper(|interp| interp.write_repr(key, out))?;
                    out.push_str(": ");
                    self.deeper(|interp| interp.write_repr(value, out))?;
                }
                out.push('}');
            }
            Value::Exception(id) => {
                if let Object::Exception { class, message } = self.heap.get(*id) {
                    let (class, message) = (*class, message.clone());
                    out.push_str(class);
                    out.push('(');
                    quote(&message, out);
                    out.push(')');
                }
            }
            Value::Class(name) | Value::Builtin(name) | Value::Module(name) => {
                out.push_str(&format!("<{} {name}>", value.type_name()));
            }
            Value::Function(_) | Value::Method(_) => out.push_str("<function>"),
        }
        Ok(())
    }
}

fn quote(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Integer arithmetic. `/` divides as in Python 2, which these files are written in: the result is an integer.
fn integers(op: &str, a: i64, b: i64) -> Res<Value> {
    let zero = || raise("ZeroDivisionError", "division by zero");
    let result = match op {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" | "//" if b == 0 => return Err(zero()),
        "%" if b == 0 => return Err(zero()),
        // Towards minus infinity, and the remainder has the sign of the divisor.
        "/" | "//" => a
            .checked_div(b)
            .map(|quotient| quotient - i64::from(a % b != 0 && (a < 0) != (b < 0))),
        "%" => {
            let rest = a.wrapping_rem(b);
            Some(if rest != 0 && (rest < 0) != (b < 0) {
                rest + b
            } else {
                rest
            })
        }
        "**" if b < 0 => {
            #[expect(clippy::cast_precision_loss, reason = "as Python converts")]
            return floats(op, a as f64, b as f64);
        }
        "**" => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        "&" => Some(a & b),
        "|" => Some(a | b),
        "^" => Some(a ^ b),
        "<<" if b >= 0 => u32::try_from(b)
            .ok()
            .filter(|b| *b < 63)
            .and_then(|b| a.checked_mul(1 << b)),
        ">>" if b >= 0 => Some(a >> b.min(63)),
        _ => return Err(raise("ValueError", "negative shift count")),
    };
    result.map(Value::Int).ok_or_else(|| {
        raise(
            "OverflowError",
            "the result is too large: integers have 64 bits",
        )
    })
}

fn floats(op: &str, a: f64, b: f64) -> Res<Value> {
    let result = match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" | "//" | "%" if b == 0.0 => return Err(raise("ZeroDivisionError", "division by zero")),
        "/" => a / b,
        "//" => (a / b).floor(),
        "%" => a - b * (a / b).floor(),
        "**" => a.powf(b),
        _ => {
            return Err(raise(
                "TypeError",
                format_args!("'{op}' cannot be applied to floats"),
            ));
        }
    };
    if result.is_finite() {
        Ok(Value::Float(result))
    } else {
        Err(raise(
            "OverflowError",
            "the result is too large or no number",
        ))
    }
}
