//! Takes the power away from a stock Debian at every step of an installation and of a removal, and boots it again each time:
//! `cargo run -p rexen-tests --example debian`, half an hour; `-- "install 0 making" ...` only at these. `cargo test` does it
//! at two of the steps.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Each text that rexen-install says, at once and somewhat later.
const CUTS: &str = "\
install 0 Rexen
install 0 writing
install 1 writing
install 0 putting
install 0.1 putting
install 0 making
install 2 making
install 0 is installed
install 1 is installed
uninstall 0 taking
uninstall 0.1 taking
uninstall 0 removing
uninstall 0.1 removing
uninstall 0 is removed
";

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let cuts = match chosen.is_empty() {
        true => CUTS.to_owned(),
        false => chosen.join("\n") + "\n",
    };
    let wanted = ["CHECK", "LOG ", "Panic", "panic"];
    let run = rexen_tests::debian_host::run(&(cuts + "end\n"), |line| {
        if wanted.iter().any(|w| line.contains(w)) {
            println!("{line}");
        }
    });
    match run {
        Ok(run) if run.powered_off() && run.log.contains(" ok 0 failed") => ExitCode::SUCCESS,
        Ok(run) => {
            eprintln!("{}", run.log.tail(40));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
