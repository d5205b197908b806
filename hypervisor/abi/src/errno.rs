//! Error numbers as hypercalls return them, negated, in rax (`public/errno.h`; the x86 Linux values).

/// An error number that a hypercall may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
#[expect(
    missing_docs,
    reason = "the names are the header's; there is nothing to add"
)]
pub enum Errno {
    EPERM = 1,
    ENOENT = 2,
    ESRCH = 3,
    EIO = 5,
    ENXIO = 6,
    E2BIG = 7,
    ENOEXEC = 8,
    EBADF = 9,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EFAULT = 14,
    EBUSY = 16,
    EEXIST = 17,
    EXDEV = 18,
    ENODEV = 19,
    EINVAL = 22,
    ENOSPC = 28,
    EDOM = 33,
    ERANGE = 34,
    ENOSYS = 38,
    ENODATA = 61,
    EOVERFLOW = 75,
    EILSEQ = 84,
    EMSGSIZE = 90,
    EOPNOTSUPP = 95,
    EADDRINUSE = 98,
    ENOBUFS = 105,
    ENOTCONN = 107,
    ETIMEDOUT = 110,
}

impl Errno {
    /// What rax holds when a hypercall fails with this error.
    pub const fn to_rax(self) -> u64 {
        (-(self as i64)) as u64
    }
}
