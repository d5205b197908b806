//! Manual pages, made from a program's definitions: a page is built once and written as roff and as Markdown, so that the
//! two cannot disagree with each other, nor with `--help`.
#![forbid(unsafe_code)]

use clap::{Arg, Command};

/// A part of a page.
pub enum Block {
    /// The title of a section.
    Heading(String),
    /// The title of a part of a section.
    SubHeading(String),
    /// Running text.
    Paragraph(String),
    /// A term and what it means.
    Item(String, String),
    /// The same one step further in.
    SubItem(String, String),
    /// Lines that stay as they are.
    Lines(String),
}

use Block::{Heading, Item, Lines, Paragraph, SubHeading, SubItem};

/// A command: how it is called, what it does, and its arguments.
pub fn described(command: &Command) -> Vec<Block> {
    let mut words = vec![command.get_name().to_owned()];
    if command.get_arguments().any(is_switch) {
        words.push("[SWITCHES]".into());
    }
    words.extend(command.get_positionals().map(spelled));
    let mut blocks = vec![SubHeading(words.join(" "))];
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    blocks.push(Paragraph(format!("{about}.")));
    let aliases: Vec<_> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        blocks.push(Paragraph(format!("Also called {}.", aliases.join(", "))));
    }
    let own = command.get_arguments();
    let own = own.filter(|a| is_switch(a) || a.is_positional());
    blocks.extend(own.map(|a| SubItem(spelled(a), text(a))));
    if let Some(more) = command.get_after_help() {
        blocks.push(Lines(format!("{more}\n")));
    }
    blocks
}

/// Whether it is an option of its command only; every command has `-h`.
pub fn is_switch(arg: &Arg) -> bool {
    let own = !arg.is_hide_set() && !arg.is_global_set();
    own && !arg.is_positional()
        && !matches!(
            arg.get_action(),
            clap::ArgAction::Help | clap::ArgAction::HelpLong
        )
}

/// `-r, --resource N`, or `DOM`, or `[DOM]...`.
pub fn spelled(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(|n| n.first())
        .map(ToString::to_string);
    let value = value.unwrap_or_default();
    if arg.is_positional() {
        let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1)
            || matches!(arg.get_action(), clap::ArgAction::Append);
        let value = if arg.is_required_set() {
            value
        } else {
            format!("[{value}]")
        };
        return if many { format!("{value}...") } else { value };
    }
    let short = arg.get_short().map(|s| format!("-{s}"));
    let long = arg.get_long().map(|l| format!("--{l}"));
    let names: Vec<_> = short.into_iter().chain(long).collect();
    let names = names.join(", ");
    match arg.get_action().takes_values() {
        true => format!("{names} {value}"),
        false => names,
    }
}

/// What an argument is, and what it is without being given.
pub fn text(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let default: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|d| d.to_string_lossy())
        .collect();
    if !default.is_empty() && arg.get_action().takes_values() {
        text += &format!(" (default {})", default.join(" "));
    }
    text
}

/// A page as roff; `what` is the line under NAME, and `program` the one that makes the page.
pub fn roff(program: &str, name: &str, section: u8, what: &str, page: &[Block]) -> String {
    let mut out = format!(
        ".\\\" Made by '{program} manual' from its definitions: do not edit.\n\
         .TH {name} {section} \"\" \"Rexen {}\" \"Rexen\"\n.SH NAME\n{what}\n",
        env!("CARGO_PKG_VERSION")
    );
    for block in page {
        out += &match block {
            Heading(text) => format!(".SH {}\n", escaped(&text.to_uppercase())),
            SubHeading(text) => format!(".SS {}\n", escaped(text)),
            Paragraph(text) => format!(".PP\n{}\n", escaped(text)),
            Item(term, text) => format!(".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(text)),
            SubItem(term, text) => format!(
                ".RS\n.TP\n\\fB{}\\fR\n{}\n.RE\n",
                escaped(term),
                escaped(text)
            ),
            Lines(text) => format!(".PP\n.nf\n{}.fi\n", escaped(text)),
        };
    }
    out
}

/// Text that roff prints as it is.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for (nr, line) in text.split('\n').enumerate() {
        if nr > 0 {
            out.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            out += "\\&";
        }
        out += &line.replace('\\', "\\e").replace('-', "\\-");
    }
    out
}

/// A page as Markdown; `name` is the program that makes it.
pub fn markdown(name: &str, page: &[Block]) -> String {
    let mut out = format!(
        "# {name}\n\nMade by `{name} manual {name}.md` from {name}'s definitions: do not edit.\n"
    );
    let mut before_is_item = false;
    for block in page {
        let is_item = matches!(block, Item(..) | SubItem(..));
        if !(is_item && before_is_item) {
            out.push('\n');
        }
        before_is_item = is_item;
        out += &match block {
            Heading(text) => format!("## {text}\n"),
            SubHeading(text) => format!("### `{text}`\n"),
            Paragraph(text) => format!("{text}\n"),
            Item(term, text) | SubItem(term, text) => format!("- `{term}`: {text}\n"),
            Lines(text) => format!("```text\n{text}```\n"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roff_does_not_take_text_for_commands() {
        assert_eq!(escaped(".PP\\x\n'a -b"), "\\&.PP\\ex\n\\&'a \\-b");
    }
}
