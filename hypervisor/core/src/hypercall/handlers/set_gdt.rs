//! Descriptor tables (`public/xen.h`, HYPERVISOR_set_gdt, HYPERVISOR_update_descriptor).

use rexen_abi::arch_x86::FIRST_RESERVED_GDT_ENTRY;
use rexen_abi::errno::Errno;

use super::args::{element, low32};
use super::mmu_update::MmuOrErrno;
use crate::domain::{Domain, Gdt};
use crate::hypercall::{Call, Machine, Outcome};
use crate::pvmmu::{DomainMm, MmuError};
use crate::units::Mfn;

/// Descriptors in a page.
const PER_PAGE: u32 = 512;

/// `set_gdt(frames, entries)`.
pub fn set_gdt<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    match replace(call) {
        Ok(()) => Outcome::Done(0),
        Err(MmuOrErrno::Again) => Outcome::Again(call.args),
        Err(MmuOrErrno::Errno(e)) => Outcome::Done(e.to_rax()),
    }
}

fn replace<M: Machine>(call: &Call<'_, M>) -> Result<(), MmuOrErrno> {
    let [list, entries, ..] = call.args;
    let new = read_gdt(low32(entries), |n| call.read::<u64>(element(list, n, 8)))?;
    hold_gdt(call.m, call.domain, &new)?;
    let old = core::mem::replace(&mut *call.vcpu.gdt.lock(), new);
    call.m.load_gdt(call.vcpu);
    release_gdt(call.m, call.domain, &old);
    Ok(())
}

/// Collects the frames of a GDT of `entries` descriptors; `frame` gives the nth.
///
/// # Errors
/// EINVAL: too many entries. What `frame` returns.
pub(super) fn read_gdt(
    entries: u32,
    mut frame: impl FnMut(u64) -> Result<u64, Errno>,
) -> Result<Gdt, Errno> {
    if entries as usize > FIRST_RESERVED_GDT_ENTRY {
        return Err(Errno::EINVAL);
    }
    let mut gdt = Gdt {
        entries,
        ..Gdt::default()
    };
    for (n, slot) in (0..entries.div_ceil(PER_PAGE)).zip(&mut gdt.frames) {
        *slot = Mfn(frame(u64::from(n))?);
    }
    Ok(gdt)
}

/// The frames that a GDT uses.
pub(super) fn frames(gdt: &Gdt) -> &[Mfn] {
    gdt.frames
        .get(..gdt.entries.div_ceil(PER_PAGE) as usize)
        .unwrap_or(&gdt.frames)
}

/// Holds all frames of `gdt` as descriptor pages, or none.
pub(super) fn hold_gdt<M: Machine>(m: &M, domain: &Domain, gdt: &Gdt) -> Result<(), MmuOrErrno> {
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    for (n, mfn) in frames(gdt).iter().enumerate() {
        if let Err(e) = mm.hold_descriptors(*mfn) {
            for held in frames(gdt).iter().take(n) {
                mm.release_descriptors(*held);
            }
            return Err(e.into());
        }
    }
    Ok(())
}

/// Lets go what [`hold_gdt`] held.
pub(in crate::hypercall) fn release_gdt<M: Machine>(m: &M, domain: &Domain, gdt: &Gdt) {
    if gdt.entries == 0 {
        return;
    }
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    for mfn in frames(gdt) {
        mm.release_descriptors(*mfn);
    }
}

/// `update_descriptor(machine address, descriptor)`.
pub fn update_descriptor<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [maddr, descriptor, ..] = call.args;
    let mut state = call.domain.mm.lock();
    match DomainMm::new(call.m.frames(), call.m, &mut state).update_descriptor(maddr, descriptor) {
        Ok(()) => Outcome::Done(0),
        Err(MmuError::Again) => Outcome::Again(call.args),
        Err(e) => Err::<u64, Errno>(e.into()).into(),
    }
}
