//! Behaviour: event channels and their delivery (pv-abi 5.2, 5.3).
//! Trigger: every operation on ports of the domain itself; masks at both levels; closed and foreign ports.
//! Expectation: an upcall exactly when a port is pending and neither mask is set; documented errors.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, hypercall};

guest!("event_channels", main);

const VIRQ_TIMER: u32 = 0;
const VIRQ_DEBUG: u32 = 1;
const VIRQ_DOM_EXC: u32 = 3;

fn main() {
    event::shared_info();
    check_eq!(event::upcall_mask(), 1, "events are masked at the start");
    ipi_delivery();
    binding_and_status();
    interdomain();
    errors();
}

fn status(port: u32) -> (i64, u32, u32, u32) {
    let mut words = [abi::DOMID_SELF as u32, port, 99, 99, 99, 99];
    let result = event::op(5, &mut words);
    (result, words[2], words[3], words[4])
}

fn ipi_delivery() {
    let Ok(port) = event::bind_ipi(0) else {
        check!(false, "bind_ipi");
        return;
    };
    check_eq!(status(port), (0, 5, 0, 99), "status of an IPI port");
    event::set_port_mask(port, false);
    let upcalls = event::upcalls;
    let before = upcalls();

    check_eq!(event::send(port), 0, "send");
    check!(event::is_pending(port), "the port is pending");
    check_eq!(event::upcall_pending(), 1, "upcall_pending");
    check_eq!(upcalls() - before, 0, "upcalls while masked");
    event::set_upcall_mask(0);
    check_eq!(upcalls() - before, 0, "upcalls before the next hypercall");
    event::force_delivery();
    check_eq!(upcalls() - before, 1, "upcalls after it");
    check_eq!(event::upcall_mask(), 0, "the mask after the callback");
    check_eq!(
        event::upcall_pending(),
        0,
        "upcall_pending after the callback"
    );

    event::send(port);
    check_eq!(
        upcalls() - before,
        1,
        "a port that is still pending raises nothing"
    );
    event::clear_pending(port);
    event::send(port);
    check_eq!(
        upcalls() - before,
        2,
        "sending unmasked: the upcall comes at once"
    );

    event::clear_pending(port);
    event::set_port_mask(port, true);
    event::send(port);
    check!(event::is_pending(port), "a masked port becomes pending");
    check_eq!(upcalls() - before, 2, "a masked port raises nothing");
    check_eq!(event::unmask(port), 0, "unmask");
    check_eq!(upcalls() - before, 3, "unmask raises what was pending");
    event::clear_pending(port);
    event::set_port_mask(port, true);
    check_eq!(event::unmask(port), 0, "unmask");
    check_eq!(
        upcalls() - before,
        3,
        "unmask of a quiet port raises nothing"
    );

    // An interrupted context with events unmasked again by iret: the handler ran with the mask set.
    event::set_upcall_mask(1);
    event::send(port);
    check_eq!(upcalls() - before, 3, "upcalls while masked");
    event::clear_pending(port);
    // SCHEDOP_block unmasks; a pending upcall wakes it at once.
    check_eq!(
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_BLOCK, 0]),
        0,
        "block with an upcall pending"
    );
    check_eq!(upcalls() - before, 4, "block unmasks and delivers");
    check_eq!(event::upcall_mask(), 0, "the mask after block");
    event::set_upcall_mask(1);

    check_eq!(event::close(port), 0, "close");
    check_eq!(status(port), (0, 0, 0, 99), "status of a closed port");
    check_eq!(status(0), (0, 0, 0, 99), "status of port 0");
    // Xen has room for ports as it needs it; a toolstack that lists them stops at the first error.
    check_eq!(status(4000).0, abi::EINVAL, "status far beyond all ports");
    check_eq!(event::close(port), abi::EINVAL, "close twice");
    check_eq!(event::send(port), abi::EINVAL, "send on a closed port");
}

fn binding_and_status() {
    let Ok(timer) = event::bind_virq(VIRQ_TIMER, 0) else {
        check!(false, "bind VIRQ_TIMER");
        return;
    };
    check_eq!(
        event::bind_virq(VIRQ_TIMER, 0),
        Err(abi::EEXIST),
        "bind VIRQ_TIMER twice"
    );
    check_eq!(
        status(timer),
        (0, 4, 0, VIRQ_TIMER),
        "status of the timer port"
    );
    check_eq!(event::send(timer), abi::EINVAL, "send on a VIRQ port");
    check_eq!(
        event::op(8, &mut [timer, 0]),
        abi::EINVAL,
        "bind_vcpu of a per-vcpu VIRQ"
    );
    check_eq!(
        event::bind_virq(VIRQ_DEBUG, 4000),
        Err(abi::ENOENT),
        "bind VIRQ_DEBUG on vcpu 4000"
    );
    check_eq!(event::bind_virq(24, 0), Err(abi::EINVAL), "bind VIRQ 24");
    check_eq!(
        event::bind_virq(VIRQ_DOM_EXC, 1),
        Err(abi::EINVAL),
        "bind a global VIRQ on vcpu 1"
    );
    let exception = event::bind_virq(VIRQ_DOM_EXC, 0);
    check!(exception.is_ok(), "bind VIRQ_DOM_EXC: {exception:?}");
    if let Ok(port) = exception {
        check_eq!(
            event::op(8, &mut [port, 0]),
            0,
            "bind_vcpu of a global VIRQ"
        );
        check_eq!(
            event::op(8, &mut [port, 4000]),
            abi::ENOENT,
            "bind_vcpu to vcpu 4000"
        );
        check_eq!(event::close(port), 0, "close");
    }
    check_eq!(event::close(timer), 0, "close");
    check_eq!(
        event::bind_virq(VIRQ_TIMER, 0),
        Ok(timer),
        "the lowest free port is taken again"
    );
    check_eq!(event::close(timer), 0, "close");
    check_eq!(
        event::bind_ipi(4000),
        Err(abi::ENOENT),
        "bind_ipi on vcpu 4000"
    );
}

fn interdomain() {
    let Ok(first) = event::alloc_unbound(abi::DOMID_SELF as u16) else {
        check!(false, "alloc_unbound");
        return;
    };
    check_eq!(status(first), (0, 1, 0, 0), "status of an unbound port");
    check_eq!(event::send(first), 0, "send on an unbound port");
    check!(
        !event::is_pending(first),
        "an unbound port does not become pending"
    );
    let mut words = [abi::DOMID_SELF as u32, first, 0];
    check_eq!(event::op(0, &mut words), 0, "bind_interdomain");
    let second = words[2];
    check!(
        second != first && second != 0,
        "the second port is {second}"
    );
    check_eq!(status(first).1, 2, "status of the first end");
    check_eq!(status(second).1, 2, "status of the second end");
    check!(event::is_pending(second), "the new end is pending");
    event::clear_pending(second);
    check_eq!(
        event::op(0, &mut words),
        abi::EINVAL,
        "bind_interdomain to a bound port"
    );
    check_eq!(event::send(first), 0, "send");
    check!(event::is_pending(second), "the other end is pending");
    check!(!event::is_pending(first), "the sender's end is not");
    check_eq!(
        event::op(8, &mut [first, 0]),
        0,
        "bind_vcpu of an interdomain port"
    );
    check_eq!(event::close(second), 0, "close one end");
    check_eq!(status(first).1, 1, "the other end is unbound");
    check_eq!(event::close(first), 0, "close the other end");
}

fn errors() {
    for port in [0, 4095, 4096, 0x2_0000, u32::MAX] {
        check_eq!(event::send(port), abi::EINVAL, "send on port {port:#x}");
        check_eq!(event::close(port), abi::EINVAL, "close of port {port:#x}");
        check_eq!(
            event::op(8, &mut [port, 0]),
            abi::EINVAL,
            "bind_vcpu of port {port:#x}"
        );
    }
    check_eq!(event::op(99, &mut [0]), abi::ENOSYS, "event_channel_op 99");
    let mut words = [1234, 1, 0, 0, 0, 0];
    check_eq!(
        event::op(5, &mut words),
        abi::ESRCH,
        "status in a domain that is not there"
    );
    let mut words = [1234, 1, 0];
    check_eq!(
        event::op(0, &mut words),
        abi::ESRCH,
        "bind_interdomain to a domain that is not there"
    );
    check_eq!(
        hypercall::call(abi::EVENT_CHANNEL_OP, [7, 0]),
        abi::EFAULT,
        "bind_ipi at a null pointer"
    );
}
