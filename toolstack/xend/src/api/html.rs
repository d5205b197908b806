//! Pages for people: links, the pretty-printed expression, and a form per operation.

use std::fmt::Write;

use rexen_config::sxp::Sexp;

use super::ops::Op;

/// Escapes text for HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An expression, pretty-printed.
pub fn pretty(sxp: &Sexp) -> String {
    format!("<pre>{}</pre>", escape(&sxp.pretty()))
}

/// A page; `body` is HTML.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>{title}</title></head><body>\
         <p><a href=\"/xend/\">xend</a> / <a href=\"/xend/node/\">node</a> / <a href=\"/xend/domain/\">domain</a> / \
         <a href=\"/xend/console/\">console</a></p><h1>{title}</h1>{body}</body></html>\n"
    )
}

/// Links to what is below a folder; targets are names, escaped here.
pub fn links<'a>(folder: &str, names: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut html = String::from("<ul>");
    for (name, about) in names {
        let href: String = name
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect();
        let _ = write!(
            html,
            "<li><a href=\"{folder}{href}\">{}</a> {}</li>",
            escape(name),
            escape(&about)
        );
    }
    html + "</ul>"
}

/// A form for each operation.
pub fn forms(action: &str, ops: &[Op]) -> String {
    let mut html = String::new();
    for op in ops {
        let _ = write!(
            html,
            "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"op\" value=\"{}\">",
            escape(action),
            op.name
        );
        for (name, _, _) in op.params {
            if *name == "config" {
                let _ = write!(
                    html,
                    "<label>{name} <textarea name=\"{name}\"></textarea></label> "
                );
            } else {
                let _ = write!(html, "<label>{name} <input name=\"{name}\"></label> ");
            }
        }
        let _ = write!(
            html,
            "<button>{}</button> {}</form>",
            op.name,
            escape(op.about)
        );
    }
    html
}
