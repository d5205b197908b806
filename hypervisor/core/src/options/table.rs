//! The one list of boot options.

use alloc::string::String;
use alloc::vec::Vec;

use super::values::{
    ComPort, Consoles, Dom0Mem, LogThresholds, VcpuRange, parse_number, parse_size, parse_switch,
};
use super::{Options, Problem};
use crate::policy::features::{CpuidOption, Word};

/// How an option takes its value.
enum Setter {
    /// Yes or no.
    Switch(fn(&mut Options) -> &mut bool),
    /// A value that must be there; `None` if it is none.
    Value(fn(&mut Options, &str) -> Option<()>),
}

/// One option: all that parsing and help need.
pub(super) struct BootOption {
    /// The word before `=`.
    pub(super) name: &'static str,
    /// The value's syntax, as in the manual; empty for a switch.
    syntax: &'static str,
    /// What a value must be, for "expected ...".
    expected: &'static str,
    /// What holds without the option.
    default: &'static str,
    /// What it does.
    help: &'static str,
    setter: Setter,
}

const SWITCH: &str = "yes or no";
const LEVELS: &str = "none, error, warning, info, debug or all, or two of them parted by a slash";
const LEVEL_SYNTAX: &str = "<level>[/<rate-limited level>]";
const SIZE: &str = "a size such as 512M or 2G (without a letter: KiB)";
const MASK: &str = "a 32-bit number such as 0xfffffffe";
const SERIAL: &str = "BAUD[,DPS[,PORT[,IRQ]]] such as 115200,8n1,0x3f8,4";
const SERIAL_SYNTAX: &str = "<baud>[,<data><parity><stop>[,<port>[,<irq>]]]";

/// Every option, in the order of the help text.
pub(super) const OPTIONS: &[BootOption] = &[
    BootOption {
        name: "dom0_mem",
        syntax: "<size>[,min:<size>][,max:<size>]",
        expected: "sizes such as 1G, min:512M, max:2G or -256M, parted by commas",
        default: "all but a sixteenth, which is at most 128M",
        help: "Memory of domain 0. A negative size means all memory but that. max: also bounds what domain 0 can get \
               later by ballooning.",
        setter: Setter::Value(|o, v| Dom0Mem::parse(v).map(|m| o.dom0_mem = m)),
    },
    BootOption {
        name: "dom0_max_vcpus",
        syntax: "<n> | <min>-<max>",
        expected: "a number from 1 on, or two as in 2-4",
        default: "as many as CPUs",
        help: "Number of vcpus of domain 0. Of two numbers, the one nearest to the number of CPUs counts.",
        setter: Setter::Value(|o, v| VcpuRange::parse(v).map(|r| o.dom0_max_vcpus = Some(r))),
    },
    BootOption {
        name: "console",
        syntax: "com1 | com2 | none, or a list",
        expected: "com1, com2 or none, or a list parted by commas",
        default: "com1",
        help: "Where the hypervisor's lines go, and where domain 0's console is read from. vga is taken and ignored.",
        setter: Setter::Value(|o, v| Consoles::parse(v).map(|c| o.console = c)),
    },
    BootOption {
        name: "com1",
        syntax: SERIAL_SYNTAX,
        expected: SERIAL,
        default: "115200,8n1,0x3f8,4",
        help: "The first serial port. A baud rate of auto keeps the firmware's; an irq of 0 polls.",
        setter: Setter::Value(|o, v| ComPort::COM1.parse(v).map(|p| o.com[0] = p)),
    },
    BootOption {
        name: "com2",
        syntax: SERIAL_SYNTAX,
        expected: SERIAL,
        default: "115200,8n1,0x2f8,3",
        help: "The second serial port.",
        setter: Setter::Value(|o, v| ComPort::COM2.parse(v).map(|p| o.com[1] = p)),
    },
    BootOption {
        name: "sched",
        syntax: "<name>",
        expected: "the name of a scheduler",
        default: "the first scheduler that xm info lists",
        help: "The scheduler of vcpus.",
        setter: Setter::Value(|o, v| (!v.is_empty()).then(|| o.sched = Some(v.into()))),
    },
    BootOption {
        name: "nosmp",
        syntax: "",
        expected: SWITCH,
        default: "no",
        help: "Use the boot CPU only.",
        setter: Setter::Switch(|o| &mut o.nosmp),
    },
    BootOption {
        name: "maxcpus",
        syntax: "<n>",
        expected: "a number from 1 on",
        default: "all CPUs",
        help: "Use at most so many CPUs.",
        setter: Setter::Value(|o, v| {
            parse_number(v)
                .filter(|n| *n != 0)
                .map(|n| o.maxcpus = Some(n))
        }),
    },
    BootOption {
        name: "noreboot",
        syntax: "",
        expected: SWITCH,
        default: "no",
        help: "After a crash, stop and keep the last lines on the console instead of rebooting.",
        setter: Setter::Switch(|o| &mut o.noreboot),
    },
    BootOption {
        name: "loglvl",
        syntax: LEVEL_SYNTAX,
        expected: LEVELS,
        default: "info",
        help: "Which of the hypervisor's own messages are printed: up to the first level always, up to the second at a \
               limited rate.",
        setter: Setter::Value(|o, v| LogThresholds::parse(v).map(|t| o.loglvl = t)),
    },
    BootOption {
        name: "guest_loglvl",
        syntax: LEVEL_SYNTAX,
        expected: LEVELS,
        default: "none/warning",
        help: "The same for messages that a guest causes.",
        setter: Setter::Value(|o, v| LogThresholds::parse(v).map(|t| o.guest_loglvl = t)),
    },
    BootOption {
        name: "mem",
        syntax: "<size>",
        expected: SIZE,
        default: "all memory",
        help: "Use no RAM at or above this machine address.",
        setter: Setter::Value(|o, v| parse_size(v).filter(|s| *s != 0).map(|s| o.mem = Some(s))),
    },
    BootOption {
        name: "cpuid",
        syntax: "[no-]<feature>, or a list",
        expected: "features such as no-avx2, parted by commas",
        default: "nothing hidden",
        help: "CPU features to hide from all guests, domain 0 included; without no-, one to show that is hidden unless asked for.",
        setter: Setter::Value(|o, v| merge_cpuid(&mut o.cpuid, v)),
    },
    BootOption {
        name: "cpuid_mask_ecx",
        syntax: "<mask>",
        expected: MASK,
        default: "0xffffffff",
        help: "What to keep of register ecx of CPUID leaf 1.",
        setter: Setter::Value(|o, v| mask_cpuid(&mut o.cpuid, Word::L1Ecx, v)),
    },
    BootOption {
        name: "cpuid_mask_edx",
        syntax: "<mask>",
        expected: MASK,
        default: "0xffffffff",
        help: "What to keep of register edx of CPUID leaf 1.",
        setter: Setter::Value(|o, v| mask_cpuid(&mut o.cpuid, Word::L1Edx, v)),
    },
    BootOption {
        name: "cpuid_mask_ext_ecx",
        syntax: "<mask>",
        expected: MASK,
        default: "0xffffffff",
        help: "What to keep of register ecx of CPUID leaf 0x80000001.",
        setter: Setter::Value(|o, v| mask_cpuid(&mut o.cpuid, Word::E1Ecx, v)),
    },
    BootOption {
        name: "cpuid_mask_ext_edx",
        syntax: "<mask>",
        expected: MASK,
        default: "0xffffffff",
        help: "What to keep of register edx of CPUID leaf 0x80000001.",
        setter: Setter::Value(|o, v| mask_cpuid(&mut o.cpuid, Word::E1Edx, v)),
    },
];

/// Adds a list of features to those named so far; of a feature named twice, the last counts.
fn merge_cpuid(cpuid: &mut CpuidOption, list: &str) -> Option<()> {
    let more = CpuidOption::parse(list).ok()?;
    cpuid.hidden = cpuid.hidden.without(more.asked);
    cpuid.asked = cpuid.asked.without(more.hidden);
    for (all, new) in [
        (&mut cpuid.hidden, more.hidden),
        (&mut cpuid.asked, more.asked),
    ] {
        all.0
            .iter_mut()
            .zip(new.0)
            .for_each(|(word, bits)| *word |= bits);
    }
    Some(())
}

/// Hides the features whose bits are 0 in `mask`.
fn mask_cpuid(cpuid: &mut CpuidOption, word: Word, mask: &str) -> Option<()> {
    let cleared = !parse_number(mask)?;
    cpuid.hidden.0[word as usize] |= cleared;
    Some(())
}

impl BootOption {
    pub(super) const fn is_switch(&self) -> bool {
        matches!(self.setter, Setter::Switch(_))
    }

    /// Sets the option, or says what is wrong with the value.
    pub(super) fn apply(&self, options: &mut Options, value: Option<&str>) -> Result<(), Problem> {
        let done = match self.setter {
            Setter::Switch(field) => parse_switch(value).map(|on| *field(options) = on),
            Setter::Value(set) => value
                .filter(|v| !v.is_empty())
                .and_then(|v| set(options, v)),
        };
        done.ok_or_else(|| Problem::BadValue {
            option: self.name,
            value: value.unwrap_or_default().into(),
            expected: self.expected,
        })
    }

    /// Appends a paragraph of help.
    pub(super) fn write_help(&self, text: &mut String) {
        let head: [&str; 3] = if self.is_switch() {
            [self.name, "", "[=yes|no]"]
        } else {
            [self.name, "=", self.syntax]
        };
        head.iter().for_each(|part| text.push_str(part));
        let body: Vec<&str> = self
            .help
            .split(' ')
            .chain(["Default:"])
            .chain(self.default.split(' '))
            .collect();
        let mut column = usize::MAX;
        for word in body {
            if column.saturating_add(word.len() + 1) > 80 {
                text.push_str("\n   ");
                column = 3;
            }
            text.push(' ');
            text.push_str(word);
            column += word.len() + 1;
        }
        text.push_str(".\n");
    }
}
