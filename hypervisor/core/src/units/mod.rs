//! Numbers that must not be mixed up, each a type of its own (`docs/glossary.rst` of Xen has the terms).

use core::fmt;

/// Bytes in a page and in a machine frame.
pub const PAGE_SIZE: u64 = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Entries in a page table of any level.
pub const PTES_PER_TABLE: usize = 512;

/// A machine frame number: a machine address divided by 4096.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Mfn(pub u64);

impl Mfn {
    /// The frame that holds machine address `maddr`.
    pub const fn containing(maddr: u64) -> Self {
        Mfn(maddr >> PAGE_SHIFT)
    }
    /// The machine address of the frame's first byte.
    pub const fn maddr(self) -> u64 {
        self.0 << PAGE_SHIFT
    }
}

impl fmt::Debug for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mfn {:#x}", self.0)
    }
}

/// A pseudophysical frame number: the guest's own index of its memory, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub struct Pfn(pub u64);

/// A domain's number. Real domains are below [`DomId::FIRST_RESERVED`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct DomId(pub u16);

impl DomId {
    /// Domain 0.
    pub const DOM0: DomId = DomId(0);
    /// The first number that names no domain (`public/xen.h`, DOMID_FIRST_RESERVED).
    pub const FIRST_RESERVED: DomId = DomId(0x7ff0);
    /// The caller itself.
    pub const SELF: DomId = DomId(0x7ff0);
    /// Owner of memory-mapped I/O.
    pub const IO: DomId = DomId(0x7ff1);
    /// Owner of the hypervisor's own frames.
    pub const XEN: DomId = DomId(0x7ff2);
    /// No domain at all.
    pub const INVALID: DomId = DomId(0x7ff4);

    /// Whether a domain could have this number.
    pub const fn is_real(self) -> bool {
        self.0 < Self::FIRST_RESERVED.0
    }
}

/// The index of a virtual CPU in its domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct VcpuId(pub u32);

/// The index of a physical CPU, dense from 0 (the boot CPU).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct CpuId(pub u32);

/// How many physical CPUs the hypervisor can use.
pub const MAX_CPUS: usize = 64;

/// A set of physical CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CpuMask(pub u64);

impl CpuMask {
    /// No CPU.
    pub const EMPTY: CpuMask = CpuMask(0);
    /// Just `cpu`.
    pub const fn one(cpu: CpuId) -> Self {
        CpuMask(1 << (cpu.0 % MAX_CPUS as u32))
    }
    /// Whether `cpu` is in the set.
    pub const fn contains(self, cpu: CpuId) -> bool {
        self.0 & Self::one(cpu).0 != 0
    }
    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The set without `cpu`.
    pub const fn without(self, cpu: CpuId) -> Self {
        CpuMask(self.0 & !Self::one(cpu).0)
    }
    /// The members, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = CpuId> {
        (0..MAX_CPUS as u32)
            .map(CpuId)
            .filter(move |c| self.contains(*c))
    }
}

/// An event-channel port of some domain. Port 0 is never valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct EvtchnPort(pub u32);

/// A grant reference: an index into the granter's grant table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct GrantRef(pub u32);

/// A physical interrupt as a domain names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Pirq(pub u32);

/// Nanoseconds since the hypervisor started its clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Nanos(pub u64);
