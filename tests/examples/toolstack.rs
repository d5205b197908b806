//! Our own toolstack in domain 0, as tests/tests/machines/toolstack_on_*.rs demand it:
//! `cargo run -p rexen-tests --example toolstack [rexen|xen [SCRIPT...]]`; it fails if a check does. The script `store` is that of
//! Debian's `xl` on our xenstored.
#![forbid(unsafe_code)]

use rexen_tests::{host::Host, toolstack, xl};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let scripts: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let machines = if scripts.is_empty() {
        vec![
            toolstack::LIVES.to_vec(),
            toolstack::FAULTS.to_vec(),
            toolstack::WORK.to_vec(),
            vec!["store"],
        ]
    } else {
        vec![scripts]
    };
    for (name, host) in [("rexen", Host::Rexen), ("xen", Host::Xen)] {
        if words.first().is_none_or(|word| word == name) {
            for scripts in &machines {
                match scripts[..] {
                    ["store"] => xl::demand_on_our_store(host, "store"),
                    _ => toolstack::demand(host, scripts),
                }
            }
        }
    }
}
