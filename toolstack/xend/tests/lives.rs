//! What domains live through under one xend: failing steps, reboots, crashes, many at once, and those that others made.

mod common;

use common::{GUEST, booted, guest, rewired, start, state, wait_for, with_guest};
use rexen_config::spec::DomainSpec;
use rexen_config::sxp::parse_one;
use rexen_xend::events::Event;
use rexen_xend::node::Command;
use rexen_xend::world::Exit;

#[test]
fn an_interface_that_cannot_change_stays() {
    let machine = with_guest();
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    let before = state(&machine);
    machine.fail("bridge=br9");
    assert!(xend.node.order("a", rewired("br9")).is_err());
    // The script that takes it down is told the new bridge, too, and fails as well; what counts is that it is up again.
    assert_eq!(state(&machine), before);
    let mut other = rewired("br9");
    if let Command::Configure { to, .. } = &mut other {
        to.mac = Some("aa:00:00:00:00:99".parse().unwrap());
    }
    assert_eq!(
        xend.node.order("a", other).unwrap_err().text,
        "cannot change mac"
    );
}

#[test]
fn a_step_that_fails_leaves_nothing() {
    for word in [
        "create",
        "build",
        "store",
        "introduce",
        "console",
        "bind",
        "up vif=vif1.1",
        "save /var/lib/xen/xend-db/domain",
    ] {
        let machine = booted();
        let before = state(&machine);
        let xend = start(&machine);
        machine.fail(word);
        let error = xend.node.create(guest()).unwrap_err();
        assert!(error.text.contains(word), "{word}: {error}");
        assert_eq!(state(&machine), before, "{word}");
        assert_eq!(xend.node.views().unwrap().len(), 1, "{word}");
    }
}

#[test]
fn a_missing_driver_is_named_and_nothing_is_left() {
    let machine = booted();
    let before = state(&machine);
    machine.unload_driver("vif");
    let error = start(&machine).node.create(guest()).unwrap_err();
    assert!(error.text.contains("modprobe xen-netback"), "{error}");
    assert_eq!(state(&machine), before);
}

#[test]
fn two_hundred_lives_leave_nothing() {
    let machine = booted();
    let before = state(&machine);
    let xend = start(&machine);
    for _ in 0..200 {
        xend.node.create(guest()).unwrap();
        xend.node.order("a", Command::Unpause).unwrap();
        xend.node
            .order("a", Command::Destroy { again: false })
            .unwrap();
    }
    assert_eq!(state(&machine), before);
}

#[test]
fn a_guest_that_reboots_itself_runs_again_under_its_number() {
    let machine = with_guest();
    let mut xend = start(&machine);
    xend.node.adopt().unwrap();
    let watched = xend.node.clone();
    std::thread::spawn(move || watched.watch());
    let before = state(&machine);
    machine.exit(1, Exit::Reboot);
    let mut seen = Vec::new();
    while !seen.iter().any(|event: &Event| event.value[2] == "success") {
        seen.push(xend.events.blocking_recv().unwrap());
    }
    let what: Vec<String> = seen
        .iter()
        .filter(|event| event.name == "xend.domain.restart")
        .map(|event| event.value[2].to_string())
        .collect();
    assert_eq!(what, ["\"schedule\"", "\"begin\"", "\"success\""]);
    assert_eq!(state(&machine), before);
    machine.exit(1, Exit::Poweroff);
    wait_for("its end", || xend.node.views().unwrap().len() == 1);
    machine.cut_off_after(Some(0)); // Ends the watching thread.
}

#[test]
fn what_ends_while_no_xend_runs_is_cleaned_up() {
    let machine = with_guest();
    machine.exit(1, Exit::Poweroff);
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    wait_for("the end of the domain", || {
        xend.node.views().unwrap().len() == 1
    });
    assert_eq!(state(&machine), state(&booted()));
}

#[test]
fn a_crashed_guest_can_be_kept_under_another_name() {
    let machine = booted();
    {
        let xend = start(&machine);
        let watched = xend.node.clone();
        std::thread::spawn(move || watched.watch());
        let mut spec = guest();
        spec.on_crash = Some(rexen_config::spec::ExitAction::RenameRestart);
        xend.node.create(spec).unwrap();
        xend.node.order("a", Command::Unpause).unwrap();
        machine.exit(1, Exit::Crash);
        let phase = |name: &str| {
            xend.node
                .view(name)
                .ok()
                .and_then(|view| view.status)
                .map(|status| status.phase.word())
        };
        wait_for("both", || {
            phase("a-1") == Some("crashed") && phase("a") == Some("running")
        });
        machine.cut_off_after(Some(0)); // Ends the watching thread.
    }
    machine.cut_off_after(None);
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    let phase = |name: &str| {
        xend.node
            .view(name)
            .unwrap()
            .status
            .map(|status| status.phase.word())
    };
    wait_for("the next xend", || phase("a-1") == Some("crashed"));
    assert_eq!(phase("a"), Some("running"));
    assert_eq!(xend.node.views().unwrap().len(), 3);
}

#[test]
fn a_guest_that_always_crashes_at_once_is_not_kept_again_and_again() {
    let machine = booted();
    let xend = start(&machine);
    let watched = xend.node.clone();
    std::thread::spawn(move || watched.watch());
    let mut spec = guest();
    spec.on_crash = Some(rexen_config::spec::ExitAction::RenameRestart);
    xend.node.create(spec).unwrap();
    xend.node.order("a", Command::Unpause).unwrap();
    let phase = || {
        let status = xend.node.view("a").ok()?.status?;
        Some((status.record.facts.domid?, status.phase.word()))
    };
    machine.exit(1, Exit::Crash);
    wait_for("the second life", || phase() == Some((2, "running")));
    machine.exit(2, Exit::Crash);
    wait_for("its end", || phase() == Some((2, "crashed")));
    xend.node.order("a", Command::Look).unwrap();
    assert_eq!(phase(), Some((2, "crashed")));
    assert_eq!(
        xend.node.views().unwrap().len(),
        3,
        "domain 0 and two lives"
    );
    machine.cut_off_after(Some(0)); // Ends the watching thread.
}

#[test]
fn pauses_do_not_nest() {
    let machine = with_guest();
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    let paused = || xend.node.view("a").unwrap().info.unwrap().paused;
    for _ in 0..3 {
        xend.node.order("a", Command::Pause).unwrap();
        assert!(paused());
    }
    for _ in 0..2 {
        xend.node.order("a", Command::Unpause).unwrap();
        assert!(!paused());
    }
}

#[test]
fn domains_made_at_once_get_loop_devices_of_their_own() {
    let machine = booted();
    let xend = start(&machine);
    let made: Vec<_> = (0..8)
        .map(|number| {
            let node = xend.node.clone();
            let text = GUEST
                .replace("name a", &format!("name g{number}"))
                .replace("000000000001", &format!("00000000010{number}"))
                .replace("/i/a.img", &format!("/i/{number}.img"));
            let spec = DomainSpec::from_sxp(&parse_one(&text).unwrap())
                .unwrap()
                .spec;
            std::thread::spawn(move || node.create(spec))
        })
        .collect();
    for thread in made {
        thread.join().unwrap().unwrap();
    }
    let nodes: std::collections::BTreeSet<String> = (0..8)
        .map(|number| {
            let view = xend.node.view(&format!("g{number}")).unwrap();
            view.status.unwrap().record.facts.nodes[&2049].clone()
        })
        .collect();
    assert_eq!(nodes.len(), 8);
}

#[test]
fn one_disk_asked_for_at_once_is_given_once() {
    let machine = booted();
    let xend = start(&machine);
    let made: Vec<_> = (0..8)
        .map(|number| {
            let node = xend.node.clone();
            let text = format!("(vm (name g{number}) (memory 8) (image (linux (kernel /k))) (device (vbd (uname phy:vg/one) (dev sda1) (mode w))))");
            let spec = DomainSpec::from_sxp(&parse_one(&text).unwrap()).unwrap().spec;
            std::thread::spawn(move || node.create(spec).is_ok())
        })
        .collect();
    let given = made
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .filter(|given| *given)
        .count();
    assert_eq!(given, 1);
    assert_eq!(xend.node.views().unwrap().len(), 2);
}

#[test]
fn a_domain_without_its_console_is_still_watched_over() {
    let machine = with_guest();
    machine.fail("console");
    machine.exit(1, Exit::Poweroff);
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    wait_for("the end of the domain", || {
        xend.node.views().unwrap().len() == 1
    });
}

#[test]
fn what_is_being_built_cannot_be_destroyed_meanwhile() {
    let machine = booted();
    let xend = start(&machine);
    let before = state(&machine);
    let node = xend.node.clone();
    let building = std::thread::spawn(move || node.create(guest()).is_ok());
    // Whenever the order comes, it is refused, or ends a domain that is complete.
    let ended = loop {
        match xend.node.order("a", Command::Destroy { again: false }) {
            Ok(_) => break true,
            Err(_) if building.is_finished() => break false,
            Err(_) => {}
        }
    };
    assert!(building.join().unwrap());
    if !ended {
        xend.node
            .order("a", Command::Destroy { again: false })
            .unwrap();
    }
    assert_eq!(state(&machine), before);
}

#[test]
fn domains_that_others_made_are_seen_and_can_be_ended() {
    let machine = booted();
    let before = state(&machine);
    let domid = machine.make_foreign("stranger");
    let xend = start(&machine);
    xend.node.adopt().unwrap();
    let view = xend.node.view("stranger").unwrap();
    assert_eq!((view.domid, view.status.is_none()), (Some(domid), true));
    xend.node.order("stranger", Command::Pause).unwrap();
    xend.node.order("stranger", Command::Unpause).unwrap();
    assert!(
        xend.node
            .order("stranger", Command::Rename("b".into()))
            .is_err()
    );
    xend.node
        .order("stranger", Command::Destroy { again: false })
        .unwrap();
    assert_eq!(state(&machine), before);
    assert!(
        xend.node
            .order("0", Command::Destroy { again: false })
            .is_err(),
        "domain 0 is nobody's to end"
    );
}
