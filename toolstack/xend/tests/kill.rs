//! The fault matrix: xend, or a guest, is killed at every step of every plan.
//!
//! An undisturbed run counts the changes an operation makes to the world, the journal's lines among them. Then it runs once
//! for every count, and is cut off there: so before a step's effect (its line is written), within it, and after it. What the
//! journal says at each point is held against the plan, so that no step can be left out of the matrix, nor carried out
//! without its line.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Xend, booted, device, guest, id, rewired, start, state, wait_for, with_guest};
use rexen_xend::blueprint::{Blueprint, Device, DeviceKind};
use rexen_xend::error::Result;
use rexen_xend::journal::{Archive, Operation};
use rexen_xend::node::Command;
use rexen_xend::plan::{self, Step};
use rexen_xend::sim::{Doom, Machine};
use rexen_xend::world::Exit;

const DISK: &str = "(vbd (uname file:/i/more.img) (dev sdb) (mode w))";
const VIF: &str = "(vif (mac aa:00:00:00:00:13) (bridge xen-br0))";

/// Plans by the operations' names.
type Plans = Vec<(&'static str, Vec<Step>)>;

/// An operation, the machine it begins on, and its plans.
struct Work {
    make: fn() -> Arc<Machine>,
    run: fn(&Xend) -> Result<()>,
    plans: fn(&Xend) -> Plans,
    /// How a cut-off run ends.
    end: End,
}

/// How an operation that was cut off ends when xend starts again.
#[derive(PartialEq)]
enum End {
    /// As if it had never begun, unless only its record was missing.
    Back,
    /// As if it had not been cut off, unless its first line was not written.
    Forward,
}

fn order(xend: &Xend, command: Command) -> Result<()> {
    xend.node.order("a", command).map(drop)
}

fn blueprint(xend: &Xend) -> Blueprint {
    match xend.node.view("a") {
        Ok(view) => view.status.unwrap().record.blueprint,
        Err(_) => xend.node.resolve(guest()).unwrap(),
    }
}

fn device_of(xend: &Xend, kind: DeviceKind, devid: u32) -> Device {
    let devices = blueprint(xend).devices;
    let found = devices
        .into_iter()
        .find(|device| device.id() == id(kind, devid));
    found.unwrap()
}

/// The plan of an attachment is known when the device has its number: another machine's xend does it.
fn attaching(text: &str) -> Plans {
    let machine = with_guest();
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    let made = xend.node.order("a", Command::Attach(device(text)));
    vec![("attach", plan::attach(&made.unwrap().unwrap()))]
}

const CREATE: Work = Work {
    make: booted,
    run: |xend| xend.node.create(guest()).map(drop),
    plans: |xend| vec![("create", plan::create(&blueprint(xend)))],
    end: End::Back,
};
const DESTROY: Work = Work {
    make: with_guest,
    run: |xend| order(xend, Command::Destroy { again: false }),
    plans: |xend| vec![("destroy", plan::destroy(&blueprint(xend)))],
    end: End::Forward,
};
const REBOOT: Work = Work {
    make: with_guest,
    run: |xend| order(xend, Command::Destroy { again: true }),
    plans: |xend| {
        vec![
            ("destroy", plan::destroy(&blueprint(xend))),
            ("restart", plan::create_again(&blueprint(xend))),
        ]
    },
    end: End::Forward,
};
const ATTACH_VBD: Work = Work {
    make: with_guest,
    run: |xend| order(xend, Command::Attach(device(DISK))),
    plans: |_| attaching(DISK),
    end: End::Back,
};
const ATTACH_VIF: Work = Work {
    make: with_guest,
    run: |xend| order(xend, Command::Attach(device(VIF))),
    plans: |_| attaching(VIF),
    end: End::Back,
};
const DETACH_VBD: Work = Work {
    make: with_guest,
    run: |xend| order(xend, detach(DeviceKind::Vbd, 2049, false)),
    plans: |xend| {
        let device = device_of(xend, DeviceKind::Vbd, 2049);
        vec![("detach", plan::detach(&device, false))]
    },
    end: End::Forward,
};
const DETACH_VIF: Work = Work {
    make: with_guest,
    run: |xend| order(xend, detach(DeviceKind::Vif, 1, false)),
    plans: |xend| {
        let device = device_of(xend, DeviceKind::Vif, 1);
        vec![("detach", plan::detach(&device, false))]
    },
    end: End::Forward,
};
const DETACH_BY_FORCE: Work = Work {
    make: with_guest,
    run: |xend| order(xend, detach(DeviceKind::Vbd, 2050, true)),
    plans: |xend| {
        let device = device_of(xend, DeviceKind::Vbd, 2050);
        vec![("detach", plan::detach(&device, true))]
    },
    end: End::Forward,
};
const CONFIGURE: Work = Work {
    make: with_guest,
    run: |xend| order(xend, rewired("br9")),
    plans: |xend| {
        let Device::Vif(from) = device_of(xend, DeviceKind::Vif, 1) else {
            panic!("a vif is a vif");
        };
        let mut to = from.clone();
        to.bridge = Some("br9".into());
        to.vif.bridge = Some("br9".into());
        to.vif.ip = vec!["10.0.0.1".into()];
        vec![(
            "configure",
            plan::configure(id(DeviceKind::Vif, 1), &from, to),
        )]
    },
    end: End::Forward,
};

fn detach(kind: DeviceKind, devid: u32, force: bool) -> Command {
    Command::Detach {
        id: id(kind, devid),
        force,
    }
}

/// What the journal of a machine says is under way.
fn under_way(machine: &Arc<Machine>) -> Option<Operation> {
    let archive = Archive::new(rexen_xend::config::Config::default().dbroot);
    let (mut operations, broken) = archive.cut_off(&*machine.world().host).unwrap();
    assert!(broken.is_empty() && operations.len() <= 1, "{broken:?}");
    operations.pop()
}

/// Steps that change nothing outside xend's own memory.
fn only_waits(step: &Step) -> bool {
    matches!(step, Step::AwaitBackend(_) | Step::CloseConsole)
}

fn begin(work: &Work) -> (Arc<Machine>, Xend) {
    let machine = (work.make)();
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    (machine, xend)
}

/// What an undisturbed run is: before, after, and how many changes lie between.
fn undisturbed(work: &Work) -> (String, String, u64) {
    let (machine, xend) = begin(work);
    let (before, begun) = (state(&machine), machine.changes());
    (work.run)(&xend).unwrap();
    (before, state(&machine), machine.changes() - begun)
}

/// Starts xend again and kills it after `cut` changes of its own; returns whether it came to that.
fn recover_until(machine: &Arc<Machine>, cut: u64) -> bool {
    machine.cut_off_after(Some(cut));
    let xend = start(machine);
    let adopted = xend.node.adopt();
    // A restart that waits is a task of its own, which is cut off, too.
    wait_for("the second xend", || {
        machine.is_cut_off() || adopted.is_ok() && settled(&xend)
    });
    if machine.is_cut_off() {
        // Its tasks die with it, and not later.
        wait_for("its tasks", || Arc::strong_count(&xend.node) == 1);
    }
    machine.is_cut_off()
}

/// Starts xend for good.
fn recover(machine: &Arc<Machine>) -> Xend {
    machine.cut_off_after(None);
    let xend = start(machine);
    xend.node.adopt().unwrap();
    wait_for("the last xend", || settled(&xend));
    xend
}

/// What only one of two states has.
fn difference(now: &str, expected: &str) -> String {
    let only = |mark: &str, of: &str, other: &str| {
        let lines = of
            .lines()
            .filter(|line| !other.lines().any(|same| same == *line));
        lines
            .map(|line| format!("{mark} {line}\n"))
            .collect::<String>()
    };
    only("left over:", now, expected) + &only("missing:", expected, now)
}

fn settled(xend: &Xend) -> bool {
    let views = xend.node.views().unwrap_or_default();
    let lasting = |word| matches!(word, "running" | "paused");
    !views.is_empty()
        && views.iter().all(|view| match &view.status {
            Some(status) => lasting(status.phase.word()) && view.info.is_some(),
            None => true,
        })
}

/// Of the second xend's changes, each point of the first takes every thirteenth, and neighbours take others.
const STRIDE: u64 = 13;

/// Kills xend after every change of an operation; and, where `twice`, the one after it amid its own.
fn kill_everywhere(work: &Work, twice: bool) {
    let (before, after, points) = undisturbed(work);
    let plans = {
        let (_machine, xend) = begin(work);
        (work.plans)(&xend)
    };
    let mut met: BTreeMap<(String, usize), usize> = BTreeMap::new();
    for point in 0..=points {
        let first_cut = point % STRIDE;
        let mut cut = first_cut;
        loop {
            let (machine, xend) = begin(work);
            machine.cut_off_after(Some(point));
            let outcome = (work.run)(&xend);
            assert!(
                outcome.is_err_and(|error| error.is_killed()) || point == points,
                "point {point} of {points}: nothing noticed"
            );
            drop(xend);
            machine.cut_off_after(None);
            let journal = under_way(&machine);
            let label = match &journal {
                Some(operation) => {
                    let (_, steps) = plans
                        .iter()
                        .find(|(name, _)| *name == operation.name)
                        .unwrap_or_else(|| panic!("no plan is called {}", operation.name));
                    assert_eq!(&operation.steps, steps, "{}", operation.name);
                    assert!(!operation.undoing);
                    format!("{}: {}", operation.name, steps[operation.at])
                }
                None => "no journal".into(),
            };
            if let Some(operation) = journal.as_ref().filter(|_| cut == first_cut) {
                *met.entry((operation.name.clone(), operation.at))
                    .or_default() += 1;
            }
            let more = twice && recover_until(&machine, cut);
            let _last = recover(&machine);
            let now = state(&machine);
            let expected = match (&journal, &work.end) {
                (Some(operation), End::Back) if operation.at + 1 < operation.steps.len() => &before,
                (None, _) if point == 0 => &before,
                _ => &after,
            };
            assert!(
                now == *expected,
                "{label}, after change {point} of {points}{}:\n{}",
                if twice {
                    format!(", and the second xend after {cut} of its own")
                } else {
                    String::new()
                },
                difference(&now, expected)
            );
            if !more {
                break;
            }
            cut += STRIDE;
        }
    }
    for (name, steps) in &plans {
        for (at, step) in steps.iter().enumerate() {
            let times = met.get(&((*name).to_owned(), at)).copied().unwrap_or(0);
            let wanted = if only_waits(step) { 1 } else { 2 };
            assert!(
                times >= wanted,
                "{name}: {step}: xend was killed there {times} times, not {wanted}"
            );
        }
    }
}

/// Ends the guest before every change of an operation; xend lives on.
fn doom_everywhere(work: &Work, doom: Doom) {
    let (_, after, points) = undisturbed(work);
    let nothing = state(&booted());
    let reboots = (work.plans)(&begin(work).1).len() > 1;
    for point in 0..points {
        let (machine, xend) = begin(work);
        let watched = xend.node.clone();
        let watch = std::thread::spawn(move || watched.watch());
        machine.doom_after(point, doom);
        let outcome = (work.run)(&xend);
        assert!(!machine.is_doomed(), "point {point} was not reached");
        let all_gone = || xend.node.views().unwrap().len() == 1;
        if reboots {
            // Ended while the old one was taken down, it runs again; ended anew, its policy is to go, or xend tries again.
            if outcome.is_err() {
                let _ = order(&xend, Command::Again); // Without this it waits for some seconds.
            }
            wait_for("the reboot", || all_gone() || state(&machine) == after);
        } else if outcome.is_ok() && state(&machine) == after && point_is_early(work, point) {
            // There was nobody yet.
        } else {
            wait_for("the end of the guest", all_gone);
        }
        if all_gone() {
            let left = difference(&state(&machine), &nothing);
            assert_eq!(
                left, "",
                "{doom:?} before change {point} of {points}: {outcome:?}"
            );
        }
        machine.cut_off_after(Some(0)); // Ends the watching thread.
        machine.wake();
        assert!(watch.join().unwrap().is_err());
    }
}

/// Whether an operation has not made its guest at this point.
fn point_is_early(work: &Work, point: u64) -> bool {
    let (machine, xend) = begin(work);
    machine.cut_off_after(Some(point));
    assert!((work.run)(&xend).is_err());
    machine.cut_off_after(None);
    machine.world().hypervisor.domains().unwrap().len() == 1
}

macro_rules! matrix {
    ($($name:ident: $work:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn xend_is_killed() {
                kill_everywhere(&$work, false);
            }

            #[test]
            fn xend_is_killed_twice() {
                kill_everywhere(&$work, true);
            }

            #[test]
            fn the_guest_crashes() {
                doom_everywhere(&$work, Doom::Exit(Exit::Crash));
            }

            #[test]
            fn somebody_else_destroys_the_guest() {
                doom_everywhere(&$work, Doom::Destroyed);
            }
        }
    )*};
}

matrix! {
    create: CREATE;
    destroy: DESTROY;
    reboot: REBOOT;
    attach_vbd: ATTACH_VBD;
    attach_vif: ATTACH_VIF;
    detach_vbd: DETACH_VBD;
    detach_vif: DETACH_VIF;
    detach_by_force: DETACH_BY_FORCE;
    configure: CONFIGURE;
}
