//! What a guest learns of the machine, from a machine that has everything.

use crate::emulate::Mode;
use crate::policy::cpuid::{
    Asker, BadLeaf, CpuidPolicy, Extent, HostCpuid, Leaf, NO_SUBLEAF, Regs, TscView, Vendor,
};
use crate::policy::cr;
use crate::policy::features::{CpuidOption, FEATURES, FeatureSet, Visibility};

/// A machine with every feature bit set, of which a test can take some away.
pub struct Machine {
    pub vendor: Vendor,
    /// XCR0 bits that the machine knows.
    pub states: u32,
}

impl Machine {
    pub fn intel() -> Self {
        Machine {
            vendor: Vendor::Intel,
            states: 0x2e7,
        }
    }
    pub fn amd() -> Self {
        Machine {
            vendor: Vendor::Amd,
            states: 0x2e7,
        }
    }
}

const ALL: u32 = u32::MAX;

impl HostCpuid for Machine {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Regs {
        match (leaf, subleaf) {
            (0, _) if self.vendor == Vendor::Intel => [0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
            (0, _) => [0x1f, 0x6874_7541, 0x444d_4163, 0x6974_6e65],
            (1, _) => [0x000b_06a2, 0x0720_0800, ALL, ALL],
            (4, 0) => [0x121, 1, 2, 3],
            (4, _) => [0, 0, 0, 0],
            (7, 0) => [2, ALL, ALL, ALL],
            (7, 1 | 2) => [ALL, ALL, ALL, ALL],
            (0xd, 0) => [self.states, 0x340, 0x1000, 0],
            (0xd, 1) => [ALL, 0x340, 0x1900, 0],
            (0xd, 2) => [256, 576, 0, 0],
            (0xd, 5) => [64, 1088, 0, 0],
            (0xd, 6) => [512, 1152, 2, 0],
            (0xd, 7) => [1024, 1664, 0, 0],
            (0xd, 9) => [8, 2688, 0, 0],
            (0xd, _) => [0, 0, 0, 0],
            (0x8000_0000, _) => [0x8000_0028, 1, 2, 3],
            (0x8000_0008, _) => [0x3934 | 1 << 16, ALL, 0x7007, 5],
            // Whatever is not expected gives rubbish, which must not reach a guest.
            _ => [ALL, ALL, ALL, ALL],
        }
    }
}

fn policy_of(machine: &Machine) -> CpuidPolicy {
    CpuidPolicy::collect(machine).for_pv(Extent::Default, &CpuidOption::default(), false, true)
}

static TSC: TscView = TscView {
    emulated: false,
    host_safe: true,
    mode: 2,
    khz: 2_300_000,
    incarnation: 4,
    offset: 0x1_0000_0002,
    mul_frac: 0x8000_0000,
    shift: -1,
    cpu_khz: 2_300_001,
};

fn asker(mode: Mode) -> Asker<'static> {
    Asker {
        mode,
        forced: true,
        cr4: cr::CR4_FIXED,
        xcr0: 7,
        tsc: &TSC,
    }
}

fn ask(policy: &CpuidPolicy, leaf: u32, subleaf: u32) -> Regs {
    policy.answer(leaf, subleaf, &asker(Mode::User))
}

#[test]
fn a_guest_sees_just_the_shown_features_of_a_machine_that_has_all() {
    let policy = policy_of(&Machine::intel());
    for feature in FEATURES {
        assert_eq!(
            policy.has(feature.name),
            feature.visibility == Visibility::Shown,
            "{}",
            feature.name
        );
    }
    assert_eq!(
        policy.features(),
        FeatureSet::of_visibility(|v| v == Visibility::Shown),
        "bits without a name"
    );
}

#[test]
fn a_guest_sees_no_feature_that_the_machine_lacks() {
    struct Old;
    impl HostCpuid for Old {
        fn cpuid(&self, leaf: u32, _: u32) -> Regs {
            match leaf {
                0 => [1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
                1 => [0xf00, 0, 1, 1 << 26],
                0x8000_0000 => [0x8000_0001, 0, 0, 0],
                0x8000_0001 => [0, 0, 1, 1 << 29],
                // An old processor answers with its last leaf.
                _ => [0xf00, 0, 1, 1 << 26],
            }
        }
    }
    let policy =
        CpuidPolicy::collect(&Old).for_pv(Extent::Default, &CpuidOption::default(), false, true);
    let names: Vec<_> = FEATURES
        .iter()
        .map(|feature| feature.name)
        .filter(|name| policy.has(name))
        .collect();
    assert_eq!(names, ["sse2", "sse3", "hypervisor", "lm", "lahf-lm"]);
    assert_eq!(policy.answer(7, 0, &asker(Mode::User)), [0; 4]);
    assert_eq!(policy.physical_bits(), 36);
}

#[test]
fn feature_names_and_bits_are_unique() {
    for (index, feature) in FEATURES.iter().enumerate() {
        assert!(feature.bit < 32);
        for other in &FEATURES[..index] {
            assert_ne!(feature.name, other.name);
            assert!(
                (feature.word, feature.bit) != (other.word, other.bit),
                "{} and {}",
                feature.name,
                other.name
            );
        }
    }
}

#[test]
fn the_hypervisor_bit_is_always_set() {
    assert_ne!(ask(&policy_of(&Machine::amd()), 1, 0)[2] >> 31, 0);
}

#[test]
fn every_vcpu_has_apic_id_0() {
    assert_eq!(ask(&policy_of(&Machine::intel()), 1, 0)[1], 0x0020_0800);
}

#[test]
fn sysenter_is_hidden_unless_the_processor_is_intels() {
    assert!(policy_of(&Machine::intel()).has("sysenter"));
    assert!(!policy_of(&Machine::amd()).has("sysenter"));
}

#[test]
fn amd_processors_repeat_the_common_features_in_the_extended_leaf() {
    let amd = policy_of(&Machine::amd());
    let (basic, extended) = (ask(&amd, 1, 0)[3], ask(&amd, 0x8000_0001, 0)[3]);
    assert_eq!(basic & 0x0183_f3ff, extended & 0x0183_f3ff);
    assert_eq!(
        ask(&policy_of(&Machine::intel()), 0x8000_0001, 0)[3] & 0x0183_f3ff,
        0
    );
}

#[test]
fn osxsave_follows_the_vcpus_cr4() {
    let policy = policy_of(&Machine::intel());
    let user = asker(Mode::User);
    assert_eq!(policy.answer(1, 0, &user)[2] >> 27 & 1, 0);
    let user = Asker {
        cr4: user.cr4 | cr::CR4_OSXSAVE,
        ..user
    };
    assert_eq!(policy.answer(1, 0, &user)[2] >> 27 & 1, 1);
}

#[test]
fn a_kernel_that_asks_by_prefix_sees_the_hypervisors_osxsave() {
    let policy = policy_of(&Machine::intel());
    assert_eq!(policy.answer(1, 0, &asker(Mode::Kernel))[2] >> 27 & 1, 1);
    let native = Asker {
        forced: false,
        ..asker(Mode::Kernel)
    };
    assert_eq!(policy.answer(1, 0, &native)[2] >> 27 & 1, 0);
}

#[test]
fn without_xsave_there_is_no_osxsave_and_no_avx() {
    let host = CpuidPolicy::collect(&Machine::intel());
    let policy = host.for_pv(Extent::Default, &CpuidOption::default(), false, false);
    let kernel = Asker {
        cr4: cr::CR4_FIXED | cr::CR4_OSXSAVE,
        ..asker(Mode::Kernel)
    };
    assert_eq!(policy.answer(1, 0, &kernel)[2] >> 26 & 0b111, 0);
    for name in [
        "xsave",
        "avx",
        "avx2",
        "fma",
        "avx512f",
        "avx512-vbmi",
        "vaes",
        "xsavec",
    ] {
        assert!(!policy.has(name), "{name}");
    }
    assert_eq!(policy.xcr0_allowed(), 0);
    assert_eq!(policy.answer(0xd, 0, &kernel), [0; 4]);
}

#[test]
fn only_the_kernel_of_domain_0_sees_mtrr_and_eist() {
    let host = CpuidPolicy::collect(&Machine::intel());
    for (hardware, mode, seen) in [
        (true, Mode::Kernel, 1),
        (true, Mode::User, 0),
        (false, Mode::Kernel, 0),
        (false, Mode::User, 0),
    ] {
        let policy = host.for_pv(Extent::Default, &CpuidOption::default(), hardware, true);
        let regs = policy.answer(1, 0, &asker(mode));
        assert_eq!(
            (regs[3] >> 12 & 1, regs[2] >> 7 & 1),
            (seen, seen),
            "{hardware} {mode:?}"
        );
    }
}

#[test]
fn opt_in_features_are_for_those_who_ask() {
    let host = CpuidPolicy::collect(&Machine::intel());
    let none = CpuidOption::default();
    assert!(!host.for_pv(Extent::Default, &none, false, true).has("itsc"));
    assert!(host.for_pv(Extent::Max, &none, false, true).has("itsc"));
    let asked = CpuidOption::parse("itsc").unwrap();
    assert!(
        host.for_pv(Extent::Default, &asked, false, true)
            .has("itsc")
    );
}

#[test]
fn the_boot_option_hides_features_but_shows_no_hidden_ones() {
    let option = CpuidOption::parse("no-rdrand, avx2=0,smep,no-fpu-sel").unwrap();
    let policy = CpuidPolicy::collect(&Machine::intel()).for_pv(Extent::Max, &option, false, true);
    assert!(!policy.has("rdrand") && !policy.has("avx2") && !policy.has("smep"));
    assert!(
        policy.has("no-fpu-sel"),
        "a feature's name may begin with no-"
    );
    assert!(!policy.has("avx512f"), "useless without AVX2");
    assert!(policy.has("avx"));
}

#[test]
fn the_boot_options_latest_word_on_a_feature_counts() {
    let option = CpuidOption::parse("no-itsc,itsc").unwrap();
    assert!(option.asked.contains("itsc") && !option.hidden.contains("itsc"));
    assert_eq!(
        CpuidOption::parse("rdrand,frobnicate=1,x"),
        Err("frobnicate=1")
    );
    assert_eq!(CpuidOption::parse(" ,,"), Ok(CpuidOption::default()));
}

#[test]
fn leaves_that_explain_nothing_to_a_guest_are_empty() {
    for machine in [Machine::intel(), Machine::amd()] {
        let policy = policy_of(&machine);
        // Serial number, MONITOR, power, DCA, performance counters, topology; SVM, page sizes, IBS, topology.
        for leaf in [
            3,
            5,
            6,
            8,
            9,
            0xa,
            0xb,
            0xc,
            0x8000_0009,
            0x8000_000a,
            0x8000_0019,
            0x8000_001b,
            0x8000_001e,
        ] {
            assert_eq!(
                ask(&policy, leaf, 0),
                [0; 4],
                "{leaf:#x} {:?}",
                machine.vendor
            );
        }
    }
}

#[test]
fn leaves_beyond_the_last_are_empty() {
    let policy = policy_of(&Machine::intel());
    assert_eq!(ask(&policy, 0, 0)[0], 0xd);
    assert_eq!(ask(&policy, 0x8000_0000, 0)[0], 0x8000_0008);
    for leaf in [
        0xe,
        0x1f,
        0x21,
        0x3fff_ffff,
        0x4000_0100,
        0x4001_0000,
        0x7fff_ffff,
        0x8000_0009,
        ALL,
    ] {
        assert_eq!(ask(&policy, leaf, 0), [0; 4], "{leaf:#x}");
    }
    for (leaf, subleaf) in [
        (4, 1),
        (4, ALL),
        (7, 2),
        (7, ALL),
        (0xd, 3),
        (0xd, 9),
        (0xd, 63),
        (0xd, 64),
        (0xd, ALL),
    ] {
        assert_eq!(ask(&policy, leaf, subleaf), [0; 4], "{leaf:#x}.{subleaf}");
    }
}

#[test]
fn addresses_have_the_machines_width_and_48_virtual_bits() {
    let policy = policy_of(&Machine::intel());
    assert_eq!(ask(&policy, 0x8000_0008, 0)[0], 52 | 48 << 8);
    assert_eq!(ask(&policy, 0x4000_0005, 0), [0, 52, 0, 0]);
}

#[test]
fn only_the_hypervisor_leaf_at_0x40000000_carries_the_signature() {
    let policy = policy_of(&Machine::amd());
    let regs = ask(&policy, 0x4000_0000, 0);
    assert_eq!(regs[0], 0x4000_0005);
    let signature: Vec<u8> = regs[1..]
        .iter()
        .flat_map(|register| register.to_le_bytes())
        .collect();
    assert_eq!(signature, b"XenVMMXenVMM");
    for base in (0x4000_0100..0x4001_0000).step_by(0x100) {
        assert_eq!(ask(&policy, base, 0), [0; 4]);
    }
}

#[test]
fn hypervisor_leaves_tell_version_hypercall_page_and_clock() {
    let policy = policy_of(&Machine::amd());
    assert_eq!(ask(&policy, 0x4000_0001, 0), [0x4_0011, 0, 0, 0]);
    assert_eq!(ask(&policy, 0x4000_0002, 0), [1, 0x4000_0000, 1, 0]);
    assert_eq!(ask(&policy, 0x4000_0003, 0), [0b110, 2, 2_300_000, 4]);
    assert_eq!(ask(&policy, 0x4000_0003, 1), [2, 1, 0x8000_0000, ALL]);
    assert_eq!(ask(&policy, 0x4000_0003, 2), [2_300_001, 0, 0, 0]);
    assert_eq!(ask(&policy, 0x4000_0003, 3), [0; 4]);
    assert_eq!(ask(&policy, 0x4000_0004, 0), [0; 4]);
    assert_eq!(ask(&policy, 0x4000_0006, 0), [0; 4]);
}

#[test]
fn the_xsave_area_is_as_large_as_its_states() {
    let policy = policy_of(&Machine::intel());
    assert_eq!(policy.xcr0_allowed(), 0xe7, "no PKRU");
    assert_eq!(policy.xstate_size(3, false), 576);
    assert_eq!(policy.xstate_size(7, false), 832);
    assert_eq!(policy.xstate_size(0xe7, false), 2688);
    assert_eq!(policy.xstate_size(0xe7, true), 576 + 256 + 64 + 512 + 1024);
    // State 6 is aligned to 64 bytes when compacted; without state 5 it follows state 2 at once, aligned already.
    assert_eq!(policy.xstate_size(0x47, true), 832 + 512);
}

#[test]
fn leaf_0xd_describes_the_allowed_states_and_the_current_size() {
    let policy = policy_of(&Machine::intel());
    assert_eq!(ask(&policy, 0xd, 0), [0xe7, 832, 2688, 0]);
    assert_eq!(
        ask(&policy, 0xd, 1),
        [7, 832, 0, 0],
        "XSAVEOPT, XSAVEC, XGETBV1; no supervisor states"
    );
    assert_eq!(ask(&policy, 0xd, 2), [256, 576, 0, 0]);
    let small = Asker {
        xcr0: 3,
        ..asker(Mode::User)
    };
    assert_eq!(policy.answer(0xd, 0, &small)[1], 576);
}

#[test]
fn a_machine_without_avx512_state_allows_none() {
    let policy = policy_of(&Machine {
        states: 7,
        ..Machine::intel()
    });
    assert_eq!(policy.xcr0_allowed(), 7);
}

#[test]
fn the_vendor_comes_from_leaf_0() {
    let named = |text: &[u8; 12]| {
        let word = |at: usize| u32::from_le_bytes(text[at..at + 4].try_into().unwrap());
        Vendor::from_leaf0([0, word(0), word(8), word(4)])
    };
    assert_eq!(named(b"GenuineIntel"), Vendor::Intel);
    assert_eq!(named(b"AuthenticAMD"), Vendor::Amd);
    assert_eq!(named(b"HygonGenuine"), Vendor::Amd);
    assert_eq!(named(b"CentaurHauls"), Vendor::Other);
}

#[test]
fn a_policy_survives_the_way_through_the_toolstack() {
    for machine in [Machine::intel(), Machine::amd()] {
        let host = CpuidPolicy::collect(&machine);
        let max = host.for_pv(Extent::Max, &CpuidOption::default(), false, true);
        let original = policy_of(&machine);
        let mut copy = original.clone();
        for leaf in original.leaves() {
            assert_eq!(copy.set_leaf(leaf, &max), Ok(()), "{leaf:x?}");
        }
        copy.finish(&max);
        assert_eq!(copy, original);
    }
}

#[test]
fn the_toolstack_gets_each_leaf_once_and_none_beyond_the_last() {
    let policy = policy_of(&Machine::intel());
    let leaves: Vec<_> = policy
        .leaves()
        .map(|leaf| (leaf.leaf, leaf.subleaf))
        .collect();
    let mut unique = leaves.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), leaves.len());
    assert!(!leaves.contains(&(0xb, NO_SUBLEAF)), "libxc refuses it");
    for wanted in [
        (0, NO_SUBLEAF),
        (1, NO_SUBLEAF),
        (4, 0),
        (7, 0),
        (7, 1),
        (0xb, 0),
        (0xb, 1),
        (0xd, 0),
        (0xd, 2),
        (0x8000_0008, NO_SUBLEAF),
    ] {
        assert!(leaves.contains(&wanted), "{wanted:x?}");
    }
    assert!(leaves.iter().all(|(leaf, _)| {
        matches!(
            leaf,
            0..=0xd | 0x4000_0000 | 0x4000_0100 | 0x8000_0000..=0x8000_0008
        )
    }));
}

#[test]
fn the_toolstack_may_give_opt_in_features_but_no_hidden_ones() {
    let host = CpuidPolicy::collect(&Machine::intel());
    let max = host.for_pv(Extent::Max, &CpuidOption::default(), false, true);
    let mut policy = policy_of(&Machine::intel());
    let itsc = Leaf {
        leaf: 0x8000_0007,
        subleaf: NO_SUBLEAF,
        regs: [0, 0, 0, 1 << 8],
    };
    assert_eq!(policy.set_leaf(itsc, &max), Ok(()));
    assert!(policy.has("itsc"));
    let before = policy.clone();
    let mut leaf7 = policy.answer(7, 0, &asker(Mode::User));
    leaf7[1] |= 1 << 7;
    let smep = Leaf {
        leaf: 7,
        subleaf: 0,
        regs: leaf7,
    };
    assert_eq!(
        policy.set_leaf(smep, &max),
        Err(BadLeaf {
            leaf: 7,
            subleaf: 0
        })
    );
    assert_eq!(policy, before, "a refused leaf changes nothing");
}

#[test]
fn the_toolstack_cannot_raise_limits() {
    let host = CpuidPolicy::collect(&Machine::intel());
    let max = host.for_pv(Extent::Max, &CpuidOption::default(), false, true);
    let mut policy = policy_of(&Machine::intel());
    for (leaf, subleaf, regs) in [
        (0, NO_SUBLEAF, [0xe, 0, 0, 0]),
        (7, 0, [3, 0, 0, 0]),
        (7, 3, [0; 4]),
        (4, 8, [0; 4]),
        (0x8000_0000, NO_SUBLEAF, [0x8000_0021, 0, 0, 0]),
        (0x8000_0008, NO_SUBLEAF, [53, 0, 0, 0]),
    ] {
        assert_eq!(
            policy.set_leaf(
                Leaf {
                    leaf,
                    subleaf,
                    regs
                },
                &max
            ),
            Err(BadLeaf { leaf, subleaf }),
            "{leaf:#x}"
        );
    }
}

#[test]
fn taking_xsave_away_takes_its_states_away() {
    let host = CpuidPolicy::collect(&Machine::intel());
    let max = host.for_pv(Extent::Max, &CpuidOption::default(), false, true);
    let mut policy = policy_of(&Machine::intel());
    let mut leaf1 = policy.answer(1, 0, &asker(Mode::User));
    leaf1[2] &= !(1 << 26);
    policy
        .set_leaf(
            Leaf {
                leaf: 1,
                subleaf: NO_SUBLEAF,
                regs: leaf1,
            },
            &max,
        )
        .unwrap();
    policy.finish(&max);
    assert!(!policy.has("avx") && !policy.has("avx512f"));
    assert_eq!((policy.xcr0_allowed(), ask(&policy, 0xd, 0)), (0, [0; 4]));
}
