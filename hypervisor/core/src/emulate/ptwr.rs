//! Stores to a page-table page, decoded so that the hypervisor can do them as checked updates.
//!
//! A Linux kernel stores directly to its live page tables (`xchg` in ptep_get_and_clear, `lock btr` in
//! ptep_set_wrprotect, ...), which are mapped read-only; each such store faults, and this is what explains it. The
//! caller asks [`quick_store`], then [`decode_store`]. It compares [`Store::va`] with the fault address, then loops: read the entry, [`Store::compute`], check the new
//! entry, compare-exchange, and once that worked, put back register and flags and step over the instruction.

use super::decode::{Cursor, ModRm, Prefixes, Truncated};
use super::{Registers, SegBases, reg, rflags};

/// Not one of the store forms known here, or not a store to a naturally aligned place: give the guest its fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsupported;

impl From<Truncated> for Unsupported {
    #[inline]
    fn from(_: Truncated) -> Self {
        Unsupported
    }
}

/// An instruction that changes 1, 2, 4 or 8 naturally aligned bytes of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Store {
    /// The linear address of the operand, a multiple of [`Store::size`].
    pub va: u64,
    /// Bytes of the operand: 1, 2, 4 or 8.
    pub size: u8,
    /// Bytes of the instruction: 1 to 15.
    pub len: u8,
    op: Op,
    /// The register to write back, for `xchg`.
    register: u8,
    /// The source operand: the whole register or the sign-extended immediate.
    operand: u64,
    /// rax for `cmpxchg`; rdi after the store for `stos`.
    other: u64,
}

/// What a [`Store`] does to an entry and to the vcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Update {
    /// The whole aligned 8-byte entry after the store; the old one when nothing is written.
    pub entry: u64,
    /// Whether the entry is written at all: a `cmpxchg` may find another value than it expected.
    pub writes: bool,
    /// All of rflags after the instruction.
    pub rflags: u64,
    /// A register that gets a new 64-bit value.
    pub writeback: Option<(u8, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Mov,
    Xchg,
    Stos,
    Cmpxchg,
    Alu(Alu),
    Bit(Bit),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Alu {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bit {
    Set,
    Reset,
    Complement,
}

/// What nearly all stores of a kernel to its page tables are: `mov` or `xchg` of 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuickStore {
    /// The new entry.
    pub entry: u64,
    /// Bytes of the instruction.
    pub len: u8,
    /// Whether [`QuickStore::register`] gets the old entry (`xchg`). No flag changes.
    pub exchanges: bool,
    /// The source operand's register.
    pub register: u8,
}

/// Recognises `mov [base + disp], r64` and `xchg` without SIB, storing to the 8-byte aligned `fault_va`.
///
/// Small, and apart from [`decode_store`], so that its result stays in registers. `None` says nothing: ask
/// [`decode_store`].
#[inline]
pub fn quick_store<R: Registers>(bytes: &[u8], regs: &R, fault_va: u64) -> Option<QuickStore> {
    let head = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    // REX.W with any of R, X, B; then the opcode.
    let exchanges = match head & 0xfff8 {
        0x8748 => true,
        0x8948 => false,
        _ => return None,
    };
    let modrm = (head >> 16) as u8;
    let low = modrm & 7;
    // Compared one by one, with the likeliest first: a jump through a table costs more than it saves.
    let (displacement, len) = if modrm < 0x40 && low != 5 {
        (0, 3)
    } else if modrm & 0xc0 == 0x40 {
        ((head >> 24) as i8 as u64, 4)
    } else if modrm & 0xc0 == 0x80 {
        ((head >> 24) as i32 as u64, 7)
    } else {
        return None;
    };
    let va = regs
        .get(low | (head << 3) as u8 & 8)
        .wrapping_add(displacement);
    if low == 4 || va != fault_va || va & 7 != 0 {
        return None;
    }
    let register = (modrm >> 3) & 7 | (head << 1) as u8 & 8;
    Some(QuickStore {
        entry: regs.get(register),
        len,
        exchanges,
        register,
    })
}

/// Decodes the store at the start of `bytes` (up to 15, from `rip` on), executed by 64-bit code.
///
/// `bases` are the live segment bases; `flags` the guest's rflags (only DF matters).
///
/// # Errors
/// [`Unsupported`]: another instruction, a register operand, or an operand that is not naturally aligned.
pub fn decode_store<R: Registers>(
    bytes: &[u8],
    regs: &R,
    rip: u64,
    flags: u64,
    bases: SegBases,
) -> Result<Store, Unsupported> {
    let mut cursor = Cursor::new(bytes);
    let (prefixes, opcode) = Prefixes::read(&mut cursor, true)?;
    if prefixes.rep {
        return Err(Unsupported);
    }
    let size = prefixes.operand_size(opcode);
    let form = match opcode {
        // op r/m, r: the opcode's bits 5:3 are the operation; bit 2 clear and bit 1 clear say "to memory".
        0x00..=0x37 if opcode & 6 == 0 => Form {
            size,
            op: Op::Alu(alu(opcode >> 3)?),
            source: Source::Reg,
        },
        0x80 | 0x81 => Form {
            size,
            op: Op::Mov,
            source: Source::AluImmediate(size),
        },
        0x83 => Form {
            size,
            op: Op::Mov,
            source: Source::AluImmediate(1),
        },
        0x86 | 0x87 => Form {
            size,
            op: Op::Xchg,
            source: Source::Reg,
        },
        0x88 | 0x89 => Form {
            size,
            op: Op::Mov,
            source: Source::Reg,
        },
        0xc6 | 0xc7 => Form {
            size,
            op: Op::Mov,
            source: Source::Immediate,
        },
        0xaa | 0xab => return stos(&cursor, &prefixes, size, regs, flags),
        0x0f => two_byte(cursor.u8()?, &prefixes)?,
        _ => return Err(Unsupported),
    };
    form.finish(cursor, &prefixes, regs, rip, bases)
}

/// An opcode, before its operands are read.
struct Form {
    size: u8,
    op: Op,
    source: Source,
}

enum Source {
    /// The ModRM reg field.
    Reg,
    /// An immediate; ModRM.reg must be 0.
    Immediate,
    /// An immediate of so many bytes; ModRM.reg is the operation.
    AluImmediate(u8),
    /// A bit number in the ModRM reg field's register.
    BitReg,
    /// A bit number in an immediate byte; ModRM.reg is the operation.
    BitImmediate,
}

fn alu(number: u8) -> Result<Alu, Unsupported> {
    Ok(match number & 7 {
        0 => Alu::Add,
        1 => Alu::Or,
        2 => Alu::Adc,
        3 => Alu::Sbb,
        4 => Alu::And,
        5 => Alu::Sub,
        6 => Alu::Xor,
        _ => return Err(Unsupported), // cmp stores nothing
    })
}

fn two_byte(opcode: u8, prefixes: &Prefixes) -> Result<Form, Unsupported> {
    let full = prefixes.operand_size(1);
    Ok(match opcode {
        0xab => Form {
            size: full,
            op: Op::Bit(Bit::Set),
            source: Source::BitReg,
        },
        0xb3 => Form {
            size: full,
            op: Op::Bit(Bit::Reset),
            source: Source::BitReg,
        },
        0xbb => Form {
            size: full,
            op: Op::Bit(Bit::Complement),
            source: Source::BitReg,
        },
        0xba => Form {
            size: full,
            op: Op::Bit(Bit::Set),
            source: Source::BitImmediate,
        },
        0xb0 | 0xb1 => Form {
            size: prefixes.operand_size(opcode),
            op: Op::Cmpxchg,
            source: Source::Reg,
        },
        // movnti has no form of 16 bits.
        0xc3 if !prefixes.operand16 => Form {
            size: full,
            op: Op::Mov,
            source: Source::Reg,
        },
        _ => return Err(Unsupported),
    })
}

fn stos<R: Registers>(
    cursor: &Cursor<'_>,
    prefixes: &Prefixes,
    size: u8,
    regs: &R,
    flags: u64,
) -> Result<Store, Unsupported> {
    let va = regs.get(reg::RDI);
    let size64 = u64::from(size);
    // Addresses of 32 bits would truncate rdi; no kernel does that.
    if prefixes.lock || prefixes.address_size || va & (size64 - 1) != 0 {
        return Err(Unsupported);
    }
    let other = if flags & rflags::DF == 0 {
        va.wrapping_add(size64)
    } else {
        va.wrapping_sub(size64)
    };
    Ok(Store {
        va,
        size,
        len: cursor.len(),
        op: Op::Stos,
        register: reg::RDI,
        operand: regs.get(reg::RAX),
        other,
    })
}

impl Form {
    fn finish<R: Registers>(
        mut self,
        mut cursor: Cursor<'_>,
        prefixes: &Prefixes,
        regs: &R,
        rip: u64,
        bases: SegBases,
    ) -> Result<Store, Unsupported> {
        let size = self.size;
        let modrm = ModRm::read(&mut cursor, prefixes)?;
        let register = modrm.reg;
        let mut bit_string = 0;
        let operand = match self.source {
            Source::Reg => {
                // Without REX, byte registers 4 to 7 are ah, ch, dh, bh: not worth knowing.
                if size == 1 && prefixes.rex == 0 && register >= 4 {
                    return Err(Unsupported);
                }
                regs.get(register)
            }
            Source::Immediate if modrm.reg & 7 == 0 => cursor.immediate(size)?,
            Source::Immediate => return Err(Unsupported),
            Source::AluImmediate(bytes) => {
                self.op = Op::Alu(alu(modrm.reg)?);
                cursor.immediate(bytes)?
            }
            Source::BitReg => {
                let number = regs.get(register);
                bit_string = bit_string_offset(number, size);
                number
            }
            Source::BitImmediate => {
                self.op = Op::Bit(match modrm.reg & 7 {
                    5 => Bit::Set,
                    6 => Bit::Reset,
                    7 => Bit::Complement,
                    _ => return Err(Unsupported),
                });
                cursor.i8()?
            }
        };
        if prefixes.lock && matches!(self.op, Op::Mov) {
            return Err(Unsupported);
        }
        let next_rip = rip.wrapping_add(u64::from(cursor.len()));
        let offset = modrm
            .rm
            .offset(regs, next_rip, prefixes.address_size)
            .ok_or(Unsupported)?;
        let va = offset
            .wrapping_add(bit_string)
            .wrapping_add(prefixes.segment.base(bases));
        if va & (u64::from(size) - 1) != 0 {
            return Err(Unsupported);
        }
        let other = if self.op == Op::Cmpxchg {
            regs.get(reg::RAX)
        } else {
            0
        };
        Ok(Store {
            va,
            size,
            len: cursor.len(),
            op: self.op,
            register,
            operand,
            other,
        })
    }
}

/// Where a bit number from a register points beyond the operand: in bytes, rounded to whole operands.
fn bit_string_offset(number: u64, size: u8) -> u64 {
    match size {
        8 => ((number as i64) >> 6).wrapping_mul(8) as u64,
        4 => (i64::from(number as i32) >> 5).wrapping_mul(4) as u64,
        _ => (i64::from(number as i16) >> 4).wrapping_mul(2) as u64,
    }
}

/// All bits of an operand of `size` bytes.
#[inline]
fn mask(size: u8) -> u64 {
    match size {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

impl Store {
    /// What the instruction does when the aligned 8-byte entry around [`Store::va`] holds `old_entry`.
    #[inline]
    pub fn compute(&self, old_entry: u64, flags: u64) -> Update {
        if self.size == 8 {
            match self.op {
                Op::Mov => {
                    return Update {
                        entry: self.operand,
                        writes: true,
                        rflags: flags,
                        writeback: None,
                    };
                }
                Op::Xchg => {
                    let writeback = Some((self.register, old_entry));
                    return Update {
                        entry: self.operand,
                        writes: true,
                        rflags: flags,
                        writeback,
                    };
                }
                _ => {}
            }
        }
        self.compute_any(old_entry, flags)
    }

    #[inline(never)]
    fn compute_any(&self, old_entry: u64, flags: u64) -> Update {
        let shift = (self.va & 7) * 8;
        let mask = mask(self.size);
        let old = (old_entry >> shift) & mask;
        let operand = self.operand & mask;
        let mut update = Update {
            entry: old_entry,
            writes: true,
            rflags: flags,
            writeback: None,
        };
        let new = match self.op {
            Op::Mov => operand,
            Op::Stos => {
                update.writeback = Some((reg::RDI, self.other));
                operand
            }
            Op::Xchg => {
                update.writeback = Some(self.merged_register(old));
                operand
            }
            Op::Alu(alu) => {
                let (new, arithmetic) = alu.apply(old, operand, self.size, flags);
                update.rflags = flags & !rflags::ARITHMETIC | arithmetic;
                new
            }
            Op::Bit(bit) => {
                let selected = 1 << (self.operand & (u64::from(self.size) * 8 - 1));
                let carry = if old & selected != 0 { rflags::CF } else { 0 };
                update.rflags = flags & !rflags::CF | carry;
                match bit {
                    Bit::Set => old | selected,
                    Bit::Reset => old & !selected,
                    Bit::Complement => old ^ selected,
                }
            }
            Op::Cmpxchg => {
                let (_, arithmetic) = Alu::Sub.apply(self.other & mask, old, self.size, flags);
                update.rflags = flags & !rflags::ARITHMETIC | arithmetic;
                if self.other & mask != old {
                    update.writes = false;
                    let kept = if self.size == 4 {
                        0
                    } else {
                        self.other & !mask
                    };
                    update.writeback = Some((reg::RAX, kept | old));
                    return update;
                }
                operand
            }
        };
        update.entry = old_entry & !(mask << shift) | new << shift;
        update
    }

    /// The register of an `xchg` with `value` in its low `size` bytes, as the architecture merges it.
    fn merged_register(&self, value: u64) -> (u8, u64) {
        let kept = if self.size == 4 {
            0
        } else {
            self.operand & !mask(self.size)
        };
        (self.register, kept | value)
    }
}

impl Alu {
    /// The result and the arithmetic flags of `old op operand`, both of `size` bytes.
    fn apply(self, old: u64, operand: u64, size: u8, flags: u64) -> (u64, u64) {
        let mask = mask(size);
        let sign = mask ^ (mask >> 1);
        let carry_in = match self {
            Alu::Adc | Alu::Sbb => flags & rflags::CF,
            _ => 0,
        };
        let (result, carry, overflow) = match self {
            Alu::Or => (old | operand, false, false),
            Alu::And => (old & operand, false, false),
            Alu::Xor => (old ^ operand, false, false),
            Alu::Add | Alu::Adc => {
                let result = old.wrapping_add(operand).wrapping_add(carry_in) & mask;
                let carry = result < old || (carry_in != 0 && result == old);
                (
                    result,
                    carry,
                    (old ^ result) & (operand ^ result) & sign != 0,
                )
            }
            Alu::Sub | Alu::Sbb => {
                let result = old.wrapping_sub(operand).wrapping_sub(carry_in) & mask;
                let carry = old < operand || (carry_in != 0 && old == operand);
                (result, carry, (old ^ operand) & (old ^ result) & sign != 0)
            }
        };
        let mut arithmetic = 0;
        let mut set = |condition: bool, flag: u64| {
            if condition {
                arithmetic |= flag;
            }
        };
        set(carry, rflags::CF);
        set(overflow, rflags::OF);
        set(result == 0, rflags::ZF);
        set(result & sign != 0, rflags::SF);
        set((result as u8).count_ones().is_multiple_of(2), rflags::PF);
        // The logical operations leave AF undefined; clear, as processors do.
        let logical = matches!(self, Alu::Or | Alu::And | Alu::Xor);
        set(!logical && (old ^ operand ^ result) & 0x10 != 0, rflags::AF);
        (result, arithmetic)
    }
}
