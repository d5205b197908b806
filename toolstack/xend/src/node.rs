//! All domains of the host: those xend manages, each with a task, and those others made.
//!
//! What a client wants done to a managed domain goes to the domain's task, one thing after another; so nothing here locks a
//! domain while it works on it. What the domain itself does (ending, above all) reaches its task the same way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rexen_config::spec::{DomainSpec, ExitAction, Uuid};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::blueprint::{Blueprint, Defaults, Device, DeviceId, DeviceKind, VifPlan};
use crate::carry::{Site, operation};
use crate::error::{Error, Kind, Result};
use crate::events::Event;
use crate::journal::{Ending, Facts, Record, Restart};
use crate::plan;
use crate::state::{Asked, Order, Phase, after_exit, back_off};
use crate::world::{Change, DomId, DomainInfo};

/// How long one look for ended domains waits for the store's word.
const WATCH_TURN: Duration = Duration::from_secs(60);

/// A request to a domain's task.
#[derive(Clone, Debug)]
pub enum Command {
    /// Let it run.
    Unpause,
    /// Stop its vcpus.
    Pause,
    /// Ask the guest.
    Shutdown(Asked),
    /// Send a SysRq key.
    Sysrq(char),
    /// Destroy it; and make it again.
    Destroy {
        /// Make it again.
        again: bool,
    },
    /// Give it a device.
    Attach(rexen_config::spec::Device),
    /// Take a device.
    Detach {
        /// Which.
        id: DeviceId,
        /// Do not ask the guest.
        force: bool,
    },
    /// Change bridge, script or addresses of an interface.
    Configure {
        /// Which.
        id: DeviceId,
        /// What it shall be; the address and the backend stay.
        to: rexen_config::spec::Vif,
    },
    /// Give it another name.
    Rename(String),
    /// Look whether it has ended.
    Look,
    /// Make it again now.
    Again,
}

struct Request {
    command: Command,
    answer: Option<oneshot::Sender<Result<Option<Device>>>>,
}

/// What is known of a managed domain.
#[derive(Clone, Debug)]
pub struct Status {
    /// Blueprint, facts and restarts.
    pub record: Record,
    /// Where it is in its life.
    pub phase: Phase,
    /// What it was asked last.
    pub asked: Option<Asked>,
    /// When it is made again.
    pub due: Option<Instant>,
}

/// A managed domain.
pub struct Domain {
    uuid: Uuid,
    status: Mutex<Status>,
    requests: mpsc::UnboundedSender<Request>,
}

impl Domain {
    /// What is known of it now.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, command: Command) {
        let _ = self.requests.send(Request {
            command,
            answer: None,
        }); // A domain that is gone needs no telling.
    }
}

/// A domain as clients see it: what the hypervisor says and what xend knows, either of which may be missing.
#[derive(Clone, Debug)]
pub struct View {
    /// Its number.
    pub domid: Option<DomId>,
    /// Its name.
    pub name: String,
    /// Its handle.
    pub uuid: Uuid,
    /// What the hypervisor says.
    pub info: Option<DomainInfo>,
    /// What xend knows, if it manages the domain.
    pub status: Option<Status>,
}

/// The host.
pub struct Node {
    /// Where things are done.
    pub site: Site,
    /// Events for clients.
    pub events: broadcast::Sender<Event>,
    /// When this xend started.
    pub started: Instant,
    domains: Mutex<BTreeMap<[u8; 16], Arc<Domain>>>,
    handle: Handle,
}

/// Whether a domain's task goes on.
enum Life {
    On,
    Over,
}

impl Node {
    /// A host without managed domains; `handle` runs the domains' tasks.
    pub fn new(site: Site, events: broadcast::Sender<Event>, handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            site,
            events,
            started: Instant::now(),
            domains: Mutex::default(),
            handle,
        })
    }

    fn domains(&self) -> MutexGuard<'_, BTreeMap<[u8; 16], Arc<Domain>>> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many domains have a task here.
    pub fn tasks(&self) -> usize {
        self.domains().len()
    }

    fn event(&self, name: &str, value: serde_json::Value) {
        let _ = self.events.send(Event::new(name, value)); // Nobody may be listening.
    }

    fn domain_event(&self, what: &str, status: &Status) {
        let name = status.record.blueprint.spec.name.to_string();
        self.event(
            &format!("xend.domain.{what}"),
            json!([name, status.record.facts.domid]),
        );
    }

    /// Ends what was cut off, adopts the domains that run, and makes those again that wait for it.
    ///
    /// # Errors
    /// The folders of journals and records, or the hypervisor, cannot be read.
    pub fn adopt(self: &Arc<Self>) -> Result<()> {
        let host = &*self.site.world.host;
        self.name_domain0()?;
        let (operations, broken) = self.site.archive.cut_off(host)?;
        for mut operation in operations {
            let name = operation.blueprint.spec.name.clone();
            match self.site.end(&mut operation) {
                Ok(done) => {
                    let how = if done { "finished" } else { "undone" };
                    self.site.log.info(&format!(
                        "{} of {name} was cut off, and is {how} now",
                        operation.name
                    ));
                }
                Err(error) if error.is_killed() => return Err(error),
                Err(error) => self.site.log.error(&format!(
                    "{} of {name} was cut off: {error}",
                    operation.name
                )),
            }
        }
        let (records, broken_records) = self.site.archive.records(host)?;
        for problem in broken.iter().chain(&broken_records) {
            self.site.log.error(&format!("left alone: {problem}"));
        }
        let boot = host.boot_id()?;
        for (domid, record) in records {
            if record.facts.boot != boot {
                self.site.archive.forget(host, domid)?; // The host was rebooted: the domain is no more.
                continue;
            }
            match self.adopt_one(domid, record) {
                Err(error) if error.is_killed() => return Err(error),
                Err(error) => self
                    .site
                    .log
                    .error(&format!("domain {domid} cannot be adopted: {error}")),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Gives domain 0 its place in the store, where its own boot did not: tools look there for its name.
    fn name_domain0(&self) -> Result<()> {
        let store = &*self.site.world.store;
        let mut changes = Vec::new();
        for (key, value) in [("name", "Domain-0"), ("domid", "0")] {
            let path = format!("/local/domain/0/{key}");
            if store.read(&path)?.is_none() {
                changes.push(Change::Write(path, value.into()));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        store.apply(&changes)
    }

    fn adopt_one(self: &Arc<Self>, domid: DomId, mut record: Record) -> Result<()> {
        let uuid = record.blueprint.uuid;
        if record.restart.pending {
            record.facts = Facts {
                want: Some(domid),
                tcp_port: record.facts.tcp_port,
                ..Facts::default()
            };
            self.start_task(record, Phase::Restarting)
                .tell(Command::Again);
            return Ok(());
        }
        let info = self
            .site
            .world
            .hypervisor
            .domain(domid)?
            .filter(|info| info.uuid == uuid.0);
        let Some(info) = info.filter(|info| !info.dying) else {
            self.site.log.info(&format!(
                "domain {domid} ({}) has gone meanwhile",
                record.blueprint.spec.name
            ));
            return self.tear_down(&record, false);
        };
        let facts = &record.facts;
        let name = record.blueprint.spec.name.to_string();
        let ring = self.site.world.hypervisor.console(domid, &facts.built);
        let consoles = &self.site.consoles;
        match ring.and_then(|ring| consoles.attach(uuid, &name, domid, facts.tcp_port, ring)) {
            Err(error) if error.is_killed() => return Err(error),
            // A domain without its console is still to be watched over.
            Err(error) => self.site.log.error(&format!("console of {name}: {error}")),
            Ok(_) => {}
        }
        self.site
            .log
            .info(&format!("domain {domid} ({name}) adopted"));
        // One that has ended meanwhile counts as running until its task has looked at it and applied its policy.
        let phase = if info.shutdown.is_some() {
            Phase::Running
        } else {
            Phase::of(&info)
        };
        self.start_task(record, phase).tell(Command::Look);
        Ok(())
    }

    /// Watches for domains that end, until the store is lost; blocks.
    ///
    /// # Errors
    /// The store or the hypervisor is lost.
    pub fn watch(self: &Arc<Self>) -> Result<()> {
        loop {
            let node = self.clone();
            self.site
                .world
                .store
                .follow("@releaseDomain", WATCH_TURN, &mut || {
                    node.look().map(|()| false)
                })?;
        }
    }

    /// Tells the task of every domain that has ended to look at it.
    ///
    /// # Errors
    /// The hypervisor cannot be asked.
    pub fn look(&self) -> Result<()> {
        let infos = self.site.world.hypervisor.domains()?;
        for domain in self.domains().values() {
            let status = domain.status();
            if !matches!(
                status.phase,
                Phase::Running
                    | Phase::Paused
                    | Phase::ShuttingDown
                    | Phase::Stopped
                    | Phase::Crashed
            ) {
                continue;
            }
            let info = infos.iter().find(|info| {
                info.uuid == domain.uuid.0 && Some(info.domid) == status.record.facts.domid
            });
            let ended = info.is_none_or(|info| info.dying || info.shutdown.is_some());
            let kept = matches!(status.phase, Phase::Stopped | Phase::Crashed)
                && info.is_some_and(|info| !info.dying);
            if ended && !kept {
                domain.tell(Command::Look);
            }
        }
        Ok(())
    }

    /// All domains, by number; those without one last.
    ///
    /// # Errors
    /// Hypervisor or store cannot be asked.
    pub fn views(&self) -> Result<Vec<View>> {
        let infos = self.site.world.hypervisor.domains()?;
        let mut managed: BTreeMap<[u8; 16], Status> = self
            .domains()
            .iter()
            .map(|(uuid, domain)| (*uuid, domain.status()))
            .collect();
        let mut views = Vec::new();
        for info in infos {
            let status = (info.domid != 0)
                .then(|| managed.remove(&info.uuid))
                .flatten();
            let name = match &status {
                Some(status) => status.record.blueprint.spec.name.to_string(),
                None => self.foreign_name(info.domid)?,
            };
            views.push(View {
                domid: Some(info.domid),
                name,
                uuid: Uuid(info.uuid),
                info: Some(info),
                status,
            });
        }
        views.extend(managed.into_iter().map(|(uuid, status)| View {
            domid: status.record.facts.domid.or(status.record.facts.want),
            name: status.record.blueprint.spec.name.to_string(),
            uuid: Uuid(uuid),
            info: None,
            status: Some(status),
        }));
        views.sort_by_key(|view| view.domid.map_or(u32::MAX, u32::from));
        Ok(views)
    }

    fn foreign_name(&self, domid: DomId) -> Result<String> {
        let stored = self
            .site
            .world
            .store
            .read(&format!("/local/domain/{domid}/name"))?;
        Ok(stored
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("Domain-{domid}")))
    }

    /// A domain by number or name.
    ///
    /// # Errors
    /// There is none: `invalid domain:X`.
    pub fn view(&self, wanted: &str) -> Result<View> {
        let number: Option<DomId> = wanted.parse().ok();
        let fits = |view: &View| match number {
            Some(number) => view.domid == Some(number),
            None => view.name == wanted,
        };
        self.views()?
            .into_iter()
            .find(fits)
            .ok_or_else(|| Error::not_found(format!("invalid domain:{wanted}")))
    }

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

    fn with_defaults<T>(&self, work: impl FnOnce(&Defaults<'_>) -> Result<T>) -> Result<T> {
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
        self.make(blueprint, Facts::default())
    }

    fn make(self: &Arc<Self>, blueprint: Blueprint, facts: Facts) -> Result<View> {
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
                facts: facts.clone(),
                restart: Restart::default(),
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
            facts,
        );
        match self.site.carry_out(&mut building) {
            Ok(()) => {
                let mut status = domain.lock();
                status.record.facts = building.facts;
                status.phase = Phase::Paused;
                self.domain_event("create", &status);
                self.site.log.info(&format!(
                    "domain {:?} ({name}) created",
                    status.record.facts.domid
                ));
                drop(status);
                domain.tell(Command::Look);
                self.view(&name)
            }
            Err(error) => {
                self.site.consoles.close(&uuid);
                self.domains().remove(&uuid.0);
                Err(error)
            }
        }
    }

    fn start_task(self: &Arc<Self>, record: Record, phase: Phase) -> Arc<Domain> {
        let (domain, requests) = new_domain(record, phase);
        self.domains().insert(domain.uuid.0, domain.clone());
        self.spawn(domain.clone(), requests);
        domain
    }

    fn spawn(self: &Arc<Self>, domain: Arc<Domain>, requests: mpsc::UnboundedReceiver<Request>) {
        self.handle.spawn(live(
            Arc::downgrade(self),
            Arc::downgrade(&domain),
            requests,
        ));
    }

    /// Has a domain's task do something, and waits for it. Blocks.
    ///
    /// # Errors
    /// There is no such domain, xend does not manage it, or it fails.
    pub fn order(self: &Arc<Self>, wanted: &str, command: Command) -> Result<Option<Device>> {
        let view = self.view(wanted)?;
        let domain = self
            .domains()
            .get(&view.uuid.0)
            .cloned()
            .filter(|_| view.status.is_some());
        let Some(domain) = domain else {
            return self.order_foreign(&view, command).map(|()| None);
        };
        let (answer, answered) = oneshot::channel();
        let request = Request {
            command,
            answer: Some(answer),
        };
        let gone = || Error::not_found(format!("invalid domain:{wanted}"));
        domain.requests.send(request).map_err(|_| gone())?;
        answered.blocking_recv().map_err(|_| gone())?
    }

    /// Orders to domains that others made: what needs no knowledge of how they were made.
    fn order_foreign(&self, view: &View, command: Command) -> Result<()> {
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

    fn destroy_foreign(&self, view: &View, domid: DomId) -> Result<()> {
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

    fn ask(&self, domid: DomId, asked: Asked) -> Result<()> {
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

    fn sysrq(&self, domid: DomId, key: char) -> Result<()> {
        self.site.world.store.apply(&[Change::Write(
            format!("/local/domain/{domid}/control/sysrq"),
            key.to_string(),
        )])
    }

    /// One request to a domain's task; blocks.
    fn handle(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        command: Command,
    ) -> (Result<Option<Device>>, Life) {
        let done = |result: Result<()>| (result.map(|()| None), Life::On);
        let status = domain.status();
        let domid = || {
            let domid = status
                .record
                .facts
                .domid
                .filter(|_| !matches!(status.phase, Phase::Building | Phase::Restarting));
            domid.ok_or_else(|| {
                Error::conflict(format!(
                    "{} is {}",
                    status.record.blueprint.spec.name,
                    status.phase.word()
                ))
            })
        };
        match command {
            Command::Unpause => done(domid().and_then(|domid| self.unpause(domain, domid))),
            Command::Pause => done(domid().and_then(|domid| self.pause(domain, domid))),
            Command::Shutdown(asked) => self.shutdown(domain, asked),
            Command::Sysrq(key) => done(domid().and_then(|domid| self.sysrq(domid, key))),
            // The one who builds it would not notice.
            Command::Destroy { .. } if status.phase == Phase::Building => done(domid().map(drop)),
            Command::Destroy { again: true } => self.restart(domain),
            Command::Destroy { again: false } => self.destroy(domain),
            Command::Attach(device) => (
                domid().and_then(|_| self.attach(domain, device)).map(Some),
                Life::On,
            ),
            Command::Detach { id, force } => {
                done(domid().and_then(|_| self.detach(domain, id, force)))
            }
            Command::Configure { id, to } => {
                let changed = domid().and_then(|_| self.configure(domain, id, to));
                (changed.map(Some), Life::On)
            }
            Command::Rename(name) => {
                done(domid().and_then(|domid| self.rename(domain, domid, &name)))
            }
            Command::Look => self.look_at(domain),
            Command::Again => self.make_again(domain),
        }
    }

    /// Takes back a pause. xend's do not nest, and one that runs goes on running.
    fn unpause(&self, domain: &Domain, domid: DomId) -> Result<()> {
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

    fn is_paused(&self, domid: DomId) -> Result<bool> {
        let info = self.site.world.hypervisor.domain(domid)?;
        Ok(info.is_some_and(|info| info.paused))
    }

    fn pause(&self, domain: &Domain, domid: DomId) -> Result<()> {
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

    fn shutdown(
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

    fn destroy(&self, domain: &Domain) -> (Result<Option<Device>>, Life) {
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
    fn tear_down(&self, record: &Record, again: bool) -> Result<()> {
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
    fn restart(self: &Arc<Self>, domain: &Arc<Domain>) -> (Result<Option<Device>>, Life) {
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

    fn restart_event(&self, status: &Status, what: &str) {
        let facts = &status.record.facts;
        let name = status.record.blueprint.spec.name.to_string();
        self.event(
            "xend.domain.restart",
            json!([name, facts.domid.or(facts.want), what]),
        );
    }

    fn make_again(&self, domain: &Domain) -> (Result<Option<Device>>, Life) {
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

    fn look_at(self: &Arc<Self>, domain: &Arc<Domain>) -> (Result<Option<Device>>, Life) {
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
                (self.rename_restart(domain, domid).map(|()| None), Life::On)
            }
        }
    }

    /// Leaves an ended domain under another name and handle-less of devices, and makes it anew.
    fn rename_restart(self: &Arc<Self>, domain: &Arc<Domain>, domid: DomId) -> Result<()> {
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
        let view = self.make(anew, Facts::default())?;
        let made = self.domains().get(&view.uuid.0).cloned();
        match (made, view.domid) {
            (Some(made), Some(domid)) => self.unpause(&made, domid),
            _ => Ok(()),
        }
    }

    fn attach(&self, domain: &Domain, device: rexen_config::spec::Device) -> Result<Device> {
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

    fn configure(
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

    fn detach(&self, domain: &Domain, id: DeviceId, force: bool) -> Result<()> {
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

    fn rename(&self, domain: &Domain, domid: DomId, name: &str) -> Result<()> {
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

fn new_domain(record: Record, phase: Phase) -> (Arc<Domain>, mpsc::UnboundedReceiver<Request>) {
    let (sender, requests) = mpsc::unbounded_channel();
    let uuid = record.blueprint.uuid;
    let status = Status {
        record,
        phase,
        asked: None,
        due: None,
    };
    (
        Arc::new(Domain {
            uuid,
            status: Mutex::new(status),
            requests: sender,
        }),
        requests,
    )
}

/// The task of a domain: serves requests and restarts until the domain is gone or xend ends.
async fn live(
    node: std::sync::Weak<Node>,
    domain: std::sync::Weak<Domain>,
    mut requests: mpsc::UnboundedReceiver<Request>,
) {
    loop {
        let due = match domain.upgrade() {
            Some(domain) => domain.status().due,
            None => return,
        };
        let alarm = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let request = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => request,
                None => return,
            },
            () = alarm => Request { command: Command::Again, answer: None },
        };
        let (Some(node), Some(domain)) = (node.upgrade(), domain.upgrade()) else {
            return;
        };
        let worker = (node.clone(), domain.clone(), request.command);
        let worked =
            tokio::task::spawn_blocking(move || worker.0.handle(&worker.1, worker.2)).await;
        let (result, life) =
            worked.unwrap_or_else(|error| (Err(Error::failed(error.to_string())), Life::On));
        if let Err(error) = &result
            && request.answer.is_none()
            && !error.is_killed()
        {
            node.site.log.error(&format!(
                "{}: {error}",
                domain.status().record.blueprint.spec.name
            ));
        }
        if matches!(life, Life::Over) {
            node.domains().remove(&domain.uuid.0);
        }
        if let Some(answer) = request.answer {
            let _ = answer.send(result); // The client may be gone.
        }
        if matches!(life, Life::Over) {
            return;
        }
    }
}
