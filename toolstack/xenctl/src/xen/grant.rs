//! Entries of another domain's grant table, which the toolstack makes before the domain runs.

use rexen_abi::Plain;
use rexen_abi::grant_table::*;
use rexen_abi::memory::{XENMEM_resource_grant_table, XENMEM_resource_grant_table_id_shared};
use rexen_abi::xen::__HYPERVISOR_grant_table_op;
use rexen_core::units::{DomId, GrantRef, Mfn};
use rustix::io::Errno;

use super::Xen;
use crate::error::{Error, Result};
use crate::sys::shared::SharedPages;

impl Xen {
    /// Writes entries (reference, frame, to whom) into the first frame of a new domain's grant table, so that `to` can
    /// map the frames: the console's and xenstore's, before the domain knows of any.
    ///
    /// # Errors
    /// `SRCH`: no such domain. `INVAL`: a reference beyond the first frame, or a frame beyond 16 TiB.
    pub fn seed_grants(&self, domain: DomId, grants: &[(GrantRef, Mfn, DomId)]) -> Result<()> {
        const ENTRIES: u32 = 4096 / GrantEntryV1::SIZE as u32;
        let error = |errno| Error::new("writing its first grants", errno).on(domain);
        let table = self.grant_frame(domain).map_err(error)?;
        for (gref, frame, to) in grants {
            let entry = GrantEntryV1 {
                flags: GTF_permit_access,
                domid: to.0,
                frame: u32::try_from(frame.0).map_err(|_| error(Errno::INVAL))?,
            };
            if gref.0 >= ENTRIES {
                return Err(error(Errno::INVAL));
            }
            let offset = gref.0 as usize * GrantEntryV1::SIZE;
            // The flags make the entry valid, so they come last.
            let bytes = entry.to_bytes();
            table.write(offset + 2, &bytes[2..]);
            table.write(offset, &bytes[..2]);
        }
        Ok(())
    }

    /// The first frame of a domain's grant table: as a resource, or by its number where there are no resources.
    fn grant_frame(&self, domain: DomId) -> std::result::Result<SharedPages, Errno> {
        match self.map_resource(
            domain,
            XENMEM_resource_grant_table,
            XENMEM_resource_grant_table_id_shared,
            1,
        ) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY) => {
                let frame = self.setup_grant_table(domain)?;
                self.hypercalls.map_frames(domain, &[frame], true)
            }
            result => result,
        }
    }

    #[allow(
        non_upper_case_globals,
        reason = "the header's spelling, so that grep finds both"
    )]
    fn setup_grant_table(&self, domain: DomId) -> std::result::Result<Mfn, Errno> {
        let mut call = self.hypercalls.begin();
        let list = call.room(8);
        let buffer = call.put(&GnttabSetupTable {
            dom: domain.0,
            nr_frames: 1,
            status: 0,
            frame_list: call.handle(list),
        });
        let handle = call.handle(buffer);
        call.issue(
            __HYPERVISOR_grant_table_op,
            &[GNTTABOP_setup_table.into(), handle, 1],
        )?;
        match call.get::<GnttabSetupTable>(buffer).status {
            GNTST_okay => Ok(Mfn(call.get(list))),
            GNTST_bad_domain => Err(Errno::SRCH),
            GNTST_permission_denied => Err(Errno::PERM),
            _ => Err(Errno::INVAL),
        }
    }
}
