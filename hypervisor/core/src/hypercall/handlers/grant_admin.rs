//! Grant operations that come one at a time: about the table as a whole.

use rexen_abi::errno::Errno;
use rexen_abi::grant_table::*;

use super::args::element;
use super::grant_host::{add_frames, share_new_frame, stop_seldom, unshare};
use crate::domain::Domain;
use crate::hypercall::{Call, Machine, Outcome};
use crate::units::{Mfn, PAGE_SIZE};

/// How an operation ends, unless it must go on later.
enum Step {
    Done(Result<(), Errno>),
    Again,
}

/// `grant_table_op(cmd, arg, 1)`.
pub(super) fn single<M: Machine>(call: &Call<'_, M>, cmd: u32, at: u64, count: u32) -> Outcome {
    let is_known = matches!(
        cmd,
        GNTTABOP_setup_table
            | GNTTABOP_query_size
            | GNTTABOP_set_version
            | GNTTABOP_get_version
            | GNTTABOP_get_status_frames
    );
    let step = match cmd {
        _ if is_known && count != 1 => Step::Done(Err(Errno::EINVAL)),
        GNTTABOP_setup_table => setup_table(call, at),
        GNTTABOP_set_version => set_version(call, at),
        GNTTABOP_query_size => Step::Done(query_size(call, at)),
        GNTTABOP_get_version => Step::Done(get_version(call, at)),
        GNTTABOP_get_status_frames => Step::Done(get_status_frames(call, at)),
        GNTTABOP_cache_flush => Step::Done(cache_flush(call, at, count)),
        // GNTTABOP_dump_table, too, which Xen 4.17 knows no more.
        _ => Step::Done(Err(Errno::ENOSYS)),
    };
    match step {
        Step::Done(result) => result.into(),
        Step::Again => call.again([]),
    }
}

fn setup_table<M: Machine>(call: &Call<'_, M>, at: u64) -> Step {
    let setup = || -> Result<Step, Errno> {
        let mut op = call.read::<GnttabSetupTable>(at)?;
        op.status = match call.target(op.dom) {
            Err(e) => refused(e),
            Ok(target) => match add_frames(call.m, &target, op.nr_frames) {
                Ok(false) => return Ok(Step::Again),
                Ok(true) => list_frames(call, op.frame_list, op.nr_frames, |n| {
                    target.grants.frame(n)
                }),
                Err(status) => status as i16,
            },
        };
        call.write(at, &op).map(|()| Step::Done(Ok(())))
    };
    setup().unwrap_or_else(|e| Step::Done(Err(e)))
}

/// Tells the guest the numbers of `count` frames; gives the status. A table has few enough for one go.
fn list_frames<M: Machine>(
    call: &Call<'_, M>,
    list: u64,
    count: u32,
    frame: impl Fn(u32) -> Option<Mfn>,
) -> i16 {
    for n in 0..count {
        let Some(mfn) = frame(n) else {
            return GNTST_general_error;
        };
        if call.write(element(list, u64::from(n), 8), &mfn.0).is_err() {
            return GNTST_bad_virt_addr;
        }
    }
    GNTST_okay
}

fn query_size<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<(), Errno> {
    let mut op = call.read::<GnttabQuerySize>(at)?;
    op.status = match call.target(op.dom) {
        Err(e) => refused(e),
        Ok(target) => {
            (op.nr_frames, op.max_nr_frames) = target.grants.size();
            GNTST_okay
        }
    };
    call.write(at, &op)
}

fn set_version<M: Machine>(call: &Call<'_, M>, at: u64) -> Step {
    let set = || -> Result<Step, Errno> {
        let mut op = call.read::<GnttabSetVersion>(at)?;
        let changed = call.domain.grants.set_version(
            call.m,
            op.version,
            || share_new_frame(call.m, call.domain),
            |mfn| unshare(call.m, call.domain, mfn),
            stop_seldom(call.m),
        );
        if changed == Ok(false) {
            return Ok(Step::Again);
        }
        op.version = call.domain.grants.version();
        call.write(at, &op)?;
        changed.map(|_| Step::Done(Ok(())))
    };
    set().unwrap_or_else(|e| Step::Done(Err(e)))
}

fn get_version<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<(), Errno> {
    let mut op = call.read::<GnttabGetVersion>(at)?;
    op.version = call.target(op.dom)?.grants.version();
    call.write(at, &op)
}

fn get_status_frames<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<(), Errno> {
    let mut op = call.read::<GnttabGetStatusFrames>(at)?;
    let list = |target: &Domain| {
        if op.nr_frames > target.grants.status_size().0 {
            return GNTST_general_error;
        }
        list_frames(call, op.frame_list, op.nr_frames, |n| {
            target.grants.status_frame(n)
        })
    };
    op.status = call
        .target(op.dom)
        .map_or_else(refused, |target| list(&target));
    call.write(at, &op)
}

/// Caches are coherent with all that a guest can map, but for what the hardware domain maps uncached.
fn cache_flush<M: Machine>(call: &Call<'_, M>, at: u64, count: u32) -> Result<(), Errno> {
    if count == 0 {
        return Ok(());
    }
    let op = call.read::<GnttabCacheFlush>(at)?;
    let end = u64::from(op.offset) + u64::from(op.length);
    if op.op & !(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL) != 0 || end > PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    if op.op == 0 || op.length == 0 {
        return Ok(());
    }
    let word = call.m.frames().word(Mfn::containing(op.a));
    if !word.is_held_by(call.domain.id) {
        return Err(Errno::EPERM);
    }
    if call.domain.is_privileged {
        call.m.write_back_caches();
    }
    Ok(())
}

/// The status for a domain that cannot be named.
fn refused(e: Errno) -> i16 {
    if e == Errno::EPERM {
        GNTST_permission_denied
    } else {
        GNTST_bad_domain
    }
}
