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
mod report;
mod sxp;
mod table;
mod terminal;
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
        let name = Path::new(program).file_name();
        if name.is_some_and(|n| n == "xl") {
            Self::Xl
        } else {
            Self::Xm
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
    let persona = Persona::of(&program.to_string_lossy());
    match try_run(persona, args.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain(persona, &e);
            ExitCode::FAILURE
        }
    }
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

fn try_run(persona: Persona, args: Vec<OsString>) -> Result<()> {
    let args = args.into_iter().map(|arg| {
        arg.into_string().map_err(|arg| {
            let shown = arg.to_string_lossy().into_owned();
            Error::Usage(format!("the argument {shown} is not UTF-8"))
        })
    });
    let mut args = args.collect::<Result<Vec<String>>>()?;
    if persona == Persona::Xl {
        args = xl::arguments(args)?;
    }
    let Some(at) = find::position(&args) else {
        let version = args.iter().any(|a| a == "--version" || a == "-V");
        return match version {
            true => report::emit(&Cli::command().name(persona.name()).render_version()),
            false => help::report(persona, None)?.print(false),
        };
    };
    let name = find::command(&args[at])?;
    args[at].clone_from(&name);
    let own = args[at + 1..].iter().take_while(|a| *a != "--");
    if name != "create" && own.clone().any(|a| a == "-h" || a == "--help") {
        return report::emit(&help::of(persona, &name));
    }
    let matches = help::definitions(persona)
        .no_binary_name(true)
        .try_get_matches_from(&args);
    let cli = matches.and_then(|m| Cli::from_arg_matches(&m));
    let cli = cli.map_err(|e| Error::Usage(cli::explain(&name, &e)))?;
    let client = Client::from_env(cli.xend.as_deref())?;
    let json = cli.json;
    commands::run(&client, persona, cli)?.print(json)
}
