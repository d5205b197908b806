//! Transactions: a snapshot to work on, and a log of steps that is run again if the tree moved on meanwhile.
//!
//! A commit succeeds if every step, run on the current tree, gives the client the very outcome it saw before; so only a
//! change that the client could have noticed is a conflict. (Two clients adding siblings do not disturb each other.)

use super::Limits;
use super::step::{Caller, Effects, Outcome, Scene, Step};
use super::tree::Tree;
use crate::wire::Errno;

/// Generations after which an unprivileged transaction is given up, since its snapshot keeps old nodes in memory.
const MAX_AGE: u64 = 20_000;

/// An open transaction.
#[derive(Debug)]
pub struct Transaction {
    /// The tree at the start; `None` if the transaction cannot commit any more.
    base: Option<Tree>,
    work: Tree,
    log: Vec<(Step, Result<Outcome, Errno>)>,
    logged_bytes: usize,
    effects: Effects,
    started: u64,
}

impl Transaction {
    /// Starts from this tree.
    pub fn new(tree: &Tree, generation: u64) -> Transaction {
        Transaction {
            base: Some(tree.clone()),
            work: tree.clone(),
            log: Vec::new(),
            logged_bytes: 0,
            effects: Effects::default(),
            started: generation,
        }
    }

    /// A transaction that was open when the daemon died: it works, but its commit will say EAGAIN.
    pub fn doomed(tree: &Tree, generation: u64) -> Transaction {
        Transaction {
            base: None,
            ..Transaction::new(tree, generation)
        }
    }

    /// Does one step inside.
    ///
    /// # Errors
    /// The step's; ENOSPC if the transaction grows over its quota.
    pub fn run(
        &mut self,
        caller: &Caller,
        step: Step,
        generation: &mut u64,
        limits: &Limits,
    ) -> Result<Outcome, Errno> {
        if !caller.privileged && *generation - self.started > MAX_AGE {
            self.give_up();
        }
        if !caller.privileged
            && (self.log.len() >= limits.transaction_steps
                || self.logged_bytes >= limits.transaction_bytes)
        {
            return Err(Errno::ENOSPC);
        }
        let since = (self.effects.touched.len(), self.effects.changes.len());
        let mut scene = Scene {
            tree: &mut self.work,
            generation,
            limits,
            effects: &mut self.effects,
        };
        let outcome = scene.run(caller, &step);
        if self.base.is_some() {
            self.logged_bytes += step.size()
                + outcome.as_ref().map_or(0, Outcome::size)
                + self.effects.size_since(since);
            self.log.push((step, outcome.clone()));
        } else {
            // Nobody will ever hear of them, and a guest that goes on for ever must not fill our memory.
            self.effects = Effects::default();
        }
        outcome
    }

    /// Bytes it keeps in memory beside nodes, about.
    pub fn size(&self) -> usize {
        let log = self.log.iter().map(|(step, outcome)| {
            size_of::<(Step, Result<Outcome, Errno>)>()
                + step.size()
                + outcome.as_ref().map_or(0, Outcome::size)
        });
        size_of::<Transaction>() + log.sum::<usize>() + self.effects.size_since((0, 0))
    }

    /// The generation of a node as seen inside.
    pub fn tree(&self) -> &Tree {
        &self.work
    }

    fn give_up(&mut self) {
        self.base = None;
        self.log = Vec::new();
        self.logged_bytes = 0;
        self.effects = Effects::default();
    }

    /// Makes the changes visible in `tree`.
    ///
    /// # Errors
    /// EAGAIN: there is a conflict; `tree` is as before.
    pub fn commit(
        self,
        caller: &Caller,
        tree: &mut Tree,
        generation: &mut u64,
        limits: &Limits,
    ) -> Result<Effects, Errno> {
        let base = self.base.ok_or(Errno::EAGAIN)?;
        if base.is_same(tree) {
            *tree = self.work;
            return Ok(self.effects);
        }
        let mut work = tree.clone();
        let mut effects = Effects::default();
        let mut scene = Scene {
            tree: &mut work,
            generation,
            limits,
            effects: &mut effects,
        };
        for (step, outcome) in &self.log {
            if scene.run(caller, step) != *outcome {
                return Err(Errno::EAGAIN);
            }
        }
        *tree = work;
        Ok(effects)
    }
}
