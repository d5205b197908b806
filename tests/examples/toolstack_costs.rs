//! What making, listing and ending domains costs with our toolstack and with Debian's `xl`, in instructions, as tables.
//!
//! On our hypervisor and on Debian's Xen 4.17, under `-icount shift=0`, in one boot each: tests/xl/dom0/toolstacks.sh in a
//! domain 0 that has both toolstacks, on our xenstored.
//! `cargo run -p rexen-tests --example toolstack_costs [rexen|xen [xl]]`; a quarter of an hour each. With `xl`: that alone,
//! on Debian's oxenstored.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use rexen_installer::SerialLog;
use rexen_tests::{host::Host, xl};

const OURS: &str = "toolstacks xl.store=../lib/rexen/sbin/xenstored";
const THEIRS: &str = "toolstacks";
const MILLION: f64 = 1e6;

/// Tool and operation, and the samples of each: domain 0's instructions, and all until the command returned.
type Costs = BTreeMap<(String, String), Vec<[u64; 2]>>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let alone = words.get(1).is_some_and(|word| word == "xl");
    let script = if alone { THEIRS } else { OURS };
    for (name, host) in [("rexen", Host::Rexen), ("xen", Host::Xen)] {
        if words.first().is_some_and(|word| word != name) {
            continue;
        }
        let log = xl::toolstack_costs(host, script);
        println!("\n{host:?}: million instructions of domain 0, and time in ms\n");
        print(&costs(&log));
        for line in log.lines() {
            if let Some((_, memory)) = line.split_once("MEMORY ") {
                println!("processes, their resident KiB, and without files: {memory}");
            }
            if line.contains("FAIL") {
                println!("{line}");
            }
        }
    }
}

/// A row for each operation.
fn print(costs: &Costs) {
    println!("| operation | xl | xm | xm/xl | xl, ms | xm, ms | xm/xl |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let operations: BTreeSet<&str> = costs.keys().map(|(_, operation)| &**operation).collect();
    for operation in operations {
        let of = |tool: &str| {
            let of = |operation: &str| costs.get(&(tool.to_owned(), operation.to_owned()));
            // For xl every time is the first.
            let samples = of(operation).or_else(|| of(&operation.replace("_again", "")));
            samples.map_or([0; 2], |samples| median(samples))
        };
        let (xl, xm) = (of("xl"), of("xm"));
        print!("| {operation} ");
        for n in [0, 1] {
            let (xl, xm) = (xl[n] as f64, xm[n] as f64);
            print!(
                "| {:.1} | {:.1} | {:.2} ",
                xl / MILLION,
                xm / MILLION,
                xm / xl
            );
        }
        println!("|");
    }
}

/// What a run of the script measured.
fn costs(log: &SerialLog) -> Costs {
    let mut costs = Costs::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once("COST ") else {
            continue;
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        if let [tool, operation, cpu, time] = words[..]
            && let (Ok(cpu), Ok(time)) = (cpu.parse(), time.parse())
        {
            let key = (tool.to_owned(), operation.to_owned());
            costs.entry(key).or_default().push([cpu, time]);
        }
    }
    // Reading the counters costs, too.
    let readings = ["xl", "xm"].map(|tool| {
        let none = costs.get(&(tool.to_owned(), "none".to_owned()));
        (tool, none.map_or([0; 2], |samples| median(samples)))
    });
    for ((tool, operation), samples) in &mut costs {
        let reading = readings.iter().find(|(name, _)| name == tool);
        if let (Some((_, reading)), false) = (reading, operation == "none") {
            for sample in samples.iter_mut() {
                for n in [0, 1] {
                    sample[n] = sample[n].saturating_sub(reading[n]);
                }
            }
        }
    }
    costs
}

/// The median of each column.
fn median(samples: &[[u64; 2]]) -> [u64; 2] {
    [0, 1].map(|n| {
        let mut column: Vec<u64> = samples.iter().map(|sample| sample[n]).collect();
        column.sort_unstable();
        column.get(column.len() / 2).copied().unwrap_or_default()
    })
}
