//! Our xend on a simulated host, for commands to talk to.

use std::time::{Duration, Instant};

use rexen_xend::sim::free_port;
use serde_json::Value;

use crate::fake::{Fake, Said};

/// A simulated host, which ends with this process; `fake` only runs the commands.
pub struct Host {
    pub fake: Fake,
    pub socket: String,
}

impl Host {
    /// Starts it, and waits until it answers.
    pub fn start() -> Self {
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
    pub fn out(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{line}");
        said.out
    }

    /// Runs a command that must fail, and returns its complaint.
    pub fn err(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!((said.status, said.out.as_str()), (1, ""), "{line}");
        said.err
    }

    /// Runs a command, whatever comes of it.
    pub fn run(&self, line: &str) -> Said {
        self.type_into(line, "")
    }

    /// The same, with something typed into it.
    pub fn type_into(&self, line: &str, keys: &str) -> Said {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        self.fake
            .type_into(&format!("{name} --xend {} {rest}", self.socket), keys)
    }

    /// Runs a command that must succeed, and returns what it says as JSON.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(&format!("{line} --json"))).unwrap()
    }

    /// A guest's configuration, with a console port that nobody uses.
    pub fn guest(&self, name: &str, more: &str) -> String {
        let port = free_port();
        let disk = self.fake.file(&format!("{name}.img"), "disk");
        let text = format!(
            "name = '{name}'\nkernel = '/boot/vmlinuz'\nmemory = 64\nconsole = {port}\n\
             disk = ['file:{disk},xvda,w']\nvif = ['mac=aa:00:00:00:00:11, bridge=xen-br0']\n{more}\n"
        );
        self.fake.file(name, &text)
    }

    /// Waits until a command prints something.
    pub fn wait(&self, line: &str, part: &str) {
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
