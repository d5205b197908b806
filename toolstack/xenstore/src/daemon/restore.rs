//! What the journal's records add up to: the store, and where each ring stood.

use std::collections::BTreeMap;

use super::output::{Event, Output};
use super::record::Record;
use crate::store::{Change, Engine};

/// Where a domain's ring stood when the daemon died.
#[derive(Debug, Default)]
pub struct RingState {
    /// Its frame and port; `None` for domain 0's own.
    pub place: Option<(u64, u32)>,
    /// How far requests were taken, if any were.
    pub req_cons: Option<u32>,
    /// The start of a message.
    pub partial: Vec<u8>,
    /// What it had not received for sure.
    pub output: Output,
    /// The producer's index of the first of these bytes.
    pub output_at: Option<u32>,
}

impl RingState {
    /// Forgets the bytes that reached the ring, which has `rsp_prod` now.
    ///
    /// # Errors
    /// The index lies outside of what we sent: the guest changed it.
    pub fn settle(&mut self, rsp_prod: u32) -> Result<(), ()> {
        let delivered = rsp_prod.wrapping_sub(self.output_at.unwrap_or(rsp_prod)) as usize;
        if delivered > self.output.nr_bytes() {
            return Err(());
        }
        self.output.sent(delivered);
        self.output_at = Some(rsp_prod);
        Ok(())
    }
}

/// The daemon's memory, without anything of the machine.
#[derive(Debug)]
pub struct Restored {
    /// The store.
    pub engine: Engine,
    /// The rings by domain.
    pub rings: BTreeMap<u16, RingState>,
}

impl Restored {
    /// Adds up records; without any, a fresh store.
    pub fn from_records(records: Vec<Record>) -> Restored {
        if records.is_empty() {
            return Restored {
                engine: Engine::new(),
                rings: BTreeMap::new(),
            };
        }
        let mut restored = Restored {
            engine: Engine::empty(),
            rings: BTreeMap::new(),
        };
        for record in records {
            restored.add(record);
        }
        restored
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::Change(change) => {
                if let Change::Released { domid } = change {
                    self.rings.remove(&domid);
                }
                self.engine.restore(change);
            }
            Record::Ring { domid, mfn, port } => {
                self.rings.insert(
                    domid,
                    RingState {
                        place: Some((mfn, port)),
                        ..RingState::default()
                    },
                );
            }
            Record::Input {
                domid,
                cons,
                partial,
            } => {
                let ring = self.ring(domid);
                ring.req_cons = Some(cons);
                ring.partial = partial;
            }
            Record::Output {
                domid,
                at,
                nr_events,
                bytes,
            } => {
                let ring = self.ring(domid);
                let end = ring
                    .output_at
                    .map(|start| start.wrapping_add(ring.output.nr_bytes() as u32));
                if end != Some(at) {
                    // The bytes before were delivered when the snapshot was made, or the ring was made anew.
                    let sent = ring.output.nr_bytes();
                    ring.output.sent(sent);
                    ring.output_at = Some(at);
                }
                ring.output.append(&bytes);
                ring.output.drop_events(nr_events);
            }
            Record::Event {
                domid,
                path,
                watched,
                token,
            } => {
                self.ring(domid).output.push_event(Event {
                    path,
                    watched,
                    token,
                });
            }
            Record::Quota { name, value } => {
                // Only quotas that exist were recorded.
                let _ = self.engine.limits_mut().set(&name, value);
            }
            Record::Restarted { domid } => {
                let ring = self.ring(domid);
                let place = ring.place;
                *ring = RingState {
                    place,
                    req_cons: Some(0),
                    output_at: Some(0),
                    ..RingState::default()
                };
            }
        }
    }

    fn ring(&mut self, domid: u16) -> &mut RingState {
        self.rings.entry(domid).or_default()
    }
}
