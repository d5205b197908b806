//! What a domain's processor is like: decided before it first runs, and never changed afterwards.

use alloc::sync::Arc;

use crate::policy::cpuid::{CpuidPolicy, TscView, Vendor};
use crate::policy::cr;
use crate::policy::msr::VcpuMsrState;
use crate::sync::{Mutex, Once};

/// What a domain's CPUID policy means for its registers, computed once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Answers to MSRs; `bootstrap` and `tsc_aux` are a vcpu's own.
    pub msr: VcpuMsrState,
    /// Whose processor it believes to run on.
    pub vendor: Vendor,
    /// Bits of CR4 that it may change.
    pub cr4_changeable: u64,
    /// Bits of XCR0 that it may set.
    pub xcr0_allowed: u64,
    /// Its time-stamp counter, as CPUID describes it.
    pub tsc: TscView,
}

/// The processor of a domain.
#[derive(Clone, Debug)]
pub struct DomainPolicy {
    /// The CPUID it sees.
    pub cpuid: CpuidPolicy,
    /// What follows from it for registers.
    pub limits: Limits,
}

impl DomainPolicy {
    /// The policy with this CPUID. `msr`: what is known of the machine's own registers.
    pub fn new(cpuid: CpuidPolicy, msr: VcpuMsrState, tsc: TscView) -> Self {
        let limits = Limits {
            msr: VcpuMsrState {
                bootstrap: msr.bootstrap,
                tsc_aux: msr.tsc_aux,
                microcode: msr.microcode,
                platform_id: msr.platform_id,
                misc_enable: msr.misc_enable,
                lfence_serialising: msr.lfence_serialising,
                ..VcpuMsrState::new(&cpuid, msr.hardware_domain, msr.bootstrap)
            },
            vendor: cpuid.vendor(),
            cr4_changeable: cr::cr4_changeable(&cpuid),
            xcr0_allowed: cpuid.xcr0_allowed(),
            tsc,
        };
        DomainPolicy { cpuid, limits }
    }

    /// The same with another CPUID.
    #[must_use]
    pub fn with_cpuid(&self, cpuid: CpuidPolicy) -> Self {
        DomainPolicy::new(cpuid, self.limits.msr, self.limits.tsc)
    }
}

/// The policy is settled: the domain has run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled;

/// A domain's policy: the toolstack changes it until the domain runs, and from then on reading it takes no lock.
pub struct PolicyCell {
    draft: Mutex<Arc<DomainPolicy>>,
    settled: Once<Arc<DomainPolicy>>,
}

impl PolicyCell {
    /// A cell whose policy can be changed yet.
    pub fn new(policy: DomainPolicy) -> Self {
        PolicyCell {
            draft: Mutex::new(Arc::new(policy)),
            settled: Once::new(),
        }
    }

    /// The policy, which is settled from now on: for the domain's own instructions, and when it is started.
    #[inline]
    pub fn get(&self) -> &DomainPolicy {
        match self.settled.get() {
            Some(policy) => policy,
            None => self.settle(),
        }
    }

    #[cold]
    fn settle(&self) -> &DomainPolicy {
        let draft = self.draft.lock();
        self.settled.call_once(|| draft.clone())
    }

    /// The policy as it is now: for the toolstack.
    pub fn now(&self) -> Arc<DomainPolicy> {
        self.draft.lock().clone()
    }

    /// Changes the policy.
    ///
    /// # Errors
    /// [`Settled`].
    pub fn change(&self, policy: DomainPolicy) -> Result<(), Settled> {
        let policy = Arc::new(policy);
        let mut draft = self.draft.lock();
        if self.settled.is_completed() {
            return Err(Settled);
        }
        *draft = policy;
        Ok(())
    }
}
