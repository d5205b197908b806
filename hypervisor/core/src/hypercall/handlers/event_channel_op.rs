//! Ports (`public/event_channel.h`).

use rexen_abi::errno::Errno;
use rexen_abi::event_channel::*;

use super::args::low32;
use super::physdev_op::{needs_eoi, show_eoi};
use crate::domain::{Domain, Stage};
use crate::evtchn::{
    Closed, EventChannels, FIFO_LINK_BITS, Peers, PortState, Priority, Raised, Virq,
};
use crate::hypercall::authority::Hardware;
use crate::hypercall::{Call, Machine, Outcome, deliver, send_event, tell_toolstack};
use crate::pvmmu::Refs;
use crate::units::{DomId, EvtchnPort, Mfn, Pirq, VcpuId};

/// Ports that a reset closes between two looks at whether to stop.
const CLOSES_PER_LOOK: u32 = 16;

/// The event channels of other domains.
pub struct OtherDomains<'a, M>(pub &'a M);

impl<M: Machine> Peers for OtherDomains<'_, M> {
    fn with_peer(&self, dom: DomId, f: &mut dyn FnMut(&EventChannels)) {
        self.0.with_domain(dom, |domain| f(&domain.events));
    }
}

/// `event_channel_op(cmd, arg)`.
#[inline]
pub fn event_channel_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, arg, ..] = call.args;
    match low32(cmd) {
        EVTCHNOP_send => call
            .read(arg)
            .and_then(|port| send_event(call.m, call.domain, EvtchnPort(port)))
            .into(),
        cmd @ (EVTCHNOP_reset | EVTCHNOP_reset_cont) => {
            let resume = cmd == EVTCHNOP_reset_cont;
            match call
                .read::<EvtchnReset>(arg)
                .and_then(|asked| reset(call, asked.dom, resume))
            {
                Ok(true) => Outcome::Done(0),
                Ok(false) => call.again([u64::from(EVTCHNOP_reset_cont)]),
                Err(e) => Outcome::Done(e.to_rax()),
            }
        }
        cmd => others(call, cmd, arg).into(),
    }
}

#[inline]
fn others<M: Machine>(call: &Call<'_, M>, cmd: u32, arg: u64) -> Result<(), Errno> {
    let (m, domain, events) = (call.m, call.domain, &call.domain.events);
    match cmd {
        EVTCHNOP_bind_interdomain => {
            let mut op = call.read::<EvtchnBindInterdomain>(arg)?;
            op.local_port = bind_interdomain(call, op.remote_dom, EvtchnPort(op.remote_port))?.0;
            call.write(arg, &op)
        }
        EVTCHNOP_bind_virq => {
            let mut op = call.read::<EvtchnBindVirq>(arg)?;
            let virq = Virq::try_from(op.virq)?;
            op.port = events.bind_virq(m, virq, VcpuId(op.vcpu))?.0;
            if virq == Virq::DOM_EXC && domain.is_privileged && any_has_ended(m) {
                tell_toolstack(m);
            }
            call.write(arg, &op)
        }
        EVTCHNOP_bind_pirq => {
            let mut op = call.read::<EvtchnBindPirq>(arg)?;
            op.port = bind_pirq(call, Pirq(op.pirq))?.0;
            call.write(arg, &op)
        }
        EVTCHNOP_close => {
            let op = call.read::<EvtchnClose>(arg)?;
            let closed = events.close(m, &OtherDomains(m), EvtchnPort(op.port))?;
            after_close(m, domain, &closed);
            Ok(())
        }
        EVTCHNOP_status => {
            let op = call.read::<EvtchnStatus>(arg)?;
            call.write(arg, &status(call, op)?)
        }
        EVTCHNOP_alloc_unbound => {
            let mut op = call.read::<EvtchnAllocUnbound>(arg)?;
            let target = call.target(op.dom)?;
            let remote = if DomId(op.remote_dom) == DomId::SELF {
                domain.id
            } else {
                DomId(op.remote_dom)
            };
            op.port = target.events.alloc_unbound(m, remote)?.0;
            call.write(arg, &op)
        }
        EVTCHNOP_bind_ipi => {
            let mut op = call.read::<EvtchnBindIpi>(arg)?;
            op.port = events.bind_ipi(m, VcpuId(op.vcpu))?.0;
            call.write(arg, &op)
        }
        EVTCHNOP_bind_vcpu => {
            let op = call.read::<EvtchnBindVcpu>(arg)?;
            if let Some(pirq) = events.bind_vcpu(EvtchnPort(op.port), VcpuId(op.vcpu))? {
                m.pirq_moved(domain, pirq);
            }
            Ok(())
        }
        EVTCHNOP_unmask => {
            let port = EvtchnPort(call.read::<EvtchnUnmask>(arg)?.port);
            let raised = events.unmask(m, port)?;
            deliver(m, domain, port, raised);
            Ok(())
        }
        EVTCHNOP_init_control => {
            let mut op = call.read::<EvtchnInitControl>(arg)?;
            init_control(call, &op)?;
            op.link_bits = FIFO_LINK_BITS;
            call.write(arg, &op)
        }
        EVTCHNOP_expand_array => {
            let op = call.read::<EvtchnExpandArray>(arg)?;
            expand_array(call, Mfn(op.array_gfn))
        }
        EVTCHNOP_set_priority => {
            let op = call.read::<EvtchnSetPriority>(arg)?;
            if !events.is_fifo() {
                return Err(Errno::ENOSYS);
            }
            Ok(events.set_priority(EvtchnPort(op.port), Priority::try_from(op.priority)?)?)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Whether a domain has shut down, or is dead, of which the toolstack may not know.
fn any_has_ended<M: Machine>(m: &M) -> bool {
    let mut from = DomId::DOM0;
    while let Some(domain) = m.next_domain(from) {
        if domain.is_shut_down() || domain.life.stage() == Stage::Dead {
            return true;
        }
        from = DomId(domain.id.0.saturating_add(1));
    }
    false
}

fn bind_interdomain<M: Machine>(
    call: &Call<'_, M>,
    remote: u16,
    port: EvtchnPort,
) -> Result<EvtchnPort, Errno> {
    let (m, domain) = (call.m, call.domain);
    let (bound, raised) = if DomId(remote) == DomId::SELF || DomId(remote) == domain.id {
        domain.events.bind_interdomain(m, &domain.events, port)?
    } else {
        let remote = m.domain(DomId(remote)).ok_or(Errno::ESRCH)?;
        domain.events.bind_interdomain(m, &remote.events, port)?
    };
    deliver(m, domain, bound, raised);
    Ok(bound)
}

/// Binds a port to a physical interrupt. BIND_PIRQ__WILL_SHARE asks for nothing that we do not do anyway.
fn bind_pirq<M: Machine>(call: &Call<'_, M>, pirq: Pirq) -> Result<EvtchnPort, Errno> {
    let (m, domain) = (call.m, call.domain);
    Hardware::of(domain)?;
    let port = domain.events.bind_pirq(m, pirq)?;
    if let Err(e) = m.pirq_bind(domain, pirq) {
        // Nothing to undo at the machine, so not `after_close`. The port may be gone already: then nothing is left to do.
        let _ = domain.events.close(m, &OtherDomains(m), port);
        return Err(e);
    }
    show_eoi(m, domain, pirq, needs_eoi(m, pirq));
    Ok(port)
}

/// What the machine has to do after a port was closed.
pub(in crate::hypercall) fn after_close<M: Machine>(m: &M, domain: &Domain, closed: &Closed) {
    if let PortState::Pirq(pirq) = closed.was {
        m.pirq_unbind(domain, pirq);
        show_eoi(m, domain, pirq, false);
    }
}

fn status<M: Machine>(call: &Call<'_, M>, mut op: EvtchnStatus) -> Result<EvtchnStatus, Errno> {
    let target = call.target(op.dom)?;
    let found = target.events.status(EvtchnPort(op.port))?;
    // What a state does not define stays as the guest had it.
    match found.state {
        PortState::Closed | PortState::Ipi => {}
        PortState::Unbound { remote } => op.u = u32::from(remote.0),
        PortState::Interdomain {
            remote,
            remote_port,
        } => (op.u, op.u_port) = (u32::from(remote.0), remote_port.0),
        PortState::Pirq(pirq) => op.u = pirq.0,
        PortState::Virq(virq) => op.u = u32::from(virq.number()),
    }
    op.status = found.state.abi_number();
    op.vcpu = found.vcpu.0;
    Ok(op)
}

/// Closes all ports; false if it is to go on later.
fn reset<M: Machine>(call: &Call<'_, M>, dom: u16, resume: bool) -> Result<bool, Errno> {
    let target = call.target(dom)?;
    // While another domain runs, it could open ports for ever.
    if target.is_dying() || target.id != call.domain.id && !target.life.control().is_paused() {
        return Err(Errno::EINVAL);
    }
    target.events.begin_reset(resume)?;
    if !close_all(call.m, &target) {
        return Ok(false);
    }
    end_reset(call.m, &target)?;
    Ok(true)
}

/// Closes the ports that a reset or a domain's end has not closed yet; false if it is to go on later.
pub fn close_all<M: Machine>(m: &M, domain: &Domain) -> bool {
    let mut closed = 0u32;
    while let Some(what) = domain.events.close_next(m, &OtherDomains(m)) {
        after_close(m, domain, &what);
        closed += 1;
        if closed.is_multiple_of(CLOSES_PER_LOOK) && m.should_stop() {
            return false;
        }
    }
    true
}

/// Ends what [`close_all`] began: the domain has the two-level ABI again, and its frames back.
///
/// # Errors
/// EAGAIN: it opened ports meanwhile.
pub fn end_reset<M: Machine>(m: &M, domain: &Domain) -> Result<(), Errno> {
    let refs = Refs {
        frames: m.frames(),
        host: m,
    };
    Ok(domain.events.end_reset(|mfn| refs.release_writable(mfn))?)
}

fn init_control<M: Machine>(call: &Call<'_, M>, op: &EvtchnInitControl) -> Result<(), Errno> {
    let refs = Refs {
        frames: call.m.frames(),
        host: call.m,
    };
    let mfn = Mfn(op.control_gfn);
    refs.hold_writable(mfn, call.domain.id)?;
    let set = call
        .domain
        .events
        .init_control(call.m, VcpuId(op.vcpu), mfn, op.offset);
    if set.is_err() {
        refs.release_writable(mfn);
    }
    Ok(set?)
}

fn expand_array<M: Machine>(call: &Call<'_, M>, mfn: Mfn) -> Result<(), Errno> {
    let refs = Refs {
        frames: call.m.frames(),
        host: call.m,
    };
    refs.hold_writable(mfn, call.domain.id)?;
    let raise = |port: EvtchnPort, raised: Raised| deliver(call.m, call.domain, port, raised);
    let added = call.domain.events.expand_array(call.m, mfn, raise);
    if added.is_err() {
        refs.release_writable(mfn);
    }
    Ok(added?)
}
