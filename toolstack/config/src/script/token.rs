//! The lexer: text to tokens, with Python's indentation.

use super::fault::{Res, raise};
use super::strings::{self, Piece};
use std::rc::Rc;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok {
    Name(Rc<str>),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    /// An f-string.
    Format(Vec<Piece>),
    Op(&'static str),
    Newline,
    Indent,
    Dedent,
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub tok: Tok,
    pub line: u32,
}

/// Operators, the longer before their beginnings.
const OPS: &[&str] = &[
    "**=", "//=", "<<=", ">>=", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "<>", "+=", "-=",
    "*=", "/=", "%=", "&=", "|=", "^=", "->", "+", "-", "*", "/", "%", "<", ">", "=", "(", ")",
    "[", "]", "{", "}", ",", ":", ".", ";", "&", "|", "^", "~", "@",
];

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    indents: Vec<usize>,
    brackets: Vec<(char, u32)>,
    tokens: Vec<Token>,
}

/// Splits a text into tokens; the last is always `End`.
pub(super) fn tokens(text: &str, first_line: u32) -> Res<Vec<Token>> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: first_line,
        indents: vec![0],
        brackets: Vec::new(),
        tokens: Vec::new(),
    };
    match lexer.run() {
        Ok(()) => Ok(lexer.tokens),
        Err(fault) => Err(fault.at(lexer.line)),
    }
}

impl Lexer<'_> {
    fn run(&mut self) -> Res<()> {
        let mut line_start = true;
        if self.text.starts_with('\u{feff}') {
            self.at += '\u{feff}'.len_utf8();
        }
        while self.at < self.text.len() {
            if line_start && self.brackets.is_empty() {
                self.indentation()?;
                line_start = false;
                continue;
            }
            let rest = &self.text[self.at..];
            let c = rest.chars().next().unwrap_or('\0');
            match c {
                ' ' | '\t' | '\r' | '\u{c}' => self.at += 1,
                '\n' => {
                    if self.brackets.is_empty() {
                        self.push(Tok::Newline);
                        line_start = true;
                    }
                    self.at += 1;
                    self.line += 1;
                }
                '#' => self.at += rest.find('\n').unwrap_or(rest.len()),
                '\\' => {
                    let after = &rest[1..];
                    let newline = after.strip_prefix('\r').unwrap_or(after).starts_with('\n');
                    if !newline {
                        return Err(raise(
                            "SyntaxError",
                            "a backslash outside a string must be the last on its line",
                        ));
                    }
                    self.at += rest.find('\n').unwrap_or(0) + 1;
                    self.line += 1;
                }
                '\'' | '"' => self.string("")?,
                '0'..='9' => self.number()?,
                '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
                '_' | 'a'..='z' | 'A'..='Z' => {
                    let end = rest
                        .find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
                        .unwrap_or(rest.len());
                    let word = &rest[..end];
                    let quote = rest[end..].starts_with(['\'', '"']);
                    if quote && word.len() <= 2 && word.chars().all(|c| "rRuUbBfF".contains(c)) {
                        self.at += end;
                        self.string(word)?;
                    } else {
                        self.at += end;
                        self.push(Tok::Name(word.into()));
                    }
                }
                _ => self.operator(c)?,
            }
        }
        if let Some((bracket, line)) = self.brackets.pop() {
            return Err(raise("SyntaxError", format_args!("'{bracket}' is never closed")).at(line));
        }
        self.push(Tok::Newline);
        while self.indents.pop().is_some_and(|indent| indent > 0) {
            self.push(Tok::Dedent);
        }
        self.push(Tok::End);
        Ok(())
    }

    fn push(&mut self, tok: Tok) {
        self.tokens.push(Token {
            tok,
            line: self.line,
        });
    }

    /// Measures the white space a line starts with; blank lines do not count.
    fn indentation(&mut self) -> Res<()> {
        let rest = &self.text[self.at..];
        let mut column = 0;
        let mut length = 0;
        for c in rest.chars() {
            match c {
                ' ' => column += 1,
                '\t' => column = (column / 8 + 1) * 8,
                '\u{c}' => column = 0,
                '\r' => {}
                _ => break,
            }
            length += 1;
        }
        self.at += length;
        if rest[length..].is_empty() || rest[length..].starts_with(['\n', '#']) {
            return Ok(());
        }
        let current = self.indents.last().copied().unwrap_or(0);
        if column > current {
            if self.indents.len() > 40 {
                return Err(raise("SyntaxError", "blocks are nested too deeply"));
            }
            self.indents.push(column);
            self.push(Tok::Indent);
        }
        while self.indents.last().is_some_and(|indent| column < *indent) {
            self.indents.pop();
            self.push(Tok::Dedent);
        }
        if self.indents.last() != Some(&column) {
            return Err(raise(
                "SyntaxError",
                "this line is indented like no block around it",
            ));
        }
        Ok(())
    }

    fn operator(&mut self, c: char) -> Res<()> {
        let rest = &self.text[self.at..];
        let Some(op) = OPS.iter().find(|op| rest.starts_with(**op)) else {
            let fault = raise("SyntaxError", format_args!("{c:?} does not belong here"));
            return Err(match c {
                '`' => fault.hint("backquotes are not offered: write repr(...)"),
                '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => {
                    fault.hint("this is a typographic quote: write ' or \"")
                }
                '!' => fault.hint("write 'not', or != to compare"),
                '$' => fault.hint("this is Python, not shell: write the name without $"),
                _ => fault,
            });
        };
        match *op {
            "(" | "[" | "{" => self.brackets.push((c, self.line)),
            ")" | "]" | "}" => {
                let opened = self.brackets.pop().map(|(bracket, _)| bracket);
                let wanted = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if opened != Some(wanted) {
                    let what = match opened {
                        Some(opened) => format!("'{c}' does not close '{opened}'"),
                        None => format!("'{c}' closes nothing"),
                    };
                    return Err(raise("SyntaxError", what));
                }
            }
            _ => {}
        }
        self.at += op.len();
        self.push(Tok::Op(op));
        Ok(())
    }

    fn number(&mut self) -> Res<()> {
        let rest = &self.text[self.at..];
        let mut end = 0;
        let bytes = rest.as_bytes();
        while let Some(&b) = bytes.get(end) {
            let exponent =
                end > 0 && matches!(bytes[end - 1], b'e' | b'E') && !rest.starts_with("0x");
            if b.is_ascii_alphanumeric()
                || b == b'_'
                || b == b'.'
                || (exponent && (b == b'+' || b == b'-'))
            {
                end += 1;
            } else {
                break;
            }
        }
        let tok = read_number(&rest[..end])
            .ok_or_else(|| {
                raise(
                    "SyntaxError",
                    format_args!("{:?} is no number", &rest[..end]),
                )
            })
            .map_err(|fault| {
                let word = rest[..end].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                let unit = matches!(word, "M" | "MB" | "G" | "GB" | "MiB" | "GiB" | "m" | "g");
                if unit {
                    fault.hint("memory is a plain number of MB, without a unit")
                } else {
                    fault.hint("text goes in quotes")
                }
            })?;
        self.at += end;
        self.push(tok);
        Ok(())
    }

    fn string(&mut self, prefix: &str) -> Res<()> {
        let rest = &self.text[self.at..];
        let scanned = strings::scan(rest, prefix)?;
        self.tokens.push(Token {
            tok: scanned.tok(self.line),
            line: self.line,
        });
        self.line += u32::try_from(rest[..scanned.length].matches('\n').count()).unwrap_or(0);
        self.at += scanned.length;
        Ok(())
    }
}

/// Reads a number as Python 2 and 3 write them: `0x1f`, `0o17` and `017`, `0b1`, `10L`, `1_000`, `1.5e3`.
fn read_number(text: &str) -> Option<Tok> {
    let plain = text.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return i64::from_str_radix(digits.strip_suffix('l').unwrap_or(digits), radix)
                .ok()
                .map(Tok::Int);
        }
    }
    let digits = lower.strip_suffix('l').unwrap_or(&lower);
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let octal = digits.len() > 1 && digits.starts_with('0');
        return if octal {
            i64::from_str_radix(digits, 8).ok()
        } else {
            digits.parse().ok()
        }
        .map(Tok::Int);
    }
    let float = lower
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    float
        .then(|| lower.parse().ok())
        .flatten()
        .filter(|value: &f64| value.is_finite())
        .map(Tok::Float)
}
