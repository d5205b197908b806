//! `xenctl-check KERNEL [RAMDISK]`, in domain 0: uses every part of xenctl once on the real hypervisor.
//!
//! Says what the machine is; builds a domain of 256 MiB, lists it, pauses and pins it, reads its first console output,
//! crashes it and waits for the event, destroys it, and compares the free memory. A line for each, the end is
//! `CHECKED ok` or `CHECKED FAIL why`. Nothing is left behind, whatever happens.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rexen_xenctl::build::{Kernel, Plan, Spec};
use rexen_xenctl::{
    CpuSet, CreditShare, DomId, EventChannels, EvtchnPort, Gntdev, GrantRef, NewDomain,
    ShutdownReason, VcpuId, Virq, Xen, console_rings, store_rings,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MIB: u64 = 256;
const PAGES: u64 = 256 * MIB;
/// A guest of an emulated machine is slow.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    match run() {
        Ok(()) => println!("CHECKED ok"),
        Err(error) => {
            println!("CHECKED FAIL {error}");
            std::process::exit(1);
        }
    }
}

fn run() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1);
    let kernel = arguments
        .next()
        .ok_or("usage: xenctl-check KERNEL [RAMDISK]")?;
    let kernel = std::fs::read(kernel)?;
    let ramdisk = arguments.next().map_or(Ok(Vec::new()), std::fs::read)?;

    let xen = Xen::open()?;
    machine(&xen)?;
    let events = EventChannels::open()?;
    let deaths = events.bind_virq(Virq::DomainChanged)?;
    // The first time, the hypervisor's own heap may grow; from then on each page must come back.
    cycle(&xen, &events, deaths, &kernel, &ramdisk)?;
    let free = free_pages(&xen)?;
    let domain = cycle(&xen, &events, deaths, &kernel, &ramdisk)?;
    until("its memory is back", || Ok(free_pages(&xen)? >= free))?;
    say("memory", format_args!("{free} pages are free again"));
    for error in [xen.pause(domain).err(), xen.unpause(DomId(0x7ff5)).err()] {
        match error {
            Some(error) if error.is_no_domain() => say("refused", error),
            other => return Err(format!("a call on no domain gave {other:?}").into()),
        }
    }
    Ok(())
}

/// Makes a domain, lets it live and destroys it.
fn cycle(
    xen: &Xen,
    events: &EventChannels,
    deaths: EvtchnPort,
    kernel: &[u8],
    ramdisk: &[u8],
) -> Outcome<DomId> {
    let domain = xen.create_domain(&NewDomain {
        handle: *b"xenctl-check-uid",
        max_vcpus: 2,
        ..NewDomain::default()
    })?;
    let outcome = life(xen, events, deaths, domain, kernel, ramdisk);
    let destroyed = xen.destroy(domain);
    outcome?;
    destroyed?;
    until("it is gone", || Ok(xen.domain(domain)?.is_none()))?;
    say(
        "destroyed",
        format_args!("{} pages are free", free_pages(xen)?),
    );
    Ok(domain)
}

fn say(what: &str, detail: impl Display) {
    println!("{what}: {detail}");
}

fn free_pages(xen: &Xen) -> Outcome<u64> {
    Ok(xen.physinfo()?.free_pages)
}

fn until(what: &str, mut done: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let end = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > end {
            return Err(format!("waited in vain until {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What the machine is.
fn machine(xen: &Xen) -> Outcome<()> {
    let facts = xen.build_facts()?;
    say("version", xen.version()?);
    say("capabilities", &facts.capabilities);
    say("command line", &facts.command_line);
    say("scheduler", xen.scheduler()?.name());
    let physinfo = xen.physinfo()?;
    say(
        "memory",
        format_args!(
            "{} of {} pages free",
            physinfo.free_pages, physinfo.total_pages
        ),
    );
    let topology = xen.cpu_topology()?;
    if topology.len() != physinfo.nr_cpus as usize {
        return Err(format!(
            "{} CPUs, but {} sit somewhere",
            physinfo.nr_cpus,
            topology.len()
        )
        .into());
    }
    if xen.cpu_idle_times()?.len() != topology.len() {
        return Err("not every CPU says how long it was idle".into());
    }
    let log = xen.read_log(None)?;
    let before = String::from_utf8_lossy(&log.text).len();
    xen.debug_keys("h")?;
    let more = xen.read_log(Some(log.next))?;
    if more.text.is_empty() {
        return Err("the debug key h left nothing in the log".into());
    }
    say(
        "log",
        format_args!("{before} bytes, then {} more", more.text.len()),
    );
    if xen.max_frame()?.0 == 0 {
        return Err("there is no highest frame".into());
    }
    Ok(())
}

fn life(
    xen: &Xen,
    events: &EventChannels,
    deaths: EvtchnPort,
    domain: DomId,
    kernel: &[u8],
    ramdisk: &[u8],
) -> Outcome<()> {
    let kernel = Kernel::unpack(kernel)?;
    let plan = Plan::new(
        &kernel,
        Spec {
            ramdisk,
            cmdline: "console=hvc0 panic=1",
            pages: PAGES,
            max_kib: PAGES * 4,
            vcpus: 2,
            store_domain: DomId::DOM0,
            console_domain: DomId::DOM0,
        },
    )?;
    let began = Instant::now();
    let built = plan.carry_out(domain, xen, |step| say("step", step))?;
    say(
        "built",
        format_args!("in {} ms", began.elapsed().as_millis()),
    );

    let listed = xen.domains()?;
    let info = listed
        .iter()
        .find(|info| info.id == domain)
        .ok_or("the new domain is not listed")?;
    if !info.is_paused || info.pages != PAGES || info.max_vcpu_id != Some(1) {
        return Err(format!("the new domain is odd: {info:?}").into());
    }
    say("listed", format_args!("{} domains", listed.len()));

    let wanted: CpuSet = [0].into_iter().collect();
    let affinity = xen.set_affinity(domain, VcpuId(0), Some(&wanted), None)?;
    if affinity.hard != xen.affinity(domain, VcpuId(0))?.hard || !affinity.hard.contains(0) {
        return Err(format!("pinned to {affinity:?}").into());
    }
    let share = CreditShare {
        weight: 512,
        cap: 0,
    };
    xen.set_credit_share(domain, share)?;
    if xen.credit_share(domain)? != share {
        return Err("its share is not what was set".into());
    }
    xen.set_time_offset(domain, 3600)?;

    let gntdev = Gntdev::open()?;
    let console_page = Arc::new(gntdev.map(domain, GrantRef(0))?);
    let store_page = Arc::new(xen.map_foreign(domain, &[built.store_frame], true)?);
    let console = events.bind_interdomain(domain, built.console_port)?;
    let (output, _) = console_rings(&console_page);
    let (requests, _) = store_rings(&store_page);

    xen.unpause(domain)?;
    let mut text = Vec::new();
    // A kernel waits for room in its console's ring, so it is read all the time.
    until(
        "its console says what it is, and it asks xenstore for something",
        || {
            let mut bytes = [0; 2048];
            let len = output.read(&mut bytes)?;
            if len != 0 {
                events.notify(console)?;
                text.extend_from_slice(&bytes[..len]);
            }
            while let Some(port) = events.next_event()? {
                events.unmask(port)?;
            }
            let said = String::from_utf8_lossy(&text);
            Ok(said.contains("Linux version") && requests.readable()? != 0)
        },
    )?;
    for line in String::from_utf8_lossy(&text).lines().take(4) {
        say("console", line.trim_end());
    }
    say("console", format_args!("{} bytes", text.len()));
    say(
        "xenstore",
        format_args!("{} bytes of requests", requests.readable()?),
    );

    xen.pause(domain)?;
    let vcpu = xen.vcpu(domain, VcpuId(0))?;
    let context = xen.vcpu_context(domain, VcpuId(0))?;
    if vcpu.cpu_time == 0 || context.user_regs.rip == 0 {
        return Err("vcpu 0 has not run".into());
    }
    say(
        "vcpu 0",
        format_args!("ran {} ms", vcpu.cpu_time / 1_000_000),
    );
    xen.unpause(domain)?;

    xen.shut_down(domain, ShutdownReason::Crash)?;
    let end = Instant::now() + PATIENCE;
    loop {
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(events, PollFlags::IN)], Some(&second))?;
        match events.next_event()? {
            Some(port) if port == deaths => break events.unmask(port)?,
            Some(port) => events.unmask(port)?,
            None if Instant::now() > end => return Err("no event told of its end".into()),
            None => {}
        }
    }
    let shutdown = xen.domain(domain)?.and_then(|info| info.shutdown);
    if shutdown != Some(ShutdownReason::Crash) {
        return Err(format!("crashed, it is {shutdown:?}").into());
    }
    say("crashed", "and the event came");
    events.unbind(console)?;
    Ok(())
}
