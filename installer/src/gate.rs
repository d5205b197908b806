//! The gate every hypervisor image passes: no vector, x87 or MMX register, no red zone, a loadable layout.
//!
//! Guests own the FPU, and an interrupt may arrive on the running stack; a precompiled function that slipped
//! in with other compiler flags would break either (docs/decisions/0001-stock-toolchain.md). So the linked
//! ELF is decoded whole, not trusted. Hand-written boot code below the hypervisor's addresses is 32-bit and
//! is not decoded.

use std::collections::BTreeMap;

use elf::ElfBytes;
use elf::abi::{PT_LOAD, SHF_EXECINSTR, SHT_PROGBITS, STT_FUNC, STT_NOTYPE};
use elf::endian::LittleEndian;
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use crate::error::{Error, Result};

/// The first address that belongs to a hypervisor under the Xen PV ABI; code below is the 32-bit entry.
const HYPERVISOR_START: u64 = 0xffff_8000_0000_0000;
/// The multiboot headers must lie within the first 8 KiB of the file (Multiboot 0.6.96, 3.1).
const HEADER_SPAN: usize = 8192;
const MULTIBOOT1_MAGIC: u32 = 0x1bad_b002;
/// Flag bit 16: the address fields are valid; without it QEMU refuses a 64-bit ELF.
const MULTIBOOT1_ADDRESSES: u32 = 1 << 16;

/// What is wrong with one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Uses an xmm, ymm, zmm or mask register.
    Vector,
    /// Uses the x87 stack or an MMX register.
    Fpu,
    /// Touches memory below the stack pointer.
    RedZone,
    /// Is no instruction at all.
    Undecodable,
}

/// Findings per function: what, where first, how often.
pub type Findings = BTreeMap<(String, Fault), (u64, usize)>;

/// Checks a hypervisor ELF: code, segment layout and multiboot header.
///
/// # Errors
/// Lists every offending function, or the layout rule that is broken.
pub fn check(image: &[u8]) -> Result<()> {
    let findings = offending_functions(image)?;
    if !findings.is_empty() {
        let list: Vec<String> = findings
            .iter()
            .map(|((function, fault), (at, count))| {
                format!("{fault:?}: {function} ({count} instructions, first at {at:#x})")
            })
            .collect();
        return Err(Error::new("the build gate refuses the hypervisor image")
            .because(list.join("\n"))
            .remedy(
                "no floats and no crates with #[target_feature] in the hypervisor; \
                 see docs/decisions/0001-stock-toolchain.md",
            ));
    }
    check_layout(image)?;
    check_multiboot(image)
}

/// Decodes all code at hypervisor addresses and returns what the gate refuses.
///
/// # Errors
/// The image is no little-endian ELF64.
pub fn offending_functions(image: &[u8]) -> Result<Findings> {
    let elf = parse(image)?;
    let names = Names::of(&elf)?;
    let mut findings = Findings::new();
    let sections = elf
        .section_headers()
        .ok_or_else(|| broken("it has no section headers"))?;
    for section in sections.iter() {
        let code = section.sh_flags & u64::from(SHF_EXECINSTR) != 0;
        if !code || section.sh_type != SHT_PROGBITS || section.sh_addr < HYPERVISOR_START {
            continue;
        }
        let (bytes, _) = elf.section_data(&section).map_err(broken)?;
        let mut decoder =
            Decoder::with_ip(64, bytes, section.sh_addr, DecoderOptions::NO_INVALID_CHECK);
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            if let Some(fault) = fault_of(&instruction) {
                let key = (names.at(instruction.ip()), fault);
                findings.entry(key).or_insert((instruction.ip(), 0)).1 += 1;
            }
        }
    }
    Ok(findings)
}

/// What the gate has against one instruction.
fn fault_of(i: &Instruction) -> Option<Fault> {
    if i.is_invalid() {
        return Some(Fault::Undecodable);
    }
    for nr in 0..i.op_count() {
        if i.op_kind(nr) != OpKind::Register {
            continue;
        }
        let register = i.op_register(nr);
        if register.is_vector_register() || register.is_k() || register.is_tmm() {
            return Some(Fault::Vector);
        }
        if register.is_st() || register.is_mm() {
            return Some(Fault::Fpu);
        }
    }
    // `fld1` or `fadd m64` name no register. Saving, restoring and resetting a guest's state is our job.
    let manages_state = matches!(
        i.mnemonic(),
        Mnemonic::Fninit | Mnemonic::Fnclex | Mnemonic::Wait
    );
    let x87 = |f: &CpuidFeature| {
        matches!(
            f,
            CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387 | CpuidFeature::MMX
        )
    };
    if !manages_state && i.cpuid_features().iter().any(x87) {
        return Some(Fault::Fpu);
    }
    let touches_memory = i.mnemonic() != Mnemonic::Lea && i.mnemonic() != Mnemonic::Nop;
    let below_rsp = i.memory_base() == Register::RSP
        && i.memory_index() == Register::None // an indexed local array ends above rsp
        && i.memory_displacement64().cast_signed() < 0;
    let has_memory = (0..i.op_count()).any(|nr| i.op_kind(nr) == OpKind::Memory);
    (touches_memory && has_memory && below_rsp).then_some(Fault::RedZone)
}

/// QEMU loads one run of bytes, so file offsets and physical addresses must advance together.
fn check_layout(image: &[u8]) -> Result<()> {
    let elf = parse(image)?;
    let segments = elf
        .segments()
        .ok_or_else(|| broken("it has no program headers"))?;
    let mut first = None;
    for s in segments
        .iter()
        .filter(|s| s.p_type == PT_LOAD && s.p_filesz > 0)
    {
        let distance = s.p_offset.wrapping_sub(s.p_paddr);
        let expected = *first.get_or_insert(distance);
        if distance != expected {
            return Err(
                Error::new("the hypervisor image cannot be loaded as one run of bytes")
                    .because(format!(
                        "PT_LOAD at physical {:#x} has offset {:#x}; expected {:#x}",
                        s.p_paddr,
                        s.p_offset,
                        s.p_paddr.wrapping_add(expected)
                    ))
                    .remedy("align every section in the linker script to 4 KiB"),
            );
        }
    }
    first
        .map(|_| ())
        .ok_or_else(|| broken("it has nothing to load"))
}

fn check_multiboot(image: &[u8]) -> Result<()> {
    let head = image.get(..HEADER_SPAN.min(image.len())).unwrap_or(image);
    let word = |at: usize| {
        let bytes: [u8; 4] = head.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let found = (0..head.len()).step_by(4).any(|at| {
        let (Some(magic), Some(flags), Some(sum)) = (word(at), word(at + 4), word(at + 8)) else {
            return false;
        };
        magic == MULTIBOOT1_MAGIC
            && flags & MULTIBOOT1_ADDRESSES != 0
            && magic.wrapping_add(flags).wrapping_add(sum) == 0
    });
    if found {
        return Ok(());
    }
    Err(
        Error::new("the hypervisor image has no multiboot header in its first 8 KiB")
            .remedy("KEEP() the header section first in the linker script"),
    )
}

/// Cuts an ELF down to what is loaded: no symbols, no debug data, not one byte of the layout moved.
///
/// # Errors
/// The image is no little-endian ELF64.
pub fn stripped(image: &[u8]) -> Result<Vec<u8>> {
    let elf = parse(image)?;
    let segments = elf
        .segments()
        .ok_or_else(|| broken("it has no program headers"))?;
    let end = segments
        .iter()
        .map(|s| s.p_offset.saturating_add(s.p_filesz))
        .max()
        .unwrap_or(0);
    let end = usize::try_from(end).map_err(broken)?;
    let mut out = image
        .get(..end)
        .ok_or_else(|| broken("a segment ends past the file"))?
        .to_vec();
    // ELF64 header: e_shoff at 0x28; e_shentsize stays, e_shnum at 0x3c, e_shstrndx at 0x3e.
    out[0x28..0x30].fill(0);
    out[0x3c..0x40].fill(0);
    Ok(out)
}

fn parse(image: &[u8]) -> Result<ElfBytes<'_, LittleEndian>> {
    ElfBytes::minimal_parse(image).map_err(broken)
}

fn broken(cause: impl std::fmt::Display) -> Error {
    Error::new("the hypervisor image is not a proper ELF file").because(cause)
}

/// Which symbol an address belongs to.
struct Names(BTreeMap<u64, String>);

impl Names {
    fn of(elf: &ElfBytes<'_, LittleEndian>) -> Result<Self> {
        let mut names = BTreeMap::new();
        if let Some((symbols, strings)) = elf.symbol_table().map_err(broken)? {
            for symbol in symbols.iter() {
                let code = [STT_FUNC, STT_NOTYPE].contains(&symbol.st_symtype());
                let name = usize::try_from(symbol.st_name).map_err(broken)?;
                match strings.get(name) {
                    Ok(name) if code && symbol.st_value != 0 && !name.is_empty() => {
                        names.insert(symbol.st_value, name.to_owned());
                    }
                    _ => {}
                }
            }
        }
        Ok(Self(names))
    }

    fn at(&self, address: u64) -> String {
        let last = self.0.range(..=address).next_back();
        last.map_or_else(|| "(no symbol)".to_owned(), |(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests;
