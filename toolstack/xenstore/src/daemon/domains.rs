//! The server's domains: their rings are connected, connected again after a restart, and let go.

use std::sync::Arc;

use super::link::{Carrier, Link};
use super::platform::{Fate, OpenRing, Platform};
use super::record::Record;
use super::restore::RingState;
use super::ring::{Fault, Ring};
use super::server::Server;
use crate::store::{Introduce, Role};
use crate::wire::{Decoder, Errno};

impl<P: Platform> Server<P> {
    pub(super) fn open_own_ring(&mut self, state: Option<RingState>) {
        match self.platform.open_own_ring() {
            Ok(Some(open)) => self.attach(0, open, state.unwrap_or_default()),
            Ok(None) => {}
            Err(e) => self.log.line(format_args!(
                "the ring of domain 0's kernel cannot be connected: {e}"
            )),
        }
    }

    /// Connects a domain's ring again after a restart.
    pub(super) fn reopen(&mut self, domid: u16, state: RingState) {
        if self.platform.fate(domid) == Fate::Gone {
            self.engine.domain_gone(domid);
            return;
        }
        let Some((mfn, port)) = state.place else {
            return;
        };
        let place = Introduce { domid, mfn, port };
        match self.platform.open_ring(&place) {
            Ok(open) => {
                self.places.insert(domid, place);
                self.attach(domid, open, state);
            }
            Err(e) => self.log.line(format_args!(
                "domain {domid} cannot be connected again: {e}"
            )),
        }
    }

    /// Puts a ring into service where its state says.
    pub(super) fn attach(&mut self, domid: u16, open: OpenRing, mut state: RingState) {
        let conn = self.engine.ring_of(domid);
        let mut ring = Ring::open(Arc::clone(&open.page), open.port);
        let mut decoder = Decoder::new();
        if !ring.is_faulty() && !ring.wants_restart() {
            match (
                state.settle(ring.rsp_prod()),
                Decoder::resume(&state.partial),
            ) {
                (Ok(()), Ok(resumed)) => {
                    decoder = resumed;
                    ring.resume_at(state.req_cons.unwrap_or(ring.req_cons()));
                }
                _ => {
                    self.log.line(format_args!(
                        "domain {domid} changed our index in its ring: out of service"
                    ));
                    state = RingState::default();
                    ring.fail(Fault::Index);
                }
            }
        }
        self.journal.push(&Record::Input {
            domid,
            cons: ring.req_cons(),
            partial: decoder.partial().to_vec(),
        });
        self.journal.push(&Record::Output {
            domid,
            at: ring.rsp_prod(),
            nr_events: 0,
            bytes: Vec::new(),
        });
        self.ports.insert(open.port.0, conn);
        self.platform.notify(open.port);
        let link = Link {
            conn,
            role: Role::domain(domid),
            decoder,
            output: state.output,
            carrier: Carrier::Ring(ring),
            ready: true,
        };
        self.links.insert(conn, link);
    }

    /// Takes a ring out of the daemon; the store keeps what it knows of the domain.
    pub(super) fn detach(&mut self, domid: u16) {
        self.places.remove(&domid);
        let found = self
            .links
            .iter()
            .find(|(_, l)| l.role.ring && l.role.domid == domid)
            .map(|(id, _)| *id);
        if let Some(mut link) = found.and_then(|conn| self.links.remove(&conn))
            && let Some(ring) = link.ring()
        {
            self.ports.remove(&ring.port.0);
            self.platform.close(ring.port);
        }
    }

    pub(super) fn introduce(&mut self, place: &Introduce) -> Result<(), Errno> {
        let domid = place.domid;
        if self.places.get(&domid) != Some(place) {
            self.detach(domid);
            let open = self.platform.open_ring(place).map_err(|e| {
                self.log
                    .line(format_args!("domain {domid} cannot be connected: {e}"));
                Errno::EINVAL
            })?;
            let conn = self.engine.ring_of(domid);
            self.engine.reset(conn);
            self.places.insert(domid, *place);
            self.record_changes();
            self.journal.push(&Record::Ring {
                domid,
                mfn: place.mfn,
                port: place.port,
            });
            self.attach(domid, open, RingState::default());
        }
        self.engine.introduced(domid);
        Ok(())
    }

    pub(super) fn check_domains(&mut self) {
        let domids: Vec<u16> = self.engine.domains().filter(|domid| *domid != 0).collect();
        for domid in domids {
            match self.platform.fate(domid) {
                Fate::Alive => {}
                Fate::ShutDown => self.engine.domain_shut_down(domid),
                Fate::Gone => {
                    self.detach(domid);
                    self.engine.domain_gone(domid);
                }
            }
        }
    }
}
