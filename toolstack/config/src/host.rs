//! The machine as scripts may ask about it, through iproute2's `ip`.

use crate::script::{Host, Ipv4Config};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// The machine this runs on. What scripts print goes to standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Host for Machine {
    fn ipv4(&self, device: &str) -> Option<Ipv4Config> {
        // A name that could be an option, or nothing, is no device.
        if device.is_empty() || device.starts_with('-') {
            return None;
        }
        let (address, mask) = address_of(&ip(&["-o", "-4", "addr", "show", "dev", device])?)?;
        let gateway = ip(&["-4", "route", "show", "default", "dev", device])
            .and_then(|text| gateway_of(&text));
        Some(Ipv4Config {
            address,
            mask,
            gateway,
        })
    }

    fn print(&self, line: &str) {
        eprintln!("{line}");
    }
}

fn ip(arguments: &[&str]) -> Option<String> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())
        .flatten()
}

/// Reads `2: eth0    inet 10.0.0.5/24 brd ...`.
fn address_of(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (address, length) = after(text, "inet")?.split_once('/')?;
    let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some((address.parse().ok()?, mask.into()))
}

/// Reads `default via 10.0.0.1 ...`.
fn gateway_of(text: &str) -> Option<Ipv4Addr> {
    after(text, "via")?.parse().ok()
}

fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split_whitespace()
        .skip_while(|found| *found != word)
        .nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_ip_is_read() {
        let text = "2: eth0    inet 10.0.0.5/20 brd 10.0.15.255 scope global eth0\\       valid_lft forever\n";
        assert_eq!(
            address_of(text),
            Some(([10, 0, 0, 5].into(), [255, 255, 240, 0].into()))
        );
        assert_eq!(
            address_of("2: lo    inet 10.0.0.1/0"),
            Some(([10, 0, 0, 1].into(), [0; 4].into()))
        );
        assert_eq!(address_of(""), None);
        assert_eq!(
            gateway_of("default via 10.0.0.1 proto dhcp metric 100"),
            Some([10, 0, 0, 1].into())
        );
        assert_eq!(gateway_of("default scope link"), None);
        assert_eq!(Machine.ipv4("-x"), None);
    }
}
