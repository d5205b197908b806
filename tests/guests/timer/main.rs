//! Behaviour: time and the single-shot timer (pv-abi 5.6, 5.7, 6).
//! Trigger: deadlines in the past and the future, block and poll until they pass.
//! Expectation: VIRQ_TIMER at or after its deadline and never before; system time never runs backwards.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, clock::now, event, guest, hypercall, memory};

guest!("timer", main);

/// How often something is tried that a loaded machine may spoil.
const TRIES: u32 = 100;
const MS: u64 = 1_000_000;

fn main() {
    let Ok(port) = event::bind_virq(0, 0) else {
        check!(false, "bind VIRQ_TIMER");
        return;
    };
    check_eq!(
        hypercall::call(abi::VCPU_OP, [7, 0, 0]),
        0,
        "stop_periodic_timer"
    );
    time_runs_forward();
    event::set_port_mask(port, false);
    event::set_upcall_mask(1);
    event::clear_pending(port);
    single_shot(port);
    set_timer_op(port);
    poll(port);
}

fn time_runs_forward() {
    let time = event::shared_info() + 0x20;
    check_eq!(memory::read(time) & 1, 0, "version is even");
    check!(memory::read(time + 24) as u32 != 0, "tsc_to_system_mul");
    let mut last = now();
    check!(last > 0 && last < 3600 * 1000 * MS, "system time {last} ns");
    let mut is_steady = true;
    for _ in 0..1000 {
        let next = now();
        is_steady &= next >= last;
        last = next;
    }
    check!(is_steady, "system time ran backwards");
    let wall = memory::read(event::shared_info() + 0xc04) as u32;
    check!(wall > 1_000_000_000, "wall clock at boot is {wall} s");
}

fn block_until_pending(port: u32) -> u64 {
    while !event::is_pending(port) {
        check_eq!(
            hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_BLOCK, 0]),
            0,
            "block"
        );
        event::set_upcall_mask(1);
    }
    let at = now();
    event::clear_pending(port);
    at
}

fn single_shot(port: u32) {
    let set = |deadline: u64, vcpu: u64| {
        let mut argument = [deadline, 0];
        hypercall::call(abi::VCPU_OP, [8, vcpu, hypercall::pointer(&mut argument)])
    };
    for ahead in [20 * MS, 3 * MS, MS / 2] {
        let deadline = now() + ahead;
        check_eq!(set(deadline, 0), 0, "set_singleshot_timer");
        let at = block_until_pending(port);
        check!(
            at >= deadline,
            "the timer fired {} ns early",
            deadline.saturating_sub(at)
        );
        check!(
            at < deadline + 500 * MS,
            "the timer fired {} ns late",
            at - deadline
        );
    }
    // A deadline in the past fires at once.
    let before = now();
    check_eq!(
        set(before.saturating_sub(MS), 0),
        0,
        "set_singleshot_timer in the past"
    );
    let at = block_until_pending(port);
    check!(
        at < before + 500 * MS,
        "a past deadline took {} ns",
        at - before
    );
    // Stopped, nothing comes.
    check_eq!(set(now() + 5 * MS, 0), 0, "set_singleshot_timer");
    check_eq!(
        hypercall::call(abi::VCPU_OP, [9, 0, 0]),
        0,
        "stop_singleshot_timer"
    );
    let until = now() + 20 * MS;
    while now() < until {}
    check!(!event::is_pending(port), "a stopped timer fired");
    check_eq!(
        hypercall::call(abi::VCPU_OP, [8, 0, 0x1000]),
        abi::EFAULT,
        "set_singleshot_timer at a bad pointer"
    );
    check_eq!(
        hypercall::call(abi::VCPU_OP, [8, 4000, 0]),
        abi::ENOENT,
        "set_singleshot_timer on vcpu 4000"
    );
    // The upcall comes while the guest runs, too.
    let upcalls = event::upcalls();
    check_eq!(set(now() + 5 * MS, 0), 0, "set_singleshot_timer");
    event::set_upcall_mask(0);
    let until = now() + 500 * MS;
    // An upcall alone may have another reason, left from before, and another CPU may raise the port before its interrupt
    // is here: wait for both.
    while (!event::is_pending(port) || event::upcalls() == upcalls) && now() < until {}
    event::set_upcall_mask(1);
    check!(event::upcalls() != upcalls, "an upcall of a running guest");
    check!(event::is_pending(port), "the timer port of a running guest");
    event::clear_pending(port);
}

fn set_timer_op(port: u32) {
    let deadline = now() + 4 * MS;
    check_eq!(
        hypercall::call(abi::SET_TIMER_OP, [deadline]),
        0,
        "set_timer_op"
    );
    let at = block_until_pending(port);
    check!(
        at >= deadline,
        "set_timer_op fired {} ns early",
        deadline.saturating_sub(at)
    );
    // A machine that stands still between the two lets it fire: then once more.
    for _ in 0..TRIES {
        let deadline = now() + 3 * MS;
        event::clear_pending(port);
        check_eq!(
            hypercall::call(abi::SET_TIMER_OP, [deadline]),
            0,
            "set_timer_op"
        );
        check_eq!(
            hypercall::call(abi::SET_TIMER_OP, [0]),
            0,
            "set_timer_op of 0"
        );
        if now() < deadline {
            break;
        }
    }
    let until = now() + 10 * MS;
    while now() < until {}
    check!(!event::is_pending(port), "a timer stopped by 0 fired");
}

fn poll(port: u32) {
    let mut ports = [port];
    let mut argument = [hypercall::pointer(&mut ports), 1, now() + 5 * MS];
    let start = now();
    check_eq!(
        hypercall::call(
            abi::SCHED_OP,
            [abi::SCHEDOP_POLL, hypercall::pointer(&mut argument)]
        ),
        0,
        "poll"
    );
    check!(
        now() >= start + 5 * MS,
        "poll came back {} ns early",
        (start + 5 * MS).saturating_sub(now())
    );
    // A masked port wakes the poll.
    event::set_port_mask(port, true);
    hypercall::call(abi::SET_TIMER_OP, [now() + 3 * MS]);
    argument[2] = now() + 2000 * MS;
    let start = now();
    check_eq!(
        hypercall::call(
            abi::SCHED_OP,
            [abi::SCHEDOP_POLL, hypercall::pointer(&mut argument)]
        ),
        0,
        "poll"
    );
    check!(event::is_pending(port), "the polled port is pending");
    check!(
        now() < start + 1000 * MS,
        "poll of a masked port took {} ns",
        now() - start
    );
    argument[1] = 129;
    let result = hypercall::call(
        abi::SCHED_OP,
        [abi::SCHEDOP_POLL, hypercall::pointer(&mut argument)],
    );
    check_eq!(result, abi::EINVAL, "poll of 129 ports");
    check_eq!(
        hypercall::call(abi::SCHED_OP, [99, 0]),
        abi::ENOSYS,
        "sched_op 99"
    );
    check_eq!(
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]),
        0,
        "yield"
    );
}
