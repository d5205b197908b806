//! Hostile bytes: the seeds of `corpus/`, and mutations of them, through a guest's ring into a whole daemon.

use proptest::prelude::*;

use crate::daemon::server::tests::World;
use crate::daemon::testing::FakeHost;
use crate::wire::{Op, Packet};

/// More than a guest within its quotas can make the daemon keep: 128 watches and 10 transactions of 256 KiB, and queues.
const HELD_MAX: usize = 4 << 20;

/// The bytes that a seed file describes, message by message.
fn parse(text: &str) -> Vec<Vec<u8>> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .enumerate()
        .map(|(index, line)| message(index, line).unwrap_or_else(|| panic!("corpus: {line:?}")))
        .collect()
}

fn message(index: usize, line: &str) -> Option<Vec<u8>> {
    if let Some(hex) = line.strip_prefix("raw ") {
        let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    let mut fields = line.splitn(3, ' ');
    let (kind, tx_id) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let payload = fields.next()?.replace("\\0", "\0").into_bytes();
    Some(
        Packet {
            kind,
            req_id: index as u32,
            tx_id,
            payload,
        }
        .encode(),
    )
}

fn seeds() -> Vec<Vec<Vec<u8>>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|e| e == "txt"));
    let seeds: Vec<_> = texts
        .map(|path| parse(&std::fs::read_to_string(path).unwrap()))
        .collect();
    assert!(seeds.len() >= 4);
    seeds
}

/// Feeds bytes to a daemon from a guest that reads now and then; another guest must be served before and after a kill.
fn feed(bytes: &[u8], piece: usize, read: usize) {
    let host = FakeHost::default();
    let (bad, mut good) = (host.guest(7), host.guest(8));
    let mut world = World::new(&host);
    world.introduce(7);
    world.introduce(8);
    let mut rest = bytes;
    for turn in 0..200 {
        let len = bad.put(&rest[..rest.len().min(piece)]);
        rest = &rest[len..];
        world.round();
        assert!(world.held(7) < HELD_MAX, "{}", world.held(7));
        if turn % 3 == 0 {
            bad.discard(read);
        }
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(
        world.ask(&mut good, Op::Write, 0, b"data/a\0b").payload,
        b"OK\0"
    );
    world.kill();
    assert_eq!(world.ask(&mut good, Op::Read, 0, b"data/a\0").payload, b"b");
    assert_eq!(world.server().engine.check(), Ok(()));
    assert!(world.server().engine.nr_owned(7) <= world.server().engine.limits().nodes);
}

#[test]
fn every_seed_is_survived() {
    for seed in seeds() {
        feed(&seed.concat(), 1024, 4096);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn mutated_seeds_are_survived(
        pick in any::<prop::sample::Index>(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        piece in 1usize..600,
        read in 0usize..2000,
    ) {
        let mut seeds = seeds();
        let seed = seeds.swap_remove(pick.index(seeds.len()));
        let mut bytes: Vec<u8> = order.iter().flat_map(|index| index.get(&seed).clone()).collect();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        feed(&bytes, piece, read);
    }
}
