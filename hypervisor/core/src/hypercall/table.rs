//! The one list of hypercalls.
#![allow(
    non_upper_case_globals,
    reason = "patterns name the headers' constants, in their spelling"
)]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rexen_abi::errno::Errno;
use rexen_abi::xen::*;

use super::authority::Control;
use super::handlers::{
    callbacks, console_io, cpu, domctl, event_channel_op, grant_table_op, memory_op, mmu_update,
    mmuext_op, multicall, physdev_op, platform_op, sched_op, set_gdt, sysctl, vcpu_op, xen_version,
};
use super::{Call, Machine, Outcome};

/// Who may make a hypercall. Handlers ask more of single commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every domain.
    Everyone,
    /// Domain 0; EPERM for others.
    Dom0,
    /// Nobody: it fails with this error.
    Nobody(Errno),
}

/// A hypercall as the list has it.
#[derive(Clone, Copy, Debug)]
pub struct Hypercall {
    /// Number in eax.
    pub number: u32,
    /// Name, that of `__HYPERVISOR_*` in `public/xen.h`.
    pub name: &'static str,
    /// Who may make it.
    pub who: Who,
    /// What it does.
    pub about: &'static str,
}

/// `number name: who handler, "about"` for each; makes the list and the dispatcher.
macro_rules! hypercalls {
    ($( $number:ident $name:literal: $who:ident $what:expr, $about:literal; )*) => {
        /// All hypercalls, except iret (23), which the entry code carries out itself.
        pub const HYPERCALLS: &[Hypercall] = &[$(
            Hypercall { number: $number, name: $name, who: hypercalls!(@who $who $what), about: $about },
        )*];

        #[inline(always)]
        fn route<M: Machine>(call: &mut Call<'_, M>, number: u32) -> Outcome {
            match number {
                $( $number => hypercalls!(@call $who $what, call), )*
                _ => Outcome::Done(Errno::ENOSYS.to_rax()),
            }
        }
    };
    (@who everyone $what:expr) => { Who::Everyone };
    (@who dom0 $what:expr) => { Who::Dom0 };
    (@who nobody $what:expr) => { Who::Nobody($what) };
    (@call everyone $what:expr, $call:ident) => { $what($call) };
    (@call dom0 $what:expr, $call:ident) => {
        match Control::of($call.domain) {
            Ok(control) => $what($call, control),
            Err(e) => Outcome::Done(e.to_rax()),
        }
    };
    (@call nobody $what:expr, $call:ident) => { Outcome::Done($what.to_rax()) };
}

hypercalls! {
    __HYPERVISOR_set_trap_table "set_trap_table": everyone callbacks::set_trap_table, "Sets exception handlers.";
    __HYPERVISOR_mmu_update "mmu_update": everyone mmu_update::mmu_update, "Changes page-table entries.";
    __HYPERVISOR_set_gdt "set_gdt": everyone set_gdt::set_gdt, "Replaces the GDT.";
    __HYPERVISOR_stack_switch "stack_switch": everyone callbacks::stack_switch, "Sets the kernel stack.";
    __HYPERVISOR_set_callbacks "set_callbacks": everyone callbacks::set_callbacks, "Sets entry points, the old way.";
    __HYPERVISOR_fpu_taskswitch "fpu_taskswitch": everyone cpu::fpu_taskswitch, "Sets or clears virtual CR0.TS.";
    __HYPERVISOR_platform_op "platform_op": dom0 platform_op::platform_op, "Time, firmware, power.";
    __HYPERVISOR_set_debugreg "set_debugreg": everyone cpu::set_debugreg, "Sets a debug register.";
    __HYPERVISOR_get_debugreg "get_debugreg": everyone cpu::get_debugreg, "Reads a debug register.";
    __HYPERVISOR_update_descriptor "update_descriptor": everyone set_gdt::update_descriptor, "Writes a descriptor.";
    __HYPERVISOR_memory_op "memory_op": everyone memory_op::memory_op, "Memory reservation and maps.";
    __HYPERVISOR_multicall "multicall": everyone multicall::multicall, "Several hypercalls in one.";
    __HYPERVISOR_update_va_mapping "update_va_mapping": everyone mmu_update::update_va_mapping, "Maps one address.";
    __HYPERVISOR_set_timer_op "set_timer_op": everyone cpu::set_timer_op, "Sets the one-shot timer.";
    __HYPERVISOR_xen_version "xen_version": everyone xen_version::xen_version, "What the hypervisor is.";
    __HYPERVISOR_console_io "console_io": dom0 console_io::console_io, "The hypervisor's console.";
    __HYPERVISOR_grant_table_op "grant_table_op": everyone grant_table_op::grant_table_op, "Sharing of frames.";
    __HYPERVISOR_vm_assist "vm_assist": everyone cpu::vm_assist, "Switches assists on and off.";
    __HYPERVISOR_update_va_mapping_otherdomain "update_va_mapping_otherdomain":
        everyone mmu_update::update_va_mapping_otherdomain, "Maps one address to another domain's frame.";
    __HYPERVISOR_vcpu_op "vcpu_op": everyone vcpu_op::vcpu_op, "Vcpus, their timers and areas.";
    __HYPERVISOR_set_segment_base "set_segment_base": everyone cpu::set_segment_base, "Sets FS and GS bases.";
    __HYPERVISOR_mmuext_op "mmuext_op": everyone mmuext_op::mmuext_op, "Pins, page-table bases, flushes.";
    __HYPERVISOR_xsm_op "xsm_op": nobody Errno::ENOSYS, "Security modules: none.";
    __HYPERVISOR_nmi_op "nmi_op": everyone callbacks::nmi_op, "Sets the NMI handler.";
    __HYPERVISOR_sched_op "sched_op": everyone sched_op::sched_op, "Yields, blocks, polls, shuts down.";
    __HYPERVISOR_callback_op "callback_op": everyone callbacks::callback_op, "Sets entry points.";
    __HYPERVISOR_xenoprof_op "xenoprof_op": nobody Errno::ENOSYS, "Profiling: none.";
    __HYPERVISOR_event_channel_op "event_channel_op": everyone event_channel_op::event_channel_op, "Ports.";
    __HYPERVISOR_physdev_op "physdev_op": everyone physdev_op::physdev_op, "Physical interrupts and devices.";
    __HYPERVISOR_hvm_op "hvm_op": nobody Errno::ENOSYS, "Hardware-assisted guests: none.";
    __HYPERVISOR_sysctl "sysctl": dom0 sysctl::sysctl, "The toolstack's view of the machine.";
    __HYPERVISOR_domctl "domctl": dom0 domctl::domctl, "The toolstack's view of a domain.";
    __HYPERVISOR_kexec_op "kexec_op": nobody Errno::ENOSYS, "Crash kernels: none.";
    __HYPERVISOR_tmem_op "tmem_op": nobody Errno::ENOSYS, "Gone from Xen too.";
    __HYPERVISOR_argo_op "argo_op": nobody Errno::ENOSYS, "Argo: none.";
    __HYPERVISOR_xenpmu_op "xenpmu_op": nobody Errno::EOPNOTSUPP, "Performance counters: none.";
    __HYPERVISOR_dm_op "dm_op": nobody Errno::EOPNOTSUPP, "Device models: none.";
    __HYPERVISOR_hypfs_op "hypfs_op": nobody Errno::ENOSYS, "The hypervisor's file system: none.";
    __HYPERVISOR_arch_0 "mca": nobody Errno::ENOSYS, "Machine checks: not told.";
}

/// Carries out hypercall `number`.
///
/// A number or an operation that is not there gets ENOSYS or EOPNOTSUPP, and now and then a line in the log.
#[inline]
pub fn dispatch<M: Machine>(call: &mut Call<'_, M>, number: u32) -> Outcome {
    let operation = call.args[0];
    let outcome = route(call, number);
    if let Outcome::Done(result) = outcome
        && (result == Errno::ENOSYS.to_rax() || result == Errno::EOPNOTSUPP.to_rax())
    {
        not_there(call, number, operation);
    }
    outcome
}

/// How many calls found nothing.
static NOT_THERE: AtomicU32 = AtomicU32::new(0);

/// A guest can make these at will: only the first and then each power of two is logged.
#[cold]
fn not_there<M: Machine>(call: &Call<'_, M>, number: u32, operation: u64) {
    let count = NOT_THERE.fetch_add(1, Relaxed).wrapping_add(1);
    if count.is_power_of_two() {
        let (dom, vcpu) = (call.domain.id.0, call.vcpu.id.0);
        let known = HYPERCALLS.iter().find(|h| h.number == number);
        let name = known.map_or("unknown", |h| h.name);
        call.m.log(
            1,
            format_args!(
                "d{dom}v{vcpu}: hypercall {number} ({name}), operation {operation:#x}, is not there ({count} such so far)"
            ),
        );
    }
}
