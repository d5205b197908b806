//! What single hypercalls cost on Rexen and on Debian's Xen 4.17, in instructions, as a table.
//!
//! Boots the guest `costs`, and `costs_pair` as two domUs, on both under `-icount shift=0`, where a tick of the TSC is an executed instruction, so that the numbers
//! repeat: `cargo run -p rexen-tests --example costs`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use rexen_tests::guest;
use rexen_tests::host::Host;
use rexen_tests::warden::Ring;

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
        .run();
    eprintln!("{host:?}, two domains: {verdict}");
    for line in pair.lines().filter(|line| line.contains("GUEST")) {
        eprintln!("    {line}");
    }
    alone
        .lines()
        .chain(pair.lines())
        .filter_map(|line| line.split_once("COST ")?.1.trim_end().split_once(' '))
        .filter_map(|(name, cost)| Some((name.to_owned(), cost.parse().ok()?)))
        .collect()
}
