//! One behaviour each; `model_tests.rs` has the random lives.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rexen_abi::errno::Errno;

use super::guest::{Guest, LINKED, MASKED, PENDING};
use super::ram::Ram;
use super::*;
use crate::units::{DomId, EvtchnPort, Mfn, Pirq, VcpuId};

const V0: VcpuId = VcpuId(0);
const V1: VcpuId = VcpuId(1);

struct Nobody;

impl Peers for Nobody {
    fn with_peer(&self, _: DomId, _: &mut dyn FnMut(&EventChannels)) {}
}

fn domain(ram: &Ram, nr_vcpus: u32, max_port: u32) -> EventChannels {
    let channels = EventChannels::try_new(DomId(7), ram.mfn(0), nr_vcpus, max_port, 16).unwrap();
    channels.init_shared_info(ram);
    for word in 0..64 {
        let mask = ram.qword(ram.mfn(0), 0xa00 + word * 8);
        assert_eq!(
            mask.swap(u64::MAX, SeqCst),
            0,
            "a new domain has no port masked; its kernel masks them"
        );
    }
    channels
}

/// A domain of two vcpus that uses FIFO, with one array page.
fn fifo_domain(ram: &Ram) -> (EventChannels, Guest) {
    let channels = domain(ram, 2, 131_071);
    let mut guest = Guest::new(ram.mfn(0));
    guest.init_fifo(ram, &channels, &[ram.mfn(1), ram.mfn(2)]);
    guest.expand(ram, &channels, ram.mfn(3));
    (channels, guest)
}

fn take(ram: &Ram, channels: &EventChannels, guest: &mut Guest, vcpu: VcpuId) -> Vec<EvtchnPort> {
    guest.take(ram, vcpu, channels.vcpu_info(vcpu).unwrap())
}

#[test]
fn port_0_is_never_given_out_and_always_closed() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 1023);
    assert_eq!(channels.alloc_unbound(&ram, DomId(0)), Ok(EvtchnPort(1)));
    let zero = EvtchnPort(0);
    assert_eq!(channels.status(zero).unwrap().state, PortState::Closed);
    assert_eq!(
        channels.close(&ram, &Nobody, zero),
        Err(EvtchnError::BadPort)
    );
    assert_eq!(channels.unmask(&ram, zero), Err(EvtchnError::BadPort));
    assert_eq!(channels.is_pending(&ram, zero), Err(EvtchnError::BadPort));
    assert!(channels.send(&ram, zero).is_err());
    assert!(channels.bind_vcpu(zero, V0).is_err());
}

#[test]
fn allocation_stops_at_the_limit_and_takes_up_closed_ports() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 300);
    for port in 1..=300 {
        assert_eq!(channels.bind_ipi(&ram, V0), Ok(EvtchnPort(port)));
    }
    assert_eq!(channels.bind_ipi(&ram, V0), Err(EvtchnError::NoFreePort));
    assert_eq!(Errno::from(EvtchnError::NoFreePort), Errno::ENOSPC);
    for port in [EvtchnPort(299), EvtchnPort(17)] {
        channels.close(&ram, &Nobody, port).unwrap();
    }
    assert_eq!(channels.bind_ipi(&ram, V0), Ok(EvtchnPort(17)));
    assert_eq!(channels.bind_ipi(&ram, V0), Ok(EvtchnPort(299)));
}

#[test]
fn two_level_domain_has_4095_ports_however_many_it_may_have() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 131_071);
    let got = (0..5000)
        .filter(|_| channels.bind_ipi(&ram, V0).is_ok())
        .count();
    assert_eq!(got, 4095);
    assert!(channels.status(EvtchnPort(4096)).is_err());
    let _ = channels.send(&ram, EvtchnPort(4095)).unwrap();
    assert_eq!(ram.qword(ram.mfn(0), 0x9f8).load(SeqCst), 1 << 63);
    assert_eq!(
        ram.qword(ram.mfn(0), 0xa00).load(SeqCst),
        u64::MAX,
        "the mask follows the last pending word"
    );
}

#[test]
fn status_ends_where_no_port_was_ever_open() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 1023);
    assert!(channels.status(EvtchnPort(255)).is_ok());
    assert!(channels.status(EvtchnPort(256)).is_err());
    for _ in 0..256 {
        channels.bind_ipi(&ram, V0).unwrap();
    }
    assert!(channels.status(EvtchnPort(511)).is_ok());
    assert!(channels.status(EvtchnPort(512)).is_err());
}

#[test]
fn ports_beyond_any_table_are_refused() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 1023);
    for port in [1024, 4096, 131_072, 1 << 24, u32::MAX].map(EvtchnPort) {
        assert!(channels.status(port).is_err());
        assert!(channels.send(&ram, port).is_err());
        assert!(channels.close(&ram, &Nobody, port).is_err());
        assert!(channels.unmask(&ram, port).is_err());
        assert!(channels.is_pending(&ram, port).is_err());
        assert!(channels.set_priority(port, Priority::DEFAULT).is_err());
        assert!(channels.raise(&ram, port).is_nothing());
    }
}

#[test]
fn dying_domain_gets_no_new_port() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 1023);
    channels.set_dying();
    assert_eq!(
        channels.alloc_unbound(&ram, DomId(0)),
        Err(EvtchnError::Dying)
    );
    assert_eq!(
        channels.bind_virq(&ram, Virq::TIMER, V0),
        Err(EvtchnError::Dying)
    );
    assert_eq!(
        channels.bind_virq(&ram, Virq::TIMER, V0),
        Err(EvtchnError::Dying),
        "the first left no trace"
    );
}

#[test]
fn raising_tells_the_vcpu_once_until_it_looks() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 2, 1023);
    let port = channels.bind_ipi(&ram, V1).unwrap();
    let other = channels.bind_ipi(&ram, V1).unwrap();
    for port in [port, other] {
        assert!(channels.unmask(&ram, port).unwrap().is_nothing());
    }
    assert_eq!(channels.raise(&ram, port).upcall, Some(V1));
    assert_eq!(channels.raise(&ram, port), Raised::NOTHING);
    assert_eq!(channels.raise(&ram, other), Raised::NOTHING);
    assert!(channels.upcall_pending(&ram, V1) && !channels.upcall_pending(&ram, V0));
}

#[test]
fn upcall_mask_is_the_guests_byte_and_survives_a_raise() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 1023);
    let port = channels.bind_ipi(&ram, V0).unwrap();
    let _ = channels.unmask(&ram, port);
    let word = ram.qword(ram.mfn(0), 0);
    word.store(0xfe00, SeqCst);
    assert_eq!(channels.raise(&ram, port).upcall, Some(V0));
    assert_eq!(word.load(SeqCst), 0xfe01);
    assert!(!channels.upcall_due(&ram, V0));
    channels.unmask_upcalls(&ram, V0);
    assert!(channels.upcall_due(&ram, V0));
    assert!(!channels.mask_upcalls(&ram, V0));
    assert!(channels.mask_upcalls(&ram, V0));
    assert_eq!(word.load(SeqCst), 0x101);
}

#[test]
fn poller_is_woken_even_by_a_masked_port_and_only_by_its_own() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 3, 1023);
    let port = channels.bind_ipi(&ram, V0).unwrap();
    let other = channels.bind_ipi(&ram, V0).unwrap();
    let woken = |port| {
        let raised = channels.raise(&ram, port);
        assert!(raised.upcall.is_none(), "masked");
        let mut woken = Vec::new();
        if raised.pollers {
            channels.wake_pollers(port, |v| woken.push(v));
        }
        woken
    };
    channels.poll_begin(V1);
    channels.poll_only(V1, port);
    assert_eq!(woken(other), []);
    assert_eq!(woken(port), [V1]);
    assert_eq!(woken(port), [], "the port is still pending");
    channels.close(&ram, &Nobody, other).unwrap();
    let other = channels.bind_ipi(&ram, V0).unwrap();
    channels.poll_begin(V1);
    channels.poll_begin(VcpuId(2));
    channels.poll_end(VcpuId(2));
    assert_eq!(woken(other), [V1], "any port wakes a poll of many");
    assert!(!channels.raise(&ram, other).pollers);
}

#[test]
fn vcpu_info_that_does_not_fit_is_refused() {
    let ram = Ram::new(2);
    let channels = domain(&ram, 33, 1023);
    for offset in [1, 4, 4096 - 56, 4096, u32::MAX, u32::MAX - 7] {
        let got = channels.register_vcpu_info(&ram, V0, ram.mfn(1), offset);
        assert_eq!(got, Err(EvtchnError::BadLocation), "{offset}");
    }
    assert_eq!(
        channels.register_vcpu_info(&ram, V0, Mfn(u64::MAX), 0),
        Err(EvtchnError::BadLocation)
    );
    assert!(
        channels.vcpu_info(VcpuId(32)).is_none(),
        "beyond those in shared_info"
    );
    assert!(
        channels
            .register_vcpu_info(&ram, VcpuId(32), ram.mfn(1), 4096 - 64)
            .is_ok()
    );
    assert_eq!(channels.vcpu_info(VcpuId(32)).unwrap().offset(), 4032);
    assert_eq!(channels.forget_vcpu_info(VcpuId(32)), Some(ram.mfn(1)));
    assert_eq!(channels.forget_vcpu_info(VcpuId(32)), None);
    assert!(channels.vcpu_info(VcpuId(32)).is_none());
}

#[test]
fn events_for_a_vcpu_without_vcpu_info_arrive_when_it_registers_one() {
    let ram = Ram::new(2);
    let channels = domain(&ram, 33, 1023);
    let late = VcpuId(32);
    let port = channels.bind_ipi(&ram, late).unwrap();
    let _ = channels.unmask(&ram, port);
    assert_eq!(channels.raise(&ram, port).upcall, None);
    assert_eq!(
        channels
            .register_vcpu_info(&ram, late, ram.mfn(1), 0)
            .unwrap()
            .upcall,
        Some(late)
    );
    let mut guest = Guest::new(ram.mfn(0));
    assert_eq!(take(&ram, &channels, &mut guest, late), [port]);
}

#[test]
fn closing_a_pirq_tells_the_caller_to_unbind_and_that_one_was_pending() {
    let ram = Ram::new(1);
    let channels = domain(&ram, 1, 1023);
    let port = channels.bind_pirq(&ram, Pirq(9)).unwrap();
    assert_eq!(channels.port_of_pirq(Pirq(9)), Some(port));
    assert_eq!(channels.bind_vcpu(port, V0), Ok(Some(Pirq(9))));
    assert!(channels.raise_pirq(&ram, Pirq(9)).is_some());
    let closed = channels.close(&ram, &Nobody, port).unwrap();
    assert_eq!(
        closed,
        Closed {
            port,
            was: PortState::Pirq(Pirq(9)),
            was_pending: true
        }
    );
    assert!(channels.raise_pirq(&ram, Pirq(9)).is_none());
    assert_eq!(channels.port_of_pirq(Pirq(9)), None);
}

#[test]
fn event_raised_before_its_array_page_exists_is_remembered() {
    let ram = Ram::new(5);
    let (channels, mut guest) = fifo_domain(&ram);
    let ports: Vec<_> = (0..1030)
        .map(|_| channels.bind_ipi(&ram, V0).unwrap())
        .collect();
    let far = EvtchnPort(1028);
    assert!(ports.contains(&far));
    assert!(channels.raise(&ram, far).is_nothing());
    assert_eq!(channels.is_pending(&ram, far), Ok(true));
    guest.expand(&ram, &channels, ram.mfn(4));
    assert_eq!(guest.word(&ram, far).load(SeqCst), PENDING | MASKED);
    assert_eq!(channels.unmask(&ram, far).unwrap().upcall, Some(V0));
    assert_eq!(take(&ram, &channels, &mut guest, V0), [far]);
}

#[test]
fn two_level_events_survive_the_switch_to_fifo() {
    let ram = Ram::new(4);
    let channels = domain(&ram, 1, 1023);
    let port = channels.bind_virq(&ram, Virq::TIMER, V0).unwrap();
    assert_eq!(
        channels.expand_array(&ram, ram.mfn(2), |_, _| {}),
        Err(EvtchnError::NotFifo)
    );
    assert!(
        channels
            .raise_virq(&ram, V0, Virq::TIMER)
            .unwrap()
            .1
            .is_nothing()
    );
    let mut guest = Guest::new(ram.mfn(0));
    guest.init_fifo(&ram, &channels, &[ram.mfn(1)]);
    assert_eq!(channels.is_pending(&ram, port), Ok(true));
    guest.expand(&ram, &channels, ram.mfn(2));
    assert_eq!(channels.unmask(&ram, port).unwrap().upcall, Some(V0));
    assert_eq!(take(&ram, &channels, &mut guest, V0), [port]);
}

#[test]
fn urgent_fifo_events_come_first_and_equals_in_order() {
    let ram = Ram::new(4);
    let (channels, mut guest) = fifo_domain(&ram);
    let ports: Vec<_> = (0..5)
        .map(|_| channels.bind_ipi(&ram, V0).unwrap())
        .collect();
    channels
        .set_priority(ports[3], Priority::try_from(0).unwrap())
        .unwrap();
    for port in &ports {
        let _ = channels.unmask(&ram, *port).unwrap();
    }
    for port in ports.iter().rev() {
        let _ = channels.raise(&ram, *port);
    }
    let got = take(&ram, &channels, &mut guest, V0);
    assert_eq!(got, [ports[3], ports[4], ports[2], ports[1], ports[0]]);
}

#[test]
fn control_block_must_be_aligned_fit_and_be_the_first() {
    let ram = Ram::new(4);
    let channels = domain(&ram, 1, 1023);
    for offset in [4, 4096 - 64, 4096, u32::MAX] {
        let got = channels.init_control(&ram, V0, ram.mfn(1), offset);
        assert_eq!(got, Err(EvtchnError::BadArgument), "{offset}");
    }
    assert_eq!(
        channels.init_control(&ram, V1, ram.mfn(1), 0),
        Err(EvtchnError::NoVcpu)
    );
    assert!(!channels.is_fifo());
    assert_eq!(
        channels.init_control(&ram, V0, ram.mfn(1), 4096 - 72),
        Ok(())
    );
    assert_eq!(
        channels.init_control(&ram, V0, ram.mfn(2), 0),
        Err(EvtchnError::WrongState)
    );
}

#[test]
fn array_has_128_pages_and_ending_fifo_gives_every_frame_back() {
    let ram = Ram::new(131);
    let channels = domain(&ram, 2, 131_071);
    channels.init_control(&ram, V0, ram.mfn(1), 0).unwrap();
    channels.init_control(&ram, V1, ram.mfn(1), 72).unwrap();
    for page in 0..128 {
        channels
            .expand_array(&ram, ram.mfn(2 + page), |_, _| {})
            .unwrap();
    }
    let full = channels.expand_array(&ram, ram.mfn(130), |_, _| {});
    assert_eq!(full, Err(EvtchnError::ArrayFull));
    assert!(channels.bind_ipi(&ram, V0).is_ok());
    assert!(channels.close_next(&ram, &Nobody).is_some());
    assert!(channels.close_next(&ram, &Nobody).is_none());
    let mut back = Vec::new();
    channels.end_reset(|mfn| back.push(mfn)).unwrap();
    let mut expected: Vec<_> = (1..130).map(|n| ram.mfn(n)).collect();
    expected.push(ram.mfn(1));
    back.sort();
    expected.sort();
    assert_eq!(back, expected);
    assert!(!channels.is_fifo());
    let port = channels.bind_ipi(&ram, V0).unwrap();
    let _ = channels.raise(&ram, port);
    assert_eq!(
        ram.qword(ram.mfn(0), 0x800).load(SeqCst),
        2,
        "two-level again"
    );
}

#[test]
fn port_still_on_a_queue_is_not_given_out_again() {
    let ram = Ram::new(4);
    let (channels, guest) = fifo_domain(&ram);
    let port = channels.bind_ipi(&ram, V0).unwrap();
    guest.word(&ram, port).store(LINKED, SeqCst);
    channels.close(&ram, &Nobody, port).unwrap();
    assert_eq!(channels.bind_ipi(&ram, V0), Ok(EvtchnPort(2)));
    guest.word(&ram, port).store(0, SeqCst);
    assert_eq!(channels.bind_ipi(&ram, V0), Ok(port));
}

/// A small generator, for noise that need not shrink.
fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn guest_that_scribbles_over_its_words_hurts_only_itself() {
    let ram = Ram::new(4);
    let (channels, guest) = fifo_domain(&ram);
    let ports: Vec<_> = (0..8)
        .map(|n| channels.bind_ipi(&ram, VcpuId(n % 2)).unwrap())
        .collect();
    let mut seed = 0x1234_5678_9abc_def1;
    for _ in 0..20_000 {
        let port = ports[noise(&mut seed) as usize % 8];
        guest
            .word(&ram, port)
            .store(noise(&mut seed) as u32, SeqCst);
        for mfn in [ram.mfn(1), ram.mfn(2)] {
            ram.dword(mfn, 128 + noise(&mut seed) as usize % 18 * 4)
                .store(noise(&mut seed) as u32, SeqCst);
        }
        let port = ports[noise(&mut seed) as usize % 8];
        let _ = channels.raise(&ram, port);
        let _ = channels.unmask(&ram, port);
        let _ = channels.set_priority(
            port,
            Priority::try_from(noise(&mut seed) as u32 % 16).unwrap(),
        );
    }
    // The hypervisor's own view is whole: the ports are what they were.
    for port in &ports {
        assert_eq!(channels.status(*port).unwrap().state, PortState::Ipi);
    }
}

#[test]
fn link_to_a_word_that_never_holds_still_is_given_up() {
    let ram = Ram::new(4);
    let (channels, guest) = fifo_domain(&ram);
    let ports: Vec<_> = (0..2)
        .map(|_| channels.bind_ipi(&ram, V0).unwrap())
        .collect();
    for port in &ports {
        let _ = channels.unmask(&ram, *port);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(SeqCst) {
                n += 1;
                guest
                    .word(&ram, ports[0])
                    .store(LINKED | n & 0x1ffff, SeqCst);
            }
        });
        for _ in 0..20_000 {
            let _ = channels.raise(&ram, ports[0]);
            guest.word(&ram, ports[1]).store(0, SeqCst);
            let _ = channels.raise(&ram, ports[1]);
        }
        stop.store(true, SeqCst);
    });
}

/// Many CPUs raise while the guest takes: after the last raise, every port has been seen at least once since.
fn storm(fifo: bool) {
    let ram = Ram::new(4);
    let (channels, mut guest) = if fifo {
        fifo_domain(&ram)
    } else {
        (domain(&ram, 2, 1023), Guest::new(ram.mfn(0)))
    };
    let ports: Vec<_> = (0..6).map(|_| channels.bind_pirq_like(&ram)).collect();
    for port in &ports {
        let _ = channels.unmask(&ram, *port);
    }
    let raising = std::sync::atomic::AtomicU32::new(3);
    let told = [AtomicBool::new(false), AtomicBool::new(false)];
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (channels, ports, ram, raising, told) = (&channels, &ports, &ram, &raising, &told);
            scope.spawn(move || {
                let mut seed = 77 + thread;
                for _ in 0..4_000 {
                    let port = ports[noise(&mut seed) as usize % ports.len()];
                    if fifo && noise(&mut seed).is_multiple_of(8) {
                        let _ = channels.bind_vcpu(port, VcpuId(noise(&mut seed) as u32 % 2));
                    }
                    if let Some(vcpu) = channels.raise(ram, port).upcall {
                        told[vcpu.0 as usize].store(true, SeqCst);
                    }
                }
                for port in ports {
                    if let Some(vcpu) = channels.raise(ram, *port).upcall {
                        told[vcpu.0 as usize].store(true, SeqCst);
                    }
                }
                raising.fetch_sub(1, SeqCst);
            });
        }
        loop {
            let last = raising.load(SeqCst) == 0;
            for vcpu in [V0, V1] {
                if told[vcpu.0 as usize].swap(false, SeqCst) {
                    take(&ram, &channels, &mut guest, vcpu);
                }
            }
            if last {
                break;
            }
        }
    });
    let left: BTreeSet<_> = ports
        .iter()
        .filter(|port| channels.is_pending(&ram, **port).unwrap())
        .collect();
    assert!(left.is_empty(), "nobody was told of {left:?}");
}

impl EventChannels {
    /// A port that may move between vcpus.
    fn bind_pirq_like(&self, ram: &Ram) -> EvtchnPort {
        self.alloc_unbound(ram, DomId(3)).unwrap()
    }
}

#[test]
fn no_two_level_event_is_lost_in_a_storm() {
    storm(false);
}

#[test]
fn no_fifo_event_is_lost_in_a_storm_of_moving_ports() {
    storm(true);
}
