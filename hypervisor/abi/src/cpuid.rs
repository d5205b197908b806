//! `public/arch-x86/cpuid.h`: the leaves by which a guest recognises the hypervisor.

use crate::plain::abi_constants;

abi_constants! {
    "The first leaf: signature in ebx, ecx, edx, the highest leaf in eax." u32 {
        XEN_CPUID_FIRST_LEAF = 0x4000_0000,
    }
    "Part of the signature \"XenVMMXenVMM\"." u32 {
        XEN_CPUID_SIGNATURE_EBX = 0x566e_6558,
        XEN_CPUID_SIGNATURE_ECX = 0x6558_4d4d,
        XEN_CPUID_SIGNATURE_EDX = 0x4d4d_566e,
    }
    "Leaf 2, ecx: `MMU_PT_UPDATE_PRESERVE_AD` is there." u32 {
        XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD = 1 << 0,
    }
    "Leaf 4, eax: a feature of HVM guests." u32 {
        XEN_HVM_CPUID_APIC_ACCESS_VIRT = 1 << 0,
        XEN_HVM_CPUID_X2APIC_VIRT = 1 << 1,
        XEN_HVM_CPUID_IOMMU_MAPPINGS = 1 << 2,
        XEN_HVM_CPUID_VCPU_ID_PRESENT = 1 << 3,
        XEN_HVM_CPUID_DOMID_PRESENT = 1 << 4,
        XEN_HVM_CPUID_EXT_DEST_ID = 1 << 5,
        XEN_HVM_CPUID_UPCALL_VECTOR = 1 << 6,
    }
    "Leaf 5, ebx: mask of the width of a machine address." u32 {
        XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK = 0xff,
    }
    "How many leaves follow the first." u32 {
        XEN_CPUID_MAX_NUM_LEAVES = 5,
    }
}

/// Leaf 1, eax: version, major in the high half and minor in the low.
pub const XEN_CPUID_VERSION_LEAF: u32 = XEN_CPUID_FIRST_LEAF + 1;
/// Leaf 2: hypercall pages, their MSR, features.
pub const XEN_CPUID_HYPERCALL_LEAF: u32 = XEN_CPUID_FIRST_LEAF + 2;
/// Leaf 3: time; subleaves 0 to 2.
pub const XEN_CPUID_TIME_LEAF: u32 = XEN_CPUID_FIRST_LEAF + 3;
/// Leaf 4: features of HVM guests.
pub const XEN_CPUID_HVM_LEAF: u32 = XEN_CPUID_FIRST_LEAF + 4;
/// Leaf 5: features of PV guests.
pub const XEN_CPUID_PV_LEAF: u32 = XEN_CPUID_FIRST_LEAF + 5;
