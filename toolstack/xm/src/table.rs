//! The tables that xm and xl print, column by column as their readers expect them.

use crate::model::{Console, Device, Domain, Vcpu};
use crate::units;

/// `xm list`: 2.0's seven columns; `verbose` adds who each domain is.
pub fn list(domains: &[Domain], verbose: bool) -> String {
    let head = "Name              Id  Mem(MB)  CPU  State  Time(s)  Console";
    let rows = domains.iter().map(|d| {
        let port = d.console_port.filter(|_| !d.is_dom0());
        let port = port.map_or_else(String::new, |p| p.to_string());
        let (name, id, memory, state) = (&d.name, d.id, d.memory, d.state5());
        let (cpu, time) = (d.cpu.unwrap_or(0), d.cpu_time);
        format!(
            "{name:<16} {id:>3}  {memory:>7}  {cpu:>3}  {state:<5}  {time:>7.1}    {port:>4}{}",
            identity(d, verbose)
        )
    });
    lines(head, verbose, rows)
}

/// `xl list`: six columns; `verbose` adds who each domain is.
pub fn xl_list(domains: &[Domain], verbose: bool) -> String {
    let head = "Name                                        ID   Mem VCPUs\tState\tTime(s)";
    let rows = domains.iter().map(|d| {
        let vcpus = d.vcpus_online.unwrap_or(d.vcpus);
        let (name, id, memory) = (&d.name, d.id, d.memory);
        let state = crate::xl::dying_alone(&d.state);
        let time = d.cpu_time;
        format!(
            "{name:<40} {id:>5} {memory:>5} {vcpus:>5}     {state:<6}  {time:>8.1}{}",
            identity(d, verbose)
        )
    });
    lines(head, verbose, rows)
}

fn lines(head: &str, verbose: bool, rows: impl Iterator<Item = String>) -> String {
    let more = if verbose {
        "   UUID                            Reason-Code\tSecurity Label"
    } else {
        ""
    };
    let head = format!("{head}{more}");
    std::iter::once(head)
        .chain(rows)
        .map(|line| line + "\n")
        .collect()
}

/// The UUID, the number of the reason for which it shut down, and the label that it has not.
///
/// # Source
/// `public/sched.h`, SHUTDOWN_*.
fn identity(domain: &Domain, verbose: bool) -> String {
    if !verbose {
        return String::new();
    }
    let reason = match domain.shutdown_reason.as_deref() {
        Some("poweroff") => "0",
        Some("reboot") => "1",
        Some("suspend") => "2",
        Some("crash") => "3",
        Some("watchdog") => "4",
        _ => "-",
    };
    format!(" {} {reason:>8} {:>16}", domain.uuid, "-")
}

/// `xm vcpu-list`: each domain with its vcpus; of `cpus` physical ones.
pub fn vcpus(domains: &[(Domain, Vec<Vcpu>)], cpus: Option<u32>) -> String {
    let mut out = format!(
        "{:<32} {:>5} {:>5} {:>5} {:>5} {:>9} {}\n",
        "Name", "ID", "VCPU", "CPU", "State", "Time(s)", "Affinity (Hard / Soft)"
    );
    for (domain, vcpus) in domains {
        for v in vcpus {
            let cpu = v.cpu.filter(|_| v.online);
            let cpu = cpu.map_or_else(|| "-".to_owned(), |c| c.to_string());
            let state = if v.online { &v.state } else { "--p" };
            out += &format!(
                "{:<32} {:>5} {:>5} {cpu:>5} {state:>5} {:>9.1}  {} / {}\n",
                domain.name,
                domain.id,
                v.vcpu,
                v.cpu_time,
                cpu_set(&v.affinity, cpus),
                cpu_set(&v.soft_affinity, cpus),
            );
        }
    }
    out
}

/// CPUs as ranges, or `all`.
fn cpu_set(set: &[u32], cpus: Option<u32>) -> String {
    let mut set = set.to_vec();
    set.sort_unstable();
    set.dedup();
    let count = u32::try_from(set.len()).ok();
    if set.is_empty() || cpus.is_some_and(|all| count.is_some_and(|c| c >= all)) {
        return "all".to_owned();
    }
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in set {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(cpu) => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let text = ranges.iter().map(|&(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    text.collect::<Vec<_>>().join(",")
}

/// `xm uptime`; `now` is the time of day for the short form.
pub fn uptime(domains: &[Domain], now: Option<u64>) -> String {
    let mut out = String::new();
    if now.is_none() {
        out = format!("{:<33} {:>4} {}\n", "Name", "ID", "Uptime");
    }
    for d in domains {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let up = units::uptime(d.up_time.unwrap_or(0.0).max(0.0) as u64);
        out += &match now {
            None => format!("{:<33} {:>4} {up}\n", d.name, d.id),
            Some(now) => {
                let clock = units::uptime(now % 86_400);
                format!(
                    " {} up {}, {} ({})\n",
                    clock.trim(),
                    up.trim(),
                    d.name,
                    d.id
                )
            }
        };
    }
    out
}

/// `xm consoles`: a row for each.
pub fn consoles(consoles: &[Console]) -> String {
    let mut out = "Dom Port  Id Connection\n".to_owned();
    for c in consoles {
        let port = c.port.map_or_else(String::new, |p| p.to_string());
        out += &format!(
            "{:>3} {port:>4} {:>3} {}\n",
            c.domain,
            c.id,
            c.connected.join(" ")
        );
    }
    out
}

/// `xm block-list`.
pub fn blocks(domains: &[Domain]) -> String {
    let mut out = format!(
        "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}\n",
        "Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"
    );
    for (domain, device) in devices(domains, "vbd") {
        let number = device.devid.unwrap_or_default();
        out += &format!(
            "{number:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}\n",
            device.backend,
            domain.id,
            number_or_minus(device.state),
            number_or_minus(device.evtchn),
            number_or_minus(device.rings.first().copied()),
            backend_path(device, domain),
        );
    }
    out
}

/// `xm network-list`.
pub fn interfaces(domains: &[Domain]) -> String {
    let mut out = format!(
        "{:<3} {:<2} {:<17} {:<6} {:<5} {:<6} {:>5}/{:<5} {:<30}\n",
        "Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-", "rx-ring-ref", "BE-path"
    );
    for (domain, device) in devices(domains, "vif") {
        let number = device.devid.unwrap_or_default();
        out += &format!(
            "{number:<3} {:<2} {:<17} {number:<6} {:<5} {:<6} {:>5}/{:<11} {:<30}\n",
            device.backend,
            device.mac.as_deref().unwrap_or(""),
            number_or_minus(device.state),
            number_or_minus(device.evtchn),
            number_or_minus(device.rings.first().copied()),
            number_or_minus(device.rings.get(1).copied()),
            backend_path(device, domain),
        );
    }
    out
}

fn devices<'a>(
    domains: &'a [Domain],
    kind: &'a str,
) -> impl Iterator<Item = (&'a Domain, &'a Device)> {
    domains.iter().flat_map(move |domain| {
        let of_kind = domain.devices.iter().filter(move |d| d.kind == kind);
        of_kind.map(move |device| (domain, device))
    })
}

fn number_or_minus(number: Option<u32>) -> String {
    number.map_or_else(|| "-1".to_owned(), |n| n.to_string())
}

fn backend_path(device: &Device, domain: &Domain) -> String {
    let (backend, kind, id) = (device.backend, &device.kind, domain.id);
    let number = device.devid.unwrap_or_default();
    format!("/local/domain/{backend}/backend/{kind}/{id}/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_written_as_ranges() {
        assert_eq!(cpu_set(&[], Some(4)), "all");
        assert_eq!(cpu_set(&[3, 0, 1, 2], Some(4)), "all");
        assert_eq!(cpu_set(&[3, 0, 1], Some(4)), "0-1,3");
        assert_eq!(cpu_set(&[2], None), "2");
    }
}
