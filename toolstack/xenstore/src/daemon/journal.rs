//! The file that lets a killed daemon go on: a snapshot, and after it every change since.
//!
//! What a round changed is appended as one batch before any reply that depends on it is sent: what a client has seen is
//! in the file, and a kill in the middle of the write leaves nothing of the round. Nothing is synced to a disk: the state is about domains that run now, and neither they nor it outlive the
//! host; what must be survived is the death of this process, which leaves the page cache (or `/run`'s tmpfs) whole. A
//! file of another boot is recognised by the kernel's boot id and ignored.
//!
//! When the file has grown much beyond its snapshot, a new snapshot is written beside it and renamed over it. If the
//! disk is full the daemon goes on without, says so, and tries again: guests that work are worth more than a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::record::{Batch, Damage, Record};

/// The start of the file, before the boot id.
const MAGIC: &[u8] = b"rexen xenstored 1 ";
/// Below this size the file is not rewritten.
const COMPACT_FROM: u64 = 1 << 20;

/// Takes one record of a snapshot.
pub type Emit<'a> = dyn FnMut(&Record) + 'a;

/// The open file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    boot_id: String,
    file: Option<File>,
    waiting: Batch,
    len: u64,
    snapshot_len: u64,
    /// Why the file is behind, if it is.
    failed: Option<String>,
}

/// What a file held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Its records; none if there was no file of this boot.
    pub records: Vec<Record>,
    /// Bytes at the end that belong to a batch that was never completed.
    pub torn: usize,
}

/// The running kernel's boot id.
///
/// # Errors
/// `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

impl Journal {
    /// Reads the file, if it is of this boot. Call [`Journal::rewrite`] before the first [`Journal::commit`].
    ///
    /// # Errors
    /// The file cannot be read, or holds what this program did not write.
    pub fn open(path: &Path, boot_id: &str) -> io::Result<(Journal, Loaded)> {
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let journal = Journal {
            path: path.to_owned(),
            boot_id: boot_id.to_owned(),
            file: None,
            waiting: Batch::default(),
            len: 0,
            snapshot_len: 0,
            failed: None,
        };
        let loaded = parse(&bytes, &journal.header())?;
        Ok((journal, loaded))
    }

    fn header(&self) -> Vec<u8> {
        [MAGIC, self.boot_id.as_bytes(), b"\n"].concat()
    }

    /// Adds a record to what the next commit writes.
    pub fn push(&mut self, record: &Record) {
        self.waiting.push(record);
    }

    /// Whether something waits to be committed.
    pub fn is_dirty(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Why the file is behind the store, if it is.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The file's size in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.len
    }

    /// Writes what waits. Returns whether the file should be rewritten: it is long, or it is behind.
    pub fn commit(&mut self) -> bool {
        if self.failed.is_none() && !self.waiting.is_empty() {
            let bytes = self.waiting.sealed();
            let written = match &mut self.file {
                Some(file) => file.write_all(bytes),
                None => Err(io::Error::other("it was never written")),
            };
            match written {
                Ok(()) => self.len += bytes.len() as u64,
                Err(e) => self.fail(&e),
            }
        }
        self.waiting.clear();
        self.failed.is_some() || self.len > COMPACT_FROM.max(4 * self.snapshot_len)
    }

    fn fail(&mut self, error: &io::Error) {
        // Half a batch may have gone out; it must not stand before whole ones.
        if let Some(file) = &self.file {
            let _ = file.set_len(self.len);
        }
        self.failed = Some(format!("{}: {error}", self.path.display()));
    }

    /// Replaces the file by one with just these records.
    ///
    /// # Errors
    /// It cannot be written; the old file stays.
    pub fn rewrite(&mut self, records: &mut dyn FnMut(&mut Emit<'_>)) -> io::Result<()> {
        let mut snapshot = Batch::default();
        records(&mut |record| snapshot.push(record));
        let bytes = [&self.header(), snapshot.sealed()].concat();
        let beside = self.path.with_extension("new");
        let written = (|| {
            let mut options = OpenOptions::new();
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options
                .create(true)
                .write(true)
                .truncate(true)
                .open(&beside)?;
            file.write_all(&bytes)?;
            fs::rename(&beside, &self.path)?;
            OpenOptions::new().append(true).open(&self.path)
        })();
        match written {
            Ok(file) => {
                self.file = Some(file);
                self.len = bytes.len() as u64;
                self.snapshot_len = self.len;
                self.failed = None;
                self.waiting.clear();
                Ok(())
            }
            Err(e) => {
                let _ = fs::remove_file(&beside);
                self.failed = Some(format!("{}: {e}", self.path.display()));
                Err(e)
            }
        }
    }
}

fn parse(bytes: &[u8], header: &[u8]) -> io::Result<Loaded> {
    let foreign = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if bytes.is_empty() {
        return Ok(Loaded::default());
    }
    if !bytes.starts_with(MAGIC) {
        return Err(foreign(
            "this is not a state file of xenstored; remove it or name another with --state",
        ));
    }
    let Some(mut rest) = bytes.strip_prefix(header) else {
        return Ok(Loaded::default());
    };
    let mut loaded = Loaded::default();
    while !rest.is_empty() {
        match Batch::read(rest) {
            Ok((mut records, len)) => {
                loaded.records.append(&mut records);
                rest = &rest[len..];
            }
            Err(Damage::Torn) => {
                loaded.torn = rest.len();
                break;
            }
            Err(Damage::Foreign) => {
                return Err(foreign(
                    "another version of xenstored wrote this state; reboot the host to change versions",
                ));
            }
        }
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing::TempDir;

    fn record(domid: u16) -> Record {
        Record::Restarted { domid }
    }

    fn write(path: &Path, records: &[Record]) -> Journal {
        let mut journal = Journal::open(path, "boot-1").unwrap().0;
        journal
            .rewrite(&mut |emit| records.iter().for_each(&mut *emit))
            .unwrap();
        journal
    }

    #[test]
    fn what_was_committed_is_read_again() {
        let dir = TempDir::new();
        let path = dir.path().join("state");
        let mut journal = write(&path, &[record(1)]);
        journal.push(&record(2));
        assert!(journal.is_dirty());
        assert!(!journal.commit());
        journal.push(&record(3));
        drop(journal);
        let loaded = Journal::open(&path, "boot-1").unwrap().1;
        assert_eq!(
            loaded,
            Loaded {
                records: vec![record(1), record(2)],
                torn: 0
            }
        );
    }

    #[test]
    fn a_torn_commit_is_dropped_as_a_whole_wherever_it_is_cut() {
        let dir = TempDir::new();
        let path = dir.path().join("state");
        let mut journal = write(&path, &[record(1)]);
        let whole = journal.file_bytes() as usize;
        journal.push(&record(2));
        journal.push(&record(3));
        journal.commit();
        let bytes = fs::read(&path).unwrap();
        for cut in whole..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let loaded = Journal::open(&path, "boot-1").unwrap().1;
            assert_eq!(
                loaded,
                Loaded {
                    records: vec![record(1)],
                    torn: cut - whole
                }
            );
        }
    }

    #[test]
    fn a_file_of_another_boot_is_ignored_and_a_foreign_one_refused() {
        let dir = TempDir::new();
        let path = dir.path().join("state");
        write(&path, &[record(1)]);
        assert_eq!(Journal::open(&path, "boot-2").unwrap().1, Loaded::default());
        fs::write(&path, b"precious notes").unwrap();
        assert!(
            Journal::open(&path, "boot-1")
                .unwrap_err()
                .to_string()
                .contains("--state")
        );
        assert_eq!(fs::read(&path).unwrap(), b"precious notes");
    }

    #[test]
    fn a_long_file_asks_to_be_rewritten() {
        let dir = TempDir::new();
        let path = dir.path().join("state");
        let mut journal = write(&path, &[]);
        let big = Record::Input {
            domid: 1,
            cons: 0,
            partial: vec![0; 4000],
        };
        let mut commits = 0;
        loop {
            journal.push(&big);
            commits += 1;
            if journal.commit() {
                break;
            }
        }
        assert!((250..300).contains(&commits));
        journal.rewrite(&mut |emit| emit(&record(1))).unwrap();
        assert!(!journal.commit());
    }

    #[test]
    fn a_disk_that_refuses_is_reported_and_tried_again() {
        let dir = TempDir::new();
        let path = dir.path().join("state");
        let mut journal = write(&path, &[record(1)]);
        // A folder in the place of the new file makes every rewrite fail.
        fs::create_dir(path.with_extension("new")).unwrap();
        assert!(journal.rewrite(&mut |_| {}).is_err());
        assert!(journal.failure().is_some_and(|text| text.contains("state")));
        journal.push(&record(2));
        assert!(journal.commit(), "asks for a rewrite");
        fs::remove_dir(path.with_extension("new")).unwrap();
        journal.rewrite(&mut |emit| emit(&record(2))).unwrap();
        assert_eq!(journal.failure(), None);
        assert_eq!(
            Journal::open(&path, "boot-1").unwrap().1.records,
            [record(2)]
        );
    }
}
