//! Why a page-table operation was refused.

use rexen_abi::errno::Errno;

use crate::frame::FrameError;

/// Why a page-table operation was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmuError {
    /// A stop was asked for. Nothing that the guest can see has changed: run the same operation again later.
    Again,
    /// A present entry has a bit that its level does not allow.
    BadEntry,
    /// A number out of range: an index, an offset, a slot of the hypervisor's.
    BadArgument,
    /// An unknown kind of request.
    BadCommand,
    /// A level 1 entry's frame cannot be had as the entry asks: it is another's, or in use as another type.
    LeafRefused,
    /// The frame is not RAM of the expected owner, or was given back.
    NotOwned,
    /// The frame is in use as another type.
    TypeConflict,
    /// Another CPU's validation of this table is not finished.
    Busy,
    /// Too many references.
    Overflow,
    /// Pinned already.
    AlreadyPinned,
    /// Not pinned.
    NotPinned,
    /// Given back already.
    NotAllocated,
    /// This domain may not map this frame, which is no RAM.
    IoRefused,
    /// No level 1 table maps this address.
    NotMapped,
    /// A descriptor that may not stand in a GDT or LDT.
    BadDescriptor,
    /// A bug of the hypervisor; reported through [`super::MmuHost::bug`] as well.
    Bug,
}

impl From<FrameError> for MmuError {
    #[inline]
    fn from(e: FrameError) -> Self {
        match e {
            FrameError::NotOwned => MmuError::NotOwned,
            FrameError::TypeConflict => MmuError::TypeConflict,
            FrameError::Overflow => MmuError::Overflow,
            FrameError::Partial => MmuError::Busy,
            FrameError::AlreadyPinned => MmuError::AlreadyPinned,
            FrameError::NotPinned => MmuError::NotPinned,
            FrameError::NotAllocated => MmuError::NotAllocated,
            FrameError::LastUse | FrameError::Bug => MmuError::Bug,
        }
    }
}

/// As a guest sees it. `Again` never gets that far: its caller arranges a continuation.
impl From<MmuError> for Errno {
    fn from(e: MmuError) -> Self {
        match e {
            MmuError::Again | MmuError::Busy => Errno::EAGAIN,
            MmuError::IoRefused => Errno::EPERM,
            // The one refusal that guests can tell from the others; Xen 4.17 says this for level 1 entries only.
            MmuError::LeafRefused => Errno::EBUSY,
            MmuError::BadCommand => Errno::ENOSYS,
            MmuError::Bug => Errno::EIO,
            _ => Errno::EINVAL,
        }
    }
}
