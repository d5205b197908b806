//! Why an event-channel operation failed.

use rexen_abi::errno::Errno;

/// Why an event-channel operation was refused. Nothing has changed when one is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvtchnError {
    /// The port is 0, beyond the limit, or closed.
    BadPort,
    /// The port's state does not allow the operation.
    WrongState,
    /// An argument is outside its range.
    BadArgument,
    /// The domain is being destroyed.
    Dying,
    /// The domain has no such vcpu.
    NoVcpu,
    /// The virq or pirq is bound already.
    AlreadyBound,
    /// Every port is in use.
    NoFreePort,
    /// The event array has all its pages.
    ArrayFull,
    /// The hypervisor has no memory for more ports.
    NoMemory,
    /// The operation needs the FIFO ABI, which the domain has not switched on.
    NotFifo,
    /// All ports are being closed already, or are not when that is to go on.
    Busy,
    /// Ports were opened while all were being closed.
    StillOpen,
    /// The structure would not fit its frame, or is not aligned.
    BadLocation,
}

impl From<EvtchnError> for Errno {
    fn from(error: EvtchnError) -> Self {
        match error {
            EvtchnError::BadPort
            | EvtchnError::WrongState
            | EvtchnError::BadArgument
            | EvtchnError::Dying => Errno::EINVAL,
            EvtchnError::NoVcpu => Errno::ENOENT,
            EvtchnError::AlreadyBound => Errno::EEXIST,
            EvtchnError::NoFreePort | EvtchnError::ArrayFull => Errno::ENOSPC,
            EvtchnError::NoMemory => Errno::ENOMEM,
            EvtchnError::NotFifo => Errno::EOPNOTSUPP,
            EvtchnError::Busy => Errno::EBUSY,
            EvtchnError::StillOpen => Errno::EAGAIN,
            EvtchnError::BadLocation => Errno::ENXIO,
        }
    }
}
