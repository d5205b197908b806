//! Makes domains.

use std::sync::Arc;

use rexen_config::spec::{DomainSpec, ExitAction};

use super::task::new_domain;
use super::{Command, Node, View};
use crate::blueprint::{Blueprint, Defaults};
use crate::carry::operation;
use crate::error::{Error, Kind, Result};
use crate::journal::{Ending, Facts, Record, Restart};
use crate::plan;
use crate::state::Phase;

impl Node {
    /// Decides what a specification leaves open, and refuses what cannot be.
    ///
    /// # Errors
    /// Something named does not exist or is not offered.
    pub fn resolve(&self, spec: DomainSpec) -> Result<Blueprint> {
        spec.check().map_err(|e| Error::invalid(e.to_string()))?;
        for action in [
            spec.on_poweroff,
            spec.on_reboot,
            spec.on_crash,
            spec.on_watchdog,
        ]
        .into_iter()
        .flatten()
        {
            if matches!(
                action,
                ExitAction::CoredumpDestroy | ExitAction::CoredumpRestart
            ) {
                return Err(Error::new(
                    Kind::NotImplemented,
                    format!(
                        "{action}: core dumps are not offered yet; use destroy, restart or preserve"
                    ),
                ));
            }
        }
        let host = &*self.site.world.host;
        for file in std::iter::once(&spec.image.kernel).chain(&spec.image.ramdisk) {
            host.check_file(file)?;
        }
        self.with_defaults(|defaults| defaults.resolve(spec))
    }

    pub(super) fn with_defaults<T>(
        &self,
        work: impl FnOnce(&Defaults<'_>) -> Result<T>,
    ) -> Result<T> {
        let domain_named = |name: &str| self.view(name).ok().and_then(|view| view.domid);
        let random = || self.site.world.host.random();
        work(&Defaults {
            config: &self.site.config,
            domain_named: &domain_named,
            random: &random,
        })
    }

    /// Makes a domain, and leaves it paused. Blocks.
    ///
    /// # Errors
    /// The name is taken, or a step failed; then nothing is left of it.
    pub fn create(self: &Arc<Self>, spec: DomainSpec) -> Result<View> {
        let blueprint = self.resolve(spec)?;
        self.make(blueprint, Restart::default())
    }

    pub(super) fn make(self: &Arc<Self>, blueprint: Blueprint, restart: Restart) -> Result<View> {
        let name = blueprint.spec.name.to_string();
        let uuid = blueprint.uuid;
        let taken = self.views()?.iter().any(|view| view.name == name);
        let domain = {
            let mut domains = self.domains();
            let reserved = domains
                .values()
                .any(|domain| domain.status().record.blueprint.spec.name.as_str() == name);
            if taken || reserved {
                return Err(Error::conflict(format!("vm name clash: {name}")));
            }
            if domains.contains_key(&uuid.0) {
                return Err(Error::conflict(format!("uuid {uuid} is in use")));
            }
            let record = Record {
                blueprint: blueprint.clone(),
                facts: Facts::default(),
                restart,
            };
            let (domain, requests) = new_domain(record, Phase::Building);
            domains.insert(uuid.0, domain.clone());
            self.spawn(domain.clone(), requests);
            domain
        };
        let mut building = operation(
            "create",
            Ending::Back,
            plan::create(&blueprint),
            blueprint,
            Facts::default(),
        );
        building.restart = restart;
        match self.site.carry_out(&mut building) {
            Ok(()) => {
                // Looked up while nobody can end it yet.
                let domid = building.facts.domid;
                let info = domid.map_or(Ok(None), |domid| self.site.world.hypervisor.domain(domid));
                let mut status = domain.lock();
                status.record.facts = building.facts;
                status.phase = Phase::Paused;
                let view = View {
                    domid,
                    name: name.clone(),
                    uuid,
                    info: None,
                    status: Some(status.clone()),
                };
                self.domain_event("create", &status);
                self.site
                    .log
                    .info(&format!("domain {domid:?} ({name}) created"));
                drop(status);
                domain.tell(Command::Look);
                info.map(|info| View { info, ..view })
            }
            Err(error) => {
                self.site.consoles.close(&uuid);
                self.domains().remove(&uuid.0);
                Err(error)
            }
        }
    }
}
