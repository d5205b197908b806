//! What a running domain is told: to run, to pause, to end, another name.

use std::sync::Arc;

use serde_json::json;

use super::{Domain, Life, Node};
use crate::blueprint::Device;
use crate::error::{Error, Result};
use crate::state::{Asked, Phase};
use crate::world::{Change, DomId};

impl Node {
    /// Takes back a pause. xend's do not nest, and one that runs goes on running.
    pub(super) fn unpause(&self, domain: &Domain, domid: DomId) -> Result<()> {
        if self.is_paused(domid)? {
            self.site.world.hypervisor.unpause(domid)?;
        }
        let paused = self.is_paused(domid)?; // Somebody else may have paused it, too.
        let mut status = domain.lock();
        if status.phase == Phase::Paused && !paused {
            status.phase = Phase::Running;
        }
        self.domain_event("unpause", &status);
        Ok(())
    }

    pub(super) fn is_paused(&self, domid: DomId) -> Result<bool> {
        let info = self.site.world.hypervisor.domain(domid)?;
        Ok(info.is_some_and(|info| info.paused))
    }

    pub(super) fn pause(&self, domain: &Domain, domid: DomId) -> Result<()> {
        if !self.is_paused(domid)? {
            self.site.world.hypervisor.pause(domid)?;
        }
        let mut status = domain.lock();
        if status.phase == Phase::Running {
            status.phase = Phase::Paused;
        }
        self.domain_event("pause", &status);
        Ok(())
    }

    pub(super) fn shutdown(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        asked: Asked,
    ) -> (Result<Option<Device>>, Life) {
        let status = domain.status();
        if status.phase == Phase::Restarting {
            return match asked {
                Asked::Halt | Asked::Poweroff => self.destroy(domain), // There is only a restart to cancel.
                _ => (Ok(None), Life::On),
            };
        }
        if matches!(status.phase, Phase::Stopped | Phase::Crashed) {
            return (
                Err(Error::conflict(format!(
                    "{} has already ended; destroy it",
                    status.record.blueprint.spec.name
                ))),
                Life::On,
            );
        }
        let asking = match status.record.facts.domid {
            Some(domid) => self.ask(domid, asked),
            None => Err(Error::conflict("the domain is being built")),
        };
        if asking.is_ok() {
            let mut status = domain.lock();
            status.asked = Some(asked);
            if status.phase == Phase::Running {
                status.phase = Phase::ShuttingDown;
            }
            let name = status.record.blueprint.spec.name.to_string();
            let word = format!("{asked:?}").to_lowercase();
            self.event(
                "xend.domain.shutdown",
                json!([name, status.record.facts.domid, word]),
            );
        }
        (asking.map(|()| None), Life::On)
    }

    pub(super) fn ask(&self, domid: DomId, asked: Asked) -> Result<()> {
        let word = match asked {
            Asked::Poweroff | Asked::Halt => "poweroff",
            Asked::Reboot => "reboot",
            Asked::Suspend => "suspend",
        };
        self.site.world.store.apply(&[Change::Write(
            format!("/local/domain/{domid}/control/shutdown"),
            word.into(),
        )])
    }

    pub(super) fn sysrq(&self, domid: DomId, key: char) -> Result<()> {
        self.site.world.store.apply(&[Change::Write(
            format!("/local/domain/{domid}/control/sysrq"),
            key.to_string(),
        )])
    }

    pub(super) fn rename(&self, domain: &Domain, domid: DomId, name: &str) -> Result<()> {
        let name: rexen_config::spec::DomainName = name
            .parse()
            .map_err(|e: rexen_config::spec::SpecError| Error::invalid(e.to_string()))?;
        if self.views()?.iter().any(|view| view.name == name.as_str()) {
            return Err(Error::conflict(format!("vm name clash: {name}")));
        }
        let mut record = domain.status().record;
        record.blueprint.spec.name = name.clone();
        self.site
            .archive
            .record(&*self.site.world.host, domid, &record)?;
        self.site.world.store.apply(&[
            Change::Write(format!("/local/domain/{domid}/name"), name.to_string()),
            Change::Write(format!("/vm/{}/name", domain.uuid), name.to_string()),
        ])?;
        domain.lock().record.blueprint.spec.name = name;
        Ok(())
    }
}
