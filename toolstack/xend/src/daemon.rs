//! The process: start and stop, pid file, log, and the joining of all parts.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use crate::api::{Api, Guard, serve_tcp, serve_unix};
use crate::carry::Site;
use crate::config::{Config, Level};
use crate::console::Consoles;
use crate::events::{BACKLOG, Event};
use crate::journal::Archive;
use crate::log::Log;
use crate::node::Node;
use crate::sim::Machine;
use crate::world::World;

const PID_FILE: &str = "/var/run/xend.pid";
const DEBUG_LOG: &str = "/var/log/xend-debug.log";
const TRACE_LOG: &str = "/var/log/xend.trace";
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Exit status of `status` when xend does not run (LSB).
const NOT_RUNNING: u8 = 3;

type Done = Result<u8, String>;

fn config_path() -> String {
    std::env::var("XEND_CONFIG").unwrap_or_else(|_| Config::default().path)
}

/// The pid in the pid file, if that process is a xend.
fn running() -> Option<Pid> {
    let number: i32 = fs::read_to_string(PID_FILE).ok()?.trim().parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    if !is_live_xend(&stat) {
        let _ = fs::remove_file(PID_FILE); // Stale: the next start writes it anew.
        return None;
    }
    Pid::from_raw(number)
}

/// Whether a line of proc_pid_stat(5) is that of a xend that is not dead: one that was killed stays there until its parent
/// takes note.
fn is_live_xend(stat: &str) -> bool {
    stat.split_once("(xend) ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Starts xend unless it runs, and waits until it serves.
///
/// # Errors
/// Something it needs is missing; it did not come up.
pub fn start(trace: bool) -> Done {
    if running().is_some() {
        return Ok(0);
    }
    if !rustix::process::geteuid().is_root() {
        return Err("must be run as root (xend --simulate needs no root)".into());
    }
    Config::load(&config_path())?;
    let debug = open_debug_log()?;
    let exe = std::env::current_exe().map_err(|e| format!("find my own program: {e}"))?;
    let mut command = Command::new(exe);
    command.arg("serve").args(trace.then_some("--trace"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(debug);
    let mut child = command.spawn().map_err(|e| format!("start xend: {e}"))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        let _ = BufReader::new(output).read_line(&mut line); // An empty line is the answer of one that died.
    }
    match line.trim() {
        "ready" => Ok(0),
        "" => Err(format!("it ended before it was ready; see {DEBUG_LOG}")),
        problem => Err(problem.to_owned()),
    }
}

fn open_debug_log() -> Result<File, String> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(DEBUG_LOG)
        .map_err(|e| format!("{DEBUG_LOG}: {e}"))
}

/// Stops xend if it runs; domains go on.
///
/// # Errors
/// It does not end.
pub fn stop() -> Done {
    let Some(pid) = running() else { return Ok(0) };
    kill_process(pid, Signal::HUP)
        .map_err(|e| format!("stop process {pid}: {e}", pid = pid.as_raw_nonzero()))?;
    let deadline = Instant::now() + STOP_TIMEOUT;
    while running() == Some(pid) {
        if Instant::now() > deadline {
            return Err(format!("process {} does not end", pid.as_raw_nonzero()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(0)
}

/// Whether xend runs.
///
/// # Errors
/// None.
pub fn status() -> Done {
    Ok(if running().is_some() { 0 } else { NOT_RUNNING })
}

/// Tells who started this process how it went: one line.
fn report(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush()); // Whoever started us may be gone.
}

/// Is xend, in the foreground, until a signal ends it.
///
/// # Errors
/// It cannot start; the text was also reported to who started it.
pub fn serve(trace: bool, socket: Option<String>) -> Done {
    let served = serve_host(trace, socket);
    if let Err(problem) = &served {
        report(problem);
    }
    served
}

fn serve_host(trace: bool, socket: Option<String>) -> Done {
    let mut config = Config::load(&config_path())?;
    config.socket = socket.unwrap_or(config.socket);
    if trace {
        config.logfile = TRACE_LOG.into();
        config.loglevel = Level::Debug;
    }
    let _ = rustix::process::setsid(); // Fails for the leader of a group, which then has its own session anyway.
    let lock = lock(&config)?;
    let world = crate::live::world().map_err(|e| e.to_string())?;
    fs::write(PID_FILE, std::process::id().to_string()).map_err(|e| format!("{PID_FILE}: {e}"))?;
    let log = Log::to_file(&config.logfile, config.loglevel);
    let ended = run(world, config, log, false, || report("ready"));
    let _ = fs::remove_file(PID_FILE);
    drop(lock);
    ended
}

/// Makes sure that no two xends work on the same records.
fn lock(config: &Config) -> Result<File, String> {
    let path = format!("{}/lock", config.dbroot);
    fs::create_dir_all(&config.dbroot).map_err(|e| format!("{}: {e}", config.dbroot))?;
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|e| format!("{path}: {e}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(format!("another xend is running: it holds {path}"))
        }
        Err(fs::TryLockError::Error(error)) => Err(format!("{path}: {error}")),
    }
}

/// Is xend on a simulated host; a configuration file counts only if XEND_CONFIG names it.
///
/// # Errors
/// The socket cannot be served.
pub fn simulate(socket: Option<String>) -> Done {
    let folder = std::env::var("XDG_RUNTIME_DIR")
        .unwrap_or_else(|_| std::env::temp_dir().to_string_lossy().into_owned());
    let logs = format!("{folder}/xend-sim-{}", std::process::id());
    let socket = socket.unwrap_or_else(|| format!("{folder}/xend-sim.sock"));
    let configured = match std::env::var("XEND_CONFIG") {
        Ok(path) => Config::load(&path)?,
        Err(_) => Config::default(),
    };
    let config = Config {
        socket: socket.clone(),
        console_logs: logs.clone(),
        ..configured
    };
    let log = Log::to_stderr(Level::Info);
    let ready = || eprintln!("xend: simulated host; try: XEND=unix:{socket} xm list");
    let ended = run(Machine::new().world(), config, log, true, ready);
    let _ = fs::remove_dir_all(&logs); // There may be no logs.
    ended
}

/// Joins the parts and serves until a signal comes.
fn run(world: World, config: Config, log: Log, simulated: bool, ready: impl FnOnce()) -> Done {
    let runtime = Runtime::new().map_err(|e| format!("start the runtime: {e}"))?;
    let (events, _) = broadcast::channel(BACKLOG);
    let consoles = Consoles::new(
        &config.console_logs,
        config.console_address.clone(),
        Some(runtime.handle().clone()),
        events.clone(),
        log.clone(),
    );
    let site = Site {
        world: Arc::new(world),
        consoles: Arc::new(consoles),
        archive: Archive::new(&config.dbroot),
        config: Arc::new(config),
        log: log.clone(),
        disks: Arc::new(Mutex::new(())),
    };
    let node = Node::new(site, events, runtime.handle().clone());
    let config = node.site.config.clone();
    node.adopt()
        .map_err(|e| format!("adopt the domains: {e}"))?;
    if let Some(script) = &config.network_script {
        start_network(&node, &config, script);
    }
    let watched = node.clone();
    std::thread::Builder::new()
        .name("domain-watch".into())
        .spawn(move || {
            while let Err(error) = watched.watch() {
                watched
                    .site
                    .log
                    .error(&format!("watching the domains: {error}; again in a moment"));
                std::thread::sleep(Duration::from_secs(1));
            }
        })
        .map_err(|e| format!("start a thread: {e}"))?;
    let ended = runtime.block_on(listen(node.clone(), &config, simulated, ready));
    let _ = fs::remove_file(&config.socket);
    log.info("xend ends");
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended.map(|()| 0)
}

fn start_network(node: &Node, config: &Config, script: &str) {
    let path = config.script_path(script);
    let antispoof = if config.vif_antispoof { "yes" } else { "no" };
    let args = [
        "start".to_owned(),
        format!("bridge={}", config.vif_bridge),
        format!("antispoof={antispoof}"),
    ];
    if let Err(error) = node.site.world.host.run_script(&path, &args, &[]) {
        node.site.log.error(&format!("network-script: {error}"));
    }
}

async fn listen(
    node: Arc<Node>,
    config: &Config,
    simulated: bool,
    ready: impl FnOnce(),
) -> Result<(), String> {
    let guard = Guard {
        uid: rustix::process::geteuid().as_raw(),
        group: config.group.clone(),
        token: match config.port {
            Some(_) => Some(token(&config.token_file)?),
            None => None,
        },
        hosts: config
            .hosts
            .iter()
            .cloned()
            .chain([config.address.to_ascii_lowercase()])
            .filter(|host| !host.is_empty())
            .collect(),
    };
    let api = Api {
        node: node.clone(),
        guard: Arc::new(guard),
        simulated,
    };
    let unix = unix_socket(config)?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve_unix(unix, api.clone()));
    if let Some(port) = config.port {
        let address = if config.address.is_empty() {
            "::"
        } else {
            &config.address
        };
        let listener = TcpListener::bind((address, port))
            .await
            .map_err(|e| format!("{address} port {port}: {e}"))?;
        tasks.spawn(serve_tcp(listener, api));
    }
    use tokio::signal::unix::{SignalKind, signal};
    let on = |kind| signal(kind).map_err(|e| format!("wait for signals: {e}"));
    let (mut hup, mut term, mut int) = (
        on(SignalKind::hangup())?,
        on(SignalKind::terminate())?,
        on(SignalKind::interrupt())?,
    );
    node.site
        .log
        .info(&format!("xend serves {}", config.socket));
    let _ = node
        .events
        .send(Event::new("xend.start", serde_json::json!(0)));
    ready();
    tokio::select! {
        _ = hup.recv() => Ok(()),
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
        ended = tasks.join_next() => Err(format!("a listener ended: {ended:?}")),
    }
}

/// Opens the socket in place of one that a killed xend left.
fn unix_socket(config: &Config) -> Result<UnixListener, String> {
    let path = Path::new(&config.socket);
    let at = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(format!("{}: another xend serves it", path.display()));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(at)?;
    // Whoever connects is asked for its name by the kernel; the mode only spares the others the refusal.
    let gid = config.group.as_deref().and_then(group_id);
    if let (Some(gid), true) = (gid, rustix::process::geteuid().is_root()) {
        chown(path, None, Some(gid)).map_err(at)?;
    }
    let mode = if gid.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at)?;
    Ok(listener)
}

fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// The token of TCP clients; one is drawn where there is none.
fn token(path: &str) -> Result<String, String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(format!(
            "{path} is empty: write a token into it, or remove it"
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            let drawn =
                File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
            drawn.map_err(|e| format!("/dev/urandom: {e}"))?;
            let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path);
            made.and_then(|mut file| writeln!(file, "{token}"))
                .map_err(|e| format!("{path}: {e}"))?;
            Ok(token)
        }
        Err(error) => Err(format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::is_live_xend;

    #[test]
    fn a_killed_xend_whose_parent_sleeps_does_not_run() {
        assert!(is_live_xend("137 (xend) S 1 137 137 0 -1"));
        assert!(!is_live_xend("137 (xend) Z 1 137 137 0 -1"));
        assert!(!is_live_xend("137 (sh) S 1 137 137 0 -1"));
        assert!(!is_live_xend(""));
    }
}
