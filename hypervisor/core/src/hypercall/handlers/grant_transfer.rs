//! Giving a frame away (GNTTABOP_transfer).
//!
//! The frame must be the caller's and in no use at all. It is taken from the caller in one step, so that nobody can begin to
//! use it; the caller's translations of it are flushed; then it becomes the other domain's, in the same critical section as
//! the entry that asked for it. If anything fails on the way, the caller has it back.

use core::sync::atomic::Ordering::SeqCst;

use crate::domain::Domain;
use crate::frame::FrameInfo;
use crate::gnttab::GrantStatus;
use crate::hypercall::{Call, Machine};
use crate::units::{DomId, GrantRef, Mfn};

/// Gives frame `mfn` of the caller to domain `to`, which accepts it in its entry `gref`.
///
/// # Errors
/// `BadPage`: not the caller's, or in use. `BadDomain`. `GeneralError`: `to` has all the frames it may have, or does not accept
/// this one. `AddressTooBig`: its entry cannot name the frame.
pub(super) fn transfer<M: Machine>(
    call: &Call<'_, M>,
    mfn: Mfn,
    to: DomId,
    gref: GrantRef,
) -> Result<(), GrantStatus> {
    let info = call.m.frames().get(mfn).ok_or(GrantStatus::BadPage)?;
    info.steal(call.domain.id)
        .map_err(|_| GrantStatus::BadPage)?;
    let given = match call.m.domain(to) {
        Some(to) => give(call, mfn, info, &to, gref),
        None => Err(GrantStatus::BadDomain),
    };
    if given.is_err() {
        assign(call, mfn, info, call.domain);
    }
    given
}

fn give<M: Machine>(
    call: &Call<'_, M>,
    mfn: Mfn,
    info: &FrameInfo,
    to: &Domain,
    gref: GrantRef,
) -> Result<(), GrantStatus> {
    if to.is_dying() {
        return Err(GrantStatus::GeneralError);
    }
    let is_other = to.id != call.domain.id;
    if is_other {
        let max = to.max_pages.load(SeqCst);
        let more = |tot: u64| tot.checked_add(1).filter(|tot| *tot <= max);
        to.tot_pages
            .fetch_update(SeqCst, SeqCst, more)
            .map_err(|_| GrantStatus::GeneralError)?;
    }
    call.m.flush_domain(call.domain.id);
    let accepted = to.grants.accept(call.m, gref, call.domain.id, mfn, |pfn| {
        call.m.set_m2p(mfn, pfn);
        assign(call, mfn, info, to);
    });
    if is_other {
        let loser = if accepted.is_ok() { call.domain } else { to };
        loser.tot_pages.fetch_sub(1, SeqCst);
    }
    accepted
}

fn assign<M: Machine>(call: &Call<'_, M>, mfn: Mfn, info: &FrameInfo, owner: &Domain) {
    owner.span.grow(mfn, 1);
    if info.assign(owner.id).is_err() {
        call.m.bug("a frame between two owners is not private", mfn);
    }
}
