//! One read or write of the tree on somebody's behalf: permissions, quotas, and what follows from it.
//!
//! Steps are values, so that a transaction can be run again on a newer tree when it commits.

use std::sync::Arc;

use super::tree::{self, Tree};
use super::{Change, Limits};
use crate::path as paths;
use crate::perms::{Perms, Right};
use crate::wire::Errno;

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read the value.
    Read(String),
    /// List the children.
    List(String),
    /// Read the permissions.
    GetPerms(String),
    /// Write the value, with all missing parents.
    Write(String, Arc<[u8]>),
    /// Make the node, with all missing parents.
    Mkdir(String),
    /// Remove the node and all below.
    Rm(String),
    /// Set the permissions.
    SetPerms(String, Perms),
}

/// What it gave. Two equal outcomes cannot be told apart by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value.
    Value(Arc<[u8]>),
    /// Names of the children, each followed by NUL.
    Names(Vec<u8>),
    /// The permissions.
    Perms(Arc<Perms>),
    /// Done; nothing to tell.
    Done,
}

impl Step {
    /// Bytes this step keeps in memory while a transaction remembers it.
    pub fn size(&self) -> usize {
        let beside = match self {
            Step::Write(_, value) => value.len(),
            Step::SetPerms(_, perms) => perms.nr_entries() * size_of::<crate::perms::Perm>(),
            _ => 0,
        };
        let (Step::Read(path)
        | Step::List(path)
        | Step::GetPerms(path)
        | Step::Write(path, _)
        | Step::Mkdir(path)
        | Step::Rm(path)
        | Step::SetPerms(path, _)) = self;
        path.len() + beside
    }
}

impl Outcome {
    /// Bytes this outcome keeps in memory while a transaction remembers it.
    pub fn size(&self) -> usize {
        match self {
            Outcome::Value(value) => value.len(),
            Outcome::Names(names) => names.len(),
            Outcome::Perms(perms) => perms.nr_entries() * size_of::<crate::perms::Perm>(),
            Outcome::Done => 0,
        }
    }
}

/// On whose behalf.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The domain.
    pub domid: u16,
    /// Whether permissions and quotas do not apply.
    pub privileged: bool,
    /// The domain it may act for.
    pub target: Option<u16>,
}

impl Caller {
    /// Whether the permissions let the caller do all of `wanted`.
    pub fn may(&self, perms: &Perms, wanted: Right) -> bool {
        let grants = |domid| {
            let right = perms.right_of(domid);
            (right.reads() || !wanted.reads()) && (right.writes() || !wanted.writes())
        };
        self.privileged || grants(self.domid) || self.target.is_some_and(grants)
    }

    fn owns(&self, perms: &Perms) -> bool {
        self.privileged || perms.owner() == self.domid || Some(perms.owner()) == self.target
    }
}

/// A changed node, for watches.
#[derive(Clone, Debug)]
pub struct Touched {
    /// Its path.
    pub path: String,
    /// Only watches of exactly this path hear of it: it went with a parent, which fires by itself.
    pub exact: bool,
    /// Who may read one of these may hear of it: the node before and after, and its parent.
    pub readers: Vec<Arc<Perms>>,
}

/// What followed from successful steps.
#[derive(Debug, Default)]
pub struct Effects {
    /// For watches.
    pub touched: Vec<Touched>,
    /// For the journal.
    pub changes: Vec<Change>,
}

impl Effects {
    /// Bytes that these keep in memory, about; what was there at `since` (touched, changes) does not count.
    pub fn size_since(&self, since: (usize, usize)) -> usize {
        let touched = self.touched.iter().skip(since.0);
        let touched = touched.map(|t| {
            size_of::<Touched>() + t.path.len() + t.readers.len() * size_of::<Arc<Perms>>()
        });
        let changes = self.changes.iter().skip(since.1);
        let changes = changes.map(|change| {
            let (Change::Put { path, .. } | Change::Remove { path }) = change else {
                return size_of::<Change>();
            };
            size_of::<Change>() + path.len()
        });
        touched.chain(changes).sum()
    }
}

/// The tree with what a step needs beside it.
pub struct Scene<'a> {
    /// The tree to change.
    pub tree: &'a mut Tree,
    /// The last generation given out.
    pub generation: &'a mut u64,
    /// The quotas.
    pub limits: &'a Limits,
    /// Where effects go.
    pub effects: &'a mut Effects,
}

impl Scene<'_> {
    /// Does one step.
    ///
    /// # Errors
    /// EACCES, ENOENT, EINVAL (removing the root), ENOSPC (over quota), EPERM (giving a node away).
    pub fn run(&mut self, caller: &Caller, step: &Step) -> Result<Outcome, Errno> {
        match step {
            Step::Read(path) => self
                .find(caller, path, Right::Read)
                .map(|n| Outcome::Value(Arc::clone(&n.value))),
            Step::List(path) => {
                let node = self.find(caller, path, Right::Read)?;
                Ok(Outcome::Names(crate::wire::join(
                    node.children.keys().map(|name| name.as_bytes()),
                )))
            }
            Step::GetPerms(path) => self
                .find(caller, path, Right::Read)
                .map(|n| Outcome::Perms(Arc::clone(&n.perms))),
            Step::Write(path, value) => self.write(caller, path, value),
            Step::Mkdir(path) => match self.find(caller, path, Right::Write) {
                Ok(_) => Ok(Outcome::Done),
                Err(Errno::ENOENT) => {
                    self.create(caller, path)?;
                    self.touch(path, None);
                    Ok(Outcome::Done)
                }
                Err(e) => Err(e),
            },
            Step::Rm(path) => self.remove(caller, path),
            Step::SetPerms(path, perms) => self.set_perms(caller, path, perms),
        }
    }

    /// The node, if the caller may do `wanted` with it. Who may not see the parents does not learn what exists.
    fn find(&self, caller: &Caller, path: &str, wanted: Right) -> Result<&tree::Node, Errno> {
        match self.tree.get(path) {
            Some(node) if caller.may(&node.perms, wanted) => Ok(node),
            None if caller.may(&self.tree.nearest(path).perms, wanted) => Err(Errno::ENOENT),
            _ => Err(Errno::EACCES),
        }
    }

    fn next_generation(&mut self) -> u64 {
        *self.generation += 1;
        *self.generation
    }

    fn write(&mut self, caller: &Caller, path: &str, value: &Arc<[u8]>) -> Result<Outcome, Errno> {
        if !caller.privileged && value.len() > self.limits.node_size {
            return Err(Errno::ENOSPC);
        }
        match self.find(caller, path, Right::Write) {
            Ok(_) => {}
            Err(Errno::ENOENT) => self.create(caller, path)?,
            Err(e) => return Err(e),
        }
        let generation = self.next_generation();
        self.tree.update(path, generation, Some(value), None);
        self.touch(path, None);
        Ok(Outcome::Done)
    }

    /// Makes a node and its missing parents; they inherit permissions, but a domain owns what it makes.
    fn create(&mut self, caller: &Caller, path: &str) -> Result<(), Errno> {
        let nr_missing = {
            let mut nr = 0;
            let mut ancestor = path;
            while self.tree.get(ancestor).is_none() {
                nr += 1;
                ancestor = paths::parent(ancestor);
            }
            nr
        };
        if !caller.privileged
            && self.tree.nr_owned(caller.domid).saturating_add(nr_missing) > self.limits.nodes
        {
            return Err(Errno::ENOSPC);
        }
        let inherited = &self.tree.nearest(path).perms;
        let perms = if caller.privileged {
            Arc::clone(inherited)
        } else {
            Arc::new(inherited.owned_by(caller.domid))
        };
        let mut prefix = String::new();
        for name in paths::names(path) {
            prefix = paths::child(if prefix.is_empty() { "/" } else { &prefix }, name);
            let generation = self.next_generation();
            if self.tree.add(&prefix, generation, &perms) && prefix != path {
                self.record(&prefix);
            }
        }
        Ok(())
    }

    fn remove(&mut self, caller: &Caller, path: &str) -> Result<Outcome, Errno> {
        match self.find(caller, path, Right::Write) {
            // Gone already is fine, but only below a parent that exists.
            Err(Errno::ENOENT) if self.tree.get(paths::parent(path)).is_some() => {
                return Ok(Outcome::Done);
            }
            Err(e) => return Err(e),
            Ok(_) if path == "/" => return Err(Errno::EINVAL),
            Ok(_) => {}
        }
        self.remove_found(path);
        Ok(Outcome::Done)
    }

    /// Removes a node that exists, whoever asks.
    pub fn remove_found(&mut self, path: &str) {
        let generation = self.next_generation();
        let before = self.tree.clone();
        let Some(removed) = self.tree.remove(path, generation) else {
            return;
        };
        let effects = &mut *self.effects;
        tree::walk(path, &removed, &mut |below, node| {
            let parent = before.get(paths::parent(below)).into_iter();
            let readers = parent.chain([node]).map(|n| Arc::clone(&n.perms)).collect();
            effects.touched.push(Touched {
                path: below.to_owned(),
                exact: below != path,
                readers,
            });
            true
        });
        effects.changes.push(Change::Remove {
            path: path.to_owned(),
        });
    }

    fn set_perms(&mut self, caller: &Caller, path: &str, perms: &Perms) -> Result<Outcome, Errno> {
        if !caller.privileged && perms.nr_entries() > self.limits.perms {
            return Err(Errno::ENOSPC);
        }
        let node = self.find(caller, path, Right::Write)?;
        if !caller.owns(&node.perms) {
            return Err(Errno::EACCES);
        }
        if !caller.privileged && perms.owner() != node.perms.owner() {
            return Err(Errno::EPERM);
        }
        let before = Arc::clone(&node.perms);
        self.replace_perms(path, perms, before);
        Ok(Outcome::Done)
    }

    /// Sets the permissions of a node that exists, whoever asks.
    pub fn replace_perms(&mut self, path: &str, perms: &Perms, before: Arc<Perms>) {
        let generation = self.next_generation();
        self.tree.update(path, generation, None, Some(perms));
        self.touch(path, Some(before));
    }

    fn record(&mut self, path: &str) {
        if let Some(node) = self.tree.get(path) {
            self.effects.changes.push(Change::Put {
                path: path.to_owned(),
                value: Arc::clone(&node.value),
                perms: Arc::clone(&node.perms),
            });
        }
    }

    fn touch(&mut self, path: &str, before: Option<Arc<Perms>>) {
        self.record(path);
        let here = self.tree.get(path).into_iter();
        let parent = self.tree.get(paths::parent(path)).into_iter();
        let readers = here
            .chain(parent)
            .map(|n| Arc::clone(&n.perms))
            .chain(before)
            .collect();
        self.effects.touched.push(Touched {
            path: path.to_owned(),
            exact: false,
            readers,
        });
    }
}
