//! The warden: a domain 0 that is nothing but a toolstack for small guests.
//!
//! It takes the images and the plan from its initrd (see `archive` and `plan`), and for each round of the plan creates the
//! domains, starts them, prints what they write on their consoles, waits until they shut down, destroys them, and counts
//! what there is in the machine: everything must be as it was before. So a test of many domains takes seconds.
//!
//! Behaviour: the calls with which a toolstack makes, watches and destroys domains (pv-abi 9.4, 9.5).
//! Trigger: the plan.
//! Expectation: no call fails, VIRQ_DOM_EXC tells of each end, and free pages, domains, ports and grants are as before.
#![no_std]
#![no_main]

mod account;
mod archive;
mod domain;
mod image;
mod plan;

use core::fmt::Write;
use rexen_guests::control::{WINDOW_PAGES, Window};
use rexen_guests::report::{Text, print};
use rexen_guests::{abi, check, check_eq, clock, entry, event, fail, guest, hypercall, memory};

use account::{Account, PATIENCE_NS, USUAL_NS};
use domain::{Domain, State};
use image::Image;
use plan::{GUESTS, Round};

guest!("warden", main);

/// VIRQ_DOM_EXC: a domain shut down, or is gone.
const VIRQ_DOM_EXC: u32 = 3;
const MS: u64 = 1_000_000;
/// How long after a domain's end the event about it may come.
const TOLD_WITHIN_MS: u64 = 10_000;

/// What the warden holds from start to end.
struct Warden {
    archive: &'static [u8],
    dom_exc: u32,
    window: Window,
    consoles: [Window; GUESTS],
}

fn main() {
    let info = entry::start_info();
    if info.mod_len == 0 {
        fail!("no initrd: it must be a cpio archive with the plan and the images");
    }
    let archive = memory::bytes(info.mod_start, info.mod_len);
    let Some(plan) = archive::find(archive, "plan") else {
        fail!("the initrd has no plan");
    };
    let dom_exc = event::bind_virq(VIRQ_DOM_EXC, 0);
    check!(dom_exc.is_ok(), "binding VIRQ_DOM_EXC: {dom_exc:?}");
    let warden = Warden {
        archive,
        dom_exc: dom_exc.unwrap_or(0),
        window: Window::new(WINDOW_PAGES),
        consoles: core::array::from_fn(|_| Window::new(1)),
    };
    for round in plan::rounds(plan) {
        warden.run(&round);
    }
}

impl Warden {
    fn run(&self, round: &Round) {
        let first = Account::now();
        let (mut before, mut after) = (first, first);
        let began = clock::now();
        let mut runs = 0;
        while runs < round.repeat || !after.is_like(&before, round.slack) {
            before = after;
            self.run_once(round, runs > 0);
            after = Account::settled(&before, round.slack, USUAL_NS);
            runs += 1;
            // The hypervisor's own heap may grow a few times, and then no more: the last run must change nothing.
            let growth = round.slack.max(round.heap);
            if !after.is_like(&first, growth) {
                after = Account::settled(&first, growth, PATIENCE_NS);
            }
            if !after.is_like(&first, growth) {
                check!(false, "after run {runs}: {after:?}, at first {first:?}");
                break;
            }
        }
        check!(runs >= round.repeat, "{runs} runs of {}", round.repeat);
        if round.recount {
            account::recount();
        }
        let milliseconds = (clock::now() - began) / MS;
        print(format_args!(
            "WARDEN {runs} runs in {milliseconds} ms: before {first:?}, after {after:?}"
        ));
    }

    /// Creates the round's domains, lets them run, and destroys them.
    fn run_once(&self, round: &Round, is_quiet: bool) {
        let (began, free) = (clock::now(), account::physinfo().free_pages);
        let mut domains: [Option<Domain>; GUESTS] = [None; GUESTS];
        let mut peers = Text::<128>::new();
        for (number, (slot, guest)) in domains.iter_mut().zip(round.guests()).enumerate() {
            match Domain::create(&guest, self.consoles[number]) {
                Ok(mut domain) => {
                    let comma = if number == 0 { "" } else { "," };
                    let _ = write!(peers, "{comma}{}", domain.id);
                    domain.is_quiet = is_quiet;
                    *slot = Some(domain);
                }
                Err((call, result)) => {
                    check!(false, "creating {}: {call} gives {result}", guest.name);
                }
            }
        }
        for slot in &mut domains {
            let Some(domain) = slot else { continue };
            let name = domain.guest.image;
            let image = archive::find(self.archive, name).and_then(Image::parse);
            let built = match &image {
                Some(image) => domain.build(image, self.window, peers.as_str()),
                None => Err(("finding its image", 0)),
            };
            if let Err((call, result)) = built {
                check!(false, "building {name}: {call} gives {result}");
                if let Err((call, result)) = domain.destroy() {
                    check!(false, "destroying {name}: {call} gives {result}");
                }
                *slot = None;
            }
        }
        for domain in domains.iter().flatten() {
            check_eq!(domain.unpause(), 0, "unpausing {}", domain.guest.name);
        }
        let (made, left) = (clock::now(), account::physinfo().free_pages);
        self.watch(&mut domains, round.timeout_ms, is_quiet);
        let ran = clock::now();
        // All of them first: one may still map pages of another.
        for step in [Domain::destroy, Domain::await_end] {
            for domain in domains.iter().flatten() {
                if let Err((call, result)) = step(domain) {
                    check!(
                        false,
                        "destroying {}: {call} gives {result}",
                        domain.guest.name
                    );
                }
            }
        }
        if !is_quiet {
            let [made_us, ran_us, destroyed_us] = [(began, made), (made, ran), (ran, clock::now())]
                .map(|(start, end)| (end - start) / 1000);
            print(format_args!(
                "WARDEN us: {made_us} to create, {ran_us} run, {destroyed_us} to destroy"
            ));
            let owned: u64 = round.guests().map(|guest| guest.pages).sum();
            let count = round.guests().count() as u64;
            let kib = free.saturating_sub(left + owned) * 4 / count.max(1);
            print(format_args!(
                "COST hypervisor_kib_per_domain_of_{count} {kib}"
            ));
        }
    }

    /// Serves the consoles until every guest that counts has shut down, or time is up; says how each ended.
    fn watch(&self, domains: &mut [Option<Domain>; GUESTS], timeout_ms: u64, is_quiet: bool) {
        let end = clock::now() + timeout_ms * MS;
        let mut was_told = false;
        loop {
            let mut ports = [self.dom_exc; GUESTS + 1];
            let mut alive = 0;
            for (domain, port) in domains.iter_mut().flatten().zip(&mut ports[1..]) {
                *port = domain.port;
                event::clear_pending(domain.port);
                // The state first: what a domain wrote before its end is then read after it.
                let state = domain.state();
                domain.drain_console();
                if state == State::Alive && !domain.guest.is_background {
                    alive += 1;
                }
            }
            if alive == 0 || clock::now() > end {
                break;
            }
            wait(&ports, 50);
            if event::is_pending(self.dom_exc) {
                event::clear_pending(self.dom_exc);
                was_told = true;
            }
        }
        // A domain shows its end before the event says so, and the CPU that is to send it may be late.
        let late = clock::now() + TOLD_WITHIN_MS * MS;
        let is_any = domains.iter().flatten().count() != 0;
        while is_any && !was_told && clock::now() < late {
            wait(&[self.dom_exc], 50);
            was_told = event::is_pending(self.dom_exc);
        }
        event::clear_pending(self.dom_exc);
        check!(was_told || !is_any, "VIRQ_DOM_EXC did not come");
        for domain in domains.iter_mut().flatten() {
            // The state first, as above: the loop may have read neither of one in the background.
            let state = domain.state();
            domain.drain_console();
            self.tell_end(domain, state, is_quiet);
        }
    }

    /// Prints how a domain ended.
    fn tell_end(&self, domain: &Domain, state: State, is_quiet: bool) {
        let name = domain.guest.name;
        if !is_quiet {
            let cpu_ns = domain.info().map_or(0, |info| info.cpu_time);
            print(format_args!(
                "WARDEN d{} {name} {state:?} cpu_ns={cpu_ns}",
                domain.id
            ));
        }
        check!(
            domain.has_passed(state),
            "d{} {name} has not passed: {state:?}",
            domain.id
        );
    }
}

/// Waits for an event on one of the ports, but no longer than this.
fn wait(ports: &[u32], milliseconds: u64) {
    let deadline = clock::now() + milliseconds * MS;
    let mut poll = rexen_abi::sched::SchedPoll {
        ports: ports.as_ptr() as u64,
        nr_ports: ports.len() as u32,
        timeout: deadline,
    };
    hypercall::call(
        abi::SCHED_OP,
        [abi::SCHEDOP_POLL, hypercall::pointer(&mut poll)],
    );
}
