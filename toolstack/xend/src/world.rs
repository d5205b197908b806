//! What xend acts on: the hypervisor, the store and the host, each behind a trait.
//!
//! The real ones are in `live`, the ones in memory in `sim`. Logic elsewhere knows only these traits, so that it runs on any
//! laptop and under tests that cut it off after any call.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::blueprint::Blueprint;
use crate::error::Result;

/// A domain's number.
pub type DomId = u16;

/// Why a domain stopped running by itself (public/sched.h, SHUTDOWN_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// It powered off.
    Poweroff,
    /// It wants to be started again.
    Reboot,
    /// It suspended itself.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog went off.
    Watchdog,
}

impl Exit {
    /// Whether it ended against its will.
    pub fn is_crash(self) -> bool {
        matches!(self, Self::Crash | Self::Watchdog)
    }

    /// The word of 2.0's API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
            Self::Suspend => "suspend",
            Self::Crash => "crash",
            Self::Watchdog => "watchdog",
        }
    }
}

/// What the hypervisor says of a domain (XEN_DOMCTL_getdomaininfo).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its number.
    pub domid: DomId,
    /// Its handle.
    pub uuid: [u8; 16],
    /// One of its vcpus runs.
    pub running: bool,
    /// All its vcpus wait for an event.
    pub blocked: bool,
    /// A toolstack paused it.
    pub paused: bool,
    /// It is being destroyed.
    pub dying: bool,
    /// It has stopped by itself.
    pub shutdown: Option<Exit>,
    /// What it holds, in KiB.
    pub memory_kib: u64,
    /// What it may hold, in KiB.
    pub max_kib: u64,
    /// CPU time of all vcpus, in ns.
    pub cpu_time_ns: u64,
    /// Vcpus that are up.
    pub online_vcpus: u32,
    /// Vcpus that it was made with.
    pub vcpus: u32,
    /// Where vcpu 0 ran last.
    pub cpu: u32,
}

/// What the hypervisor says of a vcpu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VcpuInfo {
    /// Where it ran last.
    pub cpu: u32,
    /// It is up.
    pub online: bool,
    /// It waits for an event.
    pub blocked: bool,
    /// It runs now.
    pub running: bool,
    /// CPU time in ns.
    pub cpu_time_ns: u64,
    /// Physical CPUs it may run on.
    pub affinity: Vec<u32>,
    /// Physical CPUs it had better run on.
    pub soft_affinity: Vec<u32>,
}

/// A domain's share under the credit schedulers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Relative weight, 256 by default.
    pub weight: u16,
    /// Upper bound in percent of one CPU, 0 for none.
    pub cap: u16,
}

/// What the hypervisor says of the machine and of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Physical CPUs.
    pub cpus: u32,
    /// Nodes of memory.
    pub nodes: u32,
    /// Cores in a socket.
    pub cores_per_socket: u32,
    /// Threads in a core.
    pub threads_per_core: u32,
    /// CPU frequency in kHz.
    pub cpu_khz: u64,
    /// All memory, in MiB.
    pub memory_mib: u64,
    /// Free memory, in MiB.
    pub free_mib: u64,
    /// Version: major, minor, extra.
    pub version: (u32, u32, String),
    /// Capabilities, such as `xen-3.0-x86_64`.
    pub caps: String,
    /// The scheduler's name.
    pub scheduler: String,
    /// The change it was built from.
    pub changeset: String,
    /// Its command line.
    pub command_line: String,
    /// Compiler, builder, domain and date.
    pub compile: [String; 4],
}

/// What building a kernel yields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Frame of the store ring.
    pub store_mfn: u64,
    /// The domain's port of the store ring.
    pub store_port: u32,
    /// Frame of the console ring.
    pub console_mfn: u64,
    /// The domain's port of the console ring.
    pub console_port: u32,
}

/// Ends a console's wait from another thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// A domain's console ring, as the service sees it.
pub trait ConsoleRing: Send {
    /// Takes what the domain has printed; empty when nothing is there.
    ///
    /// # Errors
    /// The ring's indexes are broken: the domain's fault, and only its console's loss.
    fn read(&mut self) -> Result<Vec<u8>>;
    /// Gives the domain input; returns how many bytes fitted.
    ///
    /// # Errors
    /// As `read`.
    fn write(&mut self, bytes: &[u8]) -> Result<usize>;
    /// Waits until the domain signals, somebody calls the waker, or `timeout` is over.
    ///
    /// # Errors
    /// The event channel is gone.
    fn wait(&mut self, timeout: Duration) -> Result<()>;
    /// What ends a `wait` early.
    fn waker(&self) -> Waker;
}

/// The hypervisor, as far as domain 0 may order it about.
pub trait Hypervisor: Send + Sync {
    /// Machine and version.
    fn node(&self) -> Result<NodeInfo>;
    /// All domains, by number.
    fn domains(&self) -> Result<Vec<DomainInfo>>;
    /// One domain, or `None`.
    fn domain(&self, domid: DomId) -> Result<Option<DomainInfo>>;
    /// One vcpu.
    fn vcpu(&self, domid: DomId, vcpu: u32) -> Result<VcpuInfo>;
    /// Makes an empty paused domain with its vcpus; `want` is a number it should have when that is free.
    fn create(&self, want: Option<DomId>, blueprint: &Blueprint) -> Result<DomId>;
    /// Destroys a domain. One that is gone is no error. What backends still map goes when they let go.
    fn destroy(&self, domid: DomId) -> Result<()>;
    /// Pauses a domain once more.
    fn pause(&self, domid: DomId) -> Result<()>;
    /// Takes back one pause.
    fn unpause(&self, domid: DomId) -> Result<()>;
    /// Sets the bound of its memory, in KiB.
    fn set_max_mem(&self, domid: DomId, kib: u64) -> Result<()>;
    /// Sets where a vcpu may run, and where it had better; `None` leaves that as it is.
    fn set_affinity(
        &self,
        domid: DomId,
        vcpu: u32,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Result<()>;
    /// The domain's share.
    fn credit(&self, domid: DomId) -> Result<Credit>;
    /// Sets the domain's share.
    fn set_credit(&self, domid: DomId, credit: Credit) -> Result<()>;
    /// Loads kernel and ramdisk, makes memory, event channels, start information, page tables and registers.
    fn build(&self, domid: DomId, blueprint: &Blueprint) -> Result<Built>;
    /// Sets how many seconds its clock is ahead of UTC.
    fn set_clock(&self, domid: DomId, seconds: i64) -> Result<()>;
    /// Maps the console ring and binds its port.
    fn console(&self, domid: DomId, built: &Built) -> Result<Box<dyn ConsoleRing>>;
    /// Sends a trigger (nmi, reset, init, s3resume, power, sleep).
    fn trigger(&self, domid: DomId, what: &str, vcpu: u32) -> Result<()>;
    /// The hypervisor's messages.
    fn dmesg(&self) -> Result<String>;
    /// Clears the messages.
    fn clear_dmesg(&self) -> Result<()>;
    /// Presses debug keys.
    fn debug_keys(&self, keys: &str) -> Result<()>;
}

/// A change to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a value; missing parents come with it.
    Write(String, String),
    /// Removes a path with all below; a missing one is no error.
    Remove(String),
    /// Sets owner and readers of a path.
    Owner {
        /// The path.
        path: String,
        /// Who owns it and may do everything.
        owner: DomId,
        /// Who may read it.
        reader: Option<DomId>,
    },
}

/// The store.
pub trait Store: Send + Sync {
    /// A value, or `None` where nothing is.
    fn read(&self, path: &str) -> Result<Option<String>>;
    /// The names below a path; none where nothing is.
    fn list(&self, path: &str) -> Result<Vec<String>>;
    /// Makes all changes, or none.
    fn apply(&self, changes: &[Change]) -> Result<()>;
    /// Tells the store of a new domain's ring.
    fn introduce(&self, domid: DomId, mfn: u64, port: u32) -> Result<()>;
    /// Tells the store that a domain is gone; unknown ones are no error.
    fn release(&self, domid: DomId) -> Result<()>;
    /// Watches `path`: asks `done` at once and whenever something changes there, until it says yes (true) or time is up (false).
    fn follow(
        &self,
        path: &str,
        timeout: Duration,
        done: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<bool>;
}

/// The host: files, block devices, scripts, time.
pub trait Host: Send + Sync {
    /// Fails unless the file can be read.
    fn check_file(&self, path: &str) -> Result<()>;
    /// Chooses a loop device that nothing uses.
    fn free_loop(&self) -> Result<String>;
    /// The file behind a loop device, if it has one.
    fn loop_file(&self, node: &str) -> Result<Option<String>>;
    /// Runs a block script: `bind PARAM...` answers the node.
    fn block_bind(
        &self,
        script: &str,
        params: &[String],
        hint: &str,
        writable: bool,
    ) -> Result<String>;
    /// Runs a block script: `unbind NODE`.
    fn block_unbind(&self, script: &str, node: &str) -> Result<()>;
    /// Device number (major, minor) of a block device.
    fn device_number(&self, node: &str) -> Result<(u32, u32)>;
    /// How the host itself uses a block device: `Some(true)` mounted writable, `Some(false)` read-only.
    fn mounted(&self, node: &str) -> Result<Option<bool>>;
    /// Runs a script with arguments and environment.
    fn run_script(&self, script: &str, args: &[String], env: &[(String, String)])
    -> Result<String>;
    /// A path without symbolic links; as it is where nothing is.
    fn canonical(&self, path: &str) -> String;
    /// Whether a network interface exists.
    fn has_interface(&self, name: &str) -> Result<bool>;
    /// Whether the host's kernel has a backend driver (`vbd`, `vif`).
    fn has_driver(&self, kind: &str) -> Result<bool>;
    /// Whether the host's kernel still has the backend of a device.
    fn has_backend(&self, kind: &str, domid: DomId, devid: u32) -> Result<bool>;
    /// What tells this run of the host from the one before.
    fn boot_id(&self) -> Result<String>;
    /// Reads a file of xend's own; `None` where there is none.
    fn load(&self, path: &str) -> Result<Option<String>>;
    /// Writes a file of xend's own: beside it, then renamed.
    fn save(&self, path: &str, text: &str) -> Result<()>;
    /// Removes a file of xend's own.
    fn remove(&self, path: &str) -> Result<()>;
    /// Names in a folder of xend's own.
    fn names(&self, folder: &str) -> Result<Vec<String>>;
    /// Seconds since 1970.
    fn now(&self) -> f64;
    /// How many seconds local time is ahead of UTC at the moment.
    fn utc_offset(&self) -> Result<i64>;
    /// Random bytes.
    fn random(&self) -> [u8; 16];
}

/// All three.
pub struct World {
    /// The hypervisor.
    pub hypervisor: Box<dyn Hypervisor>,
    /// The store.
    pub store: Box<dyn Store>,
    /// The host.
    pub host: Box<dyn Host>,
}
