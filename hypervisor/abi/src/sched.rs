//! `public/sched.h`: yielding, blocking, polling, shutting down.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Command of `sched_op`." u32 {
        SCHEDOP_yield = 0,
        SCHEDOP_block = 1,
        SCHEDOP_shutdown = 2,
        SCHEDOP_poll = 3,
        SCHEDOP_remote_shutdown = 4,
        SCHEDOP_shutdown_code = 5,
        SCHEDOP_watchdog = 6,
        SCHEDOP_pin_override = 7,
    }
    "Why a domain shut down." u32 {
        SHUTDOWN_poweroff = 0,
        SHUTDOWN_reboot = 1,
        SHUTDOWN_suspend = 2,
        SHUTDOWN_crash = 3,
        SHUTDOWN_watchdog = 4,
        SHUTDOWN_soft_reset = 5,
        SHUTDOWN_MAX = 5,
    }
}

abi_structs! {
    /// Argument of `SCHEDOP_shutdown` and `SCHEDOP_shutdown_code`.
    pub struct SchedShutdown: "struct sched_shutdown", 4, align 4 {
        /// `SHUTDOWN_*`.
        pub reason: u32,
    }

    /// Argument of `SCHEDOP_poll`.
    pub struct SchedPoll: "struct sched_poll", 24, align 8 {
        /// Guest pointer to u32 ports.
        pub ports: u64,
        /// How many.
        pub nr_ports: u32,
        /// System time to stop at, in nanoseconds; 0 for never.
        pub timeout: u64,
    }

    /// Argument of `SCHEDOP_remote_shutdown`.
    pub struct SchedRemoteShutdown: "struct sched_remote_shutdown", 8, align 4 {
        /// Which domain.
        pub domain_id: u16,
        /// `SHUTDOWN_*`.
        pub reason: u32,
    }

    /// Argument of `SCHEDOP_watchdog`.
    pub struct SchedWatchdog: "struct sched_watchdog", 8, align 4 {
        /// Which watchdog; 0 for a new one.
        pub id: u32,
        /// Seconds; 0 disarms.
        pub timeout: u32,
    }

    /// Argument of `SCHEDOP_pin_override`.
    pub struct SchedPinOverride: "struct sched_pin_override", 4, align 4 {
        /// Which pcpu; negative to end.
        pub pcpu: i32,
    }
}
