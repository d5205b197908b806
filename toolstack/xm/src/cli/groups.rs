//! How `xm help` and the man page group the commands.

/// One group of commands.
pub struct Group {
    /// The line above the group; none for the first.
    pub title: Option<&'static str>,
    /// 2.0's commands, which abbreviations mean first.
    pub classic: &'static [&'static str],
    /// Those that came later.
    pub today: &'static [&'static str],
}

/// All groups, in the order of 2.0's keys for them: all, console, domain, host, scheduler, vbd, vif.
pub const GROUPS: [Group; 7] = [
    Group {
        title: None,
        classic: &["call", "help"],
        today: &["completion"],
    },
    Group {
        title: Some("Commands for consoles:"),
        classic: &["console", "consoles"],
        today: &[],
    },
    Group {
        title: Some("Commands for domains:"),
        classic: &[
            "balloon", "create", "destroy", "domid", "domname", "list", "maxmem", "migrate",
            "pause", "pincpu", "restore", "save", "shutdown", "sysrq", "unpause",
        ],
        today: &[
            "reboot",
            "rename",
            "top",
            "trigger",
            "uptime",
            "vcpu-list",
            "vcpu-pin",
            "vcpu-set",
        ],
    },
    Group {
        title: Some("Commands for the host:"),
        classic: &["dmesg", "info", "log"],
        today: &["debug-keys", "events"],
    },
    Group {
        title: Some("Commands for scheduling:"),
        classic: &["atropos", "bvt", "bvt_ctxallow", "rrobin"],
        today: &["sched-credit"],
    },
    Group {
        title: Some("Commands for virtual block devices:"),
        classic: &["vbd-create", "vbd-destroy", "vbd-list"],
        today: &["block-attach", "block-detach", "block-list", "vbd-refresh"],
    },
    Group {
        title: Some("Commands for virtual network interfaces:"),
        classic: &["vif-list"],
        today: &[
            "network-attach",
            "network-detach",
            "network-list",
            "vif-limit",
        ],
    },
];

impl Group {
    /// Its commands, sorted.
    pub fn commands(&self) -> Vec<&'static str> {
        let mut all = [self.classic, self.today].concat();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_is_in_one_group() {
        let grouped: Vec<_> = GROUPS.iter().flat_map(Group::commands).collect();
        let defined = Cli::command();
        let defined: BTreeSet<_> = defined
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
            .map(|c| c.get_name().to_owned())
            .collect();
        assert_eq!(grouped.len(), defined.len());
        let grouped: BTreeSet<_> = grouped.into_iter().map(str::to_owned).collect();
        assert_eq!(grouped, defined);
    }
}
