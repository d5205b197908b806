//! The arithmetic against exact fractions, the queue and timers against slow models.

use core::sync::atomic::Ordering::SeqCst;
use std::collections::BTreeMap;

use proptest::prelude::*;
use rexen_abi::errno::Errno;

use super::*;
use crate::evtchn::SharedSpot;
use crate::evtchn::ram::Ram;
use crate::units::{DomId, Nanos, VcpuId};

/// Frequencies from an old PC's to beyond today's fastest.
fn hz() -> impl Strategy<Value = u64> {
    prop_oneof![
        1_000_000..10_000_000_000u64,
        Just(1_000_000_000),
        Just(999_999_999),
        Just(2_994_375_000)
    ]
}

proptest! {
    #[test]
    fn a_seconds_cycles_are_a_second_to_a_nanosecond(hz in hz()) {
        let scale = TscScale::from_hz(hz).unwrap();
        prop_assert!(scale.mul >= 1 << 31);
        let ns = scale.to_ns(hz);
        prop_assert!(ns.abs_diff(NS_PER_SEC) <= 2, "{ns}");
    }

    #[test]
    fn scaling_errs_below_a_nanosecond_a_step_and_never_runs_backwards(hz in hz(), cycles in 0..1u64 << 50, more in 0..1u64 << 30) {
        let scale = TscScale::from_hz(hz).unwrap();
        // Exactly, with the multiplier as it is.
        let exact = |cycles: u64| {
            let product = u128::from(cycles) * u128::from(scale.mul);
            if scale.shift < 0 { product >> (32 + u32::from(scale.shift.unsigned_abs())) } else { (product << scale.shift) >> 32 }
        };
        let (one, two) = (scale.to_ns(cycles), scale.to_ns(cycles + more));
        prop_assert!(exact(cycles) - u128::from(one) <= 1);
        prop_assert!(two >= one);
        let step = (u128::from(more) * u128::from(NS_PER_SEC) / u128::from(hz)) as u64;
        prop_assert!((two - one).abs_diff(step) <= 2 + step / (1 << 31), "{} for {step}", two - one);
    }

    #[test]
    fn rebasing_loses_less_than_a_nanosecond_and_keeps_order(hz in hz(), start in 0..1u64 << 40, steps in prop::collection::vec(1..1u64 << 36, 1..20)) {
        let scale = TscScale::from_hz(hz).unwrap();
        let fixed = PvClock { tsc: start, base: Nanos(0), scale };
        let mut moving = fixed;
        let mut tsc = start;
        let mut last = Nanos(0);
        for (n, step) in (1..).zip(steps) {
            tsc += step;
            moving = moving.rebased(tsc, scale);
            let now = moving.at(tsc);
            prop_assert!(now >= last);
            last = now;
            prop_assert!(fixed.at(tsc).0 >= now.0 && fixed.at(tsc).0 - now.0 <= 2 * n);
        }
        prop_assert_eq!(moving.at(moving.tsc - 1), moving.base, "a CPU slightly behind sees time stand still");
    }

    #[test]
    fn tsc_for_a_deadline_is_not_before_it(hz in hz(), ns in 0..1u64 << 50) {
        let clock = PvClock { tsc: 1000, base: Nanos(77), scale: TscScale::from_hz(hz).unwrap() };
        let when = Nanos(77 + ns);
        let tsc = clock.tsc_at(when);
        prop_assert!(clock.at(tsc) >= when);
        prop_assert!(clock.at(tsc).0 - when.0 <= 2 + 2 * NS_PER_SEC / hz);
    }

    #[test]
    fn khz_of_a_scale_is_what_it_was_made_from(khz in 1_000..10_000_000u64) {
        prop_assert_eq!(TscScale::from_khz(khz).unwrap().khz(), khz);
    }
}

#[test]
fn impossible_frequencies_have_no_scale() {
    assert_eq!(TscScale::from_hz(0), None);
    assert_eq!(TscScale::from_khz(u64::MAX), None);
    assert!(TscScale::from_hz(u64::MAX).is_none_or(|scale| scale.shift >= -31));
}

#[test]
fn scale_of_one_gigahertz_is_one() {
    let scale = TscScale::from_hz(1_000_000_000).unwrap();
    assert_eq!(
        scale,
        TscScale {
            mul: 1 << 31,
            shift: 1
        }
    );
    assert_eq!(scale.to_ns(123_456_789), 123_456_789);
}

#[test]
fn calibration_divides_what_was_counted() {
    let run = Calibration {
        reference_hz: 1_193_182,
        reference_ticks: 11_932,
        counted: 30_000_456,
    };
    assert_eq!(run.hz(), Some(30_000_456u64 * 1_193_182 / 11_932));
    assert_eq!(
        Calibration {
            reference_ticks: 0,
            ..run
        }
        .hz(),
        None
    );
    assert_eq!(
        Calibration {
            counted: u64::MAX,
            reference_ticks: 1,
            ..run
        }
        .hz(),
        None
    );
    assert_eq!(Calibration::median_hz(&mut [5, 900, 6]), Some(6));
    assert_eq!(Calibration::median_hz(&mut []), None);
}

#[test]
fn time_info_is_written_under_an_even_version() {
    let ram = Ram::new(1);
    let info = SharedSpot::try_new(ram.mfn(0), 64, 64).unwrap();
    let clock = PvClock {
        tsc: 0x1122,
        base: Nanos(0x3344),
        scale: TscScale {
            mul: 0x8765_4321,
            shift: -2,
        },
    };
    let mut writer = TimeInfoWriter::new();
    writer.write_vcpu_info(&ram, info, &clock, TimeInfoFlags::TSC_STABLE);
    let version = ram.dword(ram.mfn(0), 96);
    assert_eq!(version.load(SeqCst), 2);
    // The guest's copy of the version does not count.
    version.store(0xffff_ffff, SeqCst);
    writer.write_vcpu_info(&ram, info, &clock, TimeInfoFlags::TSC_STABLE);
    assert_eq!(version.load(SeqCst), 4);
    assert_eq!(ram.qword(ram.mfn(0), 104).load(SeqCst), 0x1122);
    assert_eq!(ram.qword(ram.mfn(0), 112).load(SeqCst), 0x3344);
    assert_eq!(ram.qword(ram.mfn(0), 120).load(SeqCst), 0x01fe_8765_4321);
}

#[test]
fn wall_clock_is_the_time_at_the_start() {
    let wall = Wallclock::try_new(1_700_000_000, 250_000_000, Nanos(10_500_000_000)).unwrap();
    assert_eq!(
        wall,
        Wallclock {
            secs: 1_699_999_989,
            nsecs: 750_000_000
        }
    );
    assert_eq!(wall.secs_at(Nanos(10_500_000_000)), 1_700_000_000);
    assert_eq!(Wallclock::try_new(5, 1_000_000_000, Nanos(0)), None);
    assert_eq!(Wallclock::try_new(5, 0, Nanos(6_000_000_000)), None);
    let ram = Ram::new(1);
    let late = Wallclock {
        secs: 0x1_0000_0005,
        nsecs: 9,
    };
    late.write(&ram, ram.mfn(0), -2);
    let word = |offset| ram.dword(ram.mfn(0), offset).load(SeqCst);
    assert_eq!([0xc00, 0xc04, 0xc08, 0xc0c].map(word), [2, 3, 9, 1]);
}

const NOON: RtcReading = RtcReading {
    second: 0x56,
    minute: 0x34,
    hour: 0x12,
    day: 0x29,
    month: 0x02,
    year: 0x24,
    century: Some(0x20),
    status_b: 2,
};

#[test]
fn battery_clock_is_read_in_all_its_formats() {
    let secs = Some(1_709_210_096);
    assert_eq!(NOON.to_unix_secs(), secs, "2024-02-29 12:34:56");
    assert_eq!(
        RtcReading {
            century: None,
            ..NOON
        }
        .to_unix_secs(),
        secs
    );
    assert_eq!(
        RtcReading {
            hour: 0x92,
            status_b: 0,
            ..NOON
        }
        .to_unix_secs(),
        secs,
        "12 pm"
    );
    let midnight = Some(1_709_210_096 - 12 * 3600);
    assert_eq!(
        RtcReading {
            hour: 0x12,
            status_b: 0,
            ..NOON
        }
        .to_unix_secs(),
        midnight,
        "12 am"
    );
    let binary = RtcReading {
        second: 56,
        minute: 34,
        hour: 12,
        day: 29,
        month: 2,
        year: 24,
        century: Some(20),
        status_b: 6,
    };
    assert_eq!(binary.to_unix_secs(), secs);
    let old = RtcReading {
        year: 0x99,
        month: 0x12,
        day: 0x31,
        hour: 0x23,
        minute: 0x59,
        second: 0x59,
        century: None,
        ..NOON
    };
    assert_eq!(old.to_unix_secs(), Some(946_684_799));
}

#[test]
fn battery_clock_without_a_date_is_refused() {
    for bad in [
        RtcReading {
            month: 0x13,
            ..NOON
        },
        RtcReading { month: 0, ..NOON },
        RtcReading { day: 0x30, ..NOON },
        RtcReading { day: 0, ..NOON },
        RtcReading { year: 0x23, ..NOON },
        RtcReading { hour: 0x24, ..NOON },
        RtcReading {
            minute: 0x60,
            ..NOON
        },
        RtcReading {
            second: 0x1f,
            ..NOON
        },
        RtcReading {
            second: 0xff,
            minute: 0xff,
            hour: 0xff,
            day: 0xff,
            month: 0xff,
            year: 0xff,
            century: Some(0xff),
            status_b: 0xff,
        },
    ] {
        assert_eq!(bad.to_unix_secs(), None, "{bad:?}");
    }
}

#[test]
fn days_are_counted_as_a_calendar_does() {
    let mut days = 0;
    for year in 1970..2400u64 {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (month, length) in (1..).zip([
            31,
            28 + u64::from(leap),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ]) {
            assert_eq!(days_from_civil(year, month, 1), days);
            days += length;
        }
    }
}

fn timer(n: u32) -> TimerId {
    let kind = [
        TimerKind::VcpuSingleshot,
        TimerKind::VcpuPeriodic,
        TimerKind::PollTimeout,
    ][n as usize % 3];
    TimerId::of_vcpu(kind, DomId((n / 6) as u16), VcpuId(n / 3 % 2))
}

proptest! {
    #[test]
    fn timers_expire_as_from_a_table(steps in prop::collection::vec((0..5u8, 0..18u32, 0..100u64), 1..200)) {
        let mut queue = TimerQueue::new();
        // Deadline and the order of setting.
        let mut table: BTreeMap<TimerId, (u64, usize)> = BTreeMap::new();
        let mut now = 0;
        for (step, (kind, n, ns)) in steps.into_iter().enumerate() {
            match kind {
                0 | 1 => {
                    prop_assert!(queue.add(timer(n), Nanos(now + ns)));
                    table.insert(timer(n), (now + ns, step));
                }
                2 => prop_assert_eq!(queue.remove(timer(n)).map(|when| when.0), table.remove(&timer(n)).map(|(when, _)| when)),
                3 => {
                    now += ns;
                    loop {
                        let due = table.iter().map(|(id, when)| (*when, *id)).min().filter(|((when, _), _)| *when <= now);
                        let got = queue.expire(Nanos(now));
                        prop_assert_eq!(got, due.map(|((when, _), id)| (id, Nanos(when))));
                        match got {
                            Some((id, _)) => table.remove(&id),
                            None => break,
                        };
                    }
                }
                _ => {
                    let dom = DomId((n / 6) as u16);
                    queue.remove_domain(dom);
                    table.retain(|id, _| id.dom != dom);
                }
            }
            prop_assert_eq!(queue.len(), table.len());
            prop_assert_eq!(queue.next_deadline().map(|when| when.0), table.values().map(|(when, _)| *when).min());
        }
    }

    #[test]
    fn periodic_ticks_stay_on_the_beat(period in PERIODIC_MIN_NS..50_000_000, start in 0..1_000u64, waits in prop::collection::vec((0..200_000_000u64, any::<bool>()), 1..40)) {
        let timers = VcpuTimers::new(Nanos(0));
        prop_assert_eq!(timers.set_periodic(period, Nanos(start)), Ok(()));
        prop_assert_eq!(timers.next(true), Some(Nanos(start + period)));
        let (mut now, mut seen) = (start, 0);
        for (wait, is_running) in waits {
            now += wait;
            let beats = (now - start) / period;
            let due = timers.take_due(Nanos(now), is_running);
            prop_assert_eq!(due, Due { tick: is_running && beats > seen, poll_over: false });
            if is_running {
                seen = beats;
            }
            prop_assert_eq!(timers.next(true), Some(Nanos(start + (seen + 1) * period)));
            prop_assert_eq!(timers.next(false), None);
        }
    }
}

const TICK: Due = Due {
    tick: true,
    poll_over: false,
};

#[test]
fn vcpus_start_with_ticks_of_10_ms_that_can_be_stopped() {
    let timers = VcpuTimers::new(Nanos(3));
    assert_eq!(timers.period_ns(), Some(10_000_000));
    assert_eq!(timers.take_due(Nanos(10_000_002), true), Due::default());
    assert_eq!(timers.take_due(Nanos(10_000_003), true), TICK);
    timers.stop_periodic();
    assert_eq!(timers.take_due(Nanos(1 << 40), true), Due::default());
    assert_eq!((timers.period_ns(), timers.next(true)), (None, None));
    for bad in [0, 999_999, u64::MAX] {
        assert_eq!(timers.set_periodic(bad, Nanos(0)), Err(Errno::EINVAL));
    }
}

#[test]
fn singleshot_in_the_past_fires_at_once() {
    let timers = VcpuTimers::new(Nanos(0));
    timers.stop_periodic();
    assert!(!timers.set_singleshot(50, Nanos(40)));
    assert_eq!(timers.next(false), Some(Nanos(50)));
    assert_eq!(timers.take_due(Nanos(49), false), Due::default());
    assert_eq!(timers.take_due(Nanos(50), false), TICK);
    assert_eq!(timers.take_due(Nanos(51), false), Due::default(), "once");
    assert!(timers.set_singleshot(40, Nanos(40)));
    assert_eq!(timers.singleshot(), None);
}

#[test]
fn set_timer_op_takes_0_as_stop_and_absurd_as_soon() {
    let timers = VcpuTimers::new(Nanos(0));
    let now = Nanos(1_000);
    let set = |at| (timers.set_timer_op(at, now), timers.singleshot());
    assert_eq!(set(5_000), (false, Some(Nanos(5_000))));
    assert_eq!(set(0), (false, None));
    for absurd in [u64::MAX, 1 << 63, 1_000 + (1 << 50)] {
        assert_eq!(set(absurd), (false, Some(Nanos(100_001_000))));
    }
    let far = 999 + (1 << 50);
    assert_eq!(set(far), (false, Some(Nanos(far))));
    assert_eq!(set(1_000), (true, None));
}

#[test]
fn poll_ends_once_and_all_timers_stop_with_the_vcpu() {
    let timers = VcpuTimers::new(Nanos(0));
    assert!(timers.set_poll_end(70));
    assert!(!timers.set_poll_end(70), "as it was");
    timers.set_singleshot(60, Nanos(0));
    assert_eq!(timers.next(true), Some(Nanos(60)));
    let both = Due {
        tick: true,
        poll_over: true,
    };
    assert_eq!(timers.take_due(Nanos(70), false), both);
    assert_eq!(timers.poll_end(), None);
    timers.set_poll_end(90);
    timers.set_singleshot(80, Nanos(70));
    timers.stop_all();
    assert_eq!(timers.next(true), None);
    assert_eq!(timers.take_due(Nanos(u64::MAX), true), Due::default());
}

#[test]
fn timers_are_in_one_queue() {
    let timers = VcpuTimers::new(Nanos(0));
    let at = |ns| Some(Nanos(ns));
    assert_eq!(timers.queue(), None);
    assert_eq!(timers.enter_queue(3, at(5)), Some(u32::MAX));
    assert_eq!(timers.enter_queue(3, at(5)), None, "as they were");
    assert_eq!(timers.enter_queue(3, at(6)), Some(3));
    assert_eq!(timers.enter_queue(1, at(6)), Some(3));
    assert_eq!(timers.queue(), Some(1));
    timers.left_queue(3);
    assert_eq!(timers.enter_queue(1, at(6)), None, "3 had a stale one");
    timers.left_queue(1);
    assert_eq!(timers.enter_queue(1, at(6)), Some(1));
    assert_eq!(timers.enter_queue(1, None), Some(1));
}
