//! Behaviour: I/O port instructions (pv-abi 3.8).
//! Trigger: in and out with and without virtual IOPL and I/O bitmap, from kernel and user mode.
//! Expectation: #GP without permission; ports that the hypervisor keeps read all ones; good ones work.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, guest, hypercall, machine, memory, trap, user, user_code,
};

guest!("io_ports", main);

const SET_IOPL: u64 = 6;
const SET_IOBITMAP: u64 = 7;

user_code!(read_port, "mov edx, 0x80", "in al, dx", "ud2");

fn set_iopl(iopl: u32) -> i64 {
    let mut argument = iopl;
    hypercall::call(
        abi::PHYSDEV_OP,
        [SET_IOPL, hypercall::pointer(&mut argument)],
    )
}

fn set_bitmap(bitmap: u64, ports: u64) -> i64 {
    let mut argument = [bitmap, ports];
    hypercall::call(
        abi::PHYSDEV_OP,
        [SET_IOBITMAP, hypercall::pointer(&mut argument)],
    )
}

fn read_byte(port: u16) -> Result<u8, (u64, u64)> {
    let mut value = 0u8;
    let seen = trap::catch(|| machine!("in al, dx", in("dx") port, inout("al") value));
    seen.map_or(Ok(value), |frame| Err((frame.vector, frame.error)))
}

fn main() {
    let refused = Err((trap::GP, 0));
    check_eq!(read_byte(0x80), refused, "in without IOPL");
    check_eq!(
        trap::catch(|| machine!("cli")).map(|f| f.vector),
        Some(trap::GP),
        "cli without IOPL"
    );
    check_eq!(set_iopl(4), abi::EINVAL, "set_iopl(4)");
    check_eq!(set_iopl(1), 0, "set_iopl(1)");
    check!(read_byte(0x80).is_ok(), "in with IOPL");
    kept_ports_read_ones();
    good_ports_work();
    check_eq!(
        trap::catch(|| machine!("cli", "sti")).map(|f| f.vector),
        None,
        "cli and sti with IOPL"
    );
    check_eq!(set_iopl(0), 0, "set_iopl(0)");
    check_eq!(read_byte(0x80), refused, "in without IOPL again");
    bitmap(refused);
    from_user_mode();
}

fn kept_ports_read_ones() {
    // The interrupt controllers, two channels of the timer (the third is emulated) and the hypervisor's console.
    for port in [0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x3f8, 0x3fd] {
        check_eq!(read_byte(port), Ok(0xff), "in of port {port:#x}");
    }
    let mut long = 0u32;
    machine!("in eax, dx", in("dx") 0x3f8u16, inout("eax") long);
    check_eq!(long, u32::MAX, "a long read of kept ports");
    let mut word = 0u16;
    machine!("in ax, 0x40", inout("ax") word);
    check_eq!(word, 0xffff, "a short read of kept ports");
    // A write is dropped.
    machine!("out dx, al", in("dx") 0x21u16, in("al") 0u8);
}

fn good_ports_work() {
    // The keyboard controller's status is a real port: not all ones in QEMU.
    check!(
        read_byte(0x64).is_ok_and(|value| value != 0xff),
        "in of port 0x64: {:?}",
        read_byte(0x64)
    );
    // The CMOS index and data ports are the guest's, through the hypervisor.
    let seconds: u8;
    machine!("mov al, 0", "out 0x70, al", "in al, 0x71", out("al") seconds);
    check!(seconds < 0x60, "the seconds in CMOS: {seconds:#x}");
    // rep insb.
    let page = memory::new_page();
    machine!("rep insb", inout("rdi") page => _, inout("ecx") 4u32 => _, in("dx") 0x20u16);
    check_eq!(memory::read(page), 0xffff_ffff, "rep insb of a kept port");
    let left: u64;
    machine!("rep outsb", inout("rsi") page => _, inout("rcx") 4u64 => left, in("dx") 0x80u16);
    check_eq!(left, 0, "rcx after rep outsb");
}

fn bitmap(refused: Result<u8, (u64, u64)>) {
    let [low, high] = [memory::new_page(), memory::new_page()];
    for offset in (0..8192).step_by(8) {
        memory::write(low + offset, u64::MAX);
    }
    check_eq!(high, low + 4096, "pages in a row");
    memory::write_byte(low + 0x80 / 8, 0xfe);
    check_eq!(
        set_bitmap(low, 65537),
        abi::EINVAL,
        "set_iobitmap of too many ports"
    );
    check_eq!(set_bitmap(low, 65536), 0, "set_iobitmap");
    check!(read_byte(0x80).is_ok(), "in of a port whose bit is clear");
    check_eq!(read_byte(0x81), refused, "in of a port whose bit is set");
    let mut word = 0u16;
    let seen = trap::catch(|| machine!("in ax, dx", in("dx") 0x80u16, inout("ax") word));
    check_eq!(
        seen.map(|f| f.vector),
        Some(trap::GP),
        "in of two ports, one bit set"
    );
    check_eq!(set_bitmap(low, 0x80), 0, "set_iobitmap of 128 ports");
    check_eq!(
        read_byte(0x80),
        refused,
        "in of the port after the bitmap's end"
    );
    check_eq!(set_bitmap(0, 0), 0, "no bitmap");
}

fn from_user_mode() {
    let space = user::Space::new();
    space.load(read_port());
    let iopl_is_the_users = |iopl, vector| {
        set_iopl(iopl);
        check_eq!(
            user::run(user::start_frame()).vector,
            vector,
            "in from user mode with IOPL {iopl}"
        );
    };
    iopl_is_the_users(1, trap::GP);
    iopl_is_the_users(3, trap::UD);
    iopl_is_the_users(0, trap::GP);
}
