//! The syntax tree.

use std::rc::Rc;

/// An expression and the line it starts on.
#[derive(Debug)]
pub(super) struct Expr {
    pub line: u32,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    /// An f-string: texts and `(value, repr, spec)`.
    Format(Vec<Part>),
    Name(Rc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// `[element for ...]`, also written as a generator.
    Comprehension(Box<Expr>, Vec<Clause>),
    DictComprehension(Box<(Expr, Expr)>, Vec<Clause>),
    Unary(&'static str, Box<Expr>),
    Binary(&'static str, Box<(Expr, Expr)>),
    /// `a < b <= c`: the first operand, then operators with theirs.
    Compare(Box<Expr>, Vec<(&'static str, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `then if condition else otherwise`, as condition, then, otherwise.
    If(Box<(Expr, Expr, Expr)>),
    Lambda(Rc<Function>),
    Call(Box<Expr>, Vec<Argument>),
    Index(Box<(Expr, Expr)>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Attribute(Box<Expr>, Rc<str>),
}

#[derive(Debug)]
pub(super) enum Part {
    Text(Rc<str>),
    Value {
        value: Expr,
        repr: bool,
        spec: String,
    },
}

#[derive(Debug)]
pub(super) struct Clause {
    pub target: Target,
    pub iterable: Expr,
    pub conditions: Vec<Expr>,
}

#[derive(Debug)]
pub(super) enum Argument {
    Positional(Expr),
    Keyword(Rc<str>, Expr),
}

#[derive(Debug)]
pub(super) struct Function {
    pub name: Rc<str>,
    /// Names, and default values of the last ones.
    pub parameters: Vec<Rc<str>>,
    pub defaults: Vec<Expr>,
    pub body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Block(Vec<Stmt>),
    Expr(Expr),
}

/// Where a value can be put.
#[derive(Debug)]
pub(super) enum Target {
    Name(Rc<str>, u32),
    Index(Box<(Expr, Expr)>),
    Unpack(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Stmt {
    pub line: u32,
    pub action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    Expr(Expr),
    Assign(Vec<Target>, Expr),
    Augment(Target, &'static str, Expr),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    While(Expr, Vec<Stmt>, Vec<Stmt>),
    For(Target, Expr, Vec<Stmt>, Vec<Stmt>),
    Break,
    Continue,
    Pass,
    Def(Rc<Function>),
    Return(Option<Expr>),
    /// An exception; nothing raises the one being handled again.
    Raise(Option<Expr>, Option<Expr>),
    Try(Box<Try>),
    Assert(Expr, Option<Expr>),
    /// Module and the name it is bound to.
    Import(Vec<(Rc<str>, Rc<str>)>),
    /// Module, and names with those they are bound to; `*` stands alone.
    From(Rc<str>, Vec<(Rc<str>, Rc<str>)>),
    Print(Vec<Expr>),
    Global(Vec<Rc<str>>),
    Delete(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Try {
    pub body: Vec<Stmt>,
    pub handlers: Vec<Handler>,
    pub otherwise: Vec<Stmt>,
    pub finally: Vec<Stmt>,
}

#[derive(Debug)]
pub(super) struct Handler {
    /// What is caught; everything when there is nothing.
    pub class: Option<Expr>,
    pub name: Option<Rc<str>>,
    pub body: Vec<Stmt>,
}
