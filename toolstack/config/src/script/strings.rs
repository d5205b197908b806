//! String literals: quotes, prefixes, escapes, and the pieces of f-strings.

use super::fault::{Res, raise};
use super::token::Tok;

/// A piece of an f-string.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// `{source!conversion:spec}`, and the line it is on.
    Value {
        source: String,
        repr: bool,
        spec: String,
        line: u32,
    },
}

/// A literal that has been found.
pub(super) struct Scanned {
    body: String,
    format: bool,
    raw: bool,
    /// Bytes of the source, quotes included.
    pub length: usize,
    pieces: Vec<Piece>,
}

impl Scanned {
    pub fn tok(&self, line: u32) -> Tok {
        if !self.format {
            return Tok::Str(self.body.as_str().into());
        }
        let at_line = |piece: &Piece| match piece {
            Piece::Value {
                source, repr, spec, ..
            } => Piece::Value {
                source: source.clone(),
                repr: *repr,
                spec: spec.clone(),
                line,
            },
            text => text.clone(),
        };
        Tok::Format(self.pieces.iter().map(at_line).collect())
    }
}

/// Reads the literal at the start of `rest`, which begins with its quote.
pub(super) fn scan(rest: &str, prefix: &str) -> Res<Scanned> {
    let has = |letter: char| prefix.chars().any(|c| c.eq_ignore_ascii_case(&letter));
    let (raw, format) = (has('r'), has('f'));
    let quote = &rest[..1];
    let triple = quote.repeat(3);
    let delimiter = if rest.starts_with(&triple) {
        triple.as_str()
    } else {
        quote
    };
    let start = delimiter.len();
    let mut at = start;
    let end = loop {
        let Some(c) = rest[at..].chars().next() else {
            let hint = "it ends with the quotes it starts with";
            return Err(raise("SyntaxError", "this string is never closed").hint(hint));
        };
        if rest[at..].starts_with(delimiter) {
            break at;
        }
        if c == '\n' && delimiter.len() == 1 {
            return Err(
                raise("SyntaxError", "this string is not closed on its line")
                    .hint("a text of several lines goes in three quotes"),
            );
        }
        at += c.len_utf8();
        if c == '\\' {
            at += rest[at..].chars().next().map_or(0, char::len_utf8);
        }
    };
    let source = &rest[start..end];
    let mut scanned = Scanned {
        body: String::new(),
        format,
        raw,
        length: end + delimiter.len(),
        pieces: Vec::new(),
    };
    if format {
        scanned.pieces = pieces(source, scanned.raw)?;
    } else {
        scanned.body = unescape(source, raw)?;
    }
    Ok(scanned)
}

/// Resolves escapes; like Python, leaves a backslash that starts none.
fn unescape(source: &str, raw: bool) -> Res<String> {
    let source = source.replace("\r\n", "\n");
    if raw || !source.contains('\\') {
        return Ok(source);
    }
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\n') => {}
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('v') => out.push('\u{b}'),
            Some('f') => out.push('\u{c}'),
            Some('r') => out.push('\r'),
            Some(c @ ('\\' | '\'' | '"')) => out.push(c),
            Some(kind @ ('x' | 'u')) => {
                let wanted = if kind == 'x' { 2 } else { 4 };
                let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_hexdigit))
                    .take(wanted)
                    .collect();
                let value = (digits.len() == wanted)
                    .then(|| u32::from_str_radix(&digits, 16).ok())
                    .flatten();
                let c = value.and_then(char::from_u32);
                out.push(c.ok_or_else(|| {
                    raise(
                        "SyntaxError",
                        format_args!("\\{kind} wants {wanted} hexadecimal digits"),
                    )
                })?);
            }
            Some(first @ '0'..='7') => {
                let mut value = first.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    if let Some(digit) =
                        chars.next_if(|c| c.is_digit(8)).and_then(|c| c.to_digit(8))
                    {
                        value = value * 8 + digit;
                    }
                }
                out.push(char::from_u32(value).unwrap_or('?'));
            }
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    Ok(out)
}

/// Takes an f-string apart. An expression in it may hold brackets and strings with the other quote, but no braces.
fn pieces(source: &str, raw: bool) -> Res<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = source;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let end = if brace == "{" { rest.find('}') } else { None };
        let Some(end) = end else {
            return Err(raise(
                "SyntaxError",
                format_args!("'{brace}' stands alone in an f-string"),
            )
            .hint(format_args!("write {brace}{brace} for the character")));
        };
        pieces.push(Piece::Text(unescape(&std::mem::take(&mut text), raw)?));
        pieces.push(replacement(&rest[..end])?);
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    pieces.push(Piece::Text(unescape(&text, raw)?));
    Ok(pieces)
}

fn replacement(inside: &str) -> Res<Piece> {
    // A colon or `!r` inside brackets or quotes belongs to the expression.
    let mut depth = 0;
    let mut quote = None;
    let mut split = inside.len();
    for (at, c) in inside.char_indices() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth -= 1,
            (None, ':') if depth == 0 => {
                split = at;
                break;
            }
            _ => {}
        }
    }
    let spec = inside[split..].strip_prefix(':').unwrap_or("").to_owned();
    let (source, repr) = match (
        inside[..split].strip_suffix("!r"),
        inside[..split].strip_suffix("!s"),
    ) {
        (Some(source), _) => (source, true),
        (_, Some(source)) => (source, false),
        _ => (&inside[..split], false),
    };
    if source.trim().is_empty() {
        return Err(raise("SyntaxError", "an f-string has an empty expression"));
    }
    Ok(Piece::Value {
        source: source.to_owned(),
        repr,
        spec,
        line: 0,
    })
}
