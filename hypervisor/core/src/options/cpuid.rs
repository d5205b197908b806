//! CPU features that guests are not to see.

/// A register that CPUID answers in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuidRegister {
    /// eax.
    Eax,
    /// ebx.
    Ebx,
    /// ecx.
    Ecx,
    /// edx.
    Edx,
}

/// One feature bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuidFeature {
    /// Its name in Linux' /proc/cpuinfo.
    pub name: &'static str,
    /// Leaf (eax).
    pub leaf: u32,
    /// Subleaf (ecx); 0 where the leaf has none.
    pub subleaf: u32,
    /// Where the bit is.
    pub register: CpuidRegister,
    /// Which bit.
    pub bit: u8,
}

macro_rules! features {
    ($($leaf:literal / $subleaf:literal $register:ident: $($name:literal $bit:literal),+;)+) => {
        /// Every feature that `cpuid=` can name (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
        pub const CPUID_FEATURES: &[CpuidFeature] = &[$($(CpuidFeature {
            name: $name, leaf: $leaf, subleaf: $subleaf, register: CpuidRegister::$register, bit: $bit,
        },)+)+];
    };
}

features! {
    0x1 / 0 Ecx: "pni" 0, "sse3" 0, "pclmulqdq" 1, "monitor" 3, "ssse3" 9, "fma" 12, "cx16" 13, "pcid" 17, "sse4_1" 19,
        "sse4_2" 20, "x2apic" 21, "movbe" 22, "popcnt" 23, "tsc_deadline_timer" 24, "aes" 25, "xsave" 26, "avx" 28,
        "f16c" 29, "rdrand" 30;
    0x1 / 0 Edx: "fpu" 0, "vme" 1, "de" 2, "pse" 3, "tsc" 4, "msr" 5, "pae" 6, "mce" 7, "cx8" 8, "apic" 9, "sep" 11,
        "mtrr" 12, "pge" 13, "mca" 14, "cmov" 15, "pat" 16, "pse36" 17, "clflush" 19, "acpi" 22, "mmx" 23, "fxsr" 24,
        "sse" 25, "sse2" 26, "ht" 28;
    0x7 / 0 Ebx: "fsgsbase" 0, "tsc_adjust" 1, "bmi1" 3, "hle" 4, "avx2" 5, "smep" 7, "bmi2" 8, "erms" 9, "invpcid" 10,
        "rtm" 11, "mpx" 14, "avx512f" 16, "avx512dq" 17, "rdseed" 18, "adx" 19, "smap" 20, "avx512ifma" 21,
        "clflushopt" 23, "clwb" 24, "avx512cd" 28, "sha_ni" 29, "avx512bw" 30, "avx512vl" 31;
    0x7 / 0 Ecx: "avx512vbmi" 1, "umip" 2, "pku" 3, "avx512_vbmi2" 6, "gfni" 8, "vaes" 9, "vpclmulqdq" 10,
        "avx512_vnni" 11, "avx512_bitalg" 12, "avx512_vpopcntdq" 14, "la57" 16, "rdpid" 22;
    0x7 / 0 Edx: "fsrm" 4, "md_clear" 10, "spec_ctrl" 26, "intel_stibp" 27, "flush_l1d" 28, "arch_capabilities" 29,
        "ssbd" 31;
    0xd / 1 Eax: "xsaveopt" 0, "xsavec" 1, "xgetbv1" 2, "xsaves" 3;
    0x8000_0001 / 0 Ecx: "lahf_lm" 0, "svm" 2, "cr8_legacy" 4, "abm" 5, "sse4a" 6, "misalignsse" 7, "3dnowprefetch" 8,
        "xop" 11, "fma4" 16, "tbm" 21, "topoext" 22;
    0x8000_0001 / 0 Edx: "syscall" 11, "nx" 20, "mmxext" 22, "fxsr_opt" 25, "pdpe1gb" 26, "rdtscp" 27, "lm" 29,
        "3dnowext" 30, "3dnow" 31;
    0x8000_0008 / 0 Ebx: "clzero" 0, "xsaveerptr" 2, "wbnoinvd" 9, "ibpb" 12, "ibrs" 14, "stibp" 15, "virt_ssbd" 25;
}

/// Bits to clear in what CPUID answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuidMask {
    /// What to keep of leaf 1, ecx.
    pub leaf1_ecx: u32,
    /// What to keep of leaf 1, edx.
    pub leaf1_edx: u32,
    /// What to keep of leaf 0x80000001, ecx.
    pub ext1_ecx: u32,
    /// What to keep of leaf 0x80000001, edx.
    pub ext1_edx: u32,
    /// A bit for each of [`CPUID_FEATURES`] that is hidden.
    hidden: [u64; CPUID_FEATURES.len().div_ceil(64)],
}

impl Default for CpuidMask {
    fn default() -> Self {
        Self {
            leaf1_ecx: !0,
            leaf1_edx: !0,
            ext1_ecx: !0,
            ext1_edx: !0,
            hidden: Default::default(),
        }
    }
}

impl CpuidMask {
    /// Whether nothing is to be cleared.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The features hidden by name.
    pub fn hidden(&self) -> impl Iterator<Item = &'static CpuidFeature> + '_ {
        let is_hidden = |index: usize| {
            self.hidden
                .get(index / 64)
                .is_some_and(|word| word >> (index % 64) & 1 != 0)
        };
        CPUID_FEATURES
            .iter()
            .enumerate()
            .filter(move |(index, _)| is_hidden(*index))
            .map(|(_, feature)| feature)
    }

    /// Clears what is hidden in `regs` (eax, ebx, ecx, edx), the answer to `leaf` and `subleaf`.
    pub fn apply(&self, leaf: u32, subleaf: u32, regs: [u32; 4]) -> [u32; 4] {
        let [mut eax, mut ebx, mut ecx, mut edx] = regs;
        match leaf {
            0x1 => {
                ecx &= self.leaf1_ecx;
                edx &= self.leaf1_edx;
            }
            0x8000_0001 => {
                ecx &= self.ext1_ecx;
                edx &= self.ext1_edx;
            }
            _ => {}
        }
        // A leaf without subleaves answers alike whatever ecx is.
        let matches = |f: &&CpuidFeature| {
            f.leaf == leaf && (f.subleaf == subleaf || !matches!(leaf, 0x7 | 0xd))
        };
        for feature in self.hidden().filter(matches) {
            let register = match feature.register {
                CpuidRegister::Eax => &mut eax,
                CpuidRegister::Ebx => &mut ebx,
                CpuidRegister::Ecx => &mut ecx,
                CpuidRegister::Edx => &mut edx,
            };
            *register &= !(1 << feature.bit);
        }
        [eax, ebx, ecx, edx]
    }

    /// Hides the features of a list such as `no-avx2,no-fsgsbase`; `None`, and nothing hidden, if one is unknown.
    pub(super) fn hide_list(&mut self, list: &str) -> Option<()> {
        let mut hidden = self.hidden;
        for item in list.split(',') {
            let name = item.strip_prefix("no-")?;
            let index = CPUID_FEATURES.iter().position(|f| f.name == name)?;
            *hidden.get_mut(index / 64)? |= 1 << (index % 64);
        }
        self.hidden = hidden;
        Some(())
    }
}
