//! Privileged instructions of guests: what `rexen_core::emulate` decodes, done on the machine.

// UNSAFETY: reads and clears the debug status register; rewrites the guest frame after a failed IRET.
#![expect(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::arch_x86::CpuUserRegs;
use rexen_core::domain::{Domain, Vcpu, assist};
use rexen_core::emulate::io::{self, PortBitmap};
use rexen_core::emulate::privop::{self, Code, Outcome, PrivHost};
use rexen_core::emulate::{Fault, GuestMem, Mode, SegBases};
use rexen_core::hypercall::handlers::mmuext_op;
use rexen_core::hypercall::{Call, Machine};
use rexen_core::policy::cpuid::Asker;
use rexen_core::policy::ioports::PortAccess;
use rexen_core::policy::msr::{self as msr_policy, MsrRead, MsrWrite, VcpuMsrState};
use rexen_core::policy::{cr, debugreg::DebugRegisters};
use rexen_core::units::Mfn;

use super::bounce::{self, Unhandled};
use super::{current, traps};
use crate::cpu::{self, msr, regs as cpu_regs};
use crate::entry::{copy_from_guest, copy_to_guest};
use crate::irq::pci;
use crate::machine::HW;

/// Reads the instruction at `rip`; how many bytes could be read, up to 15.
#[inline]
pub fn fetch(rip: u64, bytes: &mut [u8; 15]) -> usize {
    let mut head = [0; 16];
    // Sixteen bytes in one go unless that leaves the page.
    if rip & 0xfff <= 0xff0 && copy_from_guest(rip, &mut head) {
        bytes.copy_from_slice(&head[..15]);
        return 15;
    }
    let first = (4096 - (rip & 0xfff) as usize).min(15);
    let (low, high) = bytes.split_at_mut(first);
    if !copy_from_guest(rip, low) {
        return 0;
    }
    if !high.is_empty() && copy_from_guest(rip.wrapping_add(first as u64), high) {
        15
    } else {
        first
    }
}

struct Memory;

impl GuestMem for Memory {
    fn read(&mut self, va: u64, into: &mut [u8]) -> Result<(), Fault> {
        if copy_from_guest(va, into) {
            Ok(())
        } else {
            Err(Fault::Page {
                va: cpu_regs::read_cr2(),
                error: 0,
            })
        }
    }
    fn write(&mut self, va: u64, from: &[u8]) -> Result<(), Fault> {
        if copy_to_guest(va, from) {
            Ok(())
        } else {
            Err(Fault::Page {
                va: cpu_regs::read_cr2(),
                error: 2,
            })
        }
    }
    fn probe_write(&mut self, va: u64, len: usize) -> Result<(), Fault> {
        let mut old = [0; 4];
        let old = old.get_mut(..len).ok_or(Fault::Original)?;
        self.read(va, old)?;
        self.write(va, old)
    }
}

struct Bitmap {
    address: u64,
    nr_ports: u32,
}

impl PortBitmap for Bitmap {
    fn nr_ports(&self) -> u32 {
        self.nr_ports
    }
    fn byte(&mut self, index: u32) -> u8 {
        let mut byte = [0xff];
        let address = self.address.wrapping_add(u64::from(index));
        let got = current::in_kernel_space(|| copy_from_guest(address, &mut byte));
        if got { byte[0] } else { 0xff }
    }
}

struct Host<'a> {
    domain: &'a Domain,
    vcpu: &'a Vcpu,
}

impl Host<'_> {
    fn msr_state(&self) -> VcpuMsrState {
        VcpuMsrState {
            bootstrap: self.vcpu.id.0 == 0,
            tsc_aux: self.vcpu.tsc_aux.load(Relaxed),
            ..self.domain.policy.get().limits.msr
        }
    }
    fn mode(&self) -> Mode {
        if current::in_kernel() {
            Mode::Kernel
        } else {
            Mode::User
        }
    }
    fn port_read(&self, port: u16, size: u8) -> u32 {
        match size {
            1 => u32::from(cpu_regs::inb(port)),
            2 => u32::from(cpu_regs::inw(port)),
            _ => cpu_regs::inl(port),
        }
    }
}

fn ones(size: u8) -> u32 {
    u32::MAX >> (32 - u32::from(size.min(4)) * 8)
}

impl PrivHost for Host<'_> {
    fn io_allowed(&mut self, port: u16, size: u8) -> bool {
        let place = *self.vcpu.port_bitmap.lock();
        let mut bitmap = Bitmap {
            address: place.address,
            nr_ports: place.nr_ports,
        };
        let architectural = self.domain.has_assist(assist::ARCHITECTURAL_IOPL);
        io::io_allowed(
            port,
            size,
            self.vcpu.iopl.load(Relaxed),
            self.mode(),
            architectural,
            &mut bitmap,
        )
    }
    fn iopl_allowed(&mut self) -> bool {
        let architectural = self.domain.has_assist(assist::ARCHITECTURAL_IOPL);
        io::iopl_allows(self.vcpu.iopl.load(Relaxed), self.mode(), architectural)
    }
    fn io_in(&mut self, port: u16, size: u8) -> u32 {
        match self.domain.ports.access(port, size) {
            PortAccess::Native => self.port_read(port, size),
            PortAccess::Denied => ones(size),
            PortAccess::PciAddress => self.domain.pci_address.lock().0,
            PortAccess::PciData { offset } => {
                let select = self.domain.pci_address.lock().0;
                if select >> 31 == 0 {
                    ones(size)
                } else {
                    pci::read_port(select, offset, size)
                }
            }
            PortAccess::RtcIndex => u32::from(self.domain.rtc_index.lock().get()),
            PortAccess::RtcData => {
                let index = self.domain.rtc_index.lock().get();
                u32::from(crate::timer::rtc::read_cmos(index))
            }
            PortAccess::Bytes => (0..size).fold(0, |value, n| {
                value | (self.io_in(port.wrapping_add(u16::from(n)), 1) & 0xff) << (8 * n)
            }),
        }
    }
    fn io_out(&mut self, port: u16, size: u8, value: u32) {
        match self.domain.ports.access(port, size) {
            PortAccess::Native => match size {
                1 => cpu_regs::outb(port, value as u8),
                2 => cpu_regs::outw(port, value as u16),
                _ => cpu_regs::outl(port, value),
            },
            PortAccess::Denied => {}
            PortAccess::PciAddress => self.domain.pci_address.lock().0 = value,
            PortAccess::PciData { offset } => {
                let select = self.domain.pci_address.lock().0;
                if select >> 31 != 0 {
                    pci::write_port(select, offset, size, value);
                }
            }
            PortAccess::RtcIndex => self.domain.rtc_index.lock().write(value as u8),
            PortAccess::RtcData => {
                let index = self.domain.rtc_index.lock().get();
                crate::timer::rtc::write_cmos(index, value as u8);
            }
            PortAccess::Bytes => {
                for n in 0..size {
                    self.io_out(port.wrapping_add(u16::from(n)), 1, value >> (8 * n) & 0xff);
                }
            }
        }
    }
    fn read_cr(&mut self, number: u8) -> Result<u64, Fault> {
        Ok(match number {
            0 => cr::read_cr0(cpu_regs::read_cr0(), self.vcpu.ts.load(Relaxed)),
            2 => self.vcpu.cr2.load(Relaxed),
            3 => Mfn(self.vcpu.kernel_l4.load(Relaxed)).maddr(),
            _ => self.vcpu.cr4.load(Relaxed) | cr::CR4_FIXED,
        })
    }
    fn write_cr(&mut self, number: u8, value: u64) -> Result<(), Fault> {
        match number {
            0 => {
                let now = cr::read_cr0(cpu_regs::read_cr0(), self.vcpu.ts.load(Relaxed));
                let ts = cr::write_cr0(now, value).map_err(|_| Fault::Original)?;
                self.vcpu.ts.store(ts, Relaxed);
                current::load_ts(self.vcpu);
            }
            2 => current::set_guest_cr2(self.vcpu, value),
            3 => {
                let base = Mfn::containing(value & 0x000f_ffff_ffff_f000);
                let call = Call {
                    m: &HW,
                    domain: self.domain,
                    vcpu: self.vcpu,
                    args: [0; 5],
                };
                match mmuext_op::load_kernel_base(&call, base) {
                    Ok(true) => {}
                    Ok(false) => return Err(Fault::Again),
                    Err(_) => return Err(Fault::Original),
                }
            }
            _ => {
                let value = cr::write_cr4(self.domain.policy.get().limits.cr4_changeable, value);
                self.vcpu.cr4.store(value, Relaxed);
                current::load_cr4(self.vcpu);
            }
        }
        Ok(())
    }
    fn read_dr(&mut self, dr: u8) -> Result<u64, Fault> {
        let extensions = self.vcpu.cr4.load(Relaxed) & cr::CR4_DE != 0;
        self.vcpu
            .debug
            .lock()
            .get(u32::from(dr), extensions)
            .map_err(|_| Fault::Original)
    }
    fn write_dr(&mut self, dr: u8, value: u64) -> Result<(), Fault> {
        let extensions = self.vcpu.cr4.load(Relaxed) & cr::CR4_DE != 0;
        let mut debug = self.vcpu.debug.lock();
        debug
            .set(u32::from(dr), value, extensions)
            .map_err(|_| Fault::Original)?;
        let active = DebugRegisters::is_active(&debug);
        drop(debug);
        if active || self.vcpu.debug_active.swap(active, Relaxed) {
            self.vcpu.debug_active.store(active, Relaxed);
            current::load_debug_registers(self.vcpu);
        }
        Ok(())
    }
    #[inline]
    fn read_msr(&mut self, msr: u32) -> Result<u64, Fault> {
        if msr == msr::KERNEL_GS_BASE {
            return Ok(current::inactive_gs_base());
        }
        match msr_policy::read(
            msr,
            &self.msr_state(),
            self.domain.policy.get().limits.vendor,
        ) {
            MsrRead::Value(value) => Ok(value),
            MsrRead::FsBase => Ok(current::read_base(msr::FS_BASE)),
            MsrRead::GsBase => Ok(current::read_base(msr::GS_BASE)),
            MsrRead::KernelGsBase => Ok(current::inactive_gs_base()),
            MsrRead::Tsc => Ok(cpu_regs::rdtsc()),
            MsrRead::Fault if self.vcpu.traps[13].address.load(Relaxed) == 0 => {
                cpu_regs::rdmsr_safe(msr).map(|_| 0).ok_or(Fault::Original)
            }
            MsrRead::Fault => Err(Fault::Original),
        }
    }
    fn write_msr(&mut self, msr: u32, value: u64) -> Result<(), Fault> {
        match msr_policy::write(
            msr,
            value,
            &self.msr_state(),
            self.domain.policy.get().limits.vendor,
        ) {
            MsrWrite::Ignored => {}
            MsrWrite::FsBase(base) => current::write_base(msr::FS_BASE, base),
            MsrWrite::GsBase(base) => current::write_base(msr::GS_BASE, base),
            MsrWrite::KernelGsBase(base) => current::write_base(msr::KERNEL_GS_BASE, base),
            MsrWrite::TscAux(value) => self.vcpu.tsc_aux.store(value, Relaxed),
            MsrWrite::PredictorBarrier => {
                // SAFETY: policy offers it only where the CPU has it.
                unsafe { cpu_regs::wrmsr(0x49, 1) };
            }
            MsrWrite::HypercallPage(_) | MsrWrite::Fault => return Err(Fault::Original),
        }
        Ok(())
    }
    fn read_tsc(&mut self) -> Result<u64, Fault> {
        Ok(cpu_regs::rdtsc())
    }
    fn tsc_aux(&mut self) -> Result<u32, Fault> {
        Ok(self.vcpu.tsc_aux.load(Relaxed))
    }
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let asker = Asker {
            mode: self.mode(),
            forced: true,
            cr4: self.vcpu.cr4.load(Relaxed),
            xcr0: self.vcpu.xcr0.load(Relaxed),
            tsc: &self.domain.policy.get().limits.tsc,
        };
        self.domain.policy.get().cpuid.answer(leaf, subleaf, &asker)
    }
    fn xsetbv(&mut self, index: u32, value: u64) -> Result<(), Fault> {
        cr::check_xsetbv(index, value, self.domain.policy.get().limits.xcr0_allowed)
            .map_err(|_| Fault::Original)?;
        self.vcpu.xcr0.store(value, Relaxed);
        // SAFETY: checked against what this CPU supports, and the hypervisor has CR4.OSXSAVE on.
        unsafe { cpu_regs::write_xcr0(value) };
        Ok(())
    }
    fn wbinvd(&mut self) {
        if self.domain.is_privileged {
            HW.write_back_caches();
        }
    }
}

/// #GP of a guest: a privileged instruction, `int n`, or its own fault.
pub fn general_protection(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
) -> Result<(), Unhandled> {
    let error = regs.error_code;
    let mut bytes = [0; 15];
    let mut host = Host { domain, vcpu };
    let kernel = current::in_kernel();
    let (got, code) = (fetch(regs.rip, &mut bytes), code_of(regs.cs));
    let Some(bytes) = bytes.get(..got) else {
        return Err(Unhandled::NoHandler);
    };
    if error == 0
        && kernel
        && code == Code::Bits64
        && let Some(op) = privop::quick(bytes)
    {
        let outcome = privop::execute_quick(op, regs, &mut host);
        return finish(regs, domain, vcpu, outcome, 13, Some(error));
    }
    let mode = host.mode();
    let outcome = match privop::decode(bytes, mode, code) {
        Ok(decoded) => {
            let (flags, mut memory) = (regs.rflags, Memory);
            let bases = SegBases {
                fs: current::read_base(msr::FS_BASE),
                gs: current::read_base(msr::GS_BASE),
            };
            privop::execute(decoded, regs, flags, bases, &mut memory, &mut host)
        }
        Err(_) => Outcome::Fault(Fault::Original),
    };
    finish(regs, domain, vcpu, outcome, 13, Some(error))
}

/// #UD of a guest: CPUID behind the forced-emulation prefix, or its own fault.
pub fn invalid_opcode(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
) -> Result<(), Unhandled> {
    let mut bytes = [0; 15];
    let got = fetch(regs.rip, &mut bytes);
    let outcome = match bytes.get(..got).and_then(privop::forced_cpuid) {
        Some(decoded) => {
            let (flags, mut host) = (regs.rflags, Host { domain, vcpu });
            privop::execute(
                decoded,
                regs,
                flags,
                SegBases::default(),
                &mut Memory,
                &mut host,
            )
        }
        None => Outcome::Fault(Fault::Original),
    };
    finish(regs, domain, vcpu, outcome, 6, None)
}

fn code_of(cs: u16) -> Code {
    // The hypervisor's own flat 32-bit segment, and the one Linux has in its GDT.
    if matches!(cs & !3, 0xe020 | 0x20) {
        Code::Bits32
    } else {
        Code::Bits64
    }
}

fn finish(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    outcome: Outcome,
    vector: u8,
    error: Option<u32>,
) -> Result<(), Unhandled> {
    match outcome {
        Outcome::Done { advance } => {
            regs.rip = regs.rip.wrapping_add(u64::from(advance));
            if regs.rflags & 0x100 != 0 {
                vcpu.debug.lock().merge_dr6(1 << 14);
                return bounce::exception(regs, domain, vcpu, 1, None);
            }
            Ok(())
        }
        Outcome::Restart | Outcome::Fault(Fault::Again) => Ok(()),
        Outcome::Interrupt { vector, advance } => {
            traps::software_interrupt(regs, domain, vcpu, vector, advance)
        }
        Outcome::Fault(Fault::Original) => bounce::exception(regs, domain, vcpu, vector, error),
        Outcome::Fault(Fault::GeneralProtection(code)) => {
            bounce::exception(regs, domain, vcpu, 13, Some(u32::from(code)))
        }
        Outcome::Fault(Fault::InvalidOpcode) => bounce::exception(regs, domain, vcpu, 6, None),
        Outcome::Fault(Fault::Page { va, error }) => {
            bounce::page_fault(regs, domain, vcpu, va, error)
        }
    }
}

/// Reads the debug status register and clears it.
pub fn take_dr6() -> u64 {
    let value: u64;
    // SAFETY: status only.
    unsafe {
        core::arch::asm!("mov {v}, dr6", "mov dr6, {zero}", v = out(reg) value, zero = in(reg) 0xffff_0ff0u64,
            options(nomem, nostack, preserves_flags));
    }
    value
}

/// The IRET to a guest faulted: `nested` is the fault's frame, which lies where the guest's general registers were, and
/// holds them. Puts the guest's frame together again, with the fault as the guest's own; the frame to leave by.
pub fn guest_iret_failed(nested: *mut CpuUserRegs) -> u64 {
    let outer = cpu::cpu_info().cast::<CpuUserRegs>();
    // SAFETY: (1) both frames are on this CPU's stack, and CpuInfo begins with its own; (2) they overlap, so the nested one
    // is read whole before the outer one is written, and not used after; (3) rip to ss of the outer frame are as they were
    // pushed, because the fault's frame began below them.
    let (saved, regs) = unsafe {
        let saved = nested.read_volatile();
        let pushed = outer.read_volatile();
        let mut whole = saved;
        (whole.rip, whole.cs, whole.rflags, whole.rsp, whole.ss) =
            (pushed.rip, pushed.cs, pushed.rflags, pushed.rsp, pushed.ss);
        outer.write_volatile(whole);
        (saved, &mut *outer)
    };
    let Some((domain, vcpu)) = current::current() else {
        crate::console::panic::die(&saved, "IRET failed, but no guest runs here");
    };
    // What matters is that the guest cannot run with a frame that the CPU refuses: give it one that it takes, and the
    // exception on top of that.
    let (vector, error) = (saved.entry_vector as u8, saved.error_code);
    if let Err(why) = bounce::exception(regs, domain, vcpu, vector, Some(error)) {
        traps::crash(regs, domain, vcpu, u32::from(vector), why);
    }
    outer as u64
}
