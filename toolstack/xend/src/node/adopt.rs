//! Finds what an earlier xend left, and watches for domains that end.

use std::sync::Arc;
use std::time::Duration;

use super::{Command, Node};
use crate::error::Result;
use crate::journal::{Facts, Record};
use crate::state::Phase;
use crate::world::{Change, DomId};

/// How long one look for ended domains waits for the store's word.
const WATCH_TURN: Duration = Duration::from_secs(60);

impl Node {
    /// Ends what was cut off, adopts the domains that run, and makes those again that wait for it.
    ///
    /// # Errors
    /// The folders of journals and records, or the hypervisor, cannot be read.
    pub fn adopt(self: &Arc<Self>) -> Result<()> {
        let host = &*self.site.world.host;
        self.name_domain0()?;
        self.site.archive.begin(host)?;
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
        for (domid, record) in records {
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
    pub(super) fn name_domain0(&self) -> Result<()> {
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

    pub(super) fn adopt_one(self: &Arc<Self>, domid: DomId, mut record: Record) -> Result<()> {
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
}
