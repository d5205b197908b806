//! The tree of nodes: persistent (copied on write, so that a snapshot costs nothing), counting nodes per owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::path as paths;
use crate::perms::Perms;

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its value.
    pub value: Arc<[u8]>,
    /// Who may do what.
    pub perms: Arc<Perms>,
    /// Its children by name.
    pub children: BTreeMap<Box<str>, Arc<Node>>,
    /// Grows with every change of the node or its list of children.
    pub generation: u64,
}

/// The whole tree. A clone is a snapshot that shares all nodes.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Arc<Node>,
    owned: BTreeMap<u16, u32>,
}

impl Tree {
    /// A root of domain 0 that nobody else may read.
    pub fn new() -> Tree {
        let root = Node {
            value: Arc::new([]),
            perms: Arc::new(Perms::private(0)),
            children: BTreeMap::new(),
            generation: 0,
        };
        Tree {
            root: Arc::new(root),
            owned: BTreeMap::from([(0, 1)]),
        }
    }

    /// Whether nothing happened between two snapshots.
    pub fn is_same(&self, other: &Tree) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }

    /// The node at this path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        let mut node = &self.root;
        for name in paths::names(path) {
            node = node.children.get(name)?;
        }
        Some(node)
    }

    /// The deepest node that exists on the way to this path, itself included.
    pub fn nearest(&self, path: &str) -> &Node {
        let mut node = &self.root;
        for name in paths::names(path) {
            match node.children.get(name) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// How many nodes this domain owns.
    pub fn nr_owned(&self, domid: u16) -> u32 {
        self.owned.get(&domid).copied().unwrap_or(0)
    }

    /// How many nodes there are.
    pub fn nr_nodes(&self) -> u32 {
        self.owned.values().sum()
    }

    /// The owners with their number of nodes.
    pub fn owners(&self) -> impl Iterator<Item = (u16, u32)> + '_ {
        self.owned.iter().map(|(domid, nr)| (*domid, *nr))
    }

    /// Changes value and permissions of a node that exists; returns whether it does.
    pub fn update(
        &mut self,
        path: &str,
        generation: u64,
        value: Option<&[u8]>,
        perms: Option<&Perms>,
    ) -> bool {
        if self.get(path).is_none() {
            return false;
        }
        let node = node_mut(&mut self.root, path);
        node.generation = generation;
        if let Some(value) = value {
            node.value = value.into();
        }
        if let Some(perms) = perms {
            let before = node.perms.owner();
            node.perms = Arc::new(perms.clone());
            self.count(before, false);
            self.count(perms.owner(), true);
        }
        true
    }

    /// Adds an empty child to a node that exists, unless it has it; returns whether one was added.
    pub fn add(&mut self, path: &str, generation: u64, perms: &Arc<Perms>) -> bool {
        let (parent, name) = (paths::parent(path), path.rsplit('/').next().unwrap_or(""));
        match self.get(parent) {
            Some(node) if !name.is_empty() && !node.children.contains_key(name) => {}
            _ => return false,
        }
        let parent = node_mut(&mut self.root, parent);
        let node = Node {
            value: Arc::new([]),
            perms: Arc::clone(perms),
            children: BTreeMap::new(),
            generation,
        };
        parent.generation = generation;
        parent.children.insert(name.into(), Arc::new(node));
        self.count(perms.owner(), true);
        true
    }

    /// Removes a node and all below; returns it, or `None` if there is no such node or it is the root.
    pub fn remove(&mut self, path: &str, generation: u64) -> Option<Arc<Node>> {
        self.get(path)?;
        let (parent, name) = (
            paths::parent(path),
            path.rsplit('/').next().filter(|name| !name.is_empty())?,
        );
        let parent = node_mut(&mut self.root, parent);
        parent.generation = generation;
        let removed = parent.children.remove(name)?;
        walk(path, &removed, &mut |_, node| {
            self.count(node.perms.owner(), false);
            true
        });
        Some(removed)
    }

    /// Visits every node, parents first; `visit` says whether to go below.
    pub fn visit(&self, visit: &mut dyn FnMut(&str, &Node) -> bool) {
        walk("/", &self.root, visit);
    }

    fn count(&mut self, owner: u16, more: bool) {
        let nr = self.owned.entry(owner).or_insert(0);
        *nr = if more {
            nr.saturating_add(1)
        } else {
            nr.saturating_sub(1)
        };
        if *nr == 0 {
            self.owned.remove(&owner);
        }
    }

    /// Counts all nodes again and says where the count per owner is wrong.
    pub fn check(&self) -> Result<(), String> {
        let mut owned = BTreeMap::new();
        self.visit(&mut |_, node| {
            *owned.entry(node.perms.owner()).or_insert(0u32) += 1;
            true
        });
        if owned == self.owned {
            Ok(())
        } else {
            Err(format!(
                "nodes by owner: {:?}, counted {owned:?}",
                self.owned
            ))
        }
    }
}

/// The node at a path that exists, copied where snapshots share it.
fn node_mut<'a>(root: &'a mut Arc<Node>, path: &str) -> &'a mut Node {
    let mut node = Arc::make_mut(root);
    for name in paths::names(path) {
        match node.children.get_mut(name) {
            Some(child) => node = Arc::make_mut(child),
            None => unreachable!("callers looked the path up"),
        }
    }
    node
}

/// Visits a node and all below, parents first.
pub fn walk(path: &str, node: &Node, visit: &mut dyn FnMut(&str, &Node) -> bool) {
    // A stack of our own: paths have up to 1536 levels.
    let mut stack = vec![(path.to_owned(), node)];
    while let Some((path, node)) = stack.pop() {
        if visit(&path, node) {
            stack.extend(
                node.children
                    .iter()
                    .rev()
                    .map(|(name, child)| (paths::child(&path, name), &**child)),
            );
        }
    }
}
