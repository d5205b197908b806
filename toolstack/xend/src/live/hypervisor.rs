//! The hypervisor, by rexen-xenctl.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rexen_xenctl::build::{Kernel, Plan, Spec};
use rexen_xenctl::{
    ByteRing, CpuSet, CreditShare, EventChannels, EvtchnPort, Gntdev, GrantRef, NewDomain,
    SharedPages, ShutdownReason, VcpuId, Xen, console_rings,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::kernels::Kernels;
use crate::blueprint::Blueprint;
use crate::error::{Error, Kind, Result};
use crate::world::{
    Built, ConsoleRing, Credit, DomId, DomainInfo, Exit, Hypervisor, NodeInfo, VcpuInfo, Waker,
};

/// Where unpacked kernels are kept until the next boot.
const KERNELS: &str = "/var/lib/xen/kernels";
/// Pages in a MiB.
const PAGES_PER_MIB: u64 = 256;
const KIB_PER_PAGE: u64 = 4;
/// Where a guest's grant table has its console ring (public/grant_table.h, GNTTAB_RESERVED_CONSOLE).
const CONSOLE_GREF: GrantRef = GrantRef(0);
/// The hypervisor's names and numbers of triggers (public/domctl.h, XEN_DOMCTL_SENDTRIGGER_*).
const TRIGGERS: [(&str, u32); 6] = [
    ("nmi", 0),
    ("reset", 1),
    ("init", 2),
    ("power", 3),
    ("sleep", 4),
    ("s3resume", 5),
];

/// The hypervisor below this host.
pub struct XenHypervisor {
    xen: Xen,
    kernels: Kernels,
}

impl XenHypervisor {
    /// Opens it.
    ///
    /// # Errors
    /// This is not domain 0, or the hypervisor's interface is another version's.
    pub fn open() -> Result<Self> {
        let boot = read("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            xen: Xen::open().map_err(failed)?,
            kernels: Kernels::below(Path::new(KERNELS), &String::from_utf8_lossy(&boot)),
        })
    }
}

fn failed(error: rexen_xenctl::Error) -> Error {
    let kind = if error.is_no_domain() {
        Kind::NotFound
    } else {
        Kind::Failed
    };
    Error::new(kind, error.to_string())
}

fn id(domid: DomId) -> rexen_xenctl::DomId {
    rexen_xenctl::DomId(domid)
}

fn info(info: rexen_xenctl::DomainInfo) -> DomainInfo {
    let exit = info.shutdown.map(|reason| match reason {
        ShutdownReason::Poweroff => Exit::Poweroff,
        ShutdownReason::Reboot | ShutdownReason::SoftReset => Exit::Reboot,
        ShutdownReason::Suspend => Exit::Suspend,
        ShutdownReason::Watchdog => Exit::Watchdog,
        ShutdownReason::Crash | ShutdownReason::Other(_) => Exit::Crash,
    });
    DomainInfo {
        domid: info.id.0,
        uuid: info.handle,
        running: info.is_running,
        blocked: info.is_blocked,
        paused: info.is_paused,
        dying: info.is_dying,
        shutdown: exit,
        memory_kib: info.pages * KIB_PER_PAGE,
        max_kib: info.max_pages.saturating_mul(KIB_PER_PAGE),
        cpu_time_ns: info.cpu_time_ns,
        online_vcpus: info.online_vcpus,
        vcpus: info.max_vcpu_id.map_or(0, |last| last + 1),
        cpu: 0,
    }
}

fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::failed(format!("{path}: {error}")))
}

impl Hypervisor for XenHypervisor {
    fn node(&self) -> Result<NodeInfo> {
        let physical = self.xen.physinfo().map_err(failed)?;
        let version = self.xen.version().map_err(failed)?;
        let facts = self.xen.build_facts().map_err(failed)?;
        let scheduler = self.xen.scheduler().map_err(failed)?;
        Ok(NodeInfo {
            cpus: physical.nr_cpus,
            nodes: physical.nr_nodes,
            cores_per_socket: physical.cores_per_socket,
            threads_per_core: physical.threads_per_core,
            cpu_khz: u64::from(physical.cpu_khz),
            memory_mib: physical.total_pages / PAGES_PER_MIB,
            free_mib: physical.free_pages / PAGES_PER_MIB,
            version: (
                u32::from(version.major),
                u32::from(version.minor),
                version.extra,
            ),
            caps: facts.capabilities,
            scheduler: scheduler.name().to_owned(),
            changeset: facts.changeset,
            command_line: facts.command_line,
            compile: [
                facts.compiler,
                facts.compile_by,
                facts.compile_domain,
                facts.compile_date,
            ],
        })
    }

    fn domains(&self) -> Result<Vec<DomainInfo>> {
        let domains = self.xen.domains().map_err(failed)?;
        Ok(domains
            .into_iter()
            .map(|domain| self.with_cpu(info(domain)))
            .collect())
    }

    fn domain(&self, domid: DomId) -> Result<Option<DomainInfo>> {
        let domain = self.xen.domain(id(domid)).map_err(failed)?;
        Ok(domain.map(|domain| self.with_cpu(info(domain))))
    }

    fn vcpu(&self, domid: DomId, vcpu: u32) -> Result<VcpuInfo> {
        let number = VcpuId(vcpu);
        let state = self.xen.vcpu(id(domid), number).map_err(failed)?;
        let affinity = self.xen.affinity(id(domid), number).map_err(failed)?;
        let cpus = self.xen.physinfo().map_err(failed)?.nr_cpus;
        let there = |set: &CpuSet| set.iter().filter(|cpu| *cpu < cpus).collect();
        Ok(VcpuInfo {
            cpu: state.cpu,
            online: state.online != 0,
            blocked: state.blocked != 0,
            running: state.running != 0,
            cpu_time_ns: state.cpu_time,
            affinity: there(&affinity.hard),
            soft_affinity: there(&affinity.soft),
        })
    }

    fn create(&self, want: Option<DomId>, blueprint: &Blueprint) -> Result<DomId> {
        let free = want.filter(|domid| self.domain(*domid).is_ok_and(|domain| domain.is_none()));
        let new = NewDomain {
            id: free.map(id),
            handle: blueprint.uuid.0,
            max_vcpus: blueprint.spec.max_vcpus(),
            ..NewDomain::default()
        };
        self.xen
            .create_domain(&new)
            .map(|domid| domid.0)
            .map_err(failed)
    }

    fn destroy(&self, domid: DomId) -> Result<()> {
        match self.xen.destroy(id(domid)) {
            Err(error) if !error.is_no_domain() => Err(failed(error)),
            _ => Ok(()),
        }
    }

    fn pause(&self, domid: DomId) -> Result<()> {
        self.xen.pause(id(domid)).map_err(failed)
    }

    fn unpause(&self, domid: DomId) -> Result<()> {
        self.xen.unpause(id(domid)).map_err(failed)
    }

    fn set_max_mem(&self, domid: DomId, kib: u64) -> Result<()> {
        self.xen.set_max_memory(id(domid), kib).map_err(failed)
    }

    fn set_affinity(
        &self,
        domid: DomId,
        vcpu: u32,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Result<()> {
        let set = |cpus: Option<&[u32]>| -> Option<CpuSet> {
            cpus.map(|cpus| cpus.iter().copied().collect())
        };
        let (hard, soft) = (set(hard), set(soft));
        self.xen
            .set_affinity(id(domid), VcpuId(vcpu), hard.as_ref(), soft.as_ref())
            .map(drop)
            .map_err(failed)
    }

    fn credit(&self, domid: DomId) -> Result<Credit> {
        let share = self.xen.credit_share(id(domid)).map_err(failed)?;
        Ok(Credit {
            weight: share.weight,
            cap: share.cap,
        })
    }

    fn set_credit(&self, domid: DomId, credit: Credit) -> Result<()> {
        let share = CreditShare {
            weight: credit.weight,
            cap: credit.cap,
        };
        self.xen.set_credit_share(id(domid), share).map_err(failed)
    }

    fn build(&self, domid: DomId, blueprint: &Blueprint) -> Result<Built> {
        let image = &blueprint.spec.image;
        let file = read(&image.kernel)?;
        let ramdisk = image
            .ramdisk
            .as_deref()
            .map(read)
            .transpose()?
            .unwrap_or_default();
        let refused = |error: rexen_xenctl::build::BuildError| {
            Error::failed(format!("{}: {error}", image.kernel))
        };
        let elf = self.kernels.image(file).map_err(refused)?;
        let kernel = Kernel::unpack(&elf).map_err(refused)?;
        let cmdline = image.cmdline();
        let spec = Spec {
            ramdisk: &ramdisk,
            cmdline: &cmdline,
            pages: blueprint.spec.memory_mib * PAGES_PER_MIB,
            max_kib: blueprint.spec.maxmem_mib() * 1024,
            vcpus: blueprint.spec.max_vcpus(),
            store_domain: rexen_xenctl::DomId::DOM0,
            console_domain: rexen_xenctl::DomId::DOM0,
        };
        let plan = Plan::new(&kernel, spec).map_err(refused)?;
        let built = plan
            .carry_out(id(domid), &self.xen, |_| ())
            .map_err(refused)?;
        Ok(Built {
            store_mfn: built.store_frame.0,
            store_port: built.store_port.0,
            console_mfn: built.console_frame.0,
            console_port: built.console_port.0,
        })
    }

    fn set_clock(&self, domid: DomId, seconds: i64) -> Result<()> {
        self.xen.set_time_offset(id(domid), seconds).map_err(failed)
    }

    fn console(&self, domid: DomId, built: &Built) -> Result<Box<dyn ConsoleRing>> {
        XenConsole::open(domid, built).map(|ring| Box::new(ring) as Box<dyn ConsoleRing>)
    }

    fn trigger(&self, domid: DomId, what: &str, vcpu: u32) -> Result<()> {
        let number = TRIGGERS
            .iter()
            .find(|(name, _)| *name == what)
            .map(|(_, number)| *number);
        let number = number.ok_or_else(|| {
            let names: Vec<&str> = TRIGGERS.iter().map(|(name, _)| *name).collect();
            Error::invalid(format!("trigger {what}: use one of {}", names.join(", ")))
        })?;
        self.xen
            .send_trigger(id(domid), number, VcpuId(vcpu))
            .map_err(failed)
    }

    fn dmesg(&self) -> Result<String> {
        let log = self.xen.read_log(None).map_err(failed)?;
        Ok(String::from_utf8_lossy(&log.text).into_owned())
    }

    fn clear_dmesg(&self) -> Result<()> {
        self.xen.clear_log().map_err(failed)
    }

    fn debug_keys(&self, keys: &str) -> Result<()> {
        self.xen.debug_keys(keys).map_err(failed)
    }
}

impl XenHypervisor {
    /// Adds where vcpu 0 ran last; a domain without vcpus, or one that has just gone, says 0.
    fn with_cpu(&self, info: DomainInfo) -> DomainInfo {
        let cpu = self
            .xen
            .vcpu(id(info.domid), VcpuId(0))
            .map_or(0, |vcpu| vcpu.cpu);
        DomainInfo { cpu, ..info }
    }
}

/// A guest's console ring, mapped by the grant the builder left for it.
struct XenConsole {
    output: ByteRing,
    input: ByteRing,
    events: EventChannels,
    port: EvtchnPort,
    wake: Arc<OwnedFd>,
    /// Bytes of the output that were read and are still in the ring.
    read: usize,
}

impl XenConsole {
    fn open(domid: DomId, built: &Built) -> Result<Self> {
        let page: SharedPages = Gntdev::open()
            .and_then(|device| device.map(id(domid), CONSOLE_GREF))
            .map_err(failed)?;
        let events = EventChannels::open().map_err(failed)?;
        let port = events
            .bind_interdomain(id(domid), EvtchnPort(built.console_port))
            .map_err(failed)?;
        let (output, input) = console_rings(&Arc::new(page));
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(std::io::Error::from)?;
        Ok(Self {
            output,
            input,
            events,
            port,
            wake: Arc::new(wake),
            read: 0,
        })
    }

    /// Gives up what was read, which by now is where it belongs: a xend that is killed before leaves it in the ring, for the
    /// next one to read again.
    fn settle(&mut self) -> Result<()> {
        match std::mem::take(&mut self.read) {
            0 => Ok(()),
            count => {
                self.output.skip(count).map_err(broken)?;
                self.events.notify(self.port).map_err(failed)
            }
        }
    }
}

impl Drop for XenConsole {
    fn drop(&mut self) {
        let _ = self.settle(); // The guest has gone, or broke its ring: then nobody reads there again.
    }
}

fn broken(error: rexen_xenctl::Broken) -> Error {
    Error::failed(format!("the guest broke its console ring: {error}"))
}

impl ConsoleRing for XenConsole {
    fn read(&mut self) -> Result<Vec<u8>> {
        self.settle()?;
        let mut bytes = vec![0; self.output.readable().map_err(broken)?];
        self.read = self.output.peek(&mut bytes).map_err(broken)?;
        bytes.truncate(self.read);
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = self.input.write(bytes).map_err(broken)?;
        if count > 0 {
            self.events.notify(self.port).map_err(failed)?;
        }
        Ok(count)
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.settle()?;
        let limit = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut both = [
            PollFd::new(&self.events, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
        ];
        match poll(&mut both, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut count); // EAGAIN when nobody woke us.
        while let Some(port) = self.events.next_event().map_err(failed)? {
            self.events.unmask(port).map_err(failed)?;
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        let wake = self.wake.clone();
        // A full counter means that the wake is already on its way.
        Arc::new(move || {
            let _ = rustix::io::write(wake.as_fd(), &1u64.to_ne_bytes());
        })
    }
}
