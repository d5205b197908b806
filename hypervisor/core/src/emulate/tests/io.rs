//! The check that decides between an I/O instruction and #GP.

use super::*;
use crate::emulate::io::{NoBitmap, PortBitmap, bitmap_allows, io_allowed, iopl_allows};

/// A bitmap in which just the listed ports are allowed; bytes past `readable` cannot be read.
struct Bitmap {
    nr_ports: u32,
    allowed: Vec<u16>,
    readable: u32,
}

impl PortBitmap for Bitmap {
    fn nr_ports(&self) -> u32 {
        self.nr_ports
    }
    fn byte(&mut self, index: u32) -> u8 {
        if index >= self.readable {
            return 0xff;
        }
        (0..8)
            .filter(|bit| {
                !self
                    .allowed
                    .iter()
                    .any(|port| u32::from(*port) == index * 8 + bit)
            })
            .map(|bit| 1 << bit)
            .sum()
    }
}

fn bitmap(allowed: &[u16]) -> Bitmap {
    Bitmap {
        nr_ports: 0x1_0000,
        allowed: allowed.to_vec(),
        readable: 0x2000,
    }
}

#[test]
fn a_guest_kernel_needs_iopl_1_and_user_space_iopl_3() {
    for iopl in 0..4 {
        assert_eq!(iopl_allows(iopl, Mode::Kernel, false), iopl >= 1);
        assert_eq!(iopl_allows(iopl, Mode::User, false), iopl == 3);
        assert_eq!(iopl_allows(iopl, Mode::User, true), iopl == 3);
    }
}

#[test]
fn with_architectural_iopl_a_guest_kernel_needs_none() {
    assert!(iopl_allows(0, Mode::Kernel, true));
    assert!(io_allowed(0x60, 1, 0, Mode::Kernel, true, &mut NoBitmap));
    assert!(!io_allowed(0x60, 1, 0, Mode::Kernel, false, &mut NoBitmap));
}

#[test]
fn the_bitmap_lets_user_space_reach_just_its_ports() {
    assert!(io_allowed(
        0x3c0,
        1,
        0,
        Mode::User,
        false,
        &mut bitmap(&[0x3c0])
    ));
    assert!(!io_allowed(
        0x3c1,
        1,
        0,
        Mode::User,
        false,
        &mut bitmap(&[0x3c0])
    ));
}

#[test]
fn every_port_of_a_wide_access_must_be_allowed() {
    for missing in 0x3e..0x42 {
        let ports: Vec<u16> = (0x3e..0x42).filter(|port| *port != missing).collect();
        assert!(
            !bitmap_allows(&mut bitmap(&ports), 0x3e, 4),
            "without {missing:#x}"
        );
    }
    assert!(bitmap_allows(
        &mut bitmap(&[0x3e, 0x3f, 0x40, 0x41]),
        0x3e,
        4
    ));
    assert!(bitmap_allows(&mut bitmap(&[7, 8]), 7, 2));
}

#[test]
fn ports_beyond_the_bitmap_are_refused() {
    let mut short = Bitmap {
        nr_ports: 0x3ff,
        ..bitmap(&[0x3fe, 0x3ff])
    };
    assert!(bitmap_allows(&mut short, 0x3fe, 1));
    assert!(!bitmap_allows(&mut short, 0x3fe, 2));
    assert!(!bitmap_allows(&mut short, 0x3ff, 1));
    let mut claims_more = Bitmap {
        nr_ports: u32::MAX,
        ..bitmap(&[0xfffe, 0xffff])
    };
    assert!(bitmap_allows(&mut claims_more, 0xffff, 1));
    assert!(
        !bitmap_allows(&mut claims_more, 0xffff, 4),
        "there is no port 0x10000"
    );
}

#[test]
fn an_unreadable_bitmap_allows_nothing() {
    let mut unreadable = Bitmap {
        readable: 0,
        ..bitmap(&[0x60])
    };
    assert!(!bitmap_allows(&mut unreadable, 0x60, 1));
}
