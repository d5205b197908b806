//! What CPUID says to a paravirtual guest.
//!
//! [`CpuidPolicy::collect`] reads the machine once; [`CpuidPolicy::for_pv`] makes of it what a domain may see;
//! [`CpuidPolicy::answer`] adds what depends on the vcpu at the moment of asking. Guest user space can execute CPUID
//! natively on machines that cannot make it fault, so this hides features from kernels that behave; what a guest must
//! not use is refused elsewhere (CR4, XCR0, MSRs).

use super::cr::{CR4_OSXSAVE, XCR0_ALWAYS, XCR0_AVX, XCR0_AVX512};
use super::features::{CpuidOption, FeatureSet, NR_WORDS, Visibility, Word};
use crate::emulate::Mode;

/// eax, ebx, ecx, edx.
pub type Regs = [u32; 4];

const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// The machine's CPUID instruction.
pub trait HostCpuid {
    /// eax, ebx, ecx, edx of a leaf.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Regs;
}

/// Who made the processor, as far as rules differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// "GenuineIntel"
    Intel,
    /// "AuthenticAMD" and "HygonGenuine"
    Amd,
    /// Another.
    Other,
}

impl Vendor {
    /// The vendor that leaf 0 names.
    pub fn from_leaf0(leaf: Regs) -> Vendor {
        match [leaf[EBX], leaf[EDX], leaf[ECX]] {
            [0x756e_6547, 0x4965_6e69, 0x6c65_746e] => Vendor::Intel,
            [0x6874_7541, 0x6974_6e65, 0x444d_4163] | [0x6f67_7948, 0x6e65_476e, 0x656e_6975] => {
                Vendor::Amd
            }
            _ => Vendor::Other,
        }
    }
}

/// Basic leaves 0 to 0xd.
const NR_BASIC: usize = 0xe;
/// Subleaves of leaf 4, the caches.
const NR_CACHE: usize = 8;
/// How many of them the toolstack exchanges.
const TOOLSTACK_CACHE: u32 = 6;
/// Subleaves of leaf 7, the features.
const NR_FEATURE: usize = 3;
/// Subleaves of leaf 0xd, one per bit of XCR0, and two of general content.
const NR_XSTATE: usize = 64;
/// Extended leaves 0x80000000 to 0x80000021.
const NR_EXTENDED: usize = 0x22;
const EXTENDED: u32 = 0x8000_0000;
/// The first hypervisor leaf (`public/arch-x86/cpuid.h`).
const HYPERVISOR: u32 = 0x4000_0000;

/// One leaf as the toolstack exchanges it (`public/arch-x86/xen.h`, xen_cpuid_leaf_t).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The leaf.
    pub leaf: u32,
    /// The subleaf, or [`NO_SUBLEAF`].
    pub subleaf: u32,
    /// Its content.
    pub regs: Regs,
}

/// In a [`Leaf`]: the leaf has no subleaves.
pub const NO_SUBLEAF: u32 = u32::MAX;

/// A leaf that a domain cannot be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadLeaf {
    /// The leaf.
    pub leaf: u32,
    /// The subleaf.
    pub subleaf: u32,
}

/// The time-stamp counter as leaf 0x40000003 describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TscView {
    /// rdtsc is emulated.
    pub emulated: bool,
    /// The machine's counter runs evenly on all CPUs.
    pub host_safe: bool,
    /// The domain's tsc_mode (`public/domctl.h`).
    pub mode: u32,
    /// Frequency that the guest sees, in kHz.
    pub khz: u32,
    /// How often the domain was resumed.
    pub incarnation: u32,
    /// Offset of the guest's nanoseconds.
    pub offset: u64,
    /// Multiplier from ticks to nanoseconds, as in `vcpu_time_info`.
    pub mul_frac: u32,
    /// Shift, as in `vcpu_time_info`.
    pub shift: i8,
    /// Frequency of the machine's counter, in kHz.
    pub cpu_khz: u32,
}

/// What an answer depends on besides the policy.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Who asks.
    pub mode: Mode,
    /// Asked through the forced-emulation prefix (or a CPUID fault of the kernel).
    pub forced: bool,
    /// The vcpu's virtual CR4.
    pub cr4: u64,
    /// The vcpu's XCR0.
    pub xcr0: u64,
    /// The domain's clock.
    pub tsc: &'a TscView,
}

/// Which leaves [`CpuidPolicy::for_pv`] makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// What a domain gets unless told otherwise.
    Default,
    /// The most that a domain may be given, opt-in features included.
    Max,
}

/// All leaves of a machine or of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuidPolicy {
    basic: [Regs; NR_BASIC],
    cache: [Regs; NR_CACHE],
    feature: [Regs; NR_FEATURE],
    xstate: [Regs; NR_XSTATE],
    extended: [Regs; NR_EXTENDED],
    /// The hypervisor runs with CR4.OSXSAVE, which its guests' kernels may see.
    host_osxsave: bool,
    /// Bits of leaf 1 ecx and edx that only the kernel of domain 0 sees.
    hardware_ecx: u32,
    hardware_edx: u32,
    physical_bits: u8,
}

const L1_ECX_OSXSAVE: u32 = 1 << 27;
const L1_ECX_XSAVE: u32 = 1 << 26;
const L1_ECX_EIST: u32 = 1 << 7;
const L1_ECX_HYPERVISOR: u32 = 1 << 31;
const L1_EDX_SYSENTER: u32 = 1 << 11;
const L1_EDX_MTRR: u32 = 1 << 12;
const D1_EAX_XSAVEC: u32 = 1 << 1;
/// Bits of leaf 0x80000001 edx that repeat leaf 1 edx on AMD processors.
const COMMON_EDX: u32 = 0x0183_f3ff;

impl CpuidPolicy {
    /// Reads what the machine says ("raw" in the toolstack's terms).
    pub fn collect<H: HostCpuid>(host: &H) -> Self {
        let max_basic = host.cpuid(0, 0)[EAX];
        let max_extended = host.cpuid(EXTENDED, 0)[EAX];
        let basic = |leaf: u32, subleaf| {
            if leaf <= max_basic {
                host.cpuid(leaf, subleaf)
            } else {
                [0; 4]
            }
        };
        let extended_leaf = |leaf: u32| {
            if max_extended & 0xffff_0000 == EXTENDED && leaf <= max_extended {
                host.cpuid(leaf, 0)
            } else {
                [0; 4]
            }
        };
        let caches = basic(4, 0)[EAX] & 0x1f != 0;
        let max_feature = basic(7, 0)[EAX];
        let states = basic(0xd, 0);
        let states = u64::from(states[EDX]) << 32 | u64::from(states[EAX]);
        let physical_bits = match extended_leaf(EXTENDED + 8)[EAX] as u8 {
            0 => 36,
            bits => bits.min(52),
        };
        CpuidPolicy {
            basic: core::array::from_fn(|leaf| basic(leaf as u32, 0)),
            cache: core::array::from_fn(|sub| if caches { basic(4, sub as u32) } else { [0; 4] }),
            feature: core::array::from_fn(|sub| {
                if sub as u32 <= max_feature {
                    basic(7, sub as u32)
                } else {
                    [0; 4]
                }
            }),
            xstate: core::array::from_fn(|sub| {
                if sub < 2 || states >> sub & 1 != 0 {
                    basic(0xd, sub as u32)
                } else {
                    [0; 4]
                }
            }),
            extended: core::array::from_fn(|leaf| extended_leaf(EXTENDED + leaf as u32)),
            host_osxsave: false,
            hardware_ecx: 0,
            hardware_edx: 0,
            physical_bits,
        }
    }

    /// What a PV domain may see of this machine.
    ///
    /// `hardware_domain`: it is domain 0. `host_osxsave`: the hypervisor has CR4.OSXSAVE on; without it no vcpu's
    /// XSAVE state is switched, so XSAVE and all that needs it is hidden.
    pub fn for_pv(
        &self,
        extent: Extent,
        option: &CpuidOption,
        hardware_domain: bool,
        host_osxsave: bool,
    ) -> Self {
        let vendor = self.vendor();
        let mut shown = FeatureSet::of_visibility(|visibility| match visibility {
            Visibility::Shown => true,
            Visibility::OptIn => extent == Extent::Max,
            Visibility::Hidden => false,
        });
        let asked = option
            .asked
            .intersection(FeatureSet::of_visibility(|v| v == Visibility::OptIn));
        for (word, asked) in shown.0.iter_mut().zip(asked.0) {
            *word |= asked;
        }
        let mut features = self.features().intersection(shown).without(option.hidden);
        let [edx1, ecx1, extended_edx, ..] = &mut features.0;
        // SYSENTER faults in long mode on other processors, whatever their CPUID says.
        if vendor != Vendor::Intel {
            *edx1 &= !L1_EDX_SYSENTER;
        }
        if !host_osxsave {
            *ecx1 &= !L1_ECX_XSAVE;
        }
        *ecx1 |= L1_ECX_HYPERVISOR;
        if vendor == Vendor::Amd {
            *extended_edx |= *edx1 & COMMON_EDX;
        }
        features.drop_orphans();

        let mut policy = self.clone();
        policy.host_osxsave = host_osxsave;
        if hardware_domain {
            policy.hardware_ecx = self.basic[1][ECX] & L1_ECX_EIST;
            policy.hardware_edx = self.basic[1][EDX] & L1_EDX_MTRR;
        }
        policy.strip(vendor);
        policy.set_features(features);
        policy.limit_xstate();
        policy
    }

    /// Keeps of the leaves only what is explained below; features are set afterwards.
    fn strip(&mut self, vendor: Vendor) {
        for (leaf, regs) in self.basic.iter_mut().enumerate() {
            match leaf {
                0 => regs[EAX] = regs[EAX].min(NR_BASIC as u32 - 1),
                // Signature, brand, cache-line size and logical CPUs; the initial APIC id is 0 for every PV vcpu.
                1 => {
                    regs[EBX] &= 0x00ff_ffff;
                    regs[ECX] = 0;
                    regs[EDX] = 0;
                }
                2 if vendor == Vendor::Intel => {}
                _ => *regs = [0; 4],
            }
        }
        let mut deepest = 0;
        for (subleaf, regs) in self.feature.iter_mut().enumerate() {
            let present = subleaf > 0 && *regs != [0; 4];
            *regs = [0; 4];
            if present && subleaf == 1 {
                deepest = 1;
            }
        }
        self.feature[0][EAX] = deepest;
        let last = match vendor {
            Vendor::Amd => EXTENDED + NR_EXTENDED as u32 - 1,
            _ => EXTENDED + 8,
        };
        for (leaf, regs) in self.extended.iter_mut().enumerate() {
            match leaf {
                0 => regs[EAX] = regs[EAX].min(last),
                1 => {
                    if vendor != Vendor::Amd {
                        regs[EAX] = 0;
                        regs[EBX] = 0;
                    }
                    regs[ECX] = 0;
                    regs[EDX] = 0;
                }
                // The processor's name, its caches and TLBs.
                2..=6 => {}
                8 => {
                    // Physical and virtual width; 5-level paging is hidden, so 48 bits.
                    regs[EAX] = u32::from(self.physical_bits) | 48 << 8;
                    regs[EBX] = 0;
                    // How many cores share a package.
                    regs[ECX] = if vendor == Vendor::Amd {
                        regs[ECX] & 0xf0ff
                    } else {
                        0
                    };
                    regs[EDX] = 0;
                }
                _ => *regs = [0; 4],
            }
        }
    }

    /// Cuts leaf 0xd down to the states that the features need.
    fn limit_xstate(&mut self) {
        let allowed = self.xcr0_allowed();
        let size = self.xstate_size(allowed, false);
        for (subleaf, regs) in self.xstate.iter_mut().enumerate() {
            match subleaf {
                0 if allowed != 0 => *regs = [allowed as u32, size, size, (allowed >> 32) as u32],
                // No supervisor state (XSS).
                1 if allowed != 0 => *regs = [regs[EAX], 0, 0, 0],
                // A user state, perhaps aligned to 64 bytes in the compacted format.
                2.. if allowed >> subleaf & 1 != 0 => {
                    *regs = [regs[EAX], regs[EBX], regs[ECX] & 2, 0]
                }
                _ => *regs = [0; 4],
            }
        }
    }

    /// Who made the processor.
    pub fn vendor(&self) -> Vendor {
        Vendor::from_leaf0(self.basic[0])
    }

    /// Width of a machine address, 36 to 52 bits.
    pub fn physical_bits(&self) -> u8 {
        self.physical_bits
    }

    /// The feature words.
    pub fn features(&self) -> FeatureSet {
        let mut words = [0; NR_WORDS];
        words[Word::L1Edx as usize] = self.basic[1][EDX];
        words[Word::L1Ecx as usize] = self.basic[1][ECX];
        words[Word::E1Edx as usize] = self.extended[1][EDX];
        words[Word::E1Ecx as usize] = self.extended[1][ECX];
        words[Word::D1Eax as usize] = self.xstate[1][EAX];
        words[Word::L7Ebx as usize] = self.feature[0][EBX];
        words[Word::L7Ecx as usize] = self.feature[0][ECX];
        words[Word::E7Edx as usize] = self.extended[7][EDX];
        words[Word::E8Ebx as usize] = self.extended[8][EBX];
        words[Word::L7Edx as usize] = self.feature[0][EDX];
        words[Word::L71Eax as usize] = self.feature[1][EAX];
        words[Word::E21Eax as usize] = self.extended[0x21][EAX];
        words[Word::L71Ebx as usize] = self.feature[1][EBX];
        words[Word::L72Edx as usize] = self.feature[2][EDX];
        FeatureSet(words)
    }

    fn set_features(&mut self, features: FeatureSet) {
        let word = |word: Word| features.0[word as usize];
        self.basic[1][EDX] = word(Word::L1Edx);
        self.basic[1][ECX] = word(Word::L1Ecx);
        self.extended[1][EDX] = word(Word::E1Edx);
        self.extended[1][ECX] = word(Word::E1Ecx);
        self.xstate[1][EAX] = word(Word::D1Eax);
        self.feature[0][EBX] = word(Word::L7Ebx);
        self.feature[0][ECX] = word(Word::L7Ecx);
        self.extended[7][EDX] = word(Word::E7Edx);
        self.extended[8][EBX] = word(Word::E8Ebx);
        self.feature[0][EDX] = word(Word::L7Edx);
        self.feature[1][EAX] = word(Word::L71Eax);
        self.extended[0x21][EAX] = word(Word::E21Eax);
        self.feature[1][EBX] = word(Word::L71Ebx);
        self.feature[2][EDX] = word(Word::L72Edx);
    }

    /// Whether the policy has the named feature.
    pub fn has(&self, name: &str) -> bool {
        self.features().contains(name)
    }

    /// The bits of XCR0 that the features allow and the machine has; 0 without XSAVE.
    pub fn xcr0_allowed(&self) -> u64 {
        let features = self.features();
        if !features.contains("xsave") {
            return 0;
        }
        let mut allowed = XCR0_ALWAYS;
        if features.contains("avx") {
            allowed |= XCR0_AVX;
        }
        if features.contains("avx512f") {
            allowed |= XCR0_AVX512;
        }
        let present = u64::from(self.xstate[0][EDX]) << 32 | u64::from(self.xstate[0][EAX]);
        allowed & present
    }

    /// Bytes of an XSAVE area that holds the states in `xcr0`, in standard or compacted format.
    pub fn xstate_size(&self, xcr0: u64, compacted: bool) -> u32 {
        /// The legacy region and the header.
        const BASE: u32 = 576;
        let mut end = BASE;
        for (bit, regs) in self.xstate.iter().enumerate().skip(2) {
            if xcr0 >> bit & 1 == 0 {
                continue;
            }
            let start = match (compacted, regs[ECX] & 2 != 0) {
                (false, _) => regs[EBX],
                (true, true) => end.saturating_add(63) & !63,
                (true, false) => end,
            };
            end = end.max(start.saturating_add(regs[EAX]));
        }
        end
    }

    /// What CPUID returns to a vcpu; zeros for leaves that do not exist.
    pub fn answer(&self, leaf: u32, subleaf: u32, asker: &Asker<'_>) -> Regs {
        match leaf {
            0..HYPERVISOR => self.basic_answer(leaf, subleaf, asker),
            HYPERVISOR..=0x4000_00ff => self.hypervisor_answer(leaf, subleaf, asker.tsc),
            EXTENDED.. => {
                let last = self.extended[0][EAX];
                if leaf > last {
                    return [0; 4];
                }
                self.extended
                    .get((leaf - EXTENDED) as usize)
                    .copied()
                    .unwrap_or([0; 4])
            }
            _ => [0; 4],
        }
    }

    fn basic_answer(&self, leaf: u32, subleaf: u32, asker: &Asker<'_>) -> Regs {
        if leaf > self.basic[0][EAX] {
            return [0; 4];
        }
        let sub = subleaf as usize;
        match leaf {
            1 => self.leaf1(asker),
            4 => self.cache.get(sub).copied().unwrap_or([0; 4]),
            7 if subleaf <= self.feature[0][EAX] => {
                self.feature.get(sub).copied().unwrap_or([0; 4])
            }
            7 => [0; 4],
            0xd => self.leaf_xstate(sub, asker),
            _ => self.basic.get(leaf as usize).copied().unwrap_or([0; 4]),
        }
    }

    fn leaf1(&self, asker: &Asker<'_>) -> Regs {
        let mut regs = self.basic[1];
        if regs[ECX] & L1_ECX_XSAVE != 0 {
            // Linux takes OSXSAVE in a forced CPUID for granted, before it sets CR4.OSXSAVE: Xen always leaked its own.
            let leaked = asker.forced && asker.mode == Mode::Kernel && self.host_osxsave;
            if leaked || asker.cr4 & CR4_OSXSAVE != 0 {
                regs[ECX] |= L1_ECX_OSXSAVE;
            }
        }
        if asker.mode == Mode::Kernel {
            regs[ECX] |= self.hardware_ecx;
            regs[EDX] |= self.hardware_edx;
        }
        regs
    }

    fn leaf_xstate(&self, subleaf: usize, asker: &Asker<'_>) -> Regs {
        let mut regs = self.xstate.get(subleaf).copied().unwrap_or([0; 4]);
        match subleaf {
            0 if regs[EAX] != 0 => regs[EBX] = self.xstate_size(asker.xcr0, false),
            1 if regs[EAX] & D1_EAX_XSAVEC != 0 => regs[EBX] = self.xstate_size(asker.xcr0, true),
            _ => {}
        }
        regs
    }

    fn hypervisor_answer(&self, leaf: u32, subleaf: u32, tsc: &TscView) -> Regs {
        match (leaf - HYPERVISOR, subleaf) {
            // The last leaf and "XenVMMXenVMM".
            (0, _) => [HYPERVISOR + 5, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e],
            // Version 4.17.
            (1, _) => [4 << 16 | 17, 0, 0, 0],
            // One hypercall page, installed through MSR 0x40000000; XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD.
            (2, _) => [1, HYPERVISOR, 1, 0],
            (3, 0) => {
                let rdtscp = self.extended[1][EDX] >> 27 & 1;
                let flags = u32::from(tsc.emulated) | u32::from(tsc.host_safe) << 1 | rdtscp << 2;
                [flags, tsc.mode, tsc.khz, tsc.incarnation]
            }
            (3, 1) => {
                let shift = i32::from(tsc.shift) as u32;
                [
                    tsc.offset as u32,
                    (tsc.offset >> 32) as u32,
                    tsc.mul_frac,
                    shift,
                ]
            }
            (3, 2) => [tsc.cpu_khz, 0, 0, 0],
            (5, 0) => [0, u32::from(self.physical_bits), 0, 0],
            _ => [0; 4],
        }
    }

    /// All leaves for the toolstack, without those made for each vcpu.
    ///
    /// Empty ones among them: libxc writes them all back, and has only as much room as it got leaves.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        fn of(leaf: u32, table: &[Regs]) -> impl Iterator<Item = Leaf> + '_ {
            table.iter().enumerate().map(move |(subleaf, regs)| Leaf {
                leaf,
                subleaf: subleaf as u32,
                regs: *regs,
            })
        }
        let last_basic = self.basic[0][EAX];
        let last_feature = self.feature[0][EAX];
        let basic = (0..)
            .zip(&self.basic)
            .filter(|(leaf, _)| !matches!(leaf, 4 | 7 | 0xb | 0xd));
        let extended = (EXTENDED..).zip(&self.extended);
        let last_extended = self.extended[0][EAX];
        basic
            .chain(extended)
            .map(|(leaf, regs)| Leaf {
                leaf,
                subleaf: NO_SUBLEAF,
                regs: *regs,
            })
            .filter(move |leaf| {
                leaf.leaf <= last_basic || (EXTENDED..=last_extended).contains(&leaf.leaf)
            })
            .chain(
                of(4, &self.cache)
                    .filter(move |leaf| last_basic >= 4 && leaf.subleaf < TOOLSTACK_CACHE),
            )
            .chain(
                of(7, &self.feature)
                    .filter(move |leaf| last_basic >= 7 && leaf.subleaf <= last_feature),
            )
            // The toolstack's reader takes topology by subleaf only; what a guest sees is made for each vcpu.
            .chain(of(0xb, &[[0; 4]; 2]).filter(move |_| last_basic >= 0xb))
            .chain(
                of(0xd, &self.xstate).filter(move |leaf| {
                    last_basic >= 0xd && (leaf.subleaf < 2 || leaf.regs != [0; 4])
                }),
            )
            .chain([HYPERVISOR, HYPERVISOR + 0x100].map(|leaf| Leaf {
                leaf,
                subleaf: NO_SUBLEAF,
                regs: [0; 4],
            }))
    }

    /// Takes a leaf from the toolstack for a domain that has not run yet; `max` is the [`Extent::Max`] policy.
    ///
    /// Feature words must be subsets of `max`'s. Topology, caches and names are taken as they come. Leaves that a
    /// guest never sees are ignored; call [`CpuidPolicy::finish`] after the last one.
    ///
    /// # Errors
    /// The leaf that asks for more than `max` has.
    pub fn set_leaf(&mut self, leaf: Leaf, max: &CpuidPolicy) -> Result<(), BadLeaf> {
        let bad = BadLeaf {
            leaf: leaf.leaf,
            subleaf: leaf.subleaf,
        };
        let regs = leaf.regs;
        let mut wanted = self.clone();
        match (leaf.leaf, leaf.subleaf) {
            (0, _) if regs[EAX] > max.basic[0][EAX] => return Err(bad),
            (0, _) => wanted.basic[0] = regs,
            // The toolstack hands back what it saw, where OSXSAVE and the initial APIC id mean nothing.
            (1, _) => {
                wanted.basic[1] = [
                    regs[EAX],
                    regs[EBX] & 0x00ff_ffff,
                    regs[ECX] & !L1_ECX_OSXSAVE,
                    regs[EDX],
                ]
            }
            (2, _) => wanted.basic[2] = regs,
            (4, subleaf) => *wanted.cache.get_mut(subleaf as usize).ok_or(bad)? = regs,
            (7, subleaf) => *wanted.feature.get_mut(subleaf as usize).ok_or(bad)? = regs,
            (0xd, 1) => wanted.xstate[1][EAX] = regs[EAX],
            (EXTENDED, _) if regs[EAX] > max.extended[0][EAX] => return Err(bad),
            (EXTENDED.., _) => match (leaf.leaf - EXTENDED) as usize {
                8 if regs[EAX] as u8 > max.physical_bits => return Err(bad),
                index @ (0..=8 | 0x21) => wanted.extended[index] = regs,
                _ => {}
            },
            _ => {}
        }
        if wanted.feature[0][EAX] > max.feature[0][EAX] {
            return Err(bad);
        }
        if wanted.features().without(max.features()) != FeatureSet::default() {
            return Err(bad);
        }
        *self = wanted;
        Ok(())
    }

    /// Makes the policy consistent after [`CpuidPolicy::set_leaf`]; `max` gives the layout of the XSAVE area.
    pub fn finish(&mut self, max: &CpuidPolicy) {
        let mut features = self.features();
        features.0[Word::L1Ecx as usize] |= L1_ECX_HYPERVISOR;
        features.drop_orphans();
        self.xstate = max.xstate;
        self.set_features(features);
        self.limit_xstate();
    }
}
