//! The toolstack's calls, for the guest that runs as domain 0: domctl, sysctl, and frames of other domains.

use super::{abi, hypercall, memory};
use rexen_abi::domctl::{XEN_DOMCTL_INTERFACE_VERSION, XenDomctl};
use rexen_abi::plain::Plain;
use rexen_abi::sysctl::{XEN_SYSCTL_INTERFACE_VERSION, XenSysctl};

/// Performs `domctl` on a domain; the argument takes the answer. Returns the result and the domain in the answer.
pub fn domctl<T: Plain>(cmd: u32, domain: u16, argument: &mut T) -> (i64, u16) {
    let mut op = XenDomctl::ZERO;
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    let fits = argument.write(&mut op.u);
    assert!(fits.is_some(), "a domctl argument is too long");
    let result = hypercall::call(abi::DOMCTL, [hypercall::pointer(&mut op)]);
    argument.fill(&op.u);
    (result, op.domain)
}

/// Performs `sysctl`; the argument takes the answer.
pub fn sysctl<T: Plain>(cmd: u32, argument: &mut T) -> i64 {
    let mut op = XenSysctl::ZERO;
    op.cmd = cmd;
    op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    let fits = argument.write(&mut op.u);
    assert!(fits.is_some(), "a sysctl argument is too long");
    let result = hypercall::call(abi::SYSCTL, [hypercall::pointer(&mut op)]);
    argument.fill(&op.u);
    result
}

/// A stretch of this guest's address space through which it sees frames of other domains.
#[derive(Clone, Copy)]
pub struct Window {
    start: u64,
    pages: usize,
}

/// The most pages of a window.
pub const WINDOW_PAGES: usize = 64;

impl Window {
    /// Makes a window over fresh pages of this guest; what it owned there stays unused.
    pub fn new(pages: usize) -> Self {
        assert!((1..=WINDOW_PAGES).contains(&pages), "a window too large");
        let start = memory::new_page();
        for index in 1..pages {
            let next = memory::new_page();
            assert!(
                next == start + index as u64 * memory::PAGE,
                "pages in a row"
            );
        }
        Self { start, pages }
    }

    /// The address of page `index`.
    pub fn page(&self, index: usize) -> u64 {
        self.start + index as u64 * memory::PAGE
    }

    /// Maps frames of `domain` at the window's start; what was mapped there before is gone.
    pub fn map(&self, domain: u16, mfns: &[u64], is_writable: bool) -> i64 {
        assert!(
            mfns.len() <= self.pages,
            "more frames than the window has pages"
        );
        let rights =
            abi::PTE_P | abi::PTE_A | abi::PTE_US | if is_writable { abi::PTE_RW } else { 0 };
        self.set(domain, mfns.len(), |index| {
            (mfns[index] * memory::PAGE) | rights
        })
    }

    /// Maps nothing any more.
    pub fn clear(&self) -> i64 {
        self.set(abi::DOMID_SELF as u16, self.pages, |_| 0)
    }

    fn set(&self, domain: u16, pages: usize, entry: impl Fn(usize) -> u64) -> i64 {
        let mut requests = [[0u64; 2]; WINDOW_PAGES];
        for (index, request) in requests.iter_mut().enumerate().take(pages) {
            let slot = memory::entry_address(self.page(index), 1).expect("the window has its L1");
            *request = [memory::maddr_of(slot), entry(index)];
        }
        let result = hypercall::call(
            abi::MMU_UPDATE,
            [
                hypercall::pointer(&mut requests),
                pages as u64,
                0,
                u64::from(domain),
            ],
        );
        if result == 0 {
            hypercall::mmuext(abi::MMUEXT_TLB_FLUSH_LOCAL, 0, 0);
        }
        result
    }
}
