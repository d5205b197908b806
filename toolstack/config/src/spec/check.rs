//! Rules that concern more than one value of a specification.

use super::{CMDLINE_MAX, DomainSpec, SpecError};

/// The most vcpus a domain may have.
pub const MAX_VCPUS: u32 = 512;
/// Memory is counted in pages of 32 bits: 16 TiB.
const MAX_MEMORY_MIB: u64 = 16 << 20;

impl DomainSpec {
    /// Checks what the types cannot: sizes against each other, no device twice, no text that cannot reach the guest.
    ///
    /// Specifications that come from a script or from SXP have been checked; those from JSON or made by hand have not.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.memory_mib == 0 || self.memory_mib > MAX_MEMORY_MIB {
            return Err(SpecError::invalid(
                "memory",
                self.memory_mib,
                "MiB, from 1 to 16777216",
            ));
        }
        if self.maxmem_mib() < self.memory_mib || self.maxmem_mib() > MAX_MEMORY_MIB {
            let expected = format!(
                "MiB, from memory, which is {}, to {MAX_MEMORY_MIB}",
                self.memory_mib
            );
            return Err(SpecError::invalid("maxmem", self.maxmem_mib(), expected));
        }
        if self.vcpus == 0 || self.vcpus > MAX_VCPUS {
            return Err(SpecError::invalid(
                "vcpus",
                self.vcpus,
                format_args!("from 1 to {MAX_VCPUS}"),
            ));
        }
        if self.max_vcpus() < self.vcpus || self.max_vcpus() > MAX_VCPUS {
            let expected = format!("from vcpus, which is {}, to {MAX_VCPUS}", self.vcpus);
            return Err(SpecError::invalid("maxvcpus", self.max_vcpus(), expected));
        }
        if self.cpus.len() > 1 && self.cpus.len() > self.max_vcpus() as usize {
            let expected = format!("the domain has {} vcpus", self.max_vcpus());
            return Err(SpecError::invalid(
                "cpus",
                format_args!("{} sets", self.cpus.len()),
                expected,
            ));
        }
        if let Some(weight) = self
            .cpu_weight
            .filter(|weight| !weight.is_finite() || *weight <= 0.0)
        {
            return Err(SpecError::invalid("cpu_weight", weight, "above 0"));
        }
        self.check_image()?;
        self.check_devices()
    }

    fn check_image(&self) -> Result<(), SpecError> {
        let image = &self.image;
        if image.kernel.is_empty() {
            return Err(SpecError::Missing("kernel"));
        }
        for (what, text) in [
            ("kernel", Some(&image.kernel)),
            ("ramdisk", image.ramdisk.as_ref()),
            ("ip", image.ip.as_ref()),
            ("root", image.root.as_ref()),
            ("args", image.args.as_ref()),
        ] {
            if let Some(text) = text.filter(|text| text.contains('\0')) {
                return Err(SpecError::invalid(what, text, "a NUL would end it"));
            }
        }
        let cmdline = image.cmdline();
        if cmdline.len() > CMDLINE_MAX {
            let expected = format!(
                "{} bytes, and a guest can be given {CMDLINE_MAX}",
                cmdline.len()
            );
            return Err(SpecError::invalid("kernel command line", cmdline, expected));
        }
        Ok(())
    }

    fn check_devices(&self) -> Result<(), SpecError> {
        for (nr, disk) in self.disks.iter().enumerate() {
            if let Some(other) = self.disks[..nr]
                .iter()
                .find(|other| other.dev.number() == disk.dev.number())
            {
                let expected = format!("{} is {} already", other.dev, other.source);
                return Err(SpecError::invalid(
                    "disk",
                    format_args!("{},{}", disk.source, disk.dev),
                    expected,
                ));
            }
        }
        for (nr, vif) in self.vifs.iter().enumerate() {
            let mut others = self.vifs[..nr].iter();
            if let Some(mac) = vif
                .mac
                .filter(|mac| others.any(|other| other.mac == Some(*mac)))
            {
                return Err(SpecError::invalid(
                    "mac",
                    mac,
                    "two interfaces have the same address",
                ));
            }
        }
        for (nr, pci) in self.pci.iter().enumerate() {
            if self.pci[..nr].contains(pci) {
                return Err(SpecError::invalid("pci", pci, "it is given twice"));
            }
        }
        Ok(())
    }
}

/// Checks the image type of `(image (TYPE ...))` or `builder=`.
pub(crate) fn check_builder(builder: &str) -> Result<(), SpecError> {
    match builder {
        // xl's names beside 2.0's.
        "linux" | "generic" | "pv" => Ok(()),
        "hvm" | "pvh" => Err(SpecError::refused(
            format!("image type {builder}"),
            "Rexen runs PV guests: give a kernel that runs paravirtualised (linux)",
        )),
        "plan9" => Err(SpecError::refused(
            "image type plan9",
            "its kernels speak Xen 2.0's own ABI, not today's",
        )),
        _ => Err(SpecError::invalid("image type", builder, "linux")),
    }
}
