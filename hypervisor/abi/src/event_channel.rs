//! `public/event_channel.h`: ports, their operations, and the FIFO layout.

use crate::plain::{abi_constants, abi_structs};

abi_constants! {
    "Command of `event_channel_op`." u32 {
        EVTCHNOP_bind_interdomain = 0,
        EVTCHNOP_bind_virq = 1,
        EVTCHNOP_bind_pirq = 2,
        EVTCHNOP_close = 3,
        EVTCHNOP_send = 4,
        EVTCHNOP_status = 5,
        EVTCHNOP_alloc_unbound = 6,
        EVTCHNOP_bind_ipi = 7,
        EVTCHNOP_bind_vcpu = 8,
        EVTCHNOP_unmask = 9,
        EVTCHNOP_reset = 10,
        EVTCHNOP_init_control = 11,
        EVTCHNOP_expand_array = 12,
        EVTCHNOP_set_priority = 13,
    }
    "Value of `evtchn_status.status`." u32 {
        EVTCHNSTAT_closed = 0,
        EVTCHNSTAT_unbound = 1,
        EVTCHNSTAT_interdomain = 2,
        EVTCHNSTAT_pirq = 3,
        EVTCHNSTAT_virq = 4,
        EVTCHNSTAT_ipi = 5,
    }
    "Bit of `evtchn_bind_pirq.flags`." u32 {
        BIND_PIRQ__WILL_SHARE = 1,
    }
    "Number of ports." u32 {
        EVTCHN_2L_NR_CHANNELS = 4096,
        EVTCHN_FIFO_NR_CHANNELS = 1 << EVTCHN_FIFO_LINK_BITS,
    }
    "FIFO priority; 0 is the most urgent." u32 {
        EVTCHN_FIFO_PRIORITY_MAX = 0,
        EVTCHN_FIFO_PRIORITY_DEFAULT = 7,
        EVTCHN_FIFO_PRIORITY_MIN = 15,
    }
    "Queues of a FIFO control block." usize {
        EVTCHN_FIFO_MAX_QUEUES = 16,
    }
    "Bit number in a FIFO event word, or width of its link." u32 {
        EVTCHN_FIFO_PENDING = 31,
        EVTCHN_FIFO_MASKED = 30,
        EVTCHN_FIFO_LINKED = 29,
        EVTCHN_FIFO_BUSY = 28,
        EVTCHN_FIFO_LINK_BITS = 17,
    }
    "Mask of the link in a FIFO event word." u32 {
        EVTCHN_FIFO_LINK_MASK = (1 << EVTCHN_FIFO_LINK_BITS) - 1,
    }
}

/// Command of `event_channel_op`: a reset goes on. The headers show it to the hypervisor only.
#[allow(
    non_upper_case_globals,
    reason = "the header's spelling, so that grep finds both"
)]
pub const EVTCHNOP_reset_cont: u32 = 14;

abi_structs! {
    /// Argument of `EVTCHNOP_alloc_unbound`.
    pub struct EvtchnAllocUnbound: "struct evtchn_alloc_unbound", 8, align 4 {
        /// In: whose port it will be.
        pub dom: u16,
        /// In: who may bind to it.
        pub remote_dom: u16,
        /// Out: the port.
        pub port: u32,
    }

    /// Argument of `EVTCHNOP_bind_interdomain`.
    pub struct EvtchnBindInterdomain: "struct evtchn_bind_interdomain", 12, align 4 {
        /// In: the other domain.
        pub remote_dom: u16,
        /// In: its port.
        pub remote_port: u32,
        /// Out: the caller's port.
        pub local_port: u32,
    }

    /// Argument of `EVTCHNOP_bind_virq`.
    pub struct EvtchnBindVirq: "struct evtchn_bind_virq", 12, align 4 {
        /// In: `VIRQ_*`.
        pub virq: u32,
        /// In: the vcpu; 0 for a global one.
        pub vcpu: u32,
        /// Out: the port.
        pub port: u32,
    }

    /// Argument of `EVTCHNOP_bind_pirq`.
    pub struct EvtchnBindPirq: "struct evtchn_bind_pirq", 12, align 4 {
        /// In: the physical interrupt.
        pub pirq: u32,
        /// In: `BIND_PIRQ__WILL_SHARE` or 0.
        pub flags: u32,
        /// Out: the port.
        pub port: u32,
    }

    /// Argument of `EVTCHNOP_bind_ipi`.
    pub struct EvtchnBindIpi: "struct evtchn_bind_ipi", 8, align 4 {
        /// In: the vcpu that is notified.
        pub vcpu: u32,
        /// Out: the port.
        pub port: u32,
    }

    /// Argument of `EVTCHNOP_close`.
    pub struct EvtchnClose: "struct evtchn_close", 4, align 4 {
        /// In: the port.
        pub port: u32,
    }

    /// Argument of `EVTCHNOP_send`.
    pub struct EvtchnSend: "struct evtchn_send", 4, align 4 {
        /// In: the caller's port.
        pub port: u32,
    }

    /// Argument of `EVTCHNOP_status`.
    pub struct EvtchnStatus: "struct evtchn_status", 24, align 4 {
        /// In: whose port.
        pub dom: u16,
        /// In: the port.
        pub port: u32,
        /// Out: `EVTCHNSTAT_*`.
        pub status: u32,
        /// Out: the vcpu that is notified.
        pub vcpu: u32,
        /// Out: the pirq, the virq, or in the low 16 bits the remote domain.
        pub u: u32 = "u.pirq",
        /// Out: the remote port, of an interdomain channel.
        pub u_port: u32 = "u.interdomain.port",
    }

    /// Argument of `EVTCHNOP_bind_vcpu`.
    pub struct EvtchnBindVcpu: "struct evtchn_bind_vcpu", 8, align 4 {
        /// In: the port.
        pub port: u32,
        /// In: the vcpu to notify from now on.
        pub vcpu: u32,
    }

    /// Argument of `EVTCHNOP_unmask`.
    pub struct EvtchnUnmask: "struct evtchn_unmask", 4, align 4 {
        /// In: the port.
        pub port: u32,
    }

    /// Argument of `EVTCHNOP_reset`.
    pub struct EvtchnReset: "struct evtchn_reset", 2, align 2 {
        /// In: whose ports to close.
        pub dom: u16,
    }

    /// Argument of `EVTCHNOP_init_control`.
    pub struct EvtchnInitControl: "struct evtchn_init_control", 24, align 8 {
        /// In: frame of the control block.
        pub control_gfn: u64,
        /// In: where in the frame.
        pub offset: u32,
        /// In: whose block.
        pub vcpu: u32,
        /// Out: width of a link.
        pub link_bits: u8,
        /// Unused.
        pub pad: [u8; 7] = "_pad",
    }

    /// Argument of `EVTCHNOP_expand_array`.
    pub struct EvtchnExpandArray: "struct evtchn_expand_array", 8, align 8 {
        /// In: the next frame of event words.
        pub array_gfn: u64,
    }

    /// Argument of `EVTCHNOP_set_priority`.
    pub struct EvtchnSetPriority: "struct evtchn_set_priority", 8, align 4 {
        /// In: the port.
        pub port: u32,
        /// In: 0 to 15.
        pub priority: u32,
    }

    /// Where a vcpu finds the heads of its FIFO queues.
    pub struct EvtchnFifoControlBlock: "struct evtchn_fifo_control_block", 72, align 4 {
        /// A bit per queue that is not empty.
        pub ready: u32,
        /// Unused.
        pub rsvd: u32 = "_rsvd",
        /// First port of each queue.
        pub head: [u32; EVTCHN_FIFO_MAX_QUEUES],
    }
}
