//! `public/arch-x86/xen.h` and `xen-x86_64.h`: registers, contexts, selectors, the address-space layout.

use crate::plain::{Pad, abi_constants, abi_structs};

abi_constants! {
    "First page of a GDT that is the hypervisor's." usize {
        FIRST_RESERVED_GDT_PAGE = 14,
    }
    "First byte of a GDT that is the hypervisor's." usize {
        FIRST_RESERVED_GDT_BYTE = FIRST_RESERVED_GDT_PAGE * 4096,
    }
    "First entry of a GDT that is the hypervisor's." usize {
        FIRST_RESERVED_GDT_ENTRY = FIRST_RESERVED_GDT_BYTE / 8,
    }
    "How many vcpus have their `vcpu_info` in shared_info." usize {
        XEN_LEGACY_MAX_VCPUS = 32,
    }

    "Flat selector: the hypervisor's GDT entry that every guest may use." u16 {
        FLAT_RING3_CS32 = 0xe023,
        FLAT_RING3_CS64 = 0xe033,
        FLAT_RING3_DS32 = 0xe02b,
        FLAT_RING3_DS64 = 0x0000,
        FLAT_RING3_SS32 = 0xe02b,
        FLAT_RING3_SS64 = 0xe02b,
        FLAT_KERNEL_DS64 = FLAT_RING3_DS64,
        FLAT_KERNEL_DS32 = FLAT_RING3_DS32,
        FLAT_KERNEL_DS = FLAT_KERNEL_DS64,
        FLAT_KERNEL_CS64 = FLAT_RING3_CS64,
        FLAT_KERNEL_CS32 = FLAT_RING3_CS32,
        FLAT_KERNEL_CS = FLAT_KERNEL_CS64,
        FLAT_KERNEL_SS64 = FLAT_RING3_SS64,
        FLAT_KERNEL_SS32 = FLAT_RING3_SS32,
        FLAT_KERNEL_SS = FLAT_KERNEL_SS64,
        FLAT_USER_DS64 = FLAT_RING3_DS64,
        FLAT_USER_DS32 = FLAT_RING3_DS32,
        FLAT_USER_DS = FLAT_USER_DS64,
        FLAT_USER_CS64 = FLAT_RING3_CS64,
        FLAT_USER_CS32 = FLAT_RING3_CS32,
        FLAT_USER_CS = FLAT_USER_CS64,
        FLAT_USER_SS64 = FLAT_RING3_SS64,
        FLAT_USER_SS32 = FLAT_RING3_SS32,
        FLAT_USER_SS = FLAT_USER_SS64,
    }

    "Bound of the address space that is the hypervisor's (the end exclusive)." u64 {
        HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000,
        HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000,
    }
    "Bound of the machine-to-physical table, an array of u64 (the end exclusive)." u64 {
        MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000,
        MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000,
    }
    "Entries for which the machine-to-physical table has room." u64 {
        MACH2PHYS_NR_ENTRIES = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) >> 3,
    }

    "First argument of `set_segment_base`." u32 {
        SEGBASE_FS = 0,
        SEGBASE_GS_USER = 1,
        SEGBASE_GS_KERNEL = 2,
        SEGBASE_GS_USER_SEL = 3,
    }

    "Bit of `vcpu_guest_context.flags` (`VGCF_in_syscall`: of `iret_context.flags`)." u64 {
        VGCF_I387_VALID = 1 << 0,
        VGCF_IN_KERNEL = 1 << 2,
        VGCF_i387_valid = 1 << 0,
        VGCF_in_kernel = 1 << 2,
        VGCF_failsafe_disables_events = 1 << 3,
        VGCF_syscall_disables_events = 1 << 4,
        VGCF_online = 1 << 5,
        VGCF_in_syscall = 1 << 8,
    }

    "Bit of `xen_arch_domainconfig.emulation_flags`." u32 {
        XEN_X86_EMU_LAPIC = 1 << 0,
        XEN_X86_EMU_HPET = 1 << 1,
        XEN_X86_EMU_PM = 1 << 2,
        XEN_X86_EMU_RTC = 1 << 3,
        XEN_X86_EMU_IOAPIC = 1 << 4,
        XEN_X86_EMU_PIC = 1 << 5,
        XEN_X86_EMU_VGA = 1 << 6,
        XEN_X86_EMU_IOMMU = 1 << 7,
        XEN_X86_EMU_PIT = 1 << 8,
        XEN_X86_EMU_USE_PIRQ = 1 << 9,
        XEN_X86_EMU_VPCI = 1 << 10,
        XEN_X86_EMU_ALL = 0x7ff,
    }
    "Bit of `xen_arch_domainconfig.misc_flags`." u32 {
        XEN_X86_MSR_RELAXED = 1 << 0,
    }
    "Value of `xen_cpuid_leaf.subleaf` for a leaf without any." u32 {
        XEN_CPUID_NO_SUBLEAF = 0xffff_ffff,
    }
}

/// Flags 0 and 1 of `trap_info`: the highest privilege number that may raise the trap with INT n.
pub const TI_DPL_MASK: u8 = 3;
/// Flag of `trap_info`: mask events on entry.
pub const TI_MASK_EVENTS: u8 = 4;
/// The bytes before an instruction that ask the hypervisor to emulate it ("ud2; xen").
pub const XEN_EMULATE_PREFIX: [u8; 5] = [0x0f, 0x0b, b'x', b'e', b'n'];

abi_structs! {
    /// One entry of the virtual trap table.
    pub struct TrapInfo: "struct trap_info", 16, align 8 {
        /// Vector.
        pub vector: u8,
        /// [`TI_DPL_MASK`], [`TI_MASK_EVENTS`].
        pub flags: u8,
        /// Code selector.
        pub cs: u16,
        /// Handler; 0 ends a list.
        pub address: u64,
    }

    /// The registers of a guest, in the order in which the hypervisor's entry code pushes them.
    pub struct CpuUserRegs: "struct cpu_user_regs", 200, align 8 {
        /// r15
        pub r15: u64,
        /// r14
        pub r14: u64,
        /// r13
        pub r13: u64,
        /// r12
        pub r12: u64,
        /// rbp
        pub rbp: u64,
        /// rbx
        pub rbx: u64,
        /// r11
        pub r11: u64,
        /// r10
        pub r10: u64,
        /// r9
        pub r9: u64,
        /// r8
        pub r8: u64,
        /// rax
        pub rax: u64,
        /// rcx
        pub rcx: u64,
        /// rdx
        pub rdx: u64,
        /// rsi
        pub rsi: u64,
        /// rdi
        pub rdi: u64,
        /// Error code of the exception (private to the hypervisor).
        pub error_code: u32,
        /// Vector of the exception (private to the hypervisor).
        pub entry_vector: u32,
        /// rip
        pub rip: u64,
        /// cs
        pub cs: u16,
        /// Unused.
        pub pad0: Pad<2> = "_pad0",
        /// The event mask at the time.
        pub saved_upcall_mask: u8,
        /// Unused.
        pub pad1: Pad<3> = "_pad1",
        /// rflags; IF is the inverse of `saved_upcall_mask`.
        pub rflags: u64,
        /// rsp
        pub rsp: u64,
        /// ss
        pub ss: u16,
        /// Unused.
        pub pad2: Pad<6> = "_pad2",
        /// es
        pub es: u16,
        /// Unused.
        pub pad3: Pad<6> = "_pad3",
        /// ds
        pub ds: u16,
        /// Unused.
        pub pad4: Pad<6> = "_pad4",
        /// fs
        pub fs: u16,
        /// Unused.
        pub pad5: Pad<6> = "_pad5",
        /// gs
        pub gs: u16,
        /// Unused.
        pub pad6: Pad<6> = "_pad6",
    }

    /// What the guest leaves on its stack for the `iret` hypercall.
    pub struct IretContext: "struct iret_context", 72, align 8 {
        /// rax
        pub rax: u64,
        /// r11
        pub r11: u64,
        /// rcx
        pub rcx: u64,
        /// 0 or `VGCF_in_syscall`.
        pub flags: u64,
        /// rip
        pub rip: u64,
        /// cs; RPL 3 returns to user mode.
        pub cs: u64,
        /// rflags; IF unmasks events.
        pub rflags: u64,
        /// rsp
        pub rsp: u64,
        /// ss
        pub ss: u64,
    }

    /// Everything a vcpu starts with.
    pub struct VcpuGuestContext: "struct vcpu_guest_context", 5168, align 8 {
        /// FXSAVE image.
        pub fpu_ctxt: [u8; 512],
        /// `VGCF_*`.
        pub flags: u64,
        /// Registers.
        pub user_regs: CpuUserRegs,
        /// Trap table.
        pub trap_ctxt: [TrapInfo; 256],
        /// Linear address of the LDT.
        pub ldt_base: u64,
        /// Entries of the LDT.
        pub ldt_ents: u64,
        /// Mfns of the GDT.
        pub gdt_frames: [u64; 16],
        /// Entries of the GDT.
        pub gdt_ents: u64,
        /// Kernel stack selector.
        pub kernel_ss: u64,
        /// Kernel stack pointer.
        pub kernel_sp: u64,
        /// Control registers: \[3\] the kernel L4, \[1\] the user L4 (bit 0 set), as machine addresses.
        pub ctrlreg: [u64; 8],
        /// Debug registers.
        pub debugreg: [u64; 8],
        /// Event callback.
        pub event_callback_eip: u64,
        /// Failsafe callback.
        pub failsafe_callback_eip: u64,
        /// System-call callback.
        pub syscall_callback_eip: u64,
        /// Assists: a bit per `VMASST_TYPE_*`.
        pub vm_assist: u64,
        /// FS base.
        pub fs_base: u64,
        /// GS base of kernel mode.
        pub gs_base_kernel: u64,
        /// GS base of user mode.
        pub gs_base_user: u64,
    }

    /// The architecture's part of shared_info.
    pub struct ArchSharedInfo: "struct arch_shared_info", 48, align 8 {
        /// One more than the highest pfn of the p2m.
        pub max_pfn: u64,
        /// Mfn of the top of the p2m tree (the guest writes it).
        pub pfn_to_mfn_frame_list_list: u64,
        /// `XEN_NMIREASON_*`.
        pub nmi_reason: u64,
        /// L4 under which `p2m_vaddr` holds (the guest writes it); 0 for the tree.
        pub p2m_cr3: u64,
        /// Linear address of the p2m (the guest writes it).
        pub p2m_vaddr: u64,
        /// Odd while the guest changes the p2m's mapping.
        pub p2m_generation: u64,
    }

    /// The architecture's part of vcpu_info.
    pub struct ArchVcpuInfo: "struct arch_vcpu_info", 16, align 8 {
        /// Address of the last page fault.
        pub cr2: u64,
        /// Unused.
        pub pad: u64,
    }

    /// The architecture's part of a new domain's configuration.
    pub struct XenArchDomainconfig: "struct xen_arch_domainconfig", 8, align 4 {
        /// `XEN_X86_EMU_*`; for PV none but `XEN_X86_EMU_PIT` of the hardware domain.
        pub emulation_flags: u32,
        /// `XEN_X86_MSR_RELAXED`.
        pub misc_flags: u32,
    }

    /// One CPUID leaf of a policy.
    pub struct XenCpuidLeaf: "struct xen_cpuid_leaf", 24, align 4 {
        /// Leaf.
        pub leaf: u32,
        /// Subleaf, or `XEN_CPUID_NO_SUBLEAF`.
        pub subleaf: u32,
        /// eax
        pub a: u32,
        /// ebx
        pub b: u32,
        /// ecx
        pub c: u32,
        /// edx
        pub d: u32,
    }

    /// One MSR of a policy or a vcpu.
    pub struct XenMsrEntry: "struct xen_msr_entry", 16, align 8 {
        /// Index.
        pub idx: u32,
        /// Must be 0.
        pub flags: u32,
        /// Value.
        pub val: u64,
    }
}
