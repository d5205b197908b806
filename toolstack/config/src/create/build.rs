//! Checked values → the specification.

use super::value::Values;
use super::{ConfigError, Style, parse_disk, parse_vif};
use crate::spec::{
    Backends, Clock, DomainName, DomainSpec, Image, InitialCpu, SpecError, Vif, check_builder,
};

/// Memory of a domain that asks for none, in MiB.
const DEFAULT_MEMORY_MIB: u64 = 128;
/// The address a kernel's `ip=` names as server when there is none, as 2.0 did: the field must hold one.
const NO_SERVER: &str = "1.2.3.4";
/// More interfaces than any guest looks at.
const MAX_NICS: usize = 64;

pub(super) fn spec(values: &Values<'_>) -> Result<DomainSpec, ConfigError> {
    let name = name(values)?;
    let memory = values.int("memory")?.unwrap_or(DEFAULT_MEMORY_MIB);
    let mut spec = DomainSpec::new(name, memory, "");
    spec.image = image(values)?;
    spec.uuid = values.parsed("uuid")?;
    spec.maxmem_mib = values.int("maxmem")?.filter(|mib| *mib != 0);
    spec.maxvcpus = values.int("maxvcpus")?;
    spec.vcpus = values.int("vcpus")?.unwrap_or(1);
    if let Some(cpu) = values.int::<i64>("cpu")? {
        let cpu = cpu.to_string().parse::<InitialCpu>();
        spec.cpu = Some(cpu.map_err(|error| values.error_at("cpu", error.to_string()))?);
    }
    for cpus in values.any("cpus")? {
        let cpus = cpus
            .parse()
            .map_err(|error: SpecError| values.error_at("cpus", error.to_string()))?;
        spec.cpus.push(cpus);
    }
    spec.cpu_weight = values.float("cpu_weight")?;
    spec.backends = Backends {
        blkif: values.bool("blkif")?,
        netif: values.bool("netif")?,
    };
    spec.restart = values.parsed("restart")?;
    spec.on_poweroff = values.parsed("on_poweroff")?;
    spec.on_reboot = values.parsed("on_reboot")?;
    spec.on_crash = values.parsed("on_crash")?;
    spec.on_watchdog = values.parsed("on_watchdog")?;
    spec.console_port = values.int("console")?.filter(|port| *port != 0);
    spec.clock = Clock {
        localtime: values.bool("localtime")?,
        offset_s: values.int("rtc_timeoffset")?.unwrap_or(0),
    };
    // Checked like the others, though nothing comes of it.
    values.list("ipaddr")?;
    for disk in values.list("disk")? {
        spec.disks
            .push(parse_disk(disk).map_err(|error| specifier(values, "disk", disk, &error))?);
    }
    for pci in values.list("pci")? {
        spec.pci.push(
            pci.trim()
                .parse()
                .map_err(|error| specifier(values, "pci", pci, &error))?,
        );
    }
    for vif in values.list("vif")? {
        spec.vifs
            .push(parse_vif(vif).map_err(|error| specifier(values, "vif", vif, &error))?);
    }
    add_default_nics(values, &mut spec)?;
    spec.check()
        .map_err(|error| values.error_at(variable_of(&error), error.to_string()))?;
    Ok(spec)
}

fn specifier(values: &Values<'_>, name: &str, entry: &str, error: &SpecError) -> ConfigError {
    let mut found = values.error_at(name, format!("Invalid {name} specifier: {entry}"));
    found.hint = Some(error.to_string());
    found
}

/// The variable to blame for a rule about several.
fn variable_of(error: &SpecError) -> &'static str {
    match error {
        SpecError::Invalid { what: "mac", .. } => "vif",
        SpecError::Invalid {
            what: "kernel command line",
            ..
        } => "extra",
        SpecError::Invalid { what, .. } | SpecError::Missing(what) => what,
        SpecError::MissingName | SpecError::InvalidName(_) | SpecError::Refused { .. } => "name",
    }
}

fn name(values: &Values<'_>) -> Result<DomainName, ConfigError> {
    if let Some(name) = values.parsed("name")? {
        return Ok(name);
    }
    let base = values.source.file.rsplit('/').next().unwrap_or("");
    base.parse().map_err(|error: SpecError| {
        let mut error = values.error_at("name", error.to_string());
        error.hint = Some("the file's name is no valid name of a domain: set name=".into());
        error
    })
}

fn image(values: &Values<'_>) -> Result<Image, ConfigError> {
    for name in ["builder", "type"] {
        if let Some(kind) = values.text(name)? {
            check_builder(kind).map_err(|error| values.error_at(name, error.to_string()))?;
        }
    }
    let path = |name| {
        let text = values.text(name)?;
        Ok::<_, ConfigError>(text.map(|text| absolute(text, values.source.directory)))
    };
    let Some(kernel) = path("kernel")? else {
        let mut error = values.error_at("kernel", "No kernel specified".into());
        error.hint = Some("set kernel= to a kernel image in domain 0".into());
        return Err(error);
    };
    let ramdisk = path("ramdisk")?;
    let text = |name| values.text(name).map(|text| text.map(str::to_owned));
    if let Some(cmdline) = text("cmdline")? {
        for other in ["root", "extra", "ip", "nfs_root"] {
            if values.text(other)?.is_some() {
                let mut error =
                    values.error_at(other, format!("'{other}' and 'cmdline' are both set"));
                error.hint = Some(
                    "cmdline= is the whole command line: put everything there, or leave it out"
                        .into(),
                );
                return Err(error);
            }
        }
        return Ok(Image {
            kernel,
            ramdisk,
            args: Some(cmdline),
            ..Image::default()
        });
    }
    let root = values
        .text("root")?
        .map(|root| root.strip_prefix("root=").unwrap_or(root).to_owned());
    let mut args = text("extra")?;
    let server = values.text("nfs_server")?;
    if let Some(path) = values.text("nfs_root")? {
        let Some(server) = server else {
            let mut error = values.error_at("nfs_root", "Must set nfs root and nfs server".into());
            error.hint = Some("set nfs_server= to the server's address".into());
            return Err(error);
        };
        args = Some(
            format!("nfsroot={server}:{path} {}", args.unwrap_or_default())
                .trim_end()
                .to_owned(),
        );
    }
    Ok(Image {
        kernel,
        ramdisk,
        ip: kernel_ip(values, server)?,
        root,
        args,
    })
}

/// The value of the kernel's `ip=`, when an address or DHCP is asked for.
fn kernel_ip(values: &Values<'_>, server: Option<&str>) -> Result<Option<String>, ConfigError> {
    let text = |name, default| values.text(name).map(|text| text.unwrap_or(default));
    let (ip, dhcp) = (text("ip", "")?, text("dhcp", "off")?);
    let (gateway, netmask, hostname) = (
        text("gateway", "")?,
        text("netmask", "")?,
        text("hostname", "")?,
    );
    let interface = text("interface", "eth0")?;
    if ip.is_empty() && dhcp == "off" {
        return Ok(None);
    }
    let server = server.unwrap_or(NO_SERVER);
    Ok(Some(format!(
        "{ip}:{server}:{gateway}:{netmask}:{hostname}:{interface}:{dhcp}"
    )))
}

fn absolute(path: &str, directory: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", directory.trim_end_matches('/'))
    }
}

fn add_default_nics(values: &Values<'_>, spec: &mut DomainSpec) -> Result<(), ConfigError> {
    let default = usize::from(values.source.style == Style::Xm && !values.is_set("vif"));
    let nics = values.int("nics")?.unwrap_or(default);
    if nics > MAX_NICS {
        return Err(values.error_at(
            "nics",
            format!("'nics' is {nics}, and at most {MAX_NICS} are offered"),
        ));
    }
    while spec.vifs.len() < nics {
        spec.vifs.push(Vif::default());
    }
    Ok(())
}
