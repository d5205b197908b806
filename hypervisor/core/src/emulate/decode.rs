//! The parts that every x86 instruction has: prefixes, ModRM, SIB and displacement, immediate.
//!
//! Says where an operand is, not what the opcode does. Reads no byte beyond the slice and at most 15 of it.

use super::{MAX_INSTRUCTION, Registers, SegBases, reg};

/// The bytes ended within the instruction, or it is longer than the architecture allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated;

/// A reading position in the instruction's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor {
            bytes: bytes.get(..MAX_INSTRUCTION).unwrap_or(bytes),
            position: 0,
        }
    }

    /// How many bytes have been read: at most 15.
    #[inline]
    pub fn len(&self) -> u8 {
        (self.position & 15) as u8
    }

    /// Whether nothing has been read yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.position == 0
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`Truncated`] at the end, as for all that follow.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        let byte = *self.bytes.get(self.position).ok_or(Truncated)?;
        self.position += 1;
        Ok(byte)
    }

    /// Reads one byte and extends its sign to 64 bits.
    #[inline]
    #[expect(clippy::missing_errors_doc, reason = "said at u8")]
    pub fn i8(&mut self) -> Result<u64, Truncated> {
        Ok(self.u8()? as i8 as u64)
    }

    /// Reads two bytes and extends their sign to 64 bits.
    #[inline]
    #[expect(clippy::missing_errors_doc, reason = "said at u8")]
    pub fn i16(&mut self) -> Result<u64, Truncated> {
        Ok(i16::from_le_bytes([self.u8()?, self.u8()?]) as u64)
    }

    /// Reads four bytes and extends their sign to 64 bits.
    #[inline]
    #[expect(clippy::missing_errors_doc, reason = "said at u8")]
    pub fn i32(&mut self) -> Result<u64, Truncated> {
        Ok(i32::from_le_bytes([self.u8()?, self.u8()?, self.u8()?, self.u8()?]) as u64)
    }

    /// Reads an immediate operand of an instruction with operands of `size` bytes: up to four bytes, sign-extended.
    #[inline]
    #[expect(clippy::missing_errors_doc, reason = "said at u8")]
    pub fn immediate(&mut self, size: u8) -> Result<u64, Truncated> {
        match size {
            1 => self.i8(),
            2 => self.i16(),
            _ => self.i32(),
        }
    }
}

/// A segment override that matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// One with base 0: none given, or CS, DS, ES, SS.
    Flat,
    /// FS.
    Fs,
    /// GS.
    Gs,
}

impl Segment {
    /// The segment's base.
    #[inline]
    pub fn base(self, bases: SegBases) -> u64 {
        match self {
            Segment::Flat => 0,
            Segment::Fs => bases.fs,
            Segment::Gs => bases.gs,
        }
    }
}

/// What stood before the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefixes {
    /// REX byte, 0 when there is none or a legacy prefix followed it.
    pub rex: u8,
    /// 0x66: operands of 16 bits.
    pub operand16: bool,
    /// 0x67: addresses of 32 bits (of 16 in 32-bit code).
    pub address_size: bool,
    /// 0xf0.
    pub lock: bool,
    /// 0xf2 or 0xf3.
    pub rep: bool,
    /// The last segment override.
    pub segment: Segment,
}

impl Prefixes {
    /// Reads prefixes and the opcode's first byte. REX exists in 64-bit code only.
    ///
    /// # Errors
    /// [`Truncated`]: there is nothing but prefixes.
    #[inline]
    pub fn read(cursor: &mut Cursor<'_>, code64: bool) -> Result<(Prefixes, u8), Truncated> {
        let mut found = Prefixes {
            rex: 0,
            operand16: false,
            address_size: false,
            lock: false,
            rep: false,
            segment: Segment::Flat,
        };
        loop {
            let byte = cursor.u8()?;
            match byte {
                0x40..=0x4f if code64 => {
                    found.rex = byte;
                    continue;
                }
                0xf0 => found.lock = true,
                0x66 => found.operand16 = true,
                0x67 => found.address_size = true,
                0xf2 | 0xf3 => found.rep = true,
                // In 64-bit code these four are ignored, and do not undo an earlier FS or GS.
                0x26 | 0x2e | 0x36 | 0x3e if code64 => {}
                0x26 | 0x2e | 0x36 | 0x3e => found.segment = Segment::Flat,
                0x64 => found.segment = Segment::Fs,
                0x65 => found.segment = Segment::Gs,
                opcode => return Ok((found, opcode)),
            }
            // A REX prefix counts only directly before the opcode.
            found.rex = 0;
        }
    }

    /// REX.W: operands of 64 bits.
    #[inline]
    pub fn wide(&self) -> bool {
        self.rex & 8 != 0
    }

    /// Operand size in bytes of an opcode whose lowest bit distinguishes byte (0) from full (1) operands.
    #[inline]
    pub fn operand_size(&self, opcode: u8) -> u8 {
        if opcode & 1 == 0 {
            1
        } else if self.wide() {
            8
        } else if self.operand16 {
            2
        } else {
            4
        }
    }
}

/// A ModRM byte with what belongs to it, in 64-bit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModRm {
    /// The reg field with REX.R: a register, or three bits of opcode.
    pub reg: u8,
    /// The other operand.
    pub rm: Rm,
}

/// The register-or-memory operand of a ModRM byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rm {
    /// A register, by number.
    Register(u8),
    /// Memory at base + index * scale + displacement.
    Memory {
        /// Register number, [`RIP`] or [`NONE`].
        base: u8,
        /// Register number or [`NONE`].
        index: u8,
        /// log2 of the scale.
        shift: u8,
        /// Sign-extended.
        displacement: u64,
    },
}

/// Not a register, in [`Rm::Memory`].
pub const NONE: u8 = 0xff;
/// The address of the next instruction, as base in [`Rm::Memory`].
pub const RIP: u8 = 0xfe;

impl ModRm {
    /// Reads ModRM, SIB and displacement of 64-bit code.
    ///
    /// # Errors
    /// [`Truncated`]
    #[inline]
    pub fn read(cursor: &mut Cursor<'_>, prefixes: &Prefixes) -> Result<ModRm, Truncated> {
        let rex = prefixes.rex;
        let byte = cursor.u8()?;
        let mode = byte >> 6;
        let reg = (byte >> 3) & 7 | (rex & 4) << 1;
        let extend_base = (rex & 1) << 3;
        let low = byte & 7;
        if mode == 3 {
            return Ok(ModRm {
                reg,
                rm: Rm::Register(low | extend_base),
            });
        }
        let (mut base, mut index, mut shift) = (low | extend_base, NONE, 0);
        let mut base_absent = mode == 0 && low == 5;
        if low == 4 {
            let sib = cursor.u8()?;
            base = sib & 7 | extend_base;
            base_absent = mode == 0 && sib & 7 == 5;
            shift = sib >> 6;
            let number = (sib >> 3) & 7 | (rex & 2) << 2;
            if number != reg::RSP {
                index = number;
            }
            if base_absent {
                base = NONE;
            }
        } else if base_absent {
            base = RIP;
        }
        let displacement = match mode {
            1 => cursor.i8()?,
            2 => cursor.i32()?,
            _ if base_absent => cursor.i32()?,
            _ => 0,
        };
        Ok(ModRm {
            reg,
            rm: Rm::Memory {
                base,
                index,
                shift,
                displacement,
            },
        })
    }
}

impl Rm {
    /// The offset within the segment that a memory operand names; `next_rip` is the address after the instruction.
    #[inline]
    pub fn offset<R: Registers>(&self, regs: &R, next_rip: u64, address32: bool) -> Option<u64> {
        let Rm::Memory {
            base,
            index,
            shift,
            displacement,
        } = *self
        else {
            return None;
        };
        let base = match base {
            NONE => 0,
            RIP => next_rip,
            number => regs.get(number),
        };
        let index = if index == NONE {
            0
        } else {
            regs.get(index) << (shift & 3)
        };
        let sum = base.wrapping_add(index).wrapping_add(displacement);
        Some(if address32 { sum & 0xffff_ffff } else { sum })
    }
}
