//! What the user sees while steps run: plain lines, and a spinner where there is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Also print the steps that had nothing to do.
pub fn set_verbose(on: bool) {
    VERBOSE.store(on, Ordering::Relaxed);
}

/// A result, on stdout: what a script may want to read.
pub fn result(text: &str) {
    // Nobody may be listening any more (`| head`), which is no reason to panic, as println! would.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// An error or a part of one, on stderr and without indentation.
pub fn error(text: &str) {
    to_stderr(text);
}

fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Announces a step.
pub fn step(text: &str) {
    to_stderr(&format!("==> {text}"));
}

/// Prints a command before it runs.
pub fn command(line: &str) {
    to_stderr(&format!("    $ {line}"));
}

/// A remark the user should read.
pub fn note(text: &str) {
    to_stderr(&format!("    {text}"));
}

/// A remark for those who asked for more (`-v`).
pub fn detail(text: &str) {
    if VERBOSE.load(Ordering::Relaxed) {
        note(text);
    }
}

/// A long wait: a spinner with the latest line on a terminal, one plain line every ten seconds elsewhere.
pub struct Wait {
    bar: Option<ProgressBar>,
    started: Instant,
    said: Instant,
}

impl Wait {
    /// Starts waiting for `what`.
    pub fn start(what: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("    {spinner} {elapsed:>4} {prefix}: {wide_msg}");
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let now = Instant::now();
        Self {
            bar,
            started: now,
            said: now,
        }
    }

    /// The latest thing that happened.
    pub fn latest(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(line.to_owned()),
            None if self.said.elapsed() >= Duration::from_secs(10) => {
                self.said = Instant::now();
                to_stderr(&format!(
                    "    {:>3} s: {line}",
                    self.started.elapsed().as_secs()
                ));
            }
            None => {}
        }
    }

    /// Ends the wait and clears the spinner.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A long wait whose length is known: a bar on a terminal, one plain line every half a minute elsewhere.
pub struct Progress {
    bar: Option<ProgressBar>,
    done: u64,
    total: u64,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// Starts with `done` of `total` steps behind us.
    pub fn start(what: &str, done: u64, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "    {prefix} {elapsed:>4} [{bar:30}] {percent:>3}% {wide_msg}",
            );
            let bar = ProgressBar::new(total).with_position(done);
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        let now = Instant::now();
        Self {
            bar,
            done,
            total,
            started: now,
            said: now,
        }
    }

    /// One more step is done. There may be more than were expected: the bar then stays full.
    pub fn step(&mut self, line: &str) {
        self.done += 1;
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.done.min(self.total));
                bar.set_message(line.to_owned());
            }
            None if self.said.elapsed() >= Duration::from_secs(30) => {
                self.said = Instant::now();
                to_stderr(&format!(
                    "    {:>4} s: {:>3}%  {line}",
                    self.started.elapsed().as_secs(),
                    percent(self.done, self.total)
                ));
            }
            None => {}
        }
    }

    /// Ends the wait and clears the bar.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How much of `total` is done, at most 99: the estimate may be short, and the end is said by the end.
fn percent(done: u64, total: u64) -> u64 {
    (done * 100 / total.max(1)).min(99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_not_complete_before_the_end() {
        assert_eq!(percent(0, 10), 0);
        assert_eq!(percent(5, 10), 50);
        assert_eq!(percent(30, 10), 99);
        assert_eq!(percent(3, 0), 99);
    }
}
