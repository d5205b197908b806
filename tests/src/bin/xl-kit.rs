//! `cargo run -p rexen-tests --bin xl-kit -- FOLDER` leaves there what a machine with Debian's xl in domain 0 boots, and
//! `run.sh HYPERVISOR [WORDS FOR DOMAIN 0]`, which boots it: a shell where `xl` works, on this terminal.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{env, fs, process};

use rexen_installer::Error;
use rexen_tests::xl::debian_kit;

fn main() {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: xl-kit FOLDER");
        process::exit(2);
    };
    if let Err(error) = leave(PathBuf::from(folder)) {
        eprintln!("{error}");
        process::exit(1);
    }
}

fn leave(folder: PathBuf) -> rexen_installer::Result<()> {
    let kit = debian_kit()?;
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let (kernel, initrd) = (folder.join("vmlinuz"), folder.join("dom0.gz"));
    for (from, to) in [(&kit.kernel, &kernel), (&kit.initrd, &initrd)] {
        fs::copy(from, to).map_err(Error::io("write", to))?;
    }
    let run = folder.join("run.sh");
    fs::write(&run, include_str!("../../xl/run.sh")).map_err(Error::io("write", &run))?;
    println!("sh {} HYPERVISOR [WORDS FOR DOMAIN 0]", run.display());
    Ok(())
}
