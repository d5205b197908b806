//! Domains that others made: what can be known of them and done to them.

use rexen_config::spec::DomainSpec;
use serde_json::json;

use super::{Command, Node, View};
use crate::blueprint::{Blueprint, DeviceId, DeviceKind};
use crate::carry::operation;
use crate::error::{Error, Kind, Result};
use crate::journal::{Ending, Facts};
use crate::plan;
use crate::world::DomId;

impl Node {
    pub(super) fn foreign_name(&self, domid: DomId) -> Result<String> {
        let stored = self
            .site
            .world
            .store
            .read(&format!("/local/domain/{domid}/name"))?;
        Ok(stored
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("Domain-{domid}")))
    }

    /// Orders to domains that others made: what needs no knowledge of how they were made.
    pub(super) fn order_foreign(&self, view: &View, command: Command) -> Result<()> {
        let domid = view.domid.filter(|domid| *domid != 0);
        let domid = domid.ok_or_else(|| {
            Error::new(
                Kind::Forbidden,
                "Domain-0 runs xend itself and cannot be managed by it",
            )
        })?;
        match command {
            Command::Unpause => self.site.world.hypervisor.unpause(domid),
            Command::Pause => self.site.world.hypervisor.pause(domid),
            Command::Shutdown(asked) => self.ask(domid, asked),
            Command::Sysrq(key) => self.sysrq(domid, key),
            Command::Destroy { again: false } => self.destroy_foreign(view, domid),
            Command::Look => Ok(()),
            _ => Err(Error::conflict(format!(
                "{} was not made by this xend, which does not know how to do that to it",
                view.name
            ))),
        }
    }

    pub(super) fn destroy_foreign(&self, view: &View, domid: DomId) -> Result<()> {
        let store = &*self.site.world.store;
        let mut devices = Vec::new();
        for kind in [DeviceKind::Vbd, DeviceKind::Vif] {
            let folder = format!("/local/domain/{domid}/device/{}", kind.word());
            for name in store.list(&folder)? {
                let backend = store
                    .read(&format!("{folder}/{name}/backend-id"))?
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0);
                devices.extend(name.parse().ok().map(|devid| DeviceId {
                    kind,
                    devid,
                    backend,
                }));
            }
        }
        let name = view
            .name
            .parse()
            .or_else(|_| format!("Domain-{domid}").parse());
        let spec = DomainSpec::new(
            name.map_err(|e: rexen_config::spec::SpecError| Error::failed(e.to_string()))?,
            0,
            "",
        );
        let blueprint = Blueprint {
            spec,
            uuid: view.uuid,
            devices: Vec::new(),
        };
        let facts = Facts {
            domid: Some(domid),
            ..Facts::default()
        };
        let steps = plan::destroy_foreign(&devices);
        self.site.carry_out(&mut operation(
            "destroy",
            Ending::Forward,
            steps,
            blueprint,
            facts,
        ))?;
        self.event("xend.domain.destroy", json!([view.name, domid]));
        Ok(())
    }
}
