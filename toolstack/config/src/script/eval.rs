//! The evaluator: runs statements and expressions, within limits.

use super::Host;
use super::ast::{Action, Argument, Body, Clause, Expr, Function, Kind, Part, Stmt, Target, Try};
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
    scope: Id,
    line: u32,
    steps: usize,
    depth: usize,
    /// Exceptions being handled, for `raise` alone.
    handling: Vec<Fault>,
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

    fn set_name(&mut self, name: Rc<str>, value: Value) -> Res<()> {
        let global = matches!(self.heap.get(self.scope), Object::Scope { globals, .. } if globals.contains(&name));
        let scope = if global { self.globals } else { self.scope };
        self.set_in(scope, name, value)
    }

    fn lookup(&self, name: &str) -> Res<Value> {
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

    pub fn block(&mut self, statements: &[Stmt]) -> Res<Flow> {
        for statement in statements {
            self.step()?;
            let flow = self
                .deeper(|interp| interp.statement(statement))
                .map_err(|fault| fault.at(statement.line))?;
            if !matches!(flow, Flow::Next) {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &Stmt) -> Res<Flow> {
        self.line = statement.line;
        match &statement.action {
            Action::Expr(expr) => {
                self.eval(expr)?;
            }
            Action::Assign(targets, value) => {
                let value = self.eval(value)?;
                for target in targets {
                    self.assign(target, value.clone())?;
                }
            }
            Action::Augment(target, op, value) => self.augment(target, op, value)?,
            Action::If(branches, otherwise) => {
                for (condition, body) in branches {
                    let condition = self.eval(condition)?;
                    if self.truth(&condition) {
                        return self.block(body);
                    }
                }
                return self.block(otherwise);
            }
            Action::While(condition, body, otherwise) => {
                loop {
                    let condition = self.eval(condition)?;
                    if !self.truth(&condition) {
                        break;
                    }
                    match self.block(body)? {
                        Flow::Break => return Ok(Flow::Next),
                        Flow::Return(value) => return Ok(Flow::Return(value)),
                        Flow::Next | Flow::Continue => {}
                    }
                }
                return self.block(otherwise);
            }
            Action::For(target, iterable, body, otherwise) => {
                let iterable = self.eval(iterable)?;
                for item in self.iterate(&iterable)? {
                    self.assign(target, item)?;
                    match self.block(body)? {
                        Flow::Break => return Ok(Flow::Next),
                        Flow::Return(value) => return Ok(Flow::Return(value)),
                        Flow::Next | Flow::Continue => {}
                    }
                }
                return self.block(otherwise);
            }
            Action::Break => return Ok(Flow::Break),
            Action::Continue => return Ok(Flow::Continue),
            Action::Pass => {}
            Action::Def(function) => {
                let value = self.make_function(function)?;
                self.set_name(function.name.clone(), value)?;
            }
            Action::Return(value) => {
                let value = value
                    .as_ref()
                    .map_or(Ok(Value::None), |value| self.eval(value))?;
                return Ok(Flow::Return(value));
            }
            Action::Raise(exception, text) => {
                return Err(self.raised(exception.as_ref(), text.as_ref())?);
            }
            Action::Try(parts) => return self.try_statement(parts),
            Action::Assert(condition, text) => {
                let condition = self.eval(condition)?;
                if !self.truth(&condition) {
                    let text = text.as_ref().map(|text| self.eval(text)).transpose()?;
                    let text = text.map(|text| self.text(&text)).transpose()?;
                    return Err(raise(
                        "AssertionError",
                        text.as_deref().unwrap_or("the assertion does not hold"),
                    ));
                }
            }
            Action::Import(all) => {
                for (module, bound) in all {
                    let value = modules::import(module)?;
                    self.set_name(bound.clone(), value)?;
                }
            }
            Action::From(module, names) => self.import_from(module, names)?,
            Action::Print(values) => {
                let mut words = Vec::new();
                for value in values {
                    let value = self.eval(value)?;
                    words.push(self.text(&value)?);
                }
                self.host.print(&words.join(" "));
            }
            Action::Global(names) => {
                if let Object::Scope { globals, .. } = self.heap.get_mut(self.scope) {
                    globals.extend(names.iter().cloned());
                }
            }
            Action::Delete(targets) => {
                for target in targets {
                    self.delete(target)?;
                }
            }
        }
        Ok(Flow::Next)
    }

    fn import_from(&mut self, module: &str, names: &[(Rc<str>, Rc<str>)]) -> Res<()> {
        let value = modules::import(module)?;
        let Value::Module(module) = value else {
            return Ok(());
        };
        for (name, bound) in names {
            if &**name == "*" {
                for name in modules::names(module) {
                    if let Some(value) = self.module_attribute(module, name)? {
                        self.set_name((*name).into(), value)?;
                    }
                }
                continue;
            }
            let value = self.attribute(&Value::Module(module), name)?;
            self.set_name(bound.clone(), value)?;
        }
        Ok(())
    }

    fn raised(&mut self, exception: Option<&Expr>, text: Option<&Expr>) -> Res<Box<Fault>> {
        let Some(exception) = exception else {
            let last = self.handling.last().cloned();
            return Ok(last.map_or_else(
                || {
                    raise(
                        "RuntimeError",
                        "'raise' alone, and no exception to raise again",
                    )
                },
                Box::new,
            ));
        };
        let exception = self.eval(exception)?;
        let text = text.map(|text| self.eval(text)).transpose()?;
        let text = text.map(|text| self.text(&text)).transpose()?;
        match exception {
            Value::Class(class) => Ok(raise(class, text.as_deref().unwrap_or(""))),
            Value::Exception(id) => match self.heap.get(id) {
                Object::Exception { class, message } => Ok(raise(class, message)),
                _ => Ok(raise("TypeError", "this cannot be raised")),
            },
            // String exceptions of the oldest files.
            Value::Str(text) => Ok(raise("Exception", text)),
            other => Ok(raise(
                "TypeError",
                format_args!("{} cannot be raised", other.type_name()),
            )
            .hint("raise ValueError('why')")),
        }
    }

    fn try_statement(&mut self, parts: &Try) -> Res<Flow> {
        let mut result = self.block(&parts.body);
        if let Err(fault) = &result {
            if let Some(handler) = self.handler(parts, fault)? {
                let fault = (**fault).clone();
                if let Some(name) = &parts.handlers[handler].name {
                    let class = fault.class.unwrap_or("Exception");
                    let id = self.heap.add(Object::Exception {
                        class,
                        message: fault.message.as_str().into(),
                    })?;
                    self.set_name(name.clone(), Value::Exception(id))?;
                }
                self.handling.push(fault);
                result = self.block(&parts.handlers[handler].body);
                self.handling.pop();
            }
        } else if matches!(result, Ok(Flow::Next)) {
            result = self.block(&parts.otherwise);
        }
        match self.block(&parts.finally)? {
            Flow::Next => result,
            other => Ok(other),
        }
    }

    /// The handler that catches an exception, by its number.
    fn handler(&mut self, parts: &Try, fault: &Fault) -> Res<Option<usize>> {
        if fault.class.is_none() {
            return Ok(None);
        }
        for (nr, handler) in parts.handlers.iter().enumerate() {
            let Some(expr) = &handler.class else {
                return Ok(Some(nr));
            };
            let caught = match self.eval(expr)? {
                Value::Class(class) => fault.is_a(class),
                Value::Tuple(id) => {
                    let mut classes = self.heap.items(id).iter();
                    classes.any(|item| matches!(item, Value::Class(class) if fault.is_a(class)))
                }
                _ => {
                    return Err(raise(
                        "TypeError",
                        "'except' wants a class of exceptions, such as ValueError",
                    ));
                }
            };
            if caught {
                return Ok(Some(nr));
            }
        }
        Ok(None)
    }

    fn assign(&mut self, target: &Target, value: Value) -> Res<()> {
        match target {
            Target::Name(name, line) => {
                self.line = *line;
                self.set_name(name.clone(), value)
            }
            Target::Index(parts) => {
                let container = self.eval(&parts.0)?;
                let index = self.eval(&parts.1)?;
                self.set_item(&container, &index, value)
            }
            Target::Unpack(targets) => {
                let items = self.iterate(&value)?;
                if items.len() != targets.len() {
                    let text = format!(
                        "{} values were expected to unpack, not {}",
                        targets.len(),
                        items.len()
                    );
                    return Err(raise("ValueError", text));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item)?;
                }
                Ok(())
            }
        }
    }

    fn augment(&mut self, target: &Target, op: &'static str, value: &Expr) -> Res<()> {
        match target {
            Target::Name(name, _) => {
                let old = self.lookup(name)?;
                let value = self.eval(value)?;
                // A list is extended in place, and everything that shares it sees that.
                let new = match (op, &old) {
                    ("+", Value::List(id)) => {
                        let items = self.iterate(&value)?;
                        self.extend(*id, items)?;
                        old
                    }
                    _ => self.binary(op, &old, &value)?,
                };
                self.set_name(name.clone(), new)
            }
            Target::Index(parts) => {
                let container = self.eval(&parts.0)?;
                let index = self.eval(&parts.1)?;
                let old = self.get_item(&container, &index)?;
                let value = self.eval(value)?;
                let new = self.binary(op, &old, &value)?;
                self.set_item(&container, &index, new)
            }
            Target::Unpack(_) => Err(raise(
                "SyntaxError",
                "several names cannot be changed at once",
            )),
        }
    }

    fn delete(&mut self, target: &Target) -> Res<()> {
        match target {
            Target::Name(name, _) => {
                let Object::Scope { names, .. } = self.heap.get_mut(self.scope) else {
                    return Ok(());
                };
                let removed = names.remove(name).is_some();
                if removed {
                    Ok(())
                } else {
                    Err(raise("NameError", format_args!("'{name}' is not set")))
                }
            }
            Target::Index(parts) => {
                let container = self.eval(&parts.0)?;
                let index = self.eval(&parts.1)?;
                self.delete_item(&container, &index)
            }
            Target::Unpack(targets) => targets.iter().try_for_each(|target| self.delete(target)),
        }
    }

    pub fn eval(&mut self, expr: &Expr) -> Res<Value> {
        self.step()?;
        self.deeper(|interp| interp.eval_kind(expr))
            .map_err(|fault| fault.at(expr.line))
    }

    fn eval_all(&mut self, all: &[Expr]) -> Res<Vec<Value>> {
        all.iter().map(|expr| self.eval(expr)).collect()
    }

    fn eval_kind(&mut self, expr: &Expr) -> Res<Value> {
        match &expr.kind {
            Kind::None => Ok(Value::None),
            Kind::Bool(value) => Ok(Value::Bool(*value)),
            Kind::Int(value) => Ok(Value::Int(*value)),
            Kind::Float(value) => Ok(Value::Float(*value)),
            Kind::Str(text) => Ok(Value::Str(text.clone())),
            Kind::Format(parts) => self.format_parts(parts),
            Kind::Name(name) => self.lookup(name),
            Kind::List(items) => {
                let items = self.eval_all(items)?;
                self.heap.list(items)
            }
            Kind::Tuple(items) => {
                let items = self.eval_all(items)?;
                self.heap.tuple(items)
            }
            Kind::Dict(entries) => {
                let dict = self.heap.dict(Vec::new())?;
                for (key, value) in entries {
                    let (key, value) = (self.eval(key)?, self.eval(value)?);
                    self.set_item(&dict, &key, value)?;
                }
                Ok(dict)
            }
            Kind::Comprehension(element, clauses) => {
                let list = self.heap.list(Vec::new())?;
                self.in_new_scope(|interp| {
                    interp.comprehend(clauses, &mut |interp| {
                        let value = interp.eval(element)?;
                        interp.append(&list, value)
                    })
                })?;
                Ok(list)
            }
            Kind::DictComprehension(entry, clauses) => {
                let dict = self.heap.dict(Vec::new())?;
                self.in_new_scope(|interp| {
                    interp.comprehend(clauses, &mut |interp| {
                        let (key, value) = (interp.eval(&entry.0)?, interp.eval(&entry.1)?);
                        interp.set_item(&dict, &key, value)
                    })
                })?;
                Ok(dict)
            }
            Kind::Unary(op, operand) => {
                let operand = self.eval(operand)?;
                self.unary(op, &operand)
            }
            Kind::Binary(op, operands) => {
                let (a, b) = (self.eval(&operands.0)?, self.eval(&operands.1)?);
                self.binary(op, &a, &b)
            }
            Kind::Compare(first, rest) => {
                let mut left = self.eval(first)?;
                for (op, right) in rest {
                    let right = self.eval(right)?;
                    if !self.compare(op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Kind::And(operands) | Kind::Or(operands) => {
                let until = matches!(expr.kind, Kind::Or(_));
                let mut value = Value::None;
                for operand in operands {
                    value = self.eval(operand)?;
                    if self.truth(&value) == until {
                        break;
                    }
                }
                Ok(value)
            }
            Kind::If(parts) => {
                let condition = self.eval(&parts.0)?;
                if self.truth(&condition) {
                    self.eval(&parts.1)
                } else {
                    self.eval(&parts.2)
                }
            }
            Kind::Lambda(function) => self.make_function(function),
            Kind::Call(callee, arguments) => self.eval_call(callee, arguments),
            Kind::Index(parts) => {
                let (container, index) = (self.eval(&parts.0)?, self.eval(&parts.1)?);
                self.get_item(&container, &index)
            }
            Kind::Slice(of, bounds) => {
                let of = self.eval(of)?;
                let mut values = [None, None, None];
                for (value, bound) in values.iter_mut().zip(bounds) {
                    *value = bound.as_ref().map(|bound| self.eval(bound)).transpose()?;
                }
                self.slice(&of, &values)
            }
            Kind::Attribute(of, name) => {
                let of = self.eval(of)?;
                self.attribute(&of, name)
            }
        }
    }

    fn format_parts(&mut self, parts: &[Part]) -> Res<Value> {
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { value, repr, spec } => {
                    let value = self.eval(value)?;
                    let value = if *repr {
                        Value::Str(self.repr(&value)?.into())
                    } else {
                        value
                    };
                    out.push_str(&self.format_spec(&value, spec)?);
                }
            }
            self.heap.charge_string(out.len())?;
        }
        Ok(Value::Str(out.into()))
    }

    fn comprehend(
        &mut self,
        clauses: &[Clause],
        emit: &mut dyn FnMut(&mut Self) -> Res<()>,
    ) -> Res<()> {
        let Some((clause, rest)) = clauses.split_first() else {
            return emit(self);
        };
        let iterable = self.eval(&clause.iterable)?;
        'items: for item in self.iterate(&iterable)? {
            self.step()?;
            self.assign(&clause.target, item)?;
            for condition in &clause.conditions {
                let condition = self.eval(condition)?;
                if !self.truth(&condition) {
                    continue 'items;
                }
            }
            self.deeper(|interp| interp.comprehend(rest, emit))?;
        }
        Ok(())
    }

    fn in_new_scope<T>(&mut self, inner: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let parent = Some(self.scope);
        let scope = self.heap.add(Object::Scope {
            names: HashMap::new(),
            parent,
            globals: Vec::new(),
        })?;
        let before = std::mem::replace(&mut self.scope, scope);
        let result = inner(self);
        self.scope = before;
        result
    }

    fn make_function(&mut self, function: &Rc<Function>) -> Res<Value> {
        let defaults = self.eval_all(&function.defaults)?;
        let scope = self.scope;
        self.heap
            .add(Object::Function {
                function: function.clone(),
                defaults,
                scope,
            })
            .map(Value::Function)
    }

    fn eval_call(&mut self, callee: &Expr, arguments: &[Argument]) -> Res<Value> {
        // A method is called where it is looked up, without making an object of it first.
        let (callee, method) = match &callee.kind {
            Kind::Attribute(of, name) => (self.eval(of)?, Some(name)),
            _ => (self.eval(callee)?, None),
        };
        let mut args = Args::default();
        for argument in arguments {
            match argument {
                Argument::Positional(value) => args.positional.push(self.eval(value)?),
                Argument::Keyword(name, value) => {
                    if args.keywords.iter().any(|(other, _)| other == name) {
                        return Err(raise("TypeError", format_args!("'{name}' is given twice")));
                    }
                    args.keywords.push((name.clone(), self.eval(value)?));
                }
            }
        }
        match method {
            Some(name) if !matches!(callee, Value::Module(_)) => {
                self.call_method(&callee, name, args)
            }
            Some(name) => {
                let callee = self.attribute(&callee, name)?;
                self.call(&callee, args)
            }
            None => self.call(&callee, args),
        }
    }

    pub fn call(&mut self, callee: &Value, args: Args) -> Res<Value> {
        self.step()?;
        match callee {
            Value::Builtin(name) => self.call_builtin(name, args),
            Value::Class(class) => {
                let text = args
                    .positional
                    .first()
                    .cloned()
                    .unwrap_or(Value::Str("".into()));
                let message = self.text(&text)?;
                self.heap
                    .add(Object::Exception { class, message })
                    .map(Value::Exception)
            }
            Value::Method(id) => match self.heap.get(*id) {
                Object::Method { receiver, name } => {
                    let (receiver, name) = (receiver.clone(), name.clone());
                    self.call_method(&receiver, &name, args)
                }
                _ => Err(raise("TypeError", "this cannot be called")),
            },
            Value::Function(id) => {
                let Object::Function {
                    function,
                    defaults,
                    scope,
                } = self.heap.get(*id)
                else {
                    return Err(raise("TypeError", "this cannot be called"));
                };
                let (function, defaults, scope) = (function.clone(), defaults.clone(), *scope);
                self.call_function(&function, &defaults, scope, args)
            }
            other => Err(raise(
                "TypeError",
                format_args!("{} cannot be called", other.type_name()),
            )),
        }
    }

    fn call_function(
        &mut self,
        function: &Function,
        defaults: &[Value],
        scope: Id,
        args: Args,
    ) -> Res<Value> {
        let name = &function.name;
        let nr = function.parameters.len();
        if args.positional.len() > nr {
            let given = args.positional.len();
            return Err(raise(
                "TypeError",
                format_args!("{name}() takes {nr} arguments, and {given} are given"),
            ));
        }
        let mut values: Vec<Option<Value>> = args.positional.into_iter().map(Some).collect();
        values.resize(nr, None);
        for (keyword, value) in args.keywords {
            match function
                .parameters
                .iter()
                .position(|parameter| *parameter == keyword)
            {
                Some(at) if values[at].is_none() => values[at] = Some(value),
                Some(_) => {
                    return Err(raise(
                        "TypeError",
                        format_args!("{name}() is given '{keyword}' twice"),
                    ));
                }
                None => {
                    return Err(raise(
                        "TypeError",
                        format_args!("{name}() has no parameter '{keyword}'"),
                    ));
                }
            }
        }
        let first_default = nr - defaults.len();
        let mut names = HashMap::new();
        for (at, (parameter, value)) in function.parameters.iter().zip(values).enumerate() {
            let default = at
                .checked_sub(first_default)
                .and_then(|at| defaults.get(at).cloned());
            let value = value
                .or(default)
                .ok_or_else(|| raise("TypeError", format_args!("{name}() wants '{parameter}'")))?;
            names.insert(parameter.clone(), value);
        }
        self.heap.charge_values(2 * nr)?;
        let scope = self.heap.add(Object::Scope {
            names,
            parent: Some(scope),
            globals: Vec::new(),
        })?;
        let before = std::mem::replace(&mut self.scope, scope);
        let result = self.deeper(|interp| match &function.body {
            Body::Block(statements) => interp.block(statements),
            Body::Expr(expr) => interp.eval(expr).map(Flow::Return),
        });
        self.scope = before;
        match result? {
            Flow::Return(value) => Ok(value),
            _ => Ok(Value::None),
        }
    }
}
