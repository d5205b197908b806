//! The `(vm ...)` expression of a specification, both ways.
//!
//! The elements of 2.0 come in 2.0's order. Today's keys are further elements between `console` and `image`, written
//! only when they say something: `uuid`, `vcpus`, `maxvcpus`, `cpus` (once, or once per vcpu), `on_poweroff`,
//! `on_reboot`, `on_crash`, `on_watchdog`, `localtime`, `rtc_timeoffset`; in `vbd` also `script` and `cdrom`; in `pci`
//! also `domain`; in `vif` also `vifname`, `rate`, `gatewaydev`. As in 2.0, a reader warns of elements it does not know.

use super::{Device, Disk, DiskMode, DomainSpec, Image, PciAddress, SpecError, Vif};
use crate::sxp::Sexp;
use std::fmt::Display;
use std::str::FromStr;

/// What was read from an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct FromSxp {
    /// The specification.
    pub spec: DomainSpec,
    /// A sentence for each element that was ignored.
    pub warnings: Vec<String>,
}

/// Elements of `(vm ...)` that are understood, in the order they are written.
const ELEMENTS: &[&str] = &[
    "name",
    "memory",
    "maxmem",
    "cpu",
    "cpu_weight",
    "backend",
    "restart",
    "console",
    "uuid",
    "vcpus",
    "maxvcpus",
    "cpus",
    "on_poweroff",
    "on_reboot",
    "on_crash",
    "on_watchdog",
    "localtime",
    "rtc_timeoffset",
    "image",
    "device",
];

impl DomainSpec {
    /// The `(vm ...)` expression.
    pub fn to_sxp(&self) -> Sexp {
        let mut vm = vec![
            Sexp::pair("name", &self.name),
            Sexp::pair("memory", self.memory_mib),
        ];
        push(&mut vm, "maxmem", &self.maxmem_mib);
        push(&mut vm, "cpu", &self.cpu);
        push(&mut vm, "cpu_weight", &self.cpu_weight);
        for (wanted, name) in [
            (self.backends.blkif, "blkif"),
            (self.backends.netif, "netif"),
        ] {
            if wanted {
                vm.push(Sexp::element("backend", [Sexp::element(name, [])]));
            }
        }
        push(&mut vm, "restart", &self.restart);
        push(&mut vm, "console", &self.console_port);
        push(&mut vm, "uuid", &self.uuid);
        push(
            &mut vm,
            "vcpus",
            &Some(self.vcpus).filter(|vcpus| *vcpus != 1),
        );
        push(&mut vm, "maxvcpus", &self.maxvcpus);
        vm.extend(self.cpus.iter().map(|cpus| Sexp::pair("cpus", cpus)));
        push(&mut vm, "on_poweroff", &self.on_poweroff);
        push(&mut vm, "on_reboot", &self.on_reboot);
        push(&mut vm, "on_crash", &self.on_crash);
        push(&mut vm, "on_watchdog", &self.on_watchdog);
        push(&mut vm, "localtime", &self.clock.localtime.then_some(1));
        push(
            &mut vm,
            "rtc_timeoffset",
            &Some(self.clock.offset_s).filter(|offset| *offset != 0),
        );
        vm.push(Sexp::element("image", [self.image.to_sxp()]));
        let disks = self.disks.iter().map(Disk::to_sxp);
        let pci = self.pci.iter().map(|pci| pci.to_sxp());
        let devices = disks.chain(pci).chain(self.vifs.iter().map(Vif::to_sxp));
        vm.extend(devices.map(|device| Sexp::element("device", [device])));
        Sexp::element("vm", vm)
    }

    /// Reads a `(vm ...)` expression, or the one inside `(config ...)`.
    ///
    /// # Errors
    /// A part that must be there is missing, or a value does not fit.
    pub fn from_sxp(vm: &Sexp) -> Result<FromSxp, SpecError> {
        let vm = vm
            .child("vm")
            .filter(|_| vm.name() == Some("config"))
            .unwrap_or(vm);
        if vm.name() != Some("vm") {
            let value = vm.to_string().chars().take(40).collect::<String>();
            return Err(SpecError::invalid(
                "configuration",
                value,
                "it is an expression (vm ...)",
            ));
        }
        let name = vm
            .child_value("name")
            .ok_or(SpecError::MissingName)?
            .parse()?;
        let memory = number(vm, "memory")?.ok_or(SpecError::Missing("memory"))?;
        let image = vm
            .child("image")
            .and_then(|image| image.children().first())
            .ok_or(SpecError::Missing("image"))?;
        let mut spec = Self::new(name, memory, "");
        spec.image = Image::from_sxp(image)?;
        spec.maxmem_mib = number(vm, "maxmem")?.filter(|mib| *mib != 0);
        spec.cpu = get(vm, "cpu")?;
        spec.cpu_weight = number(vm, "cpu_weight")?;
        for backend in vm.children_named("backend") {
            match backend
                .children()
                .first()
                .and_then(|kind| kind.name().or(kind.as_text()))
            {
                Some("blkif") => spec.backends.blkif = true,
                Some("netif") => spec.backends.netif = true,
                _ => {
                    return Err(SpecError::invalid(
                        "backend",
                        backend,
                        "(backend (blkif)) or (backend (netif))",
                    ));
                }
            }
        }
        spec.restart = get(vm, "restart")?;
        spec.console_port = number(vm, "console")?.filter(|port| *port != 0);
        spec.uuid = get(vm, "uuid")?;
        spec.vcpus = number(vm, "vcpus")?.unwrap_or(1);
        spec.maxvcpus = number(vm, "maxvcpus")?;
        for cpus in vm.children_named("cpus") {
            spec.cpus
                .push(cpus.value().ok_or(SpecError::Missing("cpus"))?.parse()?);
        }
        spec.on_poweroff = get(vm, "on_poweroff")?;
        spec.on_reboot = get(vm, "on_reboot")?;
        spec.on_crash = get(vm, "on_crash")?;
        spec.on_watchdog = get(vm, "on_watchdog")?;
        spec.clock.localtime = number::<u8>(vm, "localtime")?.unwrap_or(0) != 0;
        spec.clock.offset_s = number(vm, "rtc_timeoffset")?.unwrap_or(0);
        for device in vm.children_named("device") {
            let device = device
                .children()
                .first()
                .ok_or(SpecError::Missing("device type"))?;
            match device_from_sxp(device)? {
                Device::Disk(disk) => spec.disks.push(disk),
                Device::Vif(vif) => spec.vifs.push(vif),
                Device::Pci(pci) => spec.pci.push(pci),
            }
        }
        spec.check()?;
        let ignored = vm
            .children()
            .iter()
            .filter(|child| child.name().is_none_or(|name| !ELEMENTS.contains(&name)));
        let warnings = ignored
            .map(|child| format!("ignored in the configuration: {child}"))
            .collect();
        Ok(FromSxp { spec, warnings })
    }
}

/// Reads the expression of one device, `(vbd ...)`, `(vif ...)` or `(pci ...)`.
///
/// # Errors
/// The type is unknown, or a value does not fit.
pub fn device_from_sxp(device: &Sexp) -> Result<Device, SpecError> {
    match device.name() {
        Some("vbd") => Disk::from_sxp(device).map(Device::Disk),
        Some("vif") => Vif::from_sxp(device).map(Device::Vif),
        Some("pci") => PciAddress::from_sxp(device).map(Device::Pci),
        _ => Err(SpecError::invalid(
            "device type",
            device.name().unwrap_or(""),
            "vbd, vif or pci",
        )),
    }
}

impl Device {
    /// The expression of the device, without `(device ...)` around it.
    pub fn to_sxp(&self) -> Sexp {
        match self {
            Self::Disk(disk) => disk.to_sxp(),
            Self::Vif(vif) => vif.to_sxp(),
            Self::Pci(pci) => pci.to_sxp(),
        }
    }
}

impl Image {
    fn to_sxp(&self) -> Sexp {
        let mut image = vec![Sexp::pair("kernel", &self.kernel)];
        push(&mut image, "ramdisk", &self.ramdisk);
        push(&mut image, "ip", &self.ip);
        push(&mut image, "root", &self.root);
        push(&mut image, "args", &self.args);
        Sexp::element("linux", image)
    }

    fn from_sxp(image: &Sexp) -> Result<Self, SpecError> {
        super::check::check_builder(image.name().unwrap_or(""))?;
        let text = |name| {
            image
                .child_value(name)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let kernel = text("kernel").ok_or(SpecError::Missing("kernel"))?;
        Ok(Self {
            kernel,
            ramdisk: text("ramdisk"),
            ip: text("ip"),
            root: text("root"),
            args: text("args"),
        })
    }
}

impl Disk {
    /// The `(vbd ...)` expression.
    pub fn to_sxp(&self) -> Sexp {
        let mut vbd = vec![
            Sexp::pair("uname", &self.source),
            Sexp::pair("dev", &self.dev),
            Sexp::pair("mode", self.mode),
        ];
        push(&mut vbd, "backend", &self.backend);
        push(&mut vbd, "script", &self.script);
        push(&mut vbd, "cdrom", &self.cdrom.then_some(1));
        Sexp::element("vbd", vbd)
    }

    fn from_sxp(vbd: &Sexp) -> Result<Self, SpecError> {
        Ok(Self {
            source: get(vbd, "uname")?.ok_or(SpecError::Missing("uname of a vbd"))?,
            dev: get(vbd, "dev")?.ok_or(SpecError::Missing("dev of a vbd"))?,
            mode: mode_from_sxp(vbd)?,
            backend: get(vbd, "backend")?,
            script: vbd.child_value("script").map(str::to_owned),
            cdrom: number::<u8>(vbd, "cdrom")?.unwrap_or(0) != 0,
        })
    }
}

/// Unquoted, `(mode w!)` is read as `w` and `!`: put together again.
fn mode_from_sxp(vbd: &Sexp) -> Result<DiskMode, SpecError> {
    let Some(mode) = vbd.child("mode") else {
        return Ok(DiskMode::default());
    };
    let text: String = mode.children().iter().filter_map(Sexp::as_text).collect();
    text.parse()
}

impl PciAddress {
    /// The `(pci ...)` expression.
    pub fn to_sxp(self) -> Sexp {
        let hex = |name, value: u8| Sexp::pair(name, format_args!("{value:#x}"));
        let segment =
            (self.segment != 0).then(|| Sexp::pair("domain", format_args!("{:#x}", self.segment)));
        let rest = [
            hex("bus", self.bus),
            hex("dev", self.device),
            hex("func", self.function),
        ];
        Sexp::element("pci", segment.into_iter().chain(rest))
    }

    fn from_sxp(pci: &Sexp) -> Result<Self, SpecError> {
        let number = |name: &str| {
            let text = pci
                .child_value(name)
                .unwrap_or(if name == "domain" { "0" } else { "" });
            let hex = text.strip_prefix("0x").or(text.strip_prefix("0X"));
            let number = hex.map_or_else(
                || text.parse().ok(),
                |hex| u32::from_str_radix(hex, 16).ok(),
            );
            number.ok_or_else(|| {
                SpecError::invalid("pci", pci, "(pci (bus 0xB) (dev 0xD) (func 0xF))")
            })
        };
        Self::try_new(
            number("domain")?,
            number("bus")?,
            number("dev")?,
            number("func")?,
        )
    }
}

impl Vif {
    /// The `(vif ...)` expression.
    pub fn to_sxp(&self) -> Sexp {
        let mut vif = Vec::new();
        push(&mut vif, "mac", &self.mac);
        push(&mut vif, "bridge", &self.bridge);
        push(&mut vif, "script", &self.script);
        push(&mut vif, "backend", &self.backend);
        vif.extend(self.ip.iter().map(|ip| Sexp::pair("ip", ip)));
        push(&mut vif, "vifname", &self.vifname);
        push(&mut vif, "rate", &self.rate);
        push(&mut vif, "gatewaydev", &self.gatewaydev);
        Sexp::element("vif", vif)
    }

    fn from_sxp(vif: &Sexp) -> Result<Self, SpecError> {
        let text = |name| {
            vif.child_value(name)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let addresses = vif.children_named("ip").filter_map(Sexp::value);
        Ok(Self {
            mac: get(vif, "mac")?,
            bridge: text("bridge"),
            script: text("script"),
            backend: get(vif, "backend")?,
            ip: addresses
                .flat_map(str::split_whitespace)
                .map(str::to_owned)
                .collect(),
            vifname: text("vifname"),
            rate: get(vif, "rate")?,
            gatewaydev: text("gatewaydev"),
        })
    }
}

fn push(to: &mut Vec<Sexp>, name: &str, value: &Option<impl Display>) {
    to.extend(value.as_ref().map(|value| Sexp::pair(name, value)));
}

/// Reads the value of a child element, if there is one that is not empty.
fn get<T: FromStr<Err = SpecError>>(element: &Sexp, name: &str) -> Result<Option<T>, SpecError> {
    element
        .child_value(name)
        .filter(|text| !text.is_empty())
        .map(str::parse)
        .transpose()
}

/// The same for numbers.
fn number<T: FromStr>(element: &Sexp, name: &'static str) -> Result<Option<T>, SpecError> {
    let Some(text) = element.child_value(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| SpecError::invalid(name, text, "a number in range"))
}
