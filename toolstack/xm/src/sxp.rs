//! S-expressions in xend's answers: lines of up to 80 columns, and errors.

use rexen_config::sxp::{Sexp, parse_all};

use crate::error::{Error, Result};

/// Lays out the expressions of an answer on lines.
///
/// # Errors
/// It is none.
pub fn pretty(text: &str) -> Result<String> {
    Ok(read(text)?.iter().map(Sexp::pretty).collect())
}

/// Writes each expression of an answer on a line of its own.
///
/// # Errors
/// It is none.
pub fn lines(text: &str) -> Result<String> {
    Ok(read(text)?.iter().map(|e| format!("{e}\n")).collect())
}

fn read(text: &str) -> Result<Vec<Sexp>> {
    parse_all(text).map_err(|e| Error::odd(format!("{e}")))
}

/// The text of 2.0's `(xend.err TEXT)`.
pub fn error_text(text: &str) -> Option<String> {
    let all = parse_all(text).ok()?;
    let error = all.iter().find(|e| e.name() == Some("xend.err"))?;
    let words = error.as_list()?.iter().skip(1);
    let words: Vec<_> = words
        .map(|w| w.as_text().map_or_else(|| w.to_string(), str::to_owned))
        .collect();
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_2_0_are_understood() {
        let text = error_text("(xend.err 'invalid domain:web')");
        assert_eq!(text.as_deref(), Some("invalid domain:web"));
        assert_eq!(error_text("(domain (id 1))"), None);
    }

    #[test]
    fn long_expressions_are_laid_out() {
        let long = format!("(domain (id 1) (name {}))", "x".repeat(60));
        let want = format!("(domain\n    (id 1)\n    (name {})\n)\n", "x".repeat(60));
        assert_eq!(pretty(&long).unwrap(), want);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_too_odd(text in r#"[()a-z'" \\x0-9#\n]{0,60}"#) {
            let _ = (error_text(&text), pretty(&text), lines(&text));
        }
    }
}
