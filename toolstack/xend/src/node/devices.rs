//! Devices of a running domain: given, changed and taken.

use super::{Domain, Node};
use crate::blueprint::{Device, DeviceId, VifPlan};
use crate::carry::operation;
use crate::error::{Error, Kind, Result};
use crate::journal::{Ending, Record};
use crate::plan;

impl Node {
    pub(super) fn attach(
        &self,
        domain: &Domain,
        device: rexen_config::spec::Device,
    ) -> Result<Device> {
        let record = domain.status().record;
        let mut blueprint = record.blueprint.clone();
        let device = self.with_defaults(|defaults| match device {
            rexen_config::spec::Device::Disk(disk) => Ok(Device::Vbd(defaults.vbd(disk)?)),
            rexen_config::spec::Device::Vif(vif) => {
                Ok(Device::Vif(defaults.vif(vif, blueprint.next_vif())?))
            }
            rexen_config::spec::Device::Pci(_) => Err(Error::new(
                Kind::NotImplemented,
                "pci devices are not offered yet",
            )),
        })?;
        let id = device.id();
        if blueprint.devices.iter().any(|other| other.id() == id) {
            return Err(Error::conflict(format!(
                "{} already has {id}",
                blueprint.spec.name
            )));
        }
        blueprint.add(device.clone());
        let mut attaching = operation(
            "attach",
            Ending::Back,
            plan::attach(&device),
            blueprint,
            record.facts,
        );
        attaching.restart = record.restart;
        self.site.carry_out(&mut attaching)?;
        let mut status = domain.lock();
        status.record.blueprint = attaching.blueprint;
        status.record.facts = attaching.facts;
        Ok(device)
    }

    pub(super) fn configure(
        &self,
        domain: &Domain,
        id: DeviceId,
        mut to: rexen_config::spec::Vif,
    ) -> Result<Device> {
        let record = domain.status().record;
        let mut devices = record.blueprint.devices.iter();
        let Some(Device::Vif(from)) = devices.find(|device| device.id() == id) else {
            return Err(Error::not_found(format!(
                "{} has no {id}",
                record.blueprint.spec.name
            )));
        };
        if to.mac.is_some() && to.mac != from.vif.mac {
            return Err(Error::invalid("cannot change mac"));
        }
        if to.backend.is_some() && to.backend != from.vif.backend {
            return Err(Error::invalid("cannot change backend"));
        }
        // What is not named stays; 2.0 let the first three change.
        to = rexen_config::spec::Vif {
            bridge: to.bridge.or_else(|| from.vif.bridge.clone()),
            script: to.script.or_else(|| from.vif.script.clone()),
            ip: if to.ip.is_empty() {
                from.vif.ip.clone()
            } else {
                to.ip
            },
            rate: to.rate.or(from.vif.rate),
            ..from.vif.clone()
        };
        let to = self.with_defaults(|defaults| defaults.vif(to, from.devid))?;
        let change = |record: Record, from: &VifPlan, to: VifPlan| {
            let steps = plan::configure(id, from, to.clone());
            let mut changing = operation(
                "configure",
                Ending::Forward,
                steps,
                record.blueprint,
                record.facts,
            );
            changing.restart = record.restart;
            let result = self.site.carry_out(&mut changing);
            domain.lock().record.blueprint = changing.blueprint;
            result.map(|()| Device::Vif(to))
        };
        let changed = change(record.clone(), from, to.clone());
        if changed.as_ref().is_err_and(|error| !error.is_killed()) {
            let back = change(domain.status().record, &to, from.clone());
            if let Err(error) = back {
                self.site
                    .log
                    .error(&format!("{id} cannot be set back: {error}"));
            }
        }
        changed
    }

    pub(super) fn detach(&self, domain: &Domain, id: DeviceId, force: bool) -> Result<()> {
        let record = domain.status().record;
        let blueprint = record.blueprint;
        let device = blueprint
            .devices
            .iter()
            .find(|device| device.id() == id)
            .cloned();
        let device = device
            .ok_or_else(|| Error::not_found(format!("{} has no {id}", blueprint.spec.name)))?;
        let mut detaching = operation(
            "detach",
            Ending::Forward,
            plan::detach(&device, force),
            blueprint,
            record.facts,
        );
        detaching.restart = record.restart;
        self.site.carry_out(&mut detaching)?;
        let mut status = domain.lock();
        status.record.blueprint = detaching.blueprint;
        status.record.facts = detaching.facts;
        Ok(())
    }
}
