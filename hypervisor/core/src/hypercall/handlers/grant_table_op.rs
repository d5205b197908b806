//! Grants (`public/grant_table.h`).

use rexen_abi::errno::Errno;

use crate::hypercall::{Call, Machine, Outcome};

/// `grant_table_op(cmd, array, count)`.
pub fn grant_table_op<M: Machine>(_: &mut Call<'_, M>) -> Outcome {
    Err::<u64, _>(Errno::ENOSYS).into()
}
