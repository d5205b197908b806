//! Doing for a guest kernel what its instruction would have done on a bare machine.
//!
//! A paravirtual guest runs in ring 3, so a privileged instruction traps. Two kinds are answered by decoding it:
//!
//! - [`ptwr`]: a store to a page-table page that the guest has mapped read-only ("writable page tables");
//! - [`privop`]: I/O, control, debug and model-specific registers, CPUID behind the forced-emulation prefix, `int n`.
//!
//! Only the handful of opcodes that guests need is known; all else is refused and the original fault goes back to the
//! guest. Nothing here touches the machine: registers come through [`Registers`], guest memory through [`GuestMem`],
//! and everything else through [`privop::PrivHost`]. Instruction bytes are an allegation (another vcpu may have changed
//! them since the fault), so a decoded instruction is carried out only through checks that hold for any instruction.

pub mod decode;
pub mod io;
pub mod privop;
pub mod ptwr;
#[cfg(test)]
mod tests;

use rexen_abi::arch_x86::CpuUserRegs;

/// Bytes that the longest x86 instruction has.
pub const MAX_INSTRUCTION: usize = 15;

/// x86 number of a general register, for [`Registers`].
pub mod reg {
    /// rax
    pub const RAX: u8 = 0;
    /// rcx
    pub const RCX: u8 = 1;
    /// rdx
    pub const RDX: u8 = 2;
    /// rbx
    pub const RBX: u8 = 3;
    /// rsp
    pub const RSP: u8 = 4;
    /// rbp
    pub const RBP: u8 = 5;
    /// rsi
    pub const RSI: u8 = 6;
    /// rdi
    pub const RDI: u8 = 7;
}

/// Bits of rflags.
pub mod rflags {
    /// Carry.
    pub const CF: u64 = 1 << 0;
    /// Parity.
    pub const PF: u64 = 1 << 2;
    /// Auxiliary carry.
    pub const AF: u64 = 1 << 4;
    /// Zero.
    pub const ZF: u64 = 1 << 6;
    /// Sign.
    pub const SF: u64 = 1 << 7;
    /// Single step.
    pub const TF: u64 = 1 << 8;
    /// Interrupts on.
    pub const IF: u64 = 1 << 9;
    /// Direction of string instructions.
    pub const DF: u64 = 1 << 10;
    /// Overflow.
    pub const OF: u64 = 1 << 11;
    /// The flags that arithmetic changes.
    pub const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
}

/// The general registers of a vcpu, by x86 number: 0 rax, 1 rcx, 2 rdx, 3 rbx, 4 rsp, 5 rbp, 6 rsi, 7 rdi, 8 to 15.
///
/// Numbers above 15 are not asked for.
pub trait Registers {
    /// The value of register `number`.
    fn get(&self, number: u8) -> u64;
    /// Sets register `number`.
    fn set(&mut self, number: u8, value: u64);
}

/// The general registers as an array in the order of their x86 numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gprs(pub [u64; 16]);

impl Registers for Gprs {
    #[inline]
    fn get(&self, number: u8) -> u64 {
        self.0[usize::from(number & 15)]
    }
    #[inline]
    fn set(&mut self, number: u8, value: u64) {
        self.0[usize::from(number & 15)] = value;
    }
}

impl Registers for CpuUserRegs {
    #[inline]
    fn get(&self, number: u8) -> u64 {
        match number & 15 {
            0 => self.rax,
            1 => self.rcx,
            2 => self.rdx,
            3 => self.rbx,
            4 => self.rsp,
            5 => self.rbp,
            6 => self.rsi,
            7 => self.rdi,
            8 => self.r8,
            9 => self.r9,
            10 => self.r10,
            11 => self.r11,
            12 => self.r12,
            13 => self.r13,
            14 => self.r14,
            _ => self.r15,
        }
    }
    #[inline]
    fn set(&mut self, number: u8, value: u64) {
        match number & 15 {
            0 => self.rax = value,
            1 => self.rcx = value,
            2 => self.rdx = value,
            3 => self.rbx = value,
            4 => self.rsp = value,
            5 => self.rbp = value,
            6 => self.rsi = value,
            7 => self.rdi = value,
            8 => self.r8 = value,
            9 => self.r9 = value,
            10 => self.r10 = value,
            11 => self.r11 = value,
            12 => self.r12 = value,
            13 => self.r13 = value,
            14 => self.r14 = value,
            _ => self.r15 = value,
        }
    }
}

/// The guest's frame as words, for the hot paths: each register is one table look-up away.
///
/// Laid out as `struct cpu_user_regs`, so that the hypervisor, which may do so, can look at its frame as this.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct FrameWords(pub [u64; size_of::<CpuUserRegs>() / 8]);

/// Which word of the frame holds each register, by x86 number.
const FRAME_WORD: [u8; 16] = [10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0];

impl Registers for FrameWords {
    #[inline]
    fn get(&self, number: u8) -> u64 {
        self.0[usize::from(FRAME_WORD[usize::from(number & 15)])]
    }
    #[inline]
    fn set(&mut self, number: u8, value: u64) {
        self.0[usize::from(FRAME_WORD[usize::from(number & 15)])] = value;
    }
}

/// Bases of the two segments that have one in 64-bit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SegBases {
    /// The live FS base.
    pub fs: u64,
    /// The live GS base.
    pub gs: u64,
}

/// What the guest gets instead of its instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The fault that brought us here, unchanged, at the instruction.
    Original,
    /// None: part of the work is done, and the instruction is to run again for the rest.
    Again,
    /// #GP with this error code, at the instruction.
    GeneralProtection(u16),
    /// #UD at the instruction.
    InvalidOpcode,
    /// #PF at linear address `va` with this error code.
    Page {
        /// The address that could not be reached.
        va: u64,
        /// As hardware would report it; the U bit is recomputed when it is delivered.
        error: u32,
    },
}

/// Guest memory as the guest itself may reach it at this moment.
///
/// The implementation refuses the hypervisor's range and respects the guest's own page permissions.
pub trait GuestMem {
    /// Copies from guest address `va` on.
    ///
    /// # Errors
    /// The fault that the guest's own access would have met. `into` may then hold part of the bytes.
    fn read(&mut self, va: u64, into: &mut [u8]) -> Result<(), Fault>;
    /// Copies to guest address `va` on.
    ///
    /// # Errors
    /// The fault that the guest's own access would have met. Part of the bytes may then be written.
    fn write(&mut self, va: u64, from: &[u8]) -> Result<(), Fault>;
    /// Whether a write of `len` bytes (up to 4) from `va` on would now succeed.
    ///
    /// # Errors
    /// The fault that it would meet. The default never objects; then `ins` to bad memory loses a value of the port.
    fn probe_write(&mut self, _va: u64, _len: usize) -> Result<(), Fault> {
        Ok(())
    }
}

/// What the guest's code ran as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The guest kernel.
    Kernel,
    /// Guest user space.
    User,
}
