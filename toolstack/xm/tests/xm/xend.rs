//! xm and our xend on a simulated host: the two agree on the API, from `create` to the end of a domain.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde_json::Value;

use crate::fake::read_until;
use crate::host::Host;

#[test]
fn a_domain_lives_from_create_to_shutdown() {
    let host = Host::start();
    let web = host.guest("web", "vcpus = 2");
    let out = host.out(&format!("xm create -p {web}"));
    let port = out.trim_end().rsplit_once(' ').unwrap().1;
    assert!(
        out.contains("\nStarted domain web, console on port "),
        "{out}"
    );
    let list = host.out("xm list");
    let row = list.lines().find(|l| l.starts_with("web ")).unwrap();
    let fields: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        (fields[2], fields[4], fields[6]),
        ("64", "--p--", port),
        "{list}"
    );
    assert_eq!(host.out("xm unpause web"), "");
    host.wait("xm list web", "-b---");

    let id = host.out("xm domid web");
    assert_eq!(host.out(&format!("xm domname {}", id.trim())), "web\n");
    assert!(
        host.out("xm list -l web").starts_with("(domain\n    (id "),
        "2.0's form"
    );
    assert!(host.out("xl list --long web").contains("(state -b----)\n"));
    assert_eq!(host.out("xm vcpu-list web").lines().count(), 3);
    assert!(host.out("xm vbd-list web").contains("(dev xvda)"));
    assert!(
        host.out("xm vif-list web")
            .contains("(mac aa:00:00:00:00:11)")
    );
    assert!(
        host.out("xl block-list web")
            .contains("/local/domain/0/backend/vbd/")
    );
    assert!(host.out("xm consoles").contains(port));
    assert!(host.out("xm uptime web").contains("web "));
    assert!(host.out("xm sched-credit -d web").contains("256"));

    for line in [
        "xm maxmem web 128",
        "xm balloon web 48",
        "xm pincpu web 1",
        "xm pincpu web -1",
        "xm vcpu-pin web all 0-1",
        "xm vcpu-set web 1",
        "xm sysrq web s",
        "xm trigger web nmi",
        "xm sched-credit -d web -w 512",
        "xm debug-keys q",
        "xm dmesg -c",
        "xm pause web",
        "xm unpause web",
        "xm rename web www",
        "xm rename www web",
    ] {
        assert_eq!(host.out(line), "", "{line}");
    }
    assert!(host.out("xm sched-credit -d web").contains("512"));
    assert_eq!(host.json("xm list web")[0]["maxmem"], 128);

    let clash = host.err(&format!("xm create -q {web}"));
    assert_eq!(clash, "Error: vm name clash: web\n");
    assert_eq!(
        host.out("xm shutdown -w web"),
        "Domain web terminated\nAll domains terminated\n"
    );
    assert_eq!(host.err("xm domid web"), "Error: invalid domain:web\n");
    assert_eq!(
        host.out("xm list").lines().count(),
        2,
        "heading and Domain-0"
    );
}

#[test]
fn devices_come_and_go() {
    let host = Host::start();
    let web = host.guest("web", "");
    host.out(&format!("xm create -q {web}"));
    let more = host.fake.file("more.img", "disk");
    assert_eq!(
        host.out(&format!("xm vbd-create web file:{more} xvdb w")),
        ""
    );
    let json = host.json("xm vbd-list web");
    assert_eq!(json.as_array().unwrap().len(), 2);
    let idx = json[1]["idx"].as_str().unwrap();
    assert_eq!(host.out(&format!("xm vbd-destroy web {idx}")), "");
    assert_eq!(
        host.out(&format!("xl block-attach web file:{more},xvdc,r")),
        ""
    );
    assert_eq!(host.out("xl block-detach web xvdc"), "");
    assert_eq!(host.json("xm vbd-list web").as_array().unwrap().len(), 1);
    assert_eq!(
        host.out("xm network-attach web mac=aa:00:00:00:00:22 bridge=br1"),
        ""
    );
    assert!(host.out("xm vif-list web").contains("aa:00:00:00:00:22"));
    assert_eq!(host.out("xm network-detach web aa:00:00:00:00:22"), "");
    assert_eq!(host.json("xm vif-list web").as_array().unwrap().len(), 1);
    assert_eq!(host.out("xm destroy web"), "");
    assert_eq!(host.err("xm destroy web"), "Error: invalid domain:web\n");
}

#[test]
fn a_console_reaches_the_guests_shell() {
    let host = Host::start();
    let web = host.guest("web", "");
    host.out(&format!("xm create -q {web}"));
    let mut child = host
        .fake
        .command("xm")
        .args(["-x", &host.socket, "console", "web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    read_until(&mut screen, "# ");
    keys.write_all(b"poweroff\n").unwrap();
    read_until(&mut screen, "poweroff");
    assert!(
        child.wait().unwrap().success(),
        "the console ends with the domain"
    );
    assert!(
        host.err("xm console web")
            .starts_with("Error: invalid domain:web")
    );
}

#[test]
fn a_plan_creates_nothing_and_2_0s_functions_are_there() {
    let host = Host::start();
    let web = host.guest("web", "");
    let plan = host.out(&format!("xm create -q --plan {web}"));
    assert!(
        plan.contains("create the domain") && plan.contains("load the kernel"),
        "{plan}"
    );
    assert_eq!(host.out("xm list").lines().count(), 2);
    assert_eq!(host.out("xm call domains"), "(Domain-0)\n");
    assert!(host.out("xm call node").starts_with("(node\n    (system "));
    assert!(host.out("xm info").starts_with("system                 : "));
    assert!(host.out("xl info").contains("\ntotal_memory           : "));
    for line in ["xm save 0 x", "xm restore x", "xm migrate 7 there"] {
        let err = host.err(line);
        assert!(
            err.starts_with("Error: ") && err.lines().count() == 1,
            "{line}: {err}"
        );
    }
}

#[test]
fn events_are_followed_while_they_happen() {
    let host = Host::start();
    let web = host.guest("web", "");
    host.out(&format!("xm create -q {web}"));
    let mut child = host
        .fake
        .command("xm")
        .args(["-x", &host.socket, "events"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (heard, told) = mpsc::channel();
    std::thread::spawn(move || heard.send(lines.next()));
    // It hears what happens from when it is there.
    let line = loop {
        host.out("xm pause web");
        host.out("xm unpause web");
        match told.recv_timeout(Duration::from_millis(100)) {
            Err(RecvTimeoutError::Timeout) => {}
            line => break line.unwrap().unwrap().unwrap(),
        }
    };
    let (name, data) = line.split_once(' ').unwrap();
    assert!(
        ["xend.domain.pause", "xend.domain.unpause"].contains(&name),
        "{line}"
    );
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data[0], "web", "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}
