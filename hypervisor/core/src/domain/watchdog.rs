//! A domain's watchdogs: it is shut down when it does not set one anew in time (`public/sched.h`, SCHEDOP_watchdog).

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rexen_abi::errno::Errno;

use crate::units::Nanos;

/// Not in use.
const FREE: u64 = 0;

/// The two watchdogs of a domain.
#[derive(Default)]
pub struct Watchdogs {
    /// When each expires, in ns; [`FREE`] if not in use.
    deadlines: [AtomicU64; 2],
}

impl Watchdogs {
    /// Sets watchdog `id` to `deadline` ns, or ends it. Id 0 takes a free one; its id is returned then, else 0.
    ///
    /// # Errors
    /// EINVAL: no such watchdog in use, or a new one without a deadline. ENOSPC: both are in use.
    pub fn set(&self, id: u32, deadline: Option<u64>) -> Result<u32, Errno> {
        let deadline = deadline.map(|at| at.max(1));
        let Some(index) = id.checked_sub(1) else {
            let deadline = deadline.ok_or(Errno::EINVAL)?;
            let taken =
                |at: &AtomicU64| at.compare_exchange(FREE, deadline, SeqCst, SeqCst).is_ok();
            return (1..)
                .zip(&self.deadlines)
                .find(|(_, at)| taken(at))
                .map(|(id, _)| id)
                .ok_or(Errno::ENOSPC);
        };
        let slot = self.deadlines.get(index as usize).ok_or(Errno::EINVAL)?;
        let set = |at| (at != FREE).then_some(deadline.unwrap_or(FREE));
        slot.fetch_update(SeqCst, SeqCst, set)
            .map(|_| 0)
            .map_err(|_| Errno::EINVAL)
    }

    /// Whether one has expired: then the domain is to be shut down (SHUTDOWN_watchdog).
    #[inline]
    pub fn expired(&self, now: Nanos) -> bool {
        self.deadlines
            .iter()
            .any(|at| !matches!(at.load(SeqCst), FREE) && at.load(SeqCst) <= now.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_watchdog_gets_an_id_and_expires() {
        let dogs = Watchdogs::default();
        assert_eq!(dogs.set(0, Some(10)), Ok(1));
        assert_eq!(dogs.set(0, Some(20)), Ok(2));
        assert_eq!(dogs.set(0, Some(30)), Err(Errno::ENOSPC));
        assert!(!dogs.expired(Nanos(9)));
        assert!(dogs.expired(Nanos(10)));
        assert_eq!(dogs.set(1, None), Ok(0));
        assert!(!dogs.expired(Nanos(19)));
        assert!(dogs.expired(Nanos(20)));
    }

    #[test]
    fn a_watchdog_that_is_not_in_use_cannot_be_set() {
        let dogs = Watchdogs::default();
        for id in [1, 2, 3, u32::MAX] {
            assert_eq!(dogs.set(id, Some(10)), Err(Errno::EINVAL));
        }
        assert_eq!(dogs.set(0, None), Err(Errno::EINVAL));
        assert!(!dogs.expired(Nanos(u64::MAX)));
    }
}
