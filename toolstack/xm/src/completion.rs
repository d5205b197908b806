//! Completion scripts for bash, zsh and fish, made from the definitions in `cli`.
//!
//! Names of domains and configuration keys are asked of `xm complete-words` when they are needed.

use clap::{Arg, Command};
use rexen_config::vars::VARIABLES;
use serde_json::{Value, json};

use crate::Persona;
use crate::client::{Client, typed};
use crate::error::{Error, Result};
use crate::help::definitions;
use crate::model::Domain;
use crate::report::Report;

/// What may follow a command.
struct Follow {
    /// Its name and aliases.
    names: Vec<String>,
    about: String,
    /// Options with their one line; whether a value follows.
    options: Vec<(String, String, bool)>,
    words: Words,
}

/// What the words after a command are.
#[derive(PartialEq, Eq)]
enum Words {
    Domains,
    ConfigAndKeys,
    Files,
    Commands,
    Of(Vec<String>),
    Nothing,
}

/// The script for a shell.
///
/// # Errors
/// Another shell.
pub fn script(shell: &str) -> Result<Report> {
    let all = follows();
    let text = match shell {
        "bash" => bash(&all),
        "zsh" => zsh(&all),
        "fish" => fish(&all),
        other => return Err(Error::Said(format!("completion: no script for {other}"))),
    };
    let value = json!(text);
    Ok(Report::new(text, value))
}

/// The words that the scripts ask for; none when xend does not answer.
pub fn words(client: &Client, kind: &str) -> Report {
    let words: Vec<String> = match kind {
        "keys" => config_keys(),
        _ => {
            let domains = client.domains().and_then(|v| typed::<Vec<Domain>>(&v));
            domains
                .unwrap_or_default()
                .into_iter()
                .map(|d| d.name)
                .collect()
        }
    };
    let value = Value::from(words.clone());
    Report::new(
        words.iter().map(|w| format!("{w}\n")).collect::<String>(),
        value,
    )
}

fn config_keys() -> Vec<String> {
    VARIABLES.iter().map(|v| v.name.to_owned()).collect()
}

fn follows() -> Vec<Follow> {
    let all = definitions(Persona::Xm);
    let shown = all.get_subcommands().filter(|c| !c.is_hide_set());
    shown.map(follow).collect()
}

fn follow(command: &Command) -> Follow {
    let names = std::iter::once(command.get_name()).chain(command.get_visible_aliases());
    let mut options = Vec::new();
    for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let takes = arg.get_action().takes_values();
        for option in spellings(arg) {
            options.push((option, about.clone(), takes));
        }
    }
    Follow {
        names: names.map(str::to_owned).collect(),
        about: command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default(),
        options,
        words: after(command),
    }
}

fn spellings(arg: &Arg) -> Vec<String> {
    let long = arg.get_long().map(|l| format!("--{l}"));
    let short = arg.get_short().map(|s| format!("-{s}"));
    long.into_iter().chain(short).collect()
}

fn after(command: &Command) -> Words {
    let named = |name: &str| {
        let mut all = command.get_positionals();
        all.find(|p| {
            p.get_value_names()
                .is_some_and(|n| n.iter().any(|n| n == name))
        })
    };
    let possible = || {
        let values = command.get_positionals().flat_map(Arg::get_possible_values);
        values.map(|v| v.get_name().to_owned()).collect::<Vec<_>>()
    };
    if command.get_name() == "create" {
        Words::ConfigAndKeys
    } else if named("DOM").is_some() {
        Words::Domains
    } else if named("FILE").is_some() {
        Words::Files
    } else if named("CMD").is_some() {
        Words::Commands
    } else if !possible().is_empty() {
        Words::Of(possible())
    } else {
        Words::Nothing
    }
}

fn all_names(all: &[Follow]) -> String {
    let names = all.iter().flat_map(|f| f.names.iter().map(String::as_str));
    names.collect::<Vec<_>>().join(" ")
}

const HEAD: &str = "Made by 'xm completion SHELL' from xm's definitions: do not edit.";

fn bash(all: &[Follow]) -> String {
    let mut out = format!(
        "# {HEAD}\n\
         _xm() {{\n\
         \x20   local cur=${{COMP_WORDS[COMP_CWORD]}} command= options= i\n\
         \x20   COMPREPLY=()\n\
         \x20   for ((i = 1; i < COMP_CWORD; i++)); do\n\
         \x20       case ${{COMP_WORDS[i]}} in\n\
         \x20           -x | --xend) ((i++)) ;;\n\
         \x20           -*) ;;\n\
         \x20           *) command=${{COMP_WORDS[i]}}; break ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   case $command in\n\
         \x20       '') COMPREPLY=($(compgen -W '{} --json --xend --help --version' -- \"$cur\")); return ;;\n",
        all_names(all)
    );
    for f in all {
        let options: Vec<_> = f.options.iter().map(|(o, _, _)| o.as_str()).collect();
        let words = match &f.words {
            Words::Domains => "_xm_words domains".to_owned(),
            Words::ConfigAndKeys => "_xm_config".to_owned(),
            Words::Files => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
            Words::Commands => {
                format!("COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", all_names(all))
            }
            Words::Of(words) => format!(
                "COMPREPLY=($(compgen -W '{}' -- \"$cur\"))",
                words.join(" ")
            ),
            Words::Nothing => ":".to_owned(),
        };
        out += &format!(
            "        {}) options='{}'; [[ $cur == -* ]] || {words} ;;\n",
            f.names.join(" | "),
            options.join(" ")
        );
    }
    out + "    esac\n\
           \x20   if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")); fi\n\
           }\n\
           _xm_words() {\n\
           \x20   COMPREPLY=($(compgen -W \"$(xm complete-words \"$1\" 2>/dev/null)\" -- \"$cur\"))\n\
           }\n\
           _xm_config() {\n\
           \x20   COMPREPLY=($(compgen -f -- \"$cur\") $(cd /etc/xen 2>/dev/null && compgen -f -- \"$cur\")\n\
           \x20              $(compgen -S = -W \"$(xm complete-words keys 2>/dev/null)\" -- \"$cur\"))\n\
           \x20   [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null\n\
           }\n\
           complete -F _xm xm xl\n"
}

/// A text between single quotes in zsh's `_arguments`, where colons and brackets mean something, too.
fn zsh_text(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\'', "'\\''")
        .replace(':', "\\:")
        .replace('[', "\\[")
        .replace(']', "\\]")
}

fn zsh(all: &[Follow]) -> String {
    let mut out = format!("#compdef xm xl\n# {HEAD}\n_xm_commands() {{\n    local -a commands=(\n");
    for f in all {
        for name in &f.names {
            out += &format!("        '{name}:{}'\n", zsh_text(&f.about));
        }
    }
    out += "    )\n    _describe command commands\n}\n\
            _xm_words() { compadd -- ${(f)\"$(xm complete-words $1 2>/dev/null)\"} }\n\
            _xm_config() { _files; _files -W /etc/xen; compadd -S = -- ${(f)\"$(xm complete-words keys 2>/dev/null)\"} }\n\
            _xm() {\n    local context state line\n    typeset -A opt_args\n\
            \x20   _arguments -C '--json[JSON]' '(-x --xend)'{-x,--xend}'[where xend is]:address:' '1:command:_xm_commands' '*::word:->words'\n\
            \x20   [[ $state == words ]] || return\n    case $words[1] in\n";
    for f in all {
        out += &format!("        {}) _arguments", f.names.join("|"));
        for (option, about, takes) in &f.options {
            let value = if *takes { ":value:" } else { "" };
            out += &format!(" '{option}[{}]{value}'", zsh_text(about));
        }
        out += match &f.words {
            Words::Domains => " '*:domain:{_xm_words domains}'".to_owned(),
            Words::ConfigAndKeys => " '*:configuration:_xm_config'".to_owned(),
            Words::Files => " '*:file:_files'".to_owned(),
            Words::Commands => " '1:command:_xm_commands'".to_owned(),
            Words::Of(words) => format!(" '*:word:({})'", words.join(" ")),
            Words::Nothing => String::new(),
        }
        .as_str();
        out += " ;;\n";
    }
    out + "    esac\n}\n_xm \"$@\"\n"
}

fn fish(all: &[Follow]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut out = format!(
        "# {HEAD}\n\
         complete -c xm -f\n\
         complete -c xl -w xm\n\
         complete -c xm -l json -d 'JSON'\n\
         complete -c xm -s x -l xend -x -d 'Where xend is'\n"
    );
    for f in all {
        for name in &f.names {
            let about = quoted(&f.about);
            out += &format!("complete -c xm -n __fish_use_subcommand -a {name} -d {about}\n");
        }
        let when = format!("-n '__fish_seen_subcommand_from {}'", f.names.join(" "));
        for (option, about, takes) in &f.options {
            let kind = if option.starts_with("--") { "-l" } else { "-s" };
            let value = if *takes { " -r" } else { "" };
            let name = option.trim_start_matches('-');
            out += &format!(
                "complete -c xm {when} {kind} {name}{value} -d {}\n",
                quoted(about)
            );
        }
        let words = match &f.words {
            Words::Domains => "-a '(xm complete-words domains 2>/dev/null)'".to_owned(),
            Words::ConfigAndKeys => "-F -a '(xm complete-words keys 2>/dev/null)='".to_owned(),
            Words::Files => "-F".to_owned(),
            Words::Commands => format!("-a {}", quoted(&all_names(all))),
            Words::Of(words) => format!("-a {}", quoted(&words.join(" "))),
            Words::Nothing => continue,
        };
        out += &format!("complete -c xm {when} {words}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_every_script() {
        let all = follows();
        for text in [bash(&all), zsh(&all), fish(&all)] {
            for f in &all {
                for name in &f.names {
                    assert!(text.contains(name.as_str()), "{name}");
                }
                for (option, _, _) in &f.options {
                    let spelled = text.contains(option.as_str());
                    let name = option.trim_start_matches('-');
                    let fishy = ["-l", "-s"].map(|k| format!("{k} {name}"));
                    assert!(
                        spelled || fishy.iter().any(|f| text.contains(f)),
                        "{option}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_follows_is_known() {
        let all = follows();
        let of = |name: &str| &all.iter().find(|f| f.names[0] == name).unwrap().words;
        assert!(*of("destroy") == Words::Domains);
        assert!(*of("create") == Words::ConfigAndKeys);
        assert!(*of("restore") == Words::Files);
        assert!(*of("help") == Words::Commands);
        assert!(*of("completion") == Words::Of(vec!["bash".into(), "zsh".into(), "fish".into()]));
        assert!(*of("info") == Words::Nothing);
    }
}
