//! A host in memory: hypervisor, store, block devices, scripts and files, with guests that boot at once.
//!
//! For `xend --simulate` on any laptop and for tests. `Machine` is what survives when xend dies: `cut_off_after` makes
//! every call after the n-th change fail as if xend had been killed there; `World`s made later see what it left behind.

mod guest;
mod host;
mod hypervisor;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::world::{Credit, DomId, Exit, World};

/// Memory of the simulated machine, in MiB.
pub const MEMORY_MIB: u64 = 4096;
/// Physical CPUs of the simulated machine.
pub const CPUS: u32 = 4;
const DOM0_MIB: u64 = 512;

/// A TCP port of this machine that nobody has, a different one each time, for a simulated guest's console.
///
/// # Panics
/// All 12,000 that it may give are taken.
pub fn free_port() -> u16 {
    // Below those that Linux gives to clients (32768 and up, ip_local_port_range): such a one is taken at any moment.
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(64);
    (0..COUNT)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
        .map(|number| (FIRST + number % COUNT) as u16)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// A simulated domain.
#[derive(Debug, Default)]
struct SimDomain {
    uuid: [u8; 16],
    pauses: u32,
    exit: Option<Exit>,
    /// Destroyed, but a backend still maps pages of it.
    dying: bool,
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
    clock_s: i64,
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
    /// Backends that have mapped pages which their guest granted, by their path in the store.
    grants: BTreeSet<String>,
    /// Console rings that are mapped.
    rings: u32,
    files: BTreeMap<String, String>,
    missing_drivers: BTreeSet<String>,
    failing: BTreeSet<String>,
    dmesg: String,
    random: u64,
    /// Changes made, and after how many of them everything is cut off.
    changes: u64,
    fuse: Option<u64>,
    /// What happens to all guests when so many changes were made.
    doom: Option<(u64, Doom)>,
    /// Counts what watchers may wait for.
    signals: u64,
}

/// How a guest's life ends behind xend's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// It ends by itself.
    Exit(Exit),
    /// Somebody else destroys it.
    Destroyed,
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

    /// Whether xend has been cut off.
    pub fn is_cut_off(&self) -> bool {
        let inner = self.lock();
        inner.fuse.is_some_and(|fuse| inner.changes >= fuse)
    }

    /// Lets everybody who waits for something look again.
    pub fn wake(&self) {
        self.notify();
    }

    /// Ends all guests there are after `changes` more changes.
    pub fn doom_after(&self, changes: u64, doom: Doom) {
        let mut inner = self.lock();
        inner.doom = Some((inner.changes + changes, doom));
    }

    /// Whether the doom that was set has yet to come.
    pub fn is_doomed(&self) -> bool {
        self.lock().doom.is_some()
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
                "domain {domid}: {} KiB, {} ports, {} pauses, dying {}, exit {:?}\n",
                domain.memory_kib, domain.ports, domain.pauses, domain.dying, domain.exit
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
            "grants {:?}\nrings {}\nraised {:?}\nfiles {:?}\n",
            inner.grants,
            inner.rings,
            inner.raised,
            inner.files.keys().collect::<Vec<_>>()
        );
        text
    }

    /// How a domain is placed and shared, and what its clock shows, as text to look into.
    pub fn share(&self, domid: DomId) -> String {
        let inner = self.lock();
        let domain = inner.domains.get(&domid);
        domain.map_or_else(String::new, |domain| {
            let weight = domain.credit.as_ref().map(|credit| credit.weight);
            format!(
                "hard {:?}\nsoft {:?}\nweight {weight:?}\nclock {} s\nmemory {} of {} KiB\nvcpus {} of {}\n",
                domain.affinity,
                domain.soft_affinity,
                domain.clock_s,
                domain.memory_kib,
                domain.max_kib,
                domain.online,
                domain.vcpus
            )
        })
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
        let made = inner.changes;
        if let Some((_, doom)) = inner.doom.take_if(|(changes, _)| *changes <= made) {
            inner.meet(doom);
            self.changed.notify_all();
        }
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

    /// All guests end.
    fn meet(&mut self, doom: Doom) {
        let guests: Vec<DomId> = self.domains.keys().copied().filter(|id| *id != 0).collect();
        for domid in guests {
            match doom {
                Doom::Exit(exit) => self.exit(domid, exit),
                Doom::Destroyed => self.destroy(domid),
            }
        }
        self.signals += 1;
    }

    /// A domain goes as soon as no backend maps pages of it any more.
    fn destroy(&mut self, domid: DomId) {
        let path = |kind: &str| format!("/local/domain/0/backend/{kind}/{domid}/");
        let (vbds, vifs) = (path("vbd"), path("vif"));
        let is_held = self
            .grants
            .iter()
            .any(|back| back.starts_with(&vbds) || back.starts_with(&vifs));
        if is_held {
            self.domains
                .entry(domid)
                .and_modify(|domain| domain.dying = true);
        } else {
            self.domains.remove(&domid);
        }
    }

    /// Backend drivers let go of what is no longer in the store, or closed.
    fn let_go(&mut self) {
        let store = &self.store;
        self.grants.retain(|back| {
            store
                .get(&format!("{back}/state"))
                .is_some_and(|state| state != "6")
        });
        let dying: Vec<DomId> = self
            .domains
            .iter()
            .filter(|(_, domain)| domain.dying)
            .map(|(domid, _)| *domid)
            .collect();
        for domid in dying {
            self.destroy(domid);
        }
    }

    fn exit(&mut self, domid: DomId, exit: Exit) {
        if let Some(domain) = self.domains.get_mut(&domid) {
            domain.exit.get_or_insert(exit);
        }
    }
}
