//! What the journal holds: batches of records, one record per change.
//!
//! A batch is: length of its records (u32), their checksum (u32), the records. A kill in the middle of a write leaves
//! the start of a batch, which counts for nothing: what belongs together is read again as a whole or not at all. A
//! record is a tag byte and its fields in order; numbers are little-endian, byte strings carry a u32 length. The form
//! belongs to one boot of one machine, so it has no versions: a daemon that does not understand a record says so and
//! refuses to start on that file.

use std::sync::Arc;

use crate::perms::{Perm, Perms, Right};
use crate::store::Change;

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The store changed.
    Change(Change),
    /// A domain's ring is connected.
    Ring {
        /// The domain.
        domid: u16,
        /// The machine frame of its page.
        mfn: u64,
        /// Its port.
        port: u32,
    },
    /// A ring's requests were taken up to here.
    Input {
        /// The domain.
        domid: u16,
        /// The consumer's index.
        cons: u32,
        /// The start of a message that is not complete yet.
        partial: Vec<u8>,
    },
    /// Bytes were appended to what a ring is to receive.
    Output {
        /// The domain.
        domid: u16,
        /// The producer's index of the first of these bytes.
        at: u32,
        /// How many of the oldest waiting events these bytes hold.
        nr_events: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// An event waits for a ring.
    Event {
        /// The domain.
        domid: u16,
        /// What changed.
        path: String,
        /// The watch's own path.
        watched: String,
        /// The watch.
        token: Vec<u8>,
    },
    /// A quota was set.
    Quota {
        /// Its name.
        name: String,
        /// Its value.
        value: u64,
    },
    /// A ring was reset: nothing waits in either direction, and its indices start here.
    Restarted {
        /// The domain.
        domid: u16,
    },
}

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// They end too early, or the checksum is wrong: the daemon died while writing this.
    Torn,
    /// They are whole but make no sense: another program wrote them.
    Foreign,
}

/// Length and checksum of a batch.
const HEAD: usize = 8;

/// Records that belong together, as bytes.
#[derive(Debug)]
pub struct Batch(Vec<u8>);

impl Default for Batch {
    fn default() -> Batch {
        Batch(vec![0; HEAD])
    }
}

impl Batch {
    /// Adds a record.
    pub fn push(&mut self, record: &Record) {
        record.body(&mut Writer(&mut self.0));
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.0.len() == HEAD
    }

    /// Forgets the records.
    pub fn clear(&mut self) {
        self.0.truncate(HEAD);
    }

    /// The bytes of the whole batch.
    pub fn sealed(&mut self) -> &[u8] {
        let (head, body) = self.0.split_at_mut(HEAD);
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4..].copy_from_slice(&checksum(body).to_le_bytes());
        &self.0
    }

    /// Takes the first batch of `bytes`, and how long it is.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn read(bytes: &[u8]) -> Result<(Vec<Record>, usize), Damage> {
        let mut head = Reader(bytes);
        let len = head.u32().ok_or(Damage::Torn)? as usize;
        let sum = head.u32().ok_or(Damage::Torn)?;
        let body = head.0.get(..len).ok_or(Damage::Torn)?;
        if checksum(body) != sum {
            return Err(Damage::Torn);
        }
        let mut reader = Reader(body);
        let mut records = Vec::new();
        while !reader.0.is_empty() {
            records.push(read_body(&mut reader).ok_or(Damage::Foreign)?);
        }
        Ok((records, HEAD + len))
    }
}

impl Record {
    fn body(&self, w: &mut Writer<'_>) {
        match self {
            Record::Change(change) => change_body(change, w),
            Record::Ring { domid, mfn, port } => w.tag(b'R').u16(*domid).u64(*mfn).u32(*port).end(),
            Record::Input {
                domid,
                cons,
                partial,
            } => w.tag(b'I').u16(*domid).u32(*cons).bytes(partial).end(),
            Record::Output {
                domid,
                at,
                nr_events,
                bytes,
            } => {
                w.tag(b'O')
                    .u16(*domid)
                    .u32(*at)
                    .u32(*nr_events)
                    .bytes(bytes)
                    .end();
            }
            Record::Event {
                domid,
                path,
                watched,
                token,
            } => {
                w.tag(b'E')
                    .u16(*domid)
                    .text(path)
                    .text(watched)
                    .bytes(token)
                    .end();
            }
            Record::Quota { name, value } => w.tag(b'Q').text(name).u64(*value).end(),
            Record::Restarted { domid } => w.tag(b'C').u16(*domid).end(),
        }
    }
}

fn change_body(change: &Change, w: &mut Writer<'_>) {
    match change {
        Change::Put { path, value, perms } => {
            w.tag(b'P').text(path).bytes(value).perms(perms).end()
        }
        Change::Remove { path } => w.tag(b'D').text(path).end(),
        Change::Special { path, perms } => w.tag(b'S').text(path).perms(perms).end(),
        Change::Introduced {
            domid,
            shut_down,
            target,
        } => {
            w.tag(b'N')
                .u16(*domid)
                .flag(*shut_down)
                .flag(target.is_some())
                .u16(target.unwrap_or(0))
                .end();
        }
        Change::Released { domid } => w.tag(b'G').u16(*domid).end(),
        Change::Watch {
            domid,
            path,
            token,
            depth,
            relative,
        } => {
            let w = w.tag(b'W').u16(*domid).text(path).bytes(token);
            w.flag(depth.is_some())
                .u32(depth.unwrap_or(0))
                .flag(*relative)
                .end();
        }
        Change::Unwatch { domid, path, token } => {
            w.tag(b'U').u16(*domid).text(path).bytes(token).end()
        }
        Change::TransactionStart { domid, tx_id } => w.tag(b'T').u16(*domid).u32(*tx_id).end(),
        Change::TransactionEnd { domid, tx_id } => w.tag(b't').u16(*domid).u32(*tx_id).end(),
        Change::Reset { domid } => w.tag(b'Z').u16(*domid).end(),
    }
}

fn read_body(r: &mut Reader<'_>) -> Option<Record> {
    Some(match r.u8()? {
        b'R' => Record::Ring {
            domid: r.u16()?,
            mfn: r.u64()?,
            port: r.u32()?,
        },
        b'I' => Record::Input {
            domid: r.u16()?,
            cons: r.u32()?,
            partial: r.bytes()?.to_vec(),
        },
        b'O' => Record::Output {
            domid: r.u16()?,
            at: r.u32()?,
            nr_events: r.u32()?,
            bytes: r.bytes()?.to_vec(),
        },
        b'E' => Record::Event {
            domid: r.u16()?,
            path: r.text()?,
            watched: r.text()?,
            token: r.bytes()?.to_vec(),
        },
        b'Q' => Record::Quota {
            name: r.text()?,
            value: r.u64()?,
        },
        b'C' => Record::Restarted { domid: r.u16()? },
        tag => Record::Change(read_change(tag, r)?),
    })
}

fn read_change(tag: u8, r: &mut Reader<'_>) -> Option<Change> {
    Some(match tag {
        b'P' => Change::Put {
            path: r.text()?,
            value: r.bytes()?.into(),
            perms: Arc::new(r.perms()?),
        },
        b'D' => Change::Remove { path: r.text()? },
        b'S' => Change::Special {
            path: r.text()?,
            perms: r.perms()?,
        },
        b'N' => {
            let (domid, shut_down) = (r.u16()?, r.flag()?);
            let (has_target, target) = (r.flag()?, r.u16()?);
            Change::Introduced {
                domid,
                shut_down,
                target: has_target.then_some(target),
            }
        }
        b'G' => Change::Released { domid: r.u16()? },
        b'W' => {
            let (domid, path, token) = (r.u16()?, r.text()?, r.bytes()?.to_vec());
            let (has_depth, depth) = (r.flag()?, r.u32()?);
            Change::Watch {
                domid,
                path,
                token,
                depth: has_depth.then_some(depth),
                relative: r.flag()?,
            }
        }
        b'U' => Change::Unwatch {
            domid: r.u16()?,
            path: r.text()?,
            token: r.bytes()?.to_vec(),
        },
        b'T' => Change::TransactionStart {
            domid: r.u16()?,
            tx_id: r.u32()?,
        },
        b't' => Change::TransactionEnd {
            domid: r.u16()?,
            tx_id: r.u32()?,
        },
        b'Z' => Change::Reset { domid: r.u16()? },
        _ => return None,
    })
}

/// FNV-1a, folded to 32 bits: it tells a whole record from a torn one, nobody attacks it.
fn checksum(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32) as u32 ^ hash as u32
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn tag(&mut self, tag: u8) -> &mut Self {
        self.put(&[tag])
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.put(&[u8::from(flag)])
    }

    fn u16(&mut self, n: u16) -> &mut Self {
        self.put(&n.to_le_bytes())
    }

    fn u32(&mut self, n: u32) -> &mut Self {
        self.put(&n.to_le_bytes())
    }

    fn u64(&mut self, n: u64) -> &mut Self {
        self.put(&n.to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // Everything here was in a message of 4096 bytes or a queue of bounded length.
        self.u32(bytes.len() as u32).put(bytes)
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn perms(&mut self, perms: &Perms) -> &mut Self {
        self.u32(perms.nr_entries() as u32);
        for perm in perms.entries() {
            self.flag(perm.right.reads())
                .flag(perm.right.writes())
                .u16(perm.domid);
        }
        self
    }

    fn end(&mut self) {}
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn perms(&mut self) -> Option<Perms> {
        let nr = self.u32()?;
        let mut entries = Vec::new();
        for _ in 0..nr {
            let right = match (self.flag()?, self.flag()?) {
                (false, false) => Right::None,
                (true, false) => Right::Read,
                (false, true) => Right::Write,
                (true, true) => Right::Both,
            };
            entries.push(Perm {
                domid: self.u16()?,
                right,
            });
        }
        Perms::from_entries(&entries).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> Vec<Record> {
        let perms = Perms::parse(&[b"n0", b"r7", b"b8", b"w9"]).unwrap();
        vec![
            Record::Ring {
                domid: 7,
                mfn: u64::MAX,
                port: 9,
            },
            Record::Input {
                domid: 7,
                cons: 3,
                partial: vec![1, 2, 0],
            },
            Record::Output {
                domid: 7,
                at: u32::MAX,
                nr_events: 2,
                bytes: vec![],
            },
            Record::Event {
                domid: 7,
                path: "a/b".into(),
                watched: "a".into(),
                token: vec![255],
            },
            Record::Restarted { domid: 7 },
            Record::Quota {
                name: "nodes".into(),
                value: 7,
            },
            Record::Change(Change::Put {
                path: "/a".into(),
                value: [0, 255].into(),
                perms: Arc::new(perms.clone()),
            }),
            Record::Change(Change::Remove { path: "/a".into() }),
            Record::Change(Change::Special {
                path: "@releaseDomain".into(),
                perms,
            }),
            Record::Change(Change::Introduced {
                domid: 7,
                shut_down: true,
                target: Some(3),
            }),
            Record::Change(Change::Introduced {
                domid: 7,
                shut_down: false,
                target: None,
            }),
            Record::Change(Change::Released { domid: 7 }),
            Record::Change(Change::Watch {
                domid: 7,
                path: "/a".into(),
                token: b"t".to_vec(),
                depth: Some(0),
                relative: true,
            }),
            Record::Change(Change::Unwatch {
                domid: 7,
                path: "/a".into(),
                token: b"t".to_vec(),
            }),
            Record::Change(Change::TransactionStart { domid: 7, tx_id: 1 }),
            Record::Change(Change::TransactionEnd { domid: 7, tx_id: 1 }),
            Record::Change(Change::Reset { domid: 7 }),
        ]
    }

    fn batch(records: &[Record]) -> Vec<u8> {
        let mut batch = Batch::default();
        records.iter().for_each(|record| batch.push(record));
        batch.sealed().to_vec()
    }

    #[test]
    fn batches_come_back_and_every_cut_is_noticed() {
        let all = samples();
        for records in all.chunks(1).chain([&all[..]]) {
            let bytes = batch(records);
            assert_eq!(Batch::read(&bytes), Ok((records.to_vec(), bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(
                    Batch::read(&bytes[..cut]),
                    Err(Damage::Torn),
                    "{records:?} cut at {cut}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(index in any::<prop::sample::Index>(), bit in 0..8u32) {
            let mut bytes = batch(&samples());
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Batch::read(&bytes).is_err());
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Batch::read(&bytes);
            let _ = read_body(&mut Reader(&bytes));
        }
    }
}
