//! Builds a paravirtual domain: from a kernel, a ramdisk and a few numbers to a domain that can be unpaused.
//!
//! First a [`Plan`], which is pure and can be printed; then [`Plan::carry_out`] over a [`Machine`]: the hypervisor
//! ([`crate::Xen`]), or one in memory in the tests. Where pages lie and what is in them is decided by the builder that the
//! hypervisor uses for domain 0, too ([`rexen_core::builder`]). The files are the guest's owner's: cut, damaged or hostile
//! ones give a message, never a panic, and unpack to a bounded size.

mod machine;
mod memory;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use rexen_abi::Plain;
use rexen_abi::arch_x86::*;
use rexen_abi::grant_table::{GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE};
use rexen_abi::xen::vcpu_info_offset;
use rexen_core::builder::{
    self, BuildParams, BuiltDomain, ImageError, KernelImage, Layout, LayoutError, Role, UnpackError,
};
use rexen_core::units::{DomId, EvtchnPort, GrantRef, Mfn, Pfn};

use crate::error::Error;
pub use machine::{Machine, Window};
use memory::GuestMemory;

/// The most that a kernel may unpack to, in bytes.
const MAX_KERNEL_BYTES: usize = 512 << 20;
/// Interrupts on, and the bit that is always set.
const RFLAGS: u64 = 1 << 9 | 1 << 1;
/// log2 of the pages that memory is asked for at once, as far as there are such blocks.
const BLOCK_ORDER: u32 = 9;

/// What a domain shall be built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec<'a> {
    /// The ramdisk's bytes; empty without one.
    pub ramdisk: &'a [u8],
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// Pages that it starts with.
    pub pages: u64,
    /// KiB that it may have later.
    pub max_kib: u64,
    /// Vcpus; as many as the domain was created for.
    pub vcpus: u32,
    /// Which domain serves its xenstore ring.
    pub store_domain: DomId,
    /// Which domain serves its console.
    pub console_domain: DomId,
}

/// A kernel file, unpacked.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    elf: Cow<'a, [u8]>,
}

impl<'a> Kernel<'a> {
    /// Unpacks a bzImage, an ELF image or a compressed one.
    ///
    /// # Errors
    /// `Unpack`: it is none of these, or damaged.
    pub fn unpack(file: &'a [u8]) -> Result<Self, BuildError> {
        let elf = builder::unpack(file, MAX_KERNEL_BYTES).map_err(BuildError::Unpack)?;
        Ok(Self { elf })
    }

    /// The ELF image itself, which unpacks to itself.
    pub fn into_image(self) -> Vec<u8> {
        self.elf.into_owned()
    }
}

/// Why a domain could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The kernel file does not unpack.
    Unpack(UnpackError),
    /// It is no kernel for a paravirtual guest.
    Image(ImageError),
    /// The domain is too small, or its command line too long.
    Layout(LayoutError),
    /// A call failed.
    Call(Error),
    /// The machine has too little memory left.
    OutOfMemory {
        /// Pages wanted.
        wanted: u64,
        /// Pages that it got.
        got: u64,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpack(error) => error.fmt(f),
            Self::Image(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
            Self::OutOfMemory { wanted, got } => write!(
                f,
                "the machine has too little memory left: it gave {} MiB of {} MiB",
                got / 256,
                wanted / 256
            ),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<Error> for BuildError {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

/// One thing to be done. Destroying the domain undoes all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Gives it its vcpus.
    MakeVcpus(u32),
    /// Limits its memory, in KiB.
    LimitMemory(u64),
    /// Tells it that it may have so many KiB.
    SetMemoryMap(u64),
    /// Makes its port to xenstore, for this domain to bind to.
    MakeStorePort(DomId),
    /// Makes its port to the console, for this domain to bind to.
    MakeConsolePort(DomId),
    /// Gives it so many pages.
    Populate(u64),
    /// Writes kernel, ramdisk, start_info, page tables and p2m list into the pages up to this one.
    WritePages(Pfn),
    /// Masks events of all vcpus, as they start.
    MaskEvents,
    /// Has its page tables checked and pinned; the page of the topmost.
    PinTables(Pfn),
    /// Sets the registers that vcpu 0 starts with; the address of the first instruction.
    SetRegisters(u64),
    /// Grants the pages of its rings to these domains: xenstore's, the console's.
    GrantRings(DomId, DomId),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeVcpus(count) => write!(f, "make {count} vcpus"),
            Self::LimitMemory(kib) => write!(f, "limit its memory to {kib} KiB"),
            Self::SetMemoryMap(kib) => write!(f, "set its memory map to {kib} KiB"),
            Self::MakeStorePort(to) => {
                write!(f, "make an event channel to xenstore in domain {}", to.0)
            }
            Self::MakeConsolePort(to) => {
                write!(f, "make an event channel to the console in domain {}", to.0)
            }
            Self::Populate(pages) => write!(f, "give it {pages} pages"),
            Self::WritePages(end) => write!(f, "write its pages below {:#x}", end.0),
            Self::MaskEvents => f.write_str("mask its events"),
            Self::PinTables(pfn) => write!(f, "pin its page tables under page {:#x}", pfn.0),
            Self::SetRegisters(entry) => write!(f, "set its registers to start at {entry:#x}"),
            Self::GrantRings(store, console) => write!(
                f,
                "grant its rings to domain {} (xenstore) and domain {} (console)",
                store.0, console.0
            ),
        }
    }
}

/// How a domain is built: everything is decided, nothing is done.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    kernel: KernelImage<'a>,
    layout: Layout,
    spec: Spec<'a>,
}

/// What the domain's other ends need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// The frame of its xenstore ring.
    pub store_frame: Mfn,
    /// Its port to xenstore.
    pub store_port: EvtchnPort,
    /// The frame of its console ring.
    pub console_frame: Mfn,
    /// Its port to the console.
    pub console_port: EvtchnPort,
}

/// What is known so far while a plan is carried out.
#[derive(Default)]
struct Progress {
    store_port: EvtchnPort,
    console_port: EvtchnPort,
    frames: Vec<Mfn>,
    start: Option<BuiltDomain>,
}

impl Progress {
    /// The frame of a page that the plan has.
    fn frame(&self, pfn: Option<Pfn>) -> Mfn {
        pfn.and_then(|pfn| self.frames.get(pfn.0 as usize).copied())
            .unwrap_or_default()
    }
}

impl<'a> Plan<'a> {
    /// Decides how to build a domain.
    ///
    /// # Errors
    /// `Image`: not such a kernel. `Layout`: the domain is too small for it.
    pub fn new(kernel: &'a Kernel<'_>, spec: Spec<'a>) -> Result<Self, BuildError> {
        let kernel = KernelImage::parse(&kernel.elf).map_err(BuildError::Image)?;
        let ramdisk_len = spec.ramdisk.len() as u64;
        let layout = Layout::plan_guest(&kernel, ramdisk_len, spec.pages, spec.cmdline)
            .map_err(BuildError::Layout)?;
        Ok(Self {
            kernel,
            layout,
            spec,
        })
    }

    /// What will be done, in this order.
    pub fn steps(&self) -> Vec<Step> {
        let spec = &self.spec;
        vec![
            Step::MakeVcpus(spec.vcpus),
            Step::LimitMemory(spec.max_kib.max(spec.pages.saturating_mul(4))),
            Step::SetMemoryMap(spec.max_kib.max(spec.pages.saturating_mul(4))),
            Step::MakeStorePort(spec.store_domain),
            Step::MakeConsolePort(spec.console_domain),
            Step::Populate(spec.pages),
            Step::WritePages(self.layout.used_end),
            Step::MaskEvents,
            Step::PinTables(self.layout.l4()),
            Step::SetRegisters(self.kernel.entry),
            Step::GrantRings(spec.store_domain, spec.console_domain),
        ]
    }

    /// Builds `domain`, which was just created, and calls `before` ahead of every step.
    ///
    /// # Errors
    /// `OutOfMemory`, `Call`: the domain is left half built, to be destroyed.
    pub fn carry_out(
        &self,
        domain: DomId,
        machine: &dyn Machine,
        mut before: impl FnMut(&Step),
    ) -> Result<Built, BuildError> {
        let mut progress = Progress::default();
        for step in self.steps() {
            before(&step);
            self.take(&step, domain, machine, &mut progress)?;
        }
        Ok(Built {
            store_frame: progress.frame(self.layout.store()),
            store_port: progress.store_port,
            console_frame: progress.frame(self.layout.console()),
            console_port: progress.console_port,
        })
    }

    fn take(
        &self,
        step: &Step,
        domain: DomId,
        machine: &dyn Machine,
        progress: &mut Progress,
    ) -> Result<(), BuildError> {
        match *step {
            Step::MakeVcpus(count) => machine.set_max_vcpus(domain, count)?,
            Step::LimitMemory(kib) => machine.set_max_memory(domain, kib)?,
            Step::SetMemoryMap(kib) => machine.set_memory_map(domain, kib)?,
            Step::MakeStorePort(to) => progress.store_port = machine.alloc_unbound(domain, to)?,
            Step::MakeConsolePort(to) => {
                progress.console_port = machine.alloc_unbound(domain, to)?;
            }
            Step::Populate(pages) => progress.frames = populate(machine, domain, pages)?,
            Step::WritePages(_) => {
                progress.start = Some(self.write_pages(domain, machine, progress)?);
            }
            Step::MaskEvents => mask_events(machine, domain)?,
            Step::PinTables(pfn) => machine.pin_l4(domain, progress.frame(Some(pfn)))?,
            Step::SetRegisters(_) => {
                if let Some(start) = &progress.start {
                    machine.set_registers(domain, &registers(start))?;
                }
            }
            Step::GrantRings(store, console) => {
                let rings = [
                    (GNTTAB_RESERVED_CONSOLE, self.layout.console(), console),
                    (GNTTAB_RESERVED_XENSTORE, self.layout.store(), store),
                ];
                let grants = rings.map(|(gref, pfn, to)| (GrantRef(gref), progress.frame(pfn), to));
                machine.seed_grants(domain, &grants)?;
            }
        }
        Ok(())
    }

    fn write_pages(
        &self,
        domain: DomId,
        machine: &dyn Machine,
        progress: &Progress,
    ) -> Result<BuiltDomain, BuildError> {
        let params = BuildParams {
            role: Role::Guest {
                store: progress.store_port,
                console: progress.console_port,
            },
            shared_info_maddr: machine.shared_info(domain)?.maddr(),
            cmdline: self.spec.cmdline,
            initrd: self.spec.ramdisk,
        };
        let mut memory = GuestMemory::new(machine, domain, &progress.frames);
        let start = builder::build(&self.kernel, &self.layout, &params, &mut memory);
        memory.finish()?;
        Ok(start)
    }
}

/// The plan, a line for each step.
impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps() {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

/// Gives the domain its pages, in large blocks as far as there are any; the frame of each page.
fn populate(machine: &dyn Machine, domain: DomId, pages: u64) -> Result<Vec<Mfn>, BuildError> {
    let mut frames: Vec<Mfn> = Vec::new();
    for order in [BLOCK_ORDER, 0] {
        let first = Pfn(frames.len() as u64);
        let blocks = ((pages - first.0) >> order) as usize;
        let starts = machine.populate(domain, first, blocks, order)?;
        for start in starts.iter().take(blocks) {
            frames.extend((0..1 << order).map(|n| Mfn(start.0 + n)));
        }
    }
    if frames.len() as u64 == pages {
        Ok(frames)
    } else {
        Err(BuildError::OutOfMemory {
            wanted: pages,
            got: frames.len() as u64,
        })
    }
}

/// Starts all vcpus with events masked: the hypervisor leaves that to the toolstack.
fn mask_events(machine: &dyn Machine, domain: DomId) -> Result<(), Error> {
    let shared_info = machine.map(domain, &[machine.shared_info(domain)?])?;
    for vcpu in 0..XEN_LEGACY_MAX_VCPUS {
        let at = vcpu * vcpu_info_offset::SIZE + vcpu_info_offset::UPCALL_MASK;
        shared_info.write(at, &[1]);
    }
    Ok(())
}

/// What vcpu 0 starts with.
fn registers(start: &BuiltDomain) -> VcpuGuestContext {
    let mut context = VcpuGuestContext {
        flags: VGCF_in_kernel | VGCF_online,
        kernel_ss: FLAT_KERNEL_SS.into(),
        kernel_sp: start.stack_top,
        ..VcpuGuestContext::ZERO
    };
    context.ctrlreg[3] = start.l4.maddr();
    let regs = &mut context.user_regs;
    regs.rip = start.entry;
    regs.rsp = start.stack_top;
    regs.rsi = start.start_info_va;
    regs.rflags = RFLAGS;
    regs.cs = FLAT_KERNEL_CS;
    regs.ss = FLAT_KERNEL_SS;
    context
}
