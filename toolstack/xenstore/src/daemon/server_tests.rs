use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::daemon::output::MAX_EVENTS;
use crate::daemon::platform::Fate;
use crate::daemon::testing::{FakeHost, Guest, TempDir};
use crate::wire::Errno;

/// A daemon on a fake host that can be killed and started again.
pub struct World {
    dir: TempDir,
    host: FakeHost,
    server: Option<Server<FakeHost>>,
}

impl World {
    pub fn new(host: &FakeHost) -> World {
        let mut world = World {
            dir: TempDir::new(),
            host: host.clone(),
            server: None,
        };
        world.start();
        world
    }

    /// The journal's file.
    pub fn state_file(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn start(&mut self) {
        let socket = self.dir.path().join("socket");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let (journal, loaded) = Journal::open(&self.state_file(), "boot").unwrap();
        let mut log = Log::default();
        log.to_file("/dev/null".as_ref()).unwrap();
        let server = Server::start(self.host.clone(), listener, journal, loaded, 1_000_000, log);
        self.server = Some(server.unwrap());
    }

    pub fn kill(&mut self) {
        self.kill_after(|| {});
    }

    /// Kills the daemon; the next one finds what `meanwhile` did to its files and pages.
    pub fn kill_after(&mut self, meanwhile: impl FnOnce()) {
        self.server = None;
        self.host.daemon_died();
        meanwhile();
        self.start();
    }

    /// Serves and saves, but is killed before anything shows.
    pub fn round_without_flush(&mut self) {
        self.server().serve_all();
        self.server().commit();
    }

    pub fn server(&mut self) -> &mut Server<FakeHost> {
        self.server.as_mut().unwrap()
    }

    /// Bytes that the daemon keeps for a domain beside its nodes, about.
    pub fn held(&mut self, domid: u16) -> usize {
        let server = self.server();
        let links = server.links.values().filter(|l| l.role.domid == domid);
        let waiting = links.map(|l| l.output.size() + l.decoder.partial().len());
        waiting.sum::<usize>() + server.engine.bytes_of(domid)
    }

    /// A round that waits for nothing.
    pub fn round(&mut self) {
        self.server().step(Some(Duration::ZERO)).unwrap();
    }

    pub fn introduce(&mut self, domid: u16) {
        let server = self.server();
        server
            .introduce(&Introduce {
                domid,
                mfn: 1,
                port: 1,
            })
            .unwrap();
        // As the builder does: the guest may write to its own home.
        let home = crate::path::home(domid);
        for (op, payload) in [
            (Op::Mkdir, format!("{home}\0")),
            (Op::SetPerms, format!("{home}\0n{domid}\0")),
        ] {
            let conn = server.engine.connect(Role::tools());
            server
                .engine
                .handle(conn, &Packet::new(op, 0, 0, payload.into_bytes()));
            server.engine.disconnect(conn);
        }
        self.round();
    }

    /// One request of a guest and its reply, skipping events.
    pub fn ask(&mut self, guest: &mut Guest, op: Op, tx_id: u32, payload: &[u8]) -> Packet {
        let request = guest.request(op, tx_id, payload);
        let bytes = request.encode();
        let mut sent = 0;
        for _ in 0..1000 {
            sent += guest.put(&bytes[sent..]);
            self.round();
            while let Some(packet) = guest.next() {
                if packet.kind != Op::WatchEvent.number() {
                    assert_eq!(packet.req_id, request.req_id);
                    return packet;
                }
            }
        }
        panic!("no reply to {op:?}");
    }
}

fn is_error(packet: &Packet, errno: Errno) -> bool {
    packet.kind == Op::Error.number() && packet.payload == format!("{errno}\0").into_bytes()
}

#[test]
fn a_guest_reads_and_writes_over_its_ring() {
    let host = FakeHost::default();
    let mut guest = host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    assert_eq!(guest.page.load_u32(2064), 7, "features are announced");
    assert_eq!(
        world
            .ask(&mut guest, Op::Write, 0, b"data/a\0value")
            .payload,
        b"OK\0"
    );
    assert_eq!(
        world.ask(&mut guest, Op::Read, 0, b"data/a\0").payload,
        b"value"
    );
    assert!(is_error(
        &world.ask(&mut guest, Op::Read, 0, b"/tool\0"),
        Errno::EACCES
    ));
    // Longer than the ring, both ways.
    let long = [b"data/long\0".to_vec(), vec![b'x'; 2000]].concat();
    assert_eq!(world.ask(&mut guest, Op::Write, 0, &long).payload, b"OK\0");
    assert_eq!(
        world
            .ask(&mut guest, Op::Read, 0, b"data/long\0")
            .payload
            .len(),
        2000
    );
    assert!(host.notified(7) > 0);
}

#[test]
fn a_request_that_comes_while_another_is_answered_is_heard_without_an_event() {
    let host = FakeHost::default();
    let mut world = World::new(&host);
    let mut guest = host.guest(1);
    world.introduce(1);
    for text in ["a", "b"] {
        let path = format!("/local/domain/1/data/{text}\0{text}");
        let request = guest.request(Op::Write, 0, path.as_bytes()).encode();
        guest.put(&request);
        if text == "a" {
            world.round_without_flush();
        }
    }
    let served = world.server().links.keys().copied().collect::<Vec<_>>();
    world.server().flush(&served);
    world.round();
    for nr in 1..=2 {
        let reply = guest.next().expect("an answer to each");
        assert_eq!((reply.kind, reply.req_id), (Op::Write.number(), nr));
    }
}

#[test]
fn watches_of_a_guest_outlive_the_daemon() {
    let host = FakeHost::default();
    let mut guest = host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    world.ask(&mut guest, Op::Watch, 0, b"data\0token\0");
    world.kill();
    world.ask(&mut guest, Op::Write, 0, b"data/x\0one");
    world.round();
    let mut events =
        std::iter::from_fn(|| guest.next()).filter(|p| p.kind == Op::WatchEvent.number());
    let expected = Packet::watch_event("data/x", b"token").unwrap();
    assert!(events.any(|e| e == expected));
    assert_eq!(host.open_ports(), 1);
}

#[test]
fn a_transaction_that_was_open_at_a_kill_is_to_be_run_again() {
    let host = FakeHost::default();
    let mut guest = host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    let start = world.ask(&mut guest, Op::TransactionStart, 0, b"\0");
    let tx_id = std::str::from_utf8(&start.payload[..start.payload.len() - 1])
        .unwrap()
        .parse()
        .unwrap();
    world.ask(&mut guest, Op::Write, tx_id, b"data/x\0one");
    world.kill();
    assert_eq!(
        world
            .ask(&mut guest, Op::Write, tx_id, b"data/y\0one")
            .payload,
        b"OK\0"
    );
    assert!(is_error(
        &world.ask(&mut guest, Op::TransactionEnd, tx_id, b"T\0"),
        Errno::EAGAIN
    ));
    assert!(is_error(
        &world.ask(&mut guest, Op::Read, 0, b"data/y\0"),
        Errno::ENOENT
    ));
    let again = world.ask(&mut guest, Op::TransactionStart, 0, b"\0");
    assert_ne!(
        again.payload, start.payload,
        "the old number is not given to a new transaction"
    );
}

#[test]
fn a_reply_cut_by_a_kill_is_completed() {
    let host = FakeHost::default();
    let mut guest = host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    let long = [b"data/long\0".to_vec(), vec![b'x'; 2000]].concat();
    world.ask(&mut guest, Op::Write, 0, &long);
    let request = guest.request(Op::Read, 0, b"data/long\0");
    guest.put(&request.encode());
    world.round();
    guest.take(100);
    world.kill();
    for _ in 0..10 {
        world.round();
        guest.take(usize::MAX);
    }
    assert_eq!(guest.next().unwrap().payload.len(), 2000);
    assert_eq!(guest.next(), None);
}

#[test]
fn an_impossible_index_costs_the_guest_its_ring_until_it_restarts_it() {
    let host = FakeHost::default();
    let (mut bad, mut good) = (host.guest(7), host.guest(8));
    let mut world = World::new(&host);
    world.introduce(7);
    world.introduce(8);
    world.ask(&mut bad, Op::Watch, 0, b"data\0t\0");
    bad.page
        .store_u32(2052, bad.page.load_u32(2048).wrapping_add(1025));
    bad.kick();
    world.round();
    assert_eq!(bad.page.load_u32(2072), 2, "the page says why");
    assert_eq!(
        world.ask(&mut good, Op::Write, 0, b"data/a\0b").payload,
        b"OK\0"
    );
    // The reconnection of docs/misc/xenstore-ring.txt.
    bad.page.store_u32(2068, 1);
    bad.kick();
    world.round();
    bad.forget();
    assert_eq!((bad.page.load_u32(2068), bad.page.load_u32(2072)), (0, 0));
    assert_eq!(
        world.ask(&mut bad, Op::Write, 0, b"data/a\0b").payload,
        b"OK\0"
    );
    assert_eq!(bad.next(), None, "the watch is gone");
}

#[test]
fn an_oversized_message_costs_the_guest_its_ring() {
    let host = FakeHost::default();
    let guest = host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    let mut bytes = vec![0; 12];
    bytes.extend_from_slice(&5000u32.to_le_bytes());
    guest.put(&bytes);
    world.round();
    assert_eq!(guest.page.load_u32(2072), 3);
}

#[test]
fn a_guest_that_does_not_read_is_not_served_and_bounded() {
    let host = FakeHost::default();
    let (mut deaf, mut busy) = (host.guest(7), host.guest(8));
    let mut world = World::new(&host);
    world.introduce(7);
    world.introduce(8);
    world.ask(&mut deaf, Op::Watch, 0, b"/local/domain/8\0t\0");
    world.ask(&mut busy, Op::SetPerms, 0, b"/local/domain/8\0r8\0");
    for n in 0..1500 {
        world.ask(&mut busy, Op::Mkdir, 0, format!("n{n}\0").as_bytes());
        world.ask(&mut busy, Op::Rm, 0, format!("n{n}\0").as_bytes());
    }
    let request = deaf.request(Op::Read, 0, b"/local/domain/8\0").encode();
    for _ in 0..5000 {
        deaf.put(&request);
        world.round();
    }
    let server = world.server();
    let outstanding = server.engine.limits().outstanding;
    for link in server.links.values() {
        assert!(link.output.events().count() <= MAX_EVENTS + 1);
        assert!(link.output.nr_bytes() <= outstanding + 5000);
    }
    // Once it reads, it gets everything, and is served again.
    for _ in 0..2000 {
        while deaf.next().is_some() {}
        world.round();
    }
    assert!(
        deaf.page.load_u32(2052) == deaf.page.load_u32(2048),
        "all requests were taken in the end"
    );
}

#[test]
fn quotas_hold_a_guest_back() {
    let host = FakeHost::default();
    let mut guest = host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    for n in 0..128 {
        assert_eq!(
            world
                .ask(&mut guest, Op::Watch, 0, format!("w{n}\0t\0").as_bytes())
                .payload,
            b"OK\0"
        );
    }
    assert!(is_error(
        &world.ask(&mut guest, Op::Watch, 0, b"more\0t\0"),
        Errno::ENOSPC
    ));
    for _ in 0..10 {
        assert_ne!(
            world.ask(&mut guest, Op::TransactionStart, 0, b"\0").kind,
            Op::Error.number()
        );
    }
    assert!(is_error(
        &world.ask(&mut guest, Op::TransactionStart, 0, b"\0"),
        Errno::ENOSPC
    ));
    world.kill();
    assert!(
        is_error(
            &world.ask(&mut guest, Op::Watch, 0, b"more\0t\0"),
            Errno::ENOSPC
        ),
        "quotas outlive the daemon"
    );
    world.ask(&mut guest, Op::ResetWatches, 0, b"\0");
    assert_eq!(
        world.ask(&mut guest, Op::Watch, 0, b"more\0t\0").payload,
        b"OK\0"
    );
}

#[test]
fn quotas_that_were_set_stay_set() {
    let host = FakeHost::default();
    let mut kernel = host.guest(0);
    let mut world = World::new(&host);
    let set = world.ask(&mut kernel, Op::Control, 0, b"quota\0set\0nodes\x007\0");
    assert_eq!(set.payload, b"OK\0");
    let none = world.ask(&mut kernel, Op::Control, 0, b"quota\0set\0nonsense\x007\0");
    assert!(is_error(&none, Errno::EINVAL));
    for _ in 0..2 {
        world.kill();
        assert_eq!(world.server().engine.limits().nodes, 7);
    }
}

#[test]
fn a_dead_domain_is_cleaned_up_and_announced() {
    let host = FakeHost::default();
    let mut kernel = host.guest(0);
    let mut guest = host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    world.ask(&mut guest, Op::Write, 0, b"data/a\0one");
    world.ask(&mut kernel, Op::Watch, 0, b"@releaseDomain\0t\0");
    while kernel.next().is_some() {}
    let released = Packet::watch_event("@releaseDomain", b"t").unwrap();
    host.set_fate(7, Fate::ShutDown);
    world.round();
    assert_eq!(kernel.next(), Some(released.clone()));
    host.set_fate(7, Fate::ShutDown);
    world.round();
    assert_eq!(kernel.next(), None, "once until it is resumed");
    assert_eq!(
        world.ask(&mut guest, Op::Read, 0, b"data/a\0").payload,
        b"one"
    );
    host.set_fate(7, Fate::Gone);
    world.round();
    assert_eq!(kernel.next(), Some(released));
    assert!(is_error(
        &world.ask(&mut kernel, Op::Read, 0, b"/local/domain/7\0"),
        Errno::ENOENT
    ));
    assert_eq!(
        world
            .ask(&mut kernel, Op::IsDomainIntroduced, 0, b"7\0")
            .payload,
        b"F\0"
    );
    assert_eq!(host.open_ports(), 1, "only domain 0's ring stays");
}

/// What a daemon keeps: counts and bytes of nodes, watches, transactions, queues, rings, ports.
fn kept(world: &mut World) -> (String, Vec<usize>) {
    world.round();
    let held = [0, 7].map(|domid| world.held(domid));
    let server = world.server();
    let mut counts = vec![
        server.links.len(),
        server.places.len(),
        server.ports.len(),
        server.engine.domains().count(),
    ];
    counts.extend(held);
    (server.engine.report(), counts)
}

#[test]
fn two_hundred_domains_leave_nothing_behind() {
    let host = FakeHost::default();
    let mut kernel = host.guest(0);
    let mut world = World::new(&host);
    world.ask(&mut kernel, Op::Watch, 0, b"@releaseDomain\0t\0");
    while kernel.next().is_some() {}
    let before = kept(&mut world);
    // As a toolstack and a backend do it, with a guest that leaves all it can behind; every tenth time the daemon dies.
    for domid in 1..=200 {
        let mut guest = host.guest(domid);
        world.introduce(domid);
        let backend = format!("/local/domain/0/backend/vbd/{domid}/51712");
        let states = [
            format!("{backend}/state\x002"),
            format!("{backend}/state\x004"),
        ];
        let watch = format!("{backend}\0b\0");
        world.ask(&mut kernel, Op::Watch, 0, watch.as_bytes());
        for state in &states {
            world.ask(&mut kernel, Op::Write, 0, state.as_bytes());
        }
        world.ask(&mut guest, Op::Write, 0, b"data/a\0b");
        world.ask(&mut guest, Op::Watch, 0, b"data\0t\0");
        world.ask(&mut guest, Op::TransactionStart, 0, b"\0");
        world.ask(&mut guest, Op::Write, 1, b"data/t\0never");
        for n in 0..20 {
            world.ask(&mut guest, Op::Write, 0, format!("data/a\0{n}").as_bytes());
        }
        // Answers and events that it never takes, and half a message.
        let last = guest.request(Op::Directory, 0, b"data\0").encode();
        guest.put(&[&last[..], &last[..9]].concat());
        world.round();
        assert!(world.held(domid) > 0);
        if domid % 10 == 0 {
            world.kill();
        }
        host.set_fate(domid, Fate::Gone);
        world.round();
        world.ask(&mut kernel, Op::Unwatch, 0, watch.as_bytes());
        world.ask(&mut kernel, Op::Rm, 0, b"/local/domain/0/backend\0");
        while kernel.next().is_some() {}
        let after = kept(&mut world);
        let unnamed = |report: &str| report.replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(after.1, before.1, "after domain {domid}");
        // Connections are numbered on; their lines and all else are as before.
        assert_eq!(unnamed(&after.0), unnamed(&before.0));
    }
    assert!(world.server().journal.file_bytes() < 3 << 20);
    let before = world.server().journal.file_bytes();
    world.kill();
    assert!(world.server().journal.file_bytes() <= before);
    assert_eq!(host.open_ports(), 1);
}

/// The most that a guest can make the daemon keep at once: every watch hears of every node of a large transaction.
#[test]
fn what_a_guest_makes_fire_is_kept_in_bounds() {
    let host = FakeHost::default();
    let (mut bad, mut good) = (host.guest(7), host.guest(8));
    let mut world = World::new(&host);
    world.introduce(7);
    world.introduce(8);
    let token = "t".repeat(3000);
    for n in 0..128 {
        world.ask(
            &mut bad,
            Op::Watch,
            0,
            format!("data\0{n}{token}\0").as_bytes(),
        );
    }
    world.ask(&mut bad, Op::TransactionStart, 0, b"\0");
    for n in 0..300 {
        let reply = world.ask(&mut bad, Op::Write, 1, format!("data/{n}\0").as_bytes());
        assert_eq!(reply.payload, b"OK\0");
    }
    let end = bad.request(Op::TransactionEnd, 1, b"T\0").encode();
    bad.put(&end);
    world.round();
    let held = world.held(7);
    // Its watches, and about one event for each.
    assert!((500_000..2_000_000).contains(&held), "{held}");
    assert_eq!(
        world.ask(&mut good, Op::Write, 0, b"data/a\0b").payload,
        b"OK\0"
    );
}

#[test]
fn a_domain_that_died_with_the_daemon_is_found_at_the_start() {
    let host = FakeHost::default();
    let mut kernel = host.guest(0);
    host.guest(7);
    let mut world = World::new(&host);
    world.introduce(7);
    world.ask(&mut kernel, Op::Watch, 0, b"@releaseDomain\0t\0");
    while kernel.next().is_some() {}
    host.set_fate(7, Fate::Gone);
    world.kill();
    world.round();
    assert_eq!(kernel.next(), Packet::watch_event("@releaseDomain", b"t"));
    assert_eq!(
        world
            .ask(&mut kernel, Op::IsDomainIntroduced, 0, b"7\0")
            .payload,
        b"F\0"
    );
}

#[test]
fn a_guest_cannot_make_transactions_of_domain_0_fail_for_ever() {
    let host = FakeHost::default();
    let (mut kernel, mut guest) = (host.guest(0), host.guest(7));
    let mut world = World::new(&host);
    world.introduce(7);
    let mut tries = 0;
    loop {
        tries += 1;
        let start = world
            .ask(&mut kernel, Op::TransactionStart, 0, b"\0")
            .payload;
        let tx_id = std::str::from_utf8(&start[..start.len() - 1])
            .unwrap()
            .parse()
            .unwrap();
        world.ask(&mut kernel, Op::Read, tx_id, b"/local/domain/7/x\0");
        // The guest changes what was read, whenever it is let.
        let request = guest.request(Op::Write, 0, format!("x\0{tries}").as_bytes());
        guest.put(&request.encode());
        world.round();
        let end = world.ask(&mut kernel, Op::TransactionEnd, tx_id, b"T\0");
        while guest.next().is_some() {}
        if end.payload == b"OK\0" {
            break;
        }
        // The favour is a matter of time; a slow machine may use it up.
        world.server().favoured.as_mut().unwrap().until += Duration::from_secs(3600);
    }
    assert_eq!(tries, 2);
    world.round();
    while guest.next().is_some() {}
    world.ask(&mut guest, Op::Write, 0, b"x\0served again");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a guest writes into its page, the daemon goes on and others are served.
    #[test]
    fn a_random_page_harms_nobody_else(
        pokes in prop::collection::vec((0usize..519, any::<u32>(), any::<bool>()), 1..60),
    ) {
        let host = FakeHost::default();
        let (bad, mut good) = (host.guest(7), host.guest(8));
        let mut world = World::new(&host);
        world.introduce(7);
        world.introduce(8);
        for (word, value, small) in pokes {
            bad.page.store_u32(word * 4, if small { value % 1200 } else { value });
            bad.kick();
            world.round();
        }
        prop_assert_eq!(world.ask(&mut good, Op::Write, 0, b"data/a\0b").payload, b"OK\0");
        world.kill();
        prop_assert_eq!(world.ask(&mut good, Op::Read, 0, b"data/a\0").payload, b"b");
        prop_assert!(world.server().engine.check().is_ok());
    }

    /// A guest counts up in transactions while the daemon is killed at any stage of any round: every request gets one
    /// reply, and every commit that was acknowledged (and no other) took place.
    #[test]
    fn kills_at_any_stage_lose_and_repeat_nothing(
        stages in prop::collection::vec((0u8..6, 1usize..400), 1..120),
    ) {
        let host = FakeHost::default();
        let mut guest = host.guest(7);
        let mut world = World::new(&host);
        world.introduce(7);
        world.ask(&mut guest, Op::Write, 0, b"n\x000");
        let mut driver = Counter::new(&mut guest);
        for (stage, bytes) in stages {
            driver.push(bytes);
            match stage {
                0 => world.kill(),
                1 | 2 => {
                    let before = driver.published();
                    world.server().serve_all();
                    if stage == 2 {
                        world.server().commit();
                    }
                    assert_eq!(driver.published(), before, "nothing shows before the flush");
                    world.kill();
                }
                _ => world.round(),
            }
            driver.pull(bytes);
        }
        for _ in 0..200 {
            driver.push(usize::MAX);
            world.round();
            driver.pull(usize::MAX);
            if driver.idle() {
                break;
            }
        }
        prop_assert!(driver.idle(), "the last request was answered");
        let acknowledged = driver.acknowledged;
        let stored = world.ask(&mut guest, Op::Read, 0, b"n\0").payload;
        prop_assert_eq!(stored, acknowledged.to_string().into_bytes());
    }
}

/// A guest's kernel that increments `n` in transactions, one request at a time, a few bytes at a time.
struct Counter<'a> {
    guest: &'a mut Guest,
    outgoing: Vec<u8>,
    waiting: Option<(Op, u32)>,
    tx_id: u32,
    value: u64,
    acknowledged: u64,
}

impl<'a> Counter<'a> {
    fn new(guest: &'a mut Guest) -> Counter<'a> {
        Counter {
            guest,
            outgoing: Vec::new(),
            waiting: None,
            tx_id: 0,
            value: 0,
            acknowledged: 0,
        }
    }

    /// The daemon's indices in the page.
    fn published(&self) -> (u32, u32) {
        (
            self.guest.page.load_u32(2048),
            self.guest.page.load_u32(2060),
        )
    }

    fn idle(&self) -> bool {
        self.waiting.is_none() && self.tx_id == 0
    }

    fn send(&mut self, op: Op, payload: &[u8]) {
        let packet = self.guest.request(op, self.tx_id, payload);
        self.waiting = Some((op, packet.req_id));
        self.outgoing = packet.encode();
    }

    fn push(&mut self, most: usize) {
        if self.waiting.is_none() && self.tx_id == 0 && most != usize::MAX {
            self.send(Op::TransactionStart, b"\0");
        }
        let len = self.outgoing.len().min(most);
        let sent = self.guest.put(&self.outgoing[..len]);
        self.outgoing.drain(..sent);
    }

    fn pull(&mut self, most: usize) {
        self.guest.take(most);
        while let Some(reply) = self.guest.received_now() {
            let (op, req_id) = self.waiting.take().expect("one reply per request");
            assert_eq!(reply.req_id, req_id);
            let text = String::from_utf8(reply.payload.clone()).unwrap();
            let failed = reply.kind == Op::Error.number();
            assert!(
                !failed || (op == Op::TransactionEnd && text == "EAGAIN\0"),
                "{op:?}: {text}"
            );
            match op {
                Op::TransactionStart => {
                    self.tx_id = text.trim_end_matches('\0').parse().unwrap();
                    self.send(Op::Read, b"n\0");
                }
                Op::Read => {
                    self.value = text.parse().unwrap();
                    let payload = format!("n\0{}", self.value + 1);
                    self.send(Op::Write, payload.as_bytes());
                }
                Op::Write => self.send(Op::TransactionEnd, b"T\0"),
                _ => {
                    self.acknowledged += u64::from(!failed);
                    self.tx_id = 0;
                }
            }
        }
    }
}
