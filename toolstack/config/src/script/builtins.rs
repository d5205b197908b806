//! Python's own functions, and those of the modules.

use super::args::{int, optional_text, text};
use super::fault::{Res, fatal, raise};
use super::interp::{Args, Interp};
use super::value::Value;
use std::net::Ipv4Addr;

impl Interp<'_> {
    pub fn call_builtin(&mut self, name: &'static str, args: Args) -> Res<Value> {
        match name {
            "xm_vars.var" => self.declare(args),
            "xm_vars.check" => self.check_declared(args),
            "print" | "__print__" => self.print(args),
            "sys.exit" | "exit" | "quit" => {
                let [code] = args.bind(name, ["code"], 0)?;
                let code = code.map(|code| self.text(&code)).transpose()?;
                Err(raise(
                    "SystemExit",
                    code.as_deref().unwrap_or("the script ended itself"),
                ))
            }
            "sys.stderr.write" | "sys.stdout.write" => {
                let value = args.one(name, "text")?;
                let value = text(&value, name)?;
                self.host.print(value.strip_suffix('\n').unwrap_or(&value));
                Ok(Value::None)
            }
            "sys.stderr.flush" | "sys.stdout.flush" => args.none(name).map(|()| Value::None),
            _ if name.starts_with("os.") => self.call_path(name, args),
            _ if name.starts_with("string.") => self.call_string(name, args),
            _ if IP_HELPERS.contains(&name) => self.call_ip(name, args),
            "len" => {
                let value = args.one(name, "value")?;
                let length = self.length(&value);
                let length = length.ok_or_else(|| {
                    raise(
                        "TypeError",
                        format_args!("{} has no length", value.type_name()),
                    )
                })?;
                Ok(Value::Int(length as i64))
            }
            "range" | "xrange" => self.range(args),
            "list" | "tuple" | "sorted" | "reversed" | "enumerate" | "zip" | "sum" | "min"
            | "max" | "map" | "filter" | "any" | "all" => self.call_sequence(name, args),
            _ => self.call_scalar(name, args),
        }
    }

    fn print(&mut self, mut args: Args) -> Res<Value> {
        let mut separator = " ".into();
        for (keyword, value) in std::mem::take(&mut args.keywords) {
            match &*keyword {
                "sep" => separator = text(&value, "print")?,
                "end" | "file" | "flush" => {}
                _ => {
                    return Err(raise(
                        "TypeError",
                        format_args!("print() has no use for '{keyword}'"),
                    ));
                }
            }
        }
        let words: Vec<_> = args
            .positional
            .iter()
            .map(|value| self.text(value))
            .collect::<Res<_>>()?;
        self.host.print(&words.join(&*separator));
        Ok(Value::None)
    }

    fn range(&mut self, args: Args) -> Res<Value> {
        let [a, b, step] = args.bind("range", ["start", "stop", "step"], 1)?;
        let a = int(&a.unwrap_or(Value::None), "range")?;
        let (start, stop) = match b {
            Some(b) => (a, int(&b, "range")?),
            None => (0, a),
        };
        let step = step.map_or(Ok(1), |step| int(&step, "range"))?;
        if step == 0 {
            return Err(raise("ValueError", "the step of range() is not 0"));
        }
        let span = if step > 0 {
            i128::from(stop) - i128::from(start)
        } else {
            i128::from(start) - i128::from(stop)
        };
        let nr = span.max(0).div_euclid(i128::from(step).abs()) + 1;
        self.heap
            .charge_values(usize::try_from(nr).unwrap_or(usize::MAX))?;
        let mut items = Vec::new();
        let mut at = start;
        while if step > 0 { at < stop } else { at > stop } {
            items.push(Value::Int(at));
            match at.checked_add(step) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.work(items.len())?;
        self.heap.list(items)
    }

    fn call_sequence(&mut self, name: &'static str, args: Args) -> Res<Value> {
        match name {
            "sorted" => {
                let [items, key, reverse] = args.bind(name, ["items", "key", "reverse"], 1)?;
                let items = self.iterate(&items.unwrap_or(Value::None))?;
                let items = self.sort(items, key.as_ref(), reverse.as_ref())?;
                return self.heap.list(items);
            }
            "map" | "filter" => {
                let [function, items] = args.bind(name, ["function", "items"], 2)?;
                let (function, items) = (
                    function.unwrap_or(Value::None),
                    items.unwrap_or(Value::None),
                );
                let mut out = Vec::new();
                for item in self.iterate(&items)? {
                    let result = match function {
                        Value::None => item.clone(),
                        _ => self.call(&function, Args::of([item.clone()]))?,
                    };
                    if name == "map" {
                        out.push(result);
                    } else if self.truth(&result) {
                        out.push(item);
                    }
                }
                return self.heap.list(out);
            }
            "zip" => {
                let columns = args
                    .positional
                    .iter()
                    .map(|items| self.iterate(items))
                    .collect::<Res<Vec<_>>>()?;
                let nr = columns.iter().map(Vec::len).min().unwrap_or(0);
                let mut rows = Vec::new();
                for at in 0..nr {
                    let row = columns.iter().map(|column| column[at].clone()).collect();
                    rows.push(self.heap.tuple(row)?);
                }
                return self.heap.list(rows);
            }
            "min" | "max" => {
                let items = match &args.positional[..] {
                    [single] => self.iterate(single)?,
                    several => several.to_vec(),
                };
                let mut items = items.into_iter();
                let mut best = items
                    .next()
                    .ok_or_else(|| raise("ValueError", format_args!("{name}() of nothing")))?;
                for item in items {
                    let order = self.order(&item, &best)?;
                    if if name == "min" {
                        order.is_lt()
                    } else {
                        order.is_gt()
                    } {
                        best = item;
                    }
                }
                return Ok(best);
            }
            _ => {}
        }
        let [items, start] = args.bind(name, ["items", "start"], 0)?;
        let mut items = items.map_or(Ok(Vec::new()), |items| self.iterate(&items))?;
        match name {
            "list" => self.heap.list(items),
            "tuple" => self.heap.tuple(items),
            "reversed" => {
                items.reverse();
                self.heap.list(items)
            }
            "enumerate" => {
                let start = start.map_or(Ok(0), |start| int(&start, name))?;
                let mut pairs = Vec::new();
                for (at, item) in (start..).zip(items) {
                    pairs.push(self.heap.tuple(vec![Value::Int(at), item])?);
                }
                self.heap.list(pairs)
            }
            "sum" => {
                let mut sum = start.unwrap_or(Value::Int(0));
                for item in &items {
                    sum = self.binary("+", &sum, item)?;
                }
                Ok(sum)
            }
            _ => {
                let any = name == "any";
                Ok(Value::Bool(
                    items.iter().any(|item| self.truth(item) == any) == any,
                ))
            }
        }
    }

    fn call_scalar(&mut self, name: &'static str, args: Args) -> Res<Value> {
        match name {
            "int" | "long" => {
                let [value, base] = args.bind(name, ["value", "base"], 0)?;
                let base = base.map_or(Ok(10), |base| int(&base, name))?;
                to_int(&value.unwrap_or(Value::Int(0)), base)
            }
            "round" | "pow" | "divmod" => {
                let [a, b] = args.bind(name, ["a", "b"], if name == "round" { 1 } else { 2 })?;
                let (a, b) = (a.unwrap_or(Value::None), b.unwrap_or(Value::Int(0)));
                match name {
                    "pow" => self.binary("**", &a, &b),
                    "divmod" => {
                        let pair = vec![self.binary("//", &a, &b)?, self.binary("%", &a, &b)?];
                        self.heap.tuple(pair)
                    }
                    _ => {
                        let value = a
                            .as_float()
                            .ok_or_else(|| raise("TypeError", "round() wants a number"))?;
                        let digits = i32::try_from(int(&b, name)?).unwrap_or(0).clamp(-300, 300);
                        let scale = 10f64.powi(digits);
                        Ok(Value::Float((value * scale).round() / scale))
                    }
                }
            }
            "dict" => {
                let keywords = args.keywords;
                let [from] = Args::of(args.positional).bind(name, ["items"], 0)?;
                let dict = self.heap.dict(Vec::new())?;
                match from {
                    None => {}
                    Some(Value::Dict(id)) => {
                        for (key, value) in self.heap.entries(id).to_vec() {
                            self.set_item(&dict, &key, value)?;
                        }
                    }
                    Some(pairs) => {
                        for pair in self.iterate(&pairs)? {
                            let pair = self.iterate(&pair)?;
                            let [key, value] = &pair[..] else {
                                return Err(raise("ValueError", "dict() wants pairs"));
                            };
                            self.set_item(&dict, key, value.clone())?;
                        }
                    }
                }
                for (key, value) in keywords {
                    self.set_item(&dict, &Value::Str(key), value)?;
                }
                Ok(dict)
            }
            "isinstance" => {
                let [value, class] = args.bind(name, ["value", "type"], 2)?;
                let (value, class) = (value.unwrap_or(Value::None), class.unwrap_or(Value::None));
                let classes = if let Value::Tuple(id) = class {
                    self.heap.items(id).to_vec()
                } else {
                    vec![class]
                };
                let is = |class: &Value| match class {
                    Value::Builtin("unicode" | "basestring") => matches!(value, Value::Str(_)),
                    Value::Builtin("long") => matches!(value, Value::Int(_)),
                    Value::Builtin(name) => *name == value.type_name(),
                    _ => false,
                };
                Ok(Value::Bool(classes.iter().any(is)))
            }
            _ => {
                if name == "str" && args.positional.is_empty() {
                    return Ok(Value::Str("".into()));
                }
                let value = args.one(name, "value")?;
                self.call_one(name, &value)
            }
        }
    }

    fn call_one(&mut self, name: &'static str, value: &Value) -> Res<Value> {
        let number = || int(value, name);
        match name {
            "str" | "unicode" | "basestring" => self.text(value).map(Value::Str),
            "repr" => {
                let text = self.repr(value)?;
                Ok(Value::Str(text.into()))
            }
            "bool" => Ok(Value::Bool(self.truth(value))),
            "float" => {
                let parsed = match value {
                    Value::Str(text) => text
                        .trim()
                        .parse()
                        .ok()
                        .filter(|value: &f64| value.is_finite()),
                    other => other.as_float(),
                };
                parsed.map(Value::Float).ok_or_else(|| match value {
                    Value::Str(text) => raise("ValueError", format_args!("{text:?} is no number")),
                    other => raise(
                        "TypeError",
                        format_args!(
                            "float() wants a number or a text, not {}",
                            other.type_name()
                        ),
                    ),
                })
            }
            "abs" => match value {
                Value::Float(value) => Ok(Value::Float(value.abs())),
                _ => number()?
                    .checked_abs()
                    .map(Value::Int)
                    .ok_or_else(|| raise("OverflowError", "the result is too large")),
            },
            "hex" | "oct" | "bin" => {
                let number = number()?;
                let (sign, size) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
                self.heap.string(&match name {
                    "hex" => format!("{sign}{size:#x}"),
                    "oct" => format!("{sign}0{size:o}"),
                    _ => format!("{sign}{size:#b}"),
                })
            }
            "chr" => {
                let c = u32::try_from(number()?).ok().and_then(char::from_u32);
                let c =
                    c.ok_or_else(|| raise("ValueError", "chr() wants the code of a character"))?;
                self.heap.string(&c.to_string())
            }
            "ord" => {
                let text = text(value, name)?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => Ok(Value::Int(i64::from(u32::from(c)))),
                    _ => Err(raise("TypeError", "ord() wants one character")),
                }
            }
            "type" => Ok(Value::Builtin(match value {
                Value::Str(_) => "str",
                Value::Int(_) => "int",
                Value::Float(_) => "float",
                Value::Bool(_) => "bool",
                Value::List(_) => "list",
                Value::Tuple(_) => "tuple",
                Value::Dict(_) => "dict",
                other => {
                    return Err(raise(
                        "TypeError",
                        format_args!("type() of {} is not offered", other.type_name()),
                    ));
                }
            })),
            _ => Err(fatal(format_args!("{name}() is not offered"))),
        }
    }

    fn call_string(&mut self, name: &'static str, mut args: Args) -> Res<Value> {
        let method = name.strip_prefix("string.").unwrap_or(name);
        match method {
            "atoi" => self.call_builtin("int", args),
            "atof" => self.call_builtin("float", args),
            // Of the old module, `join(items, separator)` alone has the text last.
            "join" => {
                let [items, separator] = args.bind(name, ["items", "separator"], 1)?;
                let separator =
                    optional_text(separator.as_ref(), name)?.unwrap_or_else(|| " ".into());
                self.join(&separator, &items.unwrap_or(Value::None))
            }
            _ => {
                if args.positional.is_empty() {
                    return Err(raise("TypeError", format_args!("{name}() wants a text")));
                }
                let receiver = args.positional.remove(0);
                self.call_method(&receiver, method, args)
            }
        }
    }

    fn call_path(&mut self, name: &'static str, args: Args) -> Res<Value> {
        if name == "os.getenv" {
            let [_, default] = args.bind(name, ["name", "default"], 1)?;
            return Ok(default.unwrap_or(Value::None));
        }
        if name == "os.path.join" {
            let mut path = String::new();
            for part in &args.positional {
                let part = text(part, name)?;
                if part.starts_with('/') {
                    path.clear();
                } else if !path.is_empty() && !path.ends_with('/') {
                    path.push('/');
                }
                path.push_str(&part);
                self.heap.charge_string(path.len())?;
            }
            return self.heap.string(&path);
        }
        let path = args.one(name, "path")?;
        let path = text(&path, name)?;
        let (head, tail) = path
            .rfind('/')
            .map_or(("", &*path), |at| path.split_at(at + 1));
        let head = if head.trim_end_matches('/').is_empty() {
            head
        } else {
            head.trim_end_matches('/')
        };
        match name {
            "os.path.basename" => self.heap.string(tail),
            "os.path.dirname" => self.heap.string(head),
            "os.path.isabs" => Ok(Value::Bool(path.starts_with('/'))),
            "os.path.normpath" => self.heap.string(&normal(&path)),
            "os.path.split" => {
                let pair = vec![self.heap.string(head)?, self.heap.string(tail)?];
                self.heap.tuple(pair)
            }
            _ => {
                let name_start = path.len() - tail.trim_start_matches('.').len();
                let at = path[name_start..]
                    .rfind('.')
                    .map_or(path.len(), |at| name_start + at);
                let pair = vec![
                    self.heap.string(&path[..at])?,
                    self.heap.string(&path[at..])?,
                ];
                self.heap.tuple(pair)
            }
        }
    }

    fn call_ip(&mut self, name: &'static str, args: Args) -> Res<Value> {
        match name {
            "get_current_ipaddr" | "get_current_ipmask" | "get_current_ipgw" => {
                let [device] = args.bind(name, ["dev"], 0)?;
                let device = optional_text(device.as_ref(), name)?.unwrap_or_else(|| "eth0".into());
                let mut found = self.host.ipv4(&device);
                if found.is_none() && &*device == "eth0" {
                    found = self.host.ipv4("xen-br0");
                }
                let address = found.and_then(|found| match name {
                    "get_current_ipaddr" => Some(found.address),
                    "get_current_ipmask" => Some(found.mask),
                    _ => found.gateway,
                });
                address.map_or(Ok(Value::None), |address| {
                    self.heap.string(&address.to_string())
                })
            }
            "inet_aton" => {
                let address = args.one(name, "address")?;
                ipv4(&address, name).map(|address| Value::Int(i64::from(u32::from(address))))
            }
            "inet_ntoa" => {
                let number = args.one(name, "number")?;
                let address = to_ipv4(int(&number, name)?)?;
                self.heap.string(&address.to_string())
            }
            "add_offset_to_ip" => {
                let [address, offset] = args.bind(name, ["ip", "off"], 2)?;
                let address = i64::from(u32::from(ipv4(&address.unwrap_or(Value::None), name)?));
                let offset = int(&offset.unwrap_or(Value::None), name)?;
                let address = to_ipv4(address.saturating_add(offset))?;
                self.heap.string(&address.to_string())
            }
            _ => {
                let [ip, network, mask] = args.bind(name, ["ip", "network", "netmask"], 3)?;
                let number =
                    |value: Option<Value>| ipv4(&value.unwrap_or(Value::None), name).map(u32::from);
                let (ip, network, mask) = (number(ip)?, number(network)?, number(mask)?);
                Ok(Value::Bool(ip & mask == network & mask))
            }
        }
    }
}

/// The names of 2.0's helper module for addresses, all predefined.
pub(crate) const IP_HELPERS: &[&str] = &[
    "add_offset_to_ip",
    "check_subnet",
    "get_current_ipaddr",
    "get_current_ipgw",
    "get_current_ipmask",
    "inet_aton",
    "inet_ntoa",
];

fn ipv4(value: &Value, function: &str) -> Res<Ipv4Addr> {
    let address = text(value, function)?;
    address.parse().map_err(|_| {
        raise(
            "ValueError",
            format_args!("{address:?} is no IPv4 address, such as 10.0.0.1"),
        )
    })
}

fn to_ipv4(number: i64) -> Res<Ipv4Addr> {
    let number = u32::try_from(number).map_err(|_| {
        raise(
            "ValueError",
            format_args!("{number} is beyond all IPv4 addresses"),
        )
    })?;
    Ok(number.into())
}

fn to_int(value: &Value, base: i64) -> Res<Value> {
    match value {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "int() of a float cuts, as in Python"
        )]
        Value::Float(value) if value.abs() < 9e18 => Ok(Value::Int(*value as i64)),
        Value::Str(text) => {
            let trimmed = text.trim();
            let (sign, digits) = trimmed
                .strip_prefix('-')
                .map_or(("", trimmed), |digits| ("-", digits));
            let prefixed = |prefix: &str, radix| {
                digits
                    .strip_prefix(prefix)
                    .filter(|_| base == radix || base == 0)
            };
            let (digits, radix) = match (prefixed("0x", 16), prefixed("0o", 8), prefixed("0b", 2)) {
                (Some(digits), _, _) => (digits, 16),
                (_, Some(digits), _) => (digits, 8),
                (_, _, Some(digits)) => (digits, 2),
                _ => (digits, if base == 0 { 10 } else { base }),
            };
            let radix = u32::try_from(radix)
                .ok()
                .filter(|radix| (2..=36).contains(radix));
            let radix =
                radix.ok_or_else(|| raise("ValueError", "the base of int() is from 2 to 36"))?;
            let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
            let number = plain
                .then(|| i64::from_str_radix(&format!("{sign}{digits}"), radix).ok())
                .flatten();
            number
                .map(Value::Int)
                .ok_or_else(|| raise("ValueError", format_args!("{text:?} is no number")))
        }
        other => other.as_int().map(Value::Int).ok_or_else(|| {
            let fault = raise(
                "TypeError",
                format_args!("int() wants a number or a text, not {}", other.type_name()),
            );
            if matches!(other, Value::None) {
                fault.hint("is the variable set?")
            } else {
                fault
            }
        }),
    }
}

/// A path without empty and dotted parts.
fn normal(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
