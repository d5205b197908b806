//! Carries plans out: the journal before each step, undo when one fails, and the end of what was cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rexen_config::spec::InitialCpu;

use crate::blueprint::{Blueprint, Device, DeviceId, VifPlan};
use crate::config::Config;
use crate::console::Consoles;
use crate::error::{Error, Kind, Result};
use crate::journal::{Archive, Ending, Facts, Operation, Record, Restart};
use crate::log::Log;
use crate::plan::Step;
use crate::world::{DomId, World};
use crate::{devices, guest_store};

/// How long a backend may take to take a device up or let it go.
pub const BACKEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a destroyed domain may take until it is gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(30);

/// What plans are carried out on.
#[derive(Clone)]
pub struct Site {
    /// Hypervisor, store and host.
    pub world: Arc<World>,
    /// Console services.
    pub consoles: Arc<Consoles>,
    /// Journals and records.
    pub archive: Archive,
    /// The host's configuration.
    pub config: Arc<Config>,
    /// Where steps are logged.
    pub log: Log,
    /// Held while a loop device or a disk is checked and taken, so that two domains cannot both find it free.
    pub disks: Arc<Mutex<()>>,
}

impl Site {
    /// Carries an operation out; when a step fails, ends it the way the operation says.
    ///
    /// # Errors
    /// What failed first. With `Ending::Back` everything was undone.
    pub fn carry_out(&self, operation: &mut Operation) -> Result<()> {
        let mut first = Ok(());
        while let Some(step) = operation.steps.get(operation.at).cloned() {
            if let Err(error) = self.forward(&step, operation) {
                if error.is_killed() {
                    return Err(error);
                }
                self.log
                    .warning(&format!("{}: {step}: {error}", self.label(operation)));
                if matches!(step, Step::AskBack(_)) {
                    self.archive.close(&*self.world.host, operation)?; // The guest keeps it: nothing has changed.
                    return Err(error);
                }
                if operation.ending == Ending::Back {
                    operation.undoing = true;
                    self.go_back(operation)?;
                    return Err(error);
                }
                first = first.and(Err(error));
            }
            operation.at += 1;
        }
        self.archive.close(&*self.world.host, operation)?;
        first
    }

    /// Ends an operation that was cut off; returns whether it came about.
    ///
    /// # Errors
    /// A step or its undo failed again.
    pub fn end(&self, operation: &mut Operation) -> Result<bool> {
        let only_the_record_is_missing = operation.at + 1 == operation.steps.len();
        if operation.undoing || operation.ending == Ending::Back && !only_the_record_is_missing {
            operation.undoing = true;
            self.go_back(operation)?;
            return Ok(false);
        }
        self.carry_out(operation)?;
        Ok(true)
    }

    fn forward(&self, step: &Step, operation: &mut Operation) -> Result<()> {
        // A loop device that is chosen, and a disk that is checked, must still be free when it is taken.
        let _one_at_a_time = matches!(step, Step::BindBlock(_) | Step::WriteDevice(_))
            .then(|| self.disks.lock().unwrap_or_else(PoisonError::into_inner));
        self.prepare(step, operation)?;
        self.archive.save(&*self.world.host, operation)?;
        let begun = Instant::now();
        self.act(step, operation)?;
        let took = begun.elapsed().as_millis();
        self.log.debug(&format!(
            "{}: {step} elapsed_ms={took}",
            self.label(operation)
        ));
        Ok(())
    }

    /// Undoes from the step under way to the first. A failing undo is logged and does not stop the others.
    fn go_back(&self, operation: &mut Operation) -> Result<()> {
        loop {
            if let Some(undo) = operation.steps.get(operation.at).and_then(Step::undo) {
                self.archive.save(&*self.world.host, operation)?;
                match self.act(&undo, operation) {
                    Err(error) if error.is_killed() => return Err(error),
                    Err(error) => {
                        self.log
                            .error(&format!("{}: {undo}: {error}", self.label(operation)));
                    }
                    Ok(()) => self
                        .log
                        .debug(&format!("{}: {undo}", self.label(operation))),
                }
            }
            if operation.at == 0 {
                break;
            }
            operation.at -= 1;
        }
        self.archive.close(&*self.world.host, operation)
    }

    fn label(&self, operation: &Operation) -> String {
        let domid = operation
            .facts
            .domid
            .map_or_else(String::new, |domid| format!(" domid={domid}"));
        format!(
            "{} name={}{domid} step={}",
            operation.name, operation.blueprint.spec.name, operation.at
        )
    }

    /// Chooses what a step will use, so that the journal knows it before it is used.
    fn prepare(&self, step: &Step, operation: &mut Operation) -> Result<()> {
        if let Step::BindBlock(id) = step
            && let Device::Vbd(vbd) = device_of(&operation.blueprint, id)?
            && vbd.disk.source.kind() == "file"
        {
            let node = self.world.host.free_loop()?;
            operation.facts.nodes.insert(id.devid, node);
        }
        Ok(())
    }

    fn act(&self, step: &Step, operation: &mut Operation) -> Result<()> {
        let Operation {
            blueprint,
            facts,
            restart,
            again,
            ..
        } = operation;
        let World {
            hypervisor,
            store,
            host,
        } = &*self.world;
        let device = |id: &DeviceId| device_of(blueprint, id);
        match step {
            Step::BindBlock(id) => devices::bind_block(&**host, device(id)?, facts),
            Step::UnbindBlock(id) => devices::unbind_block(&**host, device(id)?, facts),
            Step::CreateDomain => {
                facts.domid = Some(hypervisor.create(facts.want, blueprint)?);
                facts.start_time = host.now() as u64;
                Ok(())
            }
            Step::DestroyDomain => self.destroy_domain(blueprint, facts),
            Step::PlaceVcpus => self.place(blueprint, known(facts)?),
            Step::SetShare => self.set_share(blueprint, known(facts)?),
            Step::BuildKernel => {
                let domid = known(facts)?;
                facts.built = hypervisor.build(domid, blueprint)?;
                self.set_clock(blueprint, domid)
            }
            Step::WriteDomain => store.apply(&guest_store::domain(blueprint, facts, known(facts)?)),
            Step::EraseDomain => match facts.domid {
                Some(domid) => store.apply(&guest_store::erase(domid, &blueprint.uuid.to_string())),
                None => Ok(()),
            },
            Step::Introduce => {
                store.introduce(known(facts)?, facts.built.store_mfn, facts.built.store_port)
            }
            Step::Release => match facts.domid {
                Some(domid) => store.release(domid),
                None => Ok(()),
            },
            Step::OpenConsole => self.open_console(blueprint, facts),
            Step::CloseConsole => {
                self.consoles.detach(&blueprint.uuid);
                Ok(())
            }
            Step::WriteDevice(id) => {
                devices::check(&self.world, device(id)?, facts)?;
                store.apply(&devices::entries(&**host, device(id)?, blueprint, facts)?)
            }
            Step::RemoveDevice(id) => match facts.domid {
                Some(domid) => devices::remove(&self.world, id, domid),
                None => Ok(()),
            },
            Step::AwaitBackend(id) => devices::await_backend(&self.world, id, known(facts)?),
            Step::RaiseVif(id) => {
                devices::raise_vif(&self.world, device(id)?, blueprint, known(facts)?)
            }
            Step::LowerVif(id) => match facts.domid {
                Some(domid) => devices::lower_vif(&self.world, device(id)?, blueprint, domid),
                None => Ok(()),
            },
            Step::ChangeVif(to) => {
                store.apply(&devices::change_vif(to, known(facts)?))?;
                blueprint.replace(VifPlan::clone(to));
                Ok(())
            }
            Step::AskBack(id) => devices::ask_back(&self.world, id, known(facts)?),
            Step::Pause => match facts.domid {
                Some(domid) if hypervisor.domain(domid)?.is_some_and(|info| !info.dying) => {
                    hypervisor.pause(domid)
                }
                _ => Ok(()),
            },
            Step::Unpause => match hypervisor.domain(known(facts)?)? {
                Some(info) if info.paused => hypervisor.unpause(info.domid),
                _ => Ok(()),
            },
            Step::Record => {
                let domid = known(facts)?;
                self.write_record(blueprint, facts, *restart, domid)?;
                match facts.want {
                    Some(before) if before != domid => self.archive.forget(&**host, before),
                    _ => Ok(()),
                }
            }
            Step::Forget => match facts.want.or(facts.domid) {
                Some(domid) if *again => self.write_record(
                    blueprint,
                    facts,
                    Restart {
                        pending: true,
                        ..*restart
                    },
                    domid,
                ),
                Some(domid) => self.archive.forget(&**host, domid),
                None => Ok(()),
            },
            Step::Amend => self.write_record(blueprint, facts, *restart, known(facts)?),
            Step::AmendWithout(id) => {
                blueprint.take(id);
                facts.nodes.remove(&id.devid);
                self.write_record(blueprint, facts, *restart, known(facts)?)
            }
        }
    }

    fn write_record(
        &self,
        blueprint: &Blueprint,
        facts: &Facts,
        restart: Restart,
        domid: DomId,
    ) -> Result<()> {
        let record = Record {
            blueprint: blueprint.clone(),
            facts: facts.clone(),
            restart,
        };
        self.archive.record(&*self.world.host, domid, &record)
    }

    /// Destroys the domain of this handle, whatever number it has, and waits until nothing is left of it.
    fn destroy_domain(&self, blueprint: &Blueprint, facts: &Facts) -> Result<()> {
        let hypervisor = &self.world.hypervisor;
        let ours = hypervisor.domains()?.into_iter().find(|info| {
            info.domid != 0
                && (info.uuid == blueprint.uuid.0
                    || blueprint.uuid.0 == [0; 16] && Some(info.domid) == facts.domid)
        });
        let Some(info) = ours else { return Ok(()) };
        hypervisor.destroy(info.domid)?;
        let deadline = Instant::now() + GONE_TIMEOUT;
        while hypervisor
            .domain(info.domid)?
            .is_some_and(|now| now.uuid == info.uuid)
        {
            if Instant::now() > deadline {
                return Err(Error::new(
                    Kind::Timeout,
                    format!(
                        "domain {} is destroyed, but somebody still holds pages of it",
                        info.domid
                    ),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn set_clock(&self, blueprint: &Blueprint, domid: DomId) -> Result<()> {
        let clock = &blueprint.spec.clock;
        let zone = match clock.localtime {
            true => self.world.host.utc_offset()?,
            false => 0,
        };
        match zone + i64::from(clock.offset_s) {
            0 => Ok(()),
            seconds => self.world.hypervisor.set_clock(domid, seconds),
        }
    }

    fn place(&self, blueprint: &Blueprint, domid: DomId) -> Result<()> {
        let cpus = self.world.hypervisor.node()?.cpus.max(1);
        // 2.0 put the only vcpu there without binding it: it had better run there.
        let first = match blueprint.spec.cpu {
            None => None,
            Some(InitialCpu::Cpu(cpu)) => Some(cpu % cpus),
            Some(InitialCpu::LeastUsed) => Some(self.least_used(domid, cpus)?),
        };
        if let Some(cpu) = first {
            let hypervisor = &self.world.hypervisor;
            hypervisor.set_affinity(domid, 0, None, Some(&[cpu]))?;
        }
        for vcpu in 0..blueprint.spec.max_vcpus() {
            let Some(set) = blueprint.spec.affinity(vcpu) else {
                continue;
            };
            let wanted: Vec<u32> = (0..cpus).filter(|cpu| set.contains(*cpu)).collect();
            if wanted.is_empty() {
                return Err(Error::invalid(format!(
                    "cpus={set}: this machine has CPUs 0 to {}",
                    cpus - 1
                )));
            }
            self.world
                .hypervisor
                .set_affinity(domid, vcpu, Some(&wanted), None)?;
        }
        Ok(())
    }

    /// The CPU with the fewest vcpus of other domains.
    fn least_used(&self, domid: DomId, cpus: u32) -> Result<u32> {
        let mut used: BTreeMap<u32, u32> = (0..cpus).map(|cpu| (cpu, 0)).collect();
        for domain in self.world.hypervisor.domains()? {
            for vcpu in (0..domain.vcpus).filter(|_| domain.domid != domid) {
                // It may have ended since.
                let vcpu = self.world.hypervisor.vcpu(domain.domid, vcpu);
                if let Some(vcpu) = vcpu.ok().filter(|vcpu| vcpu.online) {
                    *used.entry(vcpu.cpu).or_default() += 1;
                }
            }
        }
        let least = used.into_iter().min_by_key(|(_, vcpus)| *vcpus);
        Ok(least.map_or(0, |(cpu, _)| cpu))
    }

    fn set_share(&self, blueprint: &Blueprint, domid: DomId) -> Result<()> {
        let Some(weight) = blueprint.spec.cpu_weight else {
            return Ok(());
        };
        // 2.0 made of a weight 10/weight, so that 10 was the most that had an effect, and 1 usual. The credit schedulers
        // count from 1 to 65535, with 256 for usual.
        let usual = if weight > 10.0 { 1.0 } else { 256.0 };
        let mut credit = self.world.hypervisor.credit(domid)?;
        credit.weight = (weight * usual).clamp(1.0, 65535.0) as u16;
        self.world.hypervisor.set_credit(domid, credit)
    }

    fn open_console(&self, blueprint: &Blueprint, facts: &mut Facts) -> Result<()> {
        let domid = known(facts)?;
        let ring = self.world.hypervisor.console(domid, &facts.built)?;
        let port = blueprint.spec.console_port.or(facts.tcp_port);
        let port = self.consoles.attach(
            blueprint.uuid,
            blueprint.spec.name.as_str(),
            domid,
            port,
            ring,
        )?;
        facts.tcp_port = port;
        Ok(())
    }
}

/// A new operation, at its first step.
pub fn operation(
    name: &str,
    ending: Ending,
    steps: Vec<Step>,
    blueprint: Blueprint,
    facts: Facts,
) -> Operation {
    Operation {
        name: name.into(),
        ending,
        steps,
        at: 0,
        undoing: false,
        blueprint,
        facts,
        restart: Restart::default(),
        again: false,
    }
}

fn known(facts: &Facts) -> Result<DomId> {
    facts
        .domid
        .ok_or_else(|| Error::failed("the domain was not created"))
}

fn device_of<'a>(blueprint: &'a Blueprint, id: &DeviceId) -> Result<&'a Device> {
    blueprint
        .devices
        .iter()
        .find(|device| device.id() == *id)
        .ok_or_else(|| Error::not_found(format!("{} has no {id}", blueprint.spec.name)))
}
