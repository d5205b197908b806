//! The ioctls of Linux' Xen devices: numbers and structures of `include/uapi/xen/{privcmd,evtchn,gntdev,gntalloc}.h`.
#![expect(
    unsafe_code,
    reason = "ioctl takes a pointer whose meaning only its number tells"
)]

use std::ffi::c_void;
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// A structure that one ioctl takes, and the ioctl's number.
///
/// # Safety
/// The kernel reads and writes no more than this structure, and what its fields point to; whoever makes a structure
/// with pointers in it answers for those.
pub unsafe trait Argument {
    /// The ioctl's number, which holds the structure's size.
    const OPCODE: Opcode;
}

/// An ioctl number without direction, as all of these are.
const fn opcode(group: u8, number: u8, size: usize) -> Opcode {
    (size as Opcode) << 16 | (group as Opcode) << 8 | number as Opcode
}

struct Call<'a, T>(&'a mut T);

// SAFETY: the pointer is that of the structure which, by `Argument`, the number stands for.
unsafe impl<T: Argument> Ioctl for Call<'_, T> {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        T::OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self.0).cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<IoctlOutput> {
        Ok(output)
    }
}

/// Makes the call; its answer, if it did not fail, is not negative.
///
/// # Safety
/// Pointers in `argument` must be to memory that the kernel may use as the ioctl says.
pub unsafe fn call_with_pointers<T: Argument>(
    fd: impl AsFd,
    argument: &mut T,
) -> Result<IoctlOutput> {
    // SAFETY: `Call` passes the right structure, and our caller has answered for its pointers.
    unsafe { rustix::ioctl::ioctl(fd, Call(argument)) }
}

/// Makes a call whose structure holds no pointers.
pub fn call<T: Argument + NoPointers>(fd: impl AsFd, argument: &mut T) -> Result<IoctlOutput> {
    // SAFETY: there are none.
    unsafe { call_with_pointers(fd, argument) }
}

/// A structure without pointers.
pub trait NoPointers {}

/// Declares the structures.
macro_rules! arguments {
    ($(
        $(#[$meta:meta])*
        $name:ident = ($group:literal, $number:literal) $($plain:ident)? {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty, )*
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

        // SAFETY: number and layout are the kernel's; the tests hold both against its headers.
        unsafe impl Argument for $name {
            const OPCODE: Opcode = opcode($group, $number, size_of::<Self>());
        }

        $( impl $plain for $name {} )?
    )* };
}

arguments! {
    /// A hypercall as it is.
    Hypercall = (b'P', 0) {
        /// Its number.
        op: u64,
        /// Its arguments, some of them pointers.
        arg: [u64; 5],
    }
    /// Maps frames of another domain over an area of privcmd's.
    MmapBatch = (b'P', 4) {
        /// How many.
        num: u32,
        /// Whose.
        dom: u16,
        /// Where, page-aligned.
        addr: u64,
        /// Pointer to `num` u64 frame numbers.
        arr: u64,
        /// Pointer to room for `num` i32 error numbers.
        err: u64,
    }
    /// Maps frames of a resource over an area of privcmd's.
    MmapResource = (b'P', 7) {
        /// Whose.
        dom: u16,
        /// `XENMEM_resource_*`.
        kind: u32,
        /// Which one of the kind.
        id: u32,
        /// From which frame on.
        idx: u32,
        /// How many.
        num: u64,
        /// Where, page-aligned.
        addr: u64,
    }

    /// Binds a VIRQ; answers the port.
    BindVirq = (b'E', 0) NoPointers {
        /// `VIRQ_*`.
        virq: u32,
    }
    /// Binds to another domain's unbound port; answers ours.
    BindInterdomain = (b'E', 1) NoPointers {
        /// Whose.
        remote_domain: u32,
        /// Its port.
        remote_port: u32,
    }
    /// Makes a port that another domain may bind to; answers it.
    BindUnbound = (b'E', 2) NoPointers {
        /// Who may.
        remote_domain: u32,
    }
    /// Closes a port.
    Unbind = (b'E', 3) NoPointers {
        /// Ours.
        port: u32,
    }
    /// Notifies the other end.
    Notify = (b'E', 4) NoPointers {
        /// Ours.
        port: u32,
    }

    /// Prepares the mapping of one granted page.
    MapGrant = (b'G', 0) NoPointers {
        /// 1.
        count: u32,
        /// Unused.
        pad: u32,
        /// Out: where in the device to map.
        index: u64,
        /// Who granted it.
        domid: u32,
        /// Under which reference.
        gref: u32,
    }
    /// Forgets it.
    UnmapGrant = (b'G', 1) NoPointers {
        /// What the map gave.
        index: u64,
        /// 1.
        count: u32,
        /// Unused.
        pad: u32,
    }
    /// What to do when the mapping ends, however it does.
    GrantUnmapNotify = (b'G', 7) NoPointers {
        /// What the map gave, plus the byte to clear.
        index: u64,
        /// 1: clear the byte, 2: send an event.
        action: u32,
        /// The port to send on.
        event_channel_port: u32,
    }
    /// Grants a new page of ours.
    AllocGrant = (b'G', 5) NoPointers {
        /// To whom.
        domid: u16,
        /// 1: may write.
        flags: u16,
        /// 1.
        count: u32,
        /// Out: where in the device to map.
        index: u64,
        /// Out: its reference.
        gref: u32,
        /// Unused.
        pad: u32,
    }
    /// Ends the grant, when nobody maps the page.
    FreeGrant = (b'G', 6) NoPointers {
        /// What the grant gave.
        index: u64,
        /// 1.
        count: u32,
        /// Unused.
        pad: u32,
    }
}

/// Asks `/dev/xen/xenbus_backend` for the port of domain 0's store ring, in the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct StorePort;

// SAFETY: this ioctl takes nothing.
unsafe impl Argument for StorePort {
    const OPCODE: Opcode = opcode(b'B', 0, 0);
}

impl NoPointers for StorePort {}

#[cfg(test)]
mod tests;
