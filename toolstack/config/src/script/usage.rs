//! Which names a script sets at its top level, and which it reads anywhere.
//!
//! A name that is set, unknown as a configuration variable and never read is a slip of the pen, not a helper.

use super::ast::{Action, Argument, Body, Clause, Expr, Function, Kind, Part, Stmt, Target};
use std::collections::HashSet;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Usage {
    /// Set by assignment, or as the variable of a loop.
    pub set: HashSet<Rc<str>>,
    /// Read anywhere, or the variable of a loop.
    pub read: HashSet<Rc<str>>,
}

pub(super) fn of(program: &[Stmt]) -> Usage {
    let mut usage = Usage::default();
    usage.block(program, true);
    usage
}

impl Usage {
    fn block(&mut self, statements: &[Stmt], top: bool) {
        for statement in statements {
            self.statement(&statement.action, top);
        }
    }

    fn statement(&mut self, action: &Action, top: bool) {
        match action {
            Action::Expr(value) => self.expr(value),
            Action::Assign(targets, value) => {
                targets.iter().for_each(|target| self.target(target, top));
                self.expr(value);
            }
            Action::Augment(target, _, value) => {
                self.target(target, top);
                self.expr(value);
            }
            Action::If(branches, otherwise) => {
                for (condition, body) in branches {
                    self.expr(condition);
                    self.block(body, top);
                }
                self.block(otherwise, top);
            }
            Action::While(condition, body, otherwise) => {
                self.expr(condition);
                self.block(body, top);
                self.block(otherwise, top);
            }
            Action::For(target, iterable, body, otherwise) => {
                self.target(target, top);
                self.read_target(target);
                self.expr(iterable);
                self.block(body, top);
                self.block(otherwise, top);
            }
            Action::Def(function) => self.function(function),
            Action::Return(value) => value.iter().for_each(|value| self.expr(value)),
            Action::Raise(a, b) => a.iter().chain(b).for_each(|value| self.expr(value)),
            Action::Assert(condition, text) => {
                self.expr(condition);
                text.iter().for_each(|text| self.expr(text));
            }
            Action::Try(parts) => {
                self.block(&parts.body, top);
                for handler in &parts.handlers {
                    handler.class.iter().for_each(|class| self.expr(class));
                    self.block(&handler.body, top);
                }
                self.block(&parts.otherwise, top);
                self.block(&parts.finally, top);
            }
            Action::Print(values) => values.iter().for_each(|value| self.expr(value)),
            Action::Delete(targets) => targets.iter().for_each(|target| self.target(target, false)),
            // What a function sets by `global` counts as set at the top.
            Action::Global(names) => self.set.extend(names.iter().cloned()),
            Action::Break
            | Action::Continue
            | Action::Pass
            | Action::Import(_)
            | Action::From(..) => {}
        }
    }

    fn function(&mut self, function: &Function) {
        function
            .defaults
            .iter()
            .for_each(|default| self.expr(default));
        match &function.body {
            Body::Block(statements) => self.block(statements, false),
            Body::Expr(expr) => self.expr(expr),
        }
    }

    fn target(&mut self, target: &Target, top: bool) {
        match target {
            Target::Name(name, _) if top => {
                self.set.insert(name.clone());
            }
            Target::Name(..) => {}
            Target::Index(parts) => {
                self.expr(&parts.0);
                self.expr(&parts.1);
            }
            Target::Unpack(targets) => targets.iter().for_each(|target| self.target(target, top)),
        }
    }

    fn read_target(&mut self, target: &Target) {
        match target {
            Target::Name(name, _) => {
                self.read.insert(name.clone());
            }
            Target::Index(_) => {}
            Target::Unpack(targets) => targets.iter().for_each(|target| self.read_target(target)),
        }
    }

    fn clauses(&mut self, clauses: &[Clause]) {
        for clause in clauses {
            self.target(&clause.target, false);
            self.expr(&clause.iterable);
            clause
                .conditions
                .iter()
                .for_each(|condition| self.expr(condition));
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::None | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => {}
            Kind::Name(name) => {
                self.read.insert(name.clone());
            }
            Kind::Format(parts) => {
                for part in parts {
                    if let Part::Value { value, .. } = part {
                        self.expr(value);
                    }
                }
            }
            Kind::List(items) | Kind::Tuple(items) | Kind::And(items) | Kind::Or(items) => {
                items.iter().for_each(|item| self.expr(item));
            }
            Kind::Dict(entries) => {
                for (key, value) in entries {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Kind::Comprehension(element, clauses) => {
                self.expr(element);
                self.clauses(clauses);
            }
            Kind::DictComprehension(entry, clauses) => {
                self.expr(&entry.0);
                self.expr(&entry.1);
                self.clauses(clauses);
            }
            Kind::Unary(_, operand) => self.expr(operand),
            Kind::Binary(_, pair) | Kind::Index(pair) => {
                self.expr(&pair.0);
                self.expr(&pair.1);
            }
            Kind::Compare(first, rest) => {
                self.expr(first);
                rest.iter().for_each(|(_, operand)| self.expr(operand));
            }
            Kind::If(parts) => {
                self.expr(&parts.0);
                self.expr(&parts.1);
                self.expr(&parts.2);
            }
            Kind::Lambda(function) => self.function(function),
            Kind::Call(callee, arguments) => {
                self.expr(callee);
                for argument in arguments {
                    match argument {
                        Argument::Positional(value) | Argument::Keyword(_, value) => {
                            self.expr(value)
                        }
                    }
                }
            }
            Kind::Slice(of, bounds) => {
                self.expr(of);
                bounds.iter().flatten().for_each(|bound| self.expr(bound));
            }
            Kind::Attribute(of, _) => self.expr(of),
        }
    }
}
