//! `create` and `restore`: from a script or a finished configuration to a running domain.

use std::fs;
use std::path::{Path, PathBuf};

use rexen_config::create::{self, Source, Style, load, predefined};
use rexen_config::host::Machine;
use rexen_config::sxp::parse_one;
use serde_json::{Value, json};

use super::console;
use crate::Persona;
use crate::cli::Create;
use crate::client::{Client, typed};
use crate::error::{Error, Result};
use crate::model::Domain;
use crate::report::{Report, emit};

/// `create`.
pub fn run(client: &Client, persona: Persona, args: &Create, json: bool) -> Result<Report> {
    if args.help || args.help_config {
        return help(persona, args);
    }
    if let Some(file) = &args.load {
        let value = restored(client, &super::absolute(file)?)?;
        return start(client, args, value);
    }
    let config = match &args.config {
        Some(file) => finished(file)?,
        None => evaluated(persona, args, json)?,
    };
    if args.dryrun {
        let laid_out = parse_one(&config).map_err(|e| Error::Said(e.to_string()))?;
        return Ok(Report::new(laid_out.pretty(), json!({ "config": config })));
    }
    if args.plan {
        return plan(client, &config);
    }
    let what = "creating the domain";
    let value = client.post_slowly(what, "domains", &json!({ "config": config }))?;
    start(client, args, value)
}

/// The script's name, and the variables beside it.
fn words(args: &Create) -> (&str, Vec<(String, String)>) {
    let mut script = args.defconfig.as_str();
    let mut variables = Vec::new();
    for word in &args.words {
        match word.split_once('=') {
            Some((name, value)) => variables.push((name.trim().to_owned(), value.to_owned())),
            None => script = word,
        }
    }
    (script, variables)
}

/// Finds the script as it is named, then in each folder of the path.
fn found(args: &Create, name: &str) -> Result<(PathBuf, String)> {
    let folders = args.path.split(':').filter(|f| !f.is_empty());
    let places = folders.map(|folder| Path::new(folder).join(name));
    let mut places = std::iter::once(PathBuf::from(name)).chain(places);
    let Some(path) = places.find(|p| p.exists() && !p.is_dir()) else {
        return Err(Error::Said(format!("Cannot open config file \"{name}\"")));
    };
    let text = fs::read_to_string(&path).map_err(Error::io(format!(
        "Cannot read config file {}",
        path.display()
    )))?;
    Ok((path, text))
}

/// Runs the script, and makes `(vm ...)` of what it sets.
fn evaluated(persona: Persona, args: &Create, json: bool) -> Result<String> {
    let (name, variables) = words(args);
    let (path, text) = found(args, name)?;
    let file = path.display().to_string();
    if !args.quiet && !json {
        emit(&match persona {
            Persona::Xm => format!("Using config file \"{file}\".\n"),
            Persona::Xl => format!("Parsing config from {file}\n"),
        })?;
    }
    let here = std::env::current_dir().map_err(Error::io("there is no present folder"))?;
    let source = Source {
        file: &file,
        text: &text,
        words: &variables,
        directory: &here.to_string_lossy(),
        style: match persona {
            Persona::Xm => Style::Xm,
            Persona::Xl => Style::Xl,
        },
    };
    let spec = load(&source, &Machine).map_err(|e| Error::Said(e.to_string()))?;
    Ok(spec.to_sxp().to_string())
}

/// Usage and the names that scripts find, then what the script says of its own variables, on standard error.
fn help(persona: Persona, args: &Create) -> Result<Report> {
    let mut text = String::new();
    if args.help {
        text = crate::help::of(persona, "create");
    }
    if args.help_config {
        text += "Names that a script finds:\n";
        text.extend(predefined().iter().map(|name| format!("  {name}\n")));
    }
    emit(&text)?;
    let (path, script) = found(args, words(args).0)?;
    let explained = create::help(&path.display().to_string(), &script, &Machine);
    explained.map_err(|e| Error::Said(e.to_string()))?;
    Ok(Report::done(json!(text)))
}

/// Reads a ready-made configuration; only that it is one expression is checked here.
fn finished(file: &str) -> Result<String> {
    let cannot = Error::io(format!("Cannot open config file \"{file}\""));
    let text = fs::read_to_string(file).map_err(cannot)?;
    match parse_one(&text) {
        Ok(_) => Ok(text),
        Err(e) => Err(Error::Said(format!("{file}: {e}"))),
    }
}

/// What xend would do.
fn plan(client: &Client, config: &str) -> Result<Report> {
    let body = json!({ "config": config, "dry_run": true });
    let value = client.post("domains", &body)?;
    let steps: Vec<String> = typed(&value["plan"])?;
    let text = steps
        .iter()
        .zip(1..)
        .map(|(step, nr)| format!("{nr:>3}. {step}\n"));
    Ok(Report::new(text.collect::<String>(), value))
}

/// Lets the created domain run, unless it is to stay paused.
fn start(client: &Client, args: &Create, value: Value) -> Result<Report> {
    let domain: Domain = typed(&value)?;
    if !args.paused {
        unpause(client, &domain)?;
    }
    let mut text = String::new();
    if !args.quiet {
        let port = domain
            .console_port
            .map_or_else(|| "none".to_owned(), |p| p.to_string());
        text = format!("Started domain {}, console on port {port}\n", domain.name);
    }
    if args.console_autoconnect {
        emit(&text)?;
        return console::attach(client, &domain, false);
    }
    Ok(Report::new(text, value))
}

/// A domain that cannot run is of no use to anybody.
fn unpause(client: &Client, domain: &Domain) -> Result<()> {
    let id = domain.id.to_string();
    let failed = match client.domain_op(&id, "unpause", json!({})) {
        Ok(_) => return Ok(()),
        Err(e) => e,
    };
    let name = &domain.name;
    let fate = match client.domain_op(&id, "destroy", json!({ "reason": "halt" })) {
        Ok(_) => "it has been destroyed".to_owned(),
        Err(e) => format!("destroying it fails, too: {e}"),
    };
    Err(Error::Said(format!(
        "Failed to unpause domain {name}: {failed}; {fate}"
    )))
}

fn restored(client: &Client, file: &str) -> Result<Value> {
    let body = json!({ "op": "restore", "file": file });
    client.post_slowly("restoring the domain", "domains", &body)
}

/// `restore`: the domain runs, and is printed.
pub fn restore(client: &Client, file: &str) -> Result<Report> {
    let value = restored(client, file)?;
    let domain: Domain = typed(&value)?;
    client.domain_op(&domain.id.to_string(), "unpause", json!({}))?;
    let text = crate::sxp::pretty(domain.sxp.as_deref().unwrap_or(""))?;
    Ok(Report::new(text, value))
}
