//! A guest kernel's ELF image: where its segments go, and what its Xen notes ask for.
//!
//! Only ELF64 x86-64 kernels with notes named "Xen" are taken; the older `__xen_guest` section is not. Segments are placed
//! by their physical addresses, because Linux' per-CPU segment has a virtual address of 0. Source: `public/elfnote.h`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::platform::bytes::{slice_at, u16_at, u32_at, u64_at};
use crate::units::PAGE_SIZE;

/// Guests have everything but L4 slots 256 to 271.
const HYPERVISOR_START: u64 = 0xffff_8000_0000_0000;
const HYPERVISOR_END: u64 = 0xffff_8800_0000_0000;
/// One past the last address of the lower half.
const LOW_END: u64 = 0x0000_8000_0000_0000;
/// More program headers than this are refused.
const MAX_SEGMENTS: u16 = 64;
/// A larger kernel is refused: the window of a 64-bit Linux image is 1 GiB.
const MAX_IMAGE_BYTES: u64 = 1 << 30;
/// XENFEAT_dom0 (`public/features.h`).
const FEATURE_DOM0: u32 = 11;

/// Note numbers (`public/elfnote.h`, XEN_ELFNOTE_*).
mod note {
    pub const ENTRY: u32 = 1;
    pub const HYPERCALL_PAGE: u32 = 2;
    pub const VIRT_BASE: u32 = 3;
    pub const PADDR_OFFSET: u32 = 4;
    pub const XEN_VERSION: u32 = 5;
    pub const GUEST_OS: u32 = 6;
    pub const LOADER: u32 = 8;
    pub const FEATURES: u32 = 10;
    pub const L1_MFN_VALID: u32 = 13;
    pub const SUSPEND_CANCEL: u32 = 14;
    pub const INIT_P2M: u32 = 15;
    pub const MOD_START_PFN: u32 = 16;
    pub const SUPPORTED_FEATURES: u32 = 17;
}

/// A loadable piece of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Guest-virtual address of the first byte.
    pub va: u64,
    /// The bytes from the file.
    pub data: &'a [u8],
    /// Bytes in memory; those beyond `data` are zero. At least `data.len()`.
    pub mem_size: u64,
}

/// A kernel image that has been read and checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KernelImage<'a> {
    /// Guest-virtual address where vcpu 0 starts; inside the kernel.
    pub entry: u64,
    /// Guest-virtual address of pfn 0; page-aligned.
    pub virt_base: u64,
    /// What is subtracted from the segments' physical addresses.
    pub paddr_offset: u64,
    /// Guest-virtual address of the kernel's first byte.
    pub start: u64,
    /// Guest-virtual address after the kernel's last byte, bss included.
    pub end: u64,
    /// The pieces, in the file's order; all within `start..end`.
    pub segments: Vec<Segment<'a>>,
    /// Where to map the initial p2m list, page-aligned; `None`: behind the kernel.
    pub init_p2m: Option<u64>,
    /// The page to fill with hypercall stubs, if the kernel has one.
    pub hypercall_page: Option<u64>,
    /// Whether the kernel takes an unmapped initrd, named by its first pfn.
    pub mod_start_pfn: bool,
    /// Whether the kernel copes with a suspend that is cancelled.
    pub suspend_cancel: bool,
    /// XENFEAT bits that the kernel can use; `None` if it does not say.
    pub supported_features: Option<u64>,
    /// (mask, value): a page-table entry with these bits holds an mfn.
    pub l1_mfn_valid: Option<(u64, u64)>,
    /// The kernel's name for itself, such as `linux`.
    pub guest_os: String,
}

/// Why an image cannot be run as a paravirtual guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// Not a 64-bit x86 ELF executable.
    NotElf64,
    /// A header or segment lies beyond the end of the file.
    Truncated,
    /// More program headers than we read.
    TooManySegments(u16),
    /// There is no Xen note at all.
    NoXenNotes,
    /// This note is missing or has a wrong size.
    BadNote(&'static str),
    /// The XEN_VERSION note names another interface.
    OtherXenVersion(String),
    /// The kernel insists on this feature, which we lack.
    RequiredFeature(String),
    /// There is no loadable segment.
    NothingToLoad,
    /// A segment is larger in the file than in memory, or leaves the address space, or touches the hypervisor's.
    BadSegment {
        /// Its physical address in the ELF file.
        paddr: u64,
    },
    /// The kernel is larger than 1 GiB.
    TooLarge {
        /// Bytes from its first to its last.
        size: u64,
    },
    /// An address that the notes give (what, address) lies outside the kernel, or where it must not.
    BadAddress(&'static str, u64),
    /// The kernel cannot be domain 0.
    NotForDom0,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf64 => f.write_str("the kernel is not a 64-bit x86 ELF executable"),
            Self::Truncated => f.write_str("the kernel's ELF image is cut short"),
            Self::TooManySegments(n) => write!(
                f,
                "the kernel has {n} program headers, more than {MAX_SEGMENTS}"
            ),
            Self::NoXenNotes => {
                f.write_str("the kernel has no Xen notes; build it with CONFIG_XEN_PV")
            }
            Self::BadNote(name) => {
                write!(f, "the kernel's Xen note {name} is missing or malformed")
            }
            Self::OtherXenVersion(v) => write!(f, "the kernel is for interface {v:?}, not xen-3.0"),
            Self::RequiredFeature(name) => write!(
                f,
                "the kernel insists on the feature {name}, which is not offered"
            ),
            Self::NothingToLoad => f.write_str("the kernel has nothing to load"),
            Self::BadSegment { paddr } => write!(
                f,
                "the kernel's segment at physical {paddr:#x} is malformed"
            ),
            Self::TooLarge { size } => write!(
                f,
                "the kernel takes {size} bytes, more than {MAX_IMAGE_BYTES}"
            ),
            Self::BadAddress(what, va) => {
                write!(f, "the kernel's {what} address {va:#x} cannot be used")
            }
            Self::NotForDom0 => {
                f.write_str("the kernel cannot run as domain 0; build it with CONFIG_XEN_DOM0")
            }
        }
    }
}

impl<'a> KernelImage<'a> {
    /// Reads and checks an ELF image.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn parse(elf: &'a [u8]) -> Result<Self, ImageError> {
        let headers = program_headers(elf)?;
        let mut notes = Notes::default();
        for header in headers.iter().filter(|h| h.kind == ProgramHeader::NOTE) {
            notes.read(
                header.file_data(elf).ok_or(ImageError::Truncated)?,
                header.align == 8,
            );
        }
        let mut image = notes.into_image()?;
        for header in headers
            .iter()
            .filter(|h| h.kind == ProgramHeader::LOAD && h.mem_size != 0)
        {
            image.segments.push(image.place(header, elf)?);
        }
        image.finish()
    }

    /// Checks what domain 0 needs beyond any guest.
    ///
    /// # Errors
    /// `NotForDom0`: the kernel lists its features, and XENFEAT_dom0 is not among them.
    pub fn check_dom0(&self) -> Result<(), ImageError> {
        match self.supported_features {
            Some(bits) if bits >> FEATURE_DOM0 & 1 == 0 => Err(ImageError::NotForDom0),
            _ => Ok(()),
        }
    }

    /// Where a segment goes.
    fn place(&self, header: &ProgramHeader, elf: &'a [u8]) -> Result<Segment<'a>, ImageError> {
        let bad = ImageError::BadSegment {
            paddr: header.paddr,
        };
        let data = header.file_data(elf).ok_or(ImageError::Truncated)?;
        let offset = header.paddr.checked_sub(self.paddr_offset);
        let va = offset.and_then(|o| self.virt_base.checked_add(o));
        match va {
            Some(va)
                if data.len() as u64 <= header.mem_size && is_guest_range(va, header.mem_size) =>
            {
                Ok(Segment {
                    va,
                    data,
                    mem_size: header.mem_size,
                })
            }
            _ => Err(bad),
        }
    }

    /// Computes the image's span and checks the addresses of the notes against it.
    fn finish(mut self) -> Result<Self, ImageError> {
        // place() has shown that no end overflows.
        let ends = self
            .segments
            .iter()
            .map(|s| s.va.saturating_add(s.mem_size));
        self.end = ends.max().ok_or(ImageError::NothingToLoad)?;
        self.start = self
            .segments
            .iter()
            .map(|s| s.va)
            .min()
            .ok_or(ImageError::NothingToLoad)?;
        // From virt_base, because the initial mapping starts there.
        let size = self.end - self.virt_base;
        if size > MAX_IMAGE_BYTES {
            return Err(ImageError::TooLarge { size });
        }
        if !is_guest_range(self.virt_base, size) || !self.virt_base.is_multiple_of(PAGE_SIZE) {
            return Err(ImageError::BadAddress("VIRT_BASE", self.virt_base));
        }
        if !(self.start..self.end).contains(&self.entry) {
            return Err(ImageError::BadAddress("ENTRY", self.entry));
        }
        if let Some(va) = self.hypercall_page
            && (!va.is_multiple_of(PAGE_SIZE)
                || va < self.start
                || self.end - self.start < PAGE_SIZE
                || va > self.end - PAGE_SIZE)
        {
            return Err(ImageError::BadAddress("HYPERCALL_PAGE", va));
        }
        if let Some(va) = self.init_p2m
            && (!va.is_multiple_of(PAGE_SIZE) || !is_guest_range(va, PAGE_SIZE))
        {
            return Err(ImageError::BadAddress("INIT_P2M", va));
        }
        Ok(self)
    }
}

/// Whether `len` bytes from `va` are canonical and the guest's own.
pub(super) fn is_guest_range(va: u64, len: u64) -> bool {
    match va.checked_add(len) {
        Some(end) => end <= LOW_END || va >= HYPERVISOR_END,
        None => false,
    }
}

// The hole of non-canonical addresses ends where the hypervisor's range begins.
const _: () = assert!(HYPERVISOR_START == !(LOW_END - 1) && HYPERVISOR_START < HYPERVISOR_END);

/// What we use of an ELF64 program header.
struct ProgramHeader {
    kind: u32,
    offset: u64,
    paddr: u64,
    file_size: u64,
    mem_size: u64,
    align: u64,
}

impl ProgramHeader {
    const LOAD: u32 = 1;
    const NOTE: u32 = 4;
    const SIZE: u16 = 56;

    fn file_data<'a>(&self, elf: &'a [u8]) -> Option<&'a [u8]> {
        slice_at(
            elf,
            usize::try_from(self.offset).ok()?,
            usize::try_from(self.file_size).ok()?,
        )
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            kind: u32_at(bytes, 0)?,
            offset: u64_at(bytes, 8)?,
            paddr: u64_at(bytes, 24)?,
            file_size: u64_at(bytes, 32)?,
            mem_size: u64_at(bytes, 40)?,
            align: u64_at(bytes, 48)?,
        })
    }
}

/// Checks the ELF header and returns the program headers.
fn program_headers(elf: &[u8]) -> Result<Vec<ProgramHeader>, ImageError> {
    const CLASS64_LITTLE_V1: &[u8] = b"\x7fELF\x02\x01\x01";
    const EXECUTABLE: u16 = 2;
    const SHARED: u16 = 3;
    const X86_64: u16 = 62;
    if !elf.starts_with(CLASS64_LITTLE_V1) {
        return Err(ImageError::NotElf64);
    }
    let kind = u16_at(elf, 16).ok_or(ImageError::Truncated)?;
    if !matches!(kind, EXECUTABLE | SHARED) || u16_at(elf, 18) != Some(X86_64) {
        return Err(ImageError::NotElf64);
    }
    let table = u64_at(elf, 32)
        .and_then(|o| usize::try_from(o).ok())
        .ok_or(ImageError::Truncated)?;
    let count = u16_at(elf, 56).ok_or(ImageError::Truncated)?;
    if count > MAX_SEGMENTS {
        return Err(ImageError::TooManySegments(count));
    }
    if count != 0 && u16_at(elf, 54) != Some(ProgramHeader::SIZE) {
        return Err(ImageError::NotElf64);
    }
    let size = usize::from(ProgramHeader::SIZE);
    let bytes = slice_at(elf, table, usize::from(count) * size).ok_or(ImageError::Truncated)?;
    bytes
        .chunks_exact(size)
        .map(|h| ProgramHeader::parse(h).ok_or(ImageError::Truncated))
        .collect()
}

/// The Xen notes; the last of each number wins.
#[derive(Default)]
struct Notes<'a>(Vec<(u32, &'a [u8])>);

impl<'a> Notes<'a> {
    /// Takes the Xen notes out of a note segment; others are skipped, and a note that is cut short ends it.
    fn read(&mut self, mut data: &'a [u8], aligned_to_8: bool) {
        let align = if aligned_to_8 { 8 } else { 4 };
        let padded = |n: u32| (n as usize).checked_next_multiple_of(align);
        let mut next = || -> Option<(u32, &'a [u8], &'a [u8])> {
            let (name_len, desc_len, kind) = (u32_at(data, 0)?, u32_at(data, 4)?, u32_at(data, 8)?);
            let name = slice_at(data, 12, name_len as usize)?;
            let desc_at = 12usize
                .checked_add(name_len as usize)?
                .checked_next_multiple_of(align)?;
            let desc = slice_at(data, desc_at, desc_len as usize)?;
            data = data
                .get(desc_at.checked_add(padded(desc_len)?)?..)
                .unwrap_or(&[]);
            Some((kind, name, desc))
        };
        while let Some((kind, name, desc)) = next() {
            if name == b"Xen\0" {
                self.0.push((kind, desc));
            }
        }
    }

    fn get(&self, kind: u32) -> Option<&'a [u8]> {
        self.0
            .iter()
            .rev()
            .find(|(k, _)| *k == kind)
            .map(|(_, desc)| *desc)
    }

    /// A note's number, of 4 or 8 bytes.
    fn number(&self, kind: u32, name: &'static str) -> Result<Option<u64>, ImageError> {
        let Some(desc) = self.get(kind) else {
            return Ok(None);
        };
        match desc.len() {
            4 => Ok(u32_at(desc, 0).map(u64::from)),
            8 => Ok(u64_at(desc, 0)),
            _ => Err(ImageError::BadNote(name)),
        }
    }

    /// A note's text, which may or may not end in a NUL.
    fn text(&self, kind: u32) -> Option<String> {
        let desc = self.get(kind)?;
        let end = desc.iter().position(|b| *b == 0).unwrap_or(desc.len());
        desc.get(..end)
            .map(|b| String::from_utf8_lossy(b).into_owned())
    }

    /// An image with everything that the notes say, and no segments yet.
    fn into_image(self) -> Result<KernelImage<'a>, ImageError> {
        if self.0.is_empty() {
            return Err(ImageError::NoXenNotes);
        }
        match self.text(note::XEN_VERSION) {
            Some(v) if v == "xen-3.0" => {}
            Some(v) => return Err(ImageError::OtherXenVersion(v)),
            None => return Err(ImageError::BadNote("XEN_VERSION")),
        }
        let guest_os = self.text(note::GUEST_OS).unwrap_or_default();
        if guest_os != "linux" && self.text(note::LOADER).as_deref() != Some("generic") {
            return Err(ImageError::BadNote("LOADER"));
        }
        if let Some(features) = self.text(note::FEATURES) {
            check_features(&features)?;
        }
        let need = |kind, name| self.number(kind, name)?.ok_or(ImageError::BadNote(name));
        let l1_mfn_valid = self
            .get(note::L1_MFN_VALID)
            .and_then(|d| u64_at(d, 0).zip(u64_at(d, 8)));
        Ok(KernelImage {
            entry: need(note::ENTRY, "ENTRY")?,
            virt_base: need(note::VIRT_BASE, "VIRT_BASE")?,
            paddr_offset: self
                .number(note::PADDR_OFFSET, "PADDR_OFFSET")?
                .unwrap_or(0),
            init_p2m: self.number(note::INIT_P2M, "INIT_P2M")?,
            hypercall_page: self.number(note::HYPERCALL_PAGE, "HYPERCALL_PAGE")?,
            mod_start_pfn: self
                .number(note::MOD_START_PFN, "MOD_START_PFN")?
                .is_some_and(|v| v != 0),
            suspend_cancel: self
                .number(note::SUSPEND_CANCEL, "SUSPEND_CANCEL")?
                .is_some_and(|v| v != 0),
            supported_features: self.number(note::SUPPORTED_FEATURES, "SUPPORTED_FEATURES")?,
            l1_mfn_valid,
            guest_os,
            ..KernelImage::default()
        })
    }
}

/// Refuses a kernel that insists on what we lack.
///
/// Linux always insists on writable_page_tables and means the VM assist of that name, which emulates them.
fn check_features(features: &str) -> Result<(), ImageError> {
    const OFFERED: [&str; 3] = ["writable_page_tables", "pae_pgdir_above_4gb", "dom0"];
    let required = features
        .split('|')
        .filter_map(|name| name.trim().strip_prefix('!'));
    match required.into_iter().find(|name| !OFFERED.contains(name)) {
        Some(name) => Err(ImageError::RequiredFeature(name.into())),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests;
