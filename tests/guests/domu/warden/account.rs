//! What there is in the machine and what of it is the warden's, to see that nothing is lost.

use rexen_abi::domctl::XenDomctlGetdomaininfo;
use rexen_abi::plain::Plain;
use rexen_abi::sysctl::{
    XEN_SYSCTL_debug_keys, XEN_SYSCTL_getdomaininfolist, XEN_SYSCTL_physinfo, XenSysctlDebugKeys,
    XenSysctlGetdomaininfolist, XenSysctlPhysinfo,
};
use rexen_guests::{check_eq, clock, control, event, hypercall};

const MOST_DOMAINS: usize = 64;
/// Ports that are looked at.
const PORTS: u32 = 256;
/// How long the hypervisor usually takes to give everything back: Xen frees some of it only when all CPUs have been idle.
pub const USUAL_NS: u64 = 2_000_000_000;
/// How long it may take when the host has no time for one of the CPUs.
pub const PATIENCE_NS: u64 = 30_000_000_000;

/// A count of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    /// Free pages of the machine.
    pub free_pages: u64,
    /// Domains.
    pub domains: u32,
    /// Event channels of the warden that are in use.
    pub ports: u32,
    /// Frames of the warden's grant table.
    pub grant_frames: u32,
}

impl Account {
    /// Counts now.
    pub fn now() -> Self {
        Self {
            free_pages: physinfo().free_pages,
            domains: domains(),
            ports: (1..PORTS).filter(|port| is_in_use(*port)).count() as u32,
            grant_frames: grant_frames(),
        }
    }

    /// Whether it is the same as `other`, but for so many free pages.
    pub fn is_like(&self, other: &Self, slack: u64) -> bool {
        let same_pages = Self {
            free_pages: other.free_pages,
            ..*self
        };
        same_pages == *other && self.free_pages.abs_diff(other.free_pages) <= slack
    }

    /// Counts again and again until it is like before, or so many nanoseconds are over.
    pub fn settled(before: &Self, slack: u64, patience_ns: u64) -> Self {
        let end = clock::now() + patience_ns;
        loop {
            let now = Self::now();
            if now.is_like(before, slack) || clock::now() > end {
                return now;
            }
            super::wait(&[], 1);
        }
    }
}

/// What the hypervisor says about the machine.
pub fn physinfo() -> XenSysctlPhysinfo {
    let mut info = XenSysctlPhysinfo::ZERO;
    check_eq!(
        control::sysctl(XEN_SYSCTL_physinfo, &mut info),
        0,
        "physinfo"
    );
    info
}

fn domains() -> u32 {
    let mut list = [XenDomctlGetdomaininfo::ZERO; MOST_DOMAINS];
    let mut argument = XenSysctlGetdomaininfolist::ZERO;
    argument.max_domains = MOST_DOMAINS as u32;
    argument.buffer = hypercall::pointer(&mut list);
    let result = control::sysctl(XEN_SYSCTL_getdomaininfolist, &mut argument);
    check_eq!(result, 0, "getdomaininfolist");
    argument.num_domains
}

fn is_in_use(port: u32) -> bool {
    let mut status = [0x7ff0, port, 0, 0, 0, 0];
    event::op(5, &mut status) == 0 && status[2] != 0
}

fn grant_frames() -> u32 {
    let mut query = [0x7ff0u64, 0];
    hypercall::call(
        rexen_guests::abi::GRANT_TABLE_OP,
        [6, hypercall::pointer(&mut query), 1],
    );
    (query[0] >> 32) as u32
}

/// Asks the hypervisor to recount its world; what it finds is in its log.
pub fn recount() {
    let mut keys = *b"C";
    let mut argument = XenSysctlDebugKeys::ZERO;
    argument.keys = hypercall::pointer(&mut keys);
    argument.nr_keys = 1;
    check_eq!(
        control::sysctl(XEN_SYSCTL_debug_keys, &mut argument),
        0,
        "debug_keys"
    );
}
