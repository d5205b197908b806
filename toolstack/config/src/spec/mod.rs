//! The typed specification of a domain, made once at the edge: after that nobody parses strings.
//!
//! Every type here can only hold what is valid, reads itself from the user's spelling (`FromStr`), writes the same
//! spelling (`Display`) and is that string in JSON. `convert` is the way to and from the `(vm ...)` expression.

mod check;
mod convert;
mod cpus;
mod disk;
mod domain;
mod error;
mod ids;
mod image;
mod lifecycle;
mod name;
mod pci;
mod vdev;
mod vif;

pub use check::MAX_VCPUS;
pub(crate) use check::check_builder;
pub use convert::{FromSxp, device_from_sxp};
pub use cpus::{CpuSet, InitialCpu, MAX_CPU};
pub use disk::{Disk, DiskMode, DiskSource};
pub use domain::{Backends, Clock, Device, DomainSpec};
pub use error::SpecError;
pub use ids::{Mac, Uuid};
pub use image::{CMDLINE_MAX, Image};
pub use lifecycle::{ExitAction, ExitReason, Restart};
pub use name::{DomainName, DomainRef};
pub use pci::PciAddress;
pub use vdev::Vdev;
pub use vif::{Rate, Vif};

/// Makes a type its string in JSON.
macro_rules! string_in_json {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

string_in_json!(
    CpuSet, InitialCpu, DiskMode, DiskSource, Mac, Uuid, ExitAction, Restart, DomainName,
    DomainRef, PciAddress, Vdev, Rate
);

#[cfg(test)]
mod tests;
