//! Requests: from a packet to what is done, and back to a packet.

use std::sync::Arc;

use super::engine::{Domain, Engine, home};
use super::step::{Outcome, Step};
use super::transaction::Transaction;
use super::watch::Registered;
use super::{Answer, Change, ConnId, Introduce, Role};
use crate::path as paths;
use crate::perms::{Perms, Right};
use crate::wire::{self, Errno, Op, PAYLOAD_MAX, Packet};

impl Engine {
    /// Takes one request of a connection.
    pub fn handle(&mut self, conn: ConnId, request: &Packet) -> Answer {
        self.answer(conn, request)
            .unwrap_or_else(|errno| Answer::Reply(request.error(errno)))
    }

    fn answer(&mut self, conn: ConnId, request: &Packet) -> Result<Answer, Errno> {
        let role = self.conns.get(&conn).ok_or(Errno::EIO)?.role;
        let op = Op::from_number(request.kind).ok_or(Errno::ENOSYS)?;
        let privileged_only = matches!(
            op,
            Op::Control
                | Op::Introduce
                | Op::Release
                | Op::IsDomainIntroduced
                | Op::Resume
                | Op::SetTarget
        );
        if privileged_only && !role.privileged {
            return Err(Errno::EACCES);
        }
        let payload = match op {
            Op::Control => {
                // xenstore-control does not always end its last word.
                let words = request
                    .payload
                    .strip_suffix(b"\0")
                    .unwrap_or(&request.payload);
                return Ok(Answer::Control(
                    words.split(|&b| b == 0).map(<[u8]>::to_vec).collect(),
                ));
            }
            Op::Introduce => return Ok(Answer::Introduce(introduce(request)?)),
            Op::Release => {
                let domid = one_domid(request)?;
                let known = domid != 0 && self.domains.contains_key(&domid);
                return if known {
                    Ok(Answer::Release(domid))
                } else {
                    Err(Errno::ENOENT)
                };
            }
            Op::WatchEvent | Op::Error => return Err(Errno::ENOSYS),
            Op::Directory
            | Op::Read
            | Op::GetPerms
            | Op::Write
            | Op::Mkdir
            | Op::Rm
            | Op::SetPerms => self.tree_request(conn, role, op, request)?,
            Op::DirectoryPart => self.directory_part(conn, role, request)?,
            Op::Watch => self.watch(conn, role, request)?,
            Op::Unwatch => self.unwatch(conn, role, request)?,
            Op::ResetWatches => {
                self.reset(conn);
                None
            }
            Op::TransactionStart => Some(self.transaction_start(conn, role, request)?),
            Op::TransactionEnd => self.transaction_end(conn, role, request)?,
            Op::GetDomainPath => Some(home(one_domid(request)?)),
            Op::IsDomainIntroduced => {
                let known = self.domains.contains_key(&one_domid(request)?);
                Some(if known {
                    b"T\0".to_vec()
                } else {
                    b"F\0".to_vec()
                })
            }
            Op::Resume => {
                let domid = one_domid(request)?;
                let domain = *self.domains.get(&domid).ok_or(Errno::ENOENT)?;
                self.set_domain(
                    domid,
                    Domain {
                        shut_down: false,
                        ..domain
                    },
                );
                None
            }
            Op::SetTarget => self.set_target(request)?,
        };
        Ok(Answer::Reply(
            payload.map_or_else(|| request.ack(), |p| request.reply(p)),
        ))
    }

    fn tree_request(
        &mut self,
        conn: ConnId,
        role: Role,
        op: Op,
        request: &Packet,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let step = match op {
            Op::Write => {
                let end = request
                    .payload
                    .iter()
                    .position(|&b| b == 0)
                    .ok_or(Errno::EINVAL)?;
                let (path, value) = (&request.payload[..end], &request.payload[end + 1..]);
                Step::Write(node_path(role, path)?, value.into())
            }
            Op::SetPerms => {
                let strings = strings(request)?;
                let (path, entries) = strings.split_first().ok_or(Errno::EINVAL)?;
                let perms = Perms::parse(entries)?;
                let path = paths::canonical(role.domid, path)?;
                if path.starts_with('@') {
                    return self.set_special_perms(role, &path, perms);
                }
                Step::SetPerms(path, perms)
            }
            Op::GetPerms => {
                let path = paths::canonical(role.domid, one(request)?)?;
                if path.starts_with('@') {
                    return self
                        .special_perms(role, &path)
                        .map(|perms| Some(perms.encode()));
                }
                Step::GetPerms(path)
            }
            _ => {
                let path = node_path(role, one(request)?)?;
                match op {
                    Op::Directory => Step::List(path),
                    Op::Read => Step::Read(path),
                    Op::Mkdir => Step::Mkdir(path),
                    _ => Step::Rm(path),
                }
            }
        };
        Ok(match self.run(conn, role, request.tx_id, step)? {
            Outcome::Value(value) => Some(value.to_vec()),
            Outcome::Names(names) => Some(names),
            Outcome::Perms(perms) => Some(perms.encode()),
            Outcome::Done => None,
        })
    }

    /// Does a step, inside its transaction or at once.
    fn run(&mut self, conn: ConnId, role: Role, tx_id: u32, step: Step) -> Result<Outcome, Errno> {
        let caller = self.caller(role);
        if tx_id != 0 {
            let state = self.conns.get_mut(&conn).ok_or(Errno::EIO)?;
            let transaction = state.transactions.get_mut(&tx_id).ok_or(Errno::ENOENT)?;
            return transaction.run(&caller, step, &mut self.generation, &self.limits);
        }
        let mut effects = super::step::Effects::default();
        let (generation, limits) = (&mut self.generation, &self.limits);
        let mut scene = super::step::Scene {
            tree: &mut self.tree,
            generation,
            limits,
            effects: &mut effects,
        };
        let outcome = scene.run(&caller, &step);
        self.apply(effects);
        outcome
    }

    fn directory_part(
        &mut self,
        conn: ConnId,
        role: Role,
        request: &Packet,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let [path, offset] = strings(request)?[..] else {
            return Err(Errno::EINVAL);
        };
        let path = node_path(role, path)?;
        let offset = usize::try_from(paths::number(offset)?).map_err(|_| Errno::EINVAL)?;
        let Outcome::Names(names) =
            self.run(conn, role, request.tx_id, Step::List(path.clone()))?
        else {
            return Err(Errno::EIO);
        };
        let transaction = self
            .conns
            .get(&conn)
            .and_then(|c| c.transactions.get(&request.tx_id));
        let tree = transaction.map_or(&self.tree, Transaction::tree);
        let generation = tree.get(&path).map_or(0, |node| node.generation);
        let mut reply = format!("{generation}\0").into_bytes();
        let rest = names.get(offset..).unwrap_or(&[]);
        // Whole names only; an empty name marks the end of the list.
        let room = PAYLOAD_MAX - reply.len() - 1;
        let part = if rest.len() <= room {
            rest
        } else {
            let end = rest[..room]
                .iter()
                .rposition(|&b| b == 0)
                .map_or(0, |nul| nul + 1);
            &rest[..end]
        };
        reply.extend_from_slice(part);
        if part.len() == rest.len() {
            reply.push(0);
        }
        Ok(Some(reply))
    }

    fn watch(
        &mut self,
        conn: ConnId,
        role: Role,
        request: &Packet,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let strings = strings(request)?;
        let (path, token, depth) = match strings[..] {
            [path, token] => (path, token, None),
            [path, token, depth] => (
                path,
                token,
                Some(u32::try_from(paths::number(depth)?).map_err(|_| Errno::EINVAL)?),
            ),
            _ => return Err(Errno::EINVAL),
        };
        let registered = Registered {
            relative: !path.starts_with(b"/") && !path.starts_with(b"@"),
            path: watch_path(role, path)?,
            token: token.to_vec(),
            depth,
        };
        let quota = self.limits.watches;
        let state = self.conns.get_mut(&conn).ok_or(Errno::EIO)?;
        if state
            .watches
            .iter()
            .any(|w| w.path == registered.path && w.token == registered.token)
        {
            return Err(Errno::EEXIST);
        }
        if !role.privileged && state.watches.len() >= quota {
            return Err(Errno::ENOSPC);
        }
        let watch = Arc::new(registered.clone());
        state.watches.push(Arc::clone(&watch));
        self.fire_first(conn, role, watch);
        if role.ring {
            let Registered {
                path,
                token,
                depth,
                relative,
            } = registered;
            self.record(Change::Watch {
                domid: role.domid,
                path,
                token,
                depth,
                relative,
            });
        }
        Ok(None)
    }

    fn unwatch(
        &mut self,
        conn: ConnId,
        role: Role,
        request: &Packet,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let [path, token] = strings(request)?[..] else {
            return Err(Errno::EINVAL);
        };
        let path = watch_path(role, path)?;
        let state = self.conns.get_mut(&conn).ok_or(Errno::EIO)?;
        let index = state
            .watches
            .iter()
            .position(|w| w.path == path && w.token == token)
            .ok_or(Errno::ENOENT)?;
        state.watches.remove(index);
        if role.ring {
            self.record(Change::Unwatch {
                domid: role.domid,
                path,
                token: token.to_vec(),
            });
        }
        Ok(None)
    }

    fn transaction_start(
        &mut self,
        conn: ConnId,
        role: Role,
        request: &Packet,
    ) -> Result<Vec<u8>, Errno> {
        let (quota, generation) = (self.limits.transactions, self.generation);
        let state = self.conns.get_mut(&conn).ok_or(Errno::EIO)?;
        if request.tx_id != 0 {
            let nested = state.transactions.contains_key(&request.tx_id);
            return Err(if nested { Errno::EBUSY } else { Errno::ENOENT });
        }
        if !role.privileged && state.transactions.len() >= quota {
            return Err(Errno::ENOSPC);
        }
        loop {
            state.last_tx = state.last_tx.checked_add(1).unwrap_or(1);
            if !state.transactions.contains_key(&state.last_tx) {
                break;
            }
        }
        let tx_id = state.last_tx;
        state
            .transactions
            .insert(tx_id, Transaction::new(&self.tree, generation));
        if role.ring {
            self.record(Change::TransactionStart {
                domid: role.domid,
                tx_id,
            });
        }
        Ok(format!("{tx_id}\0").into_bytes())
    }

    fn transaction_end(
        &mut self,
        conn: ConnId,
        role: Role,
        request: &Packet,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let commit = match one(request)? {
            b"T" => true,
            b"F" => false,
            _ => return Err(Errno::EINVAL),
        };
        let caller = self.caller(role);
        let state = self.conns.get_mut(&conn).ok_or(Errno::EIO)?;
        let transaction = state
            .transactions
            .remove(&request.tx_id)
            .ok_or(Errno::ENOENT)?;
        if role.ring {
            self.record(Change::TransactionEnd {
                domid: role.domid,
                tx_id: request.tx_id,
            });
        }
        if commit {
            let effects =
                transaction.commit(&caller, &mut self.tree, &mut self.generation, &self.limits)?;
            self.apply(effects);
        }
        Ok(None)
    }

    fn set_target(&mut self, request: &Packet) -> Result<Option<Vec<u8>>, Errno> {
        let [domid, target] = strings(request)?[..] else {
            return Err(Errno::EINVAL);
        };
        let (domid, target) = (paths::parse_domid(domid)?, paths::parse_domid(target)?);
        if !self.domains.contains_key(&target) {
            return Err(Errno::ENOENT);
        }
        let domain = *self.domains.get(&domid).ok_or(Errno::ENOENT)?;
        self.set_domain(
            domid,
            Domain {
                target: Some(target),
                ..domain
            },
        );
        Ok(None)
    }

    fn special_perms(&self, role: Role, path: &str) -> Result<&Perms, Errno> {
        let perms = Engine::special_of(path)
            .and_then(|s| self.special.get(s))
            .ok_or(Errno::ENOENT)?;
        if self.caller(role).may(perms, Right::Read) {
            Ok(perms)
        } else {
            Err(Errno::EACCES)
        }
    }

    fn set_special_perms(
        &mut self,
        role: Role,
        path: &str,
        perms: Perms,
    ) -> Result<Option<Vec<u8>>, Errno> {
        if !role.privileged {
            return Err(Errno::EACCES);
        }
        let special = Engine::special_of(path)
            .filter(|s| *s == path)
            .ok_or(Errno::EINVAL)?;
        self.set_special(special, perms);
        Ok(None)
    }
}

fn strings(request: &Packet) -> Result<Vec<&[u8]>, Errno> {
    wire::split(&request.payload).ok_or(Errno::EINVAL)
}

/// The first string; what clients send after it is reserved.
fn one(request: &Packet) -> Result<&[u8], Errno> {
    strings(request)?.first().copied().ok_or(Errno::EINVAL)
}

fn one_domid(request: &Packet) -> Result<u16, Errno> {
    paths::parse_domid(one(request)?)
}

/// The path of a node, which is not a special one.
fn node_path(role: Role, path: &[u8]) -> Result<String, Errno> {
    let path = paths::canonical(role.domid, path)?;
    if path.starts_with('@') {
        Err(Errno::EINVAL)
    } else {
        Ok(path)
    }
}

/// The path of a watch: a node's, or one of the special ones.
fn watch_path(role: Role, path: &[u8]) -> Result<String, Errno> {
    let path = paths::canonical(role.domid, path)?;
    if path.starts_with('@') && Engine::special_of(&path).is_none() {
        return Err(Errno::EINVAL);
    }
    Ok(path)
}

fn introduce(request: &Packet) -> Result<Introduce, Errno> {
    let strings = strings(request)?;
    let [domid, mfn, port, ..] = strings[..] else {
        return Err(Errno::EINVAL);
    };
    let domid = paths::parse_domid(domid)?;
    // Signed decimal by the specification: a frame number with the top bit set comes as a negative number.
    let mfn = match mfn.strip_prefix(b"-") {
        Some(digits) => paths::number(digits)?.wrapping_neg(),
        None => paths::number(mfn)?,
    };
    let port = u32::try_from(paths::number(port)?).map_err(|_| Errno::EINVAL)?;
    if domid == 0 || domid >= DOMID_FIRST_RESERVED {
        return Err(Errno::EINVAL);
    }
    Ok(Introduce { domid, mfn, port })
}

/// Domain ids from here on have a special meaning (public/xen.h).
const DOMID_FIRST_RESERVED: u16 = 0x7ff0;
