/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The CPUID leaves by which a guest recognises the hypervisor. */
#ifndef REXEN_XEN_ARCH_X86_CPUID_H
#define REXEN_XEN_ARCH_X86_CPUID_H

/* The first leaf: signature in ebx, ecx, edx, the highest leaf in eax. */
#define XEN_CPUID_FIRST_LEAF 0x40000000

/* Part of the signature "XenVMMXenVMM". */
#define XEN_CPUID_SIGNATURE_EBX 0x566e6558
#define XEN_CPUID_SIGNATURE_ECX 0x65584d4d
#define XEN_CPUID_SIGNATURE_EDX 0x4d4d566e

/* Leaf 2, ecx: MMU_PT_UPDATE_PRESERVE_AD is there. */
#define XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD (1 << 0)

/* Leaf 4, eax: a feature of HVM guests. */
#define XEN_HVM_CPUID_APIC_ACCESS_VIRT (1 << 0)
#define XEN_HVM_CPUID_X2APIC_VIRT      (1 << 1)
#define XEN_HVM_CPUID_IOMMU_MAPPINGS   (1 << 2)
#define XEN_HVM_CPUID_VCPU_ID_PRESENT  (1 << 3)
#define XEN_HVM_CPUID_DOMID_PRESENT    (1 << 4)
#define XEN_HVM_CPUID_EXT_DEST_ID      (1 << 5)
#define XEN_HVM_CPUID_UPCALL_VECTOR    (1 << 6)

/* Leaf 5, ebx: mask of the width of a machine address. */
#define XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK 0xff

/* How many leaves follow the first. */
#define XEN_CPUID_MAX_NUM_LEAVES 5

/* Number of leaf i after XEN_CPUID_FIRST_LEAF. */
#define XEN_CPUID_LEAF(i) (XEN_CPUID_FIRST_LEAF + (i))

#endif /* REXEN_XEN_ARCH_X86_CPUID_H */
