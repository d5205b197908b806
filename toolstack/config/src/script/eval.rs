//! Expressions and calls.

use super::ast::{Argument, Body, Clause, Expr, Function, Kind, Part};
use super::fault::{Res, raise};
use super::interp::{Args, Flow, Interp};
use super::value::{Id, Object, Value};
use std::collections::HashMap;
use std::rc::Rc;

impl Interp<'_> {
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

    pub fn make_function(&mut self, function: &Rc<Function>) -> Res<Value> {
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
