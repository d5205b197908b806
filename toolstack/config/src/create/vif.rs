//! Entries of `vif`: `key=value,...`.

use crate::spec::{SpecError, Vif};
use crate::suggest;

const KEYS: &[&str] = &[
    "backend",
    "bridge",
    "gatewaydev",
    "ip",
    "mac",
    "rate",
    "script",
    "type",
    "vifname",
];
/// The longest name of a network device, in bytes.
///
/// # Source
/// Linux's `IFNAMSIZ`, less the final NUL.
const MAX_DEVICE_NAME: usize = 15;

/// Reads an entry of `vif`; an empty one asks for an interface with defaults.
///
/// # Errors
/// A key is unknown, or a value does not fit.
///
/// # Source
/// 2.0's manual; Xen's `xl-network-configuration(5)` for `vifname`, `rate`, `gatewaydev`, `type`.
pub fn parse_vif(entry: &str) -> Result<Vif, SpecError> {
    let mut vif = Vif::default();
    for item in entry
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let Some((key, value)) = item.split_once('=') else {
            return Err(SpecError::invalid(
                "vif",
                item,
                "key=value, as in bridge=xen-br0",
            ));
        };
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() || value.contains(char::is_control) {
            return Err(SpecError::invalid(
                "vif",
                item,
                "a value is missing after '='",
            ));
        }
        let text = Some(value.to_owned());
        match key {
            "mac" => vif.mac = Some(value.parse()?),
            "bridge" => vif.bridge = Some(device_name("bridge", value)?),
            "script" => vif.script = text,
            "backend" => vif.backend = Some(value.parse()?),
            "ip" => vif.ip.extend(value.split_whitespace().map(str::to_owned)),
            "vifname" => vif.vifname = Some(device_name("vifname", value)?),
            "rate" => vif.rate = Some(value.parse()?),
            "gatewaydev" => vif.gatewaydev = Some(device_name("gatewaydev", value)?),
            "type" if matches!(value, "vif" | "pv" | "netfront") => {}
            "type" | "model" => {
                return Err(SpecError::refused(
                    item,
                    "Rexen runs PV guests: their interfaces emulate no card. Leave it out",
                ));
            }
            _ => {
                let near = suggest::nearest(key, KEYS.iter().copied());
                let expected = near.map_or_else(
                    || format!("the keys are {}", KEYS.join(", ")),
                    |near| format!("did you mean {near}=?"),
                );
                return Err(SpecError::invalid("key of a vif", key, expected));
            }
        }
    }
    for address in &vif.ip {
        let (address, length) = address
            .split_once('/')
            .map_or((address.as_str(), None), |(a, length)| (a, Some(length)));
        let plain = address.parse::<std::net::IpAddr>().is_ok();
        if !plain
            || length.is_some_and(|length| !length.parse::<u8>().is_ok_and(|length| length <= 128))
        {
            return Err(SpecError::invalid(
                "ip",
                address,
                "an address or a network, as in 10.0.0.1 or 10.0.0.0/24",
            ));
        }
    }
    Ok(vif)
}

fn device_name(what: &'static str, name: &str) -> Result<String, SpecError> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
    if name.len() > MAX_DEVICE_NAME || name.contains(bad) || matches!(name, "." | "..") {
        return Err(SpecError::invalid(
            what,
            name,
            "the name of a network device, of at most 15 characters",
        ));
    }
    Ok(name.to_owned())
}
