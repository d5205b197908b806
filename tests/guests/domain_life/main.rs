//! Behaviour: making, pausing, starting and destroying domains (pv-abi 9.4; `public/domctl.h`).
//! Trigger: domain 0 makes empty domains, good and bad ones, and as many as there is room for.
//! Expectation: Xen's answer to each, and as much free memory at the end as at the start.
#![no_std]
#![no_main]

use rexen_abi::domctl::*;
use rexen_abi::memory::{XENMEM_increase_reservation, XenMemoryReservation};
use rexen_abi::plain::Plain;
use rexen_abi::sysctl::{XEN_SYSCTL_physinfo, XenSysctlPhysinfo};
use rexen_guests::{abi, check, check_eq, clock, control, event, guest, hypercall};

guest!("domain_life", main);

const ESRCH: i64 = -3;
const EEXIST: i64 = -17;
const EINVAL: i64 = -22;
const ENOMEM: i64 = -12;
const EOVERFLOW: i64 = -75;
const EOPNOTSUPP: i64 = -95;
const AUTO: u16 = 0xffff;
const NOBODY: u16 = 0x7000;
const VIRQ_DOM_EXC: u32 = 3;
const PATIENCE_NS: u64 = 2_000_000_000;
/// Domains that are made at most when memory shall run out.
const MOST: usize = 100;

fn asked() -> XenDomctlCreatedomain {
    let mut asked = XenDomctlCreatedomain::ZERO;
    asked.handle = [0x17; 16];
    asked.max_vcpus = 1;
    asked.max_evtchn_port = 1023;
    asked.max_grant_frames = 4;
    asked.max_maptrack_frames = 4;
    asked.grant_opts = 1;
    asked
}

fn create(domain: u16, asked: &XenDomctlCreatedomain) -> (i64, u16) {
    control::domctl(XEN_DOMCTL_createdomain, domain, &mut asked.clone())
}

fn plain(cmd: u32, domain: u16) -> i64 {
    control::domctl(cmd, domain, &mut 0u8).0
}

fn max_vcpus(domain: u16, max: u32) -> i64 {
    let mut argument = XenDomctlMaxVcpus { max };
    control::domctl(XEN_DOMCTL_max_vcpus, domain, &mut argument).0
}

fn info(domain: u16) -> XenDomctlGetdomaininfo {
    let mut info = XenDomctlGetdomaininfo::ZERO;
    let (result, _) = control::domctl(XEN_DOMCTL_getdomaininfo, domain, &mut info);
    check_eq!(result, 0, "getdomaininfo of {domain}");
    info
}

fn free_pages() -> u64 {
    let mut info = XenSysctlPhysinfo::ZERO;
    check_eq!(
        control::sysctl(XEN_SYSCTL_physinfo, &mut info),
        0,
        "physinfo"
    );
    info.free_pages
}

/// Waits until `is_so`, in vain for at most a while.
fn wait(is_so: impl Fn() -> bool) -> bool {
    let end = clock::now() + PATIENCE_NS;
    while clock::now() < end {
        if is_so() {
            return true;
        }
        hypercall::call(abi::SCHED_OP, [0, 0]);
    }
    false
}

fn is_gone(domain: u16) -> bool {
    let mut info = XenDomctlGetdomaininfo::ZERO;
    let (result, found) = control::domctl(XEN_DOMCTL_getdomaininfo, domain, &mut info);
    result == ESRCH || found != domain
}

fn main() {
    let Ok(port) = event::bind_virq(VIRQ_DOM_EXC, 0) else {
        check!(false, "bind VIRQ_DOM_EXC");
        return;
    };
    let free = free_pages();
    refusals();
    life(port);
    exhaustion();
    check!(
        wait(|| free_pages() == free),
        "{} pages are lost",
        free - free_pages()
    );
}

fn refusals() {
    type Change = fn(&mut XenDomctlCreatedomain);
    let wrong: [(&str, Change); 7] = [
        ("hap without hvm", |a| a.flags = XEN_DOMCTL_CDF_hap),
        ("nested virt", |a| a.flags = XEN_DOMCTL_CDF_nested_virt),
        ("iommu", |a| a.flags = XEN_DOMCTL_CDF_iommu),
        ("unknown flag", |a| a.flags = 1 << 20),
        ("iommu options", |a| a.iommu_opts = 1),
        ("no vcpu", |a| a.max_vcpus = 0),
        ("no grant version", |a| a.grant_opts = 0),
    ];
    for (what, change) in wrong {
        let mut asked = asked();
        change(&mut asked);
        check_eq!(create(AUTO, &asked).0, EINVAL, "{what}");
    }
    let mut emulated = asked();
    emulated.arch.emulation_flags = 1;
    check_eq!(create(AUTO, &emulated).0, EOPNOTSUPP, "emulated devices");
    check_eq!(create(0x6fff, &asked()), (0, 0x6fff), "a number of choice");
    check_eq!(create(0x6fff, &asked()).0, EEXIST, "and again");
    check_eq!(plain(XEN_DOMCTL_destroydomain, 0x6fff), 0, "destroy it");

    for (cmd, own) in [
        (XEN_DOMCTL_pausedomain, EINVAL),
        (XEN_DOMCTL_unpausedomain, EINVAL),
        (XEN_DOMCTL_destroydomain, EINVAL),
        (XEN_DOMCTL_resumedomain, EINVAL),
    ] {
        check_eq!(plain(cmd, 0), own, "command {cmd} on ourselves");
        check_eq!(plain(cmd, NOBODY), ESRCH, "command {cmd} on nobody");
        check_eq!(plain(cmd, 0x7ff0), ESRCH, "command {cmd} on DOMID_SELF");
    }
    check_eq!(
        plain(XEN_DOMCTL_getdomaininfo, NOBODY),
        ESRCH,
        "nobody from there on"
    );
}

fn life(port: u32) {
    let (result, domain) = create(AUTO, &asked());
    check_eq!(result, 0, "create");
    check!(domain != 0 && domain < 0x7ff0, "its number is {domain}");
    check_eq!(max_vcpus(domain, 2), EINVAL, "another number of vcpus");
    check_eq!(max_vcpus(domain, 1), 0, "its vcpus");
    let new = info(domain);
    check_eq!(
        (new.domain, new.handle),
        (domain, [0x17; 16]),
        "whose it is"
    );
    check_eq!(
        new.flags & 0xffff & !XEN_DOMINF_blocked,
        XEN_DOMINF_paused,
        "it is paused"
    );
    check_eq!(
        new.flags >> XEN_DOMINF_shutdownshift & 0xff,
        255,
        "not shut down"
    );
    check_eq!((new.tot_pages, new.max_pages), (0, 0), "it has no memory");
    check_eq!(
        (new.nr_online_vcpus, new.max_vcpu_id),
        (0, 0),
        "its vcpu is down"
    );
    check_eq!(
        info(domain - 1).domain,
        if domain == 1 { 0 } else { domain },
        "the next one"
    );

    let mut handle = [3u8; 16];
    let set = control::domctl(XEN_DOMCTL_setdomainhandle, domain, &mut handle).0;
    check_eq!((set, info(domain).handle), (0, [3; 16]), "a new handle");

    for pauses in 2..=255 {
        check_eq!(plain(XEN_DOMCTL_pausedomain, domain), 0, "pause {pauses}");
    }
    check_eq!(
        plain(XEN_DOMCTL_pausedomain, domain),
        EOVERFLOW,
        "one too many"
    );
    for pauses in (1..=255).rev() {
        check!(
            info(domain).flags & XEN_DOMINF_paused != 0,
            "paused {pauses} times"
        );
        check_eq!(
            plain(XEN_DOMCTL_unpausedomain, domain),
            0,
            "unpause {pauses}"
        );
    }
    check_eq!(info(domain).flags & XEN_DOMINF_paused, 0, "not paused");
    check_eq!(
        plain(XEN_DOMCTL_unpausedomain, domain),
        EINVAL,
        "unpaused as often"
    );
    check_eq!(
        plain(XEN_DOMCTL_resumedomain, domain),
        0,
        "resume what did not stop"
    );

    event::clear_pending(port);
    check_eq!(plain(XEN_DOMCTL_destroydomain, domain), 0, "destroy");
    check!(wait(|| event::is_pending(port)), "VIRQ_DOM_EXC");
    check!(wait(|| is_gone(domain)), "it is gone");
    check_eq!(plain(XEN_DOMCTL_destroydomain, domain), ESRCH, "again");
}

/// Lets one domain have nearly all memory, and makes others until there is none for the next.
fn exhaustion() {
    let (result, hog) = create(AUTO, &asked());
    check_eq!(result, 0, "create the one that takes all");
    let mut max = XenDomctlMaxMem {
        max_memkb: u64::MAX >> 10,
    };
    let (result, _) = control::domctl(XEN_DOMCTL_max_mem, hog, &mut max);
    check_eq!(result, 0, "no limit for it");
    for order in [9, 4, 0] {
        while increase(hog, 64, order) == 64 {}
    }
    let mut large = asked();
    large.max_vcpus = 64;
    large.max_evtchn_port = u32::MAX;
    let mut made = [0u16; MOST];
    let mut count = 0;
    let refused = loop {
        let (result, domain) = create(AUTO, &large);
        if result != 0 || count == MOST {
            break result;
        }
        made[count] = domain;
        count += 1;
        let result = max_vcpus(domain, 64);
        if result != 0 {
            break result;
        }
    };
    check_eq!(refused, ENOMEM, "after {count} domains there is no memory");
    for domain in made[..count].iter().chain([&hog]) {
        check_eq!(
            plain(XEN_DOMCTL_destroydomain, *domain),
            0,
            "destroy {domain}"
        );
        check!(wait(|| is_gone(*domain)), "{domain} is gone");
    }
}

/// Gives a domain extents; how many.
fn increase(domid: u16, nr_extents: u64, extent_order: u32) -> i64 {
    let mut reservation = XenMemoryReservation::ZERO;
    reservation.nr_extents = nr_extents;
    reservation.extent_order = extent_order;
    reservation.domid = domid;
    let at = hypercall::pointer(&mut reservation);
    hypercall::call(abi::MEMORY_OP, [XENMEM_increase_reservation.into(), at])
}
