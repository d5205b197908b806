//! The Python of configuration files: a subset of the language, without file, process or network access, within
//! limits on steps, memory and depth.
//!
//! `token` and `strings` make tokens of a text, `parse` and `parse_expr` a tree of tokens, `exec` and `eval` run the
//! tree on the `value` heap, as `interp` keeps it. What a script can reach beyond the language is in `builtins`,
//! `methods` and `modules`; what it can ask of the machine goes through [`Host`], and is the address of a network device
//! and a line on standard error.
//! `docs/configuration.md` tells users what the language has; `docs/decisions` why it is our own.

mod args;
mod ast;
mod builtins;
mod eval;
mod exec;
mod fault;
mod format;
mod interp;
mod items;
mod methods;
mod modules;
mod ops;
mod parse;
mod parse_expr;
mod strings;
mod token;
mod usage;
mod value;

pub(crate) use builtins::IP_HELPERS;
pub use fault::ScriptError;

use fault::{Fault, Res, fatal};
use interp::{Flow, Interp};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use value::{Object, Value};

/// The longest script, in bytes.
pub const MAX_SCRIPT: usize = 256 << 10;
/// Trees are walked recursively; this is enough for the deepest that the limits allow, also without optimisation.
const STACK: usize = 32 << 20;

/// What a script may ask of the machine.
pub trait Host: Sync {
    /// The IPv4 configuration of a network device of domain 0.
    fn ipv4(&self, device: &str) -> Option<Ipv4Config>;
    /// Writes a line to where people read messages: standard error.
    fn print(&self, line: &str);
}

/// The IPv4 configuration of a network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Config {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its network's mask.
    pub mask: Ipv4Addr,
    /// The gateway of the default route through it.
    pub gateway: Option<Ipv4Addr>,
}

/// What a script is run with.
#[derive(Clone, Debug, Default)]
pub struct Run<'a> {
    /// The path of the script, as messages name it and as `xm_file`.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Variables from the command line, as in `vmid=3`.
    pub variables: &'a [(String, String)],
    /// Whether its help was asked for: `xm_vars.check()` prints instead of checking, and errors are passed over.
    pub help: bool,
}

/// A value a script has set.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Str(String),
    /// A list or a tuple.
    List(Vec<Data>),
    /// Anything else, by its type.
    Other(&'static str),
}

/// A name that a script has set by assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The name.
    pub name: String,
    /// Its value at the end.
    pub value: Data,
    /// The line where it was set last, from 1.
    pub line: usize,
    /// Whether the script itself reads it, or has declared it with `xm_vars`: then it may be a helper of the script.
    pub is_used: bool,
}

/// What a script has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What it has set, ordered by line.
    pub bindings: Vec<Binding>,
    /// Variables of the command line that it has no use for.
    pub unused: Vec<String>,
}

/// Runs a script.
///
/// # Errors
/// The script is no Python that is offered here, raises an exception, or reaches a limit. With `help`, what a script
/// raises is passed over.
pub fn run(run: &Run<'_>, host: &dyn Host) -> Result<Outcome, ScriptError> {
    let on_thread = || match run_here(run, host) {
        Err(fault) => Err(fault.into_error(run.file, run.text)),
        Ok(outcome) => Ok(outcome),
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("script".into())
            .stack_size(STACK)
            .spawn_scoped(scope, on_thread);
        let failed = |what: &str| ScriptError {
            file: run.file.to_owned(),
            line: 1,
            message: format!("the script cannot be run: {what}"),
            text: String::new(),
            hint: None,
        };
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed(
                "the interpreter failed; please report this with the file",
            )),
            Err(error) => Err(failed(&error.to_string())),
        }
    })
}

fn run_here(run: &Run<'_>, host: &dyn Host) -> Res<Outcome> {
    if run.text.len() > MAX_SCRIPT {
        return Err(fatal(format_args!(
            "the script is longer than {MAX_SCRIPT} bytes"
        )));
    }
    let program = parse::program(run.text)?;
    let mut interp = Interp::new(host, run.file, run.help)?;
    interp.predefine(run.variables)?;
    let predefined: HashSet<_> = interp
        .names(interp.globals)
        .map(|names| names.keys().cloned().collect())
        .unwrap_or_default();
    match interp.block(&program) {
        Err(_) if run.help => {}
        Err(fault) => return Err(fault),
        Ok(Flow::Next) => {}
        Ok(Flow::Return(_)) => return Err(syntax("'return' outside a function")),
        Ok(Flow::Break | Flow::Continue) => {
            return Err(syntax("'break' or 'continue' outside a loop"));
        }
    }
    let usage = usage::of(&program);
    let declared = |name: &str| {
        interp
            .declared
            .iter()
            .any(|declared| &*declared.name == name)
    };
    let mut bindings = Vec::new();
    for (name, value) in interp.names(interp.globals).into_iter().flatten() {
        if !usage.set.contains(name) && !declared(name) {
            continue;
        }
        let line = interp.lines.get(name).copied().unwrap_or(0) as usize;
        let is_used = usage.read.contains(name) || predefined.contains(name) || declared(name);
        bindings.push(Binding {
            name: name.to_string(),
            value: data(&interp, value, 0),
            line,
            is_used,
        });
    }
    bindings.sort_by(|a, b| (a.line, &a.name).cmp(&(b.line, &b.name)));
    let has_use = |name: &str| usage.read.contains(name) || declared(name);
    let given = run.variables.iter().map(|(name, _)| name.clone());
    let unused = given.filter(|name| !has_use(name)).collect();
    Ok(Outcome { bindings, unused })
}

fn syntax(message: &str) -> Box<Fault> {
    fault::raise("SyntaxError", message)
}

/// Lists inside lists inside lists are no configuration's.
const MAX_DATA_DEPTH: usize = 4;
/// Neither are lists as long as this.
const MAX_DATA_ITEMS: usize = 1024;

fn data(interp: &Interp<'_>, value: &Value, depth: usize) -> Data {
    match value {
        Value::None => Data::None,
        Value::Bool(value) => Data::Bool(*value),
        Value::Int(value) => Data::Int(*value),
        Value::Float(value) => Data::Float(*value),
        Value::Str(text) => Data::Str(text.to_string()),
        Value::List(id) | Value::Tuple(id) => match interp.heap.get(*id) {
            Object::Items(items) if depth < MAX_DATA_DEPTH && items.len() <= MAX_DATA_ITEMS => {
                Data::List(
                    items
                        .iter()
                        .map(|item| data(interp, item, depth + 1))
                        .collect(),
                )
            }
            _ => Data::Other("list that is too long or too deep"),
        },
        other => Data::Other(other.type_name()),
    }
}

#[cfg(test)]
mod tests;
