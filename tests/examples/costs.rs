//! What single hypercalls cost on Rexen and on Debian's Xen 4.17, in instructions, as a table.
//!
//! On both, under `-icount shift=0`, where a tick of the TSC is an executed instruction and the numbers repeat: the bare guest
//! `costs`, `costs_pair` as two domUs, and tests/xl/dom0/costs.sh in a domain 0 with Debian's xl, which takes some minutes.
//! `cargo run -p rexen-tests --example costs [calls]`; with `calls` without the last.
//!
//! Idle time passes at once but counts: an operation that waits shows that, too.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use rexen_tests::guest;
use rexen_tests::host::Host;
use rexen_tests::warden::Ring;
use rexen_tests::xl;

fn main() {
    let [ours, theirs] = [Host::Rexen, Host::Xen].map(costs);
    println!("| operation | Xen | Rexen | Rexen/Xen |\n|---|--:|--:|--:|");
    for (name, cost) in &ours {
        match theirs.get(name) {
            Some(&peer) => println!(
                "| {name} | {peer} | {cost} | {:.2} |",
                *cost as f64 / peer as f64
            ),
            None => println!("| {name} | – | {cost} | – |"),
        }
    }
}

/// Each operation's cost on `host`.
fn costs(host: Host) -> BTreeMap<String, u64> {
    let (verdict, alone) = guest::boot_counted(host, "costs");
    eprintln!("{host:?}: {verdict}");
    let pair = "costs_pair role=answer background : costs_pair role=ask";
    let (verdict, pair) = Ring::new(host)
        .counted()
        .round(&format!("heap=64 : {pair}"))
        .round(&format!("heap=64 {}", ": tiny pages=768".repeat(8)))
        .run();
    eprintln!("{host:?}, two domains: {verdict}");
    for line in pair.lines().filter(|line| line.contains("GUEST")) {
        eprintln!("    {line}");
    }
    let made = (!std::env::args().any(|word| word == "calls")).then(|| xl::costs(host));
    alone
        .lines()
        .chain(pair.lines())
        .chain(made.iter().flat_map(|log| log.lines()))
        .filter_map(|line| line.split_once("COST ")?.1.trim_end().split_once(' '))
        .filter_map(|(name, cost)| Some((name.to_owned(), cost.parse().ok()?)))
        .collect()
}
