//! Statements.

use super::ast::{Action, Expr, Stmt, Target, Try};
use super::fault::{Fault, Res, raise};
use super::interp::{Flow, Interp};
use super::modules;
use super::value::{Object, Value};
use std::rc::Rc;

impl Interp<'_> {
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

    pub fn assign(&mut self, target: &Target, value: Value) -> Res<()> {
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
}
