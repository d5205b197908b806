//! The parser: statements. Expressions are in `parse_expr`.

use super::ast::{Action, Body, Expr, Function, Handler, Kind, Stmt, Target, Try};
use super::fault::{Fault, Res, raise};
use super::token::{Tok, Token, tokens};
use std::rc::Rc;

/// Expressions and blocks may be nested this deep.
const MAX_DEPTH: usize = 60;
/// Operators in a row, which make trees as deep as they are many.
const MAX_CHAIN: usize = 200;

/// Words that are no names.
pub(super) const KEYWORDS: &[&str] = &[
    "and", "as", "assert", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "exec", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "print", "raise", "return", "try", "while", "with", "yield", "None",
    "True", "False",
];

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

/// Parses a file.
pub(super) fn program(text: &str) -> Res<Vec<Stmt>> {
    let mut parser = Parser {
        tokens: tokens(text, 1)?,
        at: 0,
        depth: 0,
    };
    let mut all = Vec::new();
    loop {
        while parser.take(&Tok::Newline) {}
        if parser.peek() == &Tok::End {
            return Ok(all);
        }
        if parser.peek() == &Tok::Indent {
            let fault = parser.error("this line is indented, and nothing before it opens a block");
            return Err(fault.hint("start it in the first column"));
        }
        parser.statement(&mut all)?;
    }
}

/// Parses the expression of an f-string.
pub(super) fn expression(text: &str, line: u32, depth: usize) -> Res<Expr> {
    let mut parser = Parser {
        tokens: tokens(text.trim(), line)?,
        at: 0,
        depth: depth + 1,
    };
    let expr = parser.expr_list()?;
    parser.take(&Tok::Newline);
    if parser.peek() == &Tok::End {
        Ok(expr)
    } else {
        Err(parser.unexpected("the end of the expression"))
    }
}

impl Parser {
    pub fn peek(&self) -> &Tok {
        self.tokens
            .get(self.at)
            .map_or(&Tok::End, |token| &token.tok)
    }

    pub fn peek_after(&self) -> &Tok {
        self.tokens
            .get(self.at + 1)
            .map_or(&Tok::End, |token| &token.tok)
    }

    pub fn line(&self) -> u32 {
        self.tokens.get(self.at).map_or(0, |token| token.line)
    }

    pub fn depth(&self) -> usize {
        self.depth
    }

    pub fn advance(&mut self) -> Tok {
        let tok = self.peek().clone();
        self.at += 1;
        tok
    }

    pub fn take(&mut self, tok: &Tok) -> bool {
        let found = self.peek() == tok;
        self.at += usize::from(found);
        found
    }

    pub fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(found) if *found == op)
    }

    pub fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    pub fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Tok::Name(found) if &**found == word)
    }

    pub fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    pub fn want_op(&mut self, op: &'static str) -> Res<()> {
        if self.take_op(op) {
            Ok(())
        } else {
            Err(self.unexpected(format_args!("'{op}'")))
        }
    }

    pub fn want_name(&mut self) -> Res<Rc<str>> {
        match self.peek() {
            Tok::Name(name) if KEYWORDS.contains(&&**name) => Err(self.error(format_args!(
                "'{name}' is a word of Python's own and cannot be a name"
            ))),
            Tok::Name(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub fn error(&self, message: impl std::fmt::Display) -> Box<Fault> {
        raise("SyntaxError", message).at(self.line())
    }

    /// An error for a token that does not fit.
    pub fn unexpected(&self, expected: impl std::fmt::Display) -> Box<Fault> {
        let found = match self.peek() {
            Tok::Name(name) => format!("'{name}'"),
            Tok::Int(value) => format!("{value}"),
            Tok::Float(value) => format!("{value}"),
            Tok::Str(_) | Tok::Format(_) => "a string".to_owned(),
            Tok::Op(op) => format!("'{op}'"),
            Tok::Newline => "the end of the line".to_owned(),
            Tok::Indent => "an indented line".to_owned(),
            Tok::Dedent => "the end of the block".to_owned(),
            Tok::End => "the end of the file".to_owned(),
        };
        let fault = self.error(format_args!("{expected} was expected, not {found}"));
        let before = self
            .at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .map(|token| &token.tok);
        match (before, self.peek()) {
            (
                Some(Tok::Str(_) | Tok::Op("]")),
                Tok::Str(_) | Tok::Int(_) | Tok::Name(_) | Tok::Op("["),
            ) => fault.hint("is a comma missing?"),
            (Some(Tok::Name(_)), Tok::Str(_) | Tok::Name(_) | Tok::Int(_)) => {
                fault.hint("a variable is set by NAME = VALUE, and text goes in quotes")
            }
            _ => fault,
        }
    }

    /// Runs a part of the grammar one level deeper.
    pub fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error("this is nested too deeply"));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    /// Counts an operator of a row.
    pub fn chain(&self, nr: &mut usize) -> Res<()> {
        *nr += 1;
        if *nr > MAX_CHAIN {
            Err(self.error("this expression is too long: split it"))
        } else {
            Ok(())
        }
    }

    fn block(&mut self) -> Res<Vec<Stmt>> {
        self.nested(|p| {
            if !p.take_op(":") {
                return Err(p.unexpected("':'"));
            }
            let mut body = Vec::new();
            if !p.take(&Tok::Newline) {
                p.simple_line(&mut body)?;
                return Ok(body);
            }
            while p.take(&Tok::Newline) {}
            if !p.take(&Tok::Indent) {
                return Err(p
                    .error("an indented block was expected after ':'")
                    .hint("indent it, or write 'pass'"));
            }
            while !p.take(&Tok::Dedent) {
                if p.peek() == &Tok::Indent {
                    return Err(p.error("this line is indented deeper than its block"));
                }
                if !p.take(&Tok::Newline) {
                    p.statement(&mut body)?;
                }
            }
            Ok(body)
        })
    }

    fn statement(&mut self, out: &mut Vec<Stmt>) -> Res<()> {
        let line = self.line();
        let word = match self.peek() {
            Tok::Name(word) => word.clone(),
            _ => return self.simple_line(out),
        };
        let action = match &*word {
            "if" => {
                let mut branches = Vec::new();
                self.advance();
                branches.push((self.expr()?, self.block()?));
                while self.take_word("elif") {
                    branches.push((self.expr()?, self.block()?));
                }
                Action::If(branches, self.else_block()?)
            }
            "while" => {
                self.advance();
                Action::While(self.expr()?, self.block()?, self.else_block()?)
            }
            "for" => {
                self.advance();
                let target = self.target_list()?;
                if !self.take_word("in") {
                    return Err(self.unexpected("'in'"));
                }
                Action::For(target, self.expr_list()?, self.block()?, self.else_block()?)
            }
            "def" => {
                self.advance();
                let name = self.want_name()?;
                self.want_op("(")?;
                let (parameters, defaults) = self.parameters(")")?;
                self.want_op(")")?;
                let body = Body::Block(self.block()?);
                Action::Def(Rc::new(Function {
                    name,
                    parameters,
                    defaults,
                    body,
                }))
            }
            "try" => Action::Try(Box::new(self.try_statement()?)),
            "class" | "with" | "yield" | "exec" | "async" | "nonlocal"
                if !matches!(self.peek_after(), Tok::Op(_)) =>
            {
                return Err(self.error(format_args!(
                    "'{word}' is not offered in configuration files"
                )));
            }
            _ => return self.simple_line(out),
        };
        out.push(Stmt { line, action });
        Ok(())
    }

    fn else_block(&mut self) -> Res<Vec<Stmt>> {
        if self.take_word("else") {
            self.block()
        } else {
            Ok(Vec::new())
        }
    }

    /// Parameters up to a closing token, which stays.
    pub fn parameters(&mut self, close: &str) -> Res<(Vec<Rc<str>>, Vec<Expr>)> {
        let (mut names, mut defaults) = (Vec::new(), Vec::new());
        while !self.is_op(close) {
            if self.is_op("*") || self.is_op("**") {
                return Err(
                    self.error("parameters with '*' are not offered in configuration files")
                );
            }
            let name = self.want_name()?;
            if names.contains(&name) {
                return Err(self.error(format_args!("two parameters are called '{name}'")));
            }
            names.push(name);
            if self.take_op("=") {
                defaults.push(self.expr()?);
            } else if !defaults.is_empty() {
                return Err(self.error("a parameter without a default follows one that has one"));
            }
            if !self.take_op(",") {
                break;
            }
        }
        Ok((names, defaults))
    }

    fn try_statement(&mut self) -> Res<Try> {
        self.advance();
        let body = self.block()?;
        let mut handlers = Vec::new();
        while self.take_word("except") {
            let (mut class, mut name) = (None, None);
            if !self.is_op(":") {
                class = Some(self.expr()?);
                // `except E, name:` as Python 2 wrote it.
                if self.take_word("as") || self.take_op(",") {
                    name = Some(self.want_name()?);
                }
            }
            handlers.push(Handler {
                class,
                name,
                body: self.block()?,
            });
        }
        let otherwise = self.else_block()?;
        let finally = if self.take_word("finally") {
            self.block()?
        } else {
            Vec::new()
        };
        if handlers.is_empty() && finally.is_empty() {
            return Err(self.unexpected("'except' or 'finally'"));
        }
        Ok(Try {
            body,
            handlers,
            otherwise,
            finally,
        })
    }

    fn simple_line(&mut self, out: &mut Vec<Stmt>) -> Res<()> {
        loop {
            let line = self.line();
            let action = self.simple()?;
            out.push(Stmt { line, action });
            let more = self.take_op(";");
            if self.take(&Tok::Newline) || self.peek() == &Tok::End {
                return Ok(());
            }
            if !more {
                return Err(self.unexpected("the end of the line"));
            }
        }
    }

    fn simple(&mut self) -> Res<Action> {
        let word = match self.peek() {
            Tok::Name(word) => word.clone(),
            _ => return self.assignment(),
        };
        let ends = |p: &Self| matches!(p.peek(), Tok::Newline | Tok::End | Tok::Op(";"));
        let action = match &*word {
            "pass" => Action::Pass,
            "break" => Action::Break,
            "continue" => Action::Continue,
            "return" => {
                self.advance();
                return Ok(Action::Return(if ends(self) {
                    None
                } else {
                    Some(self.expr_list()?)
                }));
            }
            "raise" => {
                self.advance();
                let class = if ends(self) { None } else { Some(self.expr()?) };
                // `raise E, text` as Python 2 wrote it.
                let text = if self.take_op(",") {
                    Some(self.expr()?)
                } else {
                    None
                };
                return Ok(Action::Raise(class, text));
            }
            "assert" => {
                self.advance();
                let condition = self.expr()?;
                let text = if self.take_op(",") {
                    Some(self.expr()?)
                } else {
                    None
                };
                return Ok(Action::Assert(condition, text));
            }
            "import" => {
                self.advance();
                return self.import();
            }
            "from" => {
                self.advance();
                return self.import_from();
            }
            "global" => {
                self.advance();
                let mut names = vec![self.want_name()?];
                while self.take_op(",") {
                    names.push(self.want_name()?);
                }
                return Ok(Action::Global(names));
            }
            "del" => {
                self.advance();
                let line = self.line();
                let target = self.expr_list()?;
                return Ok(Action::Delete(vec![self.to_target(target, line)?]));
            }
            // `print x, y` as Python 2 wrote it; `print(x)` is a call and an expression in brackets alike.
            "print" if !matches!(self.peek_after(), Tok::Op("=")) => {
                self.advance();
                if self.is_op("(") {
                    // `print` is a function in this case, arguments with names included.
                    self.at -= 1;
                    return self.print_call();
                }
                // `print >>sys.stderr, x`: everything goes there.
                if self.take_op(">>") {
                    self.expr()?;
                    self.take_op(",");
                }
                let mut values = Vec::new();
                while !ends(self) {
                    values.push(self.expr()?);
                    if !self.take_op(",") {
                        break;
                    }
                }
                return Ok(Action::Print(values));
            }
            _ => return self.assignment(),
        };
        self.advance();
        Ok(action)
    }

    /// `print(...)`, which in Python 2 may go on as an expression: `print ("a") % b`.
    fn print_call(&mut self) -> Res<Action> {
        let start = self.at;
        self.advance();
        let value = self.expr_list();
        match value {
            Ok(value) if matches!(self.peek(), Tok::Newline | Tok::End | Tok::Op(";")) => {
                Ok(Action::Print(match value.kind {
                    Kind::Tuple(values) => values,
                    kind => vec![Expr {
                        line: value.line,
                        kind,
                    }],
                }))
            }
            _ => {
                // With arguments that have names, such as `file=sys.stderr`.
                self.at = start;
                self.tokens[start].tok = Tok::Name("__print__".into());
                Ok(Action::Expr(self.expr()?))
            }
        }
    }

    fn dotted(&mut self) -> Res<Rc<str>> {
        let mut name = self.want_name()?.to_string();
        while self.take_op(".") {
            name.push('.');
            name.push_str(&self.want_name()?);
        }
        Ok(name.into())
    }

    fn import(&mut self) -> Res<Action> {
        let mut modules = Vec::new();
        loop {
            let module = self.dotted()?;
            let first: Rc<str> = module.split('.').next().unwrap_or("").into();
            if self.take_word("as") {
                modules.push((module, self.want_name()?));
            } else {
                // `import os.path` binds `os`; what is not offered is left whole for the message.
                let loaded = if &*module == "os.path" {
                    first.clone()
                } else {
                    module
                };
                modules.push((loaded, first));
            }
            if !self.take_op(",") {
                return Ok(Action::Import(modules));
            }
        }
    }

    fn import_from(&mut self) -> Res<Action> {
        let module = self.dotted()?;
        if !self.take_word("import") {
            return Err(self.unexpected("'import'"));
        }
        if self.take_op("*") {
            return Ok(Action::From(module, vec![("*".into(), "*".into())]));
        }
        let bracket = self.take_op("(");
        let mut names = Vec::new();
        loop {
            let name = self.want_name()?;
            let bound = if self.take_word("as") {
                self.want_name()?
            } else {
                name.clone()
            };
            names.push((name, bound));
            if !self.take_op(",") {
                break;
            }
        }
        if bracket {
            self.want_op(")")?;
        }
        Ok(Action::From(module, names))
    }

    fn assignment(&mut self) -> Res<Action> {
        let line = self.line();
        let first = self.expr_list()?;
        if let Tok::Op(op) = *self.peek()
            && let Some(binary) = op
                .strip_suffix('=')
                .filter(|op| super::ops::BINARY.contains(op))
        {
            self.advance();
            let target = self.to_target(first, line)?;
            let value = self.expr_list()?;
            return Ok(Action::Augment(target, binary, value));
        }
        if self.is_op(":") {
            let fault = self.error("':' does not belong here");
            return Err(fault.hint("a variable is set by NAME = VALUE"));
        }
        if !self.is_op("=") {
            return Ok(Action::Expr(first));
        }
        let mut targets = Vec::new();
        let mut value = first;
        let mut nr = 0;
        while self.take_op("=") {
            self.chain(&mut nr)?;
            targets.push(self.to_target(value, line)?);
            if matches!(self.peek(), Tok::Newline | Tok::End) {
                return Err(self.error("a value was expected after '='").at(line));
            }
            value = self.expr_list()?;
        }
        Ok(Action::Assign(targets, value))
    }

    /// Turns an expression into a place to put values.
    fn to_target(&self, expr: Expr, line: u32) -> Res<Target> {
        match expr.kind {
            Kind::Name(name) => Ok(Target::Name(name, expr.line)),
            Kind::Index(parts) => Ok(Target::Index(parts)),
            Kind::Tuple(items) | Kind::List(items) => items
                .into_iter()
                .map(|item| self.to_target(item, line))
                .collect::<Res<_>>()
                .map(Target::Unpack),
            Kind::Slice(..) | Kind::Attribute(..) => Err(raise(
                "SyntaxError",
                "slices and attributes cannot be set in configuration files",
            )
            .at(line)),
            Kind::None | Kind::Bool(_) => {
                Err(raise("SyntaxError", "None, True and False cannot be set").at(line))
            }
            _ => Err(raise("SyntaxError", "only a name can be set")
                .at(line)
                .hint("'==' compares, '=' sets")),
        }
    }

    /// `a`, or `a, b` up to `in`.
    pub fn target_list(&mut self) -> Res<Target> {
        let line = self.line();
        let first = self.postfix()?;
        let first = self.to_target(first, line)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.take_op(",") && !self.is_word("in") {
            let next = self.postfix()?;
            all.push(self.to_target(next, line)?);
        }
        Ok(Target::Unpack(all))
    }
}
