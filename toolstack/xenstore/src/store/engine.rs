//! The engine's state: the tree, connections with their watches and transactions, and the introduced domains.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::step::{Caller, Effects, Scene, Touched};
use super::transaction::Transaction;
use super::tree::Tree;
use super::watch::{self, Registered};
use super::{Change, ConnId, Fired, Limits, Role};
use crate::path as paths;
use crate::perms::{Perms, Right};

/// A whole store.
#[derive(Debug)]
pub struct Engine {
    pub(super) tree: Tree,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) domains: BTreeMap<u16, Domain>,
    pub(super) special: BTreeMap<&'static str, Perms>,
    pub(super) limits: Limits,
    pub(super) generation: u64,
    events: Vec<Fired>,
    changes: Vec<Change>,
    keeps_changes: bool,
    last_conn: u32,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub role: Role,
    pub watches: Vec<Arc<Registered>>,
    pub transactions: BTreeMap<u32, Transaction>,
    pub last_tx: u32,
}

impl Conn {
    /// Bytes it keeps in watches and transactions, about.
    fn size(&self) -> usize {
        let watches = self.watches.iter();
        let watches = watches.map(|w| size_of::<Registered>() + w.path.len() + w.token.len());
        let transactions = self.transactions.values().map(Transaction::size);
        watches.chain(transactions).sum()
    }
}

/// An introduced domain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Domain {
    /// Whether its shutdown was announced already.
    pub shut_down: bool,
    pub target: Option<u16>,
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

impl Engine {
    /// A store with the nodes every daemon starts with; domain 0 is introduced.
    pub fn new() -> Engine {
        let mut engine = Engine::empty();
        let (generation, limits, effects) = (
            &mut engine.generation,
            &engine.limits,
            &mut Effects::default(),
        );
        let mut scene = Scene {
            tree: &mut engine.tree,
            generation,
            limits,
            effects,
        };
        let daemon = Caller {
            domid: 0,
            privileged: true,
            target: None,
        };
        for path in ["/tool/xenstored", "/local/domain"] {
            // Making a node in an empty tree as domain 0 cannot fail.
            let _ = scene.run(&daemon, &super::step::Step::Mkdir(path.to_owned()));
        }
        engine
    }

    /// A store with a root only, to be filled by [`Engine::restore`].
    pub fn empty() -> Engine {
        Engine {
            tree: Tree::new(),
            conns: BTreeMap::new(),
            domains: BTreeMap::from([(0, Domain::default())]),
            special: [watch::INTRODUCE_DOMAIN, watch::RELEASE_DOMAIN]
                .map(|p| (p, Perms::private(0)))
                .into(),
            limits: Limits::default(),
            generation: 0,
            events: Vec::new(),
            changes: Vec::new(),
            keeps_changes: false,
            last_conn: 0,
        }
    }

    /// From now on, keeps what changes for [`Engine::take_changes`].
    pub fn keep_changes(&mut self) {
        self.keeps_changes = true;
    }

    /// Starts counting generations here, so that a restarted daemon does not repeat those of its predecessor.
    pub fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The quotas.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The quotas, to change them.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// A new connection.
    pub fn connect(&mut self, role: Role) -> ConnId {
        self.last_conn += 1;
        let id = ConnId(self.last_conn);
        self.conns.insert(
            id,
            Conn {
                role,
                watches: Vec::new(),
                transactions: BTreeMap::new(),
                last_tx: 0,
            },
        );
        id
    }

    /// The connection is gone, with its watches and transactions.
    pub fn disconnect(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    /// Drops a connection's watches and transactions.
    pub fn reset(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        state.watches.clear();
        state.transactions.clear();
        if state.role.ring {
            let domid = state.role.domid;
            self.record(Change::Reset { domid });
        }
    }

    /// What fired since the last call.
    pub fn take_events(&mut self) -> Vec<Fired> {
        mem::take(&mut self.events)
    }

    /// What changed since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }

    /// The domains that are introduced, domain 0 among them.
    pub fn domains(&self) -> impl Iterator<Item = u16> + '_ {
        self.domains.keys().copied()
    }

    /// A domain's ring is connected: `@introduceDomain` fires.
    pub fn introduced(&mut self, domid: u16) {
        self.set_domain(domid, Domain::default());
        self.fire_special(watch::INTRODUCE_DOMAIN, domid);
    }

    /// A domain's ring is disconnected: `@releaseDomain` fires.
    pub fn released(&mut self, domid: u16) {
        if self.domains.remove(&domid).is_some() {
            self.conns
                .retain(|_, conn| !(conn.role.ring && conn.role.domid == domid));
            self.record(Change::Released { domid });
            self.fire_special(watch::RELEASE_DOMAIN, domid);
        }
    }

    /// A domain was found shut down or crashed: `@releaseDomain` fires, once until it is resumed.
    pub fn domain_shut_down(&mut self, domid: u16) {
        if let Some(domain) = self.domains.get(&domid).copied()
            && !domain.shut_down
        {
            self.set_domain(
                domid,
                Domain {
                    shut_down: true,
                    ..domain
                },
            );
            self.fire_special(watch::RELEASE_DOMAIN, domid);
        }
    }

    /// A domain is gone: it is released, its nodes are removed, and nodes of others forget it.
    pub fn domain_gone(&mut self, domid: u16) {
        let (mut owned, mut named) = (Vec::new(), Vec::new());
        self.tree.visit(&mut |path, node| {
            if node.perms.owner() == domid {
                owned.push(path.to_owned());
                return false;
            }
            if let Some(perms) = node.perms.without(domid) {
                named.push((path.to_owned(), perms, node.perms.clone()));
            }
            true
        });
        let mut effects = Effects::default();
        let (generation, limits) = (&mut self.generation, &self.limits);
        let mut scene = Scene {
            tree: &mut self.tree,
            generation,
            limits,
            effects: &mut effects,
        };
        for (path, perms, before) in named {
            scene.replace_perms(&path, &perms, before);
        }
        for path in owned {
            if path == "/" {
                scene.replace_perms("/", &Perms::private(0), Perms::private(domid).into());
            } else {
                scene.remove_found(&path);
            }
        }
        self.apply(effects);
        for (other, domain) in self.domains.clone() {
            if domain.target == Some(domid) {
                self.set_domain(
                    other,
                    Domain {
                        target: None,
                        ..domain
                    },
                );
            }
        }
        for (path, perms) in self.special.clone() {
            if let Some(fewer) = perms.without(domid) {
                self.set_special(path, fewer);
            }
        }
        self.released(domid);
    }

    pub(super) fn set_domain(&mut self, domid: u16, domain: Domain) {
        self.domains.insert(domid, domain);
        let Domain { shut_down, target } = domain;
        self.record(Change::Introduced {
            domid,
            shut_down,
            target,
        });
    }

    pub(super) fn set_special(&mut self, special: &'static str, perms: Perms) {
        self.special.insert(special, perms.clone());
        self.record(Change::Special {
            path: special.to_owned(),
            perms,
        });
    }

    pub(super) fn caller(&self, role: Role) -> Caller {
        let target = self.domains.get(&role.domid).and_then(|d| d.target);
        Caller {
            domid: role.domid,
            privileged: role.privileged,
            target,
        }
    }

    pub(super) fn record(&mut self, change: Change) {
        if self.keeps_changes {
            self.changes.push(change);
        }
    }

    /// Makes known what a step or a commit did.
    pub(super) fn apply(&mut self, effects: Effects) {
        if self.keeps_changes {
            self.changes.extend(effects.changes);
        }
        for touched in &effects.touched {
            self.fire(touched);
        }
    }

    fn fire(&mut self, touched: &Touched) {
        let changed: Arc<str> = touched.path.as_str().into();
        for (id, conn) in &self.conns {
            let caller = self.caller(conn.role);
            if !touched
                .readers
                .iter()
                .any(|perms| caller.may(perms, Right::Read))
            {
                continue;
            }
            for watch in &conn.watches {
                if watch.matches(&touched.path, touched.exact) {
                    self.events.push(Fired {
                        conn: *id,
                        domid: conn.role.domid,
                        changed: Arc::clone(&changed),
                        watch: Arc::clone(watch),
                    });
                }
            }
        }
    }

    fn fire_special(&mut self, special: &'static str, domid: u16) {
        for (id, conn) in &self.conns {
            let caller = self.caller(conn.role);
            if !self
                .special
                .get(special)
                .is_some_and(|perms| caller.may(perms, Right::Read))
            {
                continue;
            }
            for watch in &conn.watches {
                if let Some(path) = watch.special_path(special, domid) {
                    self.events.push(Fired {
                        conn: *id,
                        domid: conn.role.domid,
                        changed: path.into(),
                        watch: Arc::clone(watch),
                    });
                }
            }
        }
    }

    /// Queues the event that a fresh watch gets at once.
    pub(super) fn fire_first(&mut self, conn: ConnId, role: Role, watch: Arc<Registered>) {
        self.events.push(Fired {
            conn,
            domid: role.domid,
            changed: watch.path.as_str().into(),
            watch,
        });
    }

    /// The path of a special watch, if that is what this path is.
    pub(super) fn special_of(path: &str) -> Option<&'static str> {
        let base = path.split('/').next()?;
        [watch::INTRODUCE_DOMAIN, watch::RELEASE_DOMAIN]
            .into_iter()
            .find(|s| *s == base)
    }

    /// Does to this store what a change says, without firing anything.
    pub fn restore(&mut self, change: Change) {
        self.generation += 1;
        let generation = self.generation;
        match change {
            Change::Put { path, value, perms } => {
                self.tree.add(&path, generation, &perms);
                self.tree
                    .update(&path, generation, Some(&value), Some(&perms));
            }
            Change::Remove { path } => drop(self.tree.remove(&path, generation)),
            Change::Special { path, perms } => {
                if let Some(special) = Engine::special_of(&path) {
                    self.special.insert(special, perms);
                }
            }
            Change::Introduced {
                domid,
                shut_down,
                target,
            } => {
                self.domains.insert(domid, Domain { shut_down, target });
                self.ring_of(domid);
            }
            Change::Released { domid } => {
                self.domains.remove(&domid);
                self.conns
                    .retain(|_, conn| !(conn.role.ring && conn.role.domid == domid));
            }
            Change::Watch {
                domid,
                path,
                token,
                depth,
                relative,
            } => {
                self.restored(domid).watches.push(Arc::new(Registered {
                    path,
                    token,
                    depth,
                    relative,
                }));
            }
            Change::Unwatch { domid, path, token } => {
                self.restored(domid)
                    .watches
                    .retain(|w| w.path != path || w.token != token);
            }
            Change::TransactionStart { domid, tx_id } => {
                let transaction = Transaction::doomed(&self.tree, generation);
                let conn = self.restored(domid);
                conn.transactions.insert(tx_id, transaction);
                conn.last_tx = tx_id;
            }
            Change::TransactionEnd { domid, tx_id } => {
                self.restored(domid).transactions.remove(&tx_id);
            }
            Change::Reset { domid } => {
                let conn = self.restored(domid);
                conn.watches.clear();
                conn.transactions.clear();
            }
        }
    }

    /// The connection of a domain's ring; it is made if there is none.
    pub fn ring_of(&mut self, domid: u16) -> ConnId {
        let found = self
            .conns
            .iter()
            .find(|(_, c)| c.role.ring && c.role.domid == domid)
            .map(|(id, _)| *id);
        found.unwrap_or_else(|| self.connect(Role::domain(domid)))
    }

    fn restored(&mut self, domid: u16) -> &mut Conn {
        let id = self.ring_of(domid);
        self.conns
            .entry(id)
            .or_insert_with(|| unreachable!("ring_of gives a connection that exists"))
    }

    /// Everything that [`Engine::restore`] needs to make this store again.
    pub fn snapshot(&self, emit: &mut dyn FnMut(Change)) {
        self.tree.visit(&mut |path, node| {
            emit(Change::Put {
                path: path.to_owned(),
                value: node.value.clone(),
                perms: node.perms.clone(),
            });
            true
        });
        for (path, perms) in &self.special {
            emit(Change::Special {
                path: (*path).to_owned(),
                perms: perms.clone(),
            });
        }
        for (domid, domain) in &self.domains {
            emit(Change::Introduced {
                domid: *domid,
                shut_down: domain.shut_down,
                target: domain.target,
            });
        }
        for conn in self.conns.values().filter(|c| c.role.ring) {
            let domid = conn.role.domid;
            for Registered {
                path,
                token,
                depth,
                relative,
            } in conn.watches.iter().map(|watch| Registered::clone(watch))
            {
                emit(Change::Watch {
                    domid,
                    path,
                    token,
                    depth,
                    relative,
                });
            }
            for tx_id in conn.transactions.keys() {
                emit(Change::TransactionStart {
                    domid,
                    tx_id: *tx_id,
                });
            }
        }
    }

    /// Counts again what is counted, and says what is wrong.
    ///
    /// # Errors
    /// A sentence about the first inconsistency.
    pub fn check(&self) -> Result<(), String> {
        self.tree.check()
    }

    /// Numbers for `control memreport`: nodes, and per connection its domain, watches and transactions.
    pub fn report(&self) -> String {
        let mut text = format!("nodes {}\n", self.tree.nr_nodes());
        for (domid, nr) in self.tree.owners() {
            text += &format!("domain {domid}: nodes {nr}\n");
        }
        for (id, conn) in &self.conns {
            let kind = if conn.role.ring { "ring" } else { "socket" };
            let (watches, transactions) = (conn.watches.len(), conn.transactions.len());
            let domid = conn.role.domid;
            text += &format!(
                "connection {}: {kind} of domain {domid}, watches {watches}, transactions {transactions}, bytes {}\n",
                id.0,
                conn.size()
            );
        }
        text
    }

    /// Bytes that a domain's connections keep in watches and transactions, about.
    pub fn bytes_of(&self, domid: u16) -> usize {
        let conns = self.conns.values();
        let own = conns.filter(|conn| conn.role.domid == domid);
        own.map(Conn::size).sum()
    }

    /// How many nodes a domain owns.
    pub fn nr_owned(&self, domid: u16) -> u32 {
        self.tree.nr_owned(domid)
    }
}

/// The home of a domain as a reply carries it.
pub(super) fn home(domid: u16) -> Vec<u8> {
    let mut path = paths::home(domid).into_bytes();
    path.push(0);
    path
}
