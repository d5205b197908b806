//! What two or three CPUs do to the same channels at the same time, under many schedules (`testkit/schedules.rs`).
//!
//! Whatever the schedule, in the end both ends of every channel name each other, and a guest that is told and looks finds
//! each event that was sent after its channel was bound.
#![allow(
    unused_must_use,
    reason = "the guests look in the end, whoever is told"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use shuttle::sync::Mutex;
use shuttle::thread;

use super::guest::Guest;
use super::ram::Ram;
use super::*;
use crate::testkit::schedules::explore;
use crate::units::{DomId, EvtchnPort, Mfn, VcpuId};

/// Schedules of each kind, for a test of two short threads, and for others.
const MANY: usize = 800;
const SOME: usize = 300;

const A: usize = 0;
const B: usize = 1;
const V0: VcpuId = VcpuId(0);
const V1: VcpuId = VcpuId(1);
const P1: EvtchnPort = EvtchnPort(1);
const P2: EvtchnPort = EvtchnPort(2);

/// Two domains with two vcpus each.
struct World {
    ram: Ram,
    channels: [EventChannels; 2],
    guests: [Mutex<Guest>; 2],
}

impl Peers for World {
    fn with_peer(&self, dom: DomId, f: &mut dyn FnMut(&EventChannels)) {
        if let Some(channels) = self.channels.get(usize::from(dom.0)) {
            f(channels);
        }
    }
}

impl World {
    fn new(fifo: [bool; 2]) -> Arc<Self> {
        let ram = Ram::new(8);
        let frame = |d: usize, n: usize| ram.mfn(d * 4 + n);
        let channels = [A, B].map(|d| {
            let channels = EventChannels::try_new(DomId(d as u16), frame(d, 0), 2, 127, 0).unwrap();
            channels.init_shared_info(&ram);
            channels.unmask_upcalls(&ram, V0);
            channels.unmask_upcalls(&ram, V1);
            channels
        });
        let guests = [A, B].map(|d| {
            let mut guest = Guest::new(frame(d, 0));
            if fifo[d] {
                guest.init_fifo(&ram, &channels[d], &[frame(d, 1), frame(d, 2)]);
                guest.expand(&ram, &channels[d], frame(d, 3));
            }
            Mutex::new(guest)
        });
        Arc::new(World {
            ram,
            channels,
            guests,
        })
    }

    fn send(&self, d: usize, port: EvtchnPort) -> Raised {
        match self.channels[d].send(&self.ram, port) {
            Ok(Sent::Here { raised, .. }) => raised,
            Ok(Sent::Remote { dom, port: far }) => {
                let far_end = &self.channels[usize::from(dom.0)];
                far_end.raise_from(&self.ram, far, DomId(d as u16), port)
            }
            _ => Raised::NOTHING,
        }
    }

    fn close(&self, d: usize, port: EvtchnPort) {
        let _ = self.channels[d].close(&self.ram, self, port);
    }

    fn close_all(&self, d: usize) {
        while self.channels[d].close_next(&self.ram, self).is_some() {}
    }

    fn unbound(&self, d: usize) -> EvtchnPort {
        let remote = DomId(1 - d as u16);
        self.channels[d].alloc_unbound(&self.ram, remote).unwrap()
    }

    fn bind(&self, d: usize, port: EvtchnPort) -> Option<EvtchnPort> {
        let bound = self.channels[d].bind_interdomain(&self.ram, &self.channels[1 - d], port);
        bound.ok().map(|(port, _)| port)
    }

    /// A channel between both, each end with its own guest's events enabled.
    fn channel(&self) -> (EvtchnPort, EvtchnPort) {
        let far = self.unbound(B);
        let near = self.bind(A, far).unwrap();
        for (d, port) in [(A, near), (B, far)] {
            let _ = self.channels[d].unmask(&self.ram, port).unwrap();
            self.take(d, V0);
            self.take(d, V1);
        }
        (near, far)
    }

    fn take(&self, d: usize, vcpu: VcpuId) -> Vec<EvtchnPort> {
        let info = self.channels[d].vcpu_info(vcpu).unwrap();
        self.guests[d].lock().unwrap().take(&self.ram, vcpu, info)
    }

    fn state(&self, d: usize, port: EvtchnPort) -> PortState {
        self.channels[d].status(port).unwrap().state
    }

    /// Both ends of every channel name each other.
    fn check(&self) {
        for d in [A, B] {
            for port in (1..128).map(EvtchnPort) {
                if let PortState::Interdomain {
                    remote,
                    remote_port,
                } = self.state(d, port)
                {
                    let near = PortState::Interdomain {
                        remote: DomId(d as u16),
                        remote_port: port,
                    };
                    let far = self.state(usize::from(remote.0), remote_port);
                    assert_eq!(far, near, "d{d} {port:?}");
                }
            }
        }
    }
}

/// Runs the closures as threads, to their ends.
macro_rules! together {
    ($world:ident: $($body:expr),+ $(,)?) => {
        let threads = [$({
            let $world = $world.clone();
            thread::spawn(move || { $body; })
        }),+];
        for thread in threads {
            thread.join().unwrap();
        }
    };
}

#[test]
fn of_two_that_bind_to_one_port_one_succeeds() {
    explore(MANY, || {
        let w = World::new([false, false]);
        let far = w.unbound(B);
        together!(w: w.bind(A, far), w.bind(A, far));
        assert_ne!(
            w.state(A, P1) == PortState::Closed,
            w.state(A, P2) == PortState::Closed
        );
        w.check();
    });
}

#[test]
fn a_port_that_is_closed_while_it_is_bound_to_leaves_no_loose_end() {
    explore(MANY, || {
        let w = World::new([false, false]);
        let far = w.unbound(B);
        together!(w: w.bind(A, far), w.close(B, far));
        w.check();
    });
}

#[test]
fn a_failed_bind_leaves_no_loose_end_even_if_its_port_was_bound_to_meanwhile() {
    explore(SOME, || {
        let w = World::new([false, false]);
        let far = w.unbound(B);
        // Domain B parts from port 1 as it was when that is already meant to become another's far end, and binds to it.
        together!(w:
            { w.bind(A, far); w.close(A, P1) },
            w.bind(A, far),
            { w.close(B, far); w.bind(B, P1) },
        );
        w.check();
        // What is free is clean.
        let fresh = w.unbound(A);
        assert!(!w.channels[A].is_pending(&w.ram, fresh).unwrap());
    });
}

#[test]
fn ends_that_are_closed_bound_and_closed_again_name_each_other() {
    explore(SOME, || {
        let w = World::new([false, true]);
        let (near, far) = w.channel();
        together!(w:
            { w.close(A, near); w.bind(A, far) },
            { w.close(B, far); w.bind(B, near) },
            { w.send(A, near); w.send(B, far) },
        );
        w.check();
    });
}

#[test]
fn both_ends_closed_at_once_are_closed() {
    explore(MANY, || {
        let w = World::new([false, false]);
        let (near, far) = w.channel();
        together!(w: w.close(A, near), w.close(B, far));
        assert_eq!([w.state(A, near), w.state(B, far)], [PortState::Closed; 2]);
    });
}

/// Two CPUs of a domain send on two channels to one vcpu, which takes events at the same time.
fn nothing_sent_is_lost(fifo: [bool; 2], move_ports: bool) {
    explore(SOME, move || {
        let w = World::new(fifo);
        let channels = [w.channel(), w.channel()];
        let told = Arc::new(Mutex::new(BTreeSet::new()));
        let taken = Arc::new(Mutex::new(BTreeSet::new()));
        let mut threads = Vec::new();
        for (near, _) in channels {
            let (w, told) = (w.clone(), told.clone());
            threads.push(thread::spawn(move || {
                let raised = w.send(A, near);
                told.lock().unwrap().extend(raised.upcall);
            }));
        }
        {
            let (w, taken) = (w.clone(), taken.clone());
            threads.push(thread::spawn(move || {
                if move_ports {
                    for (_, far) in channels {
                        w.channels[B].bind_vcpu(far, V1).unwrap();
                    }
                }
                taken.lock().unwrap().extend(w.take(B, V0));
            }));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        // A vcpu that was told looks. One that was not has nothing.
        for vcpu in [V0, V1] {
            let found = w.take(B, vcpu);
            assert!(found.is_empty() || told.lock().unwrap().contains(&vcpu));
            taken.lock().unwrap().extend(found);
        }
        let all = BTreeSet::from(channels.map(|(_, far)| far));
        assert_eq!(*taken.lock().unwrap(), all);
    });
}

#[test]
fn no_event_is_lost_between_two_level_domains() {
    nothing_sent_is_lost([false, false], false);
}

#[test]
fn no_event_is_lost_from_a_two_level_to_a_fifo_domain() {
    nothing_sent_is_lost([false, true], false);
}

#[test]
fn no_event_is_lost_from_a_fifo_to_a_two_level_domain_that_moves_its_ports() {
    nothing_sent_is_lost([true, false], true);
}

#[test]
fn no_event_is_lost_in_a_fifo_domain_that_moves_its_ports() {
    nothing_sent_is_lost([true, true], true);
}

#[test]
fn an_event_sent_while_its_port_is_unmasked_is_taken() {
    for fifo in [false, true] {
        explore(SOME, move || {
            let w = World::new([false, fifo]);
            let (near, far) = w.channel();
            w.guests[B].lock().unwrap().mask(&w.ram, far);
            together!(w: w.send(A, near), w.channels[B].unmask(&w.ram, far).unwrap());
            assert_eq!(w.take(B, V0), [far]);
        });
    }
}

#[test]
fn a_poll_sees_the_event_or_is_ended_by_it() {
    explore(MANY, || {
        let w = World::new([false, false]);
        let (near, far) = w.channel();
        w.guests[B].lock().unwrap().mask(&w.ram, far);
        let woken = Arc::new(Mutex::new(false));
        let (sender, woke) = (w.clone(), woken.clone());
        let sends = thread::spawn(move || {
            if sender.send(A, near).pollers {
                sender.channels[B].wake_pollers(far, |vcpu| {
                    assert_eq!(vcpu, V0);
                    *woke.lock().unwrap() = true;
                });
            }
        });
        w.channels[B].poll_begin(V0);
        let seen = w.channels[B].is_pending(&w.ram, far).unwrap();
        if seen {
            w.channels[B].poll_end(V0);
        } else {
            w.channels[B].poll_only(V0, far);
        }
        sends.join().unwrap();
        assert!(seen || *woken.lock().unwrap());
    });
}

#[test]
fn a_domain_that_dies_keeps_no_port_and_its_peer_no_end() {
    for fifo in [false, true] {
        explore(SOME, move || {
            let w = World::new([fifo, false]);
            let (near, far) = w.channel();
            let waiting = w.unbound(A);
            together!(w:
                {
                    w.channels[A].set_dying();
                    w.close_all(A);
                    w.channels[A].end_reset(|mfn| w.ram.give_back(mfn)).unwrap();
                },
                { w.send(B, far); w.bind(B, waiting); w.close(B, far) },
                { w.send(A, near); w.channels[A].bind_ipi(&w.ram, V1) },
            );
            assert_eq!(w.channels[A].bind_ipi(&w.ram, V0), Err(EvtchnError::Dying));
            for port in (1..128).map(EvtchnPort) {
                assert_eq!(w.state(A, port), PortState::Closed);
                let end = w.state(B, port);
                assert!(!matches!(end, PortState::Interdomain { .. }), "{end:?}");
            }
        });
    }
}

#[test]
fn a_reset_gives_each_frame_back_once_and_nobody_uses_it_afterwards() {
    explore(SOME, || {
        let w = World::new([false, true]);
        let (near, far) = w.channel();
        let given: Arc<Mutex<Vec<Mfn>>> = Arc::default();
        let all = given.clone();
        together!(w:
            {
                w.channels[B].begin_reset(false).unwrap();
                w.close_all(B);
                let ended = w.channels[B].end_reset(|mfn| {
                    w.ram.give_back(mfn);
                    all.lock().unwrap().push(mfn);
                });
                assert!(ended.is_ok() || ended == Err(EvtchnError::StillOpen));
            },
            { w.send(A, near); w.send(A, near) },
            {
                let _ = w.channels[B].unmask(&w.ram, far);
                let _ = w.channels[B].bind_ipi(&w.ram, V1);
            },
        );
        w.check();
        let given = given.lock().unwrap();
        assert_eq!(given.len(), if w.channels[B].is_fifo() { 0 } else { 3 });
        assert_eq!(w.channels[B].begin_reset(true), Err(EvtchnError::Busy));
        assert_eq!(w.channels[B].begin_reset(false), Ok(()));
        assert_eq!(w.channels[B].begin_reset(false), Err(EvtchnError::Busy));
    });
}

#[test]
fn an_upcall_that_comes_while_vcpu_info_moves_is_seen_at_the_new_place() {
    explore(MANY, || {
        let w = World::new([false, false]);
        let (near, far) = w.channel();
        let new = w.ram.mfn(B * 4 + 1);
        together!(w:
            w.send(A, near),
            w.channels[B].register_vcpu_info(&w.ram, V0, new, 64).unwrap(),
        );
        assert_eq!(w.take(B, V0), [far]);
        assert_eq!(w.ram.qword(new, 64).load(SeqCst) & 0xff, 0);
    });
}
