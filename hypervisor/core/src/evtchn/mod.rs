//! Event channels: one [`EventChannels`] per domain holds its ports, where its vcpus look for events, and who polls.
//!
//! A port is one atomic word (`port.rs`): its state, the vcpu it notifies, its FIFO priority and its far end. Raising an
//! event therefore takes no lock in the two-level ABI (`two_level.rs`), and one per-vcpu queue lock in the FIFO ABI
//! (`fifo.rs`). Binding and closing hold the domain's own admin lock (`table.rs`) and touch the far end only by
//! compare-exchange, so no operation ever holds the locks of two domains.
//!
//! ```text
//!            alloc_unbound            the far end binds
//!   Closed ───────────────▶ Unbound ─────────────────────▶ Interdomain
//!     ▲ │                      ▲                                │
//!     │ │                      └──────── the far end closes ────┘
//!     │ └─ bind_virq/ipi/pirq/interdomain ─▶ Virq, Ipi, Pirq, Interdomain
//!     └─ close, from any state
//! ```
//!
//! An event that is raised while its port is being closed may appear on what the port becomes next: guests take events
//! that nobody sent for what they are, hints. None is lost that was sent after a bind and before a close.
//!
//! Nothing here wakes or interrupts a vcpu: a raise returns [`Raised`], and the caller acts.
//!
//! Lock order: admin lock, then FIFO queue locks in ascending order of vcpu.

mod error;
mod fifo;
mod port;
mod raise;
mod shared;
mod table;
mod two_level;
mod vcpu;
mod virq;

#[cfg(test)]
mod guest;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod races;
#[cfg(test)]
pub(crate) mod ram;
#[cfg(test)]
mod tests;

pub use error::EvtchnError;
pub use fifo::{CONTROL_BLOCK_BYTES, FIFO_LINK_BITS, FIFO_NR_CHANNELS, Priority};
pub use port::{PortState, PortStatus};
pub use raise::{Raised, Sent};
pub use shared::{DwordIndex, QwordIndex, SharedFrames, SharedSpot};
pub use table::{Closed, EventChannels, Peers};
pub use two_level::TWO_LEVEL_NR_CHANNELS;
pub use vcpu::VCPU_INFO_BYTES;
pub use virq::{NR_VIRQS, Virq, VirqHandlers};
