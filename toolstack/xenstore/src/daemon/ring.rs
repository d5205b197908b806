//! A domain's ring as the daemon sees it (docs/misc/xenstore-ring.txt).
//!
//! We keep our own two indices ourselves and only ever read the guest's. Requests are taken in two moves: copied at
//! once, but given up ([`Ring::publish`]) only after the journal holds what they did; so a daemon that dies in between
//! finds them again. The guest may write anything at any time: the worst that comes of it is [`Fault`].

use std::mem::offset_of;
use std::sync::Arc;

use rexen_abi::io::xs_wire::*;
use rexen_xenctl::{EvtchnPort, SharedPages};

const SIZE: u32 = XENSTORE_RING_SIZE as u32;
const REQUESTS: usize = offset_of!(XenstoreDomainInterface, req);
const RESPONSES: usize = offset_of!(XenstoreDomainInterface, rsp);
const REQ_CONS: usize = offset_of!(XenstoreDomainInterface, req_cons);
const REQ_PROD: usize = offset_of!(XenstoreDomainInterface, req_prod);
const RSP_CONS: usize = offset_of!(XenstoreDomainInterface, rsp_cons);
const RSP_PROD: usize = offset_of!(XenstoreDomainInterface, rsp_prod);
const FEATURES: usize = offset_of!(XenstoreDomainInterface, server_features);
const CONNECTION: usize = offset_of!(XenstoreDomainInterface, connection);
const ERROR: usize = offset_of!(XenstoreDomainInterface, error);

/// Watches with a depth: younger than the header of 4.17.
const FEATURE_WATCH_DEPTH: u32 = 4;
const OUR_FEATURES: u32 =
    XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR | FEATURE_WATCH_DEPTH;

/// Why a ring is not served any more; the number is what the guest reads in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Fault {
    /// An index that cannot be.
    Index = XENSTORE_ERROR_RINGIDX,
    /// A message over the limit.
    Protocol = XENSTORE_ERROR_PROTO,
}

/// The ring of one domain.
#[derive(Debug)]
pub struct Ring {
    page: Arc<SharedPages>,
    /// Our end of the event channel.
    pub port: EvtchnPort,
    req_cons: u32,
    rsp_prod: u32,
    restart: bool,
    fault: bool,
}

impl Ring {
    /// Starts where the page says; tells the guest what we can do.
    pub fn open(page: Arc<SharedPages>, port: EvtchnPort) -> Ring {
        page.store_u32(FEATURES, page.load_u32(FEATURES) | OUR_FEATURES);
        let (req_cons, rsp_prod) = (page.load_u32(REQ_CONS), page.load_u32(RSP_PROD));
        let fault = page.load_u32(ERROR) != 0;
        Ring {
            page,
            port,
            req_cons,
            rsp_prod,
            restart: false,
            fault,
        }
    }

    /// Goes on behind the requests that a former daemon answered.
    pub fn resume_at(&mut self, req_cons: u32) {
        self.req_cons = req_cons;
    }

    /// Our index into the requests.
    pub fn req_cons(&self) -> u32 {
        self.req_cons
    }

    /// Our index into the responses.
    pub fn rsp_prod(&self) -> u32 {
        self.rsp_prod
    }

    /// Whether the ring is out of service until the guest asks for a restart.
    pub fn is_faulty(&self) -> bool {
        self.fault
    }

    /// Whether the guest asks for a restart.
    pub fn wants_restart(&self) -> bool {
        self.page.load_u32(CONNECTION) == XENSTORE_RECONNECT
    }

    /// Starts over with empty rings; the guest sees it at [`Ring::publish`].
    pub fn restart(&mut self) {
        (self.req_cons, self.rsp_prod) = (0, 0);
        self.restart = true;
        self.fault = false;
    }

    /// Takes the ring out of service.
    pub fn fail(&mut self, fault: Fault) {
        self.fault = true;
        self.page.store_u32(ERROR, fault as u32);
    }

    /// Bytes of requests that we have not taken.
    ///
    /// # Errors
    /// [`Fault::Index`].
    pub fn available(&self) -> Result<usize, Fault> {
        if self.restart || self.fault {
            return Ok(0);
        }
        match self.page.load_u32(REQ_PROD).wrapping_sub(self.req_cons) {
            len @ 0..=SIZE => Ok(len as usize),
            _ => Err(Fault::Index),
        }
    }

    /// Copies requests out and takes them; how many bytes.
    ///
    /// # Errors
    /// [`Fault::Index`].
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        let len = self.available()?.min(bytes.len());
        let (start, first) = span(self.req_cons, len);
        let (head, tail) = bytes[..len].split_at_mut(first);
        self.page.read(REQUESTS + start, head);
        self.page.read(REQUESTS, tail);
        // At most the ring's size.
        self.req_cons = self.req_cons.wrapping_add(len as u32);
        Ok(len)
    }

    /// Lets the guest reuse the space of what was taken; returns whether it should be notified.
    pub fn publish(&mut self) -> bool {
        if self.restart {
            for index in [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD, ERROR, CONNECTION] {
                self.page.store_u32(index, 0);
            }
            self.restart = false;
            return true;
        }
        let moved = !self.fault && self.page.load_u32(REQ_CONS) != self.req_cons;
        if moved {
            self.page.store_u32(REQ_CONS, self.req_cons);
        }
        moved
    }

    /// Puts in as many bytes as there is room for; how many.
    ///
    /// # Errors
    /// [`Fault::Index`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if self.fault || bytes.is_empty() {
            return Ok(0);
        }
        let used = self.rsp_prod.wrapping_sub(self.page.load_u32(RSP_CONS));
        let room = SIZE.checked_sub(used).ok_or(Fault::Index)?;
        let len = bytes.len().min(room as usize);
        let (start, first) = span(self.rsp_prod, len);
        let (head, tail) = bytes[..len].split_at(first);
        self.page.write(RESPONSES + start, head);
        self.page.write(RESPONSES, tail);
        self.rsp_prod = self.rsp_prod.wrapping_add(len as u32);
        self.page.store_u32(RSP_PROD, self.rsp_prod);
        Ok(len)
    }
}

/// Where `len` bytes from an index lie: the first place, and how many come before the ring's end.
fn span(index: u32, len: usize) -> (usize, usize) {
    let start = (index % SIZE) as usize;
    (start, len.min(SIZE as usize - start))
}
