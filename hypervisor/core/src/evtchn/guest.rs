//! A guest for tests: takes its events as Linux does, in either ABI, from the shared words alone.

use core::sync::atomic::Ordering::SeqCst;

use super::ram::Ram;
use super::{EventChannels, SharedSpot};
use crate::units::{EvtchnPort, Mfn, VcpuId};

pub(super) const PENDING: u32 = 1 << 31;
pub(super) const MASKED: u32 = 1 << 30;
pub(super) const LINKED: u32 = 1 << 29;
const LINK_MASK: u32 = (1 << 17) - 1;

/// What a guest remembers of its event channels.
pub(super) struct Guest {
    shared_info: Mfn,
    /// FIFO: the array's pages and each vcpu's control block and queue heads.
    pub array: Vec<Mfn>,
    pub controls: Vec<Mfn>,
    heads: Vec<[u32; 16]>,
}

impl Guest {
    pub fn new(shared_info: Mfn) -> Self {
        Guest {
            shared_info,
            array: Vec::new(),
            controls: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// Switches to FIFO with a control block per vcpu in `controls`.
    pub fn init_fifo(&mut self, ram: &Ram, channels: &EventChannels, controls: &[Mfn]) {
        for (vcpu, mfn) in (0..).zip(controls) {
            channels.init_control(ram, VcpuId(vcpu), *mfn, 128).unwrap();
            self.controls.push(*mfn);
            self.heads.push([0; 16]);
        }
    }

    /// Adds a page with every port masked.
    pub fn expand(&mut self, ram: &Ram, channels: &EventChannels, mfn: Mfn) {
        ram.fill32(mfn, MASKED);
        self.array.push(mfn);
        channels
            .expand_array(ram, mfn, |port, _| {
                panic!("{port:?} is masked, and yet told")
            })
            .unwrap();
    }

    fn is_fifo(&self) -> bool {
        !self.controls.is_empty()
    }

    pub fn word<'a>(&self, ram: &'a Ram, port: EvtchnPort) -> &'a core::sync::atomic::AtomicU32 {
        ram.dword(
            self.array[port.0 as usize / 1024],
            port.0 as usize % 1024 * 4,
        )
    }

    pub fn mask(&self, ram: &Ram, port: EvtchnPort) {
        if self.is_fifo() {
            self.word(ram, port).fetch_or(MASKED, SeqCst);
        } else {
            ram.qword(self.shared_info, 0xa00 + port.0 as usize / 64 * 8)
                .fetch_or(1 << (port.0 % 64), SeqCst);
        }
    }

    pub fn is_linked(&self, ram: &Ram, port: EvtchnPort) -> bool {
        self.is_fifo() && self.word(ram, port).load(SeqCst) & LINKED != 0
    }

    /// Takes an upcall on `vcpu`: gives the ports whose events it handled, having cleared them.
    pub fn take(&mut self, ram: &Ram, vcpu: VcpuId, info: SharedSpot) -> Vec<EvtchnPort> {
        let mut taken = Vec::new();
        // The bound is there to fail rather than hang if the hypervisor keeps setting it.
        for _ in 0..100_000 {
            if info.qword(ram, 0).fetch_and(!0xff, SeqCst) & 0xff == 0 {
                return taken;
            }
            if self.is_fifo() {
                self.take_fifo(ram, vcpu, &mut taken);
            } else {
                self.take_two_level(ram, info, &mut taken);
            }
        }
        panic!("upcalls never end");
    }

    fn take_two_level(&self, ram: &Ram, info: SharedSpot, taken: &mut Vec<EvtchnPort>) {
        let selected = info.qword(ram, 8).swap(0, SeqCst);
        for word in (0..64).filter(|word| selected & 1 << word != 0) {
            let pending = ram.qword(self.shared_info, 0x800 + word * 8);
            let mask = ram.qword(self.shared_info, 0xa00 + word * 8).load(SeqCst);
            let ready = pending.load(SeqCst) & !mask;
            pending.fetch_and(!ready, SeqCst);
            taken.extend(
                (0..64)
                    .filter(|bit| ready & 1 << bit != 0)
                    .map(|bit| EvtchnPort((word * 64 + bit) as u32)),
            );
        }
    }

    fn take_fifo(&mut self, ram: &Ram, vcpu: VcpuId, taken: &mut Vec<EvtchnPort>) {
        let control = self.controls[vcpu.0 as usize];
        let ready_word = ram.dword(control, 128);
        let mut ready = ready_word.swap(0, SeqCst);
        while ready != 0 {
            let priority = ready.trailing_zeros() as usize;
            let mut head = self.heads[vcpu.0 as usize][priority];
            if head == 0 {
                head = ram.dword(control, 128 + 8 + 4 * priority).load(SeqCst);
            }
            let port = EvtchnPort(head);
            let word = self.word(ram, port);
            let old = word
                .fetch_update(SeqCst, SeqCst, |w| Some(w & !(LINKED | LINK_MASK)))
                .unwrap();
            let next = old & LINK_MASK;
            if next == 0 {
                ready &= !(1 << priority);
            }
            let now = self.word(ram, port).load(SeqCst);
            if now & (PENDING | MASKED) == PENDING {
                self.word(ram, port).fetch_and(!PENDING, SeqCst);
                taken.push(port);
            }
            self.heads[vcpu.0 as usize][priority] = next;
            ready |= ready_word.swap(0, SeqCst);
        }
    }
}
