//! The CPU features by name, CPUID bit and visibility to a paravirtual guest.
//!
//! One table for the policy, for the `cpuid=` boot option and for the feature words that the toolstack reads. Bit
//! positions are the processor manuals'; the order of words is `public/sysctl.h`, XEN_SYSCTL_get_cpu_featureset, and
//! names follow `public/arch-x86/cpufeatureset.h`. A bit that is not in the table is hidden.

use self::Visibility::{Hidden, OptIn, Shown};
use self::Word::*;

/// A register of a CPUID leaf that holds feature bits; the number is its place in the feature words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Word {
    /// Leaf 1, edx.
    L1Edx = 0,
    /// Leaf 1, ecx.
    L1Ecx = 1,
    /// Leaf 0x80000001, edx.
    E1Edx = 2,
    /// Leaf 0x80000001, ecx.
    E1Ecx = 3,
    /// Leaf 0xd.1, eax.
    D1Eax = 4,
    /// Leaf 7.0, ebx.
    L7Ebx = 5,
    /// Leaf 7.0, ecx.
    L7Ecx = 6,
    /// Leaf 0x80000007, edx.
    E7Edx = 7,
    /// Leaf 0x80000008, ebx.
    E8Ebx = 8,
    /// Leaf 7.0, edx.
    L7Edx = 9,
    /// Leaf 7.1, eax.
    L71Eax = 10,
    /// Leaf 0x80000021, eax.
    E21Eax = 11,
    /// Leaf 7.1, ebx.
    L71Ebx = 12,
    /// Leaf 7.2, edx.
    L72Edx = 13,
}

/// How many words of feature bits there are.
pub const NR_WORDS: usize = 14;

/// Whether a PV guest sees a feature that the machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visibility {
    /// By default.
    Shown,
    /// Only if its configuration asks for it.
    OptIn,
    /// Never: ring 0 only, or its state is not switched between vcpus.
    Hidden,
}

/// One feature bit.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The name in `cpuid=`.
    pub name: &'static str,
    /// The word.
    pub word: Word,
    /// The bit in the word, 0 to 31.
    pub bit: u8,
    /// Who sees it.
    pub visibility: Visibility,
}

const fn f(name: &'static str, word: Word, bit: u8, visibility: Visibility) -> Feature {
    Feature {
        name,
        word,
        bit,
        visibility,
    }
}

/// Every feature with a name.
#[rustfmt::skip]
pub static FEATURES: &[Feature] = &[
    f("fpu", L1Edx, 0, Shown), f("vme", L1Edx, 1, Hidden), f("de", L1Edx, 2, Shown), f("pse", L1Edx, 3, Hidden),
    f("tsc", L1Edx, 4, Shown), f("msr", L1Edx, 5, Shown), f("pae", L1Edx, 6, Shown), f("mce", L1Edx, 7, Shown),
    f("cx8", L1Edx, 8, Shown), f("apic", L1Edx, 9, Shown), f("sysenter", L1Edx, 11, Shown),
    f("mtrr", L1Edx, 12, Hidden), f("pge", L1Edx, 13, Hidden), f("mca", L1Edx, 14, Shown),
    f("cmov", L1Edx, 15, Shown), f("pat", L1Edx, 16, Shown), f("pse36", L1Edx, 17, Hidden),
    f("clflush", L1Edx, 19, Shown), f("ds", L1Edx, 21, Hidden), f("acpi", L1Edx, 22, Shown),
    f("mmx", L1Edx, 23, Shown), f("fxsr", L1Edx, 24, Shown), f("sse", L1Edx, 25, Shown),
    f("sse2", L1Edx, 26, Shown), f("ss", L1Edx, 27, Shown), f("htt", L1Edx, 28, Shown),
    f("tm", L1Edx, 29, Hidden), f("pbe", L1Edx, 31, Hidden),

    f("sse3", L1Ecx, 0, Shown), f("pclmulqdq", L1Ecx, 1, Shown), f("dtes64", L1Ecx, 2, Hidden),
    f("monitor", L1Ecx, 3, Hidden), f("ds-cpl", L1Ecx, 4, Hidden), f("vmx", L1Ecx, 5, Hidden),
    f("smx", L1Ecx, 6, Hidden), f("est", L1Ecx, 7, Hidden), f("tm2", L1Ecx, 8, Hidden), f("ssse3", L1Ecx, 9, Shown),
    f("fma", L1Ecx, 12, Shown), f("cx16", L1Ecx, 13, Shown), f("xtpr", L1Ecx, 14, Hidden),
    f("pdcm", L1Ecx, 15, Hidden), f("pcid", L1Ecx, 17, Hidden), f("dca", L1Ecx, 18, Hidden),
    f("sse4-1", L1Ecx, 19, Shown), f("sse4-2", L1Ecx, 20, Shown), f("x2apic", L1Ecx, 21, Hidden),
    f("movbe", L1Ecx, 22, Shown), f("popcnt", L1Ecx, 23, Shown), f("tsc-deadline", L1Ecx, 24, Hidden),
    f("aesni", L1Ecx, 25, Shown), f("xsave", L1Ecx, 26, Shown), f("osxsave", L1Ecx, 27, Hidden),
    f("avx", L1Ecx, 28, Shown), f("f16c", L1Ecx, 29, Shown), f("rdrand", L1Ecx, 30, Shown),
    f("hypervisor", L1Ecx, 31, Shown),

    f("syscall", E1Edx, 11, Shown), f("nx", E1Edx, 20, Shown), f("mmxext", E1Edx, 22, Shown),
    f("ffxsr", E1Edx, 25, Shown), f("page1gb", E1Edx, 26, Hidden), f("rdtscp", E1Edx, 27, Shown),
    f("lm", E1Edx, 29, Shown), f("3dnowext", E1Edx, 30, Shown), f("3dnow", E1Edx, 31, Shown),

    f("lahf-lm", E1Ecx, 0, Shown), f("cmp-legacy", E1Ecx, 1, Shown), f("svm", E1Ecx, 2, Hidden),
    f("extapic", E1Ecx, 3, Hidden), f("cr8-legacy", E1Ecx, 4, Hidden), f("abm", E1Ecx, 5, Shown),
    f("sse4a", E1Ecx, 6, Shown), f("misalignsse", E1Ecx, 7, Shown), f("3dnowprefetch", E1Ecx, 8, Shown),
    f("osvw", E1Ecx, 9, Hidden), f("ibs", E1Ecx, 10, Hidden), f("xop", E1Ecx, 11, Shown),
    f("skinit", E1Ecx, 12, Hidden), f("wdt", E1Ecx, 13, Hidden), f("lwp", E1Ecx, 15, Hidden),
    f("fma4", E1Ecx, 16, Shown), f("nodeid-msr", E1Ecx, 19, Hidden), f("tbm", E1Ecx, 21, Shown),
    f("topoext", E1Ecx, 22, Hidden), f("dbext", E1Ecx, 26, Shown), f("monitorx", E1Ecx, 29, Hidden),

    f("xsaveopt", D1Eax, 0, Shown), f("xsavec", D1Eax, 1, Shown), f("xgetbv1", D1Eax, 2, Shown),
    f("xsaves", D1Eax, 3, Hidden), f("xfd", D1Eax, 4, Hidden),

    f("fsgsbase", L7Ebx, 0, Shown), f("tsc-adjust", L7Ebx, 1, Hidden), f("sgx", L7Ebx, 2, Hidden),
    f("bmi1", L7Ebx, 3, Shown), f("hle", L7Ebx, 4, OptIn), f("avx2", L7Ebx, 5, Shown),
    f("fdp-excp-only", L7Ebx, 6, Shown), f("smep", L7Ebx, 7, Hidden), f("bmi2", L7Ebx, 8, Shown),
    f("erms", L7Ebx, 9, Shown), f("invpcid", L7Ebx, 10, Hidden), f("rtm", L7Ebx, 11, Shown),
    f("pqm", L7Ebx, 12, Hidden), f("no-fpu-sel", L7Ebx, 13, Shown), f("mpx", L7Ebx, 14, Hidden),
    f("pqe", L7Ebx, 15, Hidden), f("avx512f", L7Ebx, 16, Shown), f("avx512dq", L7Ebx, 17, Shown),
    f("rdseed", L7Ebx, 18, Shown), f("adx", L7Ebx, 19, Shown), f("smap", L7Ebx, 20, Hidden),
    f("avx512-ifma", L7Ebx, 21, Shown), f("clflushopt", L7Ebx, 23, Shown), f("clwb", L7Ebx, 24, Shown),
    f("proc-trace", L7Ebx, 25, Hidden), f("avx512pf", L7Ebx, 26, Shown), f("avx512er", L7Ebx, 27, Shown),
    f("avx512cd", L7Ebx, 28, Shown), f("sha", L7Ebx, 29, Shown), f("avx512bw", L7Ebx, 30, Shown),
    f("avx512vl", L7Ebx, 31, Shown),

    f("prefetchwt1", L7Ecx, 0, Shown), f("avx512-vbmi", L7Ecx, 1, Shown), f("umip", L7Ecx, 2, Hidden),
    f("pku", L7Ecx, 3, Hidden), f("ospke", L7Ecx, 4, Hidden), f("avx512-vbmi2", L7Ecx, 6, Shown),
    f("cet-ss", L7Ecx, 7, Hidden), f("gfni", L7Ecx, 8, Shown), f("vaes", L7Ecx, 9, Shown),
    f("vpclmulqdq", L7Ecx, 10, Shown), f("avx512-vnni", L7Ecx, 11, Shown), f("avx512-bitalg", L7Ecx, 12, Shown),
    f("avx512-vpopcntdq", L7Ecx, 14, Shown), f("la57", L7Ecx, 16, Hidden), f("rdpid", L7Ecx, 22, Shown),
    f("cldemote", L7Ecx, 25, Shown), f("movdiri", L7Ecx, 27, OptIn), f("movdir64b", L7Ecx, 28, OptIn),
    f("enqcmd", L7Ecx, 29, Hidden), f("pks", L7Ecx, 31, Hidden),

    f("itsc", E7Edx, 8, OptIn), f("efro", E7Edx, 10, Hidden),

    // Speculation controls that live in SPEC_CTRL stay hidden as long as that register is not switched with the vcpu.
    f("clzero", E8Ebx, 0, Shown), f("rstr-fp-err-ptrs", E8Ebx, 2, Shown), f("wbnoinvd", E8Ebx, 9, Hidden),
    f("ibpb", E8Ebx, 12, Shown), f("ibrs", E8Ebx, 14, Hidden), f("amd-stibp", E8Ebx, 15, Hidden),
    f("amd-ssbd", E8Ebx, 24, Hidden), f("virt-ssbd", E8Ebx, 25, Hidden), f("psfd", E8Ebx, 28, Hidden),

    f("avx512-4vnniw", L7Edx, 2, Shown), f("avx512-4fmaps", L7Edx, 3, Shown), f("fsrm", L7Edx, 4, Shown),
    f("avx512-vp2intersect", L7Edx, 8, OptIn), f("srbds-ctrl", L7Edx, 9, Hidden), f("md-clear", L7Edx, 10, Shown),
    f("serialize", L7Edx, 14, Shown), f("hybrid", L7Edx, 15, Hidden), f("tsxldtrk", L7Edx, 16, OptIn),
    f("cet-ibt", L7Edx, 20, Hidden), f("avx512-fp16", L7Edx, 23, Hidden), f("ibrsb", L7Edx, 26, Hidden),
    f("stibp", L7Edx, 27, Hidden), f("l1d-flush", L7Edx, 28, Hidden), f("arch-caps", L7Edx, 29, Hidden),
    f("core-caps", L7Edx, 30, Hidden), f("ssbd", L7Edx, 31, Hidden),

    f("avx-vnni", L71Eax, 4, Shown), f("avx512-bf16", L71Eax, 5, Shown), f("fzrm", L71Eax, 10, Shown),
    f("fsrs", L71Eax, 11, Shown), f("fsrcs", L71Eax, 12, Shown),

    f("lfence+", E21Eax, 2, Shown), f("nscb", E21Eax, 6, Shown),
];

/// Each first feature is worthless without the ones after it being told apart: hiding it hides the listed ones too.
#[rustfmt::skip]
static DEPENDENTS: &[(&str, &[&str])] = &[
    ("sse2", &["sse3", "aesni", "pclmulqdq", "sha", "gfni"]),
    ("sse3", &["ssse3"]), ("ssse3", &["sse4-1", "sse4a"]), ("sse4-1", &["sse4-2"]), ("sse4-2", &["avx"]),
    ("xsave", &["xsaveopt", "xsavec", "xgetbv1", "avx"]),
    ("avx", &["fma", "fma4", "f16c", "avx2", "xop", "vaes", "vpclmulqdq", "avx-vnni"]),
    ("avx2", &["avx512f"]),
    ("avx512f", &["avx512dq", "avx512-ifma", "avx512pf", "avx512er", "avx512cd", "avx512bw", "avx512vl",
                  "avx512-4vnniw", "avx512-4fmaps", "avx512-vnni", "avx512-vpopcntdq", "avx512-vp2intersect"]),
    ("avx512bw", &["avx512-vbmi", "avx512-vbmi2", "avx512-bitalg", "avx512-bf16", "avx512-fp16"]),
    ("rtm", &["tsxldtrk"]),
    ("3dnow", &["3dnowext"]),
];

/// A set of features: one bit each, in words of the toolstack's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FeatureSet(pub [u32; NR_WORDS]);

impl FeatureSet {
    /// The features whose visibility `wanted` accepts.
    pub fn of_visibility(wanted: impl Fn(Visibility) -> bool) -> Self {
        let mut set = FeatureSet::default();
        for feature in FEATURES.iter().filter(|feature| wanted(feature.visibility)) {
            set.insert(feature);
        }
        set
    }

    /// Looks a feature up by its name.
    pub fn named(name: &str) -> Option<&'static Feature> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    /// Adds a feature.
    pub fn insert(&mut self, feature: &Feature) {
        self.0[feature.word as usize] |= 1 << (feature.bit & 31);
    }

    /// Removes a feature.
    pub fn remove(&mut self, feature: &Feature) {
        self.0[feature.word as usize] &= !(1 << (feature.bit & 31));
    }

    /// Whether the named feature is in the set; unknown names are not.
    pub fn contains(&self, name: &str) -> bool {
        Self::named(name)
            .is_some_and(|feature| self.0[feature.word as usize] >> (feature.bit & 31) & 1 != 0)
    }

    /// The features in both sets.
    pub fn intersection(self, other: Self) -> Self {
        FeatureSet(core::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// The features in this set and not in `other`.
    pub fn without(self, other: Self) -> Self {
        FeatureSet(core::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// Removes what is useless without a feature that is not in the set.
    pub fn drop_orphans(&mut self) {
        // A chain is as long as the table at most; it is in order, so one pass does it.
        for (parent, children) in DEPENDENTS {
            if !self.contains(parent) {
                for child in children.iter().filter_map(|name| Self::named(name)) {
                    self.remove(child);
                }
            }
        }
    }
}

/// What the `cpuid=` boot option says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuidOption {
    /// Features that nobody gets.
    pub hidden: FeatureSet,
    /// Opt-in features that everybody gets.
    pub asked: FeatureSet,
}

impl CpuidOption {
    /// Parses `no-avx512f,rdrand=0,movdiri`; the latest mention of a feature counts.
    ///
    /// # Errors
    /// The first name that is not known.
    pub fn parse(text: &str) -> Result<Self, &str> {
        let mut option = Self::default();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (name, shown) = if FeatureSet::named(item).is_some() {
                (item, true)
            } else if let Some(name) = item.strip_prefix("no-") {
                (name, false)
            } else if let Some((name, value)) = item.split_once('=') {
                (
                    name,
                    matches!(value, "1" | "yes" | "true" | "on" | "enable"),
                )
            } else {
                (item, true)
            };
            let feature = FeatureSet::named(name).ok_or(item)?;
            if shown {
                option.asked.insert(feature);
                option.hidden.remove(feature);
            } else {
                option.hidden.insert(feature);
                option.asked.remove(feature);
            }
        }
        Ok(option)
    }
}
