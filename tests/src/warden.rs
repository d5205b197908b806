//! Small guests as domUs: the warden (tests/guests/domu/warden) is domain 0, and creates what a plan says.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rexen_installer::{Flow, Qemu, SerialLog, cpio::Archive};

use crate::guest::{self, Verdict};
use crate::host::Host;
use crate::slots::Slot;

/// What our hypervisor's debug key C says of a world without a wrong count.
const RECOUNT: &str = "check_world: ";

/// Machine and plan of one boot.
#[derive(Clone, Debug)]
pub struct Ring {
    host: Host,
    plan: String,
    options: String,
    deadline: Duration,
    is_counted: bool,
}

impl Ring {
    /// A machine on which nothing is planned yet; three minutes to live, of which it needs a fraction when nothing else runs.
    pub fn new(host: Host) -> Self {
        Self {
            host,
            plan: String::new(),
            options: String::new(),
            deadline: Duration::from_secs(180),
            is_counted: false,
        }
    }

    /// Adds a round: a line of the plan, as tests/guests/domu/warden/plan.rs says. Our hypervisor recounts its world
    /// after each, and keeps no page; Xen's heap is its own affair.
    pub fn round(mut self, line: &str) -> Self {
        self.plan.push_str(match self.host {
            Host::Xen => "slack=128 ",
            Host::Rexen | Host::RexenDebug | Host::RexenMeasured => "recount ",
        });
        self.plan.push_str(line);
        self.plan.push('\n');
        self
    }

    /// Adds to the hypervisor's command line.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(' ');
        self.options.push_str(option);
        self
    }

    /// How long the whole may take, with the boot.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes the machine count: it has one CPU, and a tick of its TSC is an executed instruction.
    pub fn counted(mut self) -> Self {
        self.is_counted = true;
        self
    }

    /// Boots, carries the plan out, and gives the warden's verdict with the serial log.
    ///
    /// # Panics
    /// Something does not build, or QEMU cannot be started.
    pub fn run(&self) -> (Verdict, SerialLog) {
        let hypervisor = self.host.image();
        let initrd = Initrd::new(&self.plan);
        let _slot = Slot::take();
        let machine = Qemu::new(hypervisor)
            .memory_mib(256)
            .append(&format!(
                "console=com1 com1=115200,8n1 dom0_mem=64M noreboot loglvl=all{}",
                self.options
            ))
            .module(guest::image("warden"), "warden")
            .module(&initrd.0, "")
            .timeout(self.deadline);
        let machine = if self.is_counted {
            guest::counted(machine)
        } else {
            machine
        };
        let mut verdict = Verdict::Broken;
        let run = machine.run_until(|line| {
            if let Some(parsed) = Verdict::parse("warden", line) {
                verdict = parsed;
                return Flow::StopWithin(Duration::from_millis(200));
            }
            if line.contains(guest::PANIC) || guest::tells_crash(line) {
                verdict = Verdict::Broken;
                return Flow::StopWithin(Duration::from_secs(1));
            }
            Flow::GoOn
        });
        match run {
            Ok(run) if guest::is_late(self.host, &run) => (Verdict::Broken, run.log),
            Ok(run) => (verdict, run.log),
            Err(error) => panic!("running QEMU: {error}"),
        }
    }

    /// Carries the plan out and demands that every guest passes, nothing is lost, and every recount is right.
    ///
    /// # Panics
    /// Something is not so.
    pub fn demand(&self) -> SerialLog {
        let (verdict, log) = self.run();
        assert!(
            matches!(verdict, Verdict::Pass(_)),
            "on {:?}: {verdict}\n{}\n{log}",
            self.host,
            guest::complaints(&log.to_string())
        );
        let (right, wrong): (Vec<&str>, Vec<&str>) = log
            .lines()
            .filter(|line| line.contains(RECOUNT))
            .partition(|line| line.contains("check_world: 0 mismatches"));
        assert!(wrong.is_empty(), "on {:?}: {wrong:?}\n{log}", self.host);
        if self.host != Host::Xen {
            assert_eq!(right.len(), self.plan.lines().count(), "recounts\n{log}");
        }
        log
    }
}

/// A file with the plan and the images that it names; it goes with this value.
struct Initrd(PathBuf);

impl Initrd {
    fn new(plan: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut archive = Archive::new();
        archive.file("plan", 0o644, plan);
        for name in images(plan) {
            let content = fs::read(guest::image(name)).expect("a built image can be read");
            archive.file(name, 0o644, content);
        }
        let bytes = archive.finish().expect("the archive is sound");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rexen-warden-{}-{number}.cpio", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).expect("the temporary folder takes the initrd");
        Self(path)
    }
}

impl Drop for Initrd {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The images that a plan names.
fn images(plan: &str) -> BTreeSet<&str> {
    let guests = plan.lines().flat_map(|line| line.split(':').skip(1));
    guests
        .filter_map(|words| {
            let image = words
                .split_whitespace()
                .find_map(|word| word.strip_prefix("image="));
            image.or_else(|| words.split_whitespace().next())
        })
        .collect()
}

/// The hostile guests, a class of attack each, in rings of one boot: the rounds of each ring.
///
/// What each does is in its head (tests/guests/domu). They run on Debian's Xen too, and are harmless to it.
pub const HOSTILE: [(&str, &[&str]); 6] = [
    (
        "frames",
        &[
            ": hostile_page_types",
            ": hostile_linear_tables pages=2048",
            ": hostile_refcounts pages=2048",
            ": hostile_stale_tlb vcpus=2",
            ": hostile_slow_tables pages=2048",
            ": hostile_memory",
        ],
    ),
    (
        "domains",
        &[
            ": granter image=hostile_grants vcpus=2 role=grant other=1 \
             : mapper image=hostile_grants vcpus=2 role=map other=0",
            ": hostile_grant_versions",
            ": hostile_events",
            ": hostile_domains",
            ": hostile_console",
            ": hostile_vcpus vcpus=4",
        ],
    ),
    (
        "processor",
        &[
            ": hostile_segments",
            ": hostile_io",
            ": hostile_returns vcpus=2",
            ": r0 image=hostile_recursion case=0 : r1 image=hostile_recursion case=1 \
             : r2 image=hostile_recursion case=2 : r3 image=hostile_recursion case=3",
            ": r4 image=hostile_recursion case=4 : r5 image=hostile_recursion case=5 \
             : r6 image=hostile_recursion case=6 : r7 image=hostile_recursion case=7",
            ": r8 image=hostile_recursion case=8 : r9 image=hostile_recursion case=9 \
             : r10 image=hostile_recursion case=10 : r11 image=hostile_recursion case=11",
        ],
    ),
    (
        "calls",
        &[
            ": hostile_multicall pages=2048",
            ": hostile_pointers",
            ": hostile_hypervisor_memory",
        ],
    ),
    // Guests that are destroyed wherever they are: granter first, mapper first, in the middle of whatever takes long.
    (
        "dying",
        &[
            "repeat=10 : granter image=hostile_grants vcpus=2 role=grant other=1 background \
             : mapper image=hostile_grants vcpus=2 role=map other=0 background : tiny linger=100",
            "repeat=10 : mapper image=hostile_grants vcpus=2 role=map other=1 background \
             : granter image=hostile_grants vcpus=2 role=grant other=0 background : tiny linger=100",
            "repeat=6 : hostile_slow_tables pages=2048 background : tiny linger=300",
            "repeat=6 : hostile_refcounts pages=2048 background : tiny linger=100",
            "repeat=6 : hostile_vcpus vcpus=4 background : tiny linger=300",
            "repeat=6 : hostile_stale_tlb vcpus=2 background : hostile_memory background : tiny linger=100",
        ],
    ),
    (
        "together",
        &[
            "timeout=100000 heap=64 : hostile_page_types : hostile_events : hostile_domains : hostile_segments \
             : hostile_io : hostile_hypervisor_memory : hostile_multicall pages=2048 : hostile_pointers \
             : hostile_memory : hostile_console : hostile_stale_tlb vcpus=2 : hostile_vcpus vcpus=4 \
             : hostile_grant_versions : hostile_returns vcpus=2",
        ],
    ),
];

/// Runs one ring of [`HOSTILE`] and demands that all goes well.
///
/// # Panics
/// It does not, or there is no such ring.
pub fn demand_hostile(host: Host, ring: &str) {
    let rounds = HOSTILE.iter().find(|(name, _)| *name == ring);
    let (_, rounds) = rounds.unwrap_or_else(|| panic!("no ring {ring}"));
    let rounds = rounds.iter();
    rounds
        .fold(Ring::new(host), |ring, round| ring.round(round))
        .demand();
}

/// Defines the tests of the hostile guests on one hypervisor.
#[macro_export]
macro_rules! hostile_tests {
    ($host:expr) => {
        $crate::hostile_tests! { $host; frames domains processor calls dying together }
    };
    ($host:expr; $($ring:ident)+) => {
        $(
            #[test]
            fn $ring() {
                $crate::warden::demand_hostile($host, stringify!($ring));
            }
        )+

        #[test]
        fn every_ring_has_its_test() {
            let rings = $crate::warden::HOSTILE.map(|(name, _)| name);
            assert_eq!(rings, [$(stringify!($ring)),+]);
        }
    };
}

/// Defines the tests of many small domains on one hypervisor.
#[macro_export]
macro_rules! domain_tests {
    ($host:expr) => {
        use $crate::warden::Ring;

        #[test]
        fn a_hundred_domains_one_after_the_other_leave_nothing_behind() {
            Ring::new($host).round("repeat=100 : tiny").demand();
        }

        #[test]
        fn events_between_domains_are_not_lost_whichever_abi_they_use() {
            let round = |[answer, ask]: [u32; 2]| {
                format!(
                    "heap=64 : channels role=answer fifo={answer} background : channels role=ask fifo={ask}"
                )
            };
            [[0, 0], [0, 1], [1, 0], [1, 1]]
                .iter()
                .fold(Ring::new($host), |ring, abis| ring.round(&round(*abis)))
                .demand();
        }

        #[test]
        fn domains_balloon_side_by_side_and_see_nothing_of_each_other() {
            // Xen leaves it to a living domain to clear what it gives back.
            let secret = if $host == Host::Xen { "" } else { "secret=1" };
            let guest = |tag| format!(": balloon vcpus=2 pages=1024 tag={tag} {secret} ");
            Ring::new($host)
                .round(&format!(
                    "repeat=2 timeout=40000 heap=64 {}{}",
                    guest(1),
                    guest(2)
                ))
                .demand();
        }

        #[test]
        fn sixteen_domains_at_once_leave_nothing_behind() {
            let guests = ": tiny pages=768 vcpus=2".repeat(16);
            Ring::new($host)
                .round(&format!("repeat=2 heap=64 timeout=60000 {guests}"))
                .demand();
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hostile_guest_is_in_a_ring() {
        let rounds = HOSTILE.iter().flat_map(|(_, rounds)| *rounds);
        let plan = rounds.copied().collect::<Vec<_>>().join("\n");
        let mut folders = guest::domu_names();
        folders.retain(|name| name.starts_with("hostile_"));
        let mut run = images(&plan);
        run.remove("tiny");
        assert_eq!(run, folders.iter().map(String::as_str).collect());
    }

    #[test]
    fn a_plan_names_its_images() {
        let plan = "recount repeat=3 : tiny vcpus=2 : other image=pair role=a\n: tiny";
        assert_eq!(images(plan), BTreeSet::from(["tiny", "pair"]));
    }
}
