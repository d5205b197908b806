//! The parser: expressions, from the loosest operator to the tightest.

use super::ast::{Argument, Body, Clause, Expr, Function, Kind, Part};
use super::fault::Res;
use super::parse::{KEYWORDS, Parser, expression};
use super::strings::Piece;
use super::token::Tok;
use std::rc::Rc;

/// Binary operators, loosest first; each level binds from the left.
const LEVELS: &[&[&str]] = &[
    &["|"],
    &["^"],
    &["&"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "//", "%"],
];

impl Parser {
    /// `a`, or a tuple `a, b`.
    pub fn expr_list(&mut self) -> Res<Expr> {
        let line = self.line();
        let first = self.expr()?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_op(",") {
            let ends = match self.peek() {
                Tok::Newline | Tok::End => true,
                Tok::Op(op) => matches!(*op, ")" | "]" | "}" | "=" | ":" | ";"),
                _ => false,
            };
            if ends {
                break;
            }
            items.push(self.expr()?);
        }
        Ok(Expr {
            line,
            kind: Kind::Tuple(items),
        })
    }

    pub fn expr(&mut self) -> Res<Expr> {
        self.nested(|p| {
            let line = p.line();
            if p.take_word("lambda") {
                let (parameters, defaults) = p.parameters(":")?;
                p.want_op(":")?;
                let body = Body::Expr(p.expr()?);
                let function = Function {
                    name: "<lambda>".into(),
                    parameters,
                    defaults,
                    body,
                };
                return Ok(Expr {
                    line,
                    kind: Kind::Lambda(Rc::new(function)),
                });
            }
            let then = p.or_test()?;
            if !p.take_word("if") {
                return Ok(then);
            }
            let condition = p.or_test()?;
            if !p.take_word("else") {
                return Err(p.unexpected("'else'"));
            }
            let otherwise = p.expr()?;
            Ok(Expr {
                line,
                kind: Kind::If(Box::new((condition, then, otherwise))),
            })
        })
    }

    fn or_test(&mut self) -> Res<Expr> {
        self.boolean("or", Self::and_test, Kind::Or)
    }

    fn and_test(&mut self) -> Res<Expr> {
        self.boolean("and", Self::not_test, Kind::And)
    }

    fn boolean(
        &mut self,
        word: &str,
        next: fn(&mut Self) -> Res<Expr>,
        make: fn(Vec<Expr>) -> Kind,
    ) -> Res<Expr> {
        let line = self.line();
        let first = next(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_word(word) {
            items.push(next(self)?);
        }
        Ok(Expr {
            line,
            kind: make(items),
        })
    }

    fn not_test(&mut self) -> Res<Expr> {
        let line = self.line();
        if self.take_word("not") {
            let operand = self.nested(Self::not_test)?;
            return Ok(Expr {
                line,
                kind: Kind::Unary("not", Box::new(operand)),
            });
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Res<Expr> {
        let line = self.line();
        let first = self.binary(0)?;
        let mut rest = Vec::new();
        while let Some(op) = self.comparison_op() {
            rest.push((op, self.binary(0)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr {
            line,
            kind: Kind::Compare(Box::new(first), rest),
        })
    }

    fn comparison_op(&mut self) -> Option<&'static str> {
        for op in ["==", "!=", "<>", "<=", ">=", "<", ">"] {
            if self.take_op(op) {
                return Some(if op == "<>" { "!=" } else { op });
            }
        }
        if self.take_word("in") {
            return Some("in");
        }
        if self.take_word("is") {
            return Some(if self.take_word("not") {
                "is not"
            } else {
                "is"
            });
        }
        if self.is_word("not") && matches!(self.peek_after(), Tok::Name(word) if &**word == "in") {
            self.advance();
            self.advance();
            return Some("not in");
        }
        None
    }

    fn binary(&mut self, level: usize) -> Res<Expr> {
        let Some(ops) = LEVELS.get(level) else {
            return self.unary();
        };
        let line = self.line();
        let mut left = self.binary(level + 1)?;
        let mut nr = 0;
        while let Tok::Op(op) = *self.peek()
            && ops.contains(&op)
        {
            self.chain(&mut nr)?;
            self.advance();
            let right = self.binary(level + 1)?;
            left = Expr {
                line,
                kind: Kind::Binary(op, Box::new((left, right))),
            };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Res<Expr> {
        let line = self.line();
        for op in ["-", "+", "~"] {
            if self.take_op(op) {
                let operand = self.nested(Self::unary)?;
                return Ok(Expr {
                    line,
                    kind: Kind::Unary(op, Box::new(operand)),
                });
            }
        }
        let base = self.postfix()?;
        if !self.take_op("**") {
            return Ok(base);
        }
        let exponent = self.nested(Self::unary)?;
        Ok(Expr {
            line,
            kind: Kind::Binary("**", Box::new((base, exponent))),
        })
    }

    /// An atom with calls, indices, slices and attributes behind it.
    pub fn postfix(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut expr = self.atom()?;
        let mut nr = 0;
        loop {
            let kind = if self.take_op("(") {
                Kind::Call(Box::new(expr), self.arguments()?)
            } else if self.take_op("[") {
                self.index(expr)?
            } else if self.take_op(".") {
                let name = self.want_name()?;
                Kind::Attribute(Box::new(expr), name)
            } else {
                return Ok(expr);
            };
            self.chain(&mut nr)?;
            expr = Expr { line, kind };
        }
    }

    fn arguments(&mut self) -> Res<Vec<Argument>> {
        let mut arguments = Vec::new();
        while !self.is_op(")") {
            if self.is_op("*") || self.is_op("**") {
                return Err(self.error("arguments with '*' are not offered in configuration files"));
            }
            if let Tok::Name(name) = self.peek().clone()
                && self.peek_after() == &Tok::Op("=")
            {
                self.advance();
                self.advance();
                arguments.push(Argument::Keyword(name, self.expr()?));
            } else {
                let value = self.expr()?;
                if arguments
                    .iter()
                    .any(|argument| matches!(argument, Argument::Keyword(..)))
                {
                    return Err(self.error("an argument without a name follows one that has one"));
                }
                let line = value.line;
                arguments.push(Argument::Positional(match self.clauses()? {
                    clauses if clauses.is_empty() => value,
                    clauses => Expr {
                        line,
                        kind: Kind::Comprehension(Box::new(value), clauses),
                    },
                }));
            }
            if !self.take_op(",") {
                break;
            }
        }
        self.want_op(")")?;
        Ok(arguments)
    }

    fn index(&mut self, of: Expr) -> Res<Kind> {
        let mut parts = [None, None, None];
        let mut colons = 0;
        let mut index = None;
        loop {
            if self.take_op("]") {
                break;
            }
            if self.take_op(":") {
                colons += 1;
                if colons > 2 {
                    return Err(self.unexpected("']'"));
                }
                continue;
            }
            let value = self.expr_list()?;
            if colons == 0 && !self.is_op(":") {
                index = Some(value);
                self.want_op("]")?;
                break;
            }
            parts[colons] = Some(Box::new(value));
            if !self.is_op(":") && !self.is_op("]") {
                return Err(self.unexpected("']'"));
            }
        }
        match index {
            Some(index) => Ok(Kind::Index(Box::new((of, index)))),
            None if colons == 0 => Err(self.error("an index is missing between '[' and ']'")),
            None => Ok(Kind::Slice(Box::new(of), parts)),
        }
    }

    /// The `for ... in ... if ...` parts of a comprehension, if any follow.
    fn clauses(&mut self) -> Res<Vec<Clause>> {
        let mut clauses = Vec::new();
        let mut nr = 0;
        while self.take_word("for") {
            self.chain(&mut nr)?;
            let target = self.target_list()?;
            if !self.take_word("in") {
                return Err(self.unexpected("'in'"));
            }
            let iterable = self.or_test()?;
            let mut conditions = Vec::new();
            while self.take_word("if") {
                conditions.push(self.or_test()?);
            }
            clauses.push(Clause {
                target,
                iterable,
                conditions,
            });
        }
        Ok(clauses)
    }

    fn atom(&mut self) -> Res<Expr> {
        let line = self.line();
        let kind = match self.peek().clone() {
            Tok::Int(value) => Kind::Int(value),
            Tok::Float(value) => Kind::Float(value),
            Tok::Str(_) | Tok::Format(_) => return self.string_literal(),
            Tok::Name(name) => match &*name {
                "None" => Kind::None,
                "True" => Kind::Bool(true),
                "False" => Kind::Bool(false),
                word if KEYWORDS.contains(&word) => return Err(self.unexpected("a value")),
                _ => Kind::Name(name),
            },
            Tok::Op("(") => return self.nested(Self::parenthesised),
            Tok::Op("[") => return self.nested(Self::list),
            Tok::Op("{") => return self.nested(Self::dict),
            _ => return Err(self.unexpected("a value")),
        };
        self.advance();
        Ok(Expr { line, kind })
    }

    /// Adjacent literals are one.
    fn string_literal(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut plain = true;
        loop {
            match self.peek().clone() {
                Tok::Str(piece) => text.push_str(&piece),
                Tok::Format(pieces) => {
                    plain = false;
                    for piece in pieces {
                        match piece {
                            Piece::Text(piece) => text.push_str(&piece),
                            Piece::Value {
                                source,
                                repr,
                                spec,
                                line,
                            } => {
                                parts.push(Part::Text(std::mem::take(&mut text).into()));
                                let depth = self.depth();
                                let value = self.nested(|_| expression(&source, line, depth))?;
                                parts.push(Part::Value { value, repr, spec });
                            }
                        }
                    }
                }
                _ => break,
            }
            self.advance();
        }
        if plain {
            return Ok(Expr {
                line,
                kind: Kind::Str(text.into()),
            });
        }
        parts.push(Part::Text(text.into()));
        Ok(Expr {
            line,
            kind: Kind::Format(parts),
        })
    }

    fn parenthesised(&mut self) -> Res<Expr> {
        let line = self.line();
        self.want_op("(")?;
        if self.take_op(")") {
            return Ok(Expr {
                line,
                kind: Kind::Tuple(Vec::new()),
            });
        }
        let inner = self.expr_list()?;
        let clauses = self.clauses()?;
        self.want_op(")")?;
        if clauses.is_empty() {
            return Ok(Expr {
                line: inner.line,
                kind: inner.kind,
            });
        }
        Ok(Expr {
            line,
            kind: Kind::Comprehension(Box::new(inner), clauses),
        })
    }

    fn list(&mut self) -> Res<Expr> {
        let line = self.line();
        self.want_op("[")?;
        let mut items = Vec::new();
        while !self.is_op("]") {
            items.push(self.expr()?);
            if items.len() == 1 && self.is_word("for") {
                let clauses = self.clauses()?;
                self.want_op("]")?;
                let element = items.pop().map(Box::new);
                return Ok(Expr {
                    line,
                    kind: element.map_or(Kind::None, |e| Kind::Comprehension(e, clauses)),
                });
            }
            if !self.take_op(",") {
                break;
            }
        }
        if !self.take_op("]") {
            return Err(self.unexpected("',' or ']'"));
        }
        Ok(Expr {
            line,
            kind: Kind::List(items),
        })
    }

    fn dict(&mut self) -> Res<Expr> {
        let line = self.line();
        self.want_op("{")?;
        let mut items = Vec::new();
        while !self.is_op("}") {
            let key = self.expr()?;
            if !self.is_op(":") {
                return Err(self
                    .unexpected("':'")
                    .hint("sets are not offered in configuration files: write a list"));
            }
            self.advance();
            items.push((key, self.expr()?));
            if items.len() == 1 && self.is_word("for") {
                let clauses = self.clauses()?;
                self.want_op("}")?;
                let pair = items.pop().map(Box::new);
                return Ok(Expr {
                    line,
                    kind: pair.map_or(Kind::None, |pair| Kind::DictComprehension(pair, clauses)),
                });
            }
            if !self.take_op(",") {
                break;
            }
        }
        if !self.take_op("}") {
            return Err(self.unexpected("',' or '}'"));
        }
        Ok(Expr {
            line,
            kind: Kind::Dict(items),
        })
    }
}
