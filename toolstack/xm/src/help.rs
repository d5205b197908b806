//! `xm help`: all commands by groups, or one command.

use clap::{Command, CommandFactory};
use serde_json::json;

use crate::Persona;
use crate::cli::groups::GROUPS;
use crate::cli::{Cli, find};
use crate::error::{Error, Result};
use crate::report::Report;

/// All definitions, under the name that the program was called by.
pub fn definitions(persona: Persona) -> Command {
    let mut all = Cli::command().name(persona.name()).bin_name(persona.name());
    all.build();
    all
}

/// `help [CMD]`.
///
/// # Errors
/// There is no such command.
pub fn report(persona: Persona, command: Option<&str>) -> Result<Report> {
    let text = match command {
        None => overview(persona),
        Some(word) => match find::command(word) {
            Ok(name) => of(persona, &name),
            Err(Error::UnknownCommand { .. }) => format!("help: Unknown command: {word}\n"),
            Err(e) => return Err(e),
        },
    };
    let value = json!(text);
    Ok(Report::new(text, value))
}

/// One command's own help; `name` is exact.
pub fn of(persona: Persona, name: &str) -> String {
    let mut all = definitions(persona);
    match all.find_subcommand_mut(name) {
        Some(command) => command.render_long_help().to_string(),
        None => overview(persona),
    }
}

/// Every command with its one line, in groups.
pub fn overview(persona: Persona) -> String {
    let all = definitions(persona);
    let mut out = String::new();
    for group in &GROUPS {
        if let Some(title) = group.title {
            out += &format!("\n{title}\n");
        }
        out += "\n";
        for name in group.commands() {
            let Some(command) = all.find_subcommand(name) else {
                continue;
            };
            let about = command.get_about().map(ToString::to_string);
            let mut about = about.unwrap_or_default();
            let aliases: Vec<_> = command.get_visible_aliases().collect();
            if !aliases.is_empty() {
                about += &format!(" [also {}]", aliases.join(", "));
            }
            out += &format!("{name:<14} {about}\n");
        }
    }
    out + &format!("\nTry '{} help CMD' for help on CMD\n", persona.name())
}
