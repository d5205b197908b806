//! How a structure crosses the guest boundary: as little-endian bytes, copied field by field.
//!
//! [`Plain`] is what a structure can do, `abi_structs!` declares structures that can, and [`Layout`] is what the
//! tests compare with the C headers. No `unsafe`: a structure is never overlaid on guest memory, it is read once out of
//! a buffer of ours, or written into one. Offsets are constants, so a buffer of constant size reduces to plain moves.

/// A value that is nothing but its little-endian bytes: integers, arrays of them, and the structures of this crate.
///
/// Layout is that of the System V x86_64 ABI. Padding is never read, and is written as zero, so that no stale byte of
/// ours reaches a guest.
pub trait Plain: Copy {
    /// Length in bytes, trailing padding included.
    const SIZE: usize;

    /// The value whose bytes are all zero.
    const ZERO: Self;

    /// Sets `self` from the first `SIZE` bytes; `None`, and nothing changed, when there are fewer.
    fn fill(&mut self, bytes: &[u8]) -> Option<()>;

    /// Writes `self` over the first `SIZE` bytes; `None`, and nothing written, when there are fewer.
    fn write(&self, bytes: &mut [u8]) -> Option<()>;

    /// Reads a value from the first `SIZE` bytes; `None` when there are fewer.
    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut value = Self::ZERO;
        value.fill(bytes)?;
        Some(value)
    }
}

macro_rules! plain_integers {
    ($($t:ty)*) => { $(
        impl Plain for $t {
            const SIZE: usize = size_of::<Self>();
            const ZERO: Self = 0;

            #[inline]
            fn fill(&mut self, bytes: &[u8]) -> Option<()> {
                *self = Self::from_le_bytes(*bytes.first_chunk()?);
                Some(())
            }

            #[inline]
            fn write(&self, bytes: &mut [u8]) -> Option<()> {
                *bytes.first_chunk_mut()? = self.to_le_bytes();
                Some(())
            }
        }
    )* };
}

plain_integers! { u8 u16 u32 u64 i8 i16 i32 i64 }

impl<T: Plain, const N: usize> Plain for [T; N] {
    const SIZE: usize = T::SIZE * N;
    const ZERO: Self = [T::ZERO; N];

    #[inline]
    fn fill(&mut self, bytes: &[u8]) -> Option<()> {
        let bytes = bytes.get(..Self::SIZE)?;
        for (item, chunk) in self.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
            item.fill(chunk)?;
        }
        Some(())
    }

    #[inline]
    fn write(&self, bytes: &mut [u8]) -> Option<()> {
        let bytes = bytes.get_mut(..Self::SIZE)?;
        for (item, chunk) in self.iter().zip(bytes.chunks_exact_mut(T::SIZE)) {
            item.write(chunk)?;
        }
        Some(())
    }
}

/// `N` bytes that a header names but nobody may use: read as zero whatever is there, written as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pad<const N: usize>([u8; N]);

impl<const N: usize> Plain for Pad<N> {
    const SIZE: usize = N;
    const ZERO: Self = Self([0; N]);

    #[inline]
    fn fill(&mut self, bytes: &[u8]) -> Option<()> {
        bytes.get(..N)?;
        *self = Self::ZERO;
        Some(())
    }

    #[inline]
    fn write(&self, bytes: &mut [u8]) -> Option<()> {
        bytes.get_mut(..N)?.fill(0);
        Some(())
    }
}

/// Where a structure's fields lie, and what C calls them.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Our name.
    pub rust_name: &'static str,
    /// The C type, such as `struct mmu_update`.
    pub c_name: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// Alignment in bytes.
    pub align: usize,
    /// The fields in order.
    pub fields: &'static [Field],
}

/// One field of a [`Layout`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The C member, such as `arg1.mfn`; empty where C has no name for it.
    pub c_path: &'static str,
    /// Offset from the start of the structure in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
}

/// A constant of the ABI as the tests compare it with the headers.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Its name, which is also the header's.
    pub name: &'static str,
    /// Its value, sign-extended to 64 bits.
    pub value: u64,
}

/// Declares the structures of one header: `#[repr(C)]`, [`Plain`], `Default` (all zero), `LAYOUT`, `to_bytes` and
/// `from_bytes`, with size and alignment asserted at compile time; and `LAYOUTS`, the list of them all.
///
/// `pub struct Name: "C type", size, align a { pub field: type = "c.path", ... }`; the path is left out where C's name
/// is ours.
macro_rules! abi_structs {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident: $c_name:literal, $size:literal, align $align:literal {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty $(= $c_path:literal)?, )*
        }
    )*) => {
        /// The structures of this module.
        pub const LAYOUTS: &[$crate::plain::Layout] = &[$($name::LAYOUT),*];

        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(C)]
            pub struct $name {
                $( $(#[$field_meta])* pub $field: $type, )*
            }

            const _: () = assert!(size_of::<$name>() == $size && align_of::<$name>() == $align);

            impl $name {
                /// Where the fields lie.
                pub const LAYOUT: $crate::plain::Layout = $crate::plain::Layout {
                    rust_name: stringify!($name),
                    c_name: $c_name,
                    size: size_of::<Self>(),
                    align: align_of::<Self>(),
                    fields: &[$(
                        $crate::plain::Field {
                            c_path: $crate::plain::c_path!($field $($c_path)?),
                            offset: core::mem::offset_of!(Self, $field),
                            size: size_of::<$type>(),
                        }
                    ),*],
                };

                /// The structure as a guest sees it; padding is zero.
                #[inline]
                pub fn to_bytes(&self) -> [u8; $size] {
                    let mut bytes = [0; $size];
                    // Cannot fail: the length is right by construction.
                    let _ = $crate::plain::Plain::write(self, &mut bytes);
                    bytes
                }

                /// The structure that these bytes are; padding is ignored.
                #[inline]
                pub fn from_bytes(bytes: &[u8; $size]) -> Self {
                    let mut value = <Self as $crate::plain::Plain>::ZERO;
                    // Cannot fail: the length is right by construction.
                    let _ = $crate::plain::Plain::fill(&mut value, bytes);
                    value
                }
            }

            impl Default for $name {
                #[inline]
                fn default() -> Self {
                    <Self as $crate::plain::Plain>::ZERO
                }
            }

            impl $crate::plain::Plain for $name {
                const SIZE: usize = $size;
                const ZERO: Self = Self { $( $field: <$type as $crate::plain::Plain>::ZERO, )* };

                #[inline]
                fn fill(&mut self, bytes: &[u8]) -> Option<()> {
                    let bytes = bytes.first_chunk::<$size>()?;
                    $( $crate::plain::Plain::fill(
                        &mut self.$field,
                        &bytes[const { core::mem::offset_of!(Self, $field) }..],
                    )?; )*
                    Some(())
                }

                #[inline]
                fn write(&self, bytes: &mut [u8]) -> Option<()> {
                    let bytes = bytes.first_chunk_mut::<$size>()?;
                    if const { 0 $( + <$type as $crate::plain::Plain>::SIZE )* < $size } {
                        *bytes = [0; $size];
                    }
                    $( $crate::plain::Plain::write(
                        &self.$field,
                        &mut bytes[const { core::mem::offset_of!(Self, $field) }..],
                    )?; )*
                    Some(())
                }
            }
        )*
    };
}

/// The C member of a field: what was said, else the field's own name.
macro_rules! c_path {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $c_path:literal) => {
        $c_path
    };
}

/// Declares the constants of one header under the header's names, in groups of a type and a description; and
/// `CONSTANTS`, the list of them all.
macro_rules! abi_constants {
    ($(
        $doc:literal $type:ty { $( $(#[$meta:meta])* $name:ident = $value:expr, )* }
    )*) => {
        /// The constants of this module.
        pub const CONSTANTS: &[$crate::plain::Constant] = &[$($(
            $crate::plain::Constant { name: stringify!($name), value: $name as u64 },
        )*)*];

        $($(
            #[doc = $doc]
            #[doc = ""]
            $(#[$meta])*
            #[allow(non_upper_case_globals, reason = "the header's spelling, so that grep finds both")]
            pub const $name: $type = $value;
        )*)*
    };
}

pub(crate) use {abi_constants, abi_structs, c_path};
