//! A host in memory: hypervisor, store, block devices, scripts and files, with guests that boot at once.
//!
//! For `xend --simulate` on any laptop and for tests. `Machine` is what survives when xend dies: `cut_off_after` makes
//! every call after the n-th change fail as if xend had been killed there; `World`s made later see what it left behind.

mod guest;
mod host;
mod hypervisor;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::world::{Credit, DomId, Exit, World};

/// Memory of the simulated machine, in MiB.
pub const MEMORY_MIB: u64 = 4096;
/// Physical CPUs of the simulated machine.
pub const CPUS: u32 = 4;
const DOM0_MIB: u64 = 512;

/// A simulated domain.
#[derive(Debug, Default)]
struct SimDomain {
    uuid: [u8; 16],
    pauses: u32,
    exit: Option<Exit>,
    memory_kib: u64,
    max_kib: u64,
    vcpus: u32,
    online: u32,
    ports: u32,
    built: bool,
    booted: bool,
    cpu_time_ns: u64,
    affinity: BTreeMap<u32, Vec<u32>>,
    soft_affinity: BTreeMap<u32, Vec<u32>>,
    credit: Option<Credit>,
    console_out: VecDeque<u8>,
    console_in: VecDeque<u8>,
    line: String,
}

#[derive(Default)]
struct Inner {
    domains: BTreeMap<DomId, SimDomain>,
    next_domid: DomId,
    store: BTreeMap<String, String>,
    introduced: BTreeSet<DomId>,
    /// Loop devices in use: node → file.
    loops: BTreeMap<String, String>,
    /// Other nodes that scripts bound: node → words.
    bound: BTreeMap<String, String>,
    /// Interfaces that a script brought up.
    raised: BTreeSet<String>,
    files: BTreeMap<String, String>,
    missing_drivers: BTreeSet<String>,
    failing: BTreeSet<String>,
    dmesg: String,
    random: u64,
    /// Changes made, and after how many of them everything is cut off.
    changes: u64,
    fuse: Option<u64>,
    /// Counts what watchers may wait for.
    signals: u64,
}

/// The simulated machine.
#[derive(Default)]
pub struct Machine {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Machine {
    /// A machine that runs nothing but domain 0.
    pub fn new() -> Arc<Self> {
        let machine = Self::default();
        {
            let mut inner = machine.lock();
            let memory_kib = DOM0_MIB * 1024;
            let dom0 = SimDomain {
                memory_kib,
                max_kib: memory_kib,
                vcpus: 2,
                online: 2,
                built: true,
                booted: true,
                ..SimDomain::default()
            };
            inner.domains.insert(0, dom0);
            inner
                .store
                .insert("/local/domain/0/name".into(), "Domain-0".into());
            inner
                .store
                .insert("/local/domain/0/domid".into(), "0".into());
            inner.next_domid = 1;
            inner.dmesg = "(XEN) simulated machine\n".into();
        }
        Arc::new(machine)
    }

    /// The three faces of this machine.
    pub fn world(self: &Arc<Self>) -> World {
        World {
            hypervisor: Box::new(hypervisor::SimHypervisor(self.clone())),
            store: Box::new(store::SimStore(self.clone())),
            host: Box::new(host::SimHost(self.clone())),
        }
    }

    /// Lets `changes` more changes happen; then every call fails as if xend had been killed. `None` lets all happen.
    pub fn cut_off_after(&self, changes: Option<u64>) {
        let mut inner = self.lock();
        inner.fuse = changes.map(|more| inner.changes + more);
    }

    /// How many changes were made so far.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Lets every script or operation whose description contains this word fail.
    pub fn fail(&self, word: &str) {
        self.lock().failing.insert(word.to_owned());
    }

    /// Takes a backend driver (`vbd`, `vif`) away.
    pub fn unload_driver(&self, kind: &str) {
        self.lock().missing_drivers.insert(kind.to_owned());
    }

    /// Lets a guest end, as if by itself.
    pub fn exit(&self, domid: DomId, exit: Exit) {
        self.lock().exit(domid, exit);
        self.notify();
    }

    /// A domain that somebody else made, with a name in the store.
    pub fn make_foreign(&self, name: &str) -> DomId {
        let mut inner = self.lock();
        let domid = inner.free_domid(None);
        let domain = SimDomain {
            uuid: [7; 16],
            memory_kib: 65536,
            max_kib: 65536,
            vcpus: 1,
            online: 1,
            built: true,
            booted: true,
            ..SimDomain::default()
        };
        inner.domains.insert(domid, domain);
        inner
            .store
            .insert(format!("/local/domain/{domid}/name"), name.to_owned());
        domid
    }

    /// Everything that an operation could leave behind, as text to compare: domains, store, block devices, interfaces, files.
    pub fn leftovers(&self) -> String {
        let inner = self.lock();
        let mut text = String::new();
        for (domid, domain) in &inner.domains {
            text += &format!(
                "domain {domid}: {} KiB, {} ports, exit {:?}\n",
                domain.memory_kib, domain.ports, domain.exit
            );
        }
        for (path, value) in &inner.store {
            text += &format!("store {path} = {value}\n");
        }
        text += &format!(
            "introduced {:?}\nloops {:?}\nbound {:?}\n",
            inner.introduced, inner.loops, inner.bound
        );
        text += &format!(
            "raised {:?}\nfiles {:?}\n",
            inner.raised,
            inner.files.keys().collect::<Vec<_>>()
        );
        text
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.lock().signals += 1;
        self.changed.notify_all();
    }

    /// For reading: fails when xend is cut off.
    fn look(&self) -> Result<MutexGuard<'_, Inner>> {
        let inner = self.lock();
        match inner.fuse {
            Some(fuse) if inner.changes >= fuse => Err(killed()),
            _ => Ok(inner),
        }
    }

    /// For changing: counts, and fails when xend is cut off or told to fail here.
    fn change(&self, what: &str) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.look()?;
        inner.changes += 1;
        if let Some(word) = inner
            .failing
            .iter()
            .find(|word| what.contains(word.as_str()))
        {
            return Err(Error::failed(format!(
                "{what} fails, as the simulation was told ({word})"
            )));
        }
        Ok(inner)
    }
}

fn killed() -> Error {
    Error::new(Kind::Killed, "xend was killed")
}

impl Inner {
    fn domain(&mut self, domid: DomId) -> Result<&mut SimDomain> {
        self.domains
            .get_mut(&domid)
            .ok_or_else(|| Error::not_found(format!("no domain {domid} (ESRCH)")))
    }

    fn free_domid(&mut self, want: Option<DomId>) -> DomId {
        if let Some(want) = want.filter(|domid| !self.domains.contains_key(domid)) {
            return want;
        }
        while self.domains.contains_key(&self.next_domid) || self.next_domid == 0 {
            self.next_domid = (self.next_domid + 1) % 0x7ff0;
        }
        let domid = self.next_domid;
        self.next_domid = (domid + 1) % 0x7ff0;
        domid
    }

    fn free_mib(&self) -> u64 {
        MEMORY_MIB
            - self
                .domains
                .values()
                .map(|domain| domain.memory_kib)
                .sum::<u64>()
                / 1024
    }

    fn exit(&mut self, domid: DomId, exit: Exit) {
        if let Some(domain) = self.domains.get_mut(&domid) {
            domain.exit.get_or_insert(exit);
        }
    }
}
