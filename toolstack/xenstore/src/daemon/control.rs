//! Commands to the daemon itself (`xenstore-control`).

use std::fs;
use std::path::Path;

use super::platform::Platform;
use super::server::Server;
use crate::path as paths;
use crate::wire::Errno;

const HELP: &str = "\
check
help
live-update
log|[on|off]
logfile|<file>
memreport|[<file>]
print|<string>
quota|[set <name> <value>|<domid>]
";

impl<P: Platform> Server<P> {
    /// Carries out a command; the text is for the user.
    ///
    /// # Errors
    /// EINVAL: unknown command or wrong arguments. EIO: a file cannot be written.
    pub(super) fn control(&mut self, words: &[Vec<u8>]) -> Result<String, Errno> {
        let words: Vec<&str> = words
            .iter()
            .map(|w| str::from_utf8(w))
            .collect::<Result<_, _>>()
            .map_err(|_| Errno::EINVAL)?;
        match words[..] {
            ["help"] => Ok(HELP.to_owned()),
            ["check"] => Ok(self.check()),
            ["log"] => Ok(if self.log.requests { "on: every request is logged\n" } else { "off\n" }.to_owned()),
            ["log", "on"] => self.log_requests(true),
            ["log", "off"] => self.log_requests(false),
            ["logfile", path] => self.log.to_file(Path::new(path)).map(|()| "OK".to_owned()).map_err(|_| Errno::EIO),
            ["memreport"] => {
                let report = self.report();
                self.log.line(format_args!("memreport\n{report}"));
                Ok(report)
            }
            ["memreport", path] => fs::write(path, self.report()).map(|()| "OK".to_owned()).map_err(|_| Errno::EIO),
            ["print", ref rest @ ..] => {
                self.log.line(format_args!("{}", rest.join(" ")));
                Ok("OK".to_owned())
            }
            ["quota"] => {
                let entries = self.engine.limits().entries();
                Ok(entries.iter().map(|(name, value)| format!("{name}: {value}\n")).collect())
            }
            ["quota", "set", name, value] => {
                let value = paths::number(value.as_bytes())?;
                self.set_quota(name, value).ok_or(Errno::EINVAL)?;
                Ok("OK".to_owned())
            }
            ["quota", domid] => {
                let domid = paths::parse_domid(domid.as_bytes())?;
                Ok(format!("nodes: {}\n", self.engine.nr_owned(domid)))
            }
            ["live-update", ..] => Ok("live-update is not needed: stop this xenstored in any way and start the new \
                                       one; domains keep their connections, watches and transactions"
                .to_owned()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn log_requests(&mut self, on: bool) -> Result<String, Errno> {
        self.log.requests = on;
        Ok("OK".to_owned())
    }

    fn check(&self) -> String {
        let store = self.engine.check().map_or_else(
            |e| format!("WRONG: {e}\n"),
            |()| "store: consistent\n".to_owned(),
        );
        let journal = match self.journal.failure() {
            None => format!("state: saved, {} bytes\n", self.journal.file_bytes()),
            Some(why) => format!("state: NOT SAVED: {why}\n"),
        };
        store + &journal
    }

    fn report(&self) -> String {
        let mut text = self.engine.report();
        for link in self.links.values().filter(|l| !l.output.is_idle()) {
            let (bytes, events) = (link.output.size(), link.output.events().count());
            text += &format!(
                "domain {}: waiting bytes {bytes}, events {events}\n",
                link.role.domid
            );
        }
        text + &format!("state file {} bytes\n", self.journal.file_bytes())
    }
}
