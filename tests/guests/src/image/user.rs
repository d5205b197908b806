//! The guest's user mode: an address space of its own, and code that runs in it.

use super::{abi, hypercall, memory, trap};

/// Where the user code page is mapped.
pub const CODE: u64 = 0x40_0000;
/// Where the user stack page is mapped; the stack starts at its end.
pub const STACK: u64 = 0x40_1000;
/// Where the user data page is mapped.
pub const DATA: u64 = 0x40_2000;

/// A user address space: four tables, a page of code, a page of stack, a page of data.
#[derive(Clone, Copy)]
pub struct Space {
    /// The kernel's address of the user L4.
    pub l4: u64,
    /// The kernel's address of the user L1.
    pub l1: u64,
    /// The kernel's address of the code page.
    pub code: u64,
    /// The kernel's address of the data page.
    pub data: u64,
}

impl Space {
    /// Builds the space, pins its L4 and makes it the user page table.
    pub fn new() -> Self {
        let [l4, l3, l2, l1, code, stack, data] = core::array::from_fn(|_| memory::new_page());
        let rights = abi::PTE_P | abi::PTE_RW | abi::PTE_US | abi::PTE_A;
        let link = |table: u64, index: u64, page: u64| {
            memory::write(
                table + index * 8,
                (memory::mfn_of(page) * memory::PAGE) | rights,
            );
        };
        link(l4, CODE >> 39 & 511, l3);
        link(l3, CODE >> 30 & 511, l2);
        link(l2, CODE >> 21 & 511, l1);
        link(l1, CODE >> 12 & 511, code);
        link(l1, STACK >> 12 & 511, stack);
        link(l1, DATA >> 12 & 511, data);
        for table in [l4, l3, l2, l1] {
            memory::seal(table);
        }
        let pinned = hypercall::mmuext(abi::MMUEXT_PIN_L4_TABLE, memory::mfn_of(l4), 0);
        assert!(pinned == 0, "pinning the user L4 gives {pinned}");
        let loaded = hypercall::mmuext(abi::MMUEXT_NEW_USER_BASEPTR, memory::mfn_of(l4), 0);
        assert!(loaded == 0, "NEW_USER_BASEPTR gives {loaded}");
        Self { l4, l1, code, data }
    }

    /// Puts code at `CODE`.
    pub fn load(&self, code: &[u8]) {
        assert!(code.len() <= 4096, "the user code is too long");
        for (index, byte) in code.iter().enumerate() {
            memory::write_byte(self.code + index as u64, *byte);
        }
    }
}

/// The register state in which user code starts at `CODE`, events unmasked.
pub fn start_frame() -> trap::Frame {
    trap::Frame {
        rip: CODE,
        cs: abi::FLAT_CS64,
        rflags: abi::EFLAGS_IF,
        rsp: STACK + memory::PAGE,
        ss: abi::FLAT_SS64,
        ..trap::Frame::default()
    }
}

/// Runs user mode from `frame` until it traps or makes a system call: the frame of that.
pub fn run(frame: trap::Frame) -> trap::Frame {
    trap::catch(|| trap::resume(frame)).expect("user mode returns by a trap only")
}

/// Defines a function that gives position-independent user code, assembled from the lines.
#[macro_export]
macro_rules! user_code {
    ($name:ident, $($line:literal),+ $(,)?) => {
        core::arch::global_asm!(
            ".section .rodata.user, \"a\"",
            concat!(".globl user_", stringify!($name), "_start, user_", stringify!($name), "_end"),
            concat!("user_", stringify!($name), "_start:"),
            $($line,)+
            concat!("user_", stringify!($name), "_end:"),
            ".text",
        );
        fn $name() -> &'static [u8] {
            let (start, end): (u64, u64);
            $crate::machine!(
                concat!("lea {}, [rip + user_", stringify!($name), "_start]"),
                concat!("lea {}, [rip + user_", stringify!($name), "_end]"),
                out(reg) start, out(reg) end,
            );
            $crate::memory::bytes(start, end - start)
        }
    };
}
