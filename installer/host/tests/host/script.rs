//! install.sh, with every shell that is here: it hands over, or says why not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::fake::{Dir, put};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");
const PROGRAM: &str = "install/usr/sbin/rexen-install";

/// A folder like an unpacked tarball, with a program that says how it was called.
fn unpacked() -> Dir {
    let dir = Dir::new();
    fs::copy(SCRIPT, dir.0.join("install.sh")).unwrap();
    put(&dir.0, PROGRAM, "#!/bin/sh\necho \"called: $*\"\nexit 7\n");
    executable(&dir.0.join(PROGRAM), 0o755);
    dir
}

fn executable(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

fn run(dir: &Dir, shell: &str, args: &[&str], host: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(shell)
        .arg(dir.0.join("install.sh"))
        .args(args)
        .env("REXEN_SYSTEM", "Linux")
        .env("REXEN_MACHINE", "x86_64")
        .envs(host.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn it_hands_over_to_the_program_beside_it() {
    let dir = unpacked();
    // One that answers --version, and has a status of its own.
    put(
        &dir.0,
        PROGRAM,
        "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho \"called: $*\"\nexit 7\n",
    );
    let tree = dir.0.join("install");
    for shell in ["sh", "bash"] {
        let (status, said) = run(&dir, shell, &["--yes", "--root", "a b"], &[]);
        assert_eq!(status, Some(7), "{said}");
        assert_eq!(
            said,
            format!("called: --tree {} --yes --root a b\n", tree.display())
        );
        let (_, said) = run(&dir, shell, &["--uninstall"], &[]);
        assert_eq!(said, "called: --uninstall\n");
    }
}

#[test]
fn it_says_plainly_why_not() {
    let dir = unpacked();
    let refused = |host: &[(&str, &str)], why: &str| {
        let (status, said) = run(&dir, "sh", &["--yes"], host);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(why) && said.contains("remedy: "), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    };
    refused(&[("REXEN_SYSTEM", "FreeBSD")], "runs FreeBSD, not Linux");
    refused(&[("REXEN_MACHINE", "i686")], "32-bit kernel (i686)");
    refused(&[("REXEN_MACHINE", "aarch64")], "is aarch64, not x86_64");
    // The program here fails at everything.
    refused(&[], "does not run here");
    executable(&dir.0.join(PROGRAM), 0o644);
    refused(&[], "may not be run");
    fs::remove_file(dir.0.join(PROGRAM)).unwrap();
    refused(&[], "is not there");
}
