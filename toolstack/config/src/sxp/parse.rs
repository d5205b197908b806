//! Text to expressions.

use super::Sexp;
use std::fmt;

/// Lists may be nested this deep: the deepest of 2.0's own expressions needs eight.
pub const MAX_DEPTH: usize = 64;
/// The longest text that is read, in bytes.
pub const MAX_SIZE: usize = 4 << 20;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SxpError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: SxpErrorKind,
}

/// The ways a text can fail to be an S-expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SxpErrorKind {
    /// A `)` that closes nothing.
    StrayClose,
    /// The text ends inside a list, a string or an escape; a stream may go on.
    UnexpectedEof,
    /// A control character other than white space.
    InvalidCharacter(char),
    /// A backslash followed by what is no escape.
    InvalidEscape(char),
    /// Escapes that do not make up UTF-8.
    InvalidUtf8,
    /// More than [`MAX_DEPTH`] lists inside one another.
    TooDeep,
    /// More than [`MAX_SIZE`] bytes.
    TooLong,
    /// One expression was wanted, and there is none.
    NoExpression,
    /// One expression was wanted, and there are more.
    SeveralExpressions,
}

impl fmt::Display for SxpErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StrayClose => write!(f, "syntax error: this ')' closes nothing"),
            Self::UnexpectedEof => write!(f, "unexpected EOF: a list or a string is not closed"),
            Self::InvalidCharacter(c) => write!(f, "invalid character {c:?}"),
            Self::InvalidEscape(c) => {
                write!(f, "'\\{c}' is no escape; a backslash is written '\\\\'")
            }
            Self::InvalidUtf8 => write!(f, "the escapes in this string do not make up UTF-8"),
            Self::TooDeep => write!(f, "lists are nested more than {MAX_DEPTH} deep"),
            Self::TooLong => write!(f, "the text is longer than {MAX_SIZE} bytes"),
            Self::NoExpression => write!(f, "an S-expression is missing"),
            Self::SeveralExpressions => write!(f, "too many sxprs: one was expected"),
        }
    }
}

impl fmt::Display for SxpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.kind
        )
    }
}

impl std::error::Error for SxpError {}

/// Reads all expressions of a text.
///
/// # Errors
/// The first place where the text is no S-expression.
pub fn parse_all(text: &str) -> Result<Vec<Sexp>, SxpError> {
    let mut reader = Reader::new(text);
    let mut all = Vec::new();
    while let Some(expression) = reader.next_expression()? {
        all.push(expression);
    }
    Ok(all)
}

/// Reads a text that holds exactly one expression.
///
/// # Errors
/// Those of [`parse_all`], and `NoExpression` or `SeveralExpressions`.
pub fn parse_one(text: &str) -> Result<Sexp, SxpError> {
    let mut reader = Reader::new(text);
    let first = reader
        .next_expression()?
        .ok_or_else(|| reader.error(SxpErrorKind::NoExpression))?;
    reader.skip_blank();
    let next = reader.clone();
    match reader.next_expression()? {
        None => Ok(first),
        Some(_) => Err(next.error(SxpErrorKind::SeveralExpressions)),
    }
}

/// Reads expressions one after the other; for streams, which have no framing but the closing parenthesis.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of a text.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    /// How many bytes have been read: after an expression, the place behind it.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Reads the next expression, or nothing at the end of the text (or at an EOT, character 4, between expressions).
    ///
    /// # Errors
    /// `UnexpectedEof` may go away when more text of a stream arrives; the others are final.
    pub fn next_expression(&mut self) -> Result<Option<Sexp>, SxpError> {
        if self.text.len() > MAX_SIZE {
            return Err(self.error(SxpErrorKind::TooLong));
        }
        let mut open: Vec<Vec<Sexp>> = Vec::new();
        loop {
            self.skip_blank();
            let Some(c) = self.peek() else {
                return if open.is_empty() {
                    Ok(None)
                } else {
                    Err(self.error(SxpErrorKind::UnexpectedEof))
                };
            };
            let done = match c {
                '\u{4}' if open.is_empty() => return Ok(None),
                '(' => {
                    if open.len() == MAX_DEPTH {
                        return Err(self.error(SxpErrorKind::TooDeep));
                    }
                    self.advance(c);
                    open.push(Vec::new());
                    continue;
                }
                ')' => {
                    let list = open
                        .pop()
                        .ok_or_else(|| self.error(SxpErrorKind::StrayClose))?;
                    self.advance(c);
                    Sexp::List(list)
                }
                '\'' | '"' => Sexp::Atom(self.string(c)?),
                _ => Sexp::Atom(self.atom()?),
            };
            match open.last_mut() {
                Some(list) => list.push(done),
                None => return Ok(Some(done)),
            }
        }
    }

    fn error(&self, kind: SxpErrorKind) -> SxpError {
        SxpError {
            line: self.line,
            column: self.column,
            kind,
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self, c: char) {
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }

    fn skip_blank(&mut self) {
        let mut comment = false;
        while let Some(c) = self.peek() {
            if c == '\n' {
                comment = false;
            } else if c == '#' {
                comment = true;
            } else if !comment && !is_space(c) {
                return;
            }
            self.advance(c);
        }
    }

    /// Reads an atom. A separator may start one and ends the one before: unquoted, `w!` is two atoms.
    fn atom(&mut self) -> Result<String, SxpError> {
        let start = self.at;
        while let Some(c) = self.peek() {
            if is_space(c) || c == '#' || ((is_separator(c) || c == '\u{4}') && self.at > start) {
                break;
            }
            if c.is_control() {
                return Err(self.error(SxpErrorKind::InvalidCharacter(c)));
            }
            self.advance(c);
        }
        Ok(self.text[start..self.at].to_owned())
    }

    fn string(&mut self, quote: char) -> Result<String, SxpError> {
        let start = self.clone();
        self.advance(quote);
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.error(SxpErrorKind::UnexpectedEof)),
                Some('\\') => {
                    self.advance('\\');
                    self.escape(&mut bytes)?;
                }
                Some(c) => {
                    if c.is_control() && !is_space(c) {
                        return Err(self.error(SxpErrorKind::InvalidCharacter(c)));
                    }
                    self.advance(c);
                    if c == quote {
                        return String::from_utf8(bytes)
                            .map_err(|_| start.error(SxpErrorKind::InvalidUtf8));
                    }
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    /// Reads what follows a backslash. Unlike 2.0, hexadecimal digits may be upper case and escapes may be short.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), SxpError> {
        let c = self
            .peek()
            .ok_or_else(|| self.error(SxpErrorKind::UnexpectedEof))?;
        let plain = match c {
            'a' => 7,
            'b' => 8,
            't' => b'\t',
            'n' => b'\n',
            'v' => 11,
            'f' => 12,
            'r' => b'\r',
            '\\' => b'\\',
            '\'' => b'\'',
            '"' => b'"',
            'x' => {
                self.advance(c);
                let value = self.digits(16, 2)?;
                bytes.push(value);
                return Ok(());
            }
            '0'..='7' => {
                let value = self.digits(8, 3)?;
                bytes.push(value);
                return Ok(());
            }
            _ => return Err(self.error(SxpErrorKind::InvalidEscape(c))),
        };
        self.advance(c);
        bytes.push(plain);
        Ok(())
    }

    fn digits(&mut self, radix: u32, max: usize) -> Result<u8, SxpError> {
        let mut value = 0;
        for nr in 0..max {
            let c = self
                .peek()
                .ok_or_else(|| self.error(SxpErrorKind::UnexpectedEof))?;
            match c.to_digit(radix) {
                Some(digit) => value = value * radix + digit,
                None if nr == 0 => return Err(self.error(SxpErrorKind::InvalidEscape(c))),
                None => break,
            }
            self.advance(c);
        }
        u8::try_from(value).map_err(|_| self.error(SxpErrorKind::InvalidUtf8))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

fn is_separator(c: char) -> bool {
    matches!(c, '{' | '}' | '(' | ')' | '<' | '>' | '[' | ']' | '!' | ';')
}
