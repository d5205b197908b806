//! A domain's memory: its limit, what its frames are, the hypercall page.

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;

use super::Op;
use crate::builder::fill_hypercall_page;
use crate::domain::Domain;
use crate::frame::FrameTable;
use crate::hypercall::handlers::args::element;
use crate::hypercall::{Call, Machine};
use crate::pvmmu::Refs;
use crate::units::{Mfn, PAGE_SIZE};

/// Most frames that one `XEN_DOMCTL_getpageframeinfo3` may ask about.
const MAX_FRAMES: u64 = 1024;
/// Frames copied at a time.
const BATCH: usize = 32;

/// `XEN_DOMCTL_max_mem`.
pub(super) fn max_mem<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlMaxMem = op.arg()?;
    let pages = (arg.max_memkb / (PAGE_SIZE / 1024)).min(u64::from(u32::MAX));
    op.domain(call)?.max_pages.store(pages, Relaxed);
    Ok(())
}

/// `XEN_DOMCTL_getpageframeinfo3`.
pub(super) fn frame_types<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlGetpageframeinfo3 = op.arg()?;
    let domain = op.domain(call)?;
    if arg.num > MAX_FRAMES {
        return Err(Errno::E2BIG);
    }
    let frames = call.m.frames();
    let mut done = 0;
    while done < arg.num {
        let at = element(arg.array, done, 8);
        let count = (arg.num - done).min(BATCH as u64) as usize;
        let mut bytes = [0; BATCH * 8];
        let bytes = bytes.get_mut(..count * 8).ok_or(Errno::EINVAL)?;
        call.m.copy_in(at, bytes)?;
        for word in bytes.as_chunks_mut::<8>().0 {
            let kind = frame_type(frames, &domain, Mfn(u64::from_le_bytes(*word)));
            *word = u64::from(kind).to_le_bytes();
        }
        call.m.copy_out(at, bytes)?;
        done += count as u64;
    }
    Ok(())
}

fn frame_type(frames: FrameTable<'_>, domain: &Domain, mfn: Mfn) -> u32 {
    let word = frames.word(mfn);
    // What the hypervisor shares with the domain is not saved with it.
    if !word.is_held_by(domain.id) || mfn == domain.shared_info {
        return XEN_DOMCTL_PFINFO_XTAB;
    }
    let level = word.frame_type().level().unwrap_or(0);
    let pinned = if word.is_pinned() {
        XEN_DOMCTL_PFINFO_LPINTAB
    } else {
        0
    };
    match level {
        0 => XEN_DOMCTL_PFINFO_NOTAB,
        level if word.is_validated() => level << XEN_DOMCTL_PFINFO_LTAB_SHIFT | pinned,
        _ => XEN_DOMCTL_PFINFO_NOTAB,
    }
}

/// `XEN_DOMCTL_hypercall_init`.
pub(super) fn hypercall_page<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlHypercallInit = op.arg()?;
    let domain = op.domain(call)?;
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    let (m, mfn) = (call.m, Mfn(arg.gmfn));
    let refs = Refs {
        frames: m.frames(),
        host: m,
    };
    refs.hold_writable(mfn, domain.id)
        .map_err(|_| Errno::EACCES)?;
    let mut page = [0; PAGE_SIZE as usize];
    fill_hypercall_page(&mut page);
    for (index, word) in page.as_chunks::<8>().0.iter().enumerate() {
        m.write(mfn, index, u64::from_le_bytes(*word));
    }
    refs.release_writable(mfn);
    Ok(())
}

/// `XEN_DOMCTL_shadow_op`: there is no log of dirty pages yet, so it is not on, and cannot be switched on.
pub(super) fn shadow_op<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlShadowOp = op.arg()?;
    op.domain(call)?;
    match arg.op {
        XEN_DOMCTL_SHADOW_OP_ENABLE
        | XEN_DOMCTL_SHADOW_OP_ENABLE_TEST
        | XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}
