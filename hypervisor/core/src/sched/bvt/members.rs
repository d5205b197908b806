//! Vcpus and their domains come and go.

use super::state::{Entry, Group, Place, State};
use super::virtual_time::{Rate, Virtual};
use crate::sched::cpus::{both, first_from};
use crate::sched::{Affinity, Params, SchedError, SchedId, VcpuRef};
use crate::units::{CpuId, CpuMask, DomId, MAX_CPUS, Nanos};

impl State {
    pub fn cpu_online(&mut self, cpu: CpuId) {
        self.online = CpuMask(self.online.0 | CpuMask::one(cpu).0);
    }

    pub fn insert(&mut self, who: VcpuRef, hard: CpuMask) -> Result<SchedId, SchedError> {
        let allowed = both(hard, self.online);
        // Vcpus start out spread over the CPUs that they may use.
        let first = CpuId(who.vcpu.0 % MAX_CPUS as u32);
        let home = first_from(allowed, first).ok_or(SchedError::NoCpu)?;
        // What is needed later is had before anything changes: no other call may run out of memory.
        let nr_vcpus = self.entries.len() + 1;
        let room = |have: usize| nr_vcpus.saturating_sub(have);
        self.entries
            .try_reserve(1)
            .and(self.free.try_reserve(room(self.free.len())))
            .and(self.queue.try_reserve(room(self.queue.len())))
            .and(self.groups.try_reserve(1))
            .map_err(|_| SchedError::NoMemory)?;
        let index = match self.free.last() {
            Some(index) => *index,
            None => u32::try_from(self.entries.len()).map_err(|_| SchedError::NoMemory)?,
        };
        let group = self.join(who.dom);
        let entry = Entry {
            who: Some(who),
            group,
            affinity: Affinity {
                hard,
                ..Affinity::ANY
            },
            awake: false,
            place: Place::Nowhere,
            on_cpu: None,
            home,
            actual: self.level_of(home),
            warped: false,
            warped_for: 0,
            unwarped_at: Nanos(0),
            eager: false,
        };
        match self.entries.get_mut(index as usize) {
            Some(old) => {
                *old = entry;
                self.free.pop();
            }
            None => self.entries.push(entry),
        }
        Ok(SchedId(index))
    }

    pub fn remove(&mut self, id: SchedId) -> Result<(), SchedError> {
        let entry = self.entry(id).ok_or(SchedError::NoVcpu)?;
        if entry.awake || entry.place != Place::Nowhere || entry.on_cpu.is_some() {
            return Err(SchedError::Busy);
        }
        entry.who = None;
        let group = entry.group;
        self.free.push(id.0);
        if let Some(group) = self.groups.get_mut(group) {
            group.nr_vcpus -= 1;
            if group.nr_vcpus == 0 {
                group.dom = None;
            }
        }
        Ok(())
    }

    /// One more vcpu of `dom`; gives the index of its group.
    fn join(&mut self, dom: DomId) -> usize {
        let known = self.groups.iter().position(|g| g.dom == Some(dom));
        let known = known.or_else(|| {
            let fresh = Group {
                dom: Some(dom),
                params: Params::default(),
                rate: Rate::of(&Params::default()),
                nr_vcpus: 0,
                nr_awake: 0,
            };
            let free = self.groups.iter().position(|g| g.dom.is_none());
            let index = free.unwrap_or(self.groups.len());
            match self.groups.get_mut(index) {
                Some(group) => *group = fresh,
                // There is room.
                None => self.groups.push(fresh),
            }
            Some(index)
        });
        let index = known.unwrap_or_default();
        if let Some(group) = self.groups.get_mut(index) {
            group.nr_vcpus += 1;
        }
        index
    }

    pub fn params(&self, dom: DomId) -> Result<Params, SchedError> {
        let group = self.groups.iter().find(|group| group.dom == Some(dom));
        Ok(group.ok_or(SchedError::NoVcpu)?.params)
    }

    pub fn set_params(&mut self, dom: DomId, params: &Params) -> Result<(), SchedError> {
        let mut groups = self.groups.iter_mut();
        let group = groups.find(|group| group.dom == Some(dom));
        let group = group.ok_or(SchedError::NoVcpu)?;
        (group.params, group.rate) = (*params, Rate::of(params));
        Ok(())
    }

    fn level_of(&self, cpu: CpuId) -> Virtual {
        self.cpus[cpu.0 as usize % MAX_CPUS].level
    }
}
