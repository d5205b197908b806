//! The byte rings that a guest and a daemon of domain 0 talk through: xenstore's (`public/io/xs_wire.h`) and the
//! console's (`public/io/console.h`).
//!
//! Two indices that run freely, the producer's and the consumer's; the place in the ring is the index modulo its size.
//! The guest writes one of them and can write anything: an index that no honest guest could have is [`Broken`], and
//! costs that guest its connection, nothing else.

use std::fmt;
use std::mem::offset_of;
use std::sync::Arc;

use rexen_abi::Plain;
use rexen_abi::io::console::XenconsInterface;
use rexen_abi::io::xs_wire::XenstoreDomainInterface;

use crate::sys::shared::SharedPages;

/// The other side's index is one that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The producer's index.
    pub prod: u32,
    /// The consumer's index.
    pub cons: u32,
    /// The ring's size in bytes.
    pub size: u32,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prod, cons, size } = self;
        write!(
            f,
            "the guest broke its ring: producer {prod} and consumer {cons} are more than {size} apart"
        )
    }
}

impl std::error::Error for Broken {}

/// One direction of a connection, in a page shared with a guest.
#[derive(Clone, Debug)]
pub struct ByteRing {
    page: Arc<SharedPages>,
    data: usize,
    size: u32,
    cons: usize,
    prod: usize,
}

/// The ring that has its bytes and its indices in these fields of the page's structure.
macro_rules! byte_ring {
    ($page:expr, $interface:ty, $data:ident, $cons:ident, $prod:ident) => {
        ByteRing::new(
            $page,
            offset_of!($interface, $data),
            const { <$interface>::ZERO.$data.len() as u32 },
            offset_of!($interface, $cons),
            offset_of!($interface, $prod),
        )
    };
}

/// Of a xenstore page: requests, which the daemon reads, and responses, which it writes.
pub fn store_rings(page: &Arc<SharedPages>) -> (ByteRing, ByteRing) {
    (
        byte_ring!(page, XenstoreDomainInterface, req, req_cons, req_prod),
        byte_ring!(page, XenstoreDomainInterface, rsp, rsp_cons, rsp_prod),
    )
}

/// Of a console page: what the guest prints, which the daemon reads, and what is typed, which it writes.
pub fn console_rings(page: &Arc<SharedPages>) -> (ByteRing, ByteRing) {
    (
        byte_ring!(page, XenconsInterface, output, out_cons, out_prod),
        byte_ring!(page, XenconsInterface, input, in_cons, in_prod),
    )
}

impl ByteRing {
    /// A ring of `size` bytes (a power of two) at `data`, with its indices at `cons` and `prod`.
    fn new(page: &Arc<SharedPages>, data: usize, size: u32, cons: usize, prod: usize) -> Self {
        debug_assert!(size.is_power_of_two());
        Self {
            page: page.clone(),
            data,
            size,
            cons,
            prod,
        }
    }

    /// Where in the page the bytes, the consumer's and the producer's index are.
    #[cfg(test)]
    pub(crate) fn places(&self) -> [usize; 3] {
        [self.data, self.cons, self.prod]
    }

    /// Bytes that wait to be read.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn readable(&self) -> Result<usize, Broken> {
        Ok(self.indices()?.2 as usize)
    }

    /// Bytes for which there is room.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn writable(&self) -> Result<usize, Broken> {
        Ok((self.size - self.indices()?.2) as usize)
    }

    /// Takes as many bytes as there are and `bytes` has room for; how many. Notify the other side if it is not 0.
    ///
    /// # Errors
    /// [`Broken`]; nothing is taken.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, Broken> {
        let len = self.peek(bytes)?;
        self.skip(len)?;
        Ok(len)
    }

    /// As [`read`](Self::read), but leaves the bytes there.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn peek(&self, bytes: &mut [u8]) -> Result<usize, Broken> {
        let (_, cons, used) = self.indices()?;
        let len = bytes.len().min(used as usize);
        let (start, first) = self.span(cons, len);
        let (head, tail) = bytes[..len].split_at_mut(first);
        self.page.read(self.data + start, head);
        self.page.read(self.data, tail);
        Ok(len)
    }

    /// Gives up `len` bytes that wait to be read, or all there are if fewer; how many.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn skip(&self, len: usize) -> Result<usize, Broken> {
        let (_, cons, used) = self.indices()?;
        // Not more than the ring's size, which is 32 bits wide.
        let len = (len as u64).min(used.into()) as u32;
        if len != 0 {
            self.page.store_u32(self.cons, cons.wrapping_add(len));
        }
        Ok(len as usize)
    }

    /// Puts in as many of the bytes as there is room for; how many. Notify the other side if it is not 0.
    ///
    /// # Errors
    /// [`Broken`]; nothing is put in.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Broken> {
        let (prod, _, used) = self.indices()?;
        let len = bytes.len().min((self.size - used) as usize);
        if len == 0 {
            return Ok(0);
        }
        let (start, first) = self.span(prod, len);
        let (head, tail) = bytes[..len].split_at(first);
        self.page.write(self.data + start, head);
        self.page.write(self.data, tail);
        self.page
            .store_u32(self.prod, prod.wrapping_add(len as u32));
        Ok(len)
    }

    /// Producer, consumer, and the bytes between them.
    fn indices(&self) -> Result<(u32, u32, u32), Broken> {
        let (prod, cons) = (self.page.load_u32(self.prod), self.page.load_u32(self.cons));
        let used = prod.wrapping_sub(cons);
        if used > self.size {
            return Err(Broken {
                prod,
                cons,
                size: self.size,
            });
        }
        Ok((prod, cons, used))
    }

    /// Where `len` bytes (at most the ring's size) from `index` on start, and how many there are before the ring's end.
    fn span(&self, index: u32, len: usize) -> (usize, usize) {
        let start = (index % self.size) as usize;
        (start, len.min(self.size as usize - start))
    }
}

#[cfg(test)]
mod tests;
