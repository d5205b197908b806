//! `transcript.txt` played against our xend on a simulated host: every command, what it prints and how it exits.
//!
//! Lines of a transcript: `$ COMMAND`, `$~ COMMAND` (again until it comes out as written), each perhaps with ` < KEYS`
//! for what is typed; then what it prints, `! LINE` for standard error, and `[1]` when it fails. In these, `*` stands for
//! anything in a line and `...` for any lines. `#` begins a comment. Blanks at the end of lines do not count.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::fake::Said;
use crate::host::Host;

const TRANSCRIPT: &str = include_str!("transcript.txt");

/// 2.0's commands, and those that its development branch had soon after: reference, section 1.2.
const REFERENCE: &str = "help call create destroy shutdown sysrq save restore migrate pause unpause pincpu maxmem balloon \
     domid domname list console consoles info dmesg log bvt bvt_ctxallow atropos rrobin vif-list vbd-list vbd-create \
     vbd-destroy vbd-refresh vif-limit";

/// Commands that go on until their reader ends: a test of their own has their success.
const ENDLESS: [&str; 1] = ["events"];

/// One command of the transcript.
#[derive(Debug)]
struct Entry {
    /// Its line, for messages.
    nr: usize,
    command: &'static str,
    typed: &'static str,
    is_repeated: bool,
    /// What it should print, marks and all.
    wanted: Vec<&'static str>,
}

impl Entry {
    fn fails(&self) -> bool {
        self.wanted.iter().any(|line| line.starts_with("[1]"))
    }

    /// The command's own name, behind the program's and its options.
    fn name(&self) -> &'static str {
        let mut words = self.command.split(' ').skip(1);
        words.find(|word| !word.starts_with('-')).unwrap_or("help")
    }
}

fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (nr, line) in TRANSCRIPT.lines().enumerate() {
        if line.starts_with('#') || (line.is_empty() && entries.is_empty()) {
            continue;
        }
        let Some(rest) = line.strip_prefix('$') else {
            let entry = entries.last_mut().expect("a command comes first");
            entry.wanted.push(line.trim_end());
            continue;
        };
        let (is_repeated, command) = match rest.strip_prefix('~') {
            Some(command) => (true, command.trim()),
            None => (false, rest.trim()),
        };
        let (command, typed) = command.split_once(" < ").unwrap_or((command, ""));
        entries.push(Entry {
            nr: nr + 1,
            command,
            typed,
            is_repeated,
            wanted: Vec::new(),
        });
    }
    for entry in &mut entries {
        // A blank line divides; one that is meant is written `*`.
        while entry.wanted.last().is_some_and(|line| line.is_empty()) {
            entry.wanted.pop();
        }
    }
    entries
}

/// What was said, as a transcript has it.
fn shown(said: &Said) -> Vec<String> {
    let out = said.out.lines().map(|line| line.trim_end().to_owned());
    let err = said.err.lines();
    let err = err.map(|line| format!("! {line}").trim_end().to_owned());
    let status = (said.status != 0).then(|| format!("[{}]", said.status));
    out.chain(err).chain(status).collect()
}

/// Whether lines are as wanted, where `...` is any number of them.
fn fits(wanted: &[&str], lines: &[String]) -> bool {
    match wanted {
        [] => lines.is_empty(),
        ["...", rest @ ..] => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        [first, rest @ ..] => lines
            .split_first()
            .is_some_and(|(line, others)| is_like(first, line) && fits(rest, others)),
    }
}

/// Whether a line is as wanted, where `*` is any text.
fn is_like(wanted: &str, line: &str) -> bool {
    match wanted.split_once('*') {
        None => wanted == line,
        Some((head, tail)) => line.strip_prefix(head).is_some_and(|rest| {
            let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.any(|at| is_like(tail, &rest[at..]))
        }),
    }
}

/// Runs a command; returns the difference if it does not come out as wanted.
fn play(host: &Host, entry: &Entry) -> Option<String> {
    let until = Instant::now() + Duration::from_secs(60);
    let keys = entry.typed.replace("^]", "\x1d");
    loop {
        let lines = shown(&host.type_into(entry.command, &keys));
        if fits(&entry.wanted, &lines) {
            return None;
        }
        if !entry.is_repeated || Instant::now() > until {
            let (nr, command) = (entry.nr, entry.command);
            let (wanted, got) = (entry.wanted.join("\n"), lines.join("\n"));
            return Some(format!(
                "transcript.txt:{nr}: {command}\nwanted:\n{wanted}\ngot:\n{got}\n\n"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_command_prints_what_the_transcript_has() {
    let host = Host::start();
    for (name, more) in [("web", "vcpus = 2"), ("db", "restart = 'never'")] {
        host.guest(name, more);
    }
    host.fake.file(
        "number",
        "def check(var, val):\n    return int(val)\nxm_vars.var('vmid', use='Number.', check=check)\n\
         xm_vars.check()\nkernel = '/boot/k'\nname = 'vm%d' % vmid\nvif = ['mac=aa:00:00:00:00:33']\n",
    );
    host.fake.file(
        "done.sxp",
        "(vm (name done) (memory 32) (image (linux (kernel /k))))",
    );
    host.fake.file("wrong", "kernel = '/boot/k'\nmemroy = 64\n");
    let differences: String = entries().iter().filter_map(|e| play(&host, e)).collect();
    assert!(differences.is_empty(), "{differences}");
}

/// All of xm's commands and their other names, as its manual has them, and those that are hidden in it.
fn commands() -> BTreeSet<String> {
    let manual = include_str!("../../../../docs/xm.md");
    let mut commands: BTreeSet<String> = BTreeSet::new();
    for line in manual.lines() {
        if let Some(usage) = line.strip_prefix("### `") {
            let name = usage.split([' ', '`']).next().unwrap();
            commands.insert(name.to_owned());
        } else if let Some(others) = line.strip_prefix("Also called ") {
            let others = others.trim_end_matches('.').split(", ");
            commands.extend(others.map(str::to_owned));
        }
    }
    assert!(
        commands.len() > 50,
        "the manual has another form: {commands:?}"
    );
    for name in REFERENCE.split(' ') {
        assert!(
            commands.contains(name),
            "{name} is in the reference and not in xm"
        );
    }
    // Hidden from the manual, for completions and for who installs it.
    commands.extend(["manual", "complete-words"].map(str::to_owned));
    commands
}

#[test]
fn every_command_is_in_the_transcript_and_so_is_its_error() {
    let commands = commands();
    let entries = entries();
    let names = |fails: bool| -> BTreeSet<&str> {
        let of_kind = entries.iter().filter(|entry| entry.fails() == fails);
        of_kind.map(Entry::name).collect()
    };
    let (good, bad) = (names(false), names(true));
    for name in &commands {
        let name = name.as_str();
        // 2.0's help prints about unknown commands, and succeeds.
        assert!(
            name == "help" || bad.contains(name),
            "no error of {name} in transcript.txt"
        );
        let refused = [
            "save",
            "restore",
            "migrate",
            "bvt",
            "bvt_ctxallow",
            "atropos",
            "rrobin",
        ];
        let aliases = [
            "sched-bvt",
            "sched-bvt-ctxallow",
            "sched-atropos",
            "sched-rrobin",
        ];
        let never = refused.iter().chain(&aliases).chain(&ENDLESS);
        assert!(
            never.clone().any(|never| *never == name) != good.contains(name),
            "{name} in transcript.txt"
        );
    }
    for name in good.union(&bad) {
        assert!(
            commands.contains(*name) || *name == "frobnicate",
            "transcript.txt has {name}, which the manual has not"
        );
    }
}

#[test]
fn wanted_lines_may_leave_things_open() {
    assert!(is_like("a*c*", "abbcd") && !is_like("a*c", "abcd") && is_like("*", ""));
    let lines = ["x", "y", "z"].map(str::to_owned);
    assert!(fits(&["x", "...", "z"], &lines) && fits(&["..."], &lines));
    assert!(!fits(&["x", "y"], &lines) && !fits(&["...", "y"], &lines));
}

/// What looks and what changes without ending a domain, as JSON: a value each, of this kind.
#[test]
fn every_answer_is_there_as_json() {
    let host = Host::start();
    host.out(&format!("xm create -q {}", host.guest("web", "")));
    host.guest("db", "");
    for (line, kind) in [
        ("xm list", "array"),
        ("xm list -l web", "array"),
        ("xl list", "array"),
        ("xm domid web", "number"),
        ("xm domname 1", "string"),
        ("xm info", "object"),
        ("xm dmesg", "string"),
        ("xm log", "string"),
        ("xm consoles", "array"),
        ("xm uptime", "array"),
        ("xm vcpu-list", "array"),
        ("xm sched-credit", "array"),
        ("xm vbd-list web", "array"),
        ("xm vif-list web", "array"),
        ("xm block-list web", "array"),
        ("xm network-list web", "array"),
        ("xm top -i 1", "array"),
        ("xm call domain web", "string"),
        ("xm help", "string"),
        ("xm complete-words domains", "array"),
        ("xm create -n web", "object"),
        ("xm create --plan web", "object"),
        ("xm create -p db", "object"),
        ("xm pause web", "object"),
        ("xm unpause web", "object"),
        ("xm maxmem web 128", "object"),
        ("xm vif-limit web 0 1000 1000", "object"),
        ("xm vbd-refresh web xvda", "object"),
    ] {
        let value = host.json(line);
        let got = match value {
            serde_json::Value::Array(_) => "array",
            serde_json::Value::Object(_) => "object",
            serde_json::Value::String(_) => "string",
            serde_json::Value::Number(_) => "number",
            _ => "else",
        };
        assert_eq!(got, kind, "{line}: {value}");
    }
    let looks = host.out("xm --json top -i 2 -d 0.01");
    let mut looks = serde_json::Deserializer::from_str(&looks).into_iter::<serde_json::Value>();
    assert!(
        looks
            .by_ref()
            .all(|look| look.unwrap()[0]["name"] == "Domain-0")
    );
    // What cluster managers and people's scripts look for.
    let web = &host.json("xm list web")[0];
    for field in [
        "id",
        "name",
        "uuid",
        "memory",
        "maxmem",
        "vcpus",
        "vcpus_online",
        "state",
        "cpu_time",
        "up_time",
    ] {
        assert!(!web[field].is_null(), "{field}");
    }
    for device in [
        &host.json("xl block-list web")[0],
        &host.json("xl network-list web")[0],
    ] {
        let fields = device.as_object().unwrap();
        for field in ["devid", "backend", "state", "evtchn", "rings"] {
            assert!(fields.contains_key(field), "{field}");
        }
    }
}

/// tests/toolstack/dom0/xm.sh runs xm in a real domain 0: `good PATTERN ARG...` and `bad PATTERN ARG...`, or `x ARG...`
/// where more is looked at than that.
#[test]
fn every_command_is_run_in_a_domain_0_too() {
    let script = include_str!("../../../../tests/toolstack/dom0/xm.sh");
    let mut run = BTreeSet::new();
    for part in script
        .lines()
        .flat_map(|line| line.split("&& "))
        .flat_map(|part| part.split("; "))
    {
        let part = part.trim();
        let words = match part.split_once(' ') {
            // The pattern's end is the first quote after its first.
            Some(("good" | "bad", rest)) => {
                rest[1..].split_once(&rest[..1]).map(|(_, words)| words)
            }
            Some(("x" | "xm", words)) => Some(words),
            _ => None,
        };
        let words = words.unwrap_or("").split_whitespace();
        run.extend(words.filter(|word| !word.starts_with('-')).take(1));
    }
    for name in commands() {
        assert!(
            run.contains(name.as_str()),
            "xm.sh does not run {name}: {run:?}"
        );
    }
}
