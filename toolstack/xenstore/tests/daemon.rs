//! The real daemon on a socket: with Debian's clients, with our tools, and killed in the middle of work.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rexen_xenstore::client::{Error, Store};
use rexen_xenstore::perms::Perms;

const DAEMON: &str = env!("CARGO_BIN_EXE_xenstored");
const TOOL: &str = env!("CARGO_BIN_EXE_xenstore");

/// A daemon without domains, in a folder of its own; both go with this value.
struct Daemon {
    dir: PathBuf,
    child: Child,
}

impl Daemon {
    fn start() -> Daemon {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "xenstored-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let child = spawn(&dir);
        Daemon { dir, child }
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    fn store(&self) -> Store {
        Store::connect_to(&self.socket()).unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir);
    }

    /// Runs a client against this daemon.
    fn run(&self, program: &str, args: &[&str]) -> Output {
        let result = Command::new(program)
            .args(args)
            .env("XENSTORED_PATH", self.socket())
            .output();
        result.unwrap_or_else(|e| {
            panic!("{program}: {e} (the package xenstore-utils of ci/packages.txt has it)")
        })
    }

    /// As [`Daemon::run`], for what must succeed; the standard output.
    fn output(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Starts the daemon and waits until it says that it serves.
fn spawn(dir: &Path) -> Child {
    let mut child = Command::new(DAEMON)
        .args(["--no-fork", "--no-domains", "--announce", "--rundir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn debians_clients_read_write_list_and_remove() {
    let daemon = Daemon::start();
    daemon.output("xenstore-write", &["/a/b", "one", "/a/c", "two words"]);
    assert_eq!(
        daemon.output("xenstore-read", &["/a/b", "/a/c"]),
        "one\ntwo words\n"
    );
    assert_eq!(daemon.output("xenstore-list", &["/a"]), "b\nc\n");
    assert_eq!(
        daemon.output("xenstore-ls", &["-f", "/a"]),
        "/a/b = \"one\"\n/a/c = \"two words\"\n"
    );
    assert!(daemon.run("xenstore-exists", &["/a/b"]).status.success());
    assert!(!daemon.run("xenstore-exists", &["/a/x"]).status.success());
    assert!(!daemon.run("xenstore-read", &["/a/x"]).status.success());
    daemon.output("xenstore-chmod", &["/a/b", "n0", "r7"]);
    assert_eq!(
        daemon.store().perms("/a/b").unwrap(),
        Perms::readable_by(0, 7)
    );
    daemon.output("xenstore-rm", &["/a/b"]);
    assert_eq!(daemon.output("xenstore-list", &["/a"]), "c\n");
}

#[test]
fn debians_ls_gets_directories_beyond_one_message() {
    let daemon = Daemon::start();
    let store = daemon.store();
    let names: Vec<String> = (0..1500).map(|n| format!("domain-{n:04}")).collect();
    for name in &names {
        store.mkdir(&format!("/big/{name}")).unwrap();
    }
    let listed = daemon.output("xenstore-list", &["/big"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
}

#[test]
fn debians_watch_sees_what_our_client_writes() {
    let daemon = Daemon::start();
    let mut watch = Command::new("xenstore-watch")
        .args(["-n", "2", "/w"])
        .env("XENSTORED_PATH", daemon.socket())
        .stdout(Stdio::piped())
        .spawn()
        .expect("xenstore-watch of the package xenstore-utils of ci/packages.txt");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "/w");
    daemon.store().write("/w/x", "1").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "/w/x");
    assert!(watch.wait().unwrap().success());
}

#[test]
fn our_tools_print_what_debians_print() {
    let daemon = Daemon::start();
    daemon.output(
        TOOL,
        &[
            "write",
            "/a/b",
            "quote\" and \\",
            "/a/b/c",
            "",
            "/tool/x",
            "7",
        ],
    );
    daemon.output(TOOL, &["chmod", "/a/b", "r0", "b7"]);
    for args in [&["-f", "/"][..], &["/a"], &["-p", "/"], &["-f", "-p", "/a"]] {
        let ours = daemon.output(TOOL, &[&["ls"], args].concat());
        assert_eq!(ours, daemon.output("xenstore-ls", args), "{args:?}");
    }
    for (ours, theirs, args) in [
        ("list", "xenstore-list", &["/a", "/tool"][..]),
        ("read", "xenstore-read", &["/a/b", "/tool/x"]),
    ] {
        let ours = daemon.output(TOOL, &[&[ours], args].concat());
        assert_eq!(ours, daemon.output(theirs, args));
    }
    let refused = daemon.run(TOOL, &["read", "/none"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "xenstore: Read /none: ENOENT\n"
    );
    assert!(
        daemon
            .output(TOOL, &["control", "check"])
            .contains("consistent")
    );
    assert!(!daemon.run(TOOL, &["control", "nonsense"]).status.success());
}

#[test]
fn a_client_goes_on_across_a_kill() {
    let mut daemon = Daemon::start();
    let store = daemon.store();
    store.write("/a/b", "before").unwrap();
    store.set_perms("/a/b", &Perms::readable_by(3, 7)).unwrap();
    let mut watch = store.watch("/a").unwrap();
    assert_eq!(watch.next().unwrap().path, "/a");
    daemon.restart();
    assert_eq!(store.read("/a/b").unwrap(), "before");
    assert_eq!(store.perms("/a/b").unwrap(), Perms::readable_by(3, 7));
    assert_eq!(
        watch.next().unwrap().path,
        "/a",
        "the watch is registered again and fires"
    );
    store.write("/a/c", "after").unwrap();
    assert_eq!(watch.next().unwrap().path, "/a/c");
}

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    let mut daemon = Daemon::start();
    let dir = daemon.dir.clone();
    let written = std::thread::scope(|scope| {
        let (done, stop) = std::sync::mpsc::channel::<()>();
        let store = daemon.store();
        let writer = scope.spawn(move || {
            let mut nr = 0u32;
            while stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let result = store.transaction(|t| {
                    t.write(&format!("/log/{nr}"), nr.to_string())?;
                    t.write("/last", nr.to_string())
                });
                match result {
                    Ok(()) => nr += 1,
                    // Whether the last one took place shows below; a slow machine may take long to restart the daemon.
                    Err(Error::Lost { .. } | Error::Connect { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            nr
        });
        for _ in 0..10 {
            let before = std::fs::metadata(dir.join("state")).unwrap().len();
            // Some progress between kills, however slow the machine.
            while std::fs::metadata(dir.join("state")).unwrap().len() < before + 2000
                && !writer.is_finished()
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            daemon.restart();
        }
        drop(done);
        writer.join().unwrap()
    });
    let store = daemon.store();
    for nr in 0..written {
        assert_eq!(store.read(&format!("/log/{nr}")).unwrap(), nr.to_string());
    }
    assert!(written > 0);
    let last: u32 = store.read("/last").unwrap().parse().unwrap();
    assert!(
        last + 1 == written || last == written,
        "{last} of {written}"
    );
    assert!(
        store
            .control(&["check"])
            .unwrap()
            .contains("store: consistent")
    );
}

/// The kernel kills a process that would write beyond its limit, after the bytes that fit: a kill in the middle of a write.
#[test]
fn a_daemon_killed_in_the_middle_of_a_write_has_done_all_or_nothing() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let mut daemon = Daemon::start();
    let store = daemon.store();
    store.write("/pair/a", "0").unwrap();
    store.write("/pair/b", "0").unwrap();
    let state = daemon.dir.join("state");
    let (mut done, mut nr_kills) = (0u32, 0);
    for room in (0..).step_by(11) {
        let len = std::fs::metadata(&state).unwrap().len();
        let limit = |bytes| Rlimit {
            current: Some(bytes),
            maximum: None,
        };
        let pid = Pid::from_child(&daemon.child);
        prlimit(Some(pid), Resource::Core, limit(0)).unwrap();
        prlimit(Some(pid), Resource::Fsize, limit(len + room)).unwrap();
        // The client does not repeat a commit that depends on what it read: this is one try.
        let result = store.transaction(|t| {
            let value = (t.read("/pair/a")?.parse::<u32>().unwrap() + 1).to_string();
            t.write("/pair/a", &value)?;
            t.write("/pair/b", &value)
        });
        if result.is_ok() {
            done += 1;
            break;
        }
        nr_kills += 1;
        daemon.restart();
        let pair = ["/pair/a", "/pair/b"].map(|path| store.read(path).unwrap());
        assert_eq!(pair[0], pair[1], "with room for {room} bytes");
        assert_eq!(
            pair[0],
            done.to_string(),
            "what was not whole did not happen"
        );
    }
    assert!((5..100).contains(&nr_kills), "{nr_kills}");
    assert_eq!(store.read("/pair/b").unwrap(), done.to_string());
}

#[test]
fn a_second_daemon_is_refused_and_strangers_cannot_connect() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start();
    let second = Command::new(DAEMON)
        .args(["-N", "-D", "--rundir"])
        .arg(&daemon.dir)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another xenstored runs in"));
    assert_eq!(
        std::fs::metadata(daemon.socket())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert!(
        daemon.store().exists("/tool").unwrap(),
        "the first still serves"
    );
}

#[test]
fn a_foreign_state_file_is_refused_with_a_remedy_and_kept() {
    let mut daemon = Daemon::start();
    daemon.kill();
    let state = daemon.dir.join("state");
    std::fs::write(&state, "not ours").unwrap();
    let output = Command::new(DAEMON)
        .args(["-N", "-D", "--rundir"])
        .arg(&daemon.dir)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--state"));
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "not ours");
}

#[test]
fn a_client_that_breaks_the_protocol_is_cut_off_alone() {
    use std::io::{Read, Write};
    let daemon = Daemon::start();
    let store = daemon.store();
    let mut rude = std::os::unix::net::UnixStream::connect(daemon.socket()).unwrap();
    rude.write_all(&[0xff; 100]).unwrap();
    let mut rest = Vec::new();
    let _ = rude.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert!(store.exists("/tool").unwrap());
}

#[test]
fn the_init_script_starts_restarts_and_stops_it() {
    let dir = std::env::temp_dir().join(format!("xenstored-init-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../etc/init.d/xenstored");
    let programs = Path::new(DAEMON).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let shown = dir.display();
    let run = |verb: &str| {
        let output = Command::new("sh")
            .args([script, verb])
            .env("PATH", &path)
            .env("PIDFILE", dir.join("pid"))
            .env(
                "XENSTORED_ARGS",
                format!("--no-domains --rundir {shown} --log-file {shown}/log"),
            )
            .output()
            .unwrap();
        output.status.code()
    };
    assert_eq!(run("status"), Some(3));
    assert_eq!(run("start"), Some(0));
    let store = Store::connect_to(&dir.join("socket")).unwrap();
    store.write("/a", "kept").unwrap();
    let pid = || std::fs::read_to_string(dir.join("pid")).unwrap();
    let first = pid();
    assert_eq!((run("start"), run("status")), (Some(0), Some(0)));
    assert_eq!(pid(), first, "a second start leaves it alone");
    assert_eq!(run("restart"), Some(0));
    assert_ne!(pid(), first);
    assert_eq!(store.read("/a").unwrap(), "kept");
    assert_eq!(
        (run("stop"), run("status"), run("stop")),
        (Some(0), Some(3), Some(0))
    );
    assert_eq!(run("nonsense"), Some(1));
    std::fs::remove_dir_all(&dir).unwrap();
}
