//! The state machine of a domain: pure, so that every path of it is tested without a domain.
//!
//! ```text
//! building --> paused <--> running --> shutting-down --+--> dying --> (gone)
//!     |                       |             |          |
//!     v                       +--> crashed -+----------+--> restarting --> building
//!   (gone)                                             +--> stopped (preserved)
//! ```

use std::time::Duration;

use rexen_config::spec::{DomainSpec, ExitAction, ExitReason};

use crate::journal::Restart;
use crate::world::{DomainInfo, Exit};

/// Where a domain is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Being made.
    Building,
    /// Its vcpus may run.
    Running,
    /// A toolstack stopped it.
    Paused,
    /// It was asked to end.
    ShuttingDown,
    /// It crashed, and stays for inspection.
    Crashed,
    /// It ended, and stays for inspection.
    Stopped,
    /// It ended, and will be made again.
    Restarting,
    /// Being destroyed.
    Dying,
}

impl Phase {
    /// The word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::ShuttingDown => "shutting-down",
            Self::Crashed => "crashed",
            Self::Stopped => "stopped",
            Self::Restarting => "restarting",
            Self::Dying => "dying",
        }
    }

    /// Where a domain is that was found running when xend started.
    pub fn of(info: &DomainInfo) -> Self {
        match info {
            DomainInfo { dying: true, .. } => Self::Dying,
            DomainInfo {
                shutdown: Some(exit),
                ..
            } if exit.is_crash() => Self::Crashed,
            DomainInfo {
                shutdown: Some(_), ..
            } => Self::Stopped,
            DomainInfo { paused: true, .. } => Self::Paused,
            _ => Self::Running,
        }
    }
}

/// What somebody asked a domain to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end; its policy applies.
    Poweroff,
    /// To end for good.
    Halt,
    /// To be made again.
    Reboot,
    /// To suspend.
    Suspend,
}

/// What is to be done with a domain that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Destroy it.
    Destroy,
    /// Destroy it and make it again after a while.
    Restart,
    /// Leave it.
    Preserve,
    /// Rename it, leave it, and make it again.
    RenameRestart,
}

/// Decides about a domain that has ended by itself.
pub fn after_exit(spec: &DomainSpec, exit: Exit, asked: Option<Asked>) -> Order {
    let reason = match exit {
        Exit::Suspend => return Order::Preserve,
        Exit::Poweroff => ExitReason::Poweroff,
        Exit::Reboot => ExitReason::Reboot,
        Exit::Crash => ExitReason::Crash,
        Exit::Watchdog => ExitReason::Watchdog,
    };
    match asked {
        Some(Asked::Halt) if !exit.is_crash() => return Order::Destroy,
        Some(Asked::Reboot) if !exit.is_crash() => return Order::Restart,
        _ => {}
    }
    match spec.exit_action(reason) {
        ExitAction::Destroy | ExitAction::CoredumpDestroy => Order::Destroy,
        ExitAction::Restart | ExitAction::CoredumpRestart => Order::Restart,
        ExitAction::Preserve => Order::Preserve,
        ExitAction::RenameRestart => Order::RenameRestart,
    }
}

/// A domain that lived this long, in seconds, is no longer in a series of restarts (2.0's `restarting too fast` limit).
const SETTLED: u64 = 20;
const FIRST_DELAY: u64 = 5;
const LONGEST_DELAY: u64 = 300;

/// Whether a domain that ends now was started again only shortly before.
pub fn in_series(restart: &Restart, now: u64) -> bool {
    restart.last != 0 && now.saturating_sub(restart.last) < SETTLED
}

/// How long to wait with the next restart, and the count that goes with it: at once after a settled life, then 5, 10, ... 300 s.
pub fn back_off(restart: &Restart, now: u64) -> (Duration, Restart) {
    if !in_series(restart, now) {
        return (
            Duration::ZERO,
            Restart {
                pending: true,
                attempts: 0,
                ..*restart
            },
        );
    }
    let next = Restart {
        pending: true,
        attempts: restart.attempts.saturating_add(1),
        ..*restart
    };
    (Duration::from_secs(delay(next.attempts)), next)
}

fn delay(attempts: u32) -> u64 {
    match attempts {
        0 => 0,
        n => FIRST_DELAY
            .saturating_mul(1 << (n - 1).min(16))
            .min(LONGEST_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use rexen_config::spec::Restart as Mode;

    use super::*;

    fn spec() -> DomainSpec {
        DomainSpec::new("a".parse().unwrap(), 64, "/k")
    }

    #[test]
    fn restart_modes_are_those_of_xen_2() {
        use Order::{Destroy, Restart};
        let table = [
            (Mode::Always, Exit::Poweroff, Restart),
            (Mode::Always, Exit::Reboot, Restart),
            (Mode::OnReboot, Exit::Poweroff, Destroy),
            (Mode::OnReboot, Exit::Reboot, Restart),
            (Mode::OnReboot, Exit::Crash, Destroy),
            (Mode::Never, Exit::Poweroff, Destroy),
            (Mode::Never, Exit::Reboot, Destroy),
            (Mode::Never, Exit::Crash, Destroy),
        ];
        for (mode, exit, order) in table {
            let mut spec = spec();
            spec.restart = Some(mode);
            assert_eq!(after_exit(&spec, exit, None), order, "{mode} {exit:?}");
        }
        assert_eq!(
            after_exit(&spec(), Exit::Reboot, None),
            Restart,
            "the default is onreboot"
        );
    }

    #[test]
    fn actions_go_before_modes_and_requests_before_both() {
        let mut spec = spec();
        spec.restart = Some(Mode::Always);
        spec.on_crash = Some(ExitAction::Preserve);
        spec.on_reboot = Some(ExitAction::RenameRestart);
        assert_eq!(after_exit(&spec, Exit::Crash, None), Order::Preserve);
        assert_eq!(after_exit(&spec, Exit::Reboot, None), Order::RenameRestart);
        assert_eq!(
            after_exit(&spec, Exit::Poweroff, Some(Asked::Halt)),
            Order::Destroy
        );
        spec.restart = Some(Mode::Never);
        spec.on_reboot = None;
        assert_eq!(
            after_exit(&spec, Exit::Poweroff, Some(Asked::Reboot)),
            Order::Restart
        );
        assert_eq!(
            after_exit(&spec, Exit::Crash, Some(Asked::Halt)),
            Order::Preserve
        );
        assert_eq!(after_exit(&spec, Exit::Suspend, None), Order::Preserve);
        spec.on_watchdog = Some(ExitAction::Restart);
        assert_eq!(after_exit(&spec, Exit::Watchdog, None), Order::Restart);
    }

    #[test]
    fn restarts_in_quick_succession_wait_longer_each_time() {
        let mut restart = Restart::default();
        let mut now = 1000;
        let mut delays = Vec::new();
        for _ in 0..9 {
            let (delay, next) = back_off(&restart, now);
            delays.push(delay.as_secs());
            now += delay.as_secs() + 1;
            restart = Restart {
                pending: false,
                last: now,
                ..next
            };
        }
        assert_eq!(delays, [0, 5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(
            back_off(&restart, now + 1000).0,
            Duration::ZERO,
            "one that settled starts anew"
        );
    }
}
