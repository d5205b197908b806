//! What is under way, on disk: one file per domain, written before each step.
//!
//! A file names the operation, its steps, the one that may be half done, and what the steps before it found out. It is written
//! beside and renamed, and removed when the operation is over; so what is in the folder when xend starts was cut off. Nothing is
//! synced: a daemon that is killed loses nothing it wrote, and what a power cut tears is of domains that it ended, too.

use std::collections::BTreeMap;

use rexen_config::sxp::Sexp;
use serde::{Deserialize, Serialize};

use crate::blueprint::Blueprint;
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::world::{Built, DomId, Host};

/// What steps find out: everything that is not known before it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The domain's number.
    pub domid: Option<DomId>,
    /// A number it should have, when that is free.
    pub want: Option<DomId>,
    /// What the builder made.
    pub built: Built,
    /// Block devices by number of the disk: chosen before a script is run, and what the script said after.
    pub nodes: BTreeMap<u32, String>,
    /// TCP port of the console.
    pub tcp_port: Option<u16>,
    /// When the domain was made, in seconds since 1970.
    pub start_time: u64,
}

/// How an operation that is cut off ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// What is done is undone.
    Back,
    /// What is not done is done.
    Forward,
}

/// An operation under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its name, such as `create`.
    pub name: String,
    /// How it ends when cut off.
    pub ending: Ending,
    /// Its steps.
    pub steps: Vec<Step>,
    /// The step that may be half done.
    pub at: usize,
    /// Whether steps are being undone.
    pub undoing: bool,
    /// What the domain is to be.
    pub blueprint: Blueprint,
    /// What is known.
    pub facts: Facts,
    /// What a step that writes the record puts there.
    pub restart: Restart,
    /// The domain is to be made again: where its record would be removed, it is marked so.
    pub again: bool,
}

/// The restart part of a domain's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The domain ended and is to be made again.
    pub pending: bool,
    /// Restarts in quick succession.
    pub attempts: u32,
    /// When it was last started again, in seconds since 1970; 0 for never.
    pub last: u64,
}

/// A domain's record: what xend knows beyond what Xen and the store know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it was made from.
    pub blueprint: Blueprint,
    /// What was found out.
    pub facts: Facts,
    /// Whether it is to be made again.
    pub restart: Restart,
}

/// The folder with journals and records.
#[derive(Clone, Debug)]
pub struct Archive {
    root: String,
}

impl Archive {
    /// An archive below a folder.
    pub fn new(root: impl Into<String>) -> Self {
        Self { root: root.into() }
    }

    /// Forgets everything, where the host was booted since it was written: its domains are no more.
    ///
    /// # Errors
    /// The folders cannot be read, or a file cannot be removed or written.
    pub fn begin(&self, host: &dyn Host) -> Result<()> {
        let (path, boot) = (format!("{}/boot", self.root), host.boot_id()?);
        if host.load(&path)?.is_some_and(|written| written == boot) {
            return Ok(());
        }
        for folder in ["journal", "domain"].map(|name| format!("{}/{name}", self.root)) {
            for name in host.names(&folder)? {
                host.remove(&format!("{folder}/{name}"))?;
            }
        }
        host.save(&path, &boot)
    }

    fn journal_path(&self, blueprint: &Blueprint) -> String {
        format!("{}/journal/{}", self.root, blueprint.uuid)
    }

    fn record_path(&self, domid: DomId) -> String {
        format!("{}/domain/{domid}", self.root)
    }

    /// Writes an operation's state.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, host: &dyn Host, operation: &Operation) -> Result<()> {
        let text = serde_json::to_string(operation).map_err(|e| Error::failed(e.to_string()))?;
        host.save(&self.journal_path(&operation.blueprint), &text)
            .map_err(|e| e.during("write the journal"))
    }

    /// Removes an operation that is over.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn close(&self, host: &dyn Host, operation: &Operation) -> Result<()> {
        host.remove(&self.journal_path(&operation.blueprint))
            .map_err(|e| e.during("remove the journal"))
    }

    /// All operations that were cut off; files that cannot be read are named in the second list.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn cut_off(&self, host: &dyn Host) -> Result<(Vec<Operation>, Vec<String>)> {
        let (mut operations, mut broken) = (Vec::new(), Vec::new());
        let folder = format!("{}/journal", self.root);
        for name in host.names(&folder)? {
            let path = format!("{folder}/{name}");
            match host
                .load(&path)?
                .as_deref()
                .map(serde_json::from_str::<Operation>)
            {
                Some(Ok(operation)) => operations.push(operation),
                Some(Err(error)) => broken.push(format!("{path}: {error}")),
                None => {}
            }
        }
        Ok((operations, broken))
    }

    /// Writes a domain's record.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record(&self, host: &dyn Host, domid: DomId, record: &Record) -> Result<()> {
        let json = serde_json::to_string(record).map_err(|e| Error::failed(e.to_string()))?;
        let path = self.record_path(domid);
        let sxp = Sexp::element(
            "domain",
            [
                Sexp::pair("id", domid),
                Sexp::pair("name", &record.blueprint.spec.name),
                Sexp::pair("start_time", record.facts.start_time),
                Sexp::element("config", [record.blueprint.spec.to_sxp()]),
                Sexp::pair("record", json),
            ],
        );
        let text = format!("# {path} {}\n{sxp}\n", host.now() as u64);
        host.save(&path, &text)
            .map_err(|e| e.during(format!("write the record of domain {domid}")))
    }

    /// Removes a domain's record.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(&self, host: &dyn Host, domid: DomId) -> Result<()> {
        host.remove(&self.record_path(domid))
    }

    /// All records by number; files that cannot be read are named in the second list.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn records(&self, host: &dyn Host) -> Result<(BTreeMap<DomId, Record>, Vec<String>)> {
        let (mut records, mut broken) = (BTreeMap::new(), Vec::new());
        let folder = format!("{}/domain", self.root);
        for name in host.names(&folder)? {
            let path = format!("{folder}/{name}");
            let Some(text) = host.load(&path)? else {
                continue;
            };
            match (name.parse(), parse_record(&text)) {
                (Ok(domid), Ok(record)) => {
                    records.insert(domid, record);
                }
                (_, Err(problem)) => broken.push(format!("{path}: {problem}")),
                (Err(_), _) => {
                    broken.push(format!("{path}: the name of a record is a domain's number"))
                }
            }
        }
        Ok((records, broken))
    }
}

fn parse_record(text: &str) -> std::result::Result<Record, String> {
    let sxp = rexen_config::sxp::parse_one(text).map_err(|e| e.to_string())?;
    let json = sxp
        .child_value("record")
        .ok_or("the (record ...) is missing")?;
    serde_json::from_str(json).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Machine;

    #[test]
    fn what_was_written_before_the_host_was_booted_is_forgotten() {
        let machine = Machine::new();
        let host = &*machine.world().host;
        let archive = Archive::new("/db");
        let torn = ["/db/journal/torn", "/db/domain/3"];
        let write = || torn.iter().for_each(|path| host.save(path, "{").unwrap());
        let left = || torn.map(|path| host.load(path).unwrap().is_some());
        write();
        archive.begin(host).unwrap();
        assert_eq!(left(), [false; 2]);
        write();
        archive.begin(host).unwrap();
        assert_eq!(left(), [true; 2]);
        host.save("/db/boot", "the boot before").unwrap();
        archive.begin(host).unwrap();
        assert_eq!(left(), [false; 2]);
    }
}
