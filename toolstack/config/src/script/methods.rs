//! Methods of texts, lists, dictionaries and of our own objects.

use super::args::{int, optional_text, text};
use super::fault::{Res, fatal, raise};
use super::interp::{Args, Declared, Interp};
use super::modules;
use super::value::{Id, Object, Value};
use crate::suggest;

const STR: &[&str] = &[
    "capitalize",
    "center",
    "count",
    "decode",
    "encode",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isdigit",
    "isspace",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "title",
    "upper",
    "zfill",
];
const LIST: &[&str] = &[
    "append", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort",
];
const DICT: &[&str] = &[
    "clear",
    "copy",
    "get",
    "has_key",
    "items",
    "iteritems",
    "iterkeys",
    "itervalues",
    "keys",
    "pop",
    "setdefault",
    "update",
    "values",
];

fn methods(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Str(_) => STR,
        Value::List(_) => LIST,
        Value::Tuple(_) => &["count", "index"],
        Value::Dict(_) => DICT,
        _ => &[],
    }
}

impl Interp<'_> {
    /// `value.name`, without calling it.
    pub fn attribute(&mut self, value: &Value, name: &str) -> Res<Value> {
        if let Value::Module(module) = value {
            if let Some(value) = self.module_attribute(module, name)? {
                return Ok(value);
            }
            if let Some(reason) = modules::refused(&format!("{module}.{name}")) {
                return Err(fatal(format_args!("{module}.{name} is not offered")).hint(reason));
            }
            let fault = raise(
                "AttributeError",
                format_args!("{module} has no '{name}' in configuration files"),
            );
            return Err(
                match suggest::nearest(name, modules::names(module).iter().copied()) {
                    Some(near) => fault.hint(format_args!("did you mean '{near}'?")),
                    None => {
                        fault.hint(format_args!("it has {}", modules::names(module).join(", ")))
                    }
                },
            );
        }
        if let (Value::Exception(id), "args" | "message") = (value, name)
            && let Object::Exception { message, .. } = self.heap.get(*id)
        {
            let message = Value::Str(message.clone());
            return if name == "args" {
                self.heap.tuple(vec![message])
            } else {
                Ok(message)
            };
        }
        let known = methods(value);
        if known.contains(&name) {
            let object = Object::Method {
                receiver: value.clone(),
                name: name.into(),
            };
            return self.heap.add(object).map(Value::Method);
        }
        let fault = raise(
            "AttributeError",
            format_args!("{} has no '{name}'", value.type_name()),
        );
        Err(match suggest::nearest(name, known.iter().copied()) {
            Some(near) => fault.hint(format_args!("did you mean '{near}'?")),
            None => fault,
        })
    }

    pub fn call_method(&mut self, receiver: &Value, name: &str, args: Args) -> Res<Value> {
        self.step()?;
        match receiver {
            Value::Str(of) if STR.contains(&name) => self.str_method(&of.clone(), name, args),
            Value::List(id) | Value::Tuple(id) if methods(receiver).contains(&name) => {
                self.list_method(*id, name, args)
            }
            Value::Dict(id) if DICT.contains(&name) => self.dict_method(*id, name, args),
            _ => {
                let callee = self.attribute(receiver, name)?;
                self.call(&callee, args)
            }
        }
    }

    fn str_method(&mut self, of: &str, name: &str, args: Args) -> Res<Value> {
        self.work(of.len())?;
        match name {
            "format" => return self.format_method(of, &args),
            "join" => {
                let items = args.one(name, "items")?;
                return self.join(of, &items);
            }
            "split" | "rsplit" => {
                let [separator, limit] = args.bind(name, ["sep", "maxsplit"], 0)?;
                let separator = optional_text(separator.as_ref(), name)?;
                let limit = limit
                    .map(|limit| int(&limit, name))
                    .transpose()?
                    .and_then(|limit| usize::try_from(limit).ok());
                let parts = split(of, separator.as_deref(), limit, name == "rsplit")?;
                return self.list_of_texts(&parts);
            }
            "splitlines" => {
                args.none(name)?;
                let lines: Vec<&str> = of.lines().collect();
                return self.list_of_texts(&lines);
            }
            "partition" | "rpartition" => {
                let separator = args.one(name, "sep")?;
                let separator = text(&separator, name)?;
                let found = if name == "partition" {
                    of.split_once(&*separator)
                } else {
                    of.rsplit_once(&*separator)
                };
                let parts = match found {
                    Some((before, after)) => [before, &separator, after],
                    None if name == "partition" => [of, "", ""],
                    None => ["", "", of],
                };
                let parts = parts
                    .iter()
                    .map(|part| self.heap.string(part))
                    .collect::<Res<_>>()?;
                return self.heap.tuple(parts);
            }
            "find" | "rfind" | "index" | "rindex" | "count" => {
                let [wanted, start] = args.bind(name, ["sub", "start"], 1)?;
                let wanted = text(&wanted.unwrap_or(Value::None), name)?;
                let start = start.map_or(Ok(0), |start| int(&start, name))?;
                return find(of, &wanted, start, name);
            }
            "startswith" | "endswith" => {
                let wanted = args.one(name, "prefix")?;
                let all = if let Value::Tuple(id) = wanted {
                    self.heap.items(id).to_vec()
                } else {
                    vec![wanted]
                };
                for wanted in &all {
                    let wanted = text(wanted, name)?;
                    if if name == "startswith" {
                        of.starts_with(&*wanted)
                    } else {
                        of.ends_with(&*wanted)
                    } {
                        return Ok(Value::Bool(true));
                    }
                }
                return Ok(Value::Bool(false));
            }
            "isalnum" | "isalpha" | "isdigit" | "isspace" => {
                args.none(name)?;
                let test = match name {
                    "isalnum" => char::is_alphanumeric,
                    "isalpha" => char::is_alphabetic,
                    "isdigit" => |c: char| c.is_ascii_digit(),
                    _ => char::is_whitespace,
                };
                return Ok(Value::Bool(!of.is_empty() && of.chars().all(test)));
            }
            _ => {}
        }
        let result = match name {
            "strip" | "lstrip" | "rstrip" => {
                let [chars] = args.bind(name, ["chars"], 0)?;
                let chars = optional_text(chars.as_ref(), name)?;
                let cut = |c: char| {
                    chars
                        .as_ref()
                        .map_or(c.is_whitespace(), |chars| chars.contains(c))
                };
                match name {
                    "strip" => of.trim_matches(cut).to_owned(),
                    "lstrip" => of.trim_start_matches(cut).to_owned(),
                    _ => of.trim_end_matches(cut).to_owned(),
                }
            }
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"], 2)?;
                let old = text(&old.unwrap_or(Value::None), name)?;
                let new = text(&new.unwrap_or(Value::None), name)?;
                let nr = of.matches(&*old).count();
                self.heap
                    .charge_string(of.len().saturating_add(nr.saturating_mul(new.len())))?;
                match count
                    .map(|count| int(&count, name))
                    .transpose()?
                    .and_then(|count| usize::try_from(count).ok())
                {
                    Some(count) => of.replacen(&*old, &new, count),
                    None => of.replace(&*old, &new),
                }
            }
            "zfill" | "ljust" | "rjust" | "center" => {
                let [width, fill] = args.bind(name, ["width", "fill"], 1)?;
                let width = int(&width.unwrap_or(Value::None), name)?;
                let fill = optional_text(fill.as_ref(), name)?;
                let missing = usize::try_from(width)
                    .unwrap_or(0)
                    .saturating_sub(of.chars().count());
                self.heap
                    .charge_string(of.len().saturating_add(missing.saturating_mul(4)))?;
                let fill = fill.and_then(|fill| fill.chars().next()).unwrap_or(' ');
                let run = |c: char, nr: usize| c.to_string().repeat(nr);
                match name {
                    "ljust" => of.to_owned() + &run(fill, missing),
                    "rjust" => run(fill, missing) + of,
                    "center" => run(fill, missing / 2) + of + &run(fill, missing - missing / 2),
                    _ => {
                        let sign = usize::from(of.starts_with(['+', '-']));
                        format!("{}{}{}", &of[..sign], run('0', missing), &of[sign..])
                    }
                }
            }
            "encode" | "decode" => {
                args.bind(name, ["encoding", "errors"], 0)?;
                of.to_owned()
            }
            _ => {
                args.none(name)?;
                match name {
                    "upper" => of.to_uppercase(),
                    "lower" => of.to_lowercase(),
                    "title" => title(of),
                    _ => {
                        let mut chars = of.chars();
                        let first: String = chars
                            .next()
                            .map(|c| c.to_uppercase().collect())
                            .unwrap_or_default();
                        first + &chars.as_str().to_lowercase()
                    }
                }
            }
        };
        self.heap.string(&result)
    }

    pub fn join(&mut self, separator: &str, items: &Value) -> Res<Value> {
        let mut out = String::new();
        for (nr, item) in self.iterate(items)?.iter().enumerate() {
            let Value::Str(item) = item else {
                let fault = raise(
                    "TypeError",
                    format_args!("join() wants texts, and item {nr} is {}", item.type_name()),
                );
                return Err(fault.hint("str(...) makes a text of any value"));
            };
            if nr > 0 {
                out.push_str(separator);
            }
            out.push_str(item);
            self.heap.charge_string(separator.len() + item.len())?;
        }
        self.heap.string(&out)
    }

    fn list_of_texts(&mut self, parts: &[&str]) -> Res<Value> {
        let parts = parts
            .iter()
            .map(|part| self.heap.string(part))
            .collect::<Res<_>>()?;
        self.heap.list(parts)
    }

    fn list_method(&mut self, list: Id, name: &str, args: Args) -> Res<Value> {
        self.work(self.heap.items(list).len())?;
        match name {
            "append" => {
                let value = args.one(name, "value")?;
                self.extend(list, vec![value])?;
            }
            "extend" => {
                let more = args.one(name, "items")?;
                let more = self.iterate(&more)?;
                self.extend(list, more)?;
            }
            "insert" => {
                let [at, value] = args.bind(name, ["index", "value"], 2)?;
                let at = int(&at.unwrap_or(Value::None), name)?;
                self.heap.charge_values(1)?;
                if let Object::Items(items) = self.heap.get_mut(list) {
                    let length = items.len() as u64;
                    let at = if at < 0 {
                        at.saturating_add_unsigned(length)
                    } else {
                        at
                    };
                    items.insert(
                        usize::try_from(at).unwrap_or(0).min(items.len()),
                        value.unwrap_or(Value::None),
                    );
                }
            }
            "pop" => {
                let [at] = args.bind(name, ["index"], 0)?;
                let (list, at) = (Value::List(list), at.unwrap_or(Value::Int(-1)));
                let value = self.get_item(&list, &at)?;
                self.delete_item(&list, &at)?;
                return Ok(value);
            }
            "remove" | "index" | "count" => {
                let wanted = args.one(name, "value")?;
                let mut found = Vec::new();
                for (at, item) in self.heap.items(list).to_vec().iter().enumerate() {
                    if self.equal(item, &wanted)? {
                        found.push(at as i64);
                    }
                }
                if name == "count" {
                    return Ok(Value::Int(found.len() as i64));
                }
                let Some(first) = found.first() else {
                    return Err(raise(
                        "ValueError",
                        format_args!("{} is not in the list", self.repr(&wanted)?),
                    ));
                };
                let first = Value::Int(*first);
                if name == "index" {
                    return Ok(first);
                }
                self.delete_item(&Value::List(list), &first)?;
            }
            "reverse" => {
                args.none(name)?;
                if let Object::Items(items) = self.heap.get_mut(list) {
                    items.reverse();
                }
            }
            _ => {
                let [key, reverse] = args.bind(name, ["key", "reverse"], 0)?;
                let items = self.heap.items(list).to_vec();
                let sorted = self.sort(items, key.as_ref(), reverse.as_ref())?;
                if let Object::Items(items) = self.heap.get_mut(list) {
                    *items = sorted;
                }
            }
        }
        Ok(Value::None)
    }

    /// A stable merge sort, whose comparisons may fail.
    pub fn sort(
        &mut self,
        items: Vec<Value>,
        key: Option<&Value>,
        reverse: Option<&Value>,
    ) -> Res<Vec<Value>> {
        let mut keyed = Vec::new();
        for item in items {
            let key = match key {
                None | Some(Value::None) => item.clone(),
                Some(function) => self.call(function, Args::of([item.clone()]))?,
            };
            keyed.push((key, item));
        }
        let reverse = reverse.is_some_and(|reverse| self.truth(reverse));
        let mut width = 1;
        while width < keyed.len() {
            let mut merged = Vec::with_capacity(keyed.len());
            for pair in keyed.chunks(2 * width) {
                let (left, right) = pair.split_at(width.min(pair.len()));
                let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
                while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
                    let order = self.order(&a.0, &b.0)?;
                    let from_right = if reverse {
                        order.is_lt()
                    } else {
                        order.is_gt()
                    };
                    merged.extend(
                        if from_right {
                            right.next()
                        } else {
                            left.next()
                        }
                        .cloned(),
                    );
                }
                merged.extend(left.chain(right).cloned());
            }
            keyed = merged;
            width *= 2;
        }
        Ok(keyed.into_iter().map(|(_, item)| item).collect())
    }

    fn dict_method(&mut self, dict: Id, name: &str, args: Args) -> Res<Value> {
        self.work(self.heap.entries(dict).len())?;
        match name {
            "get" | "setdefault" | "pop" => {
                let [key, default] = args.bind(name, ["key", "default"], 1)?;
                let key = key.unwrap_or(Value::None);
                if let Some(at) = self.find_key(dict, &key)? {
                    let value = self.heap.entries(dict)[at].1.clone();
                    if name == "pop" {
                        self.delete_item(&Value::Dict(dict), &key)?;
                    }
                    return Ok(value);
                }
                if name == "pop" && default.is_none() {
                    return Err(raise("KeyError", self.repr(&key)?));
                }
                let default = default.unwrap_or(Value::None);
                if name == "setdefault" {
                    self.set_item(&Value::Dict(dict), &key, default.clone())?;
                }
                Ok(default)
            }
            "has_key" => {
                let key = args.one(name, "key")?;
                Ok(Value::Bool(self.find_key(dict, &key)?.is_some()))
            }
            "update" => {
                let other = args.one(name, "other")?;
                let Value::Dict(other) = other else {
                    return Err(raise("TypeError", "update() wants a dictionary"));
                };
                for (key, value) in self.heap.entries(other).to_vec() {
                    self.set_item(&Value::Dict(dict), &key, value)?;
                }
                Ok(Value::None)
            }
            _ => {
                args.none(name)?;
                let entries = self.heap.entries(dict).to_vec();
                match name {
                    "copy" => self.heap.dict(entries),
                    "clear" => {
                        *self.heap.get_mut(dict) = Object::Dict(Vec::new());
                        Ok(Value::None)
                    }
                    "keys" | "iterkeys" => self
                        .heap
                        .list(entries.into_iter().map(|(key, _)| key).collect()),
                    "values" | "itervalues" => self
                        .heap
                        .list(entries.into_iter().map(|(_, value)| value).collect()),
                    _ => {
                        let pairs = entries
                            .into_iter()
                            .map(|(key, value)| self.heap.tuple(vec![key, value]));
                        let pairs = pairs.collect::<Res<_>>()?;
                        self.heap.list(pairs)
                    }
                }
            }
        }
    }

    /// `xm_vars.var(name, use=TEXT, check=FUNCTION)`: declares a variable of the script's own.
    pub fn declare(&mut self, args: Args) -> Res<Value> {
        let [name, help, check] = args.bind("xm_vars.var", ["name", "use", "check"], 1)?;
        let name = text(&name.unwrap_or(Value::None), "xm_vars.var")?;
        let help = optional_text(help.as_ref(), "xm_vars.var")?.unwrap_or_else(|| "".into());
        self.heap.charge_values(4)?;
        self.declared.push(Declared {
            name,
            help,
            check: check.filter(|check| !matches!(check, Value::None)),
        });
        Ok(Value::None)
    }

    /// `xm_vars.check()`: runs the check of each declared variable and sets it to what that returns; when help is
    /// asked for, prints what they are for instead.
    pub fn check_declared(&mut self, args: Args) -> Res<Value> {
        args.none("xm_vars.check")?;
        if self.help {
            self.host
                .print(&format!("\nConfiguration variables for {}:\n", self.file));
            for declared in &self.declared {
                self.host
                    .print(&format!("{:<12} {}", declared.name, declared.help));
            }
            self.host.print("");
            return Ok(Value::None);
        }
        for nr in 0..self.declared.len() {
            let (name, help) = (
                self.declared[nr].name.clone(),
                self.declared[nr].help.clone(),
            );
            let Some(check) = self.declared[nr].check.clone() else {
                continue;
            };
            let value = self.global(&name);
            let missing = value.is_none();
            let result = self.call(
                &check,
                Args::of([Value::Str(name.clone()), value.unwrap_or(Value::None)]),
            );
            let value = result.map_err(|mut fault| {
                if missing {
                    fault.hint = Some(format!("give {name}=VALUE on the command line: {help}"));
                }
                fault
            })?;
            self.set_global(&name, value)?;
        }
        Ok(Value::None)
    }
}

fn split<'a>(
    of: &'a str,
    separator: Option<&str>,
    limit: Option<usize>,
    from_end: bool,
) -> Res<Vec<&'a str>> {
    let mut parts = Vec::new();
    let mut rest = of;
    let more = |parts: &Vec<&str>| limit.is_none_or(|limit| parts.len() < limit);
    match separator {
        Some("") => {
            return Err(raise(
                "ValueError",
                "split() wants a separator that is not empty",
            ));
        }
        Some(separator) => {
            while more(&parts) {
                let found = if from_end {
                    rest.rsplit_once(separator)
                } else {
                    rest.split_once(separator)
                };
                let Some((before, after)) = found else { break };
                parts.push(if from_end { after } else { before });
                rest = if from_end { before } else { after };
            }
            parts.push(rest);
        }
        None => loop {
            rest = if from_end {
                rest.trim_end()
            } else {
                rest.trim_start()
            };
            if rest.is_empty() {
                break;
            }
            let found = if from_end {
                rest.rfind(char::is_whitespace)
            } else {
                rest.find(char::is_whitespace)
            };
            let Some(at) = found.filter(|_| more(&parts)) else {
                parts.push(rest);
                break;
            };
            if from_end {
                let start = at + rest[at..].chars().next().map_or(0, char::len_utf8);
                parts.push(&rest[start..]);
                rest = &rest[..at];
            } else {
                parts.push(&rest[..at]);
                rest = &rest[at..];
            }
        },
    }
    if from_end {
        parts.reverse();
    }
    Ok(parts)
}

/// Finds or counts, in characters.
fn find(of: &str, wanted: &str, start: i64, name: &str) -> Res<Value> {
    let length = of.chars().count() as u64;
    let start = if start < 0 {
        start.saturating_add_unsigned(length).max(0)
    } else {
        start
    };
    let skip = usize::try_from(start).unwrap_or(usize::MAX);
    let from = of.char_indices().nth(skip).map_or(of.len(), |(at, _)| at);
    let rest = &of[from..];
    if name == "count" {
        return Ok(Value::Int(rest.matches(wanted).count() as i64));
    }
    let found = if start.unsigned_abs() > length {
        None
    } else if name.starts_with('r') {
        rest.rfind(wanted)
    } else {
        rest.find(wanted)
    };
    match found {
        Some(at) => Ok(Value::Int(of[..from + at].chars().count() as i64)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => Err(raise(
            "ValueError",
            format_args!("{wanted:?} is not in the text"),
        )),
    }
}

fn title(of: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for c in of.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}
