//! The outcome of a grant operation, as its `status` field tells it.

/// Why a grant operation failed (`public/grant_table.h`, GNTST_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum GrantStatus {
    /// Anything that has no number of its own: the entry does not permit it, or the frame cannot be held.
    GeneralError = -1,
    /// There is no such domain.
    BadDomain = -2,
    /// There is no such grant reference, or the map flags ask for nothing.
    BadGntref = -3,
    /// There is no such mapping, or it is being ended.
    BadHandle = -4,
    /// Nothing can be mapped at that address, or something else is mapped there.
    BadVirtAddr = -5,
    /// The bus address is not the mapping's.
    BadDevAddr = -6,
    /// The caller may not do this.
    PermissionDenied = -8,
    /// A frame named directly is not the caller's, or cannot be written.
    BadPage = -9,
    /// A copy leaves the page.
    BadCopyArg = -10,
    /// The frame's address is too high for who shall have it.
    AddressTooBig = -11,
    /// The entry is in use, or the table's version changes; try again.
    Eagain = -12,
    /// The mapper has all the handles it may have.
    NoSpace = -13,
}

impl GrantStatus {
    /// GNTST_okay.
    pub const OKAY: i16 = 0;

    /// What to put into the `status` field for `result`.
    pub fn of<T>(result: &Result<T, GrantStatus>) -> i16 {
        match result {
            Ok(_) => Self::OKAY,
            Err(status) => *status as i16,
        }
    }
}
