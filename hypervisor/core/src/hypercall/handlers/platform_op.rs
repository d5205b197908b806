//! What domain 0 asks of the machine (`public/platform.h`).

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::platform::*;

use super::args::element;
use crate::hypercall::authority::Control;
use crate::hypercall::{Call, Machine, Outcome, PowerAction};
use crate::time::Wallclock;
use crate::units::{CpuId, Nanos};

/// The ACPI sleep state that is switching off.
const SOFT_OFF: u32 = 5;
/// Byte offset of the union in the envelope.
const UNION: u64 = 8;

/// `platform_op(op)`.
pub fn platform_op<M: Machine>(call: &mut Call<'_, M>, _: Control) -> Outcome {
    act(call).into()
}

fn act<M: Machine>(call: &Call<'_, M>) -> Result<(), Errno> {
    let at = call.args[0];
    let op = call.read::<XenPlatformOp>(at)?;
    if op.interface_version != XENPF_INTERFACE_VERSION {
        return Err(Errno::EACCES);
    }
    let union = element(at, UNION, 1);
    match op.cmd {
        XENPF_settime32 => {
            let time: XenpfSettime32 = member(&op)?;
            set_time(call, u64::from(time.secs), time.nsecs, time.system_time)
        }
        XENPF_settime64 => {
            let time: XenpfSettime64 = member(&op)?;
            if time.mbz != 0 {
                return Err(Errno::EINVAL);
            }
            set_time(call, time.secs, time.nsecs, time.system_time)
        }
        XENPF_firmware_info => {
            let info: XenpfFirmwareInfo = member(&op)?;
            call.write(union, &firmware_info(info)?)
        }
        XENPF_enter_acpi_sleep => enter_acpi_sleep(call, &member(&op)?),
        XENPF_getidletime => {
            let asked: XenpfGetidletime = member(&op)?;
            call.write(union, &idle_times(call, asked)?)
        }
        XENPF_get_cpuinfo => {
            let asked: XenpfPcpuinfo = member(&op)?;
            call.write(union, &cpu_info(call.m, asked))
        }
        // CPUs stay up; their frequency and idle states are the firmware's.
        XENPF_cpu_online => Ok(()),
        XENPF_cpu_offline | XENPF_cpu_hotadd | XENPF_mem_hotadd | XENPF_core_parking => {
            Err(Errno::EOPNOTSUPP)
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn member<T: Plain>(op: &XenPlatformOp) -> Result<T, Errno> {
    T::read(&op.u).ok_or(Errno::EINVAL)
}

fn set_time<M: Machine>(
    call: &Call<'_, M>,
    secs: u64,
    nsecs: u32,
    system_time: u64,
) -> Result<(), Errno> {
    let clock = Wallclock::try_new(secs, nsecs, Nanos(system_time)).ok_or(Errno::EINVAL)?;
    call.m.set_wall_clock(clock.secs, clock.nsecs);
    Ok(())
}

/// We asked the firmware nothing before we left real mode.
fn firmware_info(mut info: XenpfFirmwareInfo) -> Result<XenpfFirmwareInfo, Errno> {
    match info.kind {
        XEN_FW_DISK_INFO | XEN_FW_DISK_MBR_SIGNATURE | XEN_FW_VBEDDC_INFO => {
            Err(if info.index == 0 && info.kind == XEN_FW_VBEDDC_INFO {
                Errno::EINVAL
            } else {
                Errno::ESRCH
            })
        }
        XEN_FW_EFI_INFO => Err(Errno::EINVAL),
        XEN_FW_KBD_SHIFT_FLAGS => {
            info.u = [0; 32];
            Ok(info)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn enter_acpi_sleep<M: Machine>(
    call: &Call<'_, M>,
    asked: &XenpfEnterAcpiSleep,
) -> Result<(), Errno> {
    if asked.flags & !XENPF_ACPI_SLEEP_EXTENDED != 0 {
        return Err(Errno::EINVAL);
    }
    if asked.sleep_state != SOFT_OFF || asked.flags != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    call.m.power(PowerAction::Off {
        pm1a: asked.val_a,
        pm1b: asked.val_b,
    });
    Ok(())
}

/// Gives the idle times of the CPUs in the guest's bitmap, and clears those that are not up.
fn idle_times<M: Machine>(
    call: &Call<'_, M>,
    mut asked: XenpfGetidletime,
) -> Result<XenpfGetidletime, Errno> {
    let bytes = asked.cpumap_nr_cpus.min(call.m.nr_cpus()).div_ceil(8);
    for n in 0..bytes {
        let at = element(asked.cpumap_bitmap, u64::from(n), 1);
        let wanted = call.read::<u8>(at)?;
        let mut known = 0;
        for bit in (0..8).filter(|bit| wanted & 1 << bit != 0) {
            let cpu = n * 8 + bit;
            if cpu < call.m.nr_cpus() && cpu < asked.cpumap_nr_cpus {
                call.write(
                    element(asked.idletime, u64::from(cpu), 8),
                    &call.m.idle_time(CpuId(cpu)).0,
                )?;
                known |= 1 << bit;
            }
        }
        call.write(at, &known)?;
    }
    asked.now = call.m.now().0;
    Ok(asked)
}

fn cpu_info<M: Machine>(m: &M, mut info: XenpfPcpuinfo) -> XenpfPcpuinfo {
    info.max_present = m.nr_cpus().saturating_sub(1);
    (info.flags, info.apic_id, info.acpi_id) = match m.cpu_ids(CpuId(info.xen_cpuid)) {
        Some((apic, acpi)) => (XEN_PCPU_FLAGS_ONLINE, apic, acpi),
        None => (XEN_PCPU_FLAGS_INVALID, 0, 0),
    };
    info
}
