//! Domains: made, listed, paused, shut down and destroyed (`domctl`).

use rexen_abi::Plain;
use rexen_abi::arch_x86::XenArchDomainconfig;
use rexen_abi::domctl::*;
use rexen_abi::event_channel::{EVTCHNOP_alloc_unbound, EvtchnAllocUnbound};
use rexen_abi::sched::*;
use rexen_abi::sysctl::{
    XEN_SYSCTL_PHYSCAP_gnttab_v2, XEN_SYSCTL_getdomaininfolist, XenSysctlGetdomaininfolist,
};
use rexen_abi::xen::{__HYPERVISOR_event_channel_op, __HYPERVISOR_sched_op};
use rexen_core::units::{DomId, EvtchnPort, Mfn};
use rustix::io::Errno;

use super::{Xen, sysctl_in};
use crate::error::{Error, Result};

/// Domains asked for in one call.
const LIST_STEP: usize = 256;

/// What a new domain shall be; all of it is fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDomain {
    /// Its number; `None` for a free one.
    pub id: Option<DomId>,
    /// UUID.
    pub handle: [u8; 16],
    /// Most vcpus.
    pub max_vcpus: u32,
    /// Highest event-channel port.
    pub max_evtchn_port: u32,
    /// Most frames of its grant table; `None`: the hypervisor's default.
    pub max_grant_frames: Option<u32>,
    /// Most frames of its table of mapped grants; `None`: the hypervisor's default.
    pub max_maptrack_frames: Option<u32>,
    /// CPU pool.
    pub cpupool: u32,
}

impl Default for NewDomain {
    fn default() -> Self {
        Self {
            id: None,
            handle: [0; 16],
            max_vcpus: 1,
            max_evtchn_port: 1023,
            max_grant_frames: None,
            max_maptrack_frames: None,
            cpupool: 0,
        }
    }
}

/// Why a domain stopped (`SHUTDOWN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShutdownReason {
    /// It switched itself off.
    Poweroff,
    /// It wants to be started again.
    Reboot,
    /// It suspended itself.
    Suspend,
    /// It crashed, or was crashed.
    Crash,
    /// Its watchdog expired.
    Watchdog,
    /// It wants its memory kept and everything else anew.
    SoftReset,
    /// A number that has no meaning here.
    Other(u8),
}

impl ShutdownReason {
    /// From the hypervisor's number.
    #[allow(
        non_upper_case_globals,
        reason = "the header's spelling, so that grep finds both"
    )]
    pub const fn from_code(code: u8) -> Self {
        match code as u32 {
            SHUTDOWN_poweroff => Self::Poweroff,
            SHUTDOWN_reboot => Self::Reboot,
            SHUTDOWN_suspend => Self::Suspend,
            SHUTDOWN_crash => Self::Crash,
            SHUTDOWN_watchdog => Self::Watchdog,
            SHUTDOWN_soft_reset => Self::SoftReset,
            _ => Self::Other(code),
        }
    }

    /// The hypervisor's number.
    pub const fn code(self) -> u32 {
        match self {
            Self::Poweroff => SHUTDOWN_poweroff,
            Self::Reboot => SHUTDOWN_reboot,
            Self::Suspend => SHUTDOWN_suspend,
            Self::Crash => SHUTDOWN_crash,
            Self::Watchdog => SHUTDOWN_watchdog,
            Self::SoftReset => SHUTDOWN_soft_reset,
            Self::Other(code) => code as u32,
        }
    }
}

/// A domain as the hypervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its number.
    pub id: DomId,
    /// UUID.
    pub handle: [u8; 16],
    /// Whether it is destroyed, and only mappings of its pages keep it.
    pub is_dying: bool,
    /// Whether it is of the HVM kind.
    pub is_hvm: bool,
    /// Whether it is paused by the toolstack.
    pub is_paused: bool,
    /// Whether all its vcpus wait.
    pub is_blocked: bool,
    /// Whether one of its vcpus runs at this moment.
    pub is_running: bool,
    /// Whether a debugger is attached.
    pub is_debugged: bool,
    /// Why it stopped, if it has.
    pub shutdown: Option<ShutdownReason>,
    /// Pages it has.
    pub pages: u64,
    /// Pages it may have.
    pub max_pages: u64,
    /// Pages it has claimed.
    pub outstanding_pages: u64,
    /// The frame of its shared_info.
    pub shared_info: Mfn,
    /// Nanoseconds that its vcpus have run.
    pub cpu_time_ns: u64,
    /// Vcpus that are up.
    pub online_vcpus: u32,
    /// Its vcpus' highest number; `None` without any.
    pub max_vcpu_id: Option<u32>,
    /// Security label.
    pub ssidref: u32,
    /// CPU pool.
    pub cpupool: u32,
}

impl From<&XenDomctlGetdomaininfo> for DomainInfo {
    fn from(info: &XenDomctlGetdomaininfo) -> Self {
        let has = |flag| info.flags & flag != 0;
        let code = (info.flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask) as u8;
        Self {
            id: DomId(info.domain),
            handle: info.handle,
            is_dying: has(XEN_DOMINF_dying),
            is_hvm: has(XEN_DOMINF_hvm_guest),
            is_paused: has(XEN_DOMINF_paused),
            is_blocked: has(XEN_DOMINF_blocked),
            is_running: has(XEN_DOMINF_running),
            is_debugged: has(XEN_DOMINF_debugged),
            shutdown: has(XEN_DOMINF_shutdown).then(|| ShutdownReason::from_code(code)),
            pages: info.tot_pages,
            max_pages: info.max_pages,
            outstanding_pages: info.outstanding_pages,
            shared_info: Mfn(info.shared_info_frame),
            cpu_time_ns: info.cpu_time,
            online_vcpus: info.nr_online_vcpus,
            max_vcpu_id: (info.max_vcpu_id != XEN_INVALID_MAX_VCPU_ID).then_some(info.max_vcpu_id),
            ssidref: info.ssidref,
            cpupool: info.cpupool,
        }
    }
}

impl Xen {
    /// Makes a domain: paused, without vcpus and memory.
    ///
    /// # Errors
    /// `EXIST`: the number is in use. `NOMEM`: the hypervisor has no memory for it. `INVAL`: more vcpus or ports than it
    /// can have.
    pub fn create_domain(&self, new: &NewDomain) -> Result<DomId> {
        let frames =
            |limit: Option<u32>| limit.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
        let has_v2 = self.physinfo()?.capabilities & XEN_SYSCTL_PHYSCAP_gnttab_v2 != 0;
        let mut argument = XenDomctlCreatedomain {
            handle: new.handle,
            max_vcpus: new.max_vcpus,
            max_evtchn_port: new.max_evtchn_port,
            max_grant_frames: frames(new.max_grant_frames),
            max_maptrack_frames: frames(new.max_maptrack_frames),
            grant_opts: if has_v2 { 2 } else { 1 },
            cpupool_id: new.cpupool,
            arch: XenArchDomainconfig::ZERO,
            ..XenDomctlCreatedomain::ZERO
        };
        // A number that none can have means any.
        let id = new.id.unwrap_or(DomId(u16::MAX));
        self.domctl(
            "creating a domain",
            XEN_DOMCTL_createdomain,
            id,
            &mut argument,
        )
    }

    /// Takes everything from a domain. It is gone when nobody maps its pages any more.
    ///
    /// # Errors
    /// `SRCH`: no such domain. `INVAL`: it is our own.
    pub fn destroy(&self, domain: DomId) -> Result<()> {
        self.simple("destroying", XEN_DOMCTL_destroydomain, domain)
    }

    /// Stops a domain's vcpus. Pauses are counted.
    ///
    /// # Errors
    /// `SRCH`: no such domain. `INVAL`: it is our own. `OVERFLOW`: it is paused 255 times.
    pub fn pause(&self, domain: DomId) -> Result<()> {
        self.simple("pausing", XEN_DOMCTL_pausedomain, domain)
    }

    /// Undoes one pause.
    ///
    /// # Errors
    /// `SRCH`: no such domain. `INVAL`: it is not paused.
    pub fn unpause(&self, domain: DomId) -> Result<()> {
        self.simple("unpausing", XEN_DOMCTL_unpausedomain, domain)
    }

    /// Lets a domain that suspended itself run on.
    ///
    /// # Errors
    /// `SRCH`: no such domain.
    pub fn resume(&self, domain: DomId) -> Result<()> {
        self.simple("resuming", XEN_DOMCTL_resumedomain, domain)
    }

    /// A domain's facts; `None` if there is none of this number.
    ///
    /// # Errors
    /// Those of the call.
    pub fn domain(&self, domain: DomId) -> Result<Option<DomainInfo>> {
        let mut info = XenDomctlGetdomaininfo::ZERO;
        match self.domctl(
            "looking up the domain",
            XEN_DOMCTL_getdomaininfo,
            domain,
            &mut info,
        ) {
            // The hypervisor answers for the next one when there is none of this number.
            Ok(_) => Ok((info.domain == domain.0).then(|| DomainInfo::from(&info))),
            Err(error) if error.is_no_domain() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All domains, in the order of their numbers.
    ///
    /// # Errors
    /// Those of the call.
    pub fn domains(&self) -> Result<Vec<DomainInfo>> {
        let mut domains: Vec<DomainInfo> = Vec::new();
        let mut first = 0;
        loop {
            let step = self.domains_from(first)?;
            let is_last = step.len() < LIST_STEP;
            domains.extend(step.iter().map(DomainInfo::from));
            match domains.last() {
                Some(last) if !is_last => first = last.id.0.saturating_add(1),
                _ => return Ok(domains),
            }
        }
    }

    fn domains_from(&self, first: u16) -> Result<Vec<XenDomctlGetdomaininfo>> {
        let mut call = self.hypercalls.begin();
        let room = call.room(LIST_STEP * XenDomctlGetdomaininfo::SIZE);
        let mut argument = XenSysctlGetdomaininfolist {
            first_domain: first,
            max_domains: LIST_STEP as u32,
            buffer: call.handle(room),
            ..XenSysctlGetdomaininfolist::ZERO
        };
        sysctl_in(
            &mut call,
            "listing the domains",
            XEN_SYSCTL_getdomaininfolist,
            &mut argument,
        )?;
        Ok(call.get_list(room, argument.num_domains as usize))
    }

    /// Gives a domain its vcpus; as many as it was made for.
    ///
    /// # Errors
    /// `INVAL`: another number. `NOMEM`: no memory for them.
    pub fn set_max_vcpus(&self, domain: DomId, max: u32) -> Result<()> {
        let mut argument = XenDomctlMaxVcpus { max };
        self.change(
            "making its vcpus",
            XEN_DOMCTL_max_vcpus,
            domain,
            &mut argument,
        )
    }

    /// Limits a domain's memory, in KiB; what it has stays.
    ///
    /// # Errors
    /// `SRCH`: no such domain.
    pub fn set_max_memory(&self, domain: DomId, kib: u64) -> Result<()> {
        let mut argument = XenDomctlMaxMem { max_memkb: kib };
        self.change(
            "limiting its memory",
            XEN_DOMCTL_max_mem,
            domain,
            &mut argument,
        )
    }

    /// Changes a domain's UUID.
    ///
    /// # Errors
    /// `SRCH`: no such domain.
    pub fn set_handle(&self, domain: DomId, handle: [u8; 16]) -> Result<()> {
        let mut argument = XenDomctlSetdomainhandle { handle };
        self.change(
            "setting its UUID",
            XEN_DOMCTL_setdomainhandle,
            domain,
            &mut argument,
        )
    }

    /// Sets how many seconds a domain's clock is ahead of UTC.
    ///
    /// # Errors
    /// `SRCH`: no such domain.
    pub fn set_time_offset(&self, domain: DomId, seconds: i64) -> Result<()> {
        let mut argument = XenDomctlSettimeoffset {
            time_offset_seconds: seconds,
        };
        self.change(
            "setting its clock",
            XEN_DOMCTL_settimeoffset,
            domain,
            &mut argument,
        )
    }

    /// Makes a domain's kernel 64 bits wide: what it is from the start, said for hypervisors that must be told.
    ///
    /// # Errors
    /// `SRCH`: no such domain.
    pub fn set_address_size(&self, domain: DomId, bits: u32) -> Result<()> {
        let mut argument = XenDomctlAddressSize { size: bits };
        self.change(
            "setting its address size",
            XEN_DOMCTL_set_address_size,
            domain,
            &mut argument,
        )
    }

    /// Fills a frame of a domain's with the stubs through which its kernel makes hypercalls.
    ///
    /// # Errors
    /// `INVAL`: the frame is not its own.
    pub fn init_hypercall_page(&self, domain: DomId, frame: Mfn) -> Result<()> {
        let mut argument = XenDomctlHypercallInit { gmfn: frame.0 };
        self.change(
            "filling its hypercall page",
            XEN_DOMCTL_hypercall_init,
            domain,
            &mut argument,
        )
    }

    /// Makes a port of `domain` that `remote` may bind to.
    ///
    /// # Errors
    /// `SRCH`: no such domain. `NOSPC`: it has no port left.
    pub fn alloc_unbound(&self, domain: DomId, remote: DomId) -> Result<EvtchnPort> {
        let mut argument = EvtchnAllocUnbound {
            dom: domain.0,
            remote_dom: remote.0,
            port: 0,
        };
        self.op(
            __HYPERVISOR_event_channel_op,
            EVTCHNOP_alloc_unbound,
            &mut argument,
        )
        .map_err(|errno| Error::new("making an event channel", errno).on(domain))?;
        Ok(EvtchnPort(argument.port))
    }

    /// Shuts a domain down at once, as if it had asked for it: its state becomes this reason's.
    ///
    /// # Errors
    /// `SRCH`: no such domain.
    pub fn shut_down(&self, domain: DomId, reason: ShutdownReason) -> Result<()> {
        let mut argument = SchedRemoteShutdown {
            domain_id: domain.0,
            reason: reason.code(),
        };
        self.op(
            __HYPERVISOR_sched_op,
            SCHEDOP_remote_shutdown,
            &mut argument,
        )
        .map(|_| ())
        .map_err(|errno| Error::new("shutting it down", errno).on(domain))
    }

    /// Lets a domain handle a physical interrupt, or no longer.
    ///
    /// # Errors
    /// `INVAL`: no such interrupt.
    pub fn permit_irq(&self, domain: DomId, pirq: u32, allow: bool) -> Result<()> {
        let mut argument = XenDomctlIrqPermission {
            pirq,
            allow_access: allow.into(),
            ..XenDomctlIrqPermission::ZERO
        };
        self.change(
            "giving it an interrupt",
            XEN_DOMCTL_irq_permission,
            domain,
            &mut argument,
        )
    }

    /// Lets a domain map `count` frames of I/O memory from `first` on, or no longer.
    ///
    /// # Errors
    /// `INVAL`: the range is malformed.
    pub fn permit_iomem(&self, domain: DomId, first: Mfn, count: u64, allow: bool) -> Result<()> {
        let mut argument = XenDomctlIomemPermission {
            first_mfn: first.0,
            nr_mfns: count,
            allow_access: allow.into(),
        };
        self.change(
            "giving it I/O memory",
            XEN_DOMCTL_iomem_permission,
            domain,
            &mut argument,
        )
    }

    /// Lets a domain use `count` I/O ports from `first` on, or no longer.
    ///
    /// # Errors
    /// `INVAL`: the range is malformed.
    pub fn permit_ioports(&self, domain: DomId, first: u16, count: u32, allow: bool) -> Result<()> {
        let mut argument = XenDomctlIoportPermission {
            first_port: first.into(),
            nr_ports: count,
            allow_access: allow.into(),
        };
        self.change(
            "giving it I/O ports",
            XEN_DOMCTL_ioport_permission,
            domain,
            &mut argument,
        )
    }

    /// A domctl without an argument.
    fn simple(&self, call: &'static str, cmd: u32, domain: DomId) -> Result<()> {
        self.change(call, cmd, domain, &mut 0u64)
    }

    /// A domctl whose answer is that it was done.
    pub(super) fn change<T: Plain>(
        &self,
        call: &'static str,
        cmd: u32,
        domain: DomId,
        argument: &mut T,
    ) -> Result<()> {
        if !domain.is_real() {
            return Err(Error::new(call, Errno::SRCH).on(domain));
        }
        self.domctl(call, cmd, domain, argument).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_say_why_a_domain_stopped() {
        let mut info = XenDomctlGetdomaininfo {
            flags: XEN_DOMINF_shutdown | SHUTDOWN_crash << XEN_DOMINF_shutdownshift,
            max_vcpu_id: XEN_INVALID_MAX_VCPU_ID,
            ..XenDomctlGetdomaininfo::ZERO
        };
        let seen = DomainInfo::from(&info);
        assert_eq!(seen.shutdown, Some(ShutdownReason::Crash));
        assert_eq!(seen.max_vcpu_id, None);
        // Alive, the code is 255.
        info.flags = XEN_DOMINF_paused | 255 << XEN_DOMINF_shutdownshift;
        let seen = DomainInfo::from(&info);
        assert_eq!(seen.shutdown, None);
        assert!(seen.is_paused && !seen.is_dying);
    }

    #[test]
    fn reasons_keep_their_numbers() {
        for code in 0..=255 {
            assert_eq!(ShutdownReason::from_code(code).code(), u32::from(code));
        }
    }
}
