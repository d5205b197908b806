//! Which segment descriptors may stand in a guest's GDT or LDT (`pv-abi`: descriptor validation; Intel SDM 3A, 3.4.5).

const PRESENT: u64 = 1 << 47;
const CODE_OR_DATA: u64 = 1 << 44;
const DPL: u64 = 3 << 45;
const TYPE: u64 = 0xf << 40;
const CODE: u64 = 1 << 43;
const LONG: u64 = 1 << 53;
const BIG: u64 = 1 << 54;
const CALL_GATE: u64 = 0xc << 40;

/// The descriptor as it may stand, or `None` if it may not.
///
/// Code and data get privilege level 3. Call gates are kept, for kernels that write them, with level 0, so that ring 3
/// cannot use them. TSS, LDT, interrupt, trap and task gates are refused.
pub const fn check(descriptor: u64) -> Option<u64> {
    if descriptor & PRESENT == 0 {
        return Some(descriptor);
    }
    if descriptor & CODE_OR_DATA != 0 {
        let both = descriptor & CODE != 0 && descriptor & LONG != 0 && descriptor & BIG != 0;
        return if both { None } else { Some(descriptor | DPL) };
    }
    match descriptor & TYPE {
        // The second half of a 16-byte descriptor has type 0, which no instruction accepts.
        0 => Some(descriptor | DPL),
        CALL_GATE => Some(descriptor & !DPL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn descriptor(access: u64, flags: u64) -> u64 {
        0xffff | access << 40 | flags << 52 | 0xf << 48
    }

    #[test]
    fn absent_descriptors_may_be_anything() {
        for d in [0, 0x7fff_u64, !PRESENT, descriptor(0x09, 0)] {
            assert_eq!(check(d), Some(d));
        }
    }

    #[test]
    fn code_and_data_are_forced_to_ring_3() {
        for access in [0x9b, 0x93, 0xbb, 0xfb, 0x9f] {
            let fixed = check(descriptor(access, 0xc)).unwrap();
            assert_eq!(fixed & DPL, DPL);
            assert_eq!(fixed & !DPL, descriptor(access, 0xc) & !DPL);
        }
        assert!(check(descriptor(0x9b, 0xa)).is_some(), "64-bit code");
    }

    #[test]
    fn code_both_long_and_big_is_refused() {
        assert_eq!(check(descriptor(0x9b, 0xe)), None);
        assert!(
            check(descriptor(0x93, 0xe)).is_some(),
            "in data the bit means nothing"
        );
    }

    #[test]
    fn every_system_descriptor_but_call_gates_is_refused() {
        for kind in 1..16u64 {
            let got = check(descriptor(0x80 | kind, 0));
            assert_eq!(got.is_some(), kind == 0xc, "type {kind:#x}");
        }
    }

    #[test]
    fn call_gates_cannot_be_used_from_ring_3() {
        assert_eq!(check(descriptor(0xec, 0)).unwrap() & DPL, 0);
    }

    #[test]
    fn nothing_present_keeps_a_privileged_level_but_a_call_gate() {
        for high in 0..=0xffu64 {
            for flags in 0..16 {
                let d = descriptor(high, flags);
                if let Some(fixed) = check(d) {
                    let safe = fixed & PRESENT == 0
                        || fixed & DPL == DPL
                        || fixed & (TYPE | CODE_OR_DATA) == CALL_GATE;
                    assert!(safe, "{d:#x} -> {fixed:#x}");
                }
            }
        }
    }
}
