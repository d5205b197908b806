//! How a guest starts: the Xen ELF notes, the first instructions, start_info.
// UNSAFETY: the entry point in assembly, and start_info, which the domain builder made and nobody changes.
#![expect(unsafe_code)]

use super::{lone::Lone, report, trap};
use core::arch::global_asm;

/// Size of the stack that the guest's main function runs on.
pub const STACK_BYTES: usize = 64 * 1024;

/// A stack.
#[repr(C, align(4096))]
pub struct Stack(pub [u8; STACK_BYTES]);

static BOOT_STACK: Lone<Stack> = Lone::new(Stack([0; STACK_BYTES]));
static START_INFO: Lone<u64> = Lone::new(0);
static ENTRY_STACK: Lone<u64> = Lone::new(0);

global_asm!(
    ".section .text.start, \"ax\", @progbits",
    ".globl _start",
    "_start:",
    "    cld",
    "    lea rdi, [rip + {start_info}]",
    "    mov [rdi], rsi",
    "    lea rdi, [rip + {entry_stack}]",
    "    mov [rdi], rsp",
    "    lea rsp, [rip + {stack} + {stack_bytes}]",
    "    xor ebp, ebp",
    "    call {rust}",
    "    ud2",
    start_info = sym START_INFO,
    entry_stack = sym ENTRY_STACK,
    stack = sym BOOT_STACK,
    stack_bytes = const STACK_BYTES,
    rust = sym start,
);

// ELF notes (pv-abi 1.4): ENTRY, VIRT_BASE, PADDR_OFFSET, XEN_VERSION, GUEST_OS, LOADER, FEATURES, SUPPORTED_FEATURES.
global_asm!(
    ".macro xen_note type, value:vararg",
    "    .balign 4",
    "    .long 4, 2f - 1f, \\type",
    "    .asciz \"Xen\"",
    "1:  \\value",
    "2:  .balign 4",
    ".endm",
    ".section .note.xen, \"a\", @note",
    "xen_note 1, .quad _start",
    "xen_note 3, .quad 0xffffffff80000000",
    "xen_note 4, .quad 0",
    "xen_note 5, .asciz \"xen-3.0\"",
    "xen_note 6, .asciz \"rexen-guest\"",
    "xen_note 7, .asciz \"1\"",
    "xen_note 8, .asciz \"generic\"",
    "xen_note 10, .asciz \"!writable_page_tables\"",
    "xen_note 17, .quad 0x800",
    ".text",
);

unsafe extern "Rust" {
    safe static GUEST_NAME: &'static str;
    safe fn guest_main();
}

extern "C" fn start() -> ! {
    trap::install();
    guest_main();
    report::finish()
}

/// The guest's name, as its verdict line gives it.
pub fn name() -> &'static str {
    GUEST_NAME
}

/// What the domain builder tells the guest (`struct start_info`, the part before the command line).
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the header's")]
pub struct StartInfo {
    pub magic: [u8; 32],
    pub nr_pages: u64,
    pub shared_info: u64,
    pub flags: u32,
    pub store_mfn: u64,
    pub store_evtchn: u32,
    pub console: [u64; 2],
    pub pt_base: u64,
    pub nr_pt_frames: u64,
    pub mfn_list: u64,
    pub mod_start: u64,
    pub mod_len: u64,
    pub cmd_line: [u8; 1024],
    pub first_p2m_pfn: u64,
    pub nr_p2m_frames: u64,
}

/// What rsp was at entry.
pub fn entry_stack() -> u64 {
    ENTRY_STACK.get()
}

/// Where start_info lies.
pub fn start_info_address() -> u64 {
    START_INFO.get()
}

/// The start_info page that rsi pointed to at entry.
pub fn start_info() -> &'static StartInfo {
    // SAFETY: the builder maps the page and the hypervisor never writes it again.
    unsafe { &*(START_INFO.get() as *const StartInfo) }
}

/// Whether this guest is domain 0.
pub fn is_domain0() -> bool {
    start_info().flags & 2 != 0
}

/// The command line.
pub fn command_line() -> &'static str {
    let line = &start_info().cmd_line;
    let end = line.iter().position(|byte| *byte == 0);
    core::str::from_utf8(&line[..end.unwrap_or(line.len())]).unwrap_or_default()
}

/// What the command line says behind `<name>=`.
pub fn text_option(name: &str) -> Option<&'static str> {
    let words = command_line().split_ascii_whitespace();
    words
        .filter_map(|word| word.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The number that the command line gives behind `<name>=`.
pub fn option(name: &str) -> Option<u64> {
    text_option(name)?.parse().ok()
}

/// The number of the domain that the plan names at `index` of this guest's round.
pub fn peer(index: usize) -> u16 {
    let ids = text_option("peers").unwrap_or_default();
    let id = ids.split(',').nth(index).and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| report::fail(format_args!("no peer {index} on the command line")))
}

/// Names the guest and its main function.
#[macro_export]
macro_rules! guest {
    ($name:literal, $main:path) => {
        #[unsafe(no_mangle)]
        static GUEST_NAME: &str = $name;
        #[unsafe(no_mangle)]
        fn guest_main() {
            $main()
        }
    };
}

/// Runs assembly; the operands are those of `core::arch::asm!`. What it breaks is the test's own affair.
#[macro_export]
macro_rules! machine {
    ($($operands:tt)*) => {
        // SAFETY: a test guest's instruction, chosen to see what the hypervisor makes of it.
        unsafe { core::arch::asm!($($operands)*) }
    };
}
