//! xm and our xend on a simulated host: the two agree on the API, from `create` to the end of a domain.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fake::{Fake, Said, read_until};

/// A simulated host, which ends with this process; `fake` only runs the commands.
struct Host {
    fake: Fake,
    socket: String,
}

impl Host {
    fn start() -> Self {
        let fake = Fake::new();
        let socket = fake.file("started", "");
        let socket = socket.replace("started", "xend.sock");
        let at = socket.clone();
        std::thread::spawn(move || {
            let ended = rexen_xend::daemon::simulate(Some(at));
            panic!("xend ended: {ended:?}");
        });
        let until = Instant::now() + Duration::from_secs(60);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "xend does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { fake, socket }
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn out(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{line}");
        said.out
    }

    fn err(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!((said.status, said.out.as_str()), (1, ""), "{line}");
        said.err
    }

    fn run(&self, line: &str) -> Said {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        self.fake
            .run(&format!("{name} --xend {} {rest}", self.socket))
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(&format!("{line} --json"))).unwrap()
    }

    /// A guest's configuration, with a console port that nobody uses.
    fn guest(&self, name: &str, more: &str) -> String {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let disk = self.fake.file(&format!("{name}.img"), "disk");
        let text = format!(
            "name = '{name}'\nkernel = '/boot/vmlinuz'\nmemory = 64\nconsole = {port}\n\
             disk = ['file:{disk},xvda,w']\nvif = ['mac=aa:00:00:00:00:11, bridge=xen-br0']\n{more}\n"
        );
        self.fake.file(name, &text)
    }

    /// Waits until a command prints something.
    fn wait(&self, line: &str, part: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let out = self.run(line).out;
            if out.contains(part) {
                return;
            }
            assert!(Instant::now() < until, "{line}: no {part} in {out}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

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
