//! Making domains and taking them off the list: domain 0 and guests alike.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, Ordering::SeqCst};

use rexen_abi::errno::Errno;
use rexen_core::domain::{Domain, DomainPolicy, DomainSpec, Parts, SavedContext, Vcpu, room_for};
use rexen_core::hypercall::{self, Machine};
use rexen_core::policy::CpuPolicies;
use rexen_core::policy::cpuid::{Extent, HostCpuid, TscView};
use rexen_core::policy::cr;
use rexen_core::policy::ioports::{DomainPorts, OwnedPorts};
use rexen_core::policy::msr::VcpuMsrState;
use rexen_core::pvmmu::{INVALID_PFN, MmState, MmuHost, Refs};
use rexen_core::sched::{Runstate, VcpuRef};
use rexen_core::sync::{Relax, RwLock};
use rexen_core::units::{CpuMask, DomId, Mfn, VcpuId};
use spin::once::Once;

use crate::cpu::{self, features};
use crate::guest::timers;
use crate::machine::{self, HW};
use crate::platform::platform;
use crate::{console, timer};

/// All domains. A reader clones what it wants and lets go.
static DOMAINS: RwLock<Vec<Arc<Domain>>> = RwLock::new(Vec::new());
/// Where the search for a free number begins: numbers are not used again soon.
static NEXT_ID: AtomicU16 = AtomicU16::new(1);

/// The first domain of which `is_it` holds.
pub fn find(is_it: impl Fn(&Domain) -> bool) -> Option<Arc<Domain>> {
    DOMAINS.read().iter().find(|d| is_it(d)).cloned()
}

/// Calls `act` with the domain of this number. It stays listed meanwhile.
#[inline]
pub fn with<R>(id: DomId, act: impl FnOnce(&Domain) -> R) -> Option<R> {
    DOMAINS.read().iter().find(|d| d.id == id).map(|d| act(d))
}

/// The domain with the lowest number from `from` on.
pub fn next(from: DomId) -> Option<Arc<Domain>> {
    let domains = DOMAINS.read();
    let later = domains.iter().filter(|d| d.id >= from);
    later.min_by_key(|d| d.id).cloned()
}

/// All domains, for debugging; none if there is no memory for the list.
pub fn all() -> Vec<Arc<Domain>> {
    let domains = DOMAINS.read();
    let mut all = Vec::new();
    if all.try_reserve_exact(domains.len()).is_ok() {
        all.extend(domains.iter().cloned());
    }
    all
}

/// As [`Machine::create_domain`].
pub fn create(spec: &DomainSpec) -> Result<Arc<Domain>, Errno> {
    let id = choose_id(spec.id)?;
    let shared_info = take_shared_info(id)?;
    let domain =
        build(spec, id, shared_info).inspect_err(|_| give_back_shared_info(shared_info))?;
    let listed = hypercall::furnish(&HW, &domain).and_then(|()| list(&domain));
    if let Err(e) = listed {
        unmake(&domain);
        return Err(e);
    }
    HW.update_wall_clock(&domain);
    Ok(domain)
}

/// As [`Machine::is_idle`].
pub fn is_idle(domain: &Arc<Domain>) -> bool {
    // Nobody can find it on the list, or be in `with`, while this lock is held. We do not wait for it: guests take it often.
    let locked = DOMAINS.try_write();
    locked.is_some() && Arc::strong_count(domain) == 2
}

/// As [`Machine::remove_domain`].
pub fn remove(domain: &Arc<Domain>) -> bool {
    {
        let Some(mut domains) = DOMAINS.try_write() else {
            return false;
        };
        if Arc::strong_count(domain) != 2 {
            return false;
        }
        domains.retain(|d| d.id != domain.id);
    }
    timers::forget(domain.id);
    forget_vcpus(&domain.vcpus);
    true
}

/// The number that was asked for, or one that nobody has.
fn choose_id(asked: Option<DomId>) -> Result<DomId, Errno> {
    let is_free = |id| with(id, |_| ()).is_none();
    if let Some(id) = asked {
        return if is_free(id) {
            Ok(id)
        } else {
            Err(Errno::EEXIST)
        };
    }
    (1..DomId::FIRST_RESERVED.0)
        .map(|_| {
            let after = |id: u16| Some(id % (DomId::FIRST_RESERVED.0 - 1) + 1);
            DomId(NEXT_ID.fetch_update(SeqCst, SeqCst, after).unwrap_or(1))
        })
        .find(|id| is_free(*id))
        .ok_or(Errno::ENOMEM)
}

fn list(domain: &Arc<Domain>) -> Result<(), Errno> {
    let mut domains = DOMAINS.write();
    if domains.iter().any(|d| d.id == domain.id) {
        return Err(Errno::EEXIST);
    }
    domains.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    domains.push(domain.clone());
    Ok(())
}

fn take_shared_info(id: DomId) -> Result<Mfn, Errno> {
    let mfn = HW.alloc_frames(0, u64::BITS).ok_or(Errno::ENOMEM)?;
    HW.set_m2p(mfn, INVALID_PFN);
    let shared = HW.frame_table().get(mfn).map(|info| info.share(id));
    if !matches!(shared, Some(Ok(()))) {
        HW.bug("the allocator gave a frame that is not private", mfn);
        return Err(Errno::ENOMEM);
    }
    Ok(mfn)
}

/// Undoes [`take_shared_info`], for a domain that nobody got to know.
fn give_back_shared_info(mfn: Mfn) {
    if let Some(info) = HW.frame_table().get(mfn) {
        let _ = info.drop_allocation();
        let refs = Refs {
            frames: HW.frame_table(),
            host: &HW,
        };
        refs.release_writable(mfn);
    }
}

/// Undoes [`build`] and what came after it.
fn unmake(domain: &Domain) {
    domain.grants.retire(give_back_shared_info);
    forget_vcpus(&domain.vcpus);
    give_back_shared_info(domain.shared_info);
}

fn forget_vcpus(vcpus: &[Vcpu]) {
    for vcpu in vcpus {
        if let Err(e) = machine::scheduler().remove(vcpu.sched) {
            crate::println!("BUG: {:?} of {:?}: {e:?}", vcpu.id, vcpu.domain);
        }
    }
}

fn build(spec: &DomainSpec, id: DomId, shared_info: Mfn) -> Result<Arc<Domain>, Errno> {
    let events = spec.events(id, shared_info)?;
    let vcpus = vcpus(id, spec.nr_vcpus)?;
    // The allocations of the policy's cell and of the domain itself cannot be refused.
    room_for(size_of::<Domain>() + 2 * size_of::<DomainPolicy>())
        .inspect_err(|_| forget_vcpus(&vcpus))?;
    let parts = Parts {
        events,
        vcpus,
        mm: MmState::new(id, u32::from(features().address_bits), spec.is_privileged),
        policy: policy(spec.is_privileged),
        ports: ports(spec.is_privileged),
    };
    Ok(Arc::new(Domain::new(spec, parts)))
}

fn vcpus(id: DomId, count: u32) -> Result<Box<[Vcpu]>, Errno> {
    let mut vcpus = Vec::new();
    vcpus
        .try_reserve_exact(count as usize)
        .map_err(|_| Errno::ENOMEM)?;
    for n in 0..count {
        match vcpu(id, VcpuId(n)) {
            Ok(vcpu) => vcpus.push(vcpu),
            Err(e) => {
                forget_vcpus(&vcpus);
                return Err(e);
            }
        }
    }
    Ok(vcpus.into_boxed_slice())
}

fn vcpu(dom: DomId, id: VcpuId) -> Result<Vcpu, Errno> {
    room_for(size_of::<SavedContext>() + size_of::<rexen_core::domain::FpuArea>())?;
    let who = VcpuRef { dom, vcpu: id };
    let sched = machine::scheduler().insert(who, CpuMask(u64::MAX))?;
    let vcpu = Vcpu::new(dom, id, sched, Runstate::new(HW.now()));
    vcpu.cr4.store(cr::CR4_FIXED, SeqCst);
    Ok(vcpu)
}

struct Cpuid;

impl HostCpuid for Cpuid {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let r = cpu::regs::cpuid(leaf, subleaf);
        [r.eax, r.ebx, r.ecx, r.edx]
    }
}

/// What the processor says, and what domains may see of it.
pub fn policies() -> &'static CpuPolicies {
    static POLICIES: Once<CpuPolicies, Relax> = Once::new();
    POLICIES.call_once(|| CpuPolicies::collect(&Cpuid, &platform().options.cpuid, features().xsave))
}

/// What a domain's processor is like.
fn policy(is_privileged: bool) -> DomainPolicy {
    let cpuid = if is_privileged {
        let option = &platform().options.cpuid;
        policies()
            .raw
            .for_pv(Extent::Default, option, true, features().xsave)
    } else {
        policies().pv_default.clone()
    };
    let scale = timer::clock().scale;
    let khz = timer::tsc_khz() as u32;
    let tsc = TscView {
        host_safe: features().invariant_tsc,
        khz,
        mul_frac: scale.mul,
        shift: scale.shift,
        cpu_khz: khz,
        ..TscView::default()
    };
    let msr = VcpuMsrState::new(&cpuid, is_privileged, false);
    DomainPolicy::new(cpuid, msr, tsc)
}

fn ports(is_privileged: bool) -> DomainPorts {
    if !is_privileged {
        return DomainPorts::default();
    }
    DomainPorts::hardware(&OwnedPorts {
        uart: console::serial::in_use().map(|(port, _)| port),
        pm_timer: None,
    })
}
