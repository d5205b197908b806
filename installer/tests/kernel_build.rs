//! What goes wrong when kernels are built, with the real command line and a fake source tree: each failure names its cause
//! and its place, leaves nothing half-made behind, and the next run goes on.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const EXIT_MISSING: i32 = 3;
const EXIT_INTERRUPTED: i32 = 130;

/// A folder with a fake source and a cache, gone when dropped.
struct Bench(PathBuf);

impl Bench {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("rexen-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("linux/arch/x86/configs")).unwrap();
        let bench = Self(dir);
        fs::write(
            bench.at("linux/Makefile"),
            include_str!("fake-linux/Makefile"),
        )
        .unwrap();
        bench.source_has("large", "1");
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn source_has(&self, name: &str, text: &str) {
        fs::write(self.at("linux").join(name), text).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&self.0).arg("-cf");
        let made = tar.arg(self.at("linux.tar")).arg("linux").status();
        assert!(made.unwrap().success());
    }

    /// `rexen build kernels --only xenU` with this source and this cache.
    fn build(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rexen"));
        command
            .args(["build", "kernels", "--only", "xenU", "--source"])
            .arg(self.at("linux.tar"))
            .arg("--work")
            .arg(self.at("work"))
            .env("XDG_CACHE_HOME", self.at("cache"))
            .env("XDG_CONFIG_HOME", self.at("config"))
            .stdin(Stdio::null());
        command
    }

    /// Builds, which must succeed, and the kernel is whole.
    fn demand_kernel(&self) {
        let run = self.build().output().unwrap();
        assert!(run.status.success(), "{}", text(&run));
        let image = self.at("work/out-xenU/boot/vmlinuz-6.1.999-xenU");
        assert_eq!(
            fs::metadata(&image).unwrap().len(),
            1 << 20,
            "{}",
            text(&run)
        );
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(run: &Output) -> String {
    let both = [&run.stdout[..], &run.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Demands an exit status and words in what was said.
fn demand_failure(run: &Output, status: i32, words: &[&str]) {
    let said = text(run);
    assert_eq!(run.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_symbol_that_did_not_survive_is_named_with_its_file() {
    let bench = Bench::new("symbol");
    let fragment = bench.at("mine.config");
    fs::write(&fragment, "# What I want\nCONFIG_REFUSED=y\n").unwrap();
    let run = bench.build().arg("--fragments").arg(&fragment).output();
    let place = format!("{}:2", fragment.display());
    demand_failure(&run.unwrap(), 1, &["REFUSED", &place]);
    bench.demand_kernel();
}

#[test]
fn a_missing_compiler_is_named_with_its_package() {
    let bench = Bench::new("compiler");
    let bin = bench.at("bin");
    fs::create_dir(&bin).unwrap();
    for dir in ["/usr/sbin", "/usr/bin"] {
        for program in fs::read_dir(dir).unwrap().flatten() {
            let name = program.file_name();
            if !["gcc", "ccache"].iter().any(|&out| name == out) {
                let _ = symlink(program.path(), bin.join(name));
            }
        }
    }
    let run = bench.build().env("PATH", &bin).output().unwrap();
    demand_failure(&run, EXIT_MISSING, &["gcc", "apt-get install"]);
    bench.demand_kernel();
}

/// On a file system that is too small, and then is not any more.
#[test]
fn a_full_disk_is_told_and_the_next_run_goes_on() {
    let bench = Bench::new("disk");
    bench.source_has("large", "12");
    let small = bench.at("work");
    fs::create_dir(&small).unwrap();
    // A mount of our own, that ends with the shell.
    let script = "mount -t tmpfs -o size=8m tmpfs \"$0\" || exit 99
        \"$@\"; echo \"first: $?\"
        mount -o remount,size=64m \"$0\" || exit 99
        \"$@\"; echo \"second: $?\"
        stat -c 'size: %s' \"$0\"/out-xenU/boot/vmlinuz-*";
    let build = bench.build();
    let run = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(&small)
        .arg(build.get_program())
        .args(build.get_args())
        .envs(
            build
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let work = small.display().to_string();
    let words = ["the disk is full", &work, "first: 1", "second: 0"];
    demand_failure(&run, 0, &words);
    assert!(text(&run).contains("size: 12582912"), "{}", text(&run));
}

/// As the terminal does it: to all of the process group.
fn interrupt(child: &Child) {
    let kill = Command::new("kill")
        .args(["-INT", "--", &format!("-{}", child.id())])
        .status();
    assert!(kill.unwrap().success());
}

#[test]
fn ctrl_c_ends_all_of_it_and_the_next_run_goes_on() {
    let bench = Bench::new("interrupt");
    let gate = bench.at("gate");
    bench.source_has("waits-for", &gate.display().to_string());
    let child = bench
        .build()
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(120);
    while !bench.at("gate.reached").exists() {
        assert!(Instant::now() < patience, "make did not get to the image");
        thread::sleep(Duration::from_millis(20));
    }
    interrupt(&child);
    let run = child.wait_with_output().unwrap();
    demand_failure(&run, EXIT_INTERRUPTED, &["interrupted"]);
    assert_eq!(left_running(&bench.0), Vec::<String>::new());
    assert!(!bench.at("work/out-xenU/boot").exists(), "half a kernel");
    fs::write(&gate, "").unwrap();
    bench.demand_kernel();
}

/// The command lines of processes that have to do with a folder.
fn left_running(folder: &Path) -> Vec<String> {
    let name = folder.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|p| fs::read(p.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&name))
        .collect()
}
