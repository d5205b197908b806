//! The xenstore daemon.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use rexen_xenstore::daemon::{
    Journal, Loaded, Log, NoDomains, Platform, Server, XenPlatform, boot_id,
};
use rustix::fs::{FlockOperation, Mode, flock};

/// The store through which domains and tools tell each other about devices.
///
/// Runs in the background once it serves (-N: stays). It may be killed at any moment and started again: domains keep
/// their connections, watches and data. Answers to tools on a Unix socket, and to domains through their rings.
#[derive(Parser)]
#[command(version, name = "xenstored")]
struct Options {
    /// Stay in the foreground and log to the standard error.
    #[arg(short = 'N', long)]
    no_fork: bool,
    /// Serve sockets only: no domains, no Xen needed.
    #[arg(short = 'D', long)]
    no_domains: bool,
    /// Folder of the socket, the state and the lock.
    #[arg(long, value_name = "DIR", default_value = "/run/xenstored")]
    rundir: PathBuf,
    /// Where the state is kept [default: DIR/state]. It is of use until the next boot of the host.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Write the process id to this file.
    #[arg(short = 'F', long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Where lines of the log go in the background.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/log/xen/xenstored.log"
    )]
    log_file: PathBuf,
    /// Log each request.
    #[arg(long)]
    verbose: bool,
    /// Set a quota (`control quota` lists them), for instance nodes=2000; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_quota)]
    quota: Vec<(String, u64)>,
    /// Say on the standard output when serving starts (used by this program itself).
    #[arg(long, hide = true)]
    announce: bool,
}

fn parse_quota(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected NAME=VALUE, as in nodes=2000")?;
    let value = value.parse().map_err(|e| format!("{value:?}: {e}"))?;
    Ok((name.to_owned(), value))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = if options.no_fork {
        serve(&options)
    } else {
        detach(&options)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xenstored: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again in the background and waits until it serves.
fn detach(options: &Options) -> Result<(), String> {
    let about = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    if let Some(dir) = options.log_file.parent() {
        fs::create_dir_all(dir).map_err(|e| about(dir, e))?;
    }
    let mut log_options = OpenOptions::new();
    let log = log_options
        .create(true)
        .append(true)
        .mode(0o640)
        .open(&options.log_file);
    let log = log.map_err(|e| {
        format!(
            "{} (choose another with --log-file)",
            about(&options.log_file, e)
        )
    })?;
    let position = io::Seek::seek(&mut &log, io::SeekFrom::End(0)).unwrap_or(0);
    let program = std::env::current_exe().map_err(|e| format!("finding this program: {e}"))?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .args(["--no-fork", "--announce"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(|e| format!("starting in the background: {e}"))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|e| format!("waiting for the daemon: {e}"))?;
    }
    if line == "ready\n" {
        return Ok(());
    }
    let status = child
        .wait()
        .map_err(|e| format!("waiting for the daemon: {e}"))?;
    Err(format!(
        "it did not start ({status}): {}",
        tail(&options.log_file, position)
    ))
}

/// What was appended to the log since it had this length.
fn tail(log: &Path, position: u64) -> String {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut file| {
        io::Seek::seek(&mut file, io::SeekFrom::Start(position))?;
        file.read_to_string(&mut text)
    });
    match read {
        Ok(_) => text.trim().to_owned(),
        Err(e) => format!("see {} ({e})", log.display()),
    }
}

fn serve(options: &Options) -> Result<(), String> {
    let about = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    if options.announce {
        // A session of our own: the terminal that started us may go.
        let _ = rustix::process::setsid();
    }
    let dir = &options.rundir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(|e| about(dir, e))?;
    let _lock = lock(&dir.join("xenstored.lock"))?;
    let state = options.state.clone().unwrap_or_else(|| dir.join("state"));
    let boot_id = boot_id().map_err(|e| about(Path::new("/proc/sys/kernel/random/boot_id"), e))?;
    let (journal, loaded) = Journal::open(&state, &boot_id).map_err(|e| about(&state, e))?;
    let listener = listen(&dir.join("socket")).map_err(|e| about(&dir.join("socket"), e))?;
    if options.no_domains {
        return run(options, NoDomains, listener, journal, loaded);
    }
    let platform =
        XenPlatform::open().map_err(|e| format!("{e} (without Xen, use --no-domains)"))?;
    run(options, platform, listener, journal, loaded)
}

fn run(
    options: &Options,
    platform: impl Platform,
    listener: UnixListener,
    journal: Journal,
    loaded: Loaded,
) -> Result<(), String> {
    // Larger than any number a former daemon gave out.
    let generation = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64);
    let mut log = Log::default();
    log.requests = options.verbose;
    let mut server = Server::start(platform, listener, journal, loaded, generation, log)
        .map_err(|e| format!("the state: {e}"))?;
    for (name, value) in &options.quota {
        server
            .set_quota(name, *value)
            .ok_or_else(|| format!("--quota: there is no quota {name:?}"))?;
    }
    announce(options)?;
    server.run().map_err(|e| format!("waiting for events: {e}"))
}

/// Says to whoever started us that we serve.
fn announce(options: &Options) -> Result<(), String> {
    if let Some(path) = &options.pid_file {
        fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let Some(target) = std::env::var_os("NOTIFY_SOCKET") {
        notify_systemd(target.as_bytes()).map_err(|e| format!("telling systemd: {e}"))?;
    }
    if options.announce {
        let mut stdout = io::stdout();
        let told = stdout.write_all(b"ready\n").and_then(|()| stdout.flush());
        told.map_err(|e| format!("telling the starting process: {e}"))?;
    }
    Ok(())
}

fn notify_systemd(target: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let address = match target.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(target)))?,
    };
    socket.send_to_addr(b"READY=1", &address).map(drop)
}

/// Makes sure that no other daemon serves this folder; the kernel lets go of the lock when we die.
fn lock(path: &Path) -> Result<File, String> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path);
    let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
            "another xenstored runs in {}",
            path.parent().unwrap_or(path).display()
        )),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// Binds the socket for root only, in the place of a dead daemon's.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        assert_eq!(parse_quota("nodes=5"), Ok(("nodes".to_owned(), 5)));
        assert!(parse_quota("nodes").is_err() && parse_quota("nodes=x").is_err());
    }
}
