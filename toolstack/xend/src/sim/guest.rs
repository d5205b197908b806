//! Simulated guests: they boot at once, connect their devices, answer the store, and have a shell of a few words.

use super::{Inner, SimDomain};
use crate::world::{DomId, Exit};

const PROMPT: &str = "sim# ";

impl SimDomain {
    fn print(&mut self, text: &str) {
        self.console_out.extend(text.replace('\n', "\r\n").bytes());
    }
}

impl Inner {
    /// Lets a guest boot if it may run and has not.
    pub fn run(&mut self, domid: DomId) {
        let name = self
            .store
            .get(&format!("/local/domain/{domid}/name"))
            .cloned()
            .unwrap_or_default();
        let Some(domain) = self.domains.get_mut(&domid) else {
            return;
        };
        if domain.pauses > 0 || domain.exit.is_some() || domain.dying || !domain.built {
            return;
        }
        domain.cpu_time_ns += 10_000_000;
        if !std::mem::replace(&mut domain.booted, true) {
            domain.print(&format!(
                "Linux version 0.0.0-sim\n{name} login: root (automatic login)\n{PROMPT}"
            ));
        }
        self.connect_devices(domid);
    }

    /// What a front-end does: where the backend waits, both ends become connected.
    fn connect_devices(&mut self, domid: DomId) {
        let prefix = format!("/local/domain/{domid}/device/");
        let backends: Vec<(String, String)> = self
            .store
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter_map(|(path, value)| {
                Some((path.strip_suffix("/backend")?.to_owned(), value.clone()))
            })
            .collect();
        for (front, back) in backends {
            let ready = self
                .store
                .get(&format!("{back}/state"))
                .is_some_and(|state| state == "2")
                && self
                    .store
                    .get(&format!("{back}/hotplug-status"))
                    .is_some_and(|status| status == "connected");
            if ready {
                self.store.insert(format!("{front}/state"), "4".into());
                self.store.insert(format!("{back}/state"), "4".into());
                self.grants.insert(back);
            }
        }
    }

    /// What drivers and guests do when xend writes into the store.
    pub fn react(&mut self, path: &str, value: &str) {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (parts.as_slice(), value) {
            // A backend driver takes up a new device.
            (
                [
                    "local",
                    "domain",
                    "0",
                    "backend",
                    kind @ ("vbd" | "vif"),
                    domid,
                    _,
                    "state",
                ],
                "1",
            ) if !self.missing_drivers.contains(*kind) => {
                self.store.insert(path.to_owned(), "2".into());
                // A disk is there at once, an interface when its script is through.
                if let Ok(domid) = domid.parse() {
                    self.run(domid);
                }
            }
            // A guest that runs gives a device back; the driver closes.
            (
                [
                    "local",
                    "domain",
                    "0",
                    "backend",
                    "vbd" | "vif",
                    domid,
                    _,
                    "state",
                ],
                "5",
            ) => {
                let runs = domid
                    .parse()
                    .ok()
                    .and_then(|domid: DomId| self.domains.get(&domid));
                if runs.is_some_and(|domain| {
                    domain.pauses == 0 && domain.exit.is_none() && !domain.dying
                }) {
                    self.store.insert(path.to_owned(), "6".into());
                }
            }
            (
                [
                    "local",
                    "domain",
                    "0",
                    "backend",
                    "vif",
                    domid,
                    _,
                    "hotplug-status",
                ],
                _,
            ) => {
                if let Ok(domid) = domid.parse() {
                    self.run(domid);
                }
            }
            (["local", "domain", domid, "control", "shutdown"], reason) => {
                if let Ok(domid) = domid.parse() {
                    self.asked(domid, reason);
                }
            }
            _ => {}
        }
    }

    fn asked(&mut self, domid: DomId, reason: &str) {
        let exit = match reason {
            "poweroff" | "halt" => Exit::Poweroff,
            "reboot" => Exit::Reboot,
            "suspend" => Exit::Suspend,
            _ => return,
        };
        let Some(domain) = self.domains.get_mut(&domid) else {
            return;
        };
        if domain.pauses == 0 && domain.booted {
            domain.print(&format!("\nThe system is going down ({reason}).\n"));
            self.store.insert(
                format!("/local/domain/{domid}/control/shutdown"),
                String::new(),
            );
            self.exit(domid, exit);
        }
    }

    /// What was typed arrives.
    pub fn typed(&mut self, domid: DomId) {
        let Some(domain) = self.domains.get_mut(&domid) else {
            return;
        };
        let mut exit = None;
        while let Some(byte) = domain.console_in.pop_front() {
            if !matches!(byte, b'\r' | b'\n') {
                domain.console_out.push_back(byte);
                domain.line.push(char::from(byte));
                continue;
            }
            let line = std::mem::take(&mut domain.line);
            match line.trim() {
                "poweroff" => exit = Some(Exit::Poweroff),
                "reboot" => exit = Some(Exit::Reboot),
                "crash" => exit = Some(Exit::Crash),
                "" => domain.print(&format!("\n{PROMPT}")),
                other => domain.print(&format!(
                    "\nsim: {other}: this guest knows poweroff, reboot and crash\n{PROMPT}"
                )),
            }
        }
        if let Some(exit) = exit {
            domain.print("\n");
            self.exit(domid, exit);
        }
    }
}
