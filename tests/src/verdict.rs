//! What came of a machine's checks: shown, and demanded.

use rexen_installer::checks::Report;
use rexen_installer::qemu::Run;

/// Adds what ends a script of `expected` checks: its own count, in which are those that it has besides and those that came
/// twice, and the power-off.
pub fn add_end(report: &mut Report, run: &Run, expected: usize) {
    let end = format!("CHECKS-DONE {expected} ok 0 failed");
    let done = run.log.find("CHECKS-DONE").unwrap_or("did not report");
    report.add("end", run.log.contains(&end), done.trim());
    report.add("power-off", run.powered_off(), format!("{:?}", run.end));
}

/// Shows a report, and demands that all of it passed. If not, the lines with `mark` in them say more.
///
/// # Panics
/// Some check did not pass.
pub fn demand(what: &str, report: &Report, run: &Run, mark: &str) {
    println!("{what}: {:.0} s", run.elapsed.as_secs_f32());
    println!("{}", report.table());
    if !report.passed() {
        let said: Vec<&str> = run.log.lines().filter(|l| l.contains(mark)).collect();
        panic!(
            "{}\n{}\n{}",
            report.table(),
            said.join("\n"),
            run.log.tail(80)
        );
    }
}
