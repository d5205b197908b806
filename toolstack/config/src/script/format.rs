//! Values into texts: `%`, `str.format` and the specifications of f-strings.

use super::fault::{Fault, Res, raise};
use super::interp::{Args, Interp};
use super::value::Value;

/// What stands between `%` and the letter, or after the colon of a replacement field.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    plus: bool,
    space: bool,
    alternate: bool,
    comma: bool,
    width: usize,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Widths beyond this serve no configuration.
const MAX_WIDTH: usize = 10_000;

impl Interp<'_> {
    /// `format % values`.
    pub fn percent(&mut self, format: &str, values: &Value) -> Res<Value> {
        self.work(format.len())?;
        let sequence = match values {
            Value::Tuple(id) => self.heap.items(*id).to_vec(),
            single => vec![single.clone()],
        };
        let mut next = sequence.into_iter();
        let mut by_key = false;
        let mut out = String::new();
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            if chars.next_if_eq(&'%').is_some() {
                out.push('%');
                continue;
            }
            let mut keyed = None;
            if chars.next_if_eq(&'(').is_some() {
                let key: String = std::iter::from_fn(|| chars.next_if(|c| *c != ')')).collect();
                chars.next();
                by_key = true;
                let key = self.heap.string(&key)?;
                keyed = Some(self.get_item(values, &key)?);
            }
            let mut spec = Spec::default();
            while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
                match flag {
                    '-' => spec.align = Some('<'),
                    '+' => spec.plus = true,
                    ' ' => spec.space = true,
                    '#' => spec.alternate = true,
                    _ => spec.fill = Some('0'),
                }
            }
            let mut number = || -> Res<Option<usize>> {
                let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit))
                    .take(9)
                    .collect();
                read_width(&digits)
            };
            spec.width = number()?.unwrap_or(0);
            if chars.next_if_eq(&'.').is_some() {
                let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit))
                    .take(9)
                    .collect();
                spec.precision = Some(read_width(&digits)?.unwrap_or(0));
            }
            // C's sizes mean nothing here.
            while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
            let Some(kind) = chars.next() else {
                return Err(raise("ValueError", "the text ends after '%'")
                    .hint("write %% for the character"));
            };
            let few = || raise("TypeError", "there are fewer values than % places");
            let value = keyed.or_else(|| next.next()).ok_or_else(few)?;
            if spec.fill == Some('0') && spec.align.is_some() {
                spec.fill = None;
            }
            let text = self.percent_value(&value, kind, &mut spec)?;
            out.push_str(&spec.pad(text, '>'));
            self.heap.charge_string(out.len())?;
        }
        if !by_key && next.next().is_some() && !matches!(values, Value::Dict(_)) {
            return Err(raise("TypeError", "there are more values than % places")
                .hint("write %% for the character '%'"));
        }
        Ok(Value::Str(out.into()))
    }

    fn percent_value(&mut self, value: &Value, kind: char, spec: &mut Spec) -> Res<String> {
        match kind {
            's' | 'r' => {
                let text = if kind == 's' {
                    self.text(value)?.to_string()
                } else {
                    self.repr(value)?
                };
                spec.fill = None;
                Ok(cut(text, spec.precision))
            }
            'c' => match value {
                Value::Str(text) if text.chars().count() == 1 => Ok(text.to_string()),
                _ => integer(value, kind).and_then(character),
            },
            _ => {
                spec.kind = Some(kind);
                spec.number(value)
            }
        }
    }

    /// A value by the specification after the colon of `{value:spec}`.
    pub fn format_spec(&mut self, value: &Value, text: &str) -> Res<String> {
        let mut spec = Spec::parse(text)?;
        let numeric = matches!(value, Value::Int(_) | Value::Float(_))
            || spec.kind.is_some_and(|kind| kind != 's');
        if numeric && spec.kind != Some('s') {
            if matches!(value, Value::Str(_)) {
                let text = format!("{:?} is for numbers, and this is a text", text);
                return Err(raise("ValueError", text).hint("int(...) makes a number of a text"));
            }
            let text = if spec.kind == Some('c') {
                character(integer(value, 'c')?)?
            } else {
                spec.number(value)?
            };
            return Ok(spec.pad(text, '>'));
        }
        let text = self.text(value)?.to_string();
        let text = cut(text, spec.precision);
        spec.precision = None;
        Ok(spec.pad(text, '<'))
    }

    /// `str.format`.
    pub fn format_method(&mut self, format: &str, args: &Args) -> Res<Value> {
        self.work(format.len())?;
        let mut out = String::new();
        let mut rest = format;
        let mut automatic = 0;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                out.push_str(brace);
                rest = after;
                continue;
            }
            let end = if brace == "{" { rest.find('}') } else { None };
            let Some(end) = end else {
                return Err(raise("ValueError", format_args!("'{brace}' stands alone"))
                    .hint(format_args!("write {brace}{brace} for the character")));
            };
            let (field, spec) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
            rest = &rest[end + 1..];
            let (field, repr) = match field.strip_suffix("!r") {
                Some(field) => (field, true),
                None => (field.strip_suffix("!s").unwrap_or(field), false),
            };
            let value = self.format_field(field, args, &mut automatic)?;
            let value = if repr {
                Value::Str(self.repr(&value)?.into())
            } else {
                value
            };
            out.push_str(&self.format_spec(&value, spec)?);
            self.heap.charge_string(out.len())?;
        }
        out.push_str(rest);
        self.heap.string(&out)
    }

    /// `0`, `name`, nothing, each perhaps with `[key]` behind it.
    fn format_field(&mut self, field: &str, args: &Args, automatic: &mut usize) -> Res<Value> {
        let (name, mut indices) = field.find('[').map_or((field, ""), |at| field.split_at(at));
        let index = if name.is_empty() {
            *automatic += 1;
            Some(*automatic - 1)
        } else {
            name.parse().ok()
        };
        let value = match index {
            Some(index) => args.positional.get(index).cloned(),
            None => args
                .keywords
                .iter()
                .find(|(keyword, _)| &**keyword == name)
                .map(|(_, value)| value.clone()),
        };
        let missing = || {
            raise(
                "IndexError",
                format_args!("nothing is given for {{{field}}}"),
            )
        };
        let mut value = value.ok_or_else(missing)?;
        while let Some((key, rest)) = indices
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            let key = match key.parse() {
                Ok(number) => Value::Int(number),
                Err(_) => self.heap.string(key)?,
            };
            value = self.get_item(&value, &key)?;
            indices = rest;
        }
        if indices.is_empty() {
            Ok(value)
        } else {
            Err(raise(
                "ValueError",
                format_args!("{{{field}}} is not understood"),
            ))
        }
    }
}

fn read_width(digits: &str) -> Res<Option<usize>> {
    match digits.parse::<usize>() {
        Ok(width) if width <= MAX_WIDTH => Ok(Some(width)),
        Ok(_) => Err(raise(
            "ValueError",
            format_args!("a width of more than {MAX_WIDTH}"),
        )),
        Err(_) => Ok(None),
    }
}

fn cut(text: String, precision: Option<usize>) -> String {
    match precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    }
}

fn integer(value: &Value, kind: char) -> Res<i64> {
    match value {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "%d of a float cuts, as in Python"
        )]
        Value::Float(value) if value.abs() < 9e18 && "diu".contains(kind) => Ok(*value as i64),
        other => other.as_int().ok_or_else(|| not_a_number(value, kind)),
    }
}

fn character(code: i64) -> Res<String> {
    let c = u32::try_from(code).ok().and_then(char::from_u32);
    c.map(String::from)
        .ok_or_else(|| raise("OverflowError", format_args!("{code} is no character")))
}

fn not_a_number(value: &Value, kind: char) -> Box<Fault> {
    let fault = raise(
        "TypeError",
        format_args!("%{kind} wants a number, not {}", value.type_name()),
    );
    match value {
        Value::Str(_) => fault.hint("int(...) makes a number of a text, %s takes any value"),
        Value::None => fault.hint("is the variable set?"),
        _ => fault,
    }
}

impl Spec {
    /// Reads `[[fill]align][sign][#][0][width][,][.precision][kind]`.
    fn parse(text: &str) -> Res<Self> {
        let mut spec = Self::default();
        let mut chars: Vec<char> = text.chars().collect();
        let is_align = |c: Option<&char>| c.is_some_and(|c| "<>^=".contains(*c));
        if is_align(chars.get(1)) {
            spec.fill = Some(chars[0]);
            spec.align = Some(chars[1]);
            chars.drain(..2);
        } else if is_align(chars.first()) {
            spec.align = Some(chars.remove(0));
        }
        let mut chars = chars.into_iter().peekable();
        match chars.next_if(|c| "+- ".contains(*c)) {
            Some('+') => spec.plus = true,
            Some(' ') => spec.space = true,
            _ => {}
        }
        spec.alternate = chars.next_if_eq(&'#').is_some();
        if chars.next_if_eq(&'0').is_some() {
            spec.fill.get_or_insert('0');
        }
        let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit))
            .take(9)
            .collect();
        spec.width = read_width(&digits)?.unwrap_or(0);
        spec.comma = chars.next_if_eq(&',').is_some();
        if chars.next_if_eq(&'.').is_some() {
            let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit))
                .take(9)
                .collect();
            spec.precision = read_width(&digits)?;
        }
        spec.kind = chars.next();
        if chars.next().is_some()
            || spec
                .kind
                .is_some_and(|kind| !"sdioxXbcfFeEgG%".contains(kind))
        {
            return Err(raise(
                "ValueError",
                format_args!("the format {text:?} is not understood"),
            ));
        }
        Ok(spec)
    }

    fn number(&self, value: &Value) -> Res<String> {
        let kind = self.kind.unwrap_or(if matches!(value, Value::Float(_)) {
            'r'
        } else {
            'd'
        });
        let (negative, body) = match kind {
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'b' => {
                let number = integer(value, kind)?;
                let size = number.unsigned_abs();
                let (prefix, digits) = match kind {
                    'x' => ("0x", format!("{size:x}")),
                    'X' => ("0X", format!("{size:X}")),
                    'o' => ("0", format!("{size:o}")),
                    'b' => ("0b", format!("{size:b}")),
                    _ => ("", size.to_string()),
                };
                let digits = format!("{digits:0>0$}", self.precision.unwrap_or(0));
                (
                    number < 0,
                    if self.alternate {
                        format!("{prefix}{digits}")
                    } else {
                        digits
                    },
                )
            }
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' | '%' | 'r' => {
                let number = value.as_float().ok_or_else(|| not_a_number(value, kind))?;
                (
                    number.is_sign_negative(),
                    float(number.abs(), kind, self.precision),
                )
            }
            _ => {
                return Err(
                    raise("ValueError", format_args!("%{kind} is not understood"))
                        .hint("write %% for the character '%'"),
                );
            }
        };
        let body = if self.comma { thousands(&body) } else { body };
        let sign = match negative {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        };
        Ok(format!("{sign}{body}"))
    }

    fn pad(&self, text: String, default: char) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        let fill = self.fill.unwrap_or(' ');
        let run = |nr: usize| fill.to_string().repeat(nr);
        let zeros = fill == '0' && self.align.is_none();
        match self.align.unwrap_or(if zeros { '=' } else { default }) {
            '<' => text + &run(missing),
            '^' => run(missing / 2) + &text + &run(missing - missing / 2),
            '=' => {
                let sign = text.find(|c| !"+- ".contains(c)).unwrap_or(0);
                format!("{}{}{}", &text[..sign], run(missing), &text[sign..])
            }
            _ => run(missing) + &text,
        }
    }
}

fn float(number: f64, kind: char, precision: Option<usize>) -> String {
    let digits = precision.unwrap_or(6);
    let text = match kind {
        'f' | 'F' => format!("{number:.digits$}"),
        '%' => format!("{:.digits$}%", number * 100.0),
        'e' | 'E' => exponent(&format!("{number:.digits$e}")),
        'g' | 'G' => general(number, digits.max(1)),
        _ => match precision {
            Some(digits) => general(number, digits.max(1)),
            None => shortest(number),
        },
    };
    if kind.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    }
}

/// The fewest digits that read back as the same number, as Python's `repr` has it.
pub(super) fn shortest(number: f64) -> String {
    let text = format!("{number:?}");
    if text.contains('e') {
        exponent(&text)
    } else {
        text
    }
}

/// Rust writes `1e7` where C writes `1e+07`.
fn exponent(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// C's `%g`: as many significant digits, without zeros at the end.
fn general(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    let power: i32 = scientific
        .split_once('e')
        .and_then(|(_, power)| power.parse().ok())
        .unwrap_or(0);
    let digits_i32 = i32::try_from(digits).unwrap_or(i32::MAX);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if power < -4 || power >= digits_i32 {
        let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", trim(mantissa)));
    }
    let after = usize::try_from(digits_i32 - 1 - power).unwrap_or(0);
    trim(&format!("{number:.after$}"))
}

fn thousands(text: &str) -> String {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let mut out = String::new();
    for (nr, c) in text[..end].chars().enumerate() {
        if nr > 0 && (end - nr) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out + &text[end..]
}
