//! What the daemon's tests share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rexen_xenctl::{EvtchnPort, SharedPages};

use super::platform::{Fate, Happening, OpenRing, Platform};
use crate::store::Introduce;
use crate::wire::{Decoder, Op, Packet};

/// A folder that goes with its owner.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "xenstored-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A machine in memory: pages, ports, and what became of domains. Clones share it, as daemons share a host.
#[derive(Clone, Default)]
pub struct FakeHost(Rc<RefCell<Host>>);

#[derive(Default)]
struct Host {
    pages: BTreeMap<u16, Arc<SharedPages>>,
    fates: BTreeMap<u16, Fate>,
    happenings: VecDeque<Happening>,
    notified: BTreeMap<u32, u32>,
    open_ports: BTreeSet<u32>,
    has_own_ring: bool,
}

impl FakeHost {
    /// A guest with a fresh ring page (domain 0 for the kernel's own ring).
    pub fn guest(&self, domid: u16) -> Guest {
        let page = Arc::new(SharedPages::anonymous(1).unwrap());
        let mut host = self.0.borrow_mut();
        host.pages.insert(domid, Arc::clone(&page));
        host.has_own_ring |= domid == 0;
        Guest {
            domid,
            page,
            host: self.clone(),
            decoder: Decoder::new(),
            last_req: 0,
            received: VecDeque::new(),
        }
    }

    pub fn set_fate(&self, domid: u16, fate: Fate) {
        let mut host = self.0.borrow_mut();
        host.fates.insert(domid, fate);
        host.happenings.push_back(Happening::Domains);
    }

    /// How often the guest was notified.
    pub fn notified(&self, domid: u16) -> u32 {
        self.0
            .borrow()
            .notified
            .get(&u32::from(domid))
            .copied()
            .unwrap_or(0)
    }

    pub fn open_ports(&self) -> usize {
        self.0.borrow().open_ports.len()
    }

    /// The daemon died: the kernel closes its ports.
    pub fn daemon_died(&self) {
        let mut host = self.0.borrow_mut();
        host.open_ports.clear();
        host.happenings.clear();
    }

    fn open(&self, domid: u16) -> Result<OpenRing, String> {
        let mut host = self.0.borrow_mut();
        let page = host.pages.get(&domid).cloned().ok_or("no such domain")?;
        let port = u32::from(domid);
        if !host.open_ports.insert(port) {
            return Err("the port is bound".to_owned());
        }
        Ok(OpenRing {
            page,
            port: EvtchnPort(port),
        })
    }
}

impl Platform for FakeHost {
    fn open_ring(&mut self, place: &Introduce) -> Result<OpenRing, String> {
        self.open(place.domid)
    }

    fn open_own_ring(&mut self) -> Result<Option<OpenRing>, String> {
        let has = self.0.borrow().has_own_ring;
        if has {
            self.open(0).map(Some)
        } else {
            Ok(None)
        }
    }

    fn close(&mut self, port: EvtchnPort) {
        self.0.borrow_mut().open_ports.remove(&port.0);
    }

    fn notify(&mut self, port: EvtchnPort) {
        *self.0.borrow_mut().notified.entry(port.0).or_default() += 1;
    }

    fn fate(&mut self, domid: u16) -> Fate {
        self.0
            .borrow()
            .fates
            .get(&domid)
            .copied()
            .unwrap_or(Fate::Alive)
    }

    fn next(&mut self) -> Option<Happening> {
        self.0.borrow_mut().happenings.pop_front()
    }

    fn unmask(&mut self, _: EvtchnPort) {}

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// The guest's end of a ring, honest unless a test reaches into its page.
pub struct Guest {
    pub domid: u16,
    pub page: Arc<SharedPages>,
    host: FakeHost,
    decoder: Decoder,
    last_req: u32,
    received: VecDeque<Packet>,
}

impl Guest {
    /// Puts in what fits; how much that was. As Linux does, it raises the event only if all before was taken.
    pub fn put(&self, bytes: &[u8]) -> usize {
        let (prod, cons) = (self.page.load_u32(2052), self.page.load_u32(2048));
        let room = 1024usize.saturating_sub(prod.wrapping_sub(cons) as usize);
        let len = bytes.len().min(room);
        for (n, byte) in bytes[..len].iter().enumerate() {
            self.page.write((prod as usize + n) % 1024, &[*byte]);
        }
        self.page.store_u32(2052, prod.wrapping_add(len as u32));
        if self.page.load_u32(2048) == prod {
            self.kick();
        }
        len
    }

    pub fn kick(&self) {
        let port = EvtchnPort(u32::from(self.domid));
        self.host
            .0
            .borrow_mut()
            .happenings
            .push_back(Happening::Ring(port));
    }

    /// A request with the next id.
    pub fn request(&mut self, op: Op, tx_id: u32, payload: &[u8]) -> Packet {
        self.last_req += 1;
        Packet::new(op, self.last_req, tx_id, payload.to_vec())
    }

    /// Takes at most `most` bytes of what was answered. As Linux does, it raises the event only if the ring was full.
    pub fn take(&mut self, most: usize) {
        let (prod, cons) = (self.page.load_u32(2060), self.page.load_u32(2056));
        let len = (prod.wrapping_sub(cons) as usize).min(most);
        let mut bytes = vec![0; len];
        for (n, byte) in bytes.iter_mut().enumerate() {
            let mut one = [0];
            self.page.read(1024 + (cons as usize + n) % 1024, &mut one);
            *byte = one[0];
        }
        self.page.store_u32(2056, cons.wrapping_add(len as u32));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (used, packet) = self.decoder.push(rest).unwrap();
            self.received.extend(packet);
            rest = &rest[used..];
        }
        if prod.wrapping_sub(cons) >= 1024 {
            self.kick();
        }
    }

    /// The next message that arrived whole.
    pub fn next(&mut self) -> Option<Packet> {
        self.take(usize::MAX);
        self.received.pop_front()
    }

    /// What the guest's kernel does at a reset.
    pub fn forget(&mut self) {
        self.decoder = Decoder::new();
        self.received.clear();
    }
}

impl Guest {
    /// Reads and throws away.
    pub fn discard(&self, most: usize) {
        let (prod, cons) = (self.page.load_u32(2060), self.page.load_u32(2056));
        let len = (prod.wrapping_sub(cons) as usize).min(most);
        self.page.store_u32(2056, cons.wrapping_add(len as u32));
        self.kick();
    }

    /// The next message among the bytes taken so far.
    pub fn received_now(&mut self) -> Option<Packet> {
        self.received.pop_front()
    }
}
