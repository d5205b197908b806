//! What the hypervisor says about itself (`public/version.h`).

use rexen_abi::errno::Errno;
use rexen_abi::features::*;
use rexen_abi::version::*;

use super::args::{low32, write_text};
use crate::domain::assist;
use crate::hypercall::{Call, Machine, Outcome, authority};
use crate::units::PAGE_SIZE;

/// 4.17: toolstacks and guests judge us by the version of Xen whose interface we have.
pub const VERSION: u64 = 4 << 16 | 17;
/// What follows the version: no release of Xen's.
const EXTRAVERSION: &str = ".0-rexen";
/// Kinds of guests that can run; libxc looks for the name.
const CAPABILITIES: &str = "xen-3.0-x86_64 ";
/// Where the hypervisor's addresses start (`public/arch-x86/xen-x86_64.h`).
const VIRT_START: u64 = rexen_abi::arch_x86::HYPERVISOR_VIRT_START;

/// `xen_version(cmd, arg)`.
#[inline]
pub fn xen_version<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    // Guests use this one as the cheapest hypercall there is, to have pending events delivered.
    if low32(call.args[0]) == XENVER_version {
        return Outcome::Done(VERSION);
    }
    others(call).into()
}

fn others<M: Machine>(call: &Call<'_, M>) -> Result<u64, Errno> {
    let [cmd, arg, ..] = call.args;
    match low32(cmd) {
        XENVER_extraversion => write_text(call, arg, EXTRAVERSION, XEN_EXTRAVERSION_LEN)?,
        XENVER_compile_info => {
            let mut info = XenCompileInfo::default();
            for (byte, from) in info.compiler.iter_mut().zip(*b"rustc") {
                *byte = from;
            }
            call.write(arg, &info)?;
        }
        XENVER_capabilities => write_text(call, arg, CAPABILITIES, XEN_CAPABILITIES_INFO_LEN)?,
        XENVER_changeset => write_text(call, arg, "unavailable", XEN_CHANGESET_INFO_LEN)?,
        XENVER_platform_parameters => call.write(
            arg,
            &XenPlatformParameters {
                virt_start: VIRT_START,
            },
        )?,
        XENVER_get_features => {
            let mut info = call.read::<XenFeatureInfo>(arg)?;
            if info.submap_idx != 0 {
                return Err(Errno::EINVAL);
            }
            info.submap = features(call);
            call.write(arg, &info)?;
        }
        XENVER_pagesize => {
            return if arg == 0 {
                Ok(PAGE_SIZE)
            } else {
                Err(Errno::EINVAL)
            };
        }
        XENVER_guest_handle => {
            let handle = *call.domain.control.handle.lock();
            call.write(arg, &handle)?;
        }
        XENVER_commandline => {
            let text = if call.domain.is_privileged {
                call.m.command_line()
            } else {
                "<denied>"
            };
            write_text(call, arg, text, XEN_COMMANDLINE_LEN)?;
        }
        XENVER_build_id => {
            authority::Control::of(call.domain)?;
            return Err(Errno::ENODATA);
        }
        _ => return Err(Errno::ENOSYS),
    }
    Ok(0)
}

fn features<M: Machine>(call: &Call<'_, M>) -> u32 {
    let always = 1 << XENFEAT_mmu_pt_update_preserve_ad
        | 1 << XENFEAT_highmem_assist
        | 1 << XENFEAT_gnttab_map_avail_bits
        | 1 << XENFEAT_memory_op_vnode_supported
        | 1 << XENFEAT_direct_mapped;
    let dom0 = u32::from(call.domain.is_privileged) << XENFEAT_dom0;
    let above_4g =
        u32::from(call.domain.has_assist(assist::PAE_EXTENDED_CR3)) << XENFEAT_pae_pgdir_above_4gb;
    always | dom0 | above_4g
}
