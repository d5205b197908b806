//! Expressions to text: flat, as it goes over sockets, and pretty, as people read it.

use super::Sexp;
use std::fmt::{self, Write};

/// Columns of the pretty form.
const WIDTH: usize = 80;
const INDENT: usize = 4;

impl fmt::Display for Sexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(text) => write_atom(f, text),
            Self::List(items) => {
                f.write_char('(')?;
                for (nr, item) in items.iter().enumerate() {
                    if nr > 0 {
                        f.write_char(' ')?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_char(')')
            }
        }
    }
}

impl Sexp {
    /// The form for people: a list that fits on the rest of the line is flat; else each element after the first has a
    /// line of its own, and so has the closing parenthesis. Ends with a newline.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.pretty_at(0, &mut out);
        out.push('\n');
        out
    }

    fn pretty_at(&self, column: usize, out: &mut String) {
        let flat = self.to_string();
        match self {
            Self::List(items) if column + flat.len() > WIDTH && items.len() > 1 => {
                out.push('(');
                items[0].pretty_at(column + 1, out);
                for item in &items[1..] {
                    new_line(column + INDENT, out);
                    item.pretty_at(column + INDENT, out);
                }
                new_line(column, out);
                out.push(')');
            }
            _ => out.push_str(&flat),
        }
    }
}

fn new_line(column: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', column));
}

/// Writes a text bare where 2.0 does, else quoted. The empty text is `''`, where 2.0 wrote nothing.
fn write_atom(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let bare =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/' | '~');
    if text == "@" || (!text.is_empty() && text.chars().all(bare)) {
        return f.write_str(text);
    }
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    f.write_char(quote)?;
    for byte in text.bytes() {
        match byte {
            b'\\' => f.write_str("\\\\")?,
            b'\n' => f.write_str("\\n")?,
            b'\t' => f.write_str("\\t")?,
            b'\r' => f.write_str("\\r")?,
            b' '..=b'~' if char::from(byte) == quote => write!(f, "\\{quote}")?,
            b' '..=b'~' => f.write_char(char::from(byte))?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_char(quote)
}
