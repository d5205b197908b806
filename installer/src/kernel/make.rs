//! Runs the kernel's make: in an environment of its own, with a log and a progress bar, and so that it can be stopped.
//!
//! make gets a process group (to end it whole) and, as its standard input, the lock file of the object tree: an
//! flock lives as long as somebody has the file open, so that even after a SIGKILL of ours nobody builds in a tree
//! in which an orphaned make still does.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::mark::Mark;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::interrupt::{self, Catch};
use crate::ui::{self, Progress};

/// What would enter the kernel from the time, the user and the host, set to constants. Any date would do; it is the
/// one in `/proc/version`.
const CONSTANTS: [(&str, &str); 7] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
    ("KBUILD_BUILD_USER", "build"),
    ("KBUILD_BUILD_HOST", "build"),
    ("KBUILD_BUILD_VERSION", "1"), // else it counts the builds in this object tree
    ("SOURCE_DATE_EPOCH", "1767225600"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
];
/// What make and ccache need of the user's environment; nothing else of it gets through.
const INHERITED: [&str; 5] = ["PATH", "HOME", "TMPDIR", "CCACHE_DIR", "XDG_CACHE_HOME"];
/// Where depmod is, which is not in everybody's PATH.
const SBIN: &str = ":/usr/sbin:/sbin";
/// How many lines of make's output are kept for an error message.
const TAIL: usize = 400;
/// How many of them are shown.
const SHOWN: usize = 12;

/// How to call make for one object tree.
#[derive(Debug)]
pub struct Make<'a> {
    /// What messages call it: `kernel xen0`.
    pub name: String,
    /// The source tree.
    pub tree: &'a Path,
    /// The object tree.
    pub objects: &'a Path,
    /// Where all output goes.
    pub log: &'a Path,
    /// The file that says that make is at work (see [`Mark`]).
    pub mark: PathBuf,
    /// The lock that whoever works in the object tree holds.
    pub lock: &'a File,
    /// More for the environment.
    pub env: &'a [(String, String)],
    /// Words before the command: a program that runs it.
    pub prefix: &'a [String],
    /// Whether to compile through ccache.
    pub ccache: bool,
}

impl Make<'_> {
    /// The command that makes `targets`.
    pub fn command(&self, targets: &[&str]) -> Cmd {
        let mut words: Vec<String> = self.prefix.to_vec();
        words.extend(["env".to_owned(), "-i".to_owned()]);
        for name in INHERITED {
            if let Ok(value) = std::env::var(name) {
                let more = if name == "PATH" { SBIN } else { "" };
                words.push(format!("{name}={value}{more}"));
            }
        }
        words.extend(
            CONSTANTS
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        words.extend(
            self.env
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        words.push("make".to_owned());
        words.push("-C".to_owned());
        words.push(self.tree.display().to_string());
        words.push(format!("O={}", self.objects.display()));
        words.push("ARCH=x86_64".to_owned());
        // Set, though empty: else a tree within a git repository gets a `+` at the end of its release.
        words.push("LOCALVERSION=".to_owned());
        if self.ccache {
            words.push("CC=ccache gcc".to_owned());
            words.push("HOSTCC=ccache gcc".to_owned());
        }
        words.extend(targets.iter().map(|&t| t.to_owned()));
        let program = words.remove(0);
        Cmd::new(program).args(words)
    }

    /// Makes `targets`; returns how many steps make announced.
    ///
    /// # Errors
    /// make fails: the message has the place and the last lines. Or somebody interrupts: make has then ended, too.
    pub fn run(
        &self,
        targets: &[&str],
        progress: Option<Progress>,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64> {
        let command = self.command(targets);
        ui::command(&command.shell_line());
        let catch = Catch::start();
        let stopped = || catch.caught() || stop();
        let mark = Mark::set(&self.mark, self.objects)?;
        let (mut child, lines) = self.start(&command)?;
        let mut log = Log::open(self.log, &command.shell_line());
        let ended = follow(&child, &lines, &mut log, progress, &stopped);
        let status = child
            .wait()
            .map_err(|e| Error::new("lost make").because(e))?;
        mark.clear()?;
        match ended {
            End::Stopped => Err(interrupt::interrupted(&self.name)),
            End::Done(steps) if status.success() => Ok(steps),
            End::Done(_) => Err(self.explain(&log.tail)),
        }
    }

    fn start(&self, command: &Cmd) -> Result<(Child, Receiver<String>)> {
        let cannot =
            |e: std::io::Error| Error::new(format!("{}: cannot start make", self.name)).because(e);
        let (reader, writer) = std::io::pipe().map_err(cannot)?;
        // The command must go out of scope with its ends of the pipe, or the pipe never ends.
        let child = command
            .to_std()
            .process_group(0)
            .stdin(Stdio::from(self.lock.try_clone().map_err(cannot)?))
            .stdout(writer.try_clone().map_err(cannot)?)
            .stderr(writer)
            .spawn()
            .map_err(cannot)?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader)
                .split(b'\n')
                .map_while(std::io::Result::ok)
            {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
        Ok((child, lines))
    }

    /// The error that make's last lines tell of.
    fn explain(&self, tail: &VecDeque<String>) -> Error {
        let log = format!("the whole log is {}", self.log.display());
        let find = |what: &str| tail.iter().find(|l| l.contains(what)).cloned();
        if let Some(line) = find("No space left on device") {
            return Error::new(format!("{}: the disk is full", self.name))
                .because(line)
                .remedy(format!(
                    "make room in {} (a kernel's objects take up to 500 MB, its source 1.6 GB); the next run goes on\n{log}",
                    self.objects.display()
                ));
        }
        let place = tail.iter().find_map(|l| failed_target(l));
        let what = match place {
            Some(target) => format!("{}: cannot make {target}", self.name),
            None => format!("{}: make failed", self.name),
        };
        let is_error = |l: &&String| l.contains("error:") || l.contains("undefined reference");
        let mut shown: Vec<&str> = tail.iter().filter(is_error).map(String::as_str).collect();
        shown.truncate(SHOWN);
        if shown.is_empty() {
            let from = tail.len().saturating_sub(SHOWN);
            shown = tail.iter().skip(from).map(String::as_str).collect();
        }
        Error::new(what).because(shown.join("\n")).remedy(log)
    }
}

enum End {
    Done(u64),
    Stopped,
}

/// Reads until make and all its children are gone.
fn follow(
    child: &Child,
    lines: &Receiver<String>,
    log: &mut Log,
    mut progress: Option<Progress>,
    stopped: &dyn Fn() -> bool,
) -> End {
    let mut steps = 0;
    let mut is_stopping = false;
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                if let Some(what) = step(&line) {
                    steps += 1;
                    if let Some(progress) = &mut progress {
                        progress.step(what);
                    }
                }
                log.line(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if !is_stopping && stopped() {
            is_stopping = true;
            end_group(child);
        }
    }
    if let Some(progress) = progress {
        progress.end();
    }
    match is_stopping {
        true => End::Stopped,
        false => End::Done(steps),
    }
}

/// SIGTERM to make and all below it: make removes what it had half made, and goes.
fn end_group(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself just now.
        let _ = kill_process_group(pid, Signal::TERM);
    }
}

/// What kbuild announces as `  CC [M]  fs/file.o`.
pub fn step(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  ")?;
    let (verb, of) = rest.split_once(' ')?;
    let is_verb = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '+';
    let named = !of.trim().is_empty();
    (verb.starts_with(|c: char| c.is_ascii_uppercase()) && verb.chars().all(is_verb) && named)
        .then(|| rest.trim_end())
}

/// The target in `make[3]: *** [scripts/Makefile.build:250: fs/file.o] Error 1`, with its folder as make has it.
fn failed_target(line: &str) -> Option<&str> {
    let (_, inside) = line.split_once("*** [")?;
    let (inside, _) = inside.split_once(']')?;
    Some(inside.rsplit(": ").next().unwrap_or(inside))
}

/// The source files that compiler messages in a text blame: `/src/fs/file.c:12:3: error: ...`.
pub fn blamed(text: &str, tree: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in text.lines() {
        let Some((path, rest)) = line.trim().split_once(':') else {
            continue;
        };
        let path = Path::new(path);
        let path = path.strip_prefix(tree).unwrap_or(path).to_owned();
        if rest.starts_with(|c: char| c.is_ascii_digit()) && !files.contains(&path) {
            files.push(path);
        }
    }
    files
}

/// All output, in a file and the last of it in memory, for when the disk is full.
struct Log {
    file: Option<File>,
    tail: VecDeque<String>,
}

impl Log {
    fn open(path: &Path, command: &str) -> Self {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let mut log = Self {
            file: file.ok(),
            tail: VecDeque::new(),
        };
        log.write(&format!("$ {command}"));
        log
    }

    fn line(&mut self, line: String) {
        self.write(&line);
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn write(&mut self, line: &str) {
        if let Some(file) = &mut self.file {
            // A log that cannot be written is no reason to stop; make will say it if the disk is full.
            let _ = writeln!(file, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_what_kbuild_announces_and_nothing_else() {
        assert_eq!(step("  CC      fs/inode.o"), Some("CC      fs/inode.o"));
        assert_eq!(step("  CC [M]  drivers/x.o"), Some("CC [M]  drivers/x.o"));
        assert_eq!(step("  LD_OBJ  a"), Some("LD_OBJ  a"));
        for other in [
            "make[1]: Entering directory '/x'",
            "#",
            "  ",
            "   12 |  int x;",
            "  note: see",
            "Kernel: arch/x86/boot/bzImage is ready  (#1)",
        ] {
            assert_eq!(step(other), None, "{other}");
        }
    }

    #[test]
    fn a_failure_names_its_target_and_source() {
        let line = "make[4]: *** [scripts/Makefile.build:250: drivers/xen/manage.o] Error 1";
        assert_eq!(failed_target(line), Some("drivers/xen/manage.o"));
        assert_eq!(
            failed_target("make: *** [Makefile:9: all] Error 2"),
            Some("all")
        );
        assert_eq!(failed_target("drivers/xen/manage.c:3: error"), None);
        let said = "/k/tree/fs/a.c:12:3: error: no\nin file\n/k/tree/fs/a.c:13:3: error: no\n";
        assert_eq!(blamed(said, Path::new("/k/tree")), [Path::new("fs/a.c")]);
    }
}
