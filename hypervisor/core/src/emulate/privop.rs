//! Privileged instructions of a guest: which one it is, and what it does over a [`PrivHost`].
//!
//! The #GP handler asks [`quick`] first (`rdmsr` on every context switch, port I/O of drivers), then [`decode`] and
//! [`execute`]. The #UD handler asks [`forced_cpuid`]. What the instruction may do is the host's to decide: this file
//! moves values between registers, memory and host, and adds no rights.

use super::decode::{Cursor, ModRm, Prefixes, Rm, Segment, Truncated};
use super::{Fault, GuestMem, Mode, Registers, SegBases, reg, rflags};

/// The instruction is none that is emulated for this guest mode: it gets its original fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotEmulated;

impl From<Truncated> for NotEmulated {
    fn from(_: Truncated) -> Self {
        NotEmulated
    }
}

/// Width of the code segment the instruction came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// 64-bit code.
    Bits64,
    /// 32-bit code, of a 32-bit program under a 64-bit kernel.
    Bits32,
}

/// Where an I/O instruction takes its port from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// An immediate byte.
    Immediate(u8),
    /// dx.
    Dx,
}

impl Port {
    /// The port number.
    #[inline]
    pub fn number<R: Registers>(self, regs: &R) -> u16 {
        match self {
            Port::Immediate(port) => u16::from(port),
            Port::Dx => regs.get(reg::RDX) as u16,
        }
    }
}

/// A string I/O instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StringIo {
    /// Bytes of one element: 1, 2 or 4.
    pub size: u8,
    /// Repeat rcx times.
    pub rep: bool,
    /// Use esi/edi/ecx instead of the 64-bit registers.
    pub address32: bool,
    /// Segment of the source of `outs`; `ins` always uses ES, which is flat.
    pub segment: Segment,
}

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrivOp {
    /// `in` of 1, 2 or 4 bytes.
    In {
        /// The port.
        port: Port,
        /// Bytes.
        size: u8,
    },
    /// `out` of 1, 2 or 4 bytes.
    Out {
        /// The port.
        port: Port,
        /// Bytes.
        size: u8,
    },
    /// `ins`, perhaps repeated.
    Ins(StringIo),
    /// `outs`, perhaps repeated.
    Outs(StringIo),
    /// `cli`
    Cli,
    /// `sti`
    Sti,
    /// `clts`
    Clts,
    /// `mov register, cr`
    ReadCr {
        /// 0, 2, 3 or 4.
        cr: u8,
        /// The general register.
        register: u8,
    },
    /// `mov cr, register`
    WriteCr {
        /// 0, 2, 3 or 4.
        cr: u8,
        /// The general register.
        register: u8,
    },
    /// `mov register, dr`
    ReadDr {
        /// 0 to 7.
        dr: u8,
        /// The general register.
        register: u8,
    },
    /// `mov dr, register`
    WriteDr {
        /// 0 to 7.
        dr: u8,
        /// The general register.
        register: u8,
    },
    /// `rdmsr`
    Rdmsr,
    /// `wrmsr`
    Wrmsr,
    /// `rdtsc`
    Rdtsc,
    /// `rdtscp`
    Rdtscp,
    /// `cpuid`, behind the forced-emulation prefix or where the machine lets CPUID fault.
    Cpuid,
    /// `xsetbv`
    Xsetbv,
    /// `wbinvd`
    Wbinvd,
    /// `int n`, `int3`, `into` with this vector.
    Int(u8),
}

/// A decoded instruction and its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// What it is.
    pub op: PrivOp,
    /// Its length in bytes, 1 to 15.
    pub len: u8,
}

/// What became of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done: rip goes on by `advance` bytes.
    Done {
        /// Length of the instruction.
        advance: u8,
    },
    /// The guest gets this fault at the instruction. Registers hold the progress of a repeated instruction.
    Fault(Fault),
    /// Part of a repeated instruction is done and in the registers: return to the guest at the same rip.
    Restart,
    /// Check that the guest may raise `vector` (trap_info flags), go on by `advance` and bounce it without error code.
    Interrupt {
        /// The vector.
        vector: u8,
        /// Length of the instruction.
        advance: u8,
    },
}

/// What privileged instructions need of the vcpu and the machine. The implementation knows the guest's mode.
pub trait PrivHost {
    /// Whether I/O instructions may reach `size` ports from `port` on: IOPL or bitmap (`emulate::io`).
    fn io_allowed(&mut self, port: u16, size: u8) -> bool;
    /// Whether the virtual IOPL allows `cli` and `sti`.
    fn iopl_allowed(&mut self) -> bool;
    /// Reads 1, 2 or 4 bytes; ones for a port that the domain may not reach.
    fn io_in(&mut self, port: u16, size: u8) -> u32;
    /// Writes the low 1, 2 or 4 bytes; nothing for a port that the domain may not reach.
    fn io_out(&mut self, port: u16, size: u8, value: u32);
    /// Reads virtual control register 0, 2, 3 or 4.
    ///
    /// # Errors
    /// What the guest gets instead, as for all that follow.
    fn read_cr(&mut self, cr: u8) -> Result<u64, Fault>;
    /// Writes virtual control register 0, 2, 3 or 4.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn write_cr(&mut self, cr: u8, value: u64) -> Result<(), Fault>;
    /// Reads virtual debug register 0 to 7.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn read_dr(&mut self, dr: u8) -> Result<u64, Fault>;
    /// Writes virtual debug register 0 to 7.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn write_dr(&mut self, dr: u8, value: u64) -> Result<(), Fault>;
    /// Reads a virtual model-specific register.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn read_msr(&mut self, msr: u32) -> Result<u64, Fault>;
    /// Writes a virtual model-specific register.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn write_msr(&mut self, msr: u32, value: u64) -> Result<(), Fault>;
    /// The guest's time-stamp counter.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn read_tsc(&mut self) -> Result<u64, Fault>;
    /// What `rdtscp` puts into ecx.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn tsc_aux(&mut self) -> Result<u32, Fault>;
    /// eax, ebx, ecx, edx of a CPUID leaf.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4];
    /// Writes extended control register `index`.
    #[expect(clippy::missing_errors_doc, reason = "said at read_cr")]
    fn xsetbv(&mut self, index: u32, value: u64) -> Result<(), Fault>;
    /// Writes back the caches, if the domain may.
    fn wbinvd(&mut self);
}

/// An instruction that [`quick`] recognises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuickOp {
    /// `rdmsr`, 2 bytes.
    Rdmsr,
    /// `wrmsr`, 2 bytes.
    Wrmsr,
    /// `in` without prefixes.
    In {
        /// The port.
        port: Port,
        /// 1 or 4.
        size: u8,
        /// Length of the instruction.
        len: u8,
    },
    /// `out` without prefixes.
    Out {
        /// The port.
        port: Port,
        /// 1 or 4.
        size: u8,
        /// Length of the instruction.
        len: u8,
    },
}

/// Recognises the frequent instructions by their first two bytes. `None` says nothing: ask [`decode`].
///
/// `rdmsr` and `wrmsr` are for the guest kernel only; the caller has checked the mode.
#[inline]
pub fn quick(bytes: &[u8]) -> Option<QuickOp> {
    let head = u16::from_le_bytes(*bytes.first_chunk::<2>()?);
    match head {
        0x320f => return Some(QuickOp::Rdmsr),
        0x300f => return Some(QuickOp::Wrmsr),
        _ => {}
    }
    let opcode = head as u8;
    // 0xe4..=0xe7 with an immediate port, 0xec..=0xef with dx; bit 1 is the direction, bit 0 the size.
    if opcode & 0xf4 != 0xe4 {
        return None;
    }
    let size = if opcode & 1 == 0 { 1 } else { 4 };
    let (port, len) = if opcode & 8 == 0 {
        (Port::Immediate((head >> 8) as u8), 2)
    } else {
        (Port::Dx, 1)
    };
    Some(if opcode & 2 == 0 {
        QuickOp::In { port, size, len }
    } else {
        QuickOp::Out { port, size, len }
    })
}

/// The bytes of the forced-emulation prefix and CPUID: `ud2; .ascii "xen"; cpuid`.
pub const FORCED_CPUID: [u8; 7] = [0x0f, 0x0b, b'x', b'e', b'n', 0x0f, 0xa2];

/// Recognises CPUID behind the forced-emulation prefix, which arrives as #UD.
///
/// `None`: the guest gets its #UD, also when another instruction stands behind the prefix.
#[inline]
pub fn forced_cpuid(bytes: &[u8]) -> Option<Decoded> {
    if *bytes.first_chunk::<7>()? != FORCED_CPUID {
        return None;
    }
    Some(Decoded {
        op: PrivOp::Cpuid,
        len: 7,
    })
}

/// Decodes the instruction at the start of `bytes` as far as code of this mode and width may have it emulated.
///
/// # Errors
/// [`NotEmulated`]
pub fn decode(bytes: &[u8], mode: Mode, code: Code) -> Result<Decoded, NotEmulated> {
    let mut cursor = Cursor::new(bytes);
    let (prefixes, opcode) = Prefixes::read(&mut cursor, code == Code::Bits64)?;
    if prefixes.lock {
        return Err(NotEmulated);
    }
    let size = match (opcode & 1, prefixes.operand16) {
        (0, _) => 1,
        (_, true) => 2,
        (_, false) => 4,
    };
    let op = match opcode {
        0xe4 | 0xe5 => PrivOp::In {
            port: Port::Immediate(cursor.u8()?),
            size,
        },
        0xe6 | 0xe7 => PrivOp::Out {
            port: Port::Immediate(cursor.u8()?),
            size,
        },
        0xec | 0xed => PrivOp::In {
            port: Port::Dx,
            size,
        },
        0xee | 0xef => PrivOp::Out {
            port: Port::Dx,
            size,
        },
        0x6c | 0x6d => PrivOp::Ins(StringIo::new(&prefixes, code, size)?),
        0x6e | 0x6f => PrivOp::Outs(StringIo::new(&prefixes, code, size)?),
        0xfa => PrivOp::Cli,
        0xfb => PrivOp::Sti,
        0xcc => PrivOp::Int(3),
        0xcd => PrivOp::Int(cursor.u8()?),
        0xce if code == Code::Bits32 => PrivOp::Int(4),
        0x0f => two_byte(&mut cursor, &prefixes, mode, code)?,
        _ => return Err(NotEmulated),
    };
    Ok(Decoded {
        op,
        len: cursor.len(),
    })
}

impl StringIo {
    fn new(prefixes: &Prefixes, code: Code, size: u8) -> Result<StringIo, NotEmulated> {
        let address32 = match (code, prefixes.address_size) {
            (Code::Bits64, override_) => override_,
            (Code::Bits32, false) => true,
            // 16-bit addresses are not worth having.
            (Code::Bits32, true) => return Err(NotEmulated),
        };
        Ok(StringIo {
            size,
            rep: prefixes.rep,
            address32,
            segment: prefixes.segment,
        })
    }
}

fn two_byte(
    cursor: &mut Cursor<'_>,
    prefixes: &Prefixes,
    mode: Mode,
    code: Code,
) -> Result<PrivOp, NotEmulated> {
    let opcode = cursor.u8()?;
    // With 0xf2 or 0xf3 these are other instructions (wbnoinvd, ...).
    if prefixes.rep {
        return Err(NotEmulated);
    }
    match opcode {
        0x31 => return Ok(PrivOp::Rdtsc),
        0xa2 => return Ok(PrivOp::Cpuid),
        0x01 => {
            return match (cursor.u8()?, mode) {
                (0xf9, _) => Ok(PrivOp::Rdtscp),
                (0xd1, Mode::Kernel) if !prefixes.operand16 => Ok(PrivOp::Xsetbv),
                _ => Err(NotEmulated),
            };
        }
        _ => {}
    }
    if mode != Mode::Kernel || code != Code::Bits64 {
        return Err(NotEmulated);
    }
    Ok(match opcode {
        0x06 => PrivOp::Clts,
        0x09 => PrivOp::Wbinvd,
        0x30 => PrivOp::Wrmsr,
        0x32 => PrivOp::Rdmsr,
        0x20..=0x23 => {
            let modrm = special_modrm(cursor, prefixes)?;
            let (number, register) = modrm;
            match opcode {
                0x20 if is_cr(number) => PrivOp::ReadCr {
                    cr: number,
                    register,
                },
                0x22 if is_cr(number) => PrivOp::WriteCr {
                    cr: number,
                    register,
                },
                0x21 if number < 8 => PrivOp::ReadDr {
                    dr: number,
                    register,
                },
                0x23 if number < 8 => PrivOp::WriteDr {
                    dr: number,
                    register,
                },
                _ => return Err(NotEmulated),
            }
        }
        _ => return Err(NotEmulated),
    })
}

fn is_cr(number: u8) -> bool {
    matches!(number, 0 | 2 | 3 | 4)
}

/// The special and the general register of a move between them, where processors ignore ModRM's mode bits.
fn special_modrm(cursor: &mut Cursor<'_>, prefixes: &Prefixes) -> Result<(u8, u8), NotEmulated> {
    let byte = [cursor.u8()? | 0xc0];
    let modrm = ModRm::read(&mut Cursor::new(&byte), prefixes)?;
    match modrm.rm {
        Rm::Register(register) => Ok((modrm.reg, register)),
        Rm::Memory { .. } => Err(NotEmulated),
    }
}

/// Elements of a repeated I/O instruction done in one go: enough to make the trap cheap, few enough to stay short.
const STRING_STEPS: u64 = 256;

/// Carries out `decoded`. Changes `regs` (not rip); no flag changes.
///
/// `flags` is the guest's rflags (only DF and OF matter), `bases` the live segment bases.
pub fn execute<R: Registers, M: GuestMem, H: PrivHost>(
    decoded: Decoded,
    regs: &mut R,
    flags: u64,
    bases: SegBases,
    mem: &mut M,
    host: &mut H,
) -> Outcome {
    match attempt(decoded, regs, flags, bases, mem, host) {
        Ok(outcome) => outcome,
        Err(fault) => Outcome::Fault(fault),
    }
}

fn attempt<R: Registers, M: GuestMem, H: PrivHost>(
    decoded: Decoded,
    regs: &mut R,
    flags: u64,
    bases: SegBases,
    mem: &mut M,
    host: &mut H,
) -> Result<Outcome, Fault> {
    let advance = decoded.len;
    match decoded.op {
        PrivOp::In { port, size } => io_in(port, size, regs, host)?,
        PrivOp::Out { port, size } => io_out(port, size, regs, host)?,
        PrivOp::Ins(string) => {
            return string_io(true, string, advance, regs, flags, bases, mem, host);
        }
        PrivOp::Outs(string) => {
            return string_io(false, string, advance, regs, flags, bases, mem, host);
        }
        // The upcall mask is the guest's interrupt flag, and these do not touch it.
        PrivOp::Cli | PrivOp::Sti if host.iopl_allowed() => {}
        PrivOp::Cli | PrivOp::Sti => return Err(Fault::Original),
        PrivOp::Clts => {
            let cr0 = host.read_cr(0)?;
            host.write_cr(0, cr0 & !CR0_TS)?;
        }
        PrivOp::ReadCr { cr, register } => regs.set(register, host.read_cr(cr)?),
        PrivOp::WriteCr { cr, register } => host.write_cr(cr, regs.get(register))?,
        PrivOp::ReadDr { dr, register } => regs.set(register, host.read_dr(dr)?),
        PrivOp::WriteDr { dr, register } => host.write_dr(dr, regs.get(register))?,
        PrivOp::Rdmsr => rdmsr(regs, host)?,
        PrivOp::Wrmsr => wrmsr(regs, host)?,
        PrivOp::Rdtsc => set_pair(regs, host.read_tsc()?),
        PrivOp::Rdtscp => {
            let (tsc, aux) = (host.read_tsc()?, host.tsc_aux()?);
            set_pair(regs, tsc);
            regs.set(reg::RCX, u64::from(aux));
        }
        PrivOp::Cpuid => {
            let [a, b, c, d] = host.cpuid(regs.get(reg::RAX) as u32, regs.get(reg::RCX) as u32);
            regs.set(reg::RAX, u64::from(a));
            regs.set(reg::RBX, u64::from(b));
            regs.set(reg::RCX, u64::from(c));
            regs.set(reg::RDX, u64::from(d));
        }
        PrivOp::Xsetbv => host.xsetbv(regs.get(reg::RCX) as u32, pair(regs))?,
        PrivOp::Wbinvd => host.wbinvd(),
        PrivOp::Int(4) if decoded.len == 1 && flags & rflags::OF == 0 => {}
        PrivOp::Int(vector) => return Ok(Outcome::Interrupt { vector, advance }),
    }
    Ok(Outcome::Done { advance })
}

const CR0_TS: u64 = 1 << 3;

/// edx:eax.
#[inline]
fn pair<R: Registers>(regs: &R) -> u64 {
    (regs.get(reg::RDX) << 32) | (regs.get(reg::RAX) & 0xffff_ffff)
}

#[inline]
fn set_pair<R: Registers>(regs: &mut R, value: u64) {
    regs.set(reg::RAX, value & 0xffff_ffff);
    regs.set(reg::RDX, value >> 32);
}

/// `rdmsr`: the MSR named by ecx into edx:eax.
///
/// # Errors
/// What the host says; registers are then unchanged.
#[inline]
pub fn rdmsr<R: Registers, H: PrivHost>(regs: &mut R, host: &mut H) -> Result<(), Fault> {
    let value = host.read_msr(regs.get(reg::RCX) as u32)?;
    set_pair(regs, value);
    Ok(())
}

/// `wrmsr`: edx:eax into the MSR named by ecx.
///
/// # Errors
/// What the host says.
#[inline]
pub fn wrmsr<R: Registers, H: PrivHost>(regs: &mut R, host: &mut H) -> Result<(), Fault> {
    host.write_msr(regs.get(reg::RCX) as u32, pair(regs))
}

/// `in`: a port of 1, 2 or 4 bytes into al, ax or eax.
///
/// # Errors
/// The original fault, when neither IOPL nor bitmap allow the port.
#[inline]
pub fn io_in<R: Registers, H: PrivHost>(
    port: Port,
    size: u8,
    regs: &mut R,
    host: &mut H,
) -> Result<(), Fault> {
    let number = port.number(regs);
    if !host.io_allowed(number, size) {
        return Err(Fault::Original);
    }
    let value = u64::from(host.io_in(number, size));
    let rax = match size {
        1 => (regs.get(reg::RAX) & !0xff) | (value & 0xff),
        2 => (regs.get(reg::RAX) & !0xffff) | (value & 0xffff),
        _ => value,
    };
    regs.set(reg::RAX, rax);
    Ok(())
}

/// `out`: al, ax or eax to a port of 1, 2 or 4 bytes.
///
/// # Errors
/// The original fault, when neither IOPL nor bitmap allow the port.
#[inline]
pub fn io_out<R: Registers, H: PrivHost>(
    port: Port,
    size: u8,
    regs: &R,
    host: &mut H,
) -> Result<(), Fault> {
    let number = port.number(regs);
    if !host.io_allowed(number, size) {
        return Err(Fault::Original);
    }
    let rax = regs.get(reg::RAX) as u32;
    let value = match size {
        1 => rax & 0xff,
        2 => rax & 0xffff,
        _ => rax,
    };
    host.io_out(number, size, value);
    Ok(())
}

/// Carries out one QuickOp; as [`execute`], for the caller that recognised it with [`quick`].
#[inline]
pub fn execute_quick<R: Registers, H: PrivHost>(
    op: QuickOp,
    regs: &mut R,
    host: &mut H,
) -> Outcome {
    let (result, advance) = match op {
        QuickOp::Rdmsr => (rdmsr(regs, host), 2),
        QuickOp::Wrmsr => (wrmsr(regs, host), 2),
        QuickOp::In { port, size, len } => (io_in(port, size, regs, host), len),
        QuickOp::Out { port, size, len } => (io_out(port, size, regs, host), len),
    };
    match result {
        Ok(()) => Outcome::Done { advance },
        Err(fault) => Outcome::Fault(fault),
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "an instruction has this much context, and one caller"
)]
fn string_io<R: Registers, M: GuestMem, H: PrivHost>(
    input: bool,
    string: StringIo,
    advance: u8,
    regs: &mut R,
    flags: u64,
    bases: SegBases,
    mem: &mut M,
    host: &mut H,
) -> Result<Outcome, Fault> {
    let port = regs.get(reg::RDX) as u16;
    let limit = if string.address32 {
        0xffff_ffff
    } else {
        u64::MAX
    };
    let mut left = if string.rep {
        regs.get(reg::RCX) & limit
    } else {
        1
    };
    if left == 0 {
        return Ok(Outcome::Done { advance });
    }
    if !host.io_allowed(port, string.size) {
        return Err(Fault::Original);
    }
    let size = usize::from(string.size);
    let step = if flags & rflags::DF == 0 {
        size as u64
    } else {
        (size as u64).wrapping_neg()
    };
    let (pointer, base) = if input {
        (reg::RDI, 0)
    } else {
        (reg::RSI, string.segment.base(bases))
    };
    for _ in 0..STRING_STEPS.min(left) {
        let offset = regs.get(pointer) & limit;
        let va = base.wrapping_add(offset);
        let mut buffer = [0; 4];
        let element = buffer.get_mut(..size).ok_or(Fault::Original)?;
        if input {
            // A port read cannot be undone, so first see that the value has somewhere to go.
            mem.probe_write(va, size)?;
            let value = host.io_in(port, string.size).to_le_bytes();
            element.copy_from_slice(value.get(..size).ok_or(Fault::Original)?);
            mem.write(va, element)?;
        } else {
            mem.read(va, element)?;
            host.io_out(port, string.size, u32::from_le_bytes(buffer));
        }
        regs.set(pointer, offset.wrapping_add(step) & limit);
        left -= 1;
        if string.rep {
            regs.set(reg::RCX, left);
        }
    }
    Ok(if left == 0 {
        Outcome::Done { advance }
    } else {
        Outcome::Restart
    })
}
