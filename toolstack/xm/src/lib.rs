//! The command line to xend: `xm`, and `xl` for those who expect that.
//!
//! `cli` defines every command; `commands` carries them out over `client`, which speaks xend's API and nothing else;
//! `table` and `sxp` put answers into the forms that people and programs know; `xl` is what differs under that name.
//! `help`, `completion` and `manual` are made from the definitions.

mod cli;
mod client;
mod commands;
mod completion;
mod error;
mod events;
mod help;
mod manual;
mod model;
mod progress;
mod report;
mod session;
mod sxp;
mod table;
mod terminal;
mod tools;
mod units;
mod xl;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use cli::{Cli, find};
use client::Client;
use error::{Error, Result};

/// Which tool the program is, by the name that it was called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    /// 2.0's.
    Xm,
    /// Today's.
    Xl,
}

impl Persona {
    fn of(program: &str) -> Self {
        match program {
            "xl" => Self::Xl,
            _ => Self::Xm,
        }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xm => "xm",
            Self::Xl => "xl",
        }
    }
}

/// Does what the command line says; prints what there is to say, and errors as `Error: ...`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    let program = program.to_string_lossy();
    let persona = Persona::of(&program);
    let done = texts(args).and_then(|args| match tools::named(&program) {
        Some(tool) => tool(&args),
        None => match understand(persona, args)? {
            Todo::Print(text) => report::emit(&text),
            Todo::Carry(cli) => carry(persona, *cli),
        },
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain(persona, &e);
            ExitCode::FAILURE
        }
    }
}

fn texts(args: impl Iterator<Item = OsString>) -> Result<Vec<String>> {
    let text = |arg: OsString| {
        arg.into_string().map_err(|arg| {
            let shown = arg.to_string_lossy().into_owned();
            Error::Usage(format!("the argument {shown} is not UTF-8"))
        })
    };
    args.map(text).collect()
}

fn complain(persona: Persona, e: &Error) {
    if let Error::Unreachable { cause, .. } = e {
        eprintln!("{cause}");
    }
    let text = e.to_string();
    match text.strip_prefix("ERROR: ") {
        Some(_) => eprintln!("{text}"), // 2.0's `call` has its own word
        None => eprintln!("Error: {text}"),
    }
    if let Error::UnknownCommand { .. } = e {
        eprintln!("Try '{} help'.", persona.name());
    }
}

/// What a command line comes to.
#[derive(Debug)]
enum Todo {
    /// Text to print.
    Print(String),
    /// A command to carry out.
    Carry(Box<Cli>),
}

/// Reads a command line, without the program's name.
fn understand(persona: Persona, mut args: Vec<String>) -> Result<Todo> {
    if persona == Persona::Xl {
        args = xl::arguments(args)?;
    }
    let Some(at) = find::position(&args) else {
        let version = args.iter().any(|a| a == "--version" || a == "-V");
        return Ok(Todo::Print(match version {
            true => Cli::command().name(persona.name()).render_version(),
            false => help::overview(persona),
        }));
    };
    let name = find::command(&args[at])?;
    args[at].clone_from(&name);
    let mut own = args[at + 1..].iter().take_while(|a| *a != "--");
    if name != "create" && own.any(|a| a == "-h" || a == "--help") {
        return Ok(Todo::Print(help::of(persona, &name)));
    }
    let matches = help::definitions(persona)
        .no_binary_name(true)
        .try_get_matches_from(&args);
    let cli = matches.and_then(|m| Cli::from_arg_matches(&m));
    let cli = cli.map_err(|e| Error::Usage(cli::explain(&name, &e)))?;
    Ok(Todo::Carry(Box::new(cli)))
}

fn carry(persona: Persona, cli: Cli) -> Result<()> {
    let client = Client::from_env(cli.xend.as_deref())?;
    let json = cli.json;
    commands::run(&client, persona, cli)?.print(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Words that mean something somewhere, and any others.
    fn word() -> impl Strategy<Value = String> {
        let known = proptest::sample::select(vec![
            "list",
            "create",
            "sched-credit",
            "vcpu-pin",
            "call",
            "trigger",
            "top",
            "help",
            "he",
            "--",
            "-",
            "-h",
            "-l",
            "-x",
            "--xend",
            "--xend=",
            "--json",
            "-N",
            "-F",
            "-c",
            "-w",
            "--path",
            "web",
            "0",
            "-1",
            "a=b",
            "=",
        ]);
        prop_oneof![3 => known.prop_map(str::to_owned), 1 => any::<String>()]
    }

    proptest! {
        #[test]
        fn every_command_line_is_understood_or_explained(
            words in proptest::collection::vec(word(), 0..6),
            persona in prop_oneof![Just(Persona::Xm), Just(Persona::Xl)],
        ) {
            match understand(persona, words) {
                Ok(Todo::Print(text)) => prop_assert!(!text.is_empty()),
                Ok(Todo::Carry(_)) => {}
                Err(e) => prop_assert!(!e.to_string().is_empty()),
            }
        }
    }
}
