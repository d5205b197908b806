//! Several hypercalls in one (`public/xen.h`, HYPERVISOR_multicall).

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::xen::{__HYPERVISOR_multicall, MulticallEntry};

use super::args::{element, low32};
use crate::hypercall::{Call, Machine, Outcome, table};

const SIZE: u64 = MulticallEntry::SIZE as u64;
const RESULT: u64 = 8;
const ARGS: u64 = 16;

/// `multicall(entries, count)`: runs them in order; a failing one does not stop the rest.
///
/// A call that has to go on later has its arguments rewritten in its entry, and we go on with that entry.
pub fn multicall<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [list, count, ..] = call.args;
    let count = low32(count);
    for n in 0..count {
        let at = element(list, u64::from(n), SIZE);
        let rest = call.again([at, u64::from(count - n)]);
        if n != 0 && call.m.should_stop() {
            return rest;
        }
        match one(call, at) {
            Ok(Outcome::Done(_)) => {}
            Ok(Outcome::Again(_)) => return rest,
            Ok(Outcome::Replaced) => return Outcome::Replaced,
            Err(e) => return Err::<u64, _>(e).into(),
        }
    }
    Outcome::Done(0)
}

#[inline]
fn one<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<Outcome, Errno> {
    let entry = call.read::<MulticallEntry>(at)?;
    let number = low32(entry.op);
    let outcome = if number == __HYPERVISOR_multicall {
        Outcome::Done(Errno::EINVAL.to_rax())
    } else {
        let [a, b, c, d, e, _] = entry.args;
        table::dispatch(
            &mut Call {
                m: call.m,
                domain: call.domain,
                vcpu: call.vcpu,
                args: [a, b, c, d, e],
            },
            number,
        )
    };
    match outcome {
        Outcome::Done(result) => call.write(element(at, RESULT, 1), &result)?,
        Outcome::Again(args) => call.write(element(at, ARGS, 1), &args)?,
        Outcome::Replaced => {}
    }
    Ok(outcome)
}
