//! A domain's way from creation to destruction: what the toolstack has done to it.

use core::sync::atomic::{AtomicU8, Ordering::SeqCst};

use rexen_abi::errno::Errno;

use crate::sync::{Mutex, MutexGuard};

/// How often the toolstack may have paused a domain at a time.
const MAX_PAUSES: u32 = 255;

/// Where a domain is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// It lives, or is under construction.
    Alive,
    /// It is being destroyed: it gets nothing new, and its vcpus do not run again.
    Dying,
    /// Nothing is left but what others use of it: frames that they map. Then the tools see that it is dying.
    Dead,
}

/// The state of one domain's life.
pub struct Life {
    stage: AtomicU8,
    control: Mutex<Control>,
    /// How far its destruction has come. Who destroys it tries this lock, and holds it for one turn.
    pub teardown: Mutex<Teardown>,
}

/// How far the destruction of a domain has come (`hypercall/teardown.rs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Teardown {
    /// Which step is next.
    pub step: Step,
    /// The step's own place.
    pub cursor: u64,
}

/// The steps of a destruction, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Waits for its vcpus to leave their CPUs.
    #[default]
    Stop,
    /// Closes its ports, and waits until nobody can still be raising an event in it.
    Events,
    /// Drops what its vcpus hold; the cursor is a vcpu's number.
    Vcpus,
    /// Gives its frames up; the cursor is a frame's number.
    Frames,
    /// Lets go of frames that others granted it; the cursor is a handle.
    Mappings,
    /// All is done that the domain itself needs done.
    Done,
}

/// What changes only under a lock, so that the vcpus' flags say the same.
#[derive(Debug)]
pub struct Control {
    pauses: u32,
}

impl Control {
    /// Counts a pause. True: it is the first, so the vcpus must stop.
    ///
    /// # Errors
    /// EOVERFLOW: too many.
    pub fn pause(&mut self) -> Result<bool, Errno> {
        if self.pauses >= MAX_PAUSES {
            return Err(Errno::EOVERFLOW);
        }
        self.pauses += 1;
        Ok(self.pauses == 1)
    }

    /// Takes a pause back. True: it was the last, so the vcpus may run.
    ///
    /// # Errors
    /// EINVAL: the domain is not paused.
    pub fn unpause(&mut self) -> Result<bool, Errno> {
        self.pauses = self.pauses.checked_sub(1).ok_or(Errno::EINVAL)?;
        Ok(self.pauses == 0)
    }

    /// Whether the toolstack keeps the domain from running.
    pub fn is_paused(&self) -> bool {
        self.pauses != 0
    }
}

impl Life {
    /// Of a new domain, which is paused `pauses` times.
    pub fn new(pauses: u32) -> Self {
        Life {
            stage: AtomicU8::new(Stage::Alive as u8),
            control: Mutex::new(Control { pauses }),
            teardown: Mutex::default(),
        }
    }

    /// Where it is on its way.
    pub fn stage(&self) -> Stage {
        match self.stage.load(SeqCst) {
            0 => Stage::Alive,
            1 => Stage::Dying,
            _ => Stage::Dead,
        }
    }

    /// Goes on to `stage`; never back.
    pub fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, SeqCst);
    }

    /// The lock under which the vcpus are stopped and let go by the toolstack, or by a shutdown.
    pub fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock()
    }
}
