//! The store against its rules, and against a slow obvious model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::wire::{Errno, Op};

/// A store with one connection of domain 0 and two guests that own their homes.
struct World {
    engine: Engine,
    conns: [ConnId; 3],
}

const TOOLS: usize = 0;
const GUEST: usize = 1;

impl World {
    fn new() -> World {
        let mut engine = Engine::new();
        let conns =
            [Role::tools(), Role::domain(1), Role::domain(2)].map(|role| engine.connect(role));
        engine.introduced(1);
        engine.introduced(2);
        let mut world = World { engine, conns };
        for domid in [1, 2] {
            world.ok(TOOLS, Op::Mkdir, 0, &format!("/local/domain/{domid}\0"));
            world.ok(
                TOOLS,
                Op::SetPerms,
                0,
                &format!("/local/domain/{domid}\0n{domid}\0"),
            );
        }
        world.engine.take_events();
        world
    }

    fn ask(&mut self, who: usize, op: Op, tx_id: u32, payload: &str) -> Result<Vec<u8>, Errno> {
        let request = Packet::new(op, 1, tx_id, payload.as_bytes().to_vec());
        match self.engine.handle(self.conns[who], &request) {
            Answer::Reply(reply) if reply.kind == Op::Error.number() => {
                Err(Errno::from_name(reply.payload.strip_suffix(b"\0").unwrap()))
            }
            Answer::Reply(reply) => Ok(reply.payload),
            other => panic!("{other:?}"),
        }
    }

    fn ok(&mut self, who: usize, op: Op, tx_id: u32, payload: &str) -> Vec<u8> {
        self.ask(who, op, tx_id, payload)
            .unwrap_or_else(|e| panic!("{op:?} {payload:?}: {e}"))
    }

    fn start(&mut self, who: usize) -> u32 {
        let id = self.ok(who, Op::TransactionStart, 0, "\0");
        String::from_utf8(id)
            .unwrap()
            .trim_end_matches('\0')
            .parse()
            .unwrap()
    }

    fn fired(&mut self) -> Vec<String> {
        self.engine
            .take_events()
            .into_iter()
            .map(|e| e.path().to_owned())
            .collect()
    }

    fn snapshot(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.engine.snapshot(&mut |change| changes.push(change));
        changes
    }
}

#[test]
fn siblings_made_by_two_transactions_are_no_conflict() {
    let mut w = World::new();
    let (a, b) = (w.start(TOOLS), w.start(TOOLS));
    w.ok(TOOLS, Op::Write, a, "/dir/a\0x");
    w.ok(TOOLS, Op::Write, b, "/dir/b\0x");
    w.ok(TOOLS, Op::TransactionEnd, a, "T\0");
    w.ok(TOOLS, Op::TransactionEnd, b, "T\0");
    assert_eq!(w.ok(TOOLS, Op::Directory, 0, "/dir\0"), b"a\0b\0");
}

#[test]
fn what_was_read_and_changed_is_a_conflict_and_leaves_no_trace() {
    for (read, payload) in [
        (Op::Read, "/dir/a\0"),
        (Op::Directory, "/dir\0"),
        (Op::GetPerms, "/dir/a\0"),
        (Op::Read, "/dir/new\0"),
    ] {
        let mut w = World::new();
        w.ok(TOOLS, Op::Write, 0, "/dir/a\0old");
        let t = w.start(TOOLS);
        let _ = w.ask(TOOLS, read, t, payload);
        w.ok(TOOLS, Op::Write, t, "/mark\0x");
        w.ok(TOOLS, Op::Write, 0, "/dir/a\0new");
        w.ok(TOOLS, Op::Write, 0, "/dir/new\0new");
        w.ok(TOOLS, Op::SetPerms, 0, "/dir/a\0n1\0");
        assert_eq!(
            w.ask(TOOLS, Op::TransactionEnd, t, "T\0"),
            Err(Errno::EAGAIN),
            "{read:?} {payload:?}"
        );
        assert_eq!(w.ask(TOOLS, Op::Read, 0, "/mark\0"), Err(Errno::ENOENT));
        assert_eq!(
            w.ask(TOOLS, Op::TransactionEnd, t, "T\0"),
            Err(Errno::ENOENT),
            "the transaction is over"
        );
    }
}

#[test]
fn a_change_that_was_taken_back_is_no_conflict() {
    let mut w = World::new();
    w.ok(TOOLS, Op::Write, 0, "/a\0x");
    let t = w.start(TOOLS);
    w.ok(TOOLS, Op::Read, t, "/a\0");
    w.ok(TOOLS, Op::Write, 0, "/a\0y");
    w.ok(TOOLS, Op::Write, 0, "/a\0x");
    w.ok(TOOLS, Op::TransactionEnd, t, "T\0");
}

#[test]
fn transactions_see_themselves_and_fire_at_the_commit_only() {
    let mut w = World::new();
    w.ok(TOOLS, Op::Watch, 0, "/dir\0t\0");
    w.fired();
    let t = w.start(TOOLS);
    w.ok(TOOLS, Op::Write, t, "/dir/a\0x");
    assert_eq!(w.ok(TOOLS, Op::Read, t, "/dir/a\0"), b"x");
    assert_eq!(w.ask(TOOLS, Op::Read, 0, "/dir/a\0"), Err(Errno::ENOENT));
    assert_eq!(w.fired(), Vec::<String>::new());
    w.ok(TOOLS, Op::TransactionEnd, t, "T\0");
    assert_eq!(w.fired(), ["/dir/a"]);
    let t = w.start(TOOLS);
    w.ok(TOOLS, Op::Rm, t, "/dir\0");
    w.ok(TOOLS, Op::TransactionEnd, t, "F\0");
    assert_eq!(w.fired(), Vec::<String>::new());
    assert_eq!(
        w.ask(TOOLS, Op::TransactionStart, 99, "\0"),
        Err(Errno::ENOENT)
    );
    assert_eq!(w.ask(TOOLS, Op::Read, 99, "/dir\0"), Err(Errno::ENOENT));
}

#[test]
fn a_removed_subtree_fires_its_own_path_to_watches_above_and_theirs_to_watches_inside() {
    let mut w = World::new();
    w.ok(TOOLS, Op::Write, 0, "/a/b/c\0x");
    for path in ["/a", "/a/b/c", "/a/b/c/none"] {
        w.ok(TOOLS, Op::Watch, 0, &format!("{path}\0t\0"));
    }
    w.fired();
    w.ok(TOOLS, Op::Rm, 0, "/a/b\0");
    let mut fired = w.fired();
    fired.sort();
    assert_eq!(fired, ["/a/b", "/a/b/c"]);
}

#[test]
fn guests_hear_only_of_what_they_may_read() {
    let mut w = World::new();
    for path in ["/tool", "/local/domain/2"] {
        w.ok(GUEST, Op::Watch, 0, &format!("{path}\0t\0"));
    }
    w.fired();
    w.ok(TOOLS, Op::Write, 0, "/tool/secret\0x");
    w.ok(TOOLS, Op::Write, 0, "/local/domain/2/secret\0x");
    assert_eq!(w.fired(), Vec::<String>::new());
    w.ok(TOOLS, Op::SetPerms, 0, "/local/domain/2/secret\0n2\0r1\0");
    assert_eq!(w.fired(), ["/local/domain/2/secret"]);
    w.ok(TOOLS, Op::SetPerms, 0, "/local/domain/2/secret\0n2\0");
    assert_eq!(
        w.fired(),
        ["/local/domain/2/secret"],
        "losing the right is heard once"
    );
    w.ok(TOOLS, Op::Write, 0, "/local/domain/2/secret\0y");
    assert_eq!(w.fired(), Vec::<String>::new());
}

#[test]
fn errors_do_not_tell_guests_what_exists() {
    let mut w = World::new();
    w.ok(TOOLS, Op::Write, 0, "/tool/secret\0x");
    for path in ["/tool/secret", "/tool/none", "/none"] {
        assert_eq!(
            w.ask(GUEST, Op::Read, 0, &format!("{path}\0")),
            Err(Errno::EACCES)
        );
        assert_eq!(
            w.ask(GUEST, Op::Write, 0, &format!("{path}\0x")),
            Err(Errno::EACCES)
        );
        assert_eq!(
            w.ask(GUEST, Op::Rm, 0, &format!("{path}\0")),
            Err(Errno::EACCES)
        );
    }
    assert_eq!(w.ask(GUEST, Op::Read, 0, "none\0"), Err(Errno::ENOENT));
}

#[test]
fn guests_can_neither_give_nodes_away_nor_take_them() {
    let mut w = World::new();
    w.ok(GUEST, Op::Write, 0, "x\0");
    assert_eq!(w.ask(GUEST, Op::SetPerms, 0, "x\0n2\0"), Err(Errno::EPERM));
    w.ok(GUEST, Op::SetPerms, 0, "x\0b1\0");
    assert_eq!(
        w.ask(2, Op::SetPerms, 0, "/local/domain/1/x\0n2\0"),
        Err(Errno::EACCES),
        "writing is not owning"
    );
    w.ok(2, Op::Write, 0, "/local/domain/1/x\0written");
    let crowd = format!("x\0n1\0{}", "r2\0".repeat(5));
    assert_eq!(w.ask(GUEST, Op::SetPerms, 0, &crowd), Err(Errno::ENOSPC));
    w.ok(TOOLS, Op::SetPerms, 0, "/local/domain/1/x\0n2\0");
}

#[test]
fn a_target_lets_a_domain_act_for_another() {
    let mut w = World::new();
    w.ok(2, Op::Write, 0, "x\0secret");
    assert_eq!(
        w.ask(GUEST, Op::Read, 0, "/local/domain/2/x\0"),
        Err(Errno::EACCES)
    );
    w.ok(TOOLS, Op::SetTarget, 0, "1\x002\0");
    assert_eq!(w.ok(GUEST, Op::Read, 0, "/local/domain/2/x\0"), b"secret");
    w.ok(GUEST, Op::SetPerms, 0, "/local/domain/2/x\0n2\0");
    assert_eq!(
        w.ask(TOOLS, Op::SetTarget, 0, "1\x0077\0"),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        w.ask(GUEST, Op::SetTarget, 0, "1\x002\0"),
        Err(Errno::EACCES)
    );
}

#[test]
fn the_quota_counts_owned_nodes() {
    let mut w = World::new();
    w.engine.limits_mut().nodes = 10;
    // The home is one.
    for n in 0..9 {
        w.ok(GUEST, Op::Mkdir, 0, &format!("n{n}\0"));
    }
    assert_eq!(w.ask(GUEST, Op::Mkdir, 0, "more\0"), Err(Errno::ENOSPC));
    w.ok(GUEST, Op::Write, 0, "n0\0still writable");
    w.ok(GUEST, Op::Rm, 0, "n0\0");
    assert_eq!(
        w.ask(GUEST, Op::Mkdir, 0, "a/b\0"),
        Err(Errno::ENOSPC),
        "two at once"
    );
    w.ok(GUEST, Op::Mkdir, 0, "more\0");
    let t = w.start(GUEST);
    w.ok(GUEST, Op::Rm, t, "more\0");
    w.ok(GUEST, Op::Mkdir, t, "other\0");
    w.ok(GUEST, Op::TransactionEnd, t, "T\0");
    assert_eq!(w.engine.nr_owned(1), 10);
    let long = "x".repeat(2049);
    assert_eq!(
        w.ask(GUEST, Op::Write, 0, &format!("other\0{long}")),
        Err(Errno::ENOSPC)
    );
    w.ok(TOOLS, Op::Write, 0, &format!("/local/domain/1/big\0{long}"));
}

#[test]
fn a_transaction_may_not_grow_without_end() {
    let mut w = World::new();
    let t = w.start(GUEST);
    let outcome = (0..5000).find_map(|n| w.ask(GUEST, Op::Write, t, &format!("x\0{n}")).err());
    assert_eq!(outcome, Some(Errno::ENOSPC));
}

/// A long path made and removed again costs many times what the requests' bytes are.
#[test]
fn what_a_transaction_keeps_is_bounded_whatever_its_steps() {
    let mut w = World::new();
    let deep = "d/".repeat(100) + "e";
    let round = |w: &mut World, t: u32| {
        let made = w.ask(GUEST, Op::Write, t, &format!("{deep}\0v"));
        made.and(w.ask(GUEST, Op::Rm, t, "d\0"))
    };
    let t = w.start(GUEST);
    let refused = (0..600).find_map(|_| round(&mut w, t).err());
    assert_eq!(refused, Some(Errno::ENOSPC));
    let held = w.engine.bytes_of(1);
    assert!((200_000..400_000).contains(&held), "{held}");

    // One that cannot commit any more may go on, and keeps nothing.
    for n in 0..21_000 {
        w.ok(TOOLS, Op::Write, 0, &format!("/x\0{n}"));
    }
    for _ in 0..60 {
        round(&mut w, t).unwrap();
    }
    let held = w.engine.bytes_of(1);
    assert!(held < 10_000, "{held}");
}

#[test]
fn an_old_transaction_of_a_guest_is_given_up() {
    let mut w = World::new();
    let t = w.start(GUEST);
    for n in 0..21_000 {
        w.ok(TOOLS, Op::Write, 0, &format!("/x\0{n}"));
    }
    w.ok(GUEST, Op::Write, t, "x\x001");
    assert_eq!(
        w.ask(GUEST, Op::TransactionEnd, t, "T\0"),
        Err(Errno::EAGAIN)
    );
}

#[test]
fn malformed_requests_are_refused() {
    let mut w = World::new();
    for (op, payload) in [
        (Op::Read, ""),
        (Op::Read, "/a"),
        (Op::Read, "@introduceDomain\0"),
        (Op::Write, "/a"),
        (Op::Write, "/a//b\0x"),
        (Op::Rm, "/\0"),
        (Op::SetPerms, "/\0"),
        (Op::SetPerms, "/\0x0\0"),
        (Op::SetPerms, "@other\0n0\0"),
        (Op::Watch, "/a\0"),
        (Op::Watch, "/a\0t\0-1\0"),
        (Op::Watch, "@other\0t\0"),
        (Op::Watch, "/a\0t\x001\x002\0"),
        (Op::Unwatch, "/a\0"),
        (Op::TransactionEnd, "X\0"),
        (Op::GetDomainPath, "x\0"),
        (Op::DirectoryPart, "/\0"),
        (Op::DirectoryPart, "/\0-1\0"),
        (Op::Introduce, "0\x001\x001\0"),
        (Op::Introduce, "32752\x001\x001\0"),
        (Op::Introduce, "1\x001\0"),
    ] {
        assert_eq!(
            w.ask(TOOLS, op, 0, payload),
            Err(Errno::EINVAL),
            "{op:?} {payload:?}"
        );
    }
    for op in [Op::WatchEvent, Op::Error] {
        assert_eq!(w.ask(TOOLS, op, 0, "\0"), Err(Errno::ENOSYS));
    }
    assert_eq!(w.ask(TOOLS, Op::Unwatch, 0, "/a\0t\0"), Err(Errno::ENOENT));
    assert_eq!(w.ask(TOOLS, Op::Rm, 0, "/no/parent\0"), Err(Errno::ENOENT));
    w.ok(TOOLS, Op::Rm, 0, "/none\0");
    w.ok(TOOLS, Op::Watch, 0, "/a\0t\0");
    assert_eq!(w.ask(TOOLS, Op::Watch, 0, "/a\0t\0"), Err(Errno::EEXIST));
}

#[test]
fn special_watches_can_be_opened_to_guests() {
    let mut w = World::new();
    w.ok(GUEST, Op::Watch, 0, "@releaseDomain\0t\0");
    w.fired();
    w.engine.domain_shut_down(2);
    assert_eq!(w.fired(), Vec::<String>::new());
    assert_eq!(
        w.ask(GUEST, Op::SetPerms, 0, "@releaseDomain\0r1\0"),
        Err(Errno::EACCES)
    );
    w.ok(TOOLS, Op::SetPerms, 0, "@releaseDomain\0n0\0r1\0");
    assert_eq!(
        w.ok(TOOLS, Op::GetPerms, 0, "@releaseDomain\0"),
        b"n0\0r1\0"
    );
    w.ok(TOOLS, Op::Resume, 0, "2\0");
    w.engine.domain_shut_down(2);
    assert_eq!(w.fired(), ["@releaseDomain"]);
}

#[test]
fn the_deepest_path_is_made_listed_and_removed() {
    let mut w = World::new();
    let path = "/x".repeat(crate::wire::ABS_PATH_MAX / 2);
    w.ok(TOOLS, Op::Write, 0, &format!("{path}\0deep"));
    assert_eq!(w.ok(TOOLS, Op::Read, 0, &format!("{path}\0")), b"deep");
    assert!(w.snapshot().len() > crate::wire::ABS_PATH_MAX / 2);
    w.ok(TOOLS, Op::Rm, 0, "/x\0");
    assert!(w.engine.check().is_ok());
}

#[test]
fn a_dead_domain_loses_nodes_entries_and_targets() {
    let mut w = World::new();
    w.ok(GUEST, Op::Write, 0, "x\0");
    w.ok(TOOLS, Op::Write, 0, "/backend/1\0");
    w.ok(TOOLS, Op::SetPerms, 0, "/backend/1\0n0\0r1\0r2\0");
    w.ok(TOOLS, Op::SetTarget, 0, "2\x001\0");
    w.engine.domain_gone(1);
    assert_eq!(
        w.ask(TOOLS, Op::Read, 0, "/local/domain/1\0"),
        Err(Errno::ENOENT)
    );
    assert_eq!(w.ok(TOOLS, Op::GetPerms, 0, "/backend/1\0"), b"n0\0r2\0");
    assert_eq!(w.ok(TOOLS, Op::IsDomainIntroduced, 0, "1\0"), b"F\0");
    assert_eq!(w.engine.nr_owned(1), 0);
    assert!(w.engine.check().is_ok());
}

/// The obvious store: a map of paths. Domain 0 only, so no permissions.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<String, String>);

#[derive(Clone, Debug)]
enum Act {
    Read(usize),
    List(usize),
    Write(usize, u8),
    Mkdir(usize),
    Rm(usize),
}

/// A transaction: its number, and what was asked and answered in it.
type Open = (u32, Vec<(Act, Result<Vec<u8>, Errno>)>);

/// A few paths that lie in each other, so that acts meet.
const PATHS: [&str; 7] = ["/p", "/p/a", "/p/a/x", "/p/a/y", "/p/b", "/p/b/x", "/p/c"];

impl Model {
    fn run(&mut self, act: &Act) -> Result<Vec<u8>, Errno> {
        let done = Ok(b"OK\0".to_vec());
        match act {
            Act::Read(p) => self
                .0
                .get(PATHS[*p])
                .map(|v| v.clone().into_bytes())
                .ok_or(Errno::ENOENT),
            Act::List(p) => {
                let path = PATHS[*p];
                let prefix = format!("{path}/");
                let below = self
                    .0
                    .keys()
                    .filter_map(|k| k.strip_prefix(&prefix))
                    .filter(|n| !n.contains('/'));
                let names = below
                    .map(|n| format!("{n}\0"))
                    .collect::<String>()
                    .into_bytes();
                self.0.get(path).map(|_| names).ok_or(Errno::ENOENT)
            }
            Act::Write(p, value) => {
                self.make(PATHS[*p]);
                self.0.insert(PATHS[*p].to_owned(), value.to_string());
                done
            }
            Act::Mkdir(p) => {
                self.make(PATHS[*p]);
                done
            }
            Act::Rm(p) => {
                let path = PATHS[*p];
                let parent = crate::path::parent(path);
                if parent != "/" && !self.0.contains_key(parent) {
                    return Err(Errno::ENOENT);
                }
                self.0
                    .retain(|k, _| crate::path::depth_below(k, path).is_none());
                done
            }
        }
    }

    fn make(&mut self, path: &str) {
        let mut path = path;
        while path != "/" {
            self.0.entry(path.to_owned()).or_default();
            path = crate::path::parent(path);
        }
    }
}

impl Act {
    fn request(&self) -> (Op, String) {
        match self {
            Act::Read(p) => (Op::Read, format!("{}\0", PATHS[*p])),
            Act::List(p) => (Op::Directory, format!("{}\0", PATHS[*p])),
            Act::Write(p, value) => (Op::Write, format!("{}\0{value}", PATHS[*p])),
            Act::Mkdir(p) => (Op::Mkdir, format!("{}\0", PATHS[*p])),
            Act::Rm(p) => (Op::Rm, format!("{}\0", PATHS[*p])),
        }
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        path.clone().prop_map(Act::Read),
        path.clone().prop_map(Act::List),
        (path.clone(), 0u8..3).prop_map(|(p, v)| Act::Write(p, v)),
        path.clone().prop_map(Act::Mkdir),
        path.prop_map(Act::Rm),
    ]
}

proptest! {
    /// Three clients mix single requests and transactions; lane 0 works outside of any. A commit succeeds exactly if
    /// the model, run through the transaction's acts at that moment, gives the replies that were seen.
    #[test]
    fn commits_succeed_exactly_when_nobody_could_tell(
        script in prop::collection::vec((0usize..3, acts(), any::<prop::sample::Index>()), 1..80),
    ) {
        let mut w = World::new();
        let mut model = Model::default();
        let mut open: [Option<Open>; 3] = [None, None, None];
        for (lane, act, dice) in script {
            let (op, payload) = act.request();
            if lane == 0 {
                prop_assert_eq!(w.ask(TOOLS, op, 0, &payload), model.run(&act));
                continue;
            }
            let (tx_id, log) = open[lane].get_or_insert_with(|| (w.start(TOOLS), Vec::new()));
            let reply = w.ask(TOOLS, op, *tx_id, &payload);
            log.push((act, reply));
            if dice.index(4) == 0 {
                let mut after = model.clone();
                let same = log.iter().all(|(act, reply)| after.run(act) == *reply);
                let result = w.ask(TOOLS, Op::TransactionEnd, *tx_id, "T\0");
                prop_assert_eq!(result, if same { Ok(b"OK\0".to_vec()) } else { Err(Errno::EAGAIN) });
                if same {
                    model = after;
                }
                open[lane] = None;
            }
        }
        prop_assert!(w.engine.check().is_ok());
    }

    /// The changes that were recorded, played to an empty store, make the same store; so does a snapshot.
    #[test]
    fn recorded_changes_and_snapshots_restore_the_store(
        script in prop::collection::vec((0usize..3, acts(), any::<bool>(), 0u8..12), 1..60),
    ) {
        let mut w = World::new();
        let mut journal = w.snapshot();
        w.engine.keep_changes();
        for (who, act, inside, extra) in script {
            let tx_id = if inside { w.ask(who, Op::TransactionStart, 0, "\0").map_or(0, |id| {
                String::from_utf8(id).unwrap().trim_end_matches('\0').parse().unwrap()
            }) } else { 0 };
            let (op, payload) = act.request();
            // Guests work in their own home.
            let payload = if who == TOOLS { payload } else { payload.replacen("/p", "p", 1) };
            let _ = w.ask(who, op, tx_id, &payload);
            if tx_id != 0 && extra != 0 {
                let _ = w.ask(who, Op::TransactionEnd, tx_id, "T\0");
            }
            match extra {
                1 => drop(w.ask(who, Op::Watch, 0, &format!("{}\0t\0", PATHS[1]))),
                2 => drop(w.ask(who, Op::Unwatch, 0, &format!("{}\0t\0", PATHS[1]))),
                3 => drop(w.ask(who, Op::ResetWatches, 0, "\0")),
                4 => drop(w.ask(TOOLS, Op::SetTarget, 0, "1\x002\0")),
                5 => drop(w.ask(who, Op::SetPerms, 0, &format!("{}\0b{who}\0", payload.split('\0').next().unwrap()))),
                6 => w.engine.domain_shut_down(1),
                7 => drop(w.ask(TOOLS, Op::SetPerms, 0, "@releaseDomain\0n0\0r1\0")),
                _ => {}
            }
            journal.extend(w.engine.take_changes());
        }
        if journal.len().is_multiple_of(5) {
            w.engine.domain_gone(2);
            journal.extend(w.engine.take_changes());
        }
        let expected = w.snapshot();
        for source in [journal, expected.clone()] {
            let mut engine = Engine::empty();
            source.into_iter().for_each(|change| engine.restore(change));
            prop_assert!(engine.check().is_ok());
            let mut again = Vec::new();
            engine.snapshot(&mut |change| again.push(change));
            let key = |c: &Change| format!("{c:?}");
            let (mut a, mut b) = (again, expected.clone());
            a.sort_by_key(key);
            b.sort_by_key(key);
            prop_assert_eq!(a, b);
        }
    }
}
