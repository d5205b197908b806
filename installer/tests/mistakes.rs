//! What a user gets wrong, or has not got: one clear message, the right exit status, nothing done.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

fn rexen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rexen"));
    command.args(arguments);
    command
}

fn demand_failure(run: &Output, status: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(status), "{said}");
    assert!(run.stdout.is_empty());
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// A folder, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("rexen-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn unknown_words_are_named_and_so_is_the_help() {
    let run = rexen(&["image", "--kernels", "debian"]).output().unwrap();
    demand_failure(&run, 2, &["--kernels", "--kernel", "--help"]);
    let run = rexen(&["imag"]).output().unwrap();
    demand_failure(&run, 2, &["imag", "image", "--help"]);
    let run = rexen(&["boot", "--image", "--kernel", "debian"]).output();
    demand_failure(&run.unwrap(), 2, &["--image", "--kernel", "--help"]);
    let run = rexen(&["boot", "--smp", "many"]).output().unwrap();
    demand_failure(&run, 2, &["many", "--smp"]);
}

/// Programs of the host that lacks a package, and whose user may not install it.
#[test]
fn a_missing_package_is_named_with_the_command_that_installs_it() {
    let bin = Folder::new("no-qemu");
    let answers = "#!/bin/sh\nfor package; do case $package in -*|qemu-system-x86|*' '*) ;; *) echo \"$package installed\" ;; esac; done\n";
    for (program, text) in [("dpkg-query", answers), ("id", "#!/bin/sh\necho 1000\n")] {
        let path = bin.0.join(program);
        fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
    }
    symlink("/bin/sh", bin.0.join("sh")).unwrap();
    let run = rexen(&["world"]).env("PATH", &bin.0).output().unwrap();
    let remedy = "sudo apt-get install --no-install-recommends qemu-system-x86\n";
    demand_failure(&run, 3, &["lacks 1 package", "qemu-system-x86: ", remedy]);
}

#[test]
fn what_is_to_be_verified_has_to_be_something_of_ours() {
    let folder = Folder::new("no-tree");
    for (name, is_file) in [
        ("nothing", false),
        ("rexen.img", true),
        ("rexen.tar.gz", true),
    ] {
        let path = folder.0.join(name);
        if is_file {
            fs::write(&path, "not what its name says").unwrap();
        }
        let run = rexen(&["verify"]).arg(&path).output().unwrap();
        demand_failure(&run, 1, &[&path.display().to_string()]);
    }
}

#[test]
fn what_is_to_be_booted_has_to_be_there_and_an_image() {
    let folder = Folder::new("no-image");
    let path = folder.0.join("other.img");
    let boot = || {
        let mut command = rexen(&["boot", "--check", "--image"]);
        command.arg(&path).env("XDG_CACHE_HOME", &folder.0);
        command.output().unwrap()
    };
    let name = path.display().to_string();
    demand_failure(&boot(), 1, &["cannot read", &name]);
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    demand_failure(&boot(), 1, &["no image of ours", &name]);
}
