//! The machine as a whole (`sysctl`): memory, CPUs, the hypervisor's log.

use rexen_abi::Plain;
use rexen_abi::domctl::*;
use rexen_abi::sysctl::*;

use super::{Xen, sysctl_in};
use crate::error::Result;

/// Bytes of the hypervisor's log asked for in one call.
const LOG_STEP: usize = 16 << 10;
/// CPUs asked about in one call.
const MAX_CPUS: usize = 4096;

/// Who decides which vcpu runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// `credit`.
    Credit,
    /// `credit2`.
    Credit2,
    /// `arinc653`.
    Arinc653,
    /// `rtds`.
    Rtds,
    /// `null`.
    Null,
    /// A number without a name here.
    Other(u32),
}

impl Scheduler {
    /// From the hypervisor's number.
    pub const fn from_id(id: u32) -> Self {
        match id {
            XEN_SCHEDULER_CREDIT => Self::Credit,
            XEN_SCHEDULER_CREDIT2 => Self::Credit2,
            XEN_SCHEDULER_ARINC653 => Self::Arinc653,
            XEN_SCHEDULER_RTDS => Self::Rtds,
            XEN_SCHEDULER_NULL => Self::Null,
            _ => Self::Other(id),
        }
    }

    /// The name that `sched=` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Credit2 => "credit2",
            Self::Arinc653 => "arinc653",
            Self::Rtds => "rtds",
            Self::Null => "null",
            Self::Other(_) => "unknown",
        }
    }
}

/// A piece of the hypervisor's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HypervisorLog {
    /// The text.
    pub text: Vec<u8>,
    /// Where to go on.
    pub next: u32,
}

impl Xen {
    /// Memory, CPUs and abilities of the machine.
    ///
    /// # Errors
    /// Those of the call.
    pub fn physinfo(&self) -> Result<XenSysctlPhysinfo> {
        let mut answer = XenSysctlPhysinfo::ZERO;
        self.sysctl("asking about the machine", XEN_SYSCTL_physinfo, &mut answer)?;
        Ok(answer)
    }

    /// The scheduler.
    ///
    /// # Errors
    /// Those of the call.
    pub fn scheduler(&self) -> Result<Scheduler> {
        let mut answer = XenSysctlSchedId::ZERO;
        self.sysctl(
            "asking about the scheduler",
            XEN_SYSCTL_sched_id,
            &mut answer,
        )?;
        Ok(Scheduler::from_id(answer.sched_id))
    }

    /// Where each physical CPU sits, from CPU 0 on.
    ///
    /// # Errors
    /// Those of the call.
    pub fn cpu_topology(&self) -> Result<Vec<XenSysctlCputopo>> {
        let count = self.cpu_slots()?;
        let mut call = self.hypercalls.begin();
        let room = call.room(count * XenSysctlCputopo::SIZE);
        let mut argument = XenSysctlCputopoinfo {
            num_cpus: count as u32,
            cputopo: call.handle(room),
        };
        sysctl_in(
            &mut call,
            "asking where CPUs sit",
            XEN_SYSCTL_cputopoinfo,
            &mut argument,
        )?;
        Ok(call.get_list(room, argument.num_cpus as usize))
    }

    /// Nanoseconds that each physical CPU was idle, from CPU 0 on.
    ///
    /// # Errors
    /// Those of the call.
    pub fn cpu_idle_times(&self) -> Result<Vec<u64>> {
        let count = self.cpu_slots()?;
        let mut call = self.hypercalls.begin();
        let room = call.room(count * XenSysctlCpuinfo::SIZE);
        let mut argument = XenSysctlGetcpuinfo {
            max_cpus: count as u32,
            info: call.handle(room),
            ..XenSysctlGetcpuinfo::ZERO
        };
        sysctl_in(
            &mut call,
            "asking how CPUs do",
            XEN_SYSCTL_getcpuinfo,
            &mut argument,
        )?;
        Ok(call.get_list(room, argument.nr_cpus as usize))
    }

    /// The hypervisor's log from its oldest byte on (`None`), or from where an earlier answer ended.
    ///
    /// # Errors
    /// Those of the call.
    pub fn read_log(&self, from: Option<u32>) -> Result<HypervisorLog> {
        let mut text = Vec::new();
        let mut from = from;
        // The log is a ring of bounded size; more steps than it has mean that it is written faster than we read.
        for _ in 0..1024 {
            let mut step = self.read_log_step(from, false)?;
            text.append(&mut step.text);
            if from == Some(step.next) || step.text.is_empty() && from.is_some() {
                break;
            }
            from = Some(step.next);
        }
        Ok(HypervisorLog {
            text,
            next: from.unwrap_or(0),
        })
    }

    /// Empties the hypervisor's log.
    ///
    /// # Errors
    /// Those of the call.
    pub fn clear_log(&self) -> Result<()> {
        self.read_log_step(None, true).map(|_| ())
    }

    fn read_log_step(&self, from: Option<u32>, clear: bool) -> Result<HypervisorLog> {
        let mut call = self.hypercalls.begin();
        let room = call.room(LOG_STEP);
        let mut argument = XenSysctlReadconsole {
            clear: clear.into(),
            incremental: from.is_some().into(),
            index: from.unwrap_or(0),
            buffer: call.handle(room),
            count: LOG_STEP as u32,
            ..XenSysctlReadconsole::ZERO
        };
        sysctl_in(
            &mut call,
            "reading the hypervisor's log",
            XEN_SYSCTL_readconsole,
            &mut argument,
        )?;
        let mut text = call.bytes(room);
        text.truncate(argument.count as usize);
        Ok(HypervisorLog {
            text,
            next: argument.index,
        })
    }

    /// Presses keys on the hypervisor's console: what each prints is in its log.
    ///
    /// # Errors
    /// Those of the call.
    pub fn debug_keys(&self, keys: &str) -> Result<()> {
        let mut call = self.hypercalls.begin();
        let keys = keys.as_bytes().get(..256).unwrap_or(keys.as_bytes());
        let buffer = call.put_bytes(keys);
        let mut argument = XenSysctlDebugKeys {
            keys: call.handle(buffer),
            nr_keys: keys.len() as u32,
        };
        sysctl_in(
            &mut call,
            "pressing debug keys",
            XEN_SYSCTL_debug_keys,
            &mut argument,
        )
    }

    fn cpu_slots(&self) -> Result<usize> {
        Ok((self.physinfo()?.max_cpu_id as usize)
            .saturating_add(1)
            .min(MAX_CPUS))
    }
}
