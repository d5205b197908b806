//! All domains of the host: those xend manages, each with a task, and those others made.
//!
//! What a client wants done to a managed domain goes to the domain's task, one thing after another; so nothing here locks a
//! domain while it works on it. What the domain itself does (ending, above all) reaches its task the same way.

mod adopt;
mod devices;
mod ends;
mod foreign;
mod make;
mod orders;
mod task;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rexen_config::spec::Uuid;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc};

use crate::blueprint::DeviceId;
use crate::carry::Site;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::journal::Record;
use crate::state::{Asked, Phase};
use crate::world::{DomId, DomainInfo};
use task::{Life, Request};

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
}
