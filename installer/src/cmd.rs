//! Commands of the host: printed before they run, so that every step can be repeated by hand.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// A command line that knows how to print itself.
#[derive(Clone, Debug)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, Option<OsString>)>,
    dir: Option<PathBuf>,
}

impl Cmd {
    /// A command without arguments; `program` is looked up in PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
        }
    }

    /// Appends one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Appends arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes an inherited environment variable.
    pub fn without_env(mut self, name: &str) -> Self {
        self.env.push((name.to_owned(), None));
        self
    }

    /// Runs in `dir`.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The command as a shell line.
    pub fn shell_line(&self) -> String {
        let mut words = Vec::new();
        for (name, value) in &self.env {
            if let Some(value) = value {
                words.push(format!("{name}={}", quote(value)));
            }
        }
        words.push(quote(&self.program));
        words.extend(self.args.iter().map(|a| quote(a)));
        words.join(" ")
    }

    /// The `std` command, for callers which need its pipes.
    pub fn to_std(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Prints the command and runs it; its output goes where ours goes (to stderr).
    ///
    /// # Errors
    /// The program is not there, or it exits non-zero.
    pub fn run(&self) -> Result<()> {
        crate::ui::command(&self.shell_line());
        let status = self
            .to_std()
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .map_err(|e| self.not_started(&e))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(format!(
            "{} failed ({status})",
            self.program.to_string_lossy()
        ))
        .because("its own message is above"))
    }

    /// Runs the command quietly and returns what it wrote to stdout.
    ///
    /// # Errors
    /// The program is not there, or it exits non-zero; the cause is then its stderr.
    pub fn output(&self) -> Result<String> {
        let out = self
            .to_std()
            .stdin(Stdio::null())
            .output()
            .map_err(|e| self.not_started(&e))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        Err(
            Error::new(format!("`{}` failed ({})", self.shell_line(), out.status))
                .because(String::from_utf8_lossy(&out.stderr).trim()),
        )
    }

    fn not_started(&self, cause: &std::io::Error) -> Error {
        Error::new(format!("cannot start {}", self.program.to_string_lossy())).because(cause)
    }
}

/// Quotes a word for a POSIX shell, when it needs it.
fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    if word.contains('\x1f') {
        // CARGO_ENCODED_RUSTFLAGS: a shell can only write the separator as $'\x1f'.
        return format!("$'{}'", word.replace('\x1f', "\\x1f"));
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_command_can_be_pasted_into_a_shell() {
        let cmd = Cmd::new("echo")
            .arg("it's")
            .arg("a b")
            .arg("plain-1.0")
            .env("X", "y z");
        assert_eq!(cmd.shell_line(), r"X='y z' echo 'it'\''s' 'a b' plain-1.0");
        let out = Cmd::new("sh")
            .arg("-c")
            .arg(cmd.shell_line())
            .output()
            .unwrap();
        assert_eq!(out, "it's a b plain-1.0\n");
    }

    #[test]
    fn failure_carries_the_programs_own_words() {
        let err = Cmd::new("sh")
            .args(["-c", "echo broken >&2; exit 3"])
            .output()
            .unwrap_err();
        assert_eq!(err.cause.as_deref(), Some("broken"));
    }
}
