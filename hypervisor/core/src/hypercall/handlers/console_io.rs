//! The hypervisor's console as domain 0's (`public/xen.h`, HYPERVISOR_console_io).

use rexen_abi::errno::Errno;
use rexen_abi::xen::{CONSOLEIO_read, CONSOLEIO_write};

use super::args::{element, low32};
use crate::hypercall::authority::Control;
use crate::hypercall::{Call, Machine, Outcome};

/// Bytes copied at a time.
const PIECE: usize = 128;

/// `console_io(cmd, count, buffer)`.
pub fn console_io<M: Machine>(call: &mut Call<'_, M>, _: Control) -> Outcome {
    match low32(call.args[0]) {
        CONSOLEIO_write => write(call),
        CONSOLEIO_read => read(call).into(),
        _ => Err::<u64, _>(Errno::ENOSYS).into(),
    }
}

fn write<M: Machine>(call: &Call<'_, M>) -> Outcome {
    let [cmd, count, buffer, ..] = call.args;
    let count = low32(count) as usize;
    let mut done = 0;
    while done < count {
        if done != 0 && call.m.should_stop() {
            return call.again([cmd, (count - done) as u64, element(buffer, done as u64, 1)]);
        }
        let mut bytes = [0; PIECE];
        let Some(piece) = bytes.get_mut(..PIECE.min(count - done)) else {
            break;
        };
        if let Err(e) = call.m.copy_in(element(buffer, done as u64, 1), piece) {
            return Err::<u64, _>(e).into();
        }
        call.m.console_write(piece);
        done += piece.len();
    }
    Outcome::Done(0)
}

/// What cannot be copied out is lost, as on any line.
fn read<M: Machine>(call: &Call<'_, M>) -> Result<u64, Errno> {
    let [_, count, buffer, ..] = call.args;
    let mut left = low32(count) as usize;
    let mut done = 0u64;
    while left != 0 {
        let mut bytes = [0; PIECE];
        let piece = bytes.get_mut(..PIECE.min(left)).ok_or(Errno::EINVAL)?;
        let got = call.m.console_read(piece).min(piece.len());
        if got == 0 {
            break;
        }
        call.m.copy_out(
            element(buffer, done, 1),
            piece.get(..got).unwrap_or_default(),
        )?;
        done += got as u64;
        left -= got;
    }
    Ok(done)
}
