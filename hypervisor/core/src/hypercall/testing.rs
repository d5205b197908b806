//! A machine in RAM for tests of handlers: frames, two domains, flat guest memory, and a record of what was asked for.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use rexen_abi::Plain;
use rexen_abi::domctl::{XEN_DOMCTL_INTERFACE_VERSION, XenDomctl};
use rexen_abi::errno::Errno;

use crate::domain::{Domain, DomainPolicy, DomainSpec, Parts, Vcpu, VcpuFlags};
use crate::evtchn::{DwordIndex, QwordIndex, SharedFrames, VirqHandlers};
use crate::frame::{Buddy, FrameInfo, FrameTable, Pool};
use crate::hypercall::{
    Call, Machine, MsiRequest, Outcome, PowerAction, SegmentBase, furnish, table,
};
use crate::policy::CpuPolicies;
use crate::policy::cpuid::{HostCpuid, Regs, TscView};
use crate::policy::features::CpuidOption;
use crate::policy::ioports::DomainPorts;
use crate::policy::msr::VcpuMsrState;
use crate::pvmmu::{DomainMm, IoAccess, IoPolicy, MmState, MmuHost, TableAccess, Tlb, check_world};
use crate::sched::{RoundRobin, Runstate, Scheduler, VcpuRef};
use crate::units::{CpuId, CpuMask, DomId, Mfn, Nanos, PTES_PER_TABLE, Pirq, VcpuId};

/// Frames in all, and how many of them are RAM.
pub const ALL: usize = 300;
pub const RAM: usize = 256;
/// Where guest memory starts, and its size.
pub const GUEST: u64 = 0x10000;
pub const GUEST_SIZE: usize = 0x8000;
/// First and last frame (exclusive) of domain 0, of domain 1, and of the allocator.
pub const DOM0: (u64, u64) = (16, 64);
pub const DOMU: (u64, u64) = (64, 96);
pub const FREE: (u64, u64) = (128, 256);
/// The address that [`Fake::tables`] maps, entry by entry of its L1.
pub const MAPPED: u64 = 0x10_0000_0000;
/// Global system interrupts.
pub const NR_GSIS: u32 = 24;
const NR_PIRQS: u32 = 64;

/// What a handler asked of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    Wake(DomId, VcpuId),
    Sleep(DomId, VcpuId),
    Reschedule(CpuId),
    Kick(DomId, VcpuId),
    Yield,
    Timers(VcpuId),
    EntryChanged(VcpuId),
    InfoMoved(VcpuId),
    Base(VcpuId),
    Gdt(VcpuId),
    Ldt(VcpuId),
    Segment(SegmentBase, u64),
    GsSelector(u16),
    Debug(VcpuId),
    Ts(VcpuId),
    FlushLocal(Option<u64>),
    FlushVcpus(u64, Option<u64>),
    WriteBack,
    Console(Vec<u8>),
    Log(String),
    ClearLog,
    Key(u8),
    ShutDown(u32),
    Power(PowerAction),
    Clock(u64, u32),
    DomainClock(DomId),
    SetupGsi(u32, bool, bool),
    Bind(Pirq),
    Unbind(Pirq),
    Eoi(Pirq),
    Moved(Pirq),
    MapMsi(MsiRequest),
    Device(u8, u8, bool),
}

/// The machine.
pub struct Fake {
    frames: &'static [FrameInfo],
    ram: Vec<AtomicU64>,
    ram32: Vec<AtomicU32>,
    pool: crate::sync::Mutex<Pool<'static>>,
    virqs: VirqHandlers,
    guest: Mutex<Vec<u8>>,
    domains: Mutex<Vec<Arc<Domain>>>,
    slots: [u64; 16],
    /// `should_stop` says yes when the lowest bit is set, and shifts.
    pub stops: AtomicU64,
    /// Likewise `is_off_cpu` says no.
    pub on_cpu: AtomicU64,
    pub clock: AtomicU64,
    pub asked: Mutex<Vec<Asked>>,
    pub m2p: Mutex<BTreeMap<u64, u64>>,
    pub bugs: Mutex<Vec<(&'static str, Mfn)>>,
    pub input: Mutex<Vec<u8>>,
    /// The domains whose caches were flushed.
    pub flushed: Mutex<Vec<DomId>>,
    pub policies: CpuPolicies,
    sched: RoundRobin,
}

struct Cpu;

impl HostCpuid for Cpu {
    fn cpuid(&self, leaf: u32, _: u32) -> Regs {
        match leaf {
            0 => [1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
            0x8000_0000 => [0x8000_0008, 0, 0, 0],
            0x8000_0008 => [0x3028, 0, 0, 0],
            _ => [0, 0, 1, 1 << 26],
        }
    }
}

impl Fake {
    /// Domain 0 with two vcpus and domain 1 with one; their first vcpus are up.
    pub fn new() -> Self {
        let frames: &'static [FrameInfo] = Box::leak((0..ALL).map(|_| FrameInfo::new()).collect());
        let table = FrameTable::new(frames);
        for mfn in 1..RAM as u64 {
            table.reserve(Mfn(mfn)).unwrap();
        }
        let mut buddy = Buddy::new(table);
        buddy.add_range(Mfn(FREE.0), FREE.1 - FREE.0);
        let fake = Fake {
            frames,
            ram: (0..RAM * PTES_PER_TABLE)
                .map(|_| AtomicU64::new(0))
                .collect(),
            ram32: (0..RAM * 1024).map(|_| AtomicU32::new(0)).collect(),
            pool: crate::sync::Mutex::new(Pool::new(buddy)),
            virqs: VirqHandlers::new(),
            guest: Mutex::new(vec![0; GUEST_SIZE]),
            domains: Mutex::default(),
            slots: std::array::from_fn(|i| 0x8000_0000_dead_0063 + ((i as u64) << 12)),
            stops: AtomicU64::new(0),
            on_cpu: AtomicU64::new(0),
            clock: AtomicU64::new(1_000_000_000),
            asked: Mutex::default(),
            m2p: Mutex::default(),
            bugs: Mutex::default(),
            input: Mutex::default(),
            flushed: Mutex::default(),
            policies: CpuPolicies::collect(&Cpu, &CpuidOption::default(), true),
            sched: RoundRobin::new(),
        };
        (0..2).for_each(|cpu| fake.sched.cpu_online(CpuId(cpu)));
        let domains = vec![
            fake.domain_with(0, Mfn(1), DOM0, 2),
            fake.domain_with(1, Mfn(2), DOMU, 1),
        ];
        *fake.domains.lock().unwrap() = domains;
        fake
    }

    fn domain_with(
        &self,
        id: u16,
        shared_info: Mfn,
        owns: (u64, u64),
        nr_vcpus: u32,
    ) -> Arc<Domain> {
        let dom = DomId(id);
        self.frames().get(shared_info).unwrap().share(dom).unwrap();
        for mfn in owns.0..owns.1 {
            self.frames().get(Mfn(mfn)).unwrap().assign(dom).unwrap();
        }
        let vcpu = |n| {
            let who = VcpuRef {
                dom,
                vcpu: VcpuId(n),
            };
            let id = self.sched.insert(who, CpuMask(u64::MAX)).unwrap();
            let vcpu = Vcpu::new(dom, VcpuId(n), id, Runstate::new(Nanos(0)));
            if n == 0 {
                vcpu.flags.store(VcpuFlags::INITIALISED, SeqCst);
            }
            vcpu
        };
        let spec = DomainSpec {
            id: Some(dom),
            is_privileged: id == 0,
            is_store: false,
            ssidref: 0,
            handle: [id as u8 + 1; 16],
            nr_vcpus,
            max_port: 8191,
            nr_pirqs: NR_PIRQS,
            max_grant_frames: 16,
            max_maptrack_frames: 1,
            max_grant_version: 2,
        };
        let vcpus = (0..nr_vcpus).map(vcpu).collect();
        let domain = Self::domain_of(&spec, dom, shared_info, vcpus).unwrap();
        domain.tot_pages.store(owns.1 - owns.0, SeqCst);
        domain.span.grow(Mfn(owns.0), owns.1 - owns.0);
        domain.max_pages.store(100, SeqCst);
        if domain.life.control().unpause() == Ok(true) {
            let unpaused = |vcpu: &Vcpu| vcpu.flags.fetch_and(!VcpuFlags::PAUSED, SeqCst);
            domain.vcpus.iter().for_each(|vcpu| _ = unpaused(vcpu));
        }
        Arc::new(domain)
    }

    fn domain_of(
        spec: &DomainSpec,
        id: DomId,
        shared_info: Mfn,
        vcpus: Box<[Vcpu]>,
    ) -> Result<Domain, Errno> {
        let cpuid = CpuPolicies::collect(&Cpu, &CpuidOption::default(), true).pv_default;
        let msr = VcpuMsrState::new(&cpuid, spec.is_privileged, true);
        let mut policy = DomainPolicy::new(cpuid, msr, TscView::default());
        policy.limits.cr4_changeable = 8;
        policy.limits.xcr0_allowed = 7;
        let parts = Parts {
            events: spec.events(id, shared_info)?,
            vcpus,
            mm: MmState::new(id, 40, spec.is_privileged),
            policy,
            ports: DomainPorts::default(),
        };
        Ok(Domain::new(spec, parts))
    }

    /// Takes the lowest of the bits.
    fn take_bit(&self, bits: &AtomicU64) -> bool {
        let before = bits.fetch_update(SeqCst, SeqCst, |bits| Some(bits >> 1));
        before.unwrap() & 1 != 0
    }

    /// A domain by number.
    pub fn dom(&self, id: u16) -> Arc<Domain> {
        self.domain(DomId(id)).unwrap()
    }

    /// One turn of a hypercall by a vcpu.
    pub fn turn(&self, dom: u16, vcpu: u32, number: u32, args: [u64; 5]) -> Outcome {
        let domain = self.dom(dom);
        let vcpu = domain.vcpu(VcpuId(vcpu)).unwrap();
        table::dispatch(
            &mut Call {
                m: self,
                domain: &domain,
                vcpu,
                args,
            },
            number,
        )
    }

    /// A hypercall by vcpu 0 of domain `dom`, to its end; its result.
    #[track_caller]
    pub fn call<const N: usize>(&self, dom: u16, number: u32, args: [u64; N]) -> u64 {
        self.call_by(dom, 0, number, args)
    }

    /// A hypercall to its end; its result.
    #[track_caller]
    pub fn call_by<const N: usize>(&self, dom: u16, vcpu: u32, number: u32, args: [u64; N]) -> u64 {
        let mut all = [0x5555_5555; 5];
        all[..N].copy_from_slice(&args);
        for _ in 0..1000 {
            match self.turn(dom, vcpu, number, all) {
                Outcome::Done(result) => return result,
                Outcome::Again(args) => all = args,
                Outcome::Replaced => panic!("the registers were replaced"),
            }
        }
        panic!("the hypercall does not end");
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        core::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Forgets what was done to it so far.
    pub fn forget(&self) {
        self.m2p.lock().unwrap().clear();
        self.asked.lock().unwrap().clear();
        self.flushed.lock().unwrap().clear();
    }

    fn ask(&self, what: Asked) {
        self.asked.lock().unwrap().push(what);
    }

    /// Puts a structure into guest memory.
    #[track_caller]
    pub fn put<T: Plain>(&self, gva: u64, value: &T) {
        let mut bytes = vec![0; T::SIZE];
        value.write(&mut bytes).unwrap();
        self.copy_out(gva, &bytes).unwrap();
    }

    /// Puts a domctl with its argument into guest memory.
    #[track_caller]
    pub fn put_domctl<T: Plain>(&self, gva: u64, cmd: u32, domain: u16, arg: &T) {
        let mut op = XenDomctl {
            cmd,
            interface_version: XEN_DOMCTL_INTERFACE_VERSION,
            domain,
            ..XenDomctl::default()
        };
        arg.write(&mut op.u).unwrap();
        self.put(gva, &op);
    }

    /// Takes a structure out of guest memory.
    #[track_caller]
    pub fn get<T: Plain>(&self, gva: u64) -> T {
        let mut bytes = vec![0; T::SIZE];
        self.copy_in(gva, &mut bytes).unwrap();
        T::read(&bytes).unwrap()
    }

    /// Gives domain `dom` page tables, in its first four frames. See [`Fake::tables_in`].
    pub fn tables(&self, dom: u16) -> [Mfn; 4] {
        let first = if dom == 0 { DOM0.0 } else { DOMU.0 };
        let tables = [0, 1, 2, 3].map(|n| Mfn(first + n));
        self.tables_in(dom, tables);
        tables
    }

    /// Gives domain `dom` page tables in four of its frames, and makes them vcpu 0's kernel base. The L1, the last of them,
    /// maps [`MAPPED`] on: what is in it already.
    pub fn tables_in(&self, dom: u16, tables: [Mfn; 4]) {
        self.write(tables[0], 0, tables[1].maddr() | 7);
        self.write(tables[1], 64, tables[2].maddr() | 7);
        self.write(tables[2], 0, tables[3].maddr() | 7);
        let domain = self.dom(dom);
        let mut state = domain.mm.lock();
        let mut mm = DomainMm::new(self.frames(), self, &mut state);
        mm.pin(4, tables[0]).unwrap();
        mm.replace_base(None, Some(tables[0])).unwrap();
        domain.vcpus[0].kernel_l4.store(tables[0].0, SeqCst);
    }

    /// Panics unless all frames' counts are right and nothing was reported as a bug.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(*self.bugs.lock().unwrap(), []);
        let mut roots = Vec::new();
        for domain in self.domains.lock().unwrap().iter() {
            domain.for_each_held_frame(|root| roots.push(root));
        }
        for domain in self.domains.lock().unwrap().iter() {
            let is_owned = |mfn: &u64| {
                let word = self.frames().word(Mfn(*mfn));
                word.owner() == domain.id && word.refs() != 0
            };
            let all = (0..RAM as u64).filter(is_owned);
            let owned = all
                .inspect(|mfn| assert!(domain.span.range().contains(mfn), "{mfn} is out of reach"))
                .count();
            let shared = 1 + domain.grants.nr_held();
            let tot_pages = domain.tot_pages.load(SeqCst);
            assert_eq!(tot_pages, (owned - shared) as u64, "{:?}", domain.id);
        }
        let wrong = check_world(self.frames(), self, roots).expect("memory to count in");
        assert!(wrong.is_empty(), "{wrong:#x?}");
    }

    /// General references on a frame.
    pub fn frames_held(&self, mfn: u64) -> u64 {
        self.frames().word(Mfn(mfn)).refs()
    }

    fn cell(&self, mfn: Mfn, index: usize) -> &AtomicU64 {
        &self.ram[mfn.0 as usize * PTES_PER_TABLE + index]
    }

    fn range(gva: u64, len: usize) -> Result<std::ops::Range<usize>, Errno> {
        let start = usize::try_from(gva.checked_sub(GUEST).ok_or(Errno::EFAULT)?)
            .map_err(|_| Errno::EFAULT)?;
        let end = start
            .checked_add(len)
            .filter(|end| *end <= GUEST_SIZE)
            .ok_or(Errno::EFAULT)?;
        Ok(start..end)
    }
}

impl TableAccess for Fake {
    fn read(&self, frame: Mfn, index: usize) -> u64 {
        self.cell(frame, index).load(SeqCst)
    }
    fn write(&self, frame: Mfn, index: usize, value: u64) {
        self.cell(frame, index).store(value, SeqCst);
    }
    fn cmpxchg(&self, frame: Mfn, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        self.cell(frame, index)
            .compare_exchange(old, new, SeqCst, SeqCst)
    }
    fn block_is_empty(&self, frame: Mfn, first: usize) -> bool {
        (first..first + 8).all(|i| self.read(frame, i) == 0)
    }
    fn clear(&self, frame: Mfn) {
        (0..PTES_PER_TABLE).for_each(|i| self.write(frame, i, 0));
    }
    fn copy(&self, from: Mfn, to: Mfn) {
        (0..PTES_PER_TABLE).for_each(|i| self.write(to, i, self.read(from, i)));
    }
}

impl Tlb for Fake {
    fn flush_stamp_now(&self) -> u64 {
        1
    }
    fn flush_before_retype(&self, _: DomId, _: u64) {}
    fn flush_domain(&self, domain: DomId) {
        self.flushed.lock().unwrap().push(domain);
    }
}

impl IoPolicy for Fake {
    fn io_access(&self, domain: DomId, _: Mfn) -> IoAccess {
        if domain == DomId::DOM0 {
            IoAccess::ReadWrite
        } else {
            IoAccess::Refused
        }
    }
}

impl MmuHost for Fake {
    const POLL_EVERY: u32 = 1;

    fn should_stop(&self) -> bool {
        self.take_bit(&self.stops)
    }
    fn l4_slots(&self) -> &[u64; 16] {
        &self.slots
    }
    fn set_m2p(&self, mfn: Mfn, pfn: u64) {
        self.m2p.lock().unwrap().insert(mfn.0, pfn);
    }
    fn frame_freed(&self, mfn: Mfn, owner: DomId) {
        if let Some(domain) = self.domain(owner) {
            domain.tot_pages.fetch_sub(1, SeqCst);
        }
        self.pool.lock().free(mfn, 0).unwrap();
    }
    fn bug(&self, what: &'static str, mfn: Mfn) {
        self.bugs.lock().unwrap().push((what, mfn));
    }
}

impl SharedFrames for Fake {
    fn word64(&self, mfn: Mfn, index: QwordIndex) -> &AtomicU64 {
        self.cell(mfn, index.get())
    }
    fn word32(&self, mfn: Mfn, index: DwordIndex) -> &AtomicU32 {
        &self.ram32[mfn.0 as usize * 1024 + index.get()]
    }
}

impl Machine for Fake {
    fn copy_in(&self, gva: u64, into: &mut [u8]) -> Result<(), Errno> {
        into.copy_from_slice(&self.guest.lock().unwrap()[Self::range(gva, into.len())?]);
        Ok(())
    }
    fn copy_out(&self, gva: u64, from: &[u8]) -> Result<(), Errno> {
        self.guest.lock().unwrap()[Self::range(gva, from.len())?].copy_from_slice(from);
        Ok(())
    }
    fn now(&self) -> Nanos {
        Nanos(self.clock.load(SeqCst))
    }
    fn this_cpu(&self) -> CpuId {
        CpuId(0)
    }
    fn nr_cpus(&self) -> u32 {
        2
    }
    fn domain(&self, id: DomId) -> Option<Arc<Domain>> {
        self.domains
            .lock()
            .unwrap()
            .iter()
            .find(|domain| domain.id == id)
            .cloned()
    }
    fn create_domain(&self, spec: &DomainSpec) -> Result<Arc<Domain>, Errno> {
        let free = |id: &u16| self.domain(DomId(*id)).is_none();
        let id = spec
            .id
            .map_or_else(|| (1..).find(free), |id| Some(id.0).filter(free));
        let id = DomId(id.ok_or(Errno::EEXIST)?);
        let shared_info = self.alloc_frames(0, 64).ok_or(Errno::ENOMEM)?;
        self.frames().get(shared_info).unwrap().share(id).unwrap();
        let vcpu = |n| {
            let who = VcpuRef {
                dom: id,
                vcpu: VcpuId(n),
            };
            let sched = self.sched.insert(who, CpuMask(u64::MAX)).unwrap();
            Vcpu::new(id, VcpuId(n), sched, Runstate::new(Nanos(0)))
        };
        let vcpus = (0..spec.nr_vcpus).map(vcpu).collect();
        let domain = Arc::new(Self::domain_of(spec, id, shared_info, vcpus)?);
        furnish(self, &domain)?;
        self.domains.lock().unwrap().push(domain.clone());
        Ok(domain)
    }
    fn next_domain(&self, from: DomId) -> Option<Arc<Domain>> {
        let domains = self.domains.lock().unwrap();
        let later = domains.iter().filter(|d| d.id >= from);
        later.min_by_key(|d| d.id).cloned()
    }
    fn is_idle(&self, domain: &Arc<Domain>) -> bool {
        Arc::strong_count(domain) == 2
    }
    fn remove_domain(&self, domain: &Arc<Domain>) -> bool {
        let is_idle = self.is_idle(domain);
        if is_idle {
            self.domains.lock().unwrap().retain(|d| d.id != domain.id);
            for vcpu in &domain.vcpus {
                self.sched.remove(vcpu.sched).unwrap();
            }
        }
        is_idle
    }
    fn is_off_cpu(&self, _: &Vcpu) -> bool {
        // The tests' vcpus run in no other place than their hypercalls.
        !self.take_bit(&self.on_cpu)
    }
    fn frames(&self) -> FrameTable<'_> {
        FrameTable::new(self.frames)
    }
    fn pool(&self) -> &crate::sync::Mutex<Pool<'static>> {
        &self.pool
    }
    fn free_dropped(&self) {}
    fn virq_handlers(&self) -> &VirqHandlers {
        &self.virqs
    }
    fn max_frame(&self) -> u64 {
        ALL as u64
    }
    fn nr_ram_frames(&self) -> u64 {
        RAM as u64
    }
    fn scheduler(&self) -> &dyn Scheduler {
        &self.sched
    }
    fn reschedule(&self, cpu: CpuId) {
        self.ask(Asked::Reschedule(cpu));
    }
    fn vcpu_wake(&self, vcpu: &Vcpu) {
        self.ask(Asked::Wake(vcpu.domain, vcpu.id));
    }
    fn vcpu_sleep(&self, vcpu: &Vcpu) {
        self.ask(Asked::Sleep(vcpu.domain, vcpu.id));
    }
    fn kick_vcpu(&self, vcpu: &Vcpu) {
        self.ask(Asked::Kick(vcpu.domain, vcpu.id));
    }
    fn yield_cpu(&self) {
        self.ask(Asked::Yield);
    }
    fn timers_changed(&self, vcpu: &Vcpu) {
        self.ask(Asked::Timers(vcpu.id));
    }
    fn update_time(&self, _: &Vcpu) {}
    fn update_runstate_area(&self, _: &Vcpu) {}
    fn update_wall_clock(&self, domain: &Domain) {
        self.ask(Asked::DomainClock(domain.id));
    }
    fn set_wall_clock(&self, sec: u64, nsec: u32) {
        self.ask(Asked::Clock(sec, nsec));
    }
    fn entry_changed(&self, vcpu: &Vcpu) {
        self.ask(Asked::EntryChanged(vcpu.id));
    }
    fn vcpu_info_moved(&self, vcpu: &Vcpu) {
        self.ask(Asked::InfoMoved(vcpu.id));
    }
    fn load_base(&self, vcpu: &Vcpu) {
        self.ask(Asked::Base(vcpu.id));
    }
    fn load_gdt(&self, vcpu: &Vcpu) {
        self.ask(Asked::Gdt(vcpu.id));
    }
    fn load_ldt(&self, vcpu: &Vcpu) {
        self.ask(Asked::Ldt(vcpu.id));
    }
    fn set_segment_base(&self, which: SegmentBase, base: u64) {
        self.ask(Asked::Segment(which, base));
    }
    fn set_gs_user_selector(&self, selector: u16) {
        self.ask(Asked::GsSelector(selector));
    }
    fn load_debug_registers(&self, vcpu: &Vcpu) {
        self.ask(Asked::Debug(vcpu.id));
    }
    fn ts_changed(&self, vcpu: &Vcpu) {
        self.ask(Asked::Ts(vcpu.id));
    }
    fn flush_local(&self, gva: Option<u64>) {
        self.ask(Asked::FlushLocal(gva));
    }
    fn flush_vcpus(&self, _: &Domain, vcpus: u64, gva: Option<u64>) {
        self.ask(Asked::FlushVcpus(vcpus, gva));
    }
    fn write_back_caches(&self) {
        self.ask(Asked::WriteBack);
    }
    fn console_write(&self, bytes: &[u8]) {
        self.ask(Asked::Console(bytes.to_vec()));
    }
    fn console_read(&self, into: &mut [u8]) -> usize {
        let mut input = self.input.lock().unwrap();
        let count = input.len().min(into.len());
        into[..count].copy_from_slice(&input[..count]);
        input.drain(..count);
        count
    }
    fn log(&self, _: u8, line: core::fmt::Arguments<'_>) {
        self.ask(Asked::Log(line.to_string()));
    }
    fn read_log(&self, from: u32, into: &mut [u8]) -> (usize, u32) {
        let text = b"Rexen speaks";
        let rest = text.get(from as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        (count, from.saturating_add(count as u32))
    }
    fn clear_log(&self) {
        self.ask(Asked::ClearLog);
    }
    fn debug_key(&self, key: u8) {
        self.ask(Asked::Key(key));
    }
    fn dom0_shut_down(&self, reason: u32) {
        self.ask(Asked::ShutDown(reason));
    }
    fn power(&self, action: PowerAction) {
        self.ask(Asked::Power(action));
    }
    fn command_line(&self) -> &str {
        "console=com1"
    }
    fn policies(&self) -> &CpuPolicies {
        &self.policies
    }
    fn tsc_khz(&self) -> u32 {
        1_000_000
    }
    fn ioapic_read(&self, base: u64, register: u32) -> Option<u32> {
        (base == 0xfec0_0000).then_some(register)
    }
    fn nr_gsis(&self) -> u32 {
        NR_GSIS
    }
    fn setup_gsi(&self, gsi: u32, level: bool, active_low: bool) -> Result<(), Errno> {
        self.ask(Asked::SetupGsi(gsi, level, active_low));
        if gsi == 9 { Err(Errno::EEXIST) } else { Ok(()) }
    }
    fn pirq_bind(&self, _: &Domain, pirq: Pirq) -> Result<(), Errno> {
        self.ask(Asked::Bind(pirq));
        if pirq == Pirq(13) {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    }
    fn pirq_unbind(&self, _: &Domain, pirq: Pirq) {
        self.ask(Asked::Unbind(pirq));
    }
    fn pirq_eoi(&self, _: &Domain, pirq: Pirq) {
        self.ask(Asked::Eoi(pirq));
    }
    fn pirq_needs_eoi(&self, pirq: Pirq) -> bool {
        pirq.0 >= 16
    }
    fn pirq_moved(&self, _: &Domain, pirq: Pirq) {
        self.ask(Asked::Moved(pirq));
    }
    fn map_msi(&self, request: MsiRequest) -> Result<Pirq, Errno> {
        self.ask(Asked::MapMsi(request));
        if request.devfn == 0xff {
            Err(Errno::ENODEV)
        } else {
            Ok(Pirq(NR_GSIS))
        }
    }
    fn unmap_msi(&self, pirq: Pirq) -> Result<(), Errno> {
        if pirq == Pirq(NR_GSIS) {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }
    fn free_pirq(&self) -> Option<Pirq> {
        Some(Pirq(NR_GSIS + 1))
    }
    fn pci_device(&self, _: u16, bus: u8, devfn: u8, added: bool) {
        self.ask(Asked::Device(bus, devfn, added));
    }
}
