//! Numbers as people write them.

/// Reads an amount of memory: mebibytes, or with one of the letters k, m, g, t.
///
/// # Errors
/// A sentence that says what fits.
pub fn mebibytes(text: &str) -> Result<u64, String> {
    let refuse = || Err("write MB, such as 512, or 512m, or 2g".to_owned());
    let (digits, unit) = match text.char_indices().last() {
        Some((at, letter)) if letter.is_ascii_alphabetic() => (&text[..at], letter),
        _ => (text, 'm'),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return refuse();
    }
    let Ok(number) = digits.parse::<u64>() else {
        return refuse();
    };
    let mib = match unit.to_ascii_lowercase() {
        'k' => Some(number / 1024),
        'm' => Some(number),
        'g' => number.checked_mul(1 << 10),
        't' => number.checked_mul(1 << 20),
        _ => None,
    };
    mib.filter(|&m| m > 0).map_or_else(refuse, Ok)
}

/// Reads a number of seconds, of which there may be parts, but not none.
///
/// # Errors
/// A sentence that says what fits.
pub fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|s| (0.01..=86_400.0).contains(s));
    number.ok_or_else(|| "write seconds, such as 2 or 0.5".to_owned())
}

/// Writes a time as days, hours, minutes and seconds.
pub fn uptime(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:2}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_mebibytes_unless_a_letter_says_otherwise() {
        assert_eq!(mebibytes("512"), Ok(512));
        assert_eq!(mebibytes("512m"), Ok(512));
        assert_eq!(mebibytes("2G"), Ok(2048));
        assert_eq!(mebibytes("1t"), Ok(1 << 20));
        assert_eq!(mebibytes("131072k"), Ok(128));
        for text in [
            "",
            "m",
            "-1",
            "0",
            "1x",
            "1.5",
            "99999999999999999999",
            "1 m",
            "9é",
        ] {
            assert!(mebibytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn delays_have_parts_but_are_not_nothing() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "NaN", "inf", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_written_with_days() {
        assert_eq!(uptime(61), " 0:01:01");
        assert_eq!(uptime(86_400 + 3600), "1 day,  1:00:00");
        assert_eq!(uptime(15 * 86_400 + 12_702), "15 days,  3:31:42");
    }

    proptest::proptest! {
        #[test]
        fn amounts_of_memory_are_read_as_they_are_meant(mib in 1..u64::from(u32::MAX), text in ".{0,8}") {
            proptest::prop_assert_eq!(mebibytes(&mib.to_string()), Ok(mib));
            proptest::prop_assert_eq!(mebibytes(&format!("{mib}g")), Ok(mib * 1024));
            proptest::prop_assert!(mebibytes(&text).is_ok_and(|m| m > 0) || mebibytes(&text).is_err());
        }
    }
}
