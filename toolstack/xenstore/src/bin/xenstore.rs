//! The store's command line: `xenstore read ...`, also called as `xenstore-read` and so on.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rexen_xenstore::client::{Error, Store, View};
use rexen_xenstore::perms::{Perm, Perms};

/// Reads and changes the store of this host.
///
/// Called as xenstore-read, xenstore-ls and so on it is that command. The daemon is found at $XENSTORED_PATH or --socket,
/// else at /run/xenstored/socket, else through /dev/xen/xenbus, which works inside any domain. A path without a leading
/// slash starts at the own domain's home.
#[derive(Parser)]
#[command(version, name = "xenstore")]
struct Options {
    /// The daemon's socket.
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Talk through the socket (the default; accepted for old scripts).
    #[arg(short = 's', global = true, hide = true)]
    through_socket: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a subtree: one line per node, indented by level.
    Ls {
        /// Print whole paths instead of indenting.
        #[arg(short)]
        full: bool,
        /// Print permissions too.
        #[arg(short)]
        perms: bool,
        /// Where to start.
        #[arg(default_value = "/")]
        path: String,
    },
    /// Print values, one per line.
    Read {
        /// Print the path before each value.
        #[arg(short = 'p')]
        with_path: bool,
        /// Print the bytes as they are, without escapes and newline.
        #[arg(short = 'R')]
        raw: bool,
        /// The nodes.
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Write values, all or none.
    Write {
        /// Values hold escapes (\n, \t, \\, \x1f, \017).
        #[arg(short = 'R')]
        escaped: bool,
        /// A path and its value; more pairs may follow.
        #[arg(required = true, num_args = 2.., value_names = ["PATH", "VALUE"])]
        pairs: Vec<String>,
    },
    /// Remove nodes and all below, all or none.
    Rm {
        /// Remove parents too that are left empty.
        #[arg(short = 't')]
        tidy: bool,
        /// The nodes.
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Print the names of nodes' children.
    List {
        /// Print whole paths.
        #[arg(short = 'p')]
        with_path: bool,
        /// The nodes.
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Succeed if all nodes exist.
    Exists {
        /// The nodes.
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Set permissions: first the owner's entry (what everybody may do), then one per other domain, as in n0 r7.
    Chmod {
        /// Change the nodes below too.
        #[arg(short = 'r')]
        recursive: bool,
        /// Change the parents too.
        #[arg(short = 'u')]
        upwards: bool,
        /// The node.
        path: String,
        /// Entries: n, r, w or b and a domain id.
        #[arg(required = true)]
        entries: Vec<String>,
    },
    /// Print paths below these as they change; the first line comes at once.
    Watch {
        /// End after so many lines.
        #[arg(short)]
        n: Option<u64>,
        /// The nodes, or @introduceDomain or @releaseDomain.
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Send a command to the daemon (help lists them).
    Control {
        /// The command and its arguments.
        #[arg(required = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    let options = Options::parse_from(arguments(std::env::args_os().collect()));
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(e) => {
            eprintln!(
                "xenstore: {}",
                e.to_string().trim_start_matches("xenstore: ")
            );
            ExitCode::FAILURE
        }
    }
}

/// Makes `xenstore-read x` mean `xenstore read x`.
fn arguments(mut args: Vec<OsString>) -> Vec<OsString> {
    let name = args
        .first()
        .and_then(|a| Path::new(a).file_name())
        .map(|n| n.to_string_lossy().into_owned());
    if let Some(command) = name
        .as_deref()
        .and_then(|name| name.strip_prefix("xenstore-"))
    {
        args.insert(1, command.into());
    }
    args
}

enum Failure {
    Store(Error),
    Output(io::Error),
    Usage(String),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Store(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Output(e)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Store(e) => e.fmt(f),
            Failure::Output(e) => write!(f, "standard output: {e}"),
            Failure::Usage(text) => f.write_str(text),
        }
    }
}

/// Does the command; `false` is a plain no.
fn run(options: Options) -> Result<bool, Failure> {
    let store = match &options.socket {
        Some(path) => Store::connect_to(path)?,
        None => Store::connect()?,
    };
    let mut out = io::stdout().lock();
    match options.command {
        Command::Ls { full, perms, path } => {
            list_tree(&store, &mut out, &path, 0, full, perms)?;
        }
        Command::Read {
            with_path,
            raw,
            paths,
        } => {
            for path in paths {
                let value = store.read_bytes(&path)?;
                if with_path {
                    write!(out, "{path}: ")?;
                }
                if raw {
                    out.write_all(&value)?
                } else {
                    writeln!(out, "{}", escape(&value))?
                }
            }
        }
        Command::Write { escaped, pairs } => {
            let (pairs, []) = pairs.as_chunks::<2>() else {
                return Err(Failure::Usage(
                    "write: a value is missing for the last path".to_owned(),
                ));
            };
            let values = pairs.iter().map(|[path, value]| {
                let value = if escaped {
                    unescape(value)
                } else {
                    Ok(value.clone().into_bytes())
                };
                value.map(|value| (path, value)).map_err(Failure::Usage)
            });
            let values = values.collect::<Result<Vec<_>, _>>()?;
            store.transaction(|t| {
                values
                    .iter()
                    .try_for_each(|(path, value)| t.write(path, value))
            })?;
        }
        Command::Rm { tidy, paths } => {
            store.transaction(|t| paths.iter().try_for_each(|path| remove(t, path, tidy)))?;
        }
        Command::List { with_path, paths } => {
            for path in paths {
                for name in store.list(&path)? {
                    let name = if with_path {
                        rexen_xenstore::path::child(&path, &name)
                    } else {
                        name
                    };
                    writeln!(out, "{name}")?;
                }
            }
        }
        Command::Exists { paths } => {
            for path in paths {
                if !store.exists(&path)? {
                    return Ok(false);
                }
            }
        }
        Command::Chmod {
            recursive,
            upwards,
            path,
            entries,
        } => {
            let parse = |e: &String| {
                Perm::parse(e.as_bytes()).map_err(|_| {
                    Failure::Usage(format!(
                        "{e:?} is no permission: write n, r, w or b and a domain id, as in r7"
                    ))
                })
            };
            let entries = entries.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
            let perms = Perms::from_entries(&entries).map_err(|e| Failure::Usage(e.to_string()))?;
            store.transaction(|t| change_perms(t, &path, &perms, recursive, upwards))?;
        }
        Command::Watch { n, paths } => watch(&store, &mut out, n, &paths)?,
        Command::Control { words } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            writeln!(out, "{}", store.control(&words)?.trim_end())?;
        }
    }
    out.flush()?;
    Ok(true)
}

fn list_tree(
    store: &Store,
    out: &mut impl Write,
    path: &str,
    level: usize,
    full: bool,
    with_perms: bool,
) -> Result<(), Failure> {
    for name in store.list(path)? {
        let child = rexen_xenstore::path::child(path, &name);
        // It may go while we look, as all of them may.
        let value = match store.read_bytes(&child) {
            Err(e) if e.is_missing() => continue,
            other => other?,
        };
        let label = if full {
            child.clone()
        } else {
            format!("{}{name}", " ".repeat(level))
        };
        let mut line = format!("{label} = \"{}\"", escape(&value));
        if with_perms && let Ok(perms) = store.perms(&child) {
            // As Debian's clients print it: dots in odd columns up to 60, but none behind whole paths.
            while !full && line.len() < 60 {
                line.push(if line.len() % 2 == 1 && line.ends_with(' ') {
                    '.'
                } else {
                    ' '
                });
            }
            line += &format!("{}({perms})", if full { "   " } else { "  " });
        }
        writeln!(out, "{line}")?;
        match list_tree(store, out, &child, level + 1, full, with_perms) {
            Err(Failure::Store(e)) if e.is_missing() => {}
            other => other?,
        }
    }
    Ok(())
}

fn remove(view: &View<'_>, path: &str, tidy: bool) -> Result<(), Error> {
    // Unlike the store we tell the user that there was nothing.
    view.read_bytes(path)?;
    view.remove(path)?;
    let mut parent = rexen_xenstore::path::parent(path);
    while tidy
        && parent != "/"
        && view.list(parent)?.is_empty()
        && view.read_bytes(parent)?.is_empty()
    {
        view.remove(parent)?;
        parent = rexen_xenstore::path::parent(parent);
    }
    Ok(())
}

fn change_perms(
    view: &View<'_>,
    path: &str,
    perms: &Perms,
    below: bool,
    above: bool,
) -> Result<(), Error> {
    view.set_perms(path, perms)?;
    if below {
        for name in view.list(path)? {
            change_perms(
                view,
                &rexen_xenstore::path::child(path, &name),
                perms,
                true,
                false,
            )?;
        }
    }
    let mut parent = rexen_xenstore::path::parent(path);
    while above && parent != "/" {
        view.set_perms(parent, perms)?;
        parent = rexen_xenstore::path::parent(parent);
    }
    Ok(())
}

fn watch(
    store: &Store,
    out: &mut impl Write,
    n: Option<u64>,
    paths: &[String],
) -> Result<(), Failure> {
    let (sender, receiver) = std::sync::mpsc::channel();
    for path in paths {
        let (watch, sender) = (store.watch(path)?, sender.clone());
        std::thread::spawn(move || watch.into_iter().try_for_each(|event| sender.send(event)));
    }
    drop(sender);
    let mut nr = 0;
    while n.is_none_or(|n| nr < n) {
        let Ok(event) = receiver.recv() else { break };
        writeln!(out, "{}", event.path)?;
        out.flush()?;
        nr += 1;
    }
    Ok(())
}

/// A value as one line of text; bytes that are no printable ASCII are escaped.
fn escape(value: &[u8]) -> String {
    let mut text = String::new();
    for byte in value {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text += &format!("\\{byte:03o}"),
        }
    }
    text
}

/// The bytes that [`escape`] made a text of; also `\x1f`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (value, used) =
            escaped(&rest[at + 1..]).ok_or_else(|| format!("{text:?}: an unknown escape"))?;
        bytes.push(value);
        rest = &rest[at + 1 + used..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// What follows a backslash: its byte, and how many characters it took.
fn escaped(rest: &str) -> Option<(u8, usize)> {
    let digits = |text: &str, most: usize, radix: u32| {
        let len = text
            .chars()
            .take(most)
            .take_while(|c| c.is_digit(radix))
            .count();
        u8::from_str_radix(text.get(..len)?, radix)
            .ok()
            .map(|value| (value, len))
    };
    match rest.chars().next()? {
        'n' => Some((b'\n', 1)),
        'r' => Some((b'\r', 1)),
        't' => Some((b'\t', 1)),
        '\\' => Some((b'\\', 1)),
        '"' => Some((b'"', 1)),
        'x' => digits(&rest[1..], 2, 16).map(|(value, len)| (value, len + 1)),
        _ => digits(rest, 3, 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)).unwrap(), all);
        assert_eq!(escape(b"a\"\n\x01"), "a\"\\n\\001");
        assert_eq!(unescape("\\x1f\\7").unwrap(), [0x1f, 7]);
        assert!(unescape("\\q").is_err() && unescape("\\").is_err() && unescape("\\777").is_err());
    }

    #[test]
    fn the_program_is_named_after_its_commands() {
        let args = |words: &[&str]| arguments(words.iter().map(OsString::from).collect());
        assert_eq!(
            args(&["/usr/bin/xenstore-read", "/a"]),
            ["/usr/bin/xenstore-read", "read", "/a"]
        );
        assert_eq!(args(&["xenstore", "ls"]), ["xenstore", "ls"]);
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
