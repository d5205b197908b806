//! Numbers of the public ABI, from the crate that both sides share, in the types and short names that guests use.
#![allow(missing_docs, reason = "the names are the headers'")]

use rexen_abi::errno::Errno;
use rexen_abi::{arch_x86, sched, xen};

pub use rexen_abi::arch_x86::{HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START, MACH2PHYS_VIRT_START};

/// What a hypercall returns for an error.
const fn errno(error: Errno) -> i64 {
    error.to_rax().cast_signed()
}

pub const EPERM: i64 = errno(Errno::EPERM);
pub const E2BIG: i64 = errno(Errno::E2BIG);
pub const ENOMEM: i64 = errno(Errno::ENOMEM);
pub const EACCES: i64 = errno(Errno::EACCES);
pub const ENOSPC: i64 = errno(Errno::ENOSPC);
pub const EOPNOTSUPP: i64 = errno(Errno::EOPNOTSUPP);
pub const ENOENT: i64 = errno(Errno::ENOENT);
pub const ESRCH: i64 = errno(Errno::ESRCH);
pub const ENXIO: i64 = errno(Errno::ENXIO);
pub const EFAULT: i64 = errno(Errno::EFAULT);
pub const EBUSY: i64 = errno(Errno::EBUSY);
pub const EEXIST: i64 = errno(Errno::EEXIST);
pub const ENODEV: i64 = errno(Errno::ENODEV);
pub const EINVAL: i64 = errno(Errno::EINVAL);
pub const ENOSYS: i64 = errno(Errno::ENOSYS);
pub const ERANGE: i64 = errno(Errno::ERANGE);

pub const SET_TRAP_TABLE: u32 = xen::__HYPERVISOR_set_trap_table;
pub const MMU_UPDATE: u32 = xen::__HYPERVISOR_mmu_update;
pub const SET_GDT: u32 = xen::__HYPERVISOR_set_gdt;
pub const STACK_SWITCH: u32 = xen::__HYPERVISOR_stack_switch;
pub const SET_DEBUGREG: u32 = xen::__HYPERVISOR_set_debugreg;
pub const GET_DEBUGREG: u32 = xen::__HYPERVISOR_get_debugreg;
pub const UPDATE_DESCRIPTOR: u32 = xen::__HYPERVISOR_update_descriptor;
pub const MEMORY_OP: u32 = xen::__HYPERVISOR_memory_op;
pub const MULTICALL: u32 = xen::__HYPERVISOR_multicall;
pub const UPDATE_VA_MAPPING: u32 = xen::__HYPERVISOR_update_va_mapping;
pub const SET_TIMER_OP: u32 = xen::__HYPERVISOR_set_timer_op;
pub const XEN_VERSION: u32 = xen::__HYPERVISOR_xen_version;
pub const CONSOLE_IO: u32 = xen::__HYPERVISOR_console_io;
pub const VM_ASSIST: u32 = xen::__HYPERVISOR_vm_assist;
pub const IRET: u32 = xen::__HYPERVISOR_iret;
pub const VCPU_OP: u32 = xen::__HYPERVISOR_vcpu_op;
pub const SET_SEGMENT_BASE: u32 = xen::__HYPERVISOR_set_segment_base;
pub const MMUEXT_OP: u32 = xen::__HYPERVISOR_mmuext_op;
pub const SCHED_OP: u32 = xen::__HYPERVISOR_sched_op;
pub const CALLBACK_OP: u32 = xen::__HYPERVISOR_callback_op;
pub const EVENT_CHANNEL_OP: u32 = xen::__HYPERVISOR_event_channel_op;
pub const DOMCTL: u32 = xen::__HYPERVISOR_domctl;
pub const SYSCTL: u32 = xen::__HYPERVISOR_sysctl;
pub const PLATFORM_OP: u32 = xen::__HYPERVISOR_platform_op;
pub const PHYSDEV_OP: u32 = xen::__HYPERVISOR_physdev_op;
pub const GRANT_TABLE_OP: u32 = xen::__HYPERVISOR_grant_table_op;
pub const FPU_TASKSWITCH: u32 = xen::__HYPERVISOR_fpu_taskswitch;

pub const MMUEXT_PIN_L1_TABLE: u32 = xen::MMUEXT_PIN_L1_TABLE;
pub const MMUEXT_PIN_L4_TABLE: u32 = xen::MMUEXT_PIN_L4_TABLE;
pub const MMUEXT_UNPIN_TABLE: u32 = xen::MMUEXT_UNPIN_TABLE;
pub const MMUEXT_NEW_BASEPTR: u32 = xen::MMUEXT_NEW_BASEPTR;
pub const MMUEXT_TLB_FLUSH_LOCAL: u32 = xen::MMUEXT_TLB_FLUSH_LOCAL;
pub const MMUEXT_INVLPG_LOCAL: u32 = xen::MMUEXT_INVLPG_LOCAL;
pub const MMUEXT_SET_LDT: u32 = xen::MMUEXT_SET_LDT;
pub const MMUEXT_NEW_USER_BASEPTR: u32 = xen::MMUEXT_NEW_USER_BASEPTR;
pub const MMUEXT_CLEAR_PAGE: u32 = xen::MMUEXT_CLEAR_PAGE;
pub const MMUEXT_COPY_PAGE: u32 = xen::MMUEXT_COPY_PAGE;

pub const SCHEDOP_YIELD: u64 = sched::SCHEDOP_yield as u64;
pub const SCHEDOP_BLOCK: u64 = sched::SCHEDOP_block as u64;
pub const SCHEDOP_SHUTDOWN: u64 = sched::SCHEDOP_shutdown as u64;
pub const SHUTDOWN_POWEROFF: u32 = sched::SHUTDOWN_poweroff;
pub const SHUTDOWN_REBOOT: u32 = sched::SHUTDOWN_reboot;
pub const SHUTDOWN_CRASH: u32 = sched::SHUTDOWN_crash;
pub const SCHEDOP_POLL: u64 = sched::SCHEDOP_poll as u64;

pub const DOMID_SELF: u64 = xen::DOMID_SELF as u64;
pub const UVMF_INVLPG: u64 = xen::UVMF_INVLPG;
pub const VMASST_TYPE_WRITABLE_PAGETABLES: u64 = xen::VMASST_TYPE_writable_pagetables as u64;

/// Where the guests ask to be loaded (note VIRT_BASE).
pub const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;

/// cs of the kernel as frames show it: the flat selector without its RPL.
pub const KERNEL_CS: u64 = FLAT_CS64 & !3;
pub const FLAT_CS64: u64 = arch_x86::FLAT_RING3_CS64 as u64;
pub const FLAT_SS64: u64 = arch_x86::FLAT_RING3_SS64 as u64;

// Of the processor: bits of a page-table entry and of rflags.
pub const PTE_P: u64 = 1;
pub const PTE_RW: u64 = 2;
pub const PTE_US: u64 = 4;
pub const PTE_A: u64 = 0x20;
pub const PTE_PSE: u64 = 0x80;
pub const PTE_G: u64 = 0x100;
pub const PTE_NX: u64 = 1 << 63;
pub const PTE_FRAME: u64 = 0x000f_ffff_ffff_f000;
pub const EFLAGS_IF: u64 = 0x200;
