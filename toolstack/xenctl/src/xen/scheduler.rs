//! Domains' shares of the CPUs.

use rexen_abi::Plain;
use rexen_abi::domctl::*;
use rexen_core::units::DomId;

use super::{Scheduler, Xen};
use crate::error::Result;

/// A domain's share under the schedulers `credit` and `credit2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditShare {
    /// Share against other domains; 256 is usual.
    pub weight: u16,
    /// Most percent of one CPU; 0: no limit.
    pub cap: u16,
}

impl Xen {
    /// A domain's share.
    ///
    /// # Errors
    /// `INVAL`: the scheduler has no such thing.
    pub fn credit_share(&self, domain: DomId) -> Result<CreditShare> {
        let answer = self.share_call(
            domain,
            XEN_DOMCTL_SCHEDOP_getinfo,
            XenDomctlSchedCredit::ZERO,
        )?;
        Ok(CreditShare {
            weight: answer.weight,
            cap: answer.cap,
        })
    }

    /// Sets a domain's share.
    ///
    /// # Errors
    /// `INVAL`: the scheduler has no such thing, or the weight is 0.
    pub fn set_credit_share(&self, domain: DomId, share: CreditShare) -> Result<()> {
        let credit = XenDomctlSchedCredit {
            weight: share.weight,
            cap: share.cap,
        };
        self.share_call(domain, XEN_DOMCTL_SCHEDOP_putinfo, credit)
            .map(|_| ())
    }

    fn share_call(
        &self,
        domain: DomId,
        cmd: u32,
        credit: XenDomctlSchedCredit,
    ) -> Result<XenDomctlSchedCredit> {
        // credit2's parameters have the same two fields in the same places.
        let sched_id = match self.scheduler()? {
            Scheduler::Credit2 => XEN_SCHEDULER_CREDIT2,
            _ => XEN_SCHEDULER_CREDIT,
        };
        let mut words = [0u8; 16];
        let fits = credit.write(&mut words);
        debug_assert!(fits.is_some());
        let mut argument = XenDomctlSchedulerOp {
            sched_id,
            cmd,
            u: <[u64; 2]>::read(&words).unwrap_or_default(),
        };
        self.change(
            "asking or setting its share of the CPUs",
            XEN_DOMCTL_scheduler_op,
            domain,
            &mut argument,
        )?;
        let fits = argument.u.write(&mut words);
        debug_assert!(fits.is_some());
        Ok(XenDomctlSchedCredit::read(&words).unwrap_or_default())
    }
}
