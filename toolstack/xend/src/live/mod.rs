//! The real host: hypercalls by rexen-xenctl, the store by rexen-xenstore, and Linux's files, devices and scripts.

mod host;
mod hypervisor;
mod kernels;
mod store;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::world::World;

pub use host::LinuxHost;
pub use hypervisor::XenHypervisor;
pub use store::ClientStore;

/// How long xenstored may take to come up beside us.
const STORE_TIMEOUT: Duration = Duration::from_secs(20);

/// The three faces of this host.
///
/// # Errors
/// This is no domain 0 of Xen, or xenstored does not run.
pub fn world() -> Result<World> {
    if !Path::new("/dev/xen/privcmd").exists() {
        return Err(Error::failed(
            "/dev/xen/privcmd is missing: boot this host as domain 0 of the hypervisor, and `modprobe xen-privcmd` \
             (xend --simulate needs neither)",
        ));
    }
    let hypervisor = XenHypervisor::open()?;
    let deadline = Instant::now() + STORE_TIMEOUT;
    let client = loop {
        match rexen_xenstore::client::Store::connect() {
            Ok(client) => break client,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => {
                return Err(Error::failed(format!(
                    "xenstored does not answer: {error}; start it before xend"
                )));
            }
        }
    };
    Ok(World {
        hypervisor: Box::new(hypervisor),
        store: Box::new(ClientStore::new(client)),
        host: Box::new(LinuxHost),
    })
}
