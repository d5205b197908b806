//! Where everything is in the hypervisor's half terabytes (L4 slots 256 to 271), and in a CPU's own area.

/// Read-only to guests: one `u64` per machine frame, the pseudophysical frame number it has in its domain.
pub const M2P: u64 = 0xffff_8000_0000_0000;
/// Per-CPU areas.
pub const PERCPU: u64 = 0xffff_8080_0000_0000;
/// Uncached device registers.
pub const MMIO: u64 = 0xffff_8100_0000_0000;
/// One `rexen_core::frame::FrameInfo` per machine frame.
pub const FRAME_TABLE: u64 = 0xffff_8180_0000_0000;
/// Per-CPU windows for the descriptor tables of the guest that runs there.
pub const WINDOWS: u64 = 0xffff_8200_0000_0000;
/// The image: physical address plus this.
pub const IMAGE: u64 = 0xffff_82d0_4000_0000;
/// All RAM, writable.
pub const DIRECT_MAP: u64 = 0xffff_8300_0000_0000;
/// The first address that is the guest's again.
pub const END: u64 = 0xffff_8800_0000_0000;

/// The first L4 slot of the hypervisor.
pub const FIRST_L4_SLOT: usize = 256;
/// How many L4 slots the hypervisor has.
pub const NR_L4_SLOTS: usize = 16;

/// Bytes from one CPU's area to the next.
pub const PERCPU_STRIDE: u64 = 0x4_0000;
/// Offset of the page with this CPU's system call stubs.
pub const PERCPU_STUBS: u64 = 0;
/// Offset of the page with this CPU's task state segment.
pub const PERCPU_TSS: u64 = 0x1000;
/// Offset of the stack block, which is aligned to its size.
pub const PERCPU_STACKS: u64 = 0x1_0000;
/// Bytes of the stack block.
pub const STACK_BLOCK_BYTES: u64 = 0x1_0000;
/// Pages of the stack block that are stacks of their own, for #DF, NMI, #MC and #DB, in this order.
pub const NR_IST_PAGES: u64 = 4;
/// The page of the stack block that is never mapped.
pub const GUARD_PAGE: u64 = 4;

/// Bytes from one CPU's descriptor window to the next.
pub const WINDOW_STRIDE: u64 = 0x4_0000;
/// Pages of a window: 16 for the GDT, 16 for the LDT.
pub const WINDOW_PAGES: usize = 32;
/// The page of the GDT window that holds the hypervisor's own descriptors.
pub const RESERVED_GDT_PAGE: usize = 14;

/// The first address of `cpu`'s own area.
pub const fn percpu(cpu: usize) -> u64 {
    PERCPU + cpu as u64 * PERCPU_STRIDE
}

/// The address just past `cpu`'s stack block.
pub const fn stack_end(cpu: usize) -> u64 {
    percpu(cpu) + PERCPU_STACKS + STACK_BLOCK_BYTES
}

/// The first address of `cpu`'s descriptor window.
pub const fn window(cpu: usize) -> u64 {
    WINDOWS + cpu as u64 * WINDOW_STRIDE
}
