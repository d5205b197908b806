use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::perms::{Perm, Right};

fn errno<T: std::fmt::Debug>(result: Result<T>) -> Errno {
    result
        .unwrap_err()
        .errno()
        .expect("the store itself refuses")
}

#[test]
fn values_come_back_and_missing_nodes_are_told_apart() {
    let store = MemoryStore::new().store();
    store.write("/a/b", "one").unwrap();
    store.write("/a/raw", [0u8, 255]).unwrap();
    assert_eq!(store.read("/a/b").unwrap(), "one");
    assert_eq!(store.read_bytes("/a/raw").unwrap(), [0, 255]);
    assert!(matches!(store.read("/a/raw"), Err(Error::NotText { .. })));
    assert_eq!(store.read("/a").unwrap(), "", "parents are made empty");
    assert_eq!(store.read_opt("/a/c").unwrap(), None);
    assert!(!store.exists("/a/c").unwrap() && store.exists("/a/b").unwrap());
    assert!(store.read("/a/c").unwrap_err().is_missing());
    assert_eq!(
        store.read("/a/c").unwrap_err().to_string(),
        "xenstore: Read /a/c: ENOENT"
    );
    assert_eq!(store.list("/a").unwrap(), ["b", "raw"]);
    assert_eq!(store.list_opt("/nowhere").unwrap(), Vec::<String>::new());
    store.remove("/a").unwrap();
    store.remove("/a/b").unwrap();
    assert!(!store.exists("/a").unwrap());
}

#[test]
fn long_lists_come_in_parts() {
    let store = MemoryStore::new().store();
    let names: Vec<String> = (0..2000).map(|n| format!("child-{n:05}")).collect();
    for name in &names {
        store.mkdir(&format!("/list/{name}")).unwrap();
    }
    assert_eq!(store.list("/list").unwrap(), names);
}

#[test]
fn transactions_commit_discard_and_run_again() {
    let memory = MemoryStore::new();
    let (store, other) = (memory.store(), memory.store());
    store.write("/counter", "1").unwrap();
    let mut tries = 0;
    let seen = store
        .transaction(|t| {
            tries += 1;
            let value = t.read("/counter")?;
            if tries == 1 {
                other.write("/counter", "41")?;
            }
            t.write("/counter", (value.parse::<u32>().unwrap() + 1).to_string())?;
            Ok(value)
        })
        .unwrap();
    assert_eq!((seen.as_str(), tries), ("41", 2));
    assert_eq!(store.read("/counter").unwrap(), "42");

    let failed: Result<()> = store.transaction(|t| {
        t.write("/counter", "0")?;
        t.read("/missing").map(drop)
    });
    assert_eq!(errno(failed), Errno::ENOENT);
    assert_eq!(store.read("/counter").unwrap(), "42");
}

#[test]
fn a_transaction_that_always_conflicts_ends_with_eagain() {
    let memory = MemoryStore::new();
    let (store, other) = (memory.store(), memory.store());
    let mut n = 0;
    let result = store.transaction(|t| {
        n += 1;
        t.read_opt("/x")?;
        other.write("/x", n.to_string())?;
        t.write("/y", "")
    });
    assert_eq!(errno(result), Errno::EAGAIN);
}

#[test]
fn watches_fire_at_once_on_change_and_no_more_when_dropped() {
    let memory = MemoryStore::new();
    let store = memory.store();
    let mut watch = store.watch("/a").unwrap();
    assert_eq!(watch.next().unwrap().path, "/a");
    memory.store().write("/a/b/c", "1").unwrap();
    assert_eq!(watch.next().unwrap().path, "/a/b/c");
    memory.store().write("/other", "1").unwrap();
    assert_eq!(watch.next_now(), None);
    assert_eq!(watch.next_within(Duration::ZERO), None);
    drop(watch);
    assert!(store.watch("/a").is_ok());
}

#[test]
fn guests_are_held_to_their_permissions() {
    let memory = MemoryStore::new();
    let (tools, guest) = (memory.store(), memory.domain(7));
    tools.mkdir("/local/domain/7").unwrap();
    tools
        .set_perms("/local/domain/7", &Perms::readable_by(0, 7))
        .unwrap();
    tools.write("/local/domain/7/data", "").unwrap();
    tools
        .set_perms("/local/domain/7/data", &Perms::private(7))
        .unwrap();
    assert_eq!(guest.list("/local/domain/7").unwrap(), ["data"]);
    guest.write("data/x", "mine").unwrap();
    assert_eq!(tools.read("/local/domain/7/data/x").unwrap(), "mine");
    assert_eq!(tools.perms("/local/domain/7/data/x").unwrap().owner(), 7);
    assert_eq!(errno(guest.write("y", "no")), Errno::EACCES);
    assert_eq!(errno(guest.read("/tool/xenstored")), Errno::EACCES);
    assert_eq!(errno(guest.introduce(8, 1, 1)), Errno::EACCES);
    let public = Perms::from_entries(&[Perm {
        domid: 7,
        right: Right::Read,
    }])
    .unwrap();
    guest.set_perms("data/x", &public).unwrap();
    assert_eq!(
        memory.domain(9).read("/local/domain/7/data/x").unwrap(),
        "mine"
    );
}

#[test]
fn domains_come_and_go() {
    let memory = MemoryStore::new();
    let store = memory.store();
    let mut introduced = store.watch("@introduceDomain").unwrap();
    let mut released = store.watch_to_depth("@releaseDomain", 1).unwrap();
    introduced.next();
    released.next();
    store.introduce(7, 0x1234, 3).unwrap();
    assert_eq!(introduced.next().unwrap().path, "@introduceDomain");
    assert!(store.is_introduced(7).unwrap() && !store.is_introduced(8).unwrap());
    assert_eq!(store.domain_path(7).unwrap(), "/local/domain/7");
    memory.domain_shut_down(7);
    assert_eq!(released.next().unwrap().path, "@releaseDomain/7");
    memory.domain_gone(7);
    assert_eq!(released.next().unwrap().path, "@releaseDomain/7");
    assert!(!store.is_introduced(7).unwrap());
    assert_eq!(errno(store.release(7)), Errno::ENOENT);
}

/// A connection that breaks at commits: their replies are lost, and the first one is not even carried out.
struct Lossy {
    inner: Store,
    commits: AtomicU32,
    lost: u32,
}

impl Transport for Lossy {
    fn request(&self, op: Op, tx_id: u32, payload: &[u8]) -> Result<Vec<u8>> {
        if op == Op::TransactionEnd {
            let nr = self.commits.fetch_add(1, Ordering::Relaxed);
            let end = if nr == 0 { b"F\0" } else { b"T\0" };
            let reply = self.inner.transport.request(op, tx_id, end);
            return if nr < self.lost {
                Err(Error::Lost { op })
            } else {
                reply
            };
        }
        self.inner.transport.request(op, tx_id, payload)
    }

    fn watch(&self, path: &str, depth: Option<u32>) -> Result<Watch> {
        self.inner.transport.watch(path, depth)
    }
}

#[test]
fn a_lost_commit_is_repeated_only_if_that_is_harmless() {
    let memory = MemoryStore::new();
    let lossy = || {
        Store::over(Lossy {
            inner: memory.store(),
            commits: AtomicU32::new(0),
            lost: 2,
        })
    };
    lossy().transaction(|t| t.write("/a", "1")).unwrap();
    assert_eq!(memory.store().read("/a").unwrap(), "1");
    let counted = lossy().transaction(|t| {
        let value = t.read("/a")?;
        t.write("/a", format!("{value}1"))
    });
    assert!(matches!(counted, Err(Error::Lost { .. })));
    assert_eq!(memory.store().read("/a").unwrap(), "1");
}
