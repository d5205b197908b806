//! Hypercalls: from a number and words in registers to a handler, and back.
//!
//! `table.rs` is the one list of what exists. A handler (`handlers/`, a file per hypercall) copies each argument in once,
//! checks it, asks `authority.rs` where the call is not for everyone, calls one function of a subsystem, and answers with
//! an [`Outcome`]. It reaches guest memory and the machine only through [`Machine`].

pub mod allocate;
pub mod authority;
pub mod handlers;
mod machine;
pub mod table;
pub mod teardown;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use machine::{Machine, MsiRequest, PowerAction, SegmentBase};

use alloc::sync::Arc;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::errno::Errno;
use rexen_abi::plain::Plain;
use rexen_abi::sched::SHUTDOWN_suspend;

use crate::domain::{Domain, NOT_SHUT_DOWN, Vcpu, VcpuFlags};
use crate::evtchn::{Raised, Sent, Virq};
use crate::units::{DomId, EvtchnPort, VcpuId};

/// How a hypercall ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// rax gets this value.
    Done(u64),
    /// Not finished: run the instruction again, with these arguments, after whatever is more urgent. The ABI lets a guest
    /// see its argument registers changed between the two.
    Again([u64; 5]),
    /// The registers hold what the guest goes on with: the call replaced them (iret), or stopped this vcpu.
    Replaced,
}

impl From<Result<u64, Errno>> for Outcome {
    #[inline]
    fn from(r: Result<u64, Errno>) -> Self {
        match r {
            Ok(v) => Outcome::Done(v),
            Err(e) => Outcome::Done(e.to_rax()),
        }
    }
}

impl From<Result<(), Errno>> for Outcome {
    #[inline]
    fn from(r: Result<(), Errno>) -> Self {
        r.map(|()| 0).into()
    }
}

/// What a handler works on.
pub struct Call<'a, M: Machine> {
    /// The machine.
    pub m: &'a M,
    /// The caller's domain.
    pub domain: &'a Domain,
    /// The calling vcpu.
    pub vcpu: &'a Vcpu,
    /// The words in rdi, rsi, rdx, r10, r8.
    pub args: [u64; 5],
}

impl<M: Machine> Call<'_, M> {
    /// Copies a structure in from guest address `gva`.
    ///
    /// # Errors
    /// EFAULT: not mapped, or not the guest's.
    #[inline]
    pub fn read<T: Plain>(&self, gva: u64) -> Result<T, Errno> {
        read(self.m, gva)
    }

    /// Copies a structure out to guest address `gva`.
    ///
    /// # Errors
    /// EFAULT: not mapped writable, or not the guest's.
    #[inline]
    pub fn write<T: Plain>(&self, gva: u64, value: &T) -> Result<(), Errno> {
        write(self.m, gva, value)
    }

    /// Not finished: go on later with these first arguments and the rest as they are.
    #[inline]
    pub fn again<const N: usize>(&self, first: [u64; N]) -> Outcome {
        let mut args = self.args;
        for (arg, new) in args.iter_mut().zip(first) {
            *arg = new;
        }
        Outcome::Again(args)
    }

    /// The domain that `id` names to this caller: itself by number or DOMID_SELF, others if it may.
    ///
    /// # Errors
    /// EPERM: not its to name. ESRCH: no such domain.
    pub fn target(&self, id: u16) -> Result<Arc<Domain>, Errno> {
        let id = if DomId(id) == DomId::SELF {
            self.domain.id
        } else {
            DomId(id)
        };
        if id != self.domain.id {
            authority::Control::of(self.domain)?;
        }
        self.m.domain(id).ok_or(Errno::ESRCH)
    }
}

/// Gives `act` a buffer for `size` bytes. `size` is a constant, so only one of these stays, and little is zeroed for
/// little.
#[inline(always)]
fn with_buffer<R>(
    size: usize,
    act: impl FnOnce(&mut [u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    // Larger things than the last come by copy_in and copy_out.
    match size {
        0..=8 => act([0; 8].get_mut(..size).unwrap_or_default()),
        9..=24 => act([0; 24].get_mut(..size).unwrap_or_default()),
        25..=40 => act([0; 40].get_mut(..size).unwrap_or_default()),
        41..=64 => act([0; 64].get_mut(..size).unwrap_or_default()),
        _ => act([0; 256].get_mut(..size).ok_or(Errno::EFAULT)?),
    }
}

/// Copies a structure in from guest address `gva`.
///
/// # Errors
/// EFAULT.
#[inline]
pub fn read<T: Plain, M: Machine>(m: &M, gva: u64) -> Result<T, Errno> {
    with_buffer(T::SIZE, |bytes| {
        m.copy_in(gva, bytes)?;
        T::read(bytes).ok_or(Errno::EFAULT)
    })
}

/// Copies a structure out to guest address `gva`.
///
/// # Errors
/// EFAULT.
#[inline]
pub fn write<T: Plain, M: Machine>(m: &M, gva: u64, value: &T) -> Result<(), Errno> {
    with_buffer(T::SIZE, |bytes| {
        value.write(bytes).ok_or(Errno::EFAULT)?;
        m.copy_out(gva, bytes)
    })
}

/// Does what raising an event asked for: wakes the vcpu it is for, and vcpus that poll its port.
#[inline]
pub fn deliver<M: Machine>(m: &M, domain: &Domain, port: EvtchnPort, raised: Raised) {
    if !raised.is_nothing() {
        tell(m, domain, port, raised);
    }
}

fn tell<M: Machine>(m: &M, domain: &Domain, port: EvtchnPort, raised: Raised) {
    if let Some(vcpu) = raised.upcall.and_then(|id| domain.vcpu(id)) {
        wake_for_event(m, vcpu);
    }
    if raised.pollers {
        domain.events.wake_pollers(port, |id| {
            if let Some(vcpu) = domain.vcpu(id) {
                unblock(m, vcpu, VcpuFlags::POLLING);
            }
        });
    }
}

/// Sends an event through a port of `domain`.
///
/// # Errors
/// EINVAL: nothing can be sent through it.
#[inline]
pub fn send_event<M: Machine>(m: &M, domain: &Domain, port: EvtchnPort) -> Result<(), Errno> {
    match domain.events.send(m, port)? {
        Sent::Here { port, raised } => deliver(m, domain, port, raised),
        Sent::Remote { dom, port: far } => {
            m.with_domain(dom, |peer| {
                let raised = peer.events.raise_from(m, far, domain.id, port);
                deliver(m, peer, far, raised);
            });
        }
        Sent::Dropped => {}
    }
    Ok(())
}

/// Raises a VIRQ of `domain` on `vcpu` (ignored for a global one), if it is bound.
pub fn raise_virq<M: Machine>(m: &M, domain: &Domain, vcpu: VcpuId, virq: Virq) {
    if let Some((port, raised)) = domain.events.raise_virq(m, vcpu, virq) {
        deliver(m, domain, port, raised);
    }
}

/// Raises a global VIRQ of the domain that handles it, if that has bound it.
pub fn raise_global_virq<M: Machine>(m: &M, virq: Virq) {
    m.with_domain(m.virq_handlers().handler(virq), |domain| {
        raise_virq(m, domain, VcpuId(0), virq);
    });
}

/// Makes a vcpu notice that its upcall is due: wakes it when it blocks, interrupts the CPU it runs on.
#[inline]
pub fn wake_for_event<M: Machine>(m: &M, vcpu: &Vcpu) {
    if vcpu.flags.load(SeqCst) & (VcpuFlags::BLOCKED | VcpuFlags::POLLING) != 0 {
        unblock(m, vcpu, VcpuFlags::BLOCKED | VcpuFlags::POLLING);
    } else {
        m.kick_vcpu(vcpu);
    }
}

/// Clears reasons not to run; tells the scheduler when the last one went.
pub fn unblock<M: Machine>(m: &M, vcpu: &Vcpu, reasons: u32) {
    let before = vcpu.flags.fetch_and(!reasons, SeqCst);
    if before & reasons & VcpuFlags::POLLING != 0
        && let Some(domain) = m.domain(vcpu.domain)
    {
        domain.events.poll_end(vcpu.id);
    }
    if before & reasons != 0 {
        sleep_or_wake(m, vcpu);
    }
}

/// Sets a reason not to run, and tells the scheduler.
pub fn block<M: Machine>(m: &M, vcpu: &Vcpu, reason: u32) {
    vcpu.flags.fetch_or(reason, SeqCst);
    sleep_or_wake(m, vcpu);
}

/// Makes the scheduler know what the flags say.
///
/// Others may change the flags and tell the scheduler at the same time; so whoever told it something looks again
/// whether that is still true, and the last word is right.
pub fn sleep_or_wake<M: Machine>(m: &M, vcpu: &Vcpu) {
    loop {
        let runnable = vcpu.is_runnable();
        if runnable {
            m.vcpu_wake(vcpu);
        } else {
            m.vcpu_sleep(vcpu);
        }
        if vcpu.is_runnable() == runnable {
            return;
        }
    }
}

/// Stops every vcpu of `domain` and records why (`public/sched.h`, SHUTDOWN_*). The first reason stands.
pub fn shut_down<M: Machine>(m: &M, domain: &Domain, reason: u32) {
    {
        let _control = domain.life.control();
        if domain
            .shutdown
            .compare_exchange(NOT_SHUT_DOWN, reason, Relaxed, Relaxed)
            .is_err()
        {
            return;
        }
        for vcpu in &domain.vcpus {
            block(m, vcpu, VcpuFlags::SHUT_DOWN);
        }
    }
    let suspend_port = domain.control.suspend_port.load(Relaxed);
    if domain.is_privileged {
        m.dom0_shut_down(reason);
    } else if reason != SHUTDOWN_suspend
        || suspend_port == 0
        || send_event(m, domain, EvtchnPort(suspend_port)).is_err()
    {
        tell_toolstack(m);
    }
}

/// Tells the toolstack that some domain has shut down or is gone: it looks which.
pub fn tell_toolstack<M: Machine>(m: &M) {
    raise_global_virq(m, Virq::DOM_EXC);
}

/// Gives a new domain what every domain has from the start: a shared_info in which no vcpu takes events, and a frame of
/// its grant table.
///
/// # Errors
/// ENOMEM.
pub fn furnish<M: Machine>(m: &M, domain: &Domain) -> Result<(), Errno> {
    domain.events.init_shared_info(m);
    // One frame is too few to stop after.
    let added = handlers::grant_host::add_frames(m, domain, 1);
    added.map(|_| ()).map_err(|_| Errno::ENOMEM)
}
