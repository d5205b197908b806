//! The interpreter's state: heap, scopes, limits. `exec` runs statements on it, `eval` expressions.

use super::Host;
use super::fault::{Fault, Res, class, classes, fatal, raise};
use super::modules;
use super::value::{Heap, Id, Object, Value};
use crate::suggest;
use std::collections::HashMap;
use std::rc::Rc;

/// Steps a script may take: each expression, statement and item touched is one. Real files need a few hundred.
const MAX_STEPS: usize = 2_000_000;
/// Expressions, blocks and calls inside one another.
const MAX_DEPTH: usize = 800;

/// How a statement ended.
pub(super) enum Flow {
    Next,
    Break,
    Continue,
    Return(Value),
}

/// Arguments of a call.
#[derive(Default)]
pub(super) struct Args {
    pub positional: Vec<Value>,
    pub keywords: Vec<(Rc<str>, Value)>,
}

/// A variable of the script's own, declared by `xm_vars.var`.
pub(super) struct Declared {
    pub name: Rc<str>,
    pub help: Rc<str>,
    pub check: Option<Value>,
}

pub(super) struct Interp<'h> {
    pub heap: Heap,
    pub host: &'h dyn Host,
    pub globals: Id,
    pub file: String,
    pub help: bool,
    pub declared: Vec<Declared>,
    /// Where each global was set last.
    pub lines: HashMap<Rc<str>, u32>,
    pub scope: Id,
    /// Of the statement that runs.
    pub line: u32,
    steps: usize,
    depth: usize,
    /// Exceptions being handled, for `raise` alone.
    pub handling: Vec<Fault>,
}

impl<'h> Interp<'h> {
    pub fn new(host: &'h dyn Host, file: &str, help: bool) -> Res<Self> {
        let mut heap = Heap::default();
        let globals = heap.add(Object::Scope {
            names: HashMap::new(),
            parent: None,
            globals: Vec::new(),
        })?;
        Ok(Self {
            heap,
            host,
            globals,
            file: file.to_owned(),
            help,
            declared: Vec::new(),
            lines: HashMap::new(),
            scope: globals,
            line: 0,
            steps: 0,
            depth: 0,
            handling: Vec::new(),
        })
    }

    /// Counts one step.
    pub fn step(&mut self) -> Res<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            let fault = fatal(format_args!("the script takes more than {MAX_STEPS} steps"));
            return Err(fault.hint("is there a loop that does not end?"));
        }
        Ok(())
    }

    /// Counts the steps of work on so many items or bytes.
    pub fn work(&mut self, amount: usize) -> Res<()> {
        self.steps = self.steps.saturating_add(amount / 16);
        self.step()
    }

    /// Runs something one level deeper.
    pub fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        if self.depth >= MAX_DEPTH {
            return Err(fatal("calls or values are nested too deeply")
                .hint("does a function call itself without end?"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    pub fn names(&self, scope: Id) -> Option<&HashMap<Rc<str>, Value>> {
        match self.heap.get(scope) {
            Object::Scope { names, .. } => Some(names),
            _ => None,
        }
    }

    /// The value of a global, if it is set.
    pub fn global(&self, name: &str) -> Option<Value> {
        self.names(self.globals)?.get(name).cloned()
    }

    pub fn set_global(&mut self, name: &str, value: Value) -> Res<()> {
        self.set_in(self.globals, name.into(), value)
    }

    fn set_in(&mut self, scope: Id, name: Rc<str>, value: Value) -> Res<()> {
        if scope == self.globals {
            self.lines.insert(name.clone(), self.line);
        }
        self.heap.charge_values(1)?;
        if let Object::Scope { names, .. } = self.heap.get_mut(scope) {
            names.insert(name, value);
        }
        Ok(())
    }

    pub fn set_name(&mut self, name: Rc<str>, value: Value) -> Res<()> {
        let global = matches!(self.heap.get(self.scope), Object::Scope { globals, .. } if globals.contains(&name));
        let scope = if global { self.globals } else { self.scope };
        self.set_in(scope, name, value)
    }

    pub fn lookup(&self, name: &str) -> Res<Value> {
        let mut at = Some(self.scope);
        let mut known: Vec<&str> = Vec::new();
        while let Some(scope) = at {
            let Object::Scope { names, parent, .. } = self.heap.get(scope) else {
                break;
            };
            if let Some(value) = names.get(name) {
                return Ok(value.clone());
            }
            known.extend(names.keys().map(|name| &**name));
            at = *parent;
        }
        if let Some(value) = class(name)
            .map(Value::Class)
            .or_else(|| modules::builtin(name))
        {
            return Ok(value);
        }
        if let Some(reason) = modules::refused(name) {
            return Err(fatal(format_args!("{name} is not offered")).hint(reason));
        }
        let builtin: Vec<&str> = classes().chain(modules::BUILTINS.iter().copied()).collect();
        known.extend(builtin);
        let fault = raise("NameError", format_args!("'{name}' is not set"));
        Err(match suggest::nearest(name, known) {
            Some(near) => fault.hint(format_args!("did you mean '{near}'?")),
            None if matches!(name, "true" | "yes" | "on") => fault.hint("write 1, or True"),
            None if matches!(name, "false" | "no" | "off") => fault.hint("write 0, or False"),
            None => fault.hint("text goes in quotes"),
        })
    }
}
