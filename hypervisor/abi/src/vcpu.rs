//! `public/vcpu.h`: starting and stopping vcpus, their timers, and the areas they register.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Command of `vcpu_op`." u32 {
        VCPUOP_initialise = 0,
        VCPUOP_up = 1,
        VCPUOP_down = 2,
        VCPUOP_is_up = 3,
        VCPUOP_get_runstate_info = 4,
        VCPUOP_register_runstate_memory_area = 5,
        VCPUOP_set_periodic_timer = 6,
        VCPUOP_stop_periodic_timer = 7,
        VCPUOP_set_singleshot_timer = 8,
        VCPUOP_stop_singleshot_timer = 9,
        VCPUOP_register_vcpu_info = 10,
        VCPUOP_send_nmi = 11,
        VCPUOP_get_physid = 12,
        VCPUOP_register_vcpu_time_memory_area = 13,
    }
    "Value of `vcpu_runstate_info.state`, and index into `time`." i32 {
        RUNSTATE_running = 0,
        RUNSTATE_runnable = 1,
        RUNSTATE_blocked = 2,
        RUNSTATE_offline = 3,
    }
    "Bit of `vcpu_runstate_info.state_entry_time` while the rest is inconsistent." u64 {
        XEN_RUNSTATE_UPDATE = 1 << 63,
    }
    "Bit of `vcpu_set_singleshot_timer.flags`: refuse a time that has passed." u32 {
        VCPU_SSHOTTMR_future = 1 << 0,
    }
}

abi_structs! {
    /// What a vcpu does and how long it has done what.
    pub struct VcpuRunstateInfo: "struct vcpu_runstate_info", 48, align 8 {
        /// `RUNSTATE_*`.
        pub state: i32,
        /// System time in nanoseconds at which it came to be, and `XEN_RUNSTATE_UPDATE`.
        pub state_entry_time: u64,
        /// Nanoseconds spent in each state.
        pub time: [u64; 4],
    }

    /// Argument of `VCPUOP_register_runstate_memory_area`.
    pub struct VcpuRegisterRunstateMemoryArea: "struct vcpu_register_runstate_memory_area", 8, align 8 {
        /// Guest linear address of a `VcpuRunstateInfo`.
        pub addr: u64 = "addr.p",
    }

    /// Argument of `VCPUOP_register_vcpu_time_memory_area`.
    pub struct VcpuRegisterTimeMemoryArea: "struct vcpu_register_time_memory_area", 8, align 8 {
        /// Guest linear address of a `VcpuTimeInfo`.
        pub addr: u64 = "addr.p",
    }

    /// Argument of `VCPUOP_set_periodic_timer`.
    pub struct VcpuSetPeriodicTimer: "struct vcpu_set_periodic_timer", 8, align 8 {
        /// Period in nanoseconds.
        pub period_ns: u64,
    }

    /// Argument of `VCPUOP_set_singleshot_timer`.
    pub struct VcpuSetSingleshotTimer: "struct vcpu_set_singleshot_timer", 16, align 8 {
        /// System time in nanoseconds.
        pub timeout_abs_ns: u64,
        /// `VCPU_SSHOTTMR_future` or 0.
        pub flags: u32,
    }

    /// Argument of `VCPUOP_register_vcpu_info`.
    pub struct VcpuRegisterVcpuInfo: "struct vcpu_register_vcpu_info", 16, align 8 {
        /// Frame.
        pub mfn: u64,
        /// Where in it, in bytes.
        pub offset: u32,
        /// Unused.
        pub rsvd: u32,
    }

    /// Argument of `VCPUOP_get_physid`.
    pub struct VcpuGetPhysid: "struct vcpu_get_physid", 8, align 8 {
        /// Out: APIC id in the low half, ACPI id in the high half.
        pub phys_id: u64,
    }
}
