//! The variables that take effect.

use super::Kind::{Any, Bool, Float, Int, List, Text};
use super::{Kind, Variable};

const fn xen2(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Variable {
    Variable {
        name,
        kind,
        default,
        help,
        is_xen2: true,
    }
}

const fn xl(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Variable {
    Variable {
        name,
        kind,
        default,
        help,
        is_xen2: false,
    }
}

/// Every variable, in the order help shows them.
pub const VARIABLES: &[Variable] = &[
    xen2(
        "name",
        Text,
        "the file's name",
        "Name of the domain. It starts with no digit and consists of letters, digits and _-.:/+",
    ),
    xen2(
        "kernel",
        Text,
        "none: must be set",
        "Kernel image in domain 0, for paravirtualised guests.",
    ),
    xen2("ramdisk", Text, "none", "Initial ramdisk in domain 0."),
    xen2(
        "builder",
        Text,
        "linux",
        "Kind of image: linux, also for other paravirtualised kernels.",
    ),
    xen2("memory", Int, "128", "Memory in MB."),
    xen2(
        "maxmem",
        Int,
        "as memory",
        "The most memory it may have, in MB.",
    ),
    xen2(
        "cpu",
        Int,
        "chosen by xend",
        "CPU that its first virtual CPU had better run on; -1 for the least used.",
    ),
    xen2(
        "cpu_weight",
        Float,
        "the scheduler's",
        "Weight against other domains when CPUs are scarce: up to 10 a multiple of the usual, as in 2.0; above, the scheduler's own number, of which 256 is usual.",
    ),
    xen2(
        "console",
        Int,
        "9600 + domain id",
        "TCP port of its console.",
    ),
    xen2(
        "restart",
        Text,
        "onreboot",
        "When it is started again after it ends: onreboot, always or never.",
    ),
    xen2(
        "blkif",
        Bool,
        "no",
        "Whether it is a back-end of block devices.",
    ),
    xen2(
        "netif",
        Bool,
        "no",
        "Whether it is a back-end of network interfaces.",
    ),
    xen2(
        "disk",
        List,
        "[]",
        "Discs: 'UNAME,DEV,MODE[,BACKEND]' with UNAME as in phy:vg/root or file:/images/a.img, DEV as in xvda and MODE r or w (with ! to skip checks for other users); or xl's 'TARGET,FORMAT,VDEV,ACCESS' and 'key=value' with target, format, vdev, access, backend and script.",
    ),
    xen2(
        "pci",
        List,
        "[]",
        "PCI functions: 'BUS,DEV,FUNC' or '[SEGMENT:]BUS:DEV.FUNC', in hexadecimal. Not offered yet: xend refuses them.",
    ),
    xen2(
        "vif",
        List,
        "[]",
        "Network interfaces: 'key=value,...' with mac, bridge, script, backend, ip, vifname, rate and gatewaydev; what is left out is chosen.",
    ),
    xen2(
        "nics",
        Int,
        "1, or as vif",
        "Number of network interfaces; those that vif does not describe have defaults.",
    ),
    xen2(
        "ipaddr",
        List,
        "[]",
        "Accepted for old files; has no effect.",
    ),
    xen2(
        "root",
        Text,
        "none",
        "The kernel's root=, perhaps with flags after it, as in '/dev/xvda1 ro'.",
    ),
    xen2("extra", Text, "none", "Further arguments of the kernel."),
    xen2(
        "ip",
        Text,
        "none",
        "IP address the kernel sets up before it mounts its root.",
    ),
    xen2("gateway", Text, "none", "Gateway in the kernel's ip=."),
    xen2("netmask", Text, "none", "Network mask in the kernel's ip=."),
    xen2("hostname", Text, "none", "Host name in the kernel's ip=."),
    xen2(
        "interface",
        Text,
        "eth0",
        "Network device in the kernel's ip=.",
    ),
    xen2(
        "dhcp",
        Text,
        "off",
        "How the kernel asks for an address in its ip=: off or dhcp.",
    ),
    xen2(
        "nfs_server",
        Text,
        "none",
        "Address of the NFS server of nfs_root.",
    ),
    xen2(
        "nfs_root",
        Text,
        "none",
        "Directory on nfs_server that the kernel mounts as its root.",
    ),
    xl("uuid", Text, "drawn", "Lasting identity of the domain."),
    xl("type", Text, "pv", "Kind of guest: pv."),
    xl("vcpus", Int, "1", "Virtual CPUs at the start."),
    xl(
        "maxvcpus",
        Int,
        "as vcpus",
        "The most virtual CPUs it may have.",
    ),
    xl(
        "cpus",
        Any,
        "all",
        "CPUs it may run on, as in '0-3,^1'; a list has one entry for each virtual CPU.",
    ),
    xl(
        "cmdline",
        Text,
        "none",
        "The kernel's whole command line, instead of root, extra and ip.",
    ),
    xl(
        "on_poweroff",
        Text,
        "by restart",
        "After a poweroff: destroy, restart, rename-restart, preserve, coredump-destroy or coredump-restart.",
    ),
    xl(
        "on_reboot",
        Text,
        "by restart",
        "After a reboot; as on_poweroff.",
    ),
    xl(
        "on_crash",
        Text,
        "destroy",
        "After a crash; as on_poweroff.",
    ),
    xl(
        "on_watchdog",
        Text,
        "destroy",
        "After its watchdog expired; as on_poweroff.",
    ),
    xl(
        "localtime",
        Bool,
        "no",
        "Whether its clock shows domain 0's local time instead of UTC.",
    ),
    xl("rtc_timeoffset", Int, "0", "Seconds added to its clock."),
];
