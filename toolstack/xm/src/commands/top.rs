//! `top`: who uses the CPUs and the memory, over and over.

use std::collections::HashMap;
use std::io::stdin;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::isatty;
use serde_json::Value;

use crate::cli::Top;
use crate::client::{Client, typed};
use crate::error::{Error, Result};
use crate::model::Domain;
use crate::report::{Report, emit};
use crate::terminal::Raw;

/// Goes to the upper left corner, and clears from there.
const CLEAR: &str = "\x1b[H\x1b[J";

/// What was seen before: CPU seconds by id, and when.
struct Before {
    at: Instant,
    used: HashMap<u32, f64>,
}

/// `top`; as JSON, the domains of each look on a line.
pub fn run(client: &Client, args: &Top, json: bool) -> Result<Report> {
    let batch = json || args.batch || !isatty(std::io::stdout());
    let raw = if batch { None } else { Some(Raw::enter()?) };
    let mut before: Option<Before> = None;
    let mut round = 0;
    loop {
        let value = client.domains()?;
        let domains: Vec<Domain> = typed(&value)?;
        let node = client.get("node")?;
        let now = Instant::now();
        let shares = shares(&domains, before.as_ref(), now);
        let text = page(&domains, &shares, &node);
        round += 1;
        let last = args.iterations != 0 && round >= args.iterations;
        if batch && last {
            return Ok(Report::new(text, value));
        }
        match &raw {
            Some(raw) if raw.is_terminal() => {
                emit(&format!("{CLEAR}{}", text.replace('\n', "\r\n")))?;
            }
            _ if json => emit(&format!("{value}\n"))?,
            _ => emit(&format!("{text}\n"))?,
        }
        if last || pause(args.delay, raw.is_some())? {
            return Ok(Report::default());
        }
        let used = domains.iter().map(|d| (d.id, d.cpu_time)).collect();
        before = Some(Before { at: now, used });
    }
}

/// Each domain's part of one CPU since the last look, in per cent; none at the first.
fn shares(domains: &[Domain], before: Option<&Before>, now: Instant) -> Vec<f64> {
    let share = |d: &Domain| {
        let before = before?;
        let passed = now.duration_since(before.at).as_secs_f64();
        let used = d.cpu_time - before.used.get(&d.id)?;
        (passed > 0.0).then(|| (used / passed * 100.0).max(0.0))
    };
    domains.iter().map(|d| share(d).unwrap_or(0.0)).collect()
}

fn page(domains: &[Domain], shares: &[f64], node: &Value) -> String {
    let total = node["memory"].as_u64().unwrap_or(0);
    let free = node["free_memory"].as_u64().unwrap_or(0);
    let count = |letter| domains.iter().filter(|d| d.state.contains(letter)).count();
    let mut out = format!(
        "{} domains: {} running, {} blocked, {} paused, {} crashed, {} dying, {} shutdown\n\
         Mem: {total} MB total, {} MB used, {free} MB free    CPUs: {} @ {} MHz\n",
        domains.len(),
        count('r'),
        count('b'),
        count('p'),
        count('c'),
        count('d'),
        count('s'),
        total.saturating_sub(free),
        node["nr_cpus"]
            .as_u64()
            .or(node["cores"].as_u64())
            .unwrap_or(0),
        node["cpu_mhz"].as_u64().unwrap_or(0),
    );
    out += "      NAME  STATE   CPU(sec) CPU(%)    MEM(MB) MEM(%)  MAXMEM(MB) VCPUS\n";
    let mut rows: Vec<(&Domain, f64)> = domains.iter().zip(shares.iter().copied()).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.id.cmp(&b.0.id)));
    for (d, share) in rows {
        #[expect(clippy::cast_precision_loss)]
        let part = if total == 0 {
            0.0
        } else {
            d.memory as f64 * 100.0 / total as f64
        };
        let most = d
            .maxmem
            .map_or_else(|| "no limit".to_owned(), |m| m.to_string());
        out += &format!(
            "{:>10} {:>6} {:>10.0} {share:>6.1} {:>10} {part:>6.1} {most:>11} {:>5}\n",
            d.name, d.state, d.cpu_time, d.memory, d.vcpus
        );
    }
    out
}

/// Waits for the next look; returns whether the user wants to end: q, Ctrl-C or Ctrl-].
fn pause(seconds: f64, keys: bool) -> Result<bool> {
    let wait = Duration::from_secs_f64(seconds);
    if !keys {
        std::thread::sleep(wait);
        return Ok(false);
    }
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let stdin = stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(Error::Io("the terminal fails".to_owned(), e.into())),
            Ok(_) => {}
        }
        let mut key = [0; 16];
        let count = rustix::io::read(&stdin, &mut key).unwrap_or(0);
        if count == 0
            || key[..count]
                .iter()
                .any(|k| matches!(k, b'q' | b'Q' | 3 | 0x1d))
        {
            return Ok(true);
        }
    }
}
