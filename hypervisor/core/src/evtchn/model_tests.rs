//! Random lives of two domains' event channels, against a slow and obvious model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::guest::Guest;
use super::ram::Ram;
use super::*;
use crate::units::{DomId, EvtchnPort, Pirq, VcpuId};

const NR_VCPUS: u32 = 3;
const NR_PIRQS: u32 = 4;
const LIMIT: u32 = 40;

#[derive(Clone, Debug)]
enum Op {
    AllocUnbound { d: usize, for_other: bool },
    BindInterdomain { d: usize, remote: usize, port: u32 },
    BindVirq { d: usize, virq: u32, vcpu: u32 },
    BindIpi { d: usize, vcpu: u32 },
    BindPirq { d: usize, pirq: u32 },
    BindVcpu { d: usize, port: u32, vcpu: u32 },
    SetPriority { d: usize, port: u32, priority: u32 },
    Close { d: usize, port: u32 },
    Send { d: usize, port: u32 },
    RaiseVirq { d: usize, virq: u32, vcpu: u32 },
    RaisePirq { d: usize, pirq: u32 },
    Mask { d: usize, port: u32 },
    Unmask { d: usize, port: u32 },
    TakeUpcalls { d: usize },
    MoveVcpuInfo { d: usize, vcpu: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let d = 0..2usize;
    let port = 0..12u32;
    let vcpu = 0..NR_VCPUS + 1;
    let virq = prop_oneof![Just(0u32), Just(1), Just(2), Just(3), Just(24)];
    prop_oneof![
        1 => (d.clone(), any::<bool>()).prop_map(|(d, for_other)| Op::AllocUnbound { d, for_other }),
        1 => (d.clone(), 0..2usize, port.clone()).prop_map(|(d, remote, port)| Op::BindInterdomain { d, remote, port }),
        1 => (d.clone(), virq.clone(), vcpu.clone()).prop_map(|(d, virq, vcpu)| Op::BindVirq { d, virq, vcpu }),
        1 => (d.clone(), vcpu.clone()).prop_map(|(d, vcpu)| Op::BindIpi { d, vcpu }),
        1 => (d.clone(), 0..NR_PIRQS + 1).prop_map(|(d, pirq)| Op::BindPirq { d, pirq }),
        1 => (d.clone(), port.clone(), vcpu.clone()).prop_map(|(d, port, vcpu)| Op::BindVcpu { d, port, vcpu }),
        1 => (d.clone(), port.clone(), 0..17u32).prop_map(|(d, port, priority)| Op::SetPriority { d, port, priority }),
        1 => (d.clone(), port.clone()).prop_map(|(d, port)| Op::Close { d, port }),
        6 => (d.clone(), port.clone()).prop_map(|(d, port)| Op::Send { d, port }),
        3 => (d.clone(), virq, vcpu.clone()).prop_map(|(d, virq, vcpu)| Op::RaiseVirq { d, virq, vcpu }),
        3 => (d.clone(), 0..NR_PIRQS + 1).prop_map(|(d, pirq)| Op::RaisePirq { d, pirq }),
        1 => (d.clone(), port.clone()).prop_map(|(d, port)| Op::Mask { d, port }),
        4 => (d.clone(), port).prop_map(|(d, port)| Op::Unmask { d, port }),
        3 => d.clone().prop_map(|d| Op::TakeUpcalls { d }),
        1 => (d, vcpu).prop_map(|(d, vcpu)| Op::MoveVcpuInfo { d, vcpu }),
    ]
}

/// A domain as the model sees it.
struct ModelPort {
    state: PortState,
    vcpu: u32,
}

#[derive(Default)]
struct Model {
    ports: BTreeMap<u32, ModelPort>,
    pending: BTreeSet<u32>,
    unmasked: BTreeSet<u32>,
}

impl Model {
    fn state(&self, port: u32) -> PortState {
        self.ports.get(&port).map_or(PortState::Closed, |p| p.state)
    }
    fn find(&self, state: PortState, vcpu: Option<u32>) -> Option<u32> {
        self.ports
            .iter()
            .find(|(_, p)| p.state == state && vcpu.is_none_or(|v| p.vcpu == v))
            .map(|(port, _)| *port)
    }
}

struct Domain {
    channels: EventChannels,
    guest: Guest,
    model: Model,
    /// Vcpus that the hypervisor told us to wake, and which have not looked since.
    told: BTreeSet<u32>,
}

struct World {
    ram: Ram,
    domains: [Domain; 2],
    next_frame: usize,
}

impl Peers for [Domain; 2] {
    fn with_peer(&self, dom: DomId, f: &mut dyn FnMut(&EventChannels)) {
        if let Some(domain) = self.get(usize::from(dom.0)) {
            f(&domain.channels);
        }
    }
}

impl World {
    fn new(fifo: bool) -> Self {
        let ram = Ram::new(24);
        let mut next_frame = 0;
        let domains = [0, 1].map(|d| {
            let shared_info = ram.mfn(next_frame);
            let channels =
                EventChannels::try_new(DomId(d), shared_info, NR_VCPUS, LIMIT - 1, NR_PIRQS)
                    .unwrap();
            channels.init_shared_info(&ram);
            for word in 0..64 {
                ram.qword(shared_info, 0xa00 + word * 8)
                    .store(u64::MAX, Ordering::SeqCst);
            }
            let mut guest = Guest::new(shared_info);
            next_frame += 1;
            if fifo {
                let controls: Vec<_> = (0..NR_VCPUS as usize)
                    .map(|n| ram.mfn(next_frame + n))
                    .collect();
                next_frame += NR_VCPUS as usize;
                guest.init_fifo(&ram, &channels, &controls);
                guest.expand(&ram, &channels, ram.mfn(next_frame));
                next_frame += 1;
            }
            Domain {
                channels,
                guest,
                model: Model::default(),
                told: BTreeSet::new(),
            }
        });
        World {
            ram,
            domains,
            next_frame,
        }
    }

    /// The lowest port that may be allocated.
    fn expected_port(&self, d: usize) -> u32 {
        let domain = &self.domains[d];
        (1..LIMIT)
            .find(|p| {
                domain.model.state(*p) == PortState::Closed
                    && !domain.guest.is_linked(&self.ram, EvtchnPort(*p))
            })
            .unwrap()
    }

    fn tell(&mut self, d: usize, raised: Raised) {
        assert!(!raised.pollers);
        self.domains[d].told.extend(raised.upcall.map(|v| v.0));
    }

    fn opened(&mut self, d: usize, expected: u32, got: EvtchnPort, state: PortState, vcpu: u32) {
        assert_eq!(got.0, expected);
        self.domains[d]
            .model
            .ports
            .insert(expected, ModelPort { state, vcpu });
    }

    fn apply(&mut self, op: &Op) {
        let ram = &self.ram;
        match *op {
            Op::AllocUnbound { d, for_other } => {
                let expected = self.expected_port(d);
                let remote = DomId(if for_other { 1 - d } else { d } as u16);
                let port = self.domains[d].channels.alloc_unbound(ram, remote).unwrap();
                self.opened(d, expected, port, PortState::Unbound { remote }, 0);
            }
            Op::BindInterdomain { d, remote, port } => {
                let expected = self.expected_port(d);
                let got = self.domains[d].channels.bind_interdomain(
                    ram,
                    &self.domains[remote].channels,
                    EvtchnPort(port),
                );
                let waiting = PortState::Unbound {
                    remote: DomId(d as u16),
                };
                if self.domains[remote].model.state(port) != waiting {
                    assert!(got.is_err());
                    return;
                }
                let (near, raised) = got.unwrap();
                let far_state = PortState::Interdomain {
                    remote: DomId(d as u16),
                    remote_port: near,
                };
                self.domains[remote]
                    .model
                    .ports
                    .get_mut(&port)
                    .unwrap()
                    .state = far_state;
                let state = PortState::Interdomain {
                    remote: DomId(remote as u16),
                    remote_port: EvtchnPort(port),
                };
                self.opened(d, expected, near, state, 0);
                self.domains[d].model.pending.insert(near.0);
                self.tell(d, raised);
            }
            Op::BindVirq { d, virq, vcpu } => {
                let expected = self.expected_port(d);
                let Ok(virq) = Virq::try_from(virq) else {
                    return assert!(virq >= 24);
                };
                let got = self.domains[d].channels.bind_virq(ram, virq, VcpuId(vcpu));
                let state = PortState::Virq(virq);
                let owner = (!virq.is_global()).then_some(vcpu);
                if virq.is_global() && vcpu != 0 {
                    assert_eq!(got, Err(EvtchnError::BadArgument));
                } else if vcpu >= NR_VCPUS {
                    assert_eq!(got, Err(EvtchnError::NoVcpu));
                } else if self.domains[d].model.find(state, owner).is_some() {
                    assert_eq!(got, Err(EvtchnError::AlreadyBound));
                } else {
                    self.opened(d, expected, got.unwrap(), state, vcpu);
                }
            }
            Op::BindIpi { d, vcpu } => {
                let expected = self.expected_port(d);
                let got = self.domains[d].channels.bind_ipi(ram, VcpuId(vcpu));
                if vcpu >= NR_VCPUS {
                    assert_eq!(got, Err(EvtchnError::NoVcpu));
                } else {
                    self.opened(d, expected, got.unwrap(), PortState::Ipi, vcpu);
                }
            }
            Op::BindPirq { d, pirq } => {
                let expected = self.expected_port(d);
                let got = self.domains[d].channels.bind_pirq(ram, Pirq(pirq));
                let state = PortState::Pirq(Pirq(pirq));
                if pirq >= NR_PIRQS {
                    assert_eq!(got, Err(EvtchnError::BadArgument));
                } else if self.domains[d].model.find(state, None).is_some() {
                    assert_eq!(got, Err(EvtchnError::AlreadyBound));
                } else {
                    self.opened(d, expected, got.unwrap(), state, 0);
                }
            }
            Op::BindVcpu { d, port, vcpu } => {
                let got = self.domains[d]
                    .channels
                    .bind_vcpu(EvtchnPort(port), VcpuId(vcpu));
                let movable = match self.domains[d].model.state(port) {
                    PortState::Closed | PortState::Ipi => false,
                    PortState::Virq(virq) => virq.is_global(),
                    _ => true,
                };
                assert_eq!(got.is_ok(), movable && vcpu < NR_VCPUS);
                if got.is_ok() {
                    self.domains[d].model.ports.get_mut(&port).unwrap().vcpu = vcpu;
                }
            }
            Op::SetPriority { d, port, priority } => {
                let Ok(priority) = Priority::try_from(priority) else {
                    return assert_eq!(priority, 16);
                };
                let got = self.domains[d]
                    .channels
                    .set_priority(EvtchnPort(port), priority);
                assert_eq!(
                    got.is_ok(),
                    self.domains[d].model.state(port) != PortState::Closed
                );
            }
            Op::Close { d, port } => {
                let got = self.domains[d]
                    .channels
                    .close(ram, &self.domains, EvtchnPort(port));
                let was = self.domains[d].model.state(port);
                if was == PortState::Closed {
                    assert_eq!(got, Err(EvtchnError::BadPort));
                    return;
                }
                let was_pending = self.domains[d].model.pending.remove(&port);
                assert_eq!(
                    got,
                    Ok(Closed {
                        port: EvtchnPort(port),
                        was,
                        was_pending
                    })
                );
                self.domains[d].model.ports.remove(&port);
                if let PortState::Interdomain {
                    remote,
                    remote_port,
                } = was
                {
                    // The far end may be this very port's own domain.
                    let far = &mut self.domains[usize::from(remote.0)].model;
                    far.ports.get_mut(&remote_port.0).unwrap().state = PortState::Unbound {
                        remote: DomId(d as u16),
                    };
                }
            }
            Op::Send { d, port } => {
                let got = self.domains[d].channels.send(ram, EvtchnPort(port));
                match self.domains[d].model.state(port) {
                    PortState::Ipi => {
                        let Ok(Sent::Here { port: at, raised }) = got else {
                            panic!("{got:?}")
                        };
                        assert_eq!(at.0, port);
                        self.domains[d].model.pending.insert(port);
                        self.tell(d, raised);
                    }
                    PortState::Unbound { .. } => assert_eq!(got, Ok(Sent::Dropped)),
                    PortState::Interdomain {
                        remote,
                        remote_port,
                    } => {
                        let target = usize::from(remote.0);
                        let raised = match got.unwrap() {
                            Sent::Here { port: at, raised } => {
                                assert_eq!((target, at), (d, remote_port));
                                raised
                            }
                            Sent::Remote { dom, port: at } => {
                                assert_eq!((dom, at), (remote, remote_port));
                                let sender = DomId(d as u16);
                                self.domains[target].channels.raise_from(
                                    ram,
                                    at,
                                    sender,
                                    EvtchnPort(port),
                                )
                            }
                            Sent::Dropped => panic!("dropped"),
                        };
                        self.domains[target].model.pending.insert(remote_port.0);
                        self.tell(target, raised);
                    }
                    PortState::Closed => assert_eq!(got, Err(EvtchnError::BadPort)),
                    _ => assert_eq!(got, Err(EvtchnError::WrongState)),
                }
            }
            Op::RaiseVirq { d, virq, vcpu } => {
                let Ok(virq) = Virq::try_from(virq) else {
                    return;
                };
                let got = self.domains[d].channels.raise_virq(ram, VcpuId(vcpu), virq);
                let owner = (!virq.is_global()).then_some(vcpu);
                self.raised(d, PortState::Virq(virq), owner, got);
            }
            Op::RaisePirq { d, pirq } => {
                let got = self.domains[d].channels.raise_pirq(ram, Pirq(pirq));
                self.raised(d, PortState::Pirq(Pirq(pirq)), None, got);
            }
            Op::Mask { d, port } => {
                self.domains[d].guest.mask(ram, EvtchnPort(port));
                self.domains[d].model.unmasked.remove(&port);
            }
            Op::Unmask { d, port } => {
                let got = self.domains[d].channels.unmask(ram, EvtchnPort(port));
                if self.domains[d].model.state(port) == PortState::Closed {
                    assert_eq!(got, Err(EvtchnError::BadPort));
                } else {
                    self.domains[d].model.unmasked.insert(port);
                    self.tell(d, got.unwrap());
                }
            }
            Op::TakeUpcalls { d } => self.take_upcalls(d),
            Op::MoveVcpuInfo { d, vcpu } => {
                let first_time = self.domains[d]
                    .channels
                    .vcpu_info(VcpuId(vcpu))
                    .is_some_and(|i| i.offset() != 8);
                if self.next_frame + 1 == 24 && first_time {
                    return;
                }
                let got = self.domains[d].channels.register_vcpu_info(
                    ram,
                    VcpuId(vcpu),
                    ram.mfn(self.next_frame),
                    8,
                );
                if vcpu >= NR_VCPUS {
                    assert_eq!(got, Err(EvtchnError::NoVcpu));
                } else if first_time {
                    self.next_frame += 1;
                    self.tell(d, got.unwrap());
                } else {
                    assert_eq!(got, Err(EvtchnError::WrongState));
                }
            }
        }
    }

    fn raised(
        &mut self,
        d: usize,
        state: PortState,
        vcpu: Option<u32>,
        got: Option<(EvtchnPort, Raised)>,
    ) {
        let expected = self.domains[d].model.find(state, vcpu);
        assert_eq!(got.map(|(port, _)| port.0), expected);
        if let Some((port, raised)) = got {
            self.domains[d].model.pending.insert(port.0);
            self.tell(d, raised);
        }
    }

    /// Every vcpu that was told takes its events. Then none must be left that is pending and unmasked.
    fn take_upcalls(&mut self, d: usize) {
        let domain = &mut self.domains[d];
        let mut taken = BTreeSet::new();
        for vcpu in std::mem::take(&mut domain.told) {
            let info = domain.channels.vcpu_info(VcpuId(vcpu)).unwrap();
            for port in domain.guest.take(&self.ram, VcpuId(vcpu), info) {
                assert!(taken.insert(port.0), "{port:?} was taken twice");
            }
        }
        let model = &mut domain.model;
        let due: BTreeSet<u32> = model
            .pending
            .intersection(&model.unmasked)
            .copied()
            .collect();
        assert_eq!(taken, due);
        model.pending.retain(|port| !due.contains(port));
    }

    fn check(&self) {
        for domain in &self.domains {
            for port in 1..LIMIT {
                let (port, model) = (EvtchnPort(port), &domain.model);
                let status = domain.channels.status(port).unwrap();
                assert_eq!(status.state, model.state(port.0), "{port:?}");
                let vcpu = model.ports.get(&port.0).map_or(0, |p| p.vcpu);
                assert_eq!(status.vcpu.0, vcpu);
                let pending = domain.channels.is_pending(&self.ram, port).unwrap();
                assert_eq!(pending, model.pending.contains(&port.0), "{port:?}");
            }
        }
    }
}

fn live(fifo: bool, ops: &[Op]) {
    let mut world = World::new(fifo);
    for op in ops {
        world.apply(op);
        world.check();
    }
    for d in 0..2 {
        world.take_upcalls(d);
        while let Some(closed) = world.domains[d]
            .channels
            .close_next(&world.ram, &world.domains)
        {
            assert!(
                world.domains[d]
                    .model
                    .ports
                    .remove(&closed.port.0)
                    .is_some()
            );
        }
        assert!(world.domains[d].model.ports.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn two_level_channels_live_as_the_model_does(ops in prop::collection::vec(op(), 1..120)) {
        live(false, &ops);
    }

    #[test]
    fn fifo_channels_live_as_the_model_does(ops in prop::collection::vec(op(), 1..120)) {
        live(true, &ops);
    }
}
