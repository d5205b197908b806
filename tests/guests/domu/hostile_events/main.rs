//! Attack: event channels without end, of others, and of nobody (pv-abi 13; XSA-107, 338 to 344, 358).
//! Trigger: ports until there are none; every operation on ports and vcpus that are not there, on domains that are not
//! there and on domain 0; FIFO blocks that change under the hypervisor; reset again and again.
//! Expectation: an error each time, all ports free again at the end. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, entry, event, guest, hypercall, memory, refused};

guest!("hostile_events", main);

fn main() {
    event::shared_info();
    bad_arguments();
    let first = exhaust();
    let second = exhaust();
    check_eq!(first, second, "how many ports there are, twice");
    storms();
    bad_fifo();
    reset();
    let mut console = [entry::start_info().console[1] as u32];
    refused!(event::op(4, &mut console), "the console's port after reset");
    // The verdict cannot be told by an event any more: the warden looks by itself.
}

fn bad_arguments() {
    for port in [
        0,
        200,
        1023,
        1024,
        4095,
        4096,
        131_071,
        131_072,
        u32::MAX - 63,
        u32::MAX,
    ] {
        refused!(event::send(port), "send to port {port}");
        refused!(event::close(port), "close port {port}");
        refused!(event::op(8, &mut [port, 0]), "bind_vcpu of port {port}");
        if port >= 4096 {
            refused!(event::unmask(port), "unmask port {port}");
        }
        for domain in [0u16, abi::DOMID_SELF as u16, 0x7fff] {
            refused!(
                event::op(0, &mut [u32::from(domain), port, 0]),
                "bind_interdomain to port {port} of domain {domain}"
            );
        }
    }
    for vcpu in [1, 32, 128, 8192, u32::MAX] {
        refused!(
            event::bind_ipi(vcpu).map_or_else(|error| error, i64::from),
            "an IPI for vcpu {vcpu}"
        );
        refused!(
            event::bind_virq(0, vcpu).map_or_else(|error| error, i64::from),
            "a timer for vcpu {vcpu}"
        );
    }
    // The global virtual interrupts can be bound, on vcpu 0, but they come to domain 0 only. The rest is none.
    for virq in [2, 3, 4, 6, 8, 9, 10] {
        if let Ok(port) = event::bind_virq(virq, 0) {
            check_eq!(event::close(port), 0, "closing VIRQ {virq}");
        }
    }
    for virq in [24, 31, u32::MAX] {
        refused!(
            event::bind_virq(virq, 0).map_or_else(|error| error, i64::from),
            "VIRQ {virq}"
        );
    }
    for pirq in [0, 9, 16, 255, 4096, u32::MAX] {
        refused!(event::op(2, &mut [pirq, 0, 0]), "PIRQ {pirq}");
    }
    for domain in [0u32, 1234, 0x7ff1, 0x7ff2] {
        refused!(
            event::op(6, &mut [domain, 0]),
            "a port of domain {domain}'s"
        );
        refused!(event::op(10, &mut [domain]), "reset of domain {domain}");
        refused!(
            event::op(5, &mut [domain, 1, 0, 0, 0, 0]),
            "status of domain {domain}"
        );
    }
    for cmd in [13, 14, 99, u64::MAX] {
        refused!(event::op(cmd, &mut [0; 8]), "event_channel_op {cmd}");
        refused!(
            hypercall::call(
                abi::EVENT_CHANNEL_OP,
                [cmd & 7, abi::HYPERVISOR_VIRT_START + 64]
            ),
            "an argument in the hypervisor"
        );
    }
}

/// Takes all ports, and gives them back.
fn exhaust() -> u32 {
    let mut count = 0;
    let mut last = 0;
    while let Ok(port) = event::alloc_unbound(0) {
        count += 1;
        last = port;
        if count > 8192 {
            break;
        }
    }
    check!((1000..1024).contains(&count), "{count} ports");
    refused!(
        event::bind_ipi(0).map_or_else(|error| error, i64::from),
        "an IPI without a port"
    );
    let console = entry::start_info().console[1] as u32;
    for port in (1..=last).filter(|port| *port != console) {
        check_eq!(event::close(port), 0, "closing port {port}");
    }
    count
}

fn storms() {
    let port = event::bind_ipi(0).unwrap_or(0);
    event::set_port_mask(port, false);
    for _ in 0..20_000 {
        event::send(port);
    }
    event::clear_pending(port);
    memory::write_byte(event::shared_info(), 0);
    // Channels to itself, closed from either end.
    for round in 0..500u32 {
        let Ok(one) = event::alloc_unbound(abi::DOMID_SELF as u16) else {
            check!(false, "alloc_unbound");
            return;
        };
        let Ok(other) = event::bind_interdomain(abi::DOMID_SELF as u16, one) else {
            check!(false, "bind_interdomain");
            return;
        };
        event::send(one);
        let (first, then) = if round % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        check_eq!(event::close(first), 0, "closing one end");
        event::close(then);
    }
    check_eq!(event::close(port), 0, "closing the IPI");
    // Any value at all in the words that the hypervisor shares.
    let info = event::shared_info();
    for offset in (0x800..0xc00).step_by(8) {
        memory::write(info + offset, u64::MAX);
    }
    for port in 0..300 {
        event::send(port);
    }
    for offset in (0x800..0xc00).step_by(8) {
        memory::write(info + offset, 0);
    }
}

/// FIFO: bad places for the blocks, then good ones full of garbage.
fn bad_fifo() {
    let [block, array] = [memory::new_page(), memory::new_page()];
    let init = |frame: u64, offset: u64, vcpu: u64| {
        let mut argument = [frame, offset | vcpu << 32, 0];
        hypercall::call(
            abi::EVENT_CHANNEL_OP,
            [11, hypercall::pointer(&mut argument)],
        )
    };
    let mfn = memory::mfn_of(block);
    for (frame, offset, vcpu) in [
        (mfn, 4096 - 64, 0),
        (mfn, 4, 0),
        (mfn, 0xffff_fff8, 0),
        (mfn, 0, 1),
        (mfn, 0, 0xffff_ffff),
        (memory::mfn_of(entry::start_info().pt_base), 0, 0),
        (0, 0, 0),
        (1 << 40, 0, 0),
        (u64::MAX, 0, 0),
    ] {
        refused!(
            init(frame, offset, vcpu),
            "init_control at {frame:#x}+{offset:#x} for vcpu {vcpu}"
        );
    }
    let expand = |frame: u64| {
        let mut argument = [frame];
        hypercall::call(
            abi::EVENT_CHANNEL_OP,
            [12, hypercall::pointer(&mut argument)],
        )
    };
    refused!(
        expand(memory::mfn_of(array)),
        "expand_array before init_control"
    );
    check_eq!(init(mfn, 0, 0), 0, "init_control");
    refused!(
        expand(memory::mfn_of(entry::start_info().pt_base)),
        "a page table as event words"
    );
    check_eq!(expand(memory::mfn_of(array)), 0, "expand_array");
    refused!(memory::pin(array, 1), "pinning event words");
    let port = event::bind_ipi(0).unwrap_or(0);
    check!(port != 0, "an IPI");
    for value in [
        0,
        u32::MAX,
        1 << 31,
        1 << 30,
        1 << 29,
        0x2000_0000 | 0x1ffff,
        0x6000_0000 | port,
    ] {
        for word in 0..1024 {
            memory::write_u32(array + word * 4, value);
        }
        for offset in (0..128).step_by(4) {
            memory::write_u32(block + offset, value);
        }
        for _ in 0..50 {
            event::send(port);
            event::unmask(port);
        }
        for priority in [0, 15, 16, u32::MAX] {
            event::op(13, &mut [port, priority]);
        }
    }
    memory::clear(array);
    memory::clear(block);
}

fn reset() {
    for round in 0..20 {
        check_eq!(
            event::op(10, &mut [abi::DOMID_SELF as u32]),
            0,
            "reset {round}"
        );
        for _ in 0..50 {
            check!(event::alloc_unbound(0).is_ok(), "a port after reset");
        }
    }
    check_eq!(
        event::op(10, &mut [abi::DOMID_SELF as u32]),
        0,
        "the last reset"
    );
}
