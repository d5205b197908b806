//! A kill in the middle of writing the state file, at each of its bytes: what was asked took place, or it did not.

use std::fs;

use super::server::tests::World;
use super::testing::{FakeHost, Guest};
use crate::store::Change;
use crate::wire::{Op, Packet};

/// Two guests with watches; the first has a transaction open.
struct Scene {
    world: World,
    first: Guest,
    second: Guest,
}

impl Scene {
    fn new() -> Scene {
        let host = FakeHost::default();
        let (mut first, mut second) = (host.guest(7), host.guest(8));
        let mut world = World::new(&host);
        world.introduce(7);
        world.introduce(8);
        for guest in [&mut first, &mut second] {
            world.ask(guest, Op::Write, 0, b"data/a/b\0old");
            world.ask(guest, Op::Watch, 0, b"data\0t\0");
        }
        world.ask(&mut first, Op::TransactionStart, 0, b"\0");
        for value in ["data/x\0new", "data/y\0new", "data/a/b\0new"] {
            world.ask(&mut first, Op::Write, 1, value.as_bytes());
        }
        for guest in [&mut first, &mut second] {
            while guest.next().is_some() {}
        }
        world.round();
        Scene {
            world,
            first,
            second,
        }
    }

    /// All that the store would tell a daemon after it, but for transactions, which end with a daemon.
    fn store(&mut self) -> Vec<Change> {
        let mut all = Vec::new();
        self.world.server().engine.snapshot(&mut |c| all.push(c));
        all.retain(|c| {
            !matches!(
                c,
                Change::TransactionStart { .. } | Change::TransactionEnd { .. }
            )
        });
        all
    }

    fn pages(&self) -> [[u8; 4096]; 2] {
        [&self.first, &self.second].map(|guest| {
            let mut page = [0; 4096];
            guest.page.read(0, &mut page);
            page
        })
    }
}

/// Sends requests, both guests' in one round, and cuts the file at each byte that the round wrote; returns how many those
/// were. However it was cut, the store is as before or as after, and every request gets its one reply, from which daemon
/// ever; then the store is as after, unless a transaction that the kill ended is to be run again.
fn tear(first: &[(Op, u32, &[u8])], second: &[(Op, u32, &[u8])]) -> usize {
    let mut scene = Scene::new();
    let mut awaited = Vec::new();
    for (guest, requests) in [(&mut scene.first, first), (&mut scene.second, second)] {
        let mut all = Vec::new();
        for (op, tx_id, payload) in requests {
            let request = guest.request(*op, *tx_id, payload);
            all.extend(request.encode());
            awaited.push((guest.domid, request.req_id));
        }
        assert_eq!(guest.put(&all), all.len());
    }
    let pages = scene.pages();
    let state = scene.world.state_file();
    let old = fs::read(&state).unwrap().len();
    let before = scene.store();
    scene.world.round_without_flush();
    let after = scene.store();
    assert_ne!(before, after, "the requests change something");
    assert_eq!(pages, scene.pages(), "nothing shows before the flush");
    let bytes = fs::read(&state).unwrap();

    for cut in old..=bytes.len() {
        let (one, other) = (&scene.first, &scene.second);
        scene.world.kill_after(|| {
            one.page.write(0, &pages[0]);
            other.page.write(0, &pages[1]);
            fs::write(&state, &bytes[..cut]).unwrap();
        });
        let whole = cut == bytes.len();
        let expected = if whole { &after } else { &before };
        assert_eq!(&scene.store(), expected, "cut at {cut} of {}", bytes.len());

        scene.first.kick();
        scene.second.kick();
        let mut replies: Vec<(u16, Packet)> = Vec::new();
        for _ in 0..20 {
            scene.world.round();
            for guest in [&mut scene.first, &mut scene.second] {
                while let Some(packet) = guest.next() {
                    if packet.kind != Op::WatchEvent.number() {
                        replies.push((guest.domid, packet));
                    }
                }
            }
        }
        let mut answered: Vec<_> = replies.iter().map(|(d, p)| (*d, p.req_id)).collect();
        answered.sort_unstable();
        assert_eq!(answered, awaited, "cut at {cut}");
        let again = replies.iter().any(|(_, p)| p.payload == b"EAGAIN\0");
        let ends_one = first.iter().any(|(op, ..)| *op == Op::TransactionEnd);
        assert_eq!(again, ends_one && !whole, "cut at {cut}");
        let expected = if again { &before } else { &after };
        assert_eq!(&scene.store(), expected, "in the end, cut at {cut}");
    }
    bytes.len() - old
}

#[test]
fn a_torn_commit_of_a_transaction_leaves_all_of_it_or_nothing() {
    let written = tear(&[(Op::TransactionEnd, 1, b"T\0")], &[]);
    assert!(written > 100, "three nodes, the reply, events: {written}");
}

#[test]
fn a_torn_round_of_single_requests_is_run_again_as_a_whole() {
    let written = tear(
        &[
            (Op::Write, 0, b"data/n\0one"),
            (Op::Rm, 0, b"data/a\0"),
            (Op::SetPerms, 0, b"data\0n7\0r8\0"),
            (Op::Unwatch, 0, b"data\0t\0"),
        ],
        &[
            (Op::Mkdir, 0, b"data/d/e\0"),
            (Op::Watch, 0, b"data/a\0u\0"),
        ],
    );
    assert!(written > 200, "{written}");
}

#[test]
fn a_torn_snapshot_beside_the_file_is_not_taken_for_it() {
    let mut scene = Scene::new();
    let state = scene.world.state_file();
    let beside = state.with_extension("new");
    let before = scene.store();
    let old = fs::read(&state).unwrap();
    scene.world.server().rewrite().unwrap();
    let new = fs::read(&state).unwrap();
    assert_ne!(old, new);
    // The states of the folder while it is rewritten, in order: the new file grows, then it takes the old one's place.
    let growing = (0..=new.len()).map(|len| (&old, Some(&new[..len])));
    for (held, part) in growing.chain([(&new, None)]) {
        scene.world.kill_after(|| {
            fs::write(&state, held).unwrap();
            match part {
                Some(part) => fs::write(&beside, part).unwrap(),
                None => assert!(!beside.exists()),
            }
        });
        assert_eq!(scene.store(), before, "{:?}", part.map(<[u8]>::len));
        assert!(!beside.exists(), "the next daemon uses it up");
    }
}
