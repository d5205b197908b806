//! The boot loader's record: what was loaded, with which words, and where memory is.
//!
//! Multiboot 1 hands over one struct of pointers, multiboot 2 a list of tags. Both become one [`BootInfo`]. Everything is
//! copied out at once, because the record lies in memory that will soon be handed out. Sources: the Multiboot
//! Specification 0.6.96 and 2.0.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::bytes::{slice_at, u8_at, u32_at, u64_at};
use super::{PhysRead, read_array, read_string, read_vec};

/// EAX on entry from a multiboot 1 loader.
pub const MULTIBOOT1_MAGIC: u32 = 0x2bad_b002;
/// EAX on entry from a multiboot 2 loader.
pub const MULTIBOOT2_MAGIC: u32 = 0x36d7_6289;

/// More modules than this are not looked at.
pub const MAX_MODULES: usize = 32;
/// More memory-map entries than this are not looked at.
pub const MAX_MEMORY_ENTRIES: usize = 512;
/// A longer string is cut.
const MAX_STRING: usize = 4096;
/// A multiboot 2 record beyond this size is refused.
const MAX_INFO_BYTES: u32 = 1 << 20;

/// One file that the boot loader put into memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// Machine address of the first byte.
    pub start: u64,
    /// Machine address after the last byte; above `start`.
    pub end: u64,
    /// The loader's words for it; QEMU puts the file name in front.
    pub string: String,
}

/// One entry of the firmware's memory map, as reported: it may overlap others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawRegion {
    /// Machine address of the first byte.
    pub base: u64,
    /// Length in bytes.
    pub len: u64,
    /// E820 type: 1 RAM, 2 reserved, 3 ACPI data, 4 ACPI NVS, 5 unusable.
    pub kind: u32,
}

/// A linear framebuffer that the boot loader has set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framebuffer {
    /// Machine address of the first pixel.
    pub addr: u64,
    /// Bytes per line.
    pub pitch: u32,
    /// Pixels (text: characters) per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits per pixel.
    pub bpp: u8,
    /// 0 indexed colours, 1 direct RGB, 2 EGA text.
    pub kind: u8,
    /// For RGB: bit position and number of bits of red, green, blue.
    pub rgb: [(u8, u8); 3],
}

/// All that the boot loader told us.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BootInfo {
    /// The command line as handed over; see [`BootInfo::options_text`].
    pub cmdline: String,
    /// The boot loader's name, empty if it gave none.
    pub loader_name: String,
    /// The loaded files in order: the domain 0 kernel, its initrd, others.
    pub modules: Vec<Module>,
    /// The memory map; feed it to [`super::MemoryMap::from_raw`].
    pub memory: Vec<RawRegion>,
    /// A copy of the ACPI root pointer (multiboot 2 tags 14 and 15, the newer wins).
    pub rsdp: Option<Vec<u8>>,
    /// The framebuffer, if there is one.
    pub framebuffer: Option<Framebuffer>,
    /// Machine address of the 64-bit EFI system table (multiboot 2 tag 12).
    pub efi_system_table: Option<u64>,
}

/// Why the record could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootInfoError {
    /// EAX held neither multiboot magic number.
    UnknownMagic(u32),
    /// The record, or what it points at, is out of reach at this machine address.
    Unreadable(u64),
    /// A multiboot 2 record that is too small, too large or runs past its end.
    BadTagList,
    /// The record has no memory map.
    NoMemoryMap,
}

impl fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMagic(m) => {
                write!(f, "not started by a multiboot loader (eax was {m:#x})")
            }
            Self::Unreadable(a) => write!(
                f,
                "the boot loader's record points to unreadable memory at {a:#x}"
            ),
            Self::BadTagList => f.write_str("the boot loader's multiboot 2 record is damaged"),
            Self::NoMemoryMap => f.write_str("the boot loader gave no memory map"),
        }
    }
}

impl BootInfo {
    /// Reads the record at machine address `info` that belongs to `magic`, the value of EAX on entry.
    ///
    /// # Errors
    /// See [`BootInfoError`]. Modules of no length, and any over the limits of this file, are left out.
    pub fn parse(magic: u32, info: u64, mem: &impl PhysRead) -> Result<Self, BootInfoError> {
        let boot = match magic {
            MULTIBOOT1_MAGIC => parse_multiboot1(info, mem)?,
            MULTIBOOT2_MAGIC => parse_multiboot2(info, mem)?,
            other => return Err(BootInfoError::UnknownMagic(other)),
        };
        if boot.memory.is_empty() {
            Err(BootInfoError::NoMemoryMap)
        } else {
            Ok(boot)
        }
    }

    /// The hypervisor's own options: the command line without our file name and without what follows ` -- `.
    pub fn options_text(&self) -> &str {
        split_options(strip_image_name(&self.cmdline, &self.loader_name)).0
    }

    /// What follows ` -- ` on our command line: more words for domain 0, empty if none.
    pub fn dom0_extra(&self) -> &str {
        split_options(strip_image_name(&self.cmdline, &self.loader_name)).1
    }

    /// A module's string without the file name.
    pub fn module_text<'a>(&self, module: &'a Module) -> &'a str {
        strip_image_name(&module.string, &self.loader_name)
    }

    /// The domain 0 kernel: the first module.
    pub fn kernel(&self) -> Option<&Module> {
        self.modules.first()
    }

    /// The domain 0 initrd: the second module.
    pub fn initrd(&self) -> Option<&Module> {
        self.modules.get(1)
    }

    /// The command line of domain 0: the kernel module's words, those after ` -- `, then `additions` of our own.
    pub fn dom0_cmdline(&self, additions: &[&str]) -> String {
        let own = self.kernel().map_or("", |k| self.module_text(k));
        let mut line = String::new();
        for part in [own, self.dom0_extra()]
            .into_iter()
            .chain(additions.iter().copied())
        {
            let part = part.trim_matches(' ');
            if !part.is_empty() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(part);
            }
        }
        line
    }
}

/// Drops the file name at the head of a boot string, unless the loader is GRUB 2, which passes none.
///
/// That is why Debian's GRUB entries start with the word `placeholder`: it reaches the kernel as an unknown option.
pub fn strip_image_name<'a>(text: &'a str, loader_name: &str) -> &'a str {
    let text = text.trim_start_matches(' ');
    let version = loader_name
        .find("GRUB ")
        .and_then(|at| loader_name.as_bytes().get(at + 5));
    if version.is_some_and(|v| *v != b'0') {
        return text;
    }
    text.find(' ')
        .map_or("", |at| text[at..].trim_start_matches(' '))
}

/// Splits at the first word `--`: our options, and domain 0's.
fn split_options(text: &str) -> (&str, &str) {
    if let Some(rest) = text.strip_prefix("-- ") {
        return ("", rest.trim_start_matches(' '));
    }
    match text.split_once(" -- ") {
        Some((ours, theirs)) => (ours, theirs.trim_start_matches(' ')),
        None => (text.strip_suffix(" --").unwrap_or(text), ""),
    }
}

fn add_module(modules: &mut Vec<Module>, start: u32, end: u32, string: String) {
    if start < end && modules.len() < MAX_MODULES {
        modules.push(Module {
            start: start.into(),
            end: end.into(),
            string,
        });
    }
}

fn add_memory(memory: &mut Vec<RawRegion>, base: u64, len: u64, kind: u32) {
    if len != 0 && memory.len() < MAX_MEMORY_ENTRIES {
        memory.push(RawRegion { base, len, kind });
    }
}

/// Without a memory map only two sizes are known: RAM below 640 KiB and RAM from 1 MiB on, both in KiB.
fn add_basic_memory(memory: &mut Vec<RawRegion>, lower_kib: u32, upper_kib: u32) {
    add_memory(memory, 0, u64::from(lower_kib.min(640)) * 1024, 1);
    add_memory(memory, 1 << 20, u64::from(upper_kib) * 1024, 1);
}

fn parse_multiboot1(info: u64, mem: &impl PhysRead) -> Result<BootInfo, BootInfoError> {
    // Only as many bytes as the flags promise need to exist, but no loader puts the struct at the end of memory.
    let raw: [u8; 116] = read_array(mem, info).ok_or(BootInfoError::Unreadable(info))?;
    let word = |offset| u32_at(&raw, offset).unwrap_or(0);
    let pointer = |offset| u64::from(word(offset));
    let has = |bit: u32| word(0) & (1 << bit) != 0;
    let string =
        |addr: u64| read_string(mem, addr, MAX_STRING).ok_or(BootInfoError::Unreadable(addr));

    let mut boot = BootInfo::default();
    if has(2) {
        boot.cmdline = string(pointer(16))?;
    }
    if has(9) {
        boot.loader_name = string(pointer(64))?;
    }
    if has(3) {
        for index in 0..word(20).min(MAX_MODULES as u32) {
            let at = pointer(24) + u64::from(index) * 16;
            let entry: [u8; 16] = read_array(mem, at).ok_or(BootInfoError::Unreadable(at))?;
            let [start, end, name] = [0, 4, 8].map(|offset| u32_at(&entry, offset).unwrap_or(0));
            let name = if name == 0 {
                String::new()
            } else {
                string(name.into())?
            };
            add_module(&mut boot.modules, start, end, name);
        }
    }
    if has(6) {
        let (mut at, end) = (pointer(48), pointer(48) + pointer(44));
        for _ in 0..MAX_MEMORY_ENTRIES {
            if at >= end {
                break;
            }
            let entry: [u8; 24] = read_array(mem, at).ok_or(BootInfoError::Unreadable(at))?;
            let fields = (
                u32_at(&entry, 0),
                u64_at(&entry, 4),
                u64_at(&entry, 12),
                u32_at(&entry, 20),
            );
            let (Some(size), Some(base), Some(len), Some(kind)) = fields else {
                break;
            };
            add_memory(&mut boot.memory, base, len, kind);
            // The size does not count itself; a useless one must not stop the walk from ending.
            at += u64::from(size.max(20)) + 4;
        }
    }
    if boot.memory.is_empty() && has(0) {
        add_basic_memory(&mut boot.memory, word(4), word(8));
    }
    if has(12) {
        boot.framebuffer = parse_framebuffer(&raw, 88, 109, 110);
    }
    Ok(boot)
}

/// Reads the framebuffer fields, which both records lay out alike from `at`, up to the kind and the colour fields.
fn parse_framebuffer(
    raw: &[u8],
    at: usize,
    kind_at: usize,
    colour_at: usize,
) -> Option<Framebuffer> {
    let kind = u8_at(raw, kind_at)?;
    let mut rgb = [(0, 0); 3];
    if kind == 1 {
        for (index, field) in rgb.iter_mut().enumerate() {
            *field = (
                u8_at(raw, colour_at + index * 2)?,
                u8_at(raw, colour_at + index * 2 + 1)?,
            );
        }
    }
    Some(Framebuffer {
        addr: u64_at(raw, at)?,
        pitch: u32_at(raw, at + 8)?,
        width: u32_at(raw, at + 12)?,
        height: u32_at(raw, at + 16)?,
        bpp: u8_at(raw, at + 20)?,
        kind,
        rgb,
    })
}

fn parse_multiboot2(info: u64, mem: &impl PhysRead) -> Result<BootInfo, BootInfoError> {
    let head: [u8; 8] = read_array(mem, info).ok_or(BootInfoError::Unreadable(info))?;
    let total = u32_at(&head, 0).unwrap_or(0);
    if !(16..=MAX_INFO_BYTES).contains(&total) {
        return Err(BootInfoError::BadTagList);
    }
    let raw = read_vec(mem, info, total as usize).ok_or(BootInfoError::Unreadable(info))?;

    let mut boot = BootInfo::default();
    let mut basic_memory = None;
    let mut at = 8;
    loop {
        let (Some(kind), Some(size)) = (u32_at(&raw, at), u32_at(&raw, at + 4)) else {
            return Err(BootInfoError::BadTagList);
        };
        if kind == 0 {
            break;
        }
        let tag = slice_at(&raw, at, size as usize)
            .filter(|t| t.len() >= 8)
            .ok_or(BootInfoError::BadTagList)?;
        match kind {
            4 => basic_memory = u32_at(tag, 8).zip(u32_at(tag, 12)),
            // The new root pointer (tag 15) beats the old one, in whichever order they come.
            14 if boot.rsdp.is_some() => {}
            _ => read_tag(&mut boot, kind, tag),
        }
        at += tag.len().next_multiple_of(8);
    }
    if let (true, Some((lower, upper))) = (boot.memory.is_empty(), basic_memory) {
        add_basic_memory(&mut boot.memory, lower, upper);
    }
    Ok(boot)
}

/// Takes over what one multiboot 2 tag says; unknown kinds and short tags say nothing.
fn read_tag(boot: &mut BootInfo, kind: u32, tag: &[u8]) {
    match kind {
        1 => boot.cmdline = tag_string(tag, 8),
        2 => boot.loader_name = tag_string(tag, 8),
        3 => {
            if let Some((start, end)) = u32_at(tag, 8).zip(u32_at(tag, 12)) {
                add_module(&mut boot.modules, start, end, tag_string(tag, 16));
            }
        }
        6 => {
            let entry_size = u32_at(tag, 8).unwrap_or(0).max(20) as usize;
            for entry in tag.get(16..).unwrap_or(&[]).chunks(entry_size) {
                if let (Some(base), Some(len), Some(kind)) =
                    (u64_at(entry, 0), u64_at(entry, 8), u32_at(entry, 16))
                {
                    add_memory(&mut boot.memory, base, len, kind);
                }
            }
        }
        8 => boot.framebuffer = parse_framebuffer(tag, 8, 29, 32),
        12 => boot.efi_system_table = u64_at(tag, 8),
        14 | 15 => boot.rsdp = tag.get(8..).map(<[u8]>::to_vec),
        _ => {}
    }
}

fn tag_string(tag: &[u8], offset: usize) -> String {
    let bytes = tag.get(offset..).unwrap_or(&[]);
    let len = bytes
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(bytes.len())
        .min(MAX_STRING);
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

#[cfg(test)]
mod tests;
