//! What happens when a domain ends: 2.0's `restart` modes and today's `on_*` actions.

use super::SpecError;
use std::fmt;
use std::str::FromStr;

/// Enumerations written as words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every word there is.
            pub const WORDS: &[&str] = &[$($word),*];
        }

        impl FromStr for $name {
            type Err = SpecError;

            fn from_str(text: &str) -> Result<Self, SpecError> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(SpecError::invalid($what, text, format_args!("one of {}", Self::WORDS.join(", ")))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),* })
            }
        }
    };
}

words! {
    /// 2.0's restart mode.
    Restart, "restart mode" {
        /// Started again after poweroff and reboot.
        Always = "always",
        /// Started again after reboot.
        OnReboot = "onreboot",
        /// Never started again.
        Never = "never",
    }
}

words! {
    /// What to do with a domain that has ended.
    ExitAction, "action" {
        /// Removed.
        Destroy = "destroy",
        /// Removed and built again from the same specification.
        Restart = "restart",
        /// Kept under another name for inspection, and built again.
        RenameRestart = "rename-restart",
        /// Kept for inspection.
        Preserve = "preserve",
        /// Memory written to a file, then removed.
        CoredumpDestroy = "coredump-destroy",
        /// Memory written to a file, then removed and built again.
        CoredumpRestart = "coredump-restart",
    }
}

words! {
    /// How a domain ended.
    ExitReason, "exit reason" {
        /// It powered itself off.
        Poweroff = "poweroff",
        /// It asked for a reboot.
        Reboot = "reboot",
        /// It crashed.
        Crash = "crash",
        /// Its watchdog expired.
        Watchdog = "watchdog",
    }
}

impl Restart {
    /// What a mode means for an exit. A crash never restarts, in any mode: that is what 2.0 did.
    pub fn action(self, reason: ExitReason) -> ExitAction {
        match (self, reason) {
            (Self::Always, ExitReason::Poweroff | ExitReason::Reboot)
            | (Self::OnReboot, ExitReason::Reboot) => ExitAction::Restart,
            _ => ExitAction::Destroy,
        }
    }
}
