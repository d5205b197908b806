//! Network interfaces of a domain.

use super::{DomainRef, Mac, SpecError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A network interface. What is left out, the daemon's configuration decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vif {
    /// The guest's address; when there is none, whoever creates the domain draws one and keeps it over restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The bridge it joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The script that sets it up, absolute or below the scripts' directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// The domain whose back-end serves it: domain 0 unless named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<DomainRef>,
    /// Addresses or networks the guest may use, for scripts that filter or route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<String>,
    /// The name of the interface in the back-end's domain instead of `vifDOMID.INDEX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vifname: Option<String>,
    /// The most the guest may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The device of domain 0 that leads out, for scripts that route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gatewaydev: Option<String>,
}

/// A limit on what an interface sends: bytes per second, and how often the credit is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Bytes per second; not 0.
    pub bytes_per_s: u64,
    /// The renewal interval in microseconds; not 0.
    pub interval_us: u32,
}

/// Units, longest first so that `Kb/s` is not read as `b/s`; as a multiple of bits.
const UNITS: [(&str, u64); 8] = [
    ("GB/s", 8_000_000_000),
    ("MB/s", 8_000_000),
    ("KB/s", 8_000),
    ("Gb/s", 1_000_000_000),
    ("Mb/s", 1_000_000),
    ("Kb/s", 1_000),
    ("B/s", 8),
    ("b/s", 1),
];
const DEFAULT_INTERVAL_US: u32 = 50_000;

impl Rate {
    /// So many bytes in each interval of so many microseconds.
    ///
    /// # Errors
    /// The interval is 0, or it comes to less than a byte per second or more than can be counted.
    pub fn of(bytes: u64, interval_us: u32) -> Result<Self, SpecError> {
        let per_s = (u128::from(bytes) * 1_000_000).checked_div(interval_us.into());
        let per_s = per_s.and_then(|rate| u64::try_from(rate).ok());
        match per_s {
            Some(bytes_per_s @ 1..) => Ok(Self {
                bytes_per_s,
                interval_us,
            }),
            _ => {
                let given = format!("{bytes} in {interval_us} us");
                let rule =
                    "bytes and microseconds, above 0, that come to a byte per second or more";
                Err(SpecError::invalid("rate", given, rule))
            }
        }
    }

    /// The credit per interval, in bytes, as the store's `rate` wants it.
    pub fn bytes_per_interval(self) -> u64 {
        let bytes = u128::from(self.bytes_per_s) * u128::from(self.interval_us) / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl FromStr for Rate {
    type Err = SpecError;

    /// Reads `10Mb/s` or `250KB/s@20ms`, as in Xen's `xl-network-configuration`.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let invalid = || SpecError::invalid("rate", text, "as in 10Mb/s or 250KB/s@20ms");
        let (rate, interval) = text
            .split_once('@')
            .map_or((text, None), |(rate, interval)| (rate, Some(interval)));
        let (amount, bits) = UNITS
            .iter()
            .find_map(|(unit, bits)| Some((rate.trim().strip_suffix(unit)?, *bits)))
            .ok_or_else(invalid)?;
        let amount: u64 = amount.trim().parse().map_err(|_| invalid())?;
        let bytes_per_s = amount.checked_mul(bits).ok_or_else(invalid)? / 8;
        let interval_us = interval
            .map_or(Some(DEFAULT_INTERVAL_US), interval_us)
            .ok_or_else(invalid)?;
        if bytes_per_s == 0 || interval_us == 0 {
            return Err(SpecError::invalid(
                "rate",
                text,
                "a rate or an interval of nothing lets nothing through",
            ));
        }
        Ok(Self {
            bytes_per_s,
            interval_us,
        })
    }
}

fn interval_us(text: &str) -> Option<u32> {
    let text = text.trim();
    // "us" and "ms" end in "s", too.
    for (unit, us) in [("us", 1), ("ms", 1_000), ("s", 1_000_000)] {
        if let Some(amount) = text.strip_suffix(unit) {
            return amount.trim().parse::<u32>().ok()?.checked_mul(us);
        }
    }
    None
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}B/s@{}us", self.bytes_per_s, self.interval_us)
    }
}
