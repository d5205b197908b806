//! One domain of the warden's: how it is made, watched and destroyed, with the calls that libxc makes (pv-abi 9.5).

use core::fmt::Write;
use rexen_abi::arch_x86::VcpuGuestContext;
use rexen_abi::domctl::*;
use rexen_abi::memory::{XENMEM_populate_physmap, XenMemoryReservation};
use rexen_abi::plain::Plain;
use rexen_abi::sched;
use rexen_abi::xen::StartInfo;
use rexen_guests::control::{self, WINDOW_PAGES, Window};
use rexen_guests::report::{Text, print};
use rexen_guests::{abi, clock, event, hypercall, lone::Lone, memory};

use super::image::{Image, Layout};
use super::plan::Guest;

/// The largest domain, in pages.
const MOST_PAGES: usize = 16 * 1024;
/// What a guest's own end gives, and what a crash gives.
const POWEROFF: u32 = sched::SHUTDOWN_poweroff;
const CRASH: u32 = sched::SHUTDOWN_crash;
/// How long a dying domain may take.
const PATIENCE_NS: u64 = 5_000_000_000;

/// vcpus that have their vcpu_info in shared_info.
const LEGACY_VCPUS: u64 = 32;

const OUT: u64 = 1024;
const OUT_BYTES: u32 = 2048;
const OUT_CONS: u64 = 3080;
const OUT_PROD: u64 = 3084;

/// Frames of the domain that is being built.
static MFNS: Lone<[u64; MOST_PAGES]> = Lone::new([0; MOST_PAGES]);

/// A call that failed, and with what.
pub type Failure = (&'static str, i64);

/// A domain that runs, or did.
#[derive(Clone, Copy)]
pub struct Domain {
    /// Its number.
    pub id: u16,
    /// What the plan says.
    pub guest: Guest,
    /// The warden's end of its console's event channel.
    pub port: u32,
    console: Window,
    line: Text<240>,
    verdict: Verdict,
    /// Lines that tell no news are kept back.
    pub is_quiet: bool,
}

/// What a guest's own lines say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    None,
    Pass,
    Fail,
    Crashing,
}

/// How a domain is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It lives.
    Alive,
    /// It shut itself down or was crashed: SHUTDOWN_*.
    Shutdown(u32),
    /// There is no such domain.
    Gone,
}

fn need(call: &'static str, result: i64) -> Result<(), Failure> {
    if result == 0 {
        Ok(())
    } else {
        Err((call, result))
    }
}

fn domctl<T: Plain>(
    call: &'static str,
    cmd: u32,
    id: u16,
    argument: &mut T,
) -> Result<(), Failure> {
    need(call, control::domctl(cmd, id, argument).0)
}

impl Domain {
    /// Creates a domain, paused and empty.
    pub fn create(guest: &Guest, console: Window) -> Result<Self, Failure> {
        let mut argument = XenDomctlCreatedomain::ZERO;
        argument.handle = [0x5a; 16];
        argument.max_vcpus = guest.vcpus;
        argument.max_evtchn_port = 1023;
        argument.max_grant_frames = 32;
        argument.max_maptrack_frames = 128;
        let has_v2 = super::account::physinfo().capabilities
            & rexen_abi::sysctl::XEN_SYSCTL_PHYSCAP_gnttab_v2
            != 0;
        argument.grant_opts = if has_v2 { 2 } else { 1 };
        let (result, id) = control::domctl(XEN_DOMCTL_createdomain, 0xffff, &mut argument);
        need("createdomain", result)?;
        Ok(Self {
            id,
            guest: *guest,
            port: 0,
            console,
            line: Text::new(),
            verdict: Verdict::None,
            is_quiet: false,
        })
    }

    /// Fills it, so that it can be unpaused. `peers`, the numbers of the round's domains, go to its command line; the
    /// work is done through `window`.
    pub fn build(&mut self, image: &Image, window: Window, peers: &str) -> Result<(), Failure> {
        let pages = self.guest.pages;
        let layout = Layout::new(image, pages).ok_or(("its layout", pages as i64))?;
        let mut max = XenDomctlMaxVcpus {
            max: self.guest.vcpus,
        };
        domctl("max_vcpus", XEN_DOMCTL_max_vcpus, self.id, &mut max)?;
        let mut max = XenDomctlMaxMem {
            max_memkb: pages * 4,
        };
        domctl("max_mem", XEN_DOMCTL_max_mem, self.id, &mut max)?;
        let mfns = self.populate(pages)?;
        let mut info = XenDomctlGetdomaininfo::ZERO;
        domctl(
            "getdomaininfo",
            XEN_DOMCTL_getdomaininfo,
            self.id,
            &mut info,
        )?;

        let mut start_info = StartInfo::ZERO;
        start_info.magic[..14].copy_from_slice(b"xen-3.0-x86_64");
        start_info.nr_pages = pages;
        start_info.shared_info = info.shared_info_frame * memory::PAGE;
        start_info.flags = 0x10;
        start_info.store_mfn = mfns[layout.store as usize];
        start_info.console_mfn = mfns[layout.console as usize];
        let their_port = self.bind_console()?;
        start_info.console_evtchn = their_port;
        start_info.pt_base = layout.va(layout.l4);
        start_info.nr_pt_frames = layout.nr_tables();
        start_info.mfn_list = layout.p2m_va();
        let mut line = Text::<1000>::new();
        let _ = write!(
            line,
            "name={} domid={} peers={peers} {}",
            self.guest.name, self.id, self.guest.words
        );
        start_info.cmd_line[..line.as_bytes().len()].copy_from_slice(line.as_bytes());

        for (batch, frames) in mfns.chunks(WINDOW_PAGES).enumerate() {
            need("mapping its frames", window.map(self.id, frames, true))?;
            for index in 0..frames.len() {
                let pfn = (batch * WINDOW_PAGES + index) as u64;
                layout.fill(image, &start_info, mfns, pfn, window.page(index));
            }
        }
        need("unmapping its frames", window.clear())?;
        self.mask_events(info.shared_info_frame, window)?;
        self.pin(mfns[layout.l4 as usize])?;
        let console_frame = [mfns[layout.console as usize]];
        need(
            "mapping its console",
            self.console.map(self.id, &console_frame, true),
        )?;
        self.set_context(image, &layout, mfns[layout.l4 as usize])
    }

    fn populate(&self, pages: u64) -> Result<&'static [u64], Failure> {
        for pfn in 0..pages {
            memory::write(MFNS.address() + pfn * 8, pfn);
        }
        let mut reservation = XenMemoryReservation::ZERO;
        reservation.extent_start = MFNS.address();
        reservation.nr_extents = pages;
        reservation.domid = self.id;
        let populate = u64::from(XENMEM_populate_physmap);
        let done = hypercall::call(
            abi::MEMORY_OP,
            [populate, hypercall::pointer(&mut reservation)],
        );
        need("populate_physmap", done - pages as i64)?;
        Ok(memory::words(MFNS.address(), pages))
    }

    /// Makes the console's event channel; the domain's end of it.
    fn bind_console(&mut self) -> Result<u32, Failure> {
        let mut unbound = [u32::from(self.id), 0];
        need("alloc_unbound", event::op(6, &mut unbound))?;
        let mut bind = [u32::from(self.id), unbound[1], 0];
        need("bind_interdomain", event::op(0, &mut bind))?;
        self.port = bind[2];
        Ok(unbound[1])
    }

    /// Starts all its vcpus with events masked: the hypervisor leaves that to the toolstack.
    fn mask_events(&self, shared_info: u64, window: Window) -> Result<(), Failure> {
        need(
            "mapping its shared_info",
            window.map(self.id, &[shared_info], true),
        )?;
        for vcpu in 0..LEGACY_VCPUS {
            memory::write_byte(window.page(0) + vcpu * 64 + 1, 1);
        }
        need("unmapping it", window.clear())
    }

    fn pin(&self, l4: u64) -> Result<(), Failure> {
        let mut op = hypercall::MmuextOp {
            cmd: abi::MMUEXT_PIN_L4_TABLE,
            arg1: l4,
            arg2: 0,
        };
        let arguments = [hypercall::pointer(&mut op), 1, 0, u64::from(self.id)];
        need("pinning its L4", hypercall::call(abi::MMUEXT_OP, arguments))
    }

    fn set_context(&self, image: &Image, layout: &Layout, l4: u64) -> Result<(), Failure> {
        let mut context = VcpuGuestContext::ZERO;
        // VGCF_in_kernel and VGCF_online
        context.flags = 1 << 2 | 1 << 5;
        let stack = layout.va(layout.stack) + memory::PAGE;
        let registers = &mut context.user_regs;
        registers.rip = image.entry;
        registers.rsp = stack;
        registers.rsi = layout.va(layout.start_info);
        registers.rflags = abi::EFLAGS_IF;
        registers.cs = abi::FLAT_CS64 as u16;
        registers.ss = abi::FLAT_SS64 as u16;
        context.kernel_ss = abi::FLAT_SS64;
        context.kernel_sp = stack;
        context.ctrlreg[3] = l4 * memory::PAGE;
        let mut argument = XenDomctlVcpucontext::ZERO;
        argument.ctxt = hypercall::pointer(&mut context);
        domctl(
            "setvcpucontext",
            XEN_DOMCTL_setvcpucontext,
            self.id,
            &mut argument,
        )
    }

    /// Lets it run.
    pub fn unpause(&self) -> i64 {
        control::domctl(XEN_DOMCTL_unpausedomain, self.id, &mut 0u64).0
    }

    /// What getdomaininfo says about it, if it is there.
    pub fn info(&self) -> Option<XenDomctlGetdomaininfo> {
        let mut info = XenDomctlGetdomaininfo::ZERO;
        let (result, _) = control::domctl(XEN_DOMCTL_getdomaininfo, self.id, &mut info);
        (result == 0 && info.domain == self.id).then_some(info)
    }

    /// How it is.
    pub fn state(&self) -> State {
        match self.info().map(|info| info.flags) {
            None => State::Gone,
            Some(flags) if flags & XEN_DOMINF_shutdown != 0 => {
                State::Shutdown(flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask)
            }
            Some(_) => State::Alive,
        }
    }

    /// Prints what it has written since, line by line.
    pub fn drain_console(&mut self) {
        let page = self.console.page(0);
        let mut cons = memory::read_u32(page + OUT_CONS);
        let prod = memory::read_u32(page + OUT_PROD);
        // A hostile guest may claim any amount; no more than a ring of it is real.
        for _ in 0..prod.wrapping_sub(cons).min(OUT_BYTES) {
            match memory::read_byte(page + OUT + u64::from(cons % OUT_BYTES)) {
                b'\n' => self.end_line(),
                byte => self.line.push(byte),
            }
            cons = cons.wrapping_add(1);
        }
        if memory::read_u32(page + OUT_CONS) != prod {
            memory::write_u32(page + OUT_CONS, prod);
            event::send(self.port);
        }
    }

    fn end_line(&mut self) {
        let text = self.line.as_str();
        if text.starts_with("GUEST ") {
            self.verdict = match text.split(' ').nth(2) {
                Some("PASS") => Verdict::Pass,
                Some("CRASHING") => Verdict::Crashing,
                _ => Verdict::Fail,
            };
        }
        if !self.is_quiet || text.contains(" FAIL ") || text.contains("GUEST-CHECK") {
            print(format_args!("(d{}) {text}", self.id));
        }
        self.line = Text::new();
    }

    /// Whether it ended as it must: off with a PASS, or crashed when it said that this is what comes next. One in the
    /// background may also live on.
    pub fn has_passed(&self, state: State) -> bool {
        match (self.verdict, state) {
            (Verdict::Pass, State::Shutdown(POWEROFF))
            | (Verdict::Crashing, State::Shutdown(CRASH)) => true,
            (Verdict::None | Verdict::Pass, State::Alive) => self.guest.is_background,
            _ => false,
        }
    }

    /// Destroys it. It is gone when nobody maps its pages any more.
    pub fn destroy(&self) -> Result<(), Failure> {
        if self.port != 0 {
            need("closing its console's port", event::close(self.port))?;
        }
        need("unmapping its console", self.console.clear())?;
        domctl(
            "destroydomain",
            XEN_DOMCTL_destroydomain,
            self.id,
            &mut 0u64,
        )?;
        Ok(())
    }

    /// Waits until it is gone.
    pub fn await_end(&self) -> Result<(), Failure> {
        let end = clock::now() + PATIENCE_NS;
        while self.state() != State::Gone {
            if clock::now() > end {
                return Err(("dying", i64::from(self.id)));
            }
            super::wait(&[], 1);
        }
        Ok(())
    }
}
