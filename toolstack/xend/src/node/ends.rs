//! The end of a domain, and its next life.

use std::sync::Arc;
use std::time::Instant;

use rexen_config::spec::{ExitAction, Uuid};
use serde_json::json;

use super::{Command, Domain, Life, Node, Status};
use crate::blueprint::Device;
use crate::carry::operation;
use crate::error::{Error, Result};
use crate::journal::{Ending, Facts, Record, Restart};
use crate::plan;
use crate::state::{Order, Phase, after_exit, back_off, in_series};
use crate::world::{DomId, DomainInfo};

impl Node {
    pub(super) fn destroy(&self, domain: &Domain) -> (Result<Option<Device>>, Life) {
        let status = {
            let mut status = domain.lock();
            status.phase = Phase::Dying;
            status.due = None;
            status.clone()
        };
        let result = self.tear_down(&status.record, false);
        if result.as_ref().is_err_and(Error::is_killed) {
            return (result.map(|()| None), Life::Over);
        }
        self.site.consoles.close(&domain.uuid);
        self.domain_event("destroy", &status);
        self.domain_event("died", &status);
        self.site.log.info(&format!(
            "domain {:?} ({}) destroyed",
            status.record.facts.domid, status.record.blueprint.spec.name
        ));
        (result.map(|()| None), Life::Over)
    }

    /// Carries the destruction out; `again` leaves a record that it is to be made again.
    pub(super) fn tear_down(&self, record: &Record, again: bool) -> Result<()> {
        let blueprint = record.blueprint.clone();
        let steps = plan::destroy(&blueprint);
        let mut ending = operation(
            "destroy",
            Ending::Forward,
            steps,
            blueprint,
            record.facts.clone(),
        );
        ending.restart = record.restart;
        ending.again = again;
        self.site.carry_out(&mut ending)
    }

    /// Destroys a domain and has it made again, at once or after a while.
    pub(super) fn restart(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
    ) -> (Result<Option<Device>>, Life) {
        let now = self.site.world.host.now() as u64;
        let (status, wait) = {
            let mut status = domain.lock();
            let (wait, restart) = back_off(&status.record.restart, now);
            status.record.restart = restart;
            status.phase = Phase::Restarting;
            status.asked = None;
            (status.clone(), wait)
        };
        self.restart_event(&status, "schedule");
        if let Err(error) = self.tear_down(&status.record, true) {
            if error.is_killed() {
                return (Err(error), Life::Over);
            }
            self.site
                .log
                .error(&format!("{}: {error}", status.record.blueprint.spec.name));
        }
        {
            let mut locked = domain.lock();
            let before = locked.record.facts.clone();
            locked.record.facts = Facts {
                want: before.domid.or(before.want),
                tcp_port: before.tcp_port,
                ..Facts::default()
            };
            locked.due = Some(Instant::now() + wait);
        }
        if wait.is_zero() {
            self.make_again(domain)
        } else {
            (Ok(None), Life::On)
        }
    }

    pub(super) fn restart_event(&self, status: &Status, what: &str) {
        let facts = &status.record.facts;
        let name = status.record.blueprint.spec.name.to_string();
        self.event(
            "xend.domain.restart",
            json!([name, facts.domid.or(facts.want), what]),
        );
    }

    pub(super) fn make_again(&self, domain: &Domain) -> (Result<Option<Device>>, Life) {
        let status = domain.status();
        if status.phase != Phase::Restarting {
            return (Ok(None), Life::On);
        }
        self.restart_event(&status, "begin");
        let Record {
            blueprint,
            facts,
            restart,
        } = status.record.clone();
        let mut building = operation(
            "restart",
            Ending::Back,
            plan::create_again(&blueprint),
            blueprint,
            facts,
        );
        building.again = true;
        building.restart = Restart {
            pending: false,
            last: self.site.world.host.now() as u64,
            ..restart
        };
        let made = self.site.carry_out(&mut building);
        match made {
            Ok(()) => {
                let mut locked = domain.lock();
                locked.record.facts = building.facts;
                locked.record.facts.want = None;
                locked.record.restart = building.restart;
                locked.phase = Phase::Running;
                locked.due = None;
                drop(locked);
                domain.tell(Command::Look); // It may have ended already.
                self.restart_event(&domain.status(), "success");
                (Ok(None), Life::On)
            }
            Err(error) if error.is_killed() => (Err(error), Life::Over),
            Err(error) => {
                let mut locked = domain.lock();
                let now = self.site.world.host.now() as u64;
                let (wait, next) = back_off(
                    &Restart {
                        last: now,
                        ..restart
                    },
                    now,
                );
                locked.record.restart = next;
                locked.due = Some(Instant::now() + wait);
                drop(locked);
                self.restart_event(&status, "fail");
                self.site.log.error(&format!(
                    "restart of {}: {error}; next try in {} s",
                    status.record.blueprint.spec.name,
                    wait.as_secs()
                ));
                (Err(error), Life::On)
            }
        }
    }

    pub(super) fn look_at(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
    ) -> (Result<Option<Device>>, Life) {
        let status = domain.status();
        if matches!(
            status.phase,
            Phase::Building | Phase::Restarting | Phase::Dying
        ) {
            return (Ok(None), Life::On);
        }
        let Some(domid) = status.record.facts.domid else {
            return (Ok(None), Life::On);
        };
        let info = match self.site.world.hypervisor.domain(domid) {
            Ok(info) => info.filter(|info| info.uuid == domain.uuid.0),
            Err(error) => return (Err(error), Life::On),
        };
        let exit = match info {
            None | Some(DomainInfo { dying: true, .. }) => return self.destroy(domain), // Somebody else destroyed it.
            Some(DomainInfo { shutdown: None, .. }) => return (Ok(None), Life::On),
            Some(DomainInfo {
                shutdown: Some(exit),
                ..
            }) => exit,
        };
        if matches!(status.phase, Phase::Stopped | Phase::Crashed) {
            return (Ok(None), Life::On);
        }
        let spec = &status.record.blueprint.spec;
        self.event(
            "xend.domain.exit",
            json!([spec.name.to_string(), domid, exit.word()]),
        );
        self.site.log.info(&format!(
            "domain {domid} ({}) ended: {}",
            spec.name,
            exit.word()
        ));
        match after_exit(spec, exit, status.asked) {
            Order::Destroy => self.destroy(domain),
            Order::Restart => self.restart(domain),
            Order::Preserve => {
                domain.lock().phase = if exit.is_crash() {
                    Phase::Crashed
                } else {
                    Phase::Stopped
                };
                (Ok(None), Life::On)
            }
            Order::RenameRestart => {
                domain.lock().phase = if exit.is_crash() {
                    Phase::Crashed
                } else {
                    Phase::Stopped
                };
                let now = self.site.world.host.now() as u64;
                if in_series(&status.record.restart, now) {
                    // Each life leaves a domain behind: a guest that always ends at once would fill the memory.
                    self.site.log.error(&format!(
                        "{} restarts too fast: it is kept and not made again",
                        spec.name
                    ));
                    return (Ok(None), Life::On);
                }
                (self.rename_restart(domain, domid).map(|()| None), Life::On)
            }
        }
    }

    /// Leaves an ended domain under another name and handle-less of devices, and makes it anew.
    pub(super) fn rename_restart(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        domid: DomId,
    ) -> Result<()> {
        let status = domain.status();
        let mut anew = status.record.blueprint.clone();
        for device in &status.record.blueprint.devices {
            self.detach(domain, device.id(), true)?;
        }
        self.site.consoles.close(&domain.uuid);
        {
            let spec = &mut domain.lock().record.blueprint.spec;
            let keep = Some(ExitAction::Preserve); // The next xend shall not restart it once more.
            (spec.on_poweroff, spec.on_reboot) = (keep, keep);
            (spec.on_crash, spec.on_watchdog) = (keep, keep);
        }
        self.rename(
            domain,
            domid,
            &format!("{}-{domid}", status.record.blueprint.spec.name),
        )?;
        anew.uuid = Uuid::from_random(self.site.world.host.random());
        anew.spec.uuid = Some(anew.uuid);
        let restart = Restart {
            last: self.site.world.host.now() as u64,
            ..Restart::default()
        };
        let view = self.make(anew, restart)?;
        let made = self.domains().get(&view.uuid.0).cloned();
        match (made, view.domid) {
            (Some(made), Some(domid)) => self.unpause(&made, domid),
            _ => Ok(()),
        }
    }
}
