//! The daemon's rounds: everybody who has something to say is served a little, then the journal is written, then
//! answers go out.
//!
//! That order is what makes a kill harmless. What was answered is in the journal; what was not is still in the client's
//! ring (or the client of a socket sees its connection break and asks again). In one round a connection gets at most
//! [`BUDGET`] requests served, so a flood costs its sender its own turns only.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rexen_xenctl::EvtchnPort;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::journal::{Journal, Loaded};
use super::link::{Carrier, Link, Over};
use super::log::Log;
use super::platform::{Happening, Platform};
use super::record::Record;
use super::restore::Restored;
use crate::store::{Answer, ConnId, Engine, Introduce, Role};
use crate::wire::{Decoder, Op, Packet};

/// Requests served per connection and round.
const BUDGET: usize = 8;
/// Bytes that may wait for a privileged connection before its requests do.
const PRIVILEGED_OUTSTANDING: usize = 1 << 20;
/// Sockets open at once; more are turned away.
const MAX_SOCKETS: usize = 1024;
/// How long guests wait for the next try of a transaction of domain 0's.
const FAVOUR: Duration = Duration::from_millis(100);
/// How long to wait before a journal that could not be written is tried again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// A running daemon.
pub struct Server<P> {
    pub(super) engine: Engine,
    pub(super) journal: Journal,
    pub(super) log: Log,
    pub(super) links: BTreeMap<ConnId, Link>,
    pub(super) platform: P,
    listener: UnixListener,
    pub(super) ports: HashMap<u32, ConnId>,
    pub(super) places: BTreeMap<u16, Introduce>,
    pub(super) journal_failed: bool,
    favoured: Option<Favoured>,
}

/// A connection of domain 0 whose transaction met a conflict.
#[derive(Clone, Copy, Debug)]
struct Favoured {
    conn: ConnId,
    until: Instant,
}

impl<P: Platform> Server<P> {
    /// Takes over from a daemon that died, or starts afresh.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn start(
        platform: P,
        listener: UnixListener,
        journal: Journal,
        loaded: Loaded,
        generation: u64,
        log: Log,
    ) -> io::Result<Server<P>> {
        let again = !loaded.records.is_empty();
        let Restored {
            mut engine,
            mut rings,
        } = Restored::from_records(loaded.records);
        engine.set_generation(generation);
        engine.keep_changes();
        listener.set_nonblocking(true)?;
        let mut server = Server {
            engine,
            journal,
            log,
            links: BTreeMap::new(),
            platform,
            listener,
            ports: HashMap::new(),
            places: BTreeMap::new(),
            journal_failed: false,
            favoured: None,
        };
        if again {
            let nr_domains = server.engine.domains().count();
            server.log.line(format_args!(
                "going on with the state of a former daemon, domains {nr_domains}"
            ));
        }
        server.open_own_ring(rings.remove(&0));
        let domids: Vec<u16> = server
            .engine
            .domains()
            .filter(|domid| *domid != 0)
            .collect();
        for domid in domids {
            server.reopen(domid, rings.remove(&domid).unwrap_or_default());
        }
        server.check_domains();
        server.settle_effects();
        server.rewrite()?;
        Ok(server)
    }

    /// Sets a quota by name, also for the daemons after this one; `None`: there is none of this name.
    pub fn set_quota(&mut self, name: &str, value: u64) -> Option<()> {
        self.engine.limits_mut().set(name, value)?;
        self.journal.push(&Record::Quota {
            name: name.to_owned(),
            value,
        });
        Some(())
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// Waiting for events failed.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            self.step(None)?;
        }
    }

    /// Waits until there is something to do, but not longer than `limit`, and does a round.
    ///
    /// # Errors
    /// Waiting for events failed.
    pub fn step(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let goes_on = |l: &Link| l.ready && self.may_ask(l) && !self.must_wait(l);
        let limit = if self.links.values().any(goes_on) {
            Some(Duration::ZERO)
        } else if let Some(favoured) = self.favoured {
            let left = favoured.until.saturating_duration_since(Instant::now());
            Some(limit.unwrap_or(left).min(left))
        } else if self.journal_failed {
            Some(limit.unwrap_or(JOURNAL_RETRY).min(JOURNAL_RETRY))
        } else {
            limit
        };
        let callers = self.wait(limit)?;
        for conn in callers {
            if let Some(link) = self.links.get_mut(&conn) {
                link.ready = true;
            }
        }
        self.round();
        Ok(())
    }

    /// Polls; returns the sockets that are readable or closed.
    fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<ConnId>> {
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let platform = self.platform.fd();
        if let Some(fd) = &platform {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let first = fds.len();
        let mut conns = Vec::new();
        for (conn, link) in &self.links {
            if let Carrier::Socket { stream, .. } = &link.carrier {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, self.may_ask(link));
                flags.set(PollFlags::OUT, link.output.nr_bytes() != 0);
                fds.push(PollFd::new(stream, flags));
                conns.push(*conn);
            }
        }
        let limit = limit.map(|d| Timespec {
            tv_sec: d.as_secs().cast_signed(),
            tv_nsec: d.subsec_nanos().into(),
        });
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let asks = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let callers = conns
            .into_iter()
            .zip(&fds[first..])
            .filter(|(_, fd)| fd.revents().intersects(asks));
        Ok(callers.map(|(conn, _)| conn).collect())
    }

    /// Whether the connection takes its answers, so that it may ask more.
    fn may_ask(&self, link: &Link) -> bool {
        let limit = if link.role.privileged {
            PRIVILEGED_OUTSTANDING
        } else {
            self.engine.limits().outstanding
        };
        link.output.nr_bytes() < limit
    }

    fn round(&mut self) {
        let served = self.serve_all();
        self.commit();
        self.flush(&served);
    }

    /// Serves everybody a little; nothing of it shows outside before it is committed and flushed.
    fn serve_all(&mut self) -> Vec<ConnId> {
        let mut domains_changed = false;
        while let Some(happening) = self.platform.next() {
            match happening {
                Happening::Domains => domains_changed = true,
                Happening::Ring(port) => {
                    let conn = self.ports.get(&port.0);
                    if let Some(link) = conn.and_then(|conn| self.links.get_mut(conn)) {
                        link.ready = true;
                    }
                }
            }
        }
        self.accept();
        if self.favoured.is_some_and(|f| Instant::now() >= f.until) {
            self.favoured = None;
        }
        let ready = self
            .links
            .iter()
            .filter(|(_, l)| l.ready && !self.must_wait(l));
        let conns: Vec<ConnId> = ready.map(|(conn, _)| *conn).collect();
        for conn in &conns {
            self.serve(*conn);
        }
        if domains_changed {
            self.check_domains();
        }
        self.settle_effects();
        self.encode_events();
        conns
    }

    /// Whether the connection has to let a transaction of domain 0's go first.
    fn must_wait(&self, link: &Link) -> bool {
        self.favoured.is_some() && !link.role.privileged
    }

    /// After a conflict of domain 0's, guests wait until it tried again: they cannot make it fail for ever.
    fn favour(&mut self, conn: ConnId, request: &Packet, reply: &Packet) {
        if request.kind != Op::TransactionEnd.number() {
            return;
        }
        if reply.payload == b"EAGAIN\0" {
            self.favoured = Some(Favoured {
                conn,
                until: Instant::now() + FAVOUR,
            });
        } else if self.favoured.is_some_and(|f| f.conn == conn) {
            self.favoured = None;
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let nr_sockets = self.links.values().filter(|l| !l.role.ring).count();
                    if let Err(e) = self.admit(stream, nr_sockets) {
                        self.log.line(format_args!("a client was turned away: {e}"));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Nobody more, or too many open files: those who wait are accepted later.
                Err(_) => return,
            }
        }
    }

    fn admit(&mut self, stream: UnixStream, nr_sockets: usize) -> io::Result<()> {
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
            return Err(io::Error::other(format!(
                "user {} may not use the store",
                peer.uid.as_raw()
            )));
        }
        if nr_sockets >= MAX_SOCKETS {
            return Err(io::Error::other(format!("{MAX_SOCKETS} are connected")));
        }
        stream.set_nonblocking(true)?;
        let role = Role::tools();
        let conn = self.engine.connect(role);
        let carrier = Carrier::Socket {
            stream,
            input: Vec::new(),
        };
        let (decoder, output) = (Decoder::new(), Default::default());
        self.links.insert(
            conn,
            Link {
                conn,
                role,
                decoder,
                output,
                carrier,
                ready: true,
            },
        );
        Ok(())
    }

    /// Serves some of a connection's requests.
    fn serve(&mut self, conn: ConnId) {
        let Some(mut link) = self.links.remove(&conn) else {
            return;
        };
        if let Some(ring) = link.ring()
            && ring.wants_restart()
        {
            ring.restart();
            link.decoder = Decoder::new();
            link.output.clear();
            self.engine.reset(conn);
            self.record_changes();
            self.journal.push(&Record::Restarted {
                domid: link.role.domid,
            });
        }
        let before = link.ring().map(|ring| ring.req_cons());
        for _ in 0..BUDGET {
            if !self.may_ask(&link) {
                break;
            }
            match link.next_request() {
                Ok(None) => {
                    link.ready = false;
                    break;
                }
                Ok(Some(request)) => self.request(&mut link, &request),
                Err(over) => {
                    self.over(link, over);
                    return;
                }
            }
        }
        let domid = link.role.domid;
        if let Some(after) = link.ring().map(|ring| ring.req_cons())
            && before != Some(after)
        {
            self.journal.push(&Record::Input {
                domid,
                cons: after,
                partial: link.decoder.partial().to_vec(),
            });
        }
        self.links.insert(conn, link);
        self.settle_effects();
    }

    fn request(&mut self, link: &mut Link, request: &Packet) {
        let reply = match self.engine.handle(link.conn, request) {
            Answer::Reply(reply) => reply,
            Answer::Introduce(place) => match self.introduce(&place) {
                Ok(()) => request.ack(),
                Err(errno) => request.error(errno),
            },
            Answer::Release(domid) => {
                self.detach(domid);
                self.engine.released(domid);
                request.ack()
            }
            Answer::Control(words) => match self.control(&words) {
                Ok(text) => request.reply([text.as_bytes(), b"\0"].concat()),
                Err(errno) => request.error(errno),
            },
        };
        if self.log.requests {
            let op = Op::from_number(request.kind);
            let text = String::from_utf8_lossy(&request.payload).replace('\0', " ");
            let result = if reply.kind == Op::Error.number() {
                String::from_utf8_lossy(&reply.payload)
            } else {
                "ok".into()
            };
            let (domid, tx_id) = (link.role.domid, request.tx_id);
            self.log.line(format_args!(
                "domid={domid} tx={tx_id} op={op:?} {text:?} result={result:?}"
            ));
        }
        if link.role.privileged {
            self.favour(link.conn, request, &reply);
        }
        self.record_changes();
        let at = link.output.nr_bytes();
        let bytes = reply.encode();
        link.output.append(&bytes);
        let domid = link.role.domid;
        if let Some(ring) = link.ring() {
            // The queue is shorter than an index is wide.
            let at = ring.rsp_prod().wrapping_add(at as u32);
            self.journal.push(&Record::Output {
                domid,
                at,
                nr_events: 0,
                bytes,
            });
        }
    }

    /// The connection is over: a socket is forgotten, a ring is put out of service until its guest restarts it.
    fn over(&mut self, mut link: Link, over: Over) {
        match over {
            Over::Socket => {
                self.engine.disconnect(link.conn);
                self.favoured = self.favoured.filter(|f| f.conn != link.conn);
            }
            Over::Ring(fault) => {
                let (conn, domid) = (link.conn, link.role.domid);
                self.log.line(format_args!(
                    "domain {domid} broke its ring ({fault:?}): out of service"
                ));
                link.decoder = Decoder::new();
                link.output.clear();
                link.ready = false;
                if let Some(ring) = link.ring() {
                    ring.fail(fault);
                    let port = ring.port;
                    self.platform.notify(port);
                    self.platform.unmask(port);
                }
                self.engine.reset(conn);
                self.record_changes();
                self.links.insert(conn, link);
            }
        }
    }

    /// Sends what waits, tells the guests, and listens again to those that were served.
    fn flush(&mut self, served: &[ConnId]) {
        let waiting = self
            .links
            .iter()
            .filter(|(conn, l)| l.output.nr_bytes() != 0 || served.contains(conn));
        let conns: Vec<ConnId> = waiting.map(|(conn, _)| *conn).collect();
        for conn in conns {
            let Some(mut link) = self.links.remove(&conn) else {
                continue;
            };
            match link.flush() {
                Ok(notify) => {
                    // One that must not ask now is heard all the same: its event says that it took answers.
                    let listens = !link.ready || !self.may_ask(&link);
                    // More events may have room now.
                    let more = link.output.nr_bytes() == 0 && !link.output.is_idle();
                    link.ready |= more;
                    // A guest raises the event only if it saw all before taken, which it did not until now.
                    link.ready |= link.ring().is_some_and(|r| r.available() != Ok(0));
                    if let Some(ring) = link.ring() {
                        let port: EvtchnPort = ring.port;
                        if notify {
                            self.platform.notify(port);
                        }
                        if listens && served.contains(&conn) {
                            self.platform.unmask(port);
                        }
                    }
                    self.links.insert(conn, link);
                }
                Err(over) => self.over(link, over),
            }
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
pub(super) mod tests;
