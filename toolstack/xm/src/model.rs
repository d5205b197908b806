//! xend's answers as types: the fields that xm prints. Fields that it does not know are none of its business.

use serde::Deserialize;

/// A domain.
#[derive(Clone, Debug, Deserialize)]
pub struct Domain {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its lasting identity.
    #[serde(default)]
    pub uuid: String,
    /// Memory it has, in MiB.
    pub memory: u64,
    /// Memory it may have, in MiB.
    #[serde(default)]
    pub maxmem: Option<u64>,
    /// How many vcpus it may have.
    #[serde(default = "one")]
    pub vcpus: u32,
    /// How many of them are in use.
    #[serde(default)]
    pub vcpus_online: Option<u32>,
    /// The physical CPU of its first vcpu.
    #[serde(default)]
    pub cpu: Option<u32>,
    /// xl's six letters: running, blocked, paused, shut down, crashed, dying.
    pub state: String,
    /// Why it shut down.
    #[serde(default)]
    pub shutdown_reason: Option<String>,
    /// CPU time used, in seconds.
    pub cpu_time: f64,
    /// Seconds since it was created.
    #[serde(default)]
    pub up_time: Option<f64>,
    /// TCP port of its console.
    #[serde(default)]
    pub console_port: Option<u16>,
    /// Whether it is to start again.
    #[serde(default)]
    pub restart_state: Option<String>,
    /// Its devices.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// All about it, as an S-expression.
    #[serde(default)]
    pub sxp: Option<String>,
}

fn one() -> u32 {
    1
}

impl Domain {
    /// 2.0's five letters.
    pub fn state5(&self) -> &str {
        self.state.get(..5).unwrap_or(&self.state)
    }

    /// Whether it is domain 0.
    pub fn is_dom0(&self) -> bool {
        self.id == 0
    }
}

/// A disk or a network interface of a domain.
#[derive(Clone, Debug, Deserialize)]
pub struct Device {
    /// `vbd` or `vif`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number on the xenstore bus.
    #[serde(default)]
    pub devid: Option<u64>,
    /// The domain that serves it.
    #[serde(default)]
    pub backend: u32,
    /// State of the front-end on the bus.
    #[serde(default)]
    pub state: Option<u32>,
    /// The same in 2.0's words.
    #[serde(default)]
    pub sxp: Option<String>,
    /// An interface's address.
    #[serde(default)]
    pub mac: Option<String>,
    /// The event channel of the front-end.
    #[serde(default)]
    pub evtchn: Option<u32>,
    /// The rings' grant references.
    #[serde(default)]
    pub rings: Vec<u32>,
}

/// A vcpu of a domain.
#[derive(Clone, Debug, Deserialize)]
pub struct Vcpu {
    /// Its number.
    pub vcpu: u32,
    /// Where it is or was last.
    #[serde(default)]
    pub cpu: Option<u32>,
    /// Three letters: running, blocked, and paused.
    pub state: String,
    /// Whether it is in use.
    pub online: bool,
    /// CPU time used, in seconds.
    pub cpu_time: f64,
    /// CPUs that it may run on.
    #[serde(default)]
    pub affinity: Vec<u32>,
    /// CPUs that it should run on.
    #[serde(default)]
    pub soft_affinity: Vec<u32>,
}

/// A domain's console.
#[derive(Clone, Debug, Deserialize)]
pub struct Console {
    /// The domain.
    pub domain: u32,
    /// Its TCP port.
    pub port: Option<u16>,
    /// Its number.
    #[serde(default)]
    pub id: u32,
    /// Who is attached, as HOST:PORT.
    #[serde(default)]
    pub connected: Vec<String>,
}
