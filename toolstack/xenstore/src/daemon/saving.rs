//! The server's memory: what changed and what fired goes to the journal before anybody hears of it.

use std::io;

use super::journal::Emit;
use super::link::{Carrier, Link};
use super::output::Event;
use super::platform::Platform;
use super::record::Record;
use super::server::Server;
use crate::store::Introduce;

impl<P: Platform> Server<P> {
    pub(super) fn record_changes(&mut self) {
        for change in self.engine.take_changes() {
            self.journal.push(&Record::Change(change));
        }
    }

    /// Journals what changed and queues what fired.
    pub(super) fn settle_effects(&mut self) {
        self.record_changes();
        for fired in self.engine.take_events() {
            let Some(link) = self.links.get_mut(&fired.conn) else {
                continue;
            };
            let event: Event = fired.into();
            if link.output.push_event(event.clone()) && link.role.ring {
                let Event {
                    path,
                    watched,
                    token,
                } = event;
                self.journal.push(&Record::Event {
                    domid: link.role.domid,
                    path,
                    watched,
                    token,
                });
            }
        }
    }

    pub(super) fn encode_events(&mut self) {
        for link in self.links.values_mut() {
            let at = link.output.nr_bytes() as u32;
            let encoded = link.output.encode_events();
            let domid = link.role.domid;
            if encoded.nr_events != 0
                && let Some(ring) = link.ring()
            {
                let at = ring.rsp_prod().wrapping_add(at);
                let (nr_events, bytes) = (encoded.nr_events, encoded.bytes);
                self.journal.push(&Record::Output {
                    domid,
                    at,
                    nr_events,
                    bytes,
                });
            }
        }
    }

    pub(super) fn commit(&mut self) {
        if self.journal.is_dirty() || self.journal_failed {
            let failed_before = self.journal_failed;
            if self.journal.commit() && self.rewrite().is_err() && !failed_before {
                let why = self.journal.failure().unwrap_or("?").to_owned();
                self.log.line(format_args!(
                    "changes are not being saved, a restart would lose them: {why}"
                ));
            }
            self.journal_failed = self.journal.failure().is_some();
            if failed_before && !self.journal_failed {
                self.log.line(format_args!("changes are being saved again"));
            }
        }
    }

    /// Writes the whole state anew.
    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        let (engine, links, places) = (&self.engine, &self.links, &self.places);
        self.journal.rewrite(&mut |emit| {
            for (name, value) in engine.limits().entries() {
                emit(&Record::Quota {
                    name: name.to_owned(),
                    value,
                });
            }
            engine.snapshot(&mut |change| emit(&Record::Change(change)));
            for Introduce { domid, mfn, port } in places.values().copied() {
                emit(&Record::Ring { domid, mfn, port });
            }
            for link in links.values() {
                snapshot_ring(link, emit);
            }
        })
    }
}

fn snapshot_ring(link: &Link, emit: &mut Emit<'_>) {
    let Carrier::Ring(ring) = &link.carrier else {
        return;
    };
    let domid = link.role.domid;
    emit(&Record::Input {
        domid,
        cons: ring.req_cons(),
        partial: link.decoder.partial().to_vec(),
    });
    emit(&Record::Output {
        domid,
        at: ring.rsp_prod(),
        nr_events: 0,
        bytes: link.output.bytes(),
    });
    for event in link.output.events() {
        let Event {
            path,
            watched,
            token,
        } = event.clone();
        emit(&Record::Event {
            domid,
            path,
            watched,
            token,
        });
    }
}
