//! Variables that other toolstacks know and this one refuses, with the reason.

/// Why a variable is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, and what to do instead.
    pub reason: &'static str,
}

/// Variables of fully virtualised guests.
const HVM: &[&str] = &[
    "acpi",
    "acpi_s3",
    "acpi_s4",
    "altp2m",
    "apic",
    "bios",
    "bios_path_override",
    "boot",
    "device_model",
    "device_model_args",
    "device_model_override",
    "device_model_stubdomain_override",
    "device_model_user",
    "device_model_version",
    "firmware",
    "firmware_override",
    "gfx_passthru",
    "guest_firmware",
    "hap",
    "hdtype",
    "hpet",
    "hvmloader",
    "keymap",
    "mmio_hole",
    "nestedhvm",
    "nographic",
    "nx",
    "nomigrate_hvm",
    "pae",
    "parallel",
    "pci_permissive",
    "rdm",
    "sdl",
    "serial",
    "shadow_memory",
    "smbios_firmware",
    "soundhw",
    "spice",
    "spicehost",
    "spiceport",
    "stdvga",
    "timer_mode",
    "tpm",
    "usb",
    "usbdevice",
    "usbversion",
    "vendor_device",
    "vga",
    "videoram",
    "viridian",
    "vkb_device",
    "vnc",
    "vncdisplay",
    "vnclisten",
    "vncpasswd",
    "vncunused",
    "vncviewer",
    "vpt_align",
    "xen_platform_pci",
];
const HVM_REASON: &str =
    "Rexen runs PV guests: this variable is for fully virtualised ones. Remove it";

const OTHERS: &[(&str, &str)] = &[
    (
        "address_size",
        "the kernel image says how wide its addresses are. Remove it",
    ),
    (
        "bootargs",
        "there are no boot loaders of guests: give kernel=, ramdisk= and cmdline=",
    ),
    (
        "bootloader",
        "there are no boot loaders of guests: copy kernel and ramdisk out of the guest, and give kernel= and ramdisk=",
    ),
    (
        "bootloader_args",
        "there are no boot loaders of guests: give kernel=, ramdisk= and cmdline=",
    ),
    (
        "bootloader_restrict",
        "there are no boot loaders of guests: give kernel= and ramdisk=",
    ),
    (
        "cap",
        "the scheduler shares CPUs by weight and has no caps: set cpu_weight=",
    ),
    (
        "channel",
        "channels are not offered: use a vif or the console",
    ),
    (
        "claim_mode",
        "memory is claimed while a domain is built, always. Remove it",
    ),
    (
        "cpuid",
        "guests see the CPU as the hypervisor shows it. Remove it",
    ),
    ("device_tree", "that is for Arm"),
    ("driver_domain", "say what it serves: blkif=1 or netif=1"),
    ("dtdev", "that is for Arm"),
    ("e820_host", "guests have the memory map of PV. Remove it"),
    (
        "extratime",
        "the scheduler shares CPUs by weight: set cpu_weight=",
    ),
    (
        "features",
        "the kernel image says which features it needs. Remove it",
    ),
    ("init_seclabel", "there are no security labels. Remove it"),
    ("iomem", "memory of devices is given by pci="),
    ("ioports", "ports of devices are given by pci="),
    ("irqs", "interrupts of devices are given by pci="),
    (
        "latency",
        "the scheduler shares CPUs by weight: set cpu_weight=",
    ),
    (
        "max_grant_frames",
        "the hypervisor's limit holds for all domains. Remove it",
    ),
    (
        "max_maptrack_frames",
        "the hypervisor's limit holds for all domains. Remove it",
    ),
    ("nodes", "there are no NUMA nodes: name the CPUs with cpus="),
    ("nodemigrate", "domains cannot be migrated yet. Remove it"),
    ("nomigrate", "domains cannot be migrated yet. Remove it"),
    (
        "on_xend_start",
        "domains that start with the machine have a link in /etc/xen/auto",
    ),
    ("on_xend_stop", "domains outlive xend. Remove it"),
    ("on_soft_reset", "soft resets are not offered. Remove it"),
    (
        "p9",
        "file systems of domain 0 are not shared: use a disk or NFS",
    ),
    (
        "passthrough",
        "PV guests need no IOMMU setting: give devices by pci=",
    ),
    (
        "period",
        "the scheduler shares CPUs by weight: set cpu_weight=",
    ),
    ("pool", "there are no CPU pools: name the CPUs with cpus="),
    ("pvcalls", "sockets of domain 0 are not shared: use a vif"),
    ("pvh", "Rexen runs PV guests. Remove it"),
    ("seclabel", "there are no security labels. Remove it"),
    (
        "slice",
        "the scheduler shares CPUs by weight: set cpu_weight=",
    ),
    (
        "tsc_mode",
        "guests read the machine's time stamp counter. Remove it",
    ),
    (
        "usbctrl",
        "USB devices are not offered: give a whole controller by pci=",
    ),
    (
        "usbdev",
        "USB devices are not offered: give a whole controller by pci=",
    ),
    (
        "vcpu_avail",
        "say how many are online with vcpus=, and how many there may be with maxvcpus=",
    ),
    (
        "vdispl",
        "there are no displays: use the console, or a display over the network",
    ),
    (
        "vfb",
        "there are no frame buffers: use the console, or a display over the network",
    ),
    (
        "vkb",
        "there are no frame buffers, hence no keyboards for them: use the console",
    ),
    ("vsnd", "there are no sound devices"),
    ("vscsi", "SCSI hosts are not offered: give discs by disk="),
    ("vtpm", "there are no virtual TPMs"),
    ("vuart", "the console is the paravirtual one. Remove it"),
];

/// Why a variable is refused, if it is.
pub fn refusal(name: &str) -> Option<Refusal> {
    refusals()
        .find(|(refused, _)| *refused == name)
        .map(|(_, refusal)| refusal)
}

/// Every variable that is refused.
pub fn refusals() -> impl Iterator<Item = (&'static str, Refusal)> {
    let hvm = HVM
        .iter()
        .map(|name| (*name, Refusal { reason: HVM_REASON }));
    hvm.chain(
        OTHERS
            .iter()
            .map(|(name, reason)| (*name, Refusal { reason })),
    )
}
