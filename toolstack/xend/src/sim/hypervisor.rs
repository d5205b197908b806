//! The simulated hypervisor.

use std::sync::Arc;
use std::time::Duration;

use super::{CPUS, MEMORY_MIB, Machine, SimDomain};
use crate::blueprint::Blueprint;
use crate::error::{Error, Result};
use crate::world::{
    Built, ConsoleRing, Credit, DomId, DomainInfo, Hypervisor, NodeInfo, VcpuInfo, Waker,
};

pub struct SimHypervisor(pub Arc<Machine>);

const DEFAULT_CREDIT: Credit = Credit {
    weight: 256,
    cap: 0,
};

impl Hypervisor for SimHypervisor {
    fn node(&self) -> Result<NodeInfo> {
        let inner = self.0.look()?;
        Ok(NodeInfo {
            cpus: CPUS,
            nodes: 1,
            cores_per_socket: CPUS,
            threads_per_core: 1,
            cpu_khz: 2_000_000,
            memory_mib: MEMORY_MIB,
            free_mib: inner.free_mib(),
            version: (4, 17, ".sim".into()),
            caps: "xen-3.0-x86_64".into(),
            scheduler: "credit".into(),
            changeset: "simulated".into(),
            command_line: "simulated".into(),
            compile: ["rustc", "xend", "localdomain", "today"].map(str::to_owned),
        })
    }

    fn domains(&self) -> Result<Vec<DomainInfo>> {
        Ok(self
            .0
            .look()?
            .domains
            .iter()
            .map(|(domid, domain)| info(*domid, domain))
            .collect())
    }

    fn domain(&self, domid: DomId) -> Result<Option<DomainInfo>> {
        Ok(self
            .0
            .look()?
            .domains
            .get(&domid)
            .map(|domain| info(domid, domain)))
    }

    fn vcpu(&self, domid: DomId, vcpu: u32) -> Result<VcpuInfo> {
        let mut inner = self.0.look()?;
        let domain = inner.domain(domid)?;
        if vcpu >= domain.vcpus {
            return Err(Error::not_found(format!(
                "domain {domid} has no vcpu {vcpu}"
            )));
        }
        Ok(VcpuInfo {
            cpu: vcpu % CPUS,
            online: vcpu < domain.online,
            blocked: domain.exit.is_none(),
            running: false,
            cpu_time_ns: domain.cpu_time_ns / u64::from(domain.vcpus.max(1)),
            affinity: domain
                .affinity
                .get(&vcpu)
                .cloned()
                .unwrap_or_else(|| (0..CPUS).collect()),
            soft_affinity: domain
                .soft_affinity
                .get(&vcpu)
                .cloned()
                .unwrap_or_else(|| (0..CPUS).collect()),
        })
    }

    fn create(&self, want: Option<DomId>, blueprint: &Blueprint) -> Result<DomId> {
        let mut inner = self.0.change("create")?;
        let domid = inner.free_domid(want);
        let domain = SimDomain {
            uuid: blueprint.uuid.0,
            pauses: 1,
            vcpus: blueprint.spec.max_vcpus(),
            online: blueprint.spec.vcpus,
            ..SimDomain::default()
        };
        inner.domains.insert(domid, domain);
        Ok(domid)
    }

    fn destroy(&self, domid: DomId) -> Result<()> {
        self.0.change("destroy")?.destroy(domid);
        self.0.notify();
        Ok(())
    }

    fn pause(&self, domid: DomId) -> Result<()> {
        self.0.change("pause")?.domain(domid)?.pauses += 1;
        Ok(())
    }

    fn unpause(&self, domid: DomId) -> Result<()> {
        let mut inner = self.0.change("unpause")?;
        let domain = inner.domain(domid)?;
        domain.pauses = domain
            .pauses
            .checked_sub(1)
            .ok_or_else(|| Error::invalid(format!("domain {domid} is not paused (EINVAL)")))?;
        inner.run(domid);
        drop(inner);
        self.0.notify();
        Ok(())
    }

    fn set_max_mem(&self, domid: DomId, kib: u64) -> Result<()> {
        self.0.change("set_max_mem")?.domain(domid)?.max_kib = kib;
        Ok(())
    }

    fn set_affinity(
        &self,
        domid: DomId,
        vcpu: u32,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Result<()> {
        let mut inner = self.0.change("set_affinity")?;
        let domain = inner.domain(domid)?;
        domain
            .affinity
            .extend(hard.map(|cpus| (vcpu, cpus.to_vec())));
        domain
            .soft_affinity
            .extend(soft.map(|cpus| (vcpu, cpus.to_vec())));
        Ok(())
    }

    fn credit(&self, domid: DomId) -> Result<Credit> {
        Ok(self
            .0
            .look()?
            .domain(domid)?
            .credit
            .unwrap_or(DEFAULT_CREDIT))
    }

    fn set_credit(&self, domid: DomId, credit: Credit) -> Result<()> {
        self.0.change("set_credit")?.domain(domid)?.credit = Some(credit);
        Ok(())
    }

    fn build(&self, domid: DomId, blueprint: &Blueprint) -> Result<Built> {
        let mut inner = self.0.change("build")?;
        let free = inner.free_mib();
        let wanted = blueprint.spec.memory_mib;
        if wanted > free {
            return Err(Error::conflict(format!(
                "{}: needs {wanted} MiB of memory, {free} MiB are free (ENOMEM)",
                blueprint.spec.name
            )));
        }
        let domain = inner.domain(domid)?;
        domain.memory_kib = wanted * 1024;
        domain.max_kib = blueprint.spec.maxmem_mib() * 1024;
        domain.built = true;
        domain.ports = 2;
        let frame = u64::from(domid);
        Ok(Built {
            store_mfn: 0x1000 + frame,
            store_port: 1,
            console_mfn: 0x2000 + frame,
            console_port: 2,
        })
    }

    fn set_clock(&self, domid: DomId, seconds: i64) -> Result<()> {
        self.0.change("set_clock")?.domain(domid)?.clock_s = seconds;
        Ok(())
    }

    fn console(&self, domid: DomId, _built: &Built) -> Result<Box<dyn ConsoleRing>> {
        let mut inner = self.0.change("console")?;
        inner.domain(domid)?;
        inner.rings += 1;
        Ok(Box::new(SimRing {
            machine: self.0.clone(),
            domid,
            seen: 0,
        }))
    }

    fn trigger(&self, domid: DomId, what: &str, _vcpu: u32) -> Result<()> {
        self.0.change(what)?.domain(domid)?;
        Ok(())
    }

    fn dmesg(&self) -> Result<String> {
        Ok(self.0.look()?.dmesg.clone())
    }

    fn clear_dmesg(&self) -> Result<()> {
        self.0.change("clear_dmesg")?.dmesg.clear();
        Ok(())
    }

    fn debug_keys(&self, keys: &str) -> Result<()> {
        self.0.change("debug_keys")?.dmesg += &format!("(XEN) '{keys}' pressed\n");
        Ok(())
    }
}

fn info(domid: DomId, domain: &SimDomain) -> DomainInfo {
    DomainInfo {
        domid,
        uuid: domain.uuid,
        running: domid == 0,
        blocked: domid != 0 && domain.pauses == 0 && domain.exit.is_none(),
        paused: domain.pauses > 0,
        dying: domain.dying,
        shutdown: domain.exit,
        memory_kib: domain.memory_kib,
        max_kib: domain.max_kib,
        cpu_time_ns: domain.cpu_time_ns,
        online_vcpus: domain.online,
        vcpus: domain.vcpus,
        cpu: 0,
    }
}

struct SimRing {
    machine: Arc<Machine>,
    domid: DomId,
    seen: u64,
}

impl Drop for SimRing {
    fn drop(&mut self) {
        self.machine.lock().rings -= 1;
    }
}

impl ConsoleRing for SimRing {
    fn read(&mut self) -> Result<Vec<u8>> {
        let mut inner = self.machine.lock();
        self.seen = inner.signals;
        let output = inner
            .domains
            .get_mut(&self.domid)
            .map(|domain| domain.console_out.drain(..).collect());
        Ok(output.unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut inner = self.machine.lock();
        if let Some(domain) = inner.domains.get_mut(&self.domid) {
            domain.console_in.extend(bytes);
        }
        inner.typed(self.domid);
        drop(inner);
        self.machine.notify();
        Ok(bytes.len())
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        let inner = self.machine.lock();
        let seen = self.seen;
        drop(
            self.machine
                .changed
                .wait_timeout_while(inner, timeout, |inner| inner.signals == seen),
        );
        Ok(())
    }

    fn waker(&self) -> Waker {
        let machine = self.machine.clone();
        Arc::new(move || machine.notify())
    }
}
