//! What our kernels need beside Debian's, as the table of docs/kernels.md: sizes of files, memory, the way to init.
//!
//! On our hypervisor under `-icount shift=0`, where a tick of the TSC is an executed instruction; the script is
//! tests/xl/dom0/numbers.sh. `cargo run -p rexen-tests --example kernels` takes some minutes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rexen_installer::debian::Kernel;
use rexen_installer::xl_root::Kit;
use rexen_installer::{Consent, Error, Result, fetch_debian_kernel};
use rexen_tests::guest::counted;
use rexen_tests::host::Host;
use rexen_tests::kernels;

fn main() -> Result<()> {
    let debian = fetch_debian_kernel(Consent::from_env())?;
    let (xen0, xen_u) = (kernels::xen0()?, kernels::xen_u()?);
    let theirs = numbers(&debian, &debian)?;
    let ours = numbers(&xen0, &xen_u)?;
    println!("| | Debian's {} | xen0 | xenU |", debian.release);
    println!("|---|--:|--:|--:|");
    row("`vmlinuz`, KiB", [&debian, &xen0, &xen_u], |kernel| {
        Ok(size_of(&kernel.image)?.0 / 1024)
    })?;
    row("modules", [&debian, &xen0, &xen_u], |kernel| {
        Ok(size_of(&kernel.modules)?.1)
    })?;
    row("modules, KiB", [&debian, &xen0, &xen_u], |kernel| {
        Ok(size_of(&kernel.modules)?.0 / 1024)
    })?;
    let lines = [
        ("domain 0 of 1 GiB: memory used, KiB", "domain0_memory", 1),
        ("a guest of 128 MiB: memory used, KiB", "guest_memory", 1),
        (
            "power-on to domain 0's init, million instructions",
            "domain0_to_init",
            1_000_000,
        ),
        (
            "a guest's first to its init's last, million instructions",
            "guest_to_init",
            1_000_000,
        ),
    ];
    for (text, name, unit) in lines {
        let value = |numbers: &BTreeMap<String, u64>| numbers[name] / unit;
        let (first, second) = match name.starts_with("domain0") {
            true => (value(&ours).to_string(), "–".to_owned()),
            false => ("–".to_owned(), value(&ours).to_string()),
        };
        println!("| {text} | {} | {first} | {second} |", value(&theirs));
    }
    Ok(())
}

fn row(text: &str, kernels: [&Kernel; 3], of: impl Fn(&Kernel) -> Result<u64>) -> Result<()> {
    let [debian, xen0, xen_u] = kernels;
    println!(
        "| {text} | {} | {} | {} |",
        of(debian)?,
        of(xen0)?,
        of(xen_u)?
    );
    Ok(())
}

/// Bytes and number of a file, or of the kernel modules below a folder.
fn size_of(path: &Path) -> Result<(u64, u64)> {
    let is = fs::metadata(path).map_err(Error::io("read", path))?;
    if is.is_file() {
        return Ok((is.len(), 1));
    }
    let mut sum = (0, 0);
    for entry in fs::read_dir(path)
        .map_err(Error::io("read", path))?
        .flatten()
    {
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        if kind.is_dir() || path.extension().is_some_and(|e| e == "ko") {
            let (bytes, number) = size_of(&path)?;
            sum = (sum.0 + bytes, sum.1 + number);
        }
    }
    Ok(sum)
}

/// What the script says of a domain 0 with one kernel and a guest with the other.
fn numbers(domain0: &Kernel, guest: &Kernel) -> Result<BTreeMap<String, u64>> {
    let kit = Kit::make(domain0, guest, Consent::from_env())?;
    let (report, run) = kit.run(&Host::Rexen.image(), "numbers", |machine| {
        counted(machine).timeout(Duration::from_secs(3600))
    })?;
    report.verdict()?;
    let said = run.log.lines().filter_map(|line| {
        let (name, value) = line.split_once("NUMBER ")?.1.trim_end().split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    Ok(said.collect())
}
