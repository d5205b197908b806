//! The screen that domain 0 inherits from the boot loader (`public/xen.h`, dom0_vga_console_info).

use rexen_abi::xen::{Dom0VgaConsoleInfo, XEN_VGATYPE_EFI_LFB, XEN_VGATYPE_VESA_LFB};

use crate::platform::{BootInfo, Framebuffer};

/// The unit of `lfb_size`.
const LFB_UNIT: u64 = 64 << 10;
/// Direct colours, in the boot loader's words.
const RGB: u8 = 1;

/// The screen, if it is a frame buffer with direct colours. Without one Linux assumes VGA's text of 80 by 25, which is what BIOS
/// leaves.
pub fn screen(boot: &BootInfo) -> Option<Dom0VgaConsoleInfo> {
    let found = boot.framebuffer.filter(|found| found.kind == RGB)?;
    let [red, green, blue] = found.rgb;
    let (rsvd_pos, rsvd_size) = reserved(&found);
    Some(Dom0VgaConsoleInfo {
        video_type: match boot.efi_system_table {
            Some(_) => XEN_VGATYPE_EFI_LFB,
            None => XEN_VGATYPE_VESA_LFB,
        },
        width: found.width.try_into().ok()?,
        height: found.height.try_into().ok()?,
        bytes_per_line: found.pitch.try_into().ok()?,
        bits_per_pixel: found.bpp.into(),
        lfb_base: found.addr as u32,
        ext_lfb_base: (found.addr >> 32) as u32,
        lfb_size: (u64::from(found.pitch) * u64::from(found.height))
            .div_ceil(LFB_UNIT)
            .try_into()
            .ok()?,
        red_pos: red.0,
        red_size: red.1,
        green_pos: green.0,
        green_size: green.1,
        blue_pos: blue.0,
        blue_size: blue.1,
        rsvd_pos,
        rsvd_size,
        ..Default::default()
    })
}

/// The bits of a pixel above its colours: from which, and how many.
fn reserved(found: &Framebuffer) -> (u8, u8) {
    let ends = found.rgb.map(|(pos, size)| pos.saturating_add(size));
    let end = ends.into_iter().max().unwrap_or_default();
    match found.bpp.saturating_sub(end) {
        0 => (0, 0),
        size => (end, size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> BootInfo {
        BootInfo {
            framebuffer: Some(Framebuffer {
                addr: 0x4_8000_0000,
                pitch: 5120,
                width: 1280,
                height: 800,
                bpp: 32,
                kind: RGB,
                rgb: [(16, 8), (8, 8), (0, 8)],
            }),
            efi_system_table: Some(0x7e00_0000),
            ..Default::default()
        }
    }

    #[test]
    fn a_frame_buffer_is_described_with_all_its_bits() {
        let told = screen(&boot()).unwrap();
        assert_eq!(told.video_type, XEN_VGATYPE_EFI_LFB);
        let size = (
            told.width,
            told.height,
            told.bytes_per_line,
            told.bits_per_pixel,
        );
        assert_eq!(size, (1280, 800, 5120, 32));
        assert_eq!((told.lfb_base, told.ext_lfb_base), (0x8000_0000, 4));
        assert_eq!(told.lfb_size, 63, "4000 KiB, rounded up");
        assert_eq!((told.red_pos, told.green_pos, told.blue_pos), (16, 8, 0));
        assert_eq!((told.rsvd_pos, told.rsvd_size), (24, 8));
    }

    #[test]
    fn bios_has_vesa_and_text_needs_no_words() {
        let mut boot = boot();
        boot.efi_system_table = None;
        assert_eq!(screen(&boot).unwrap().video_type, XEN_VGATYPE_VESA_LFB);
        boot.framebuffer.as_mut().unwrap().kind = 2;
        assert_eq!(screen(&boot), None);
        boot.framebuffer = None;
        assert_eq!(screen(&boot), None);
    }

    #[test]
    fn what_does_not_fit_is_no_screen() {
        let mut boot = boot();
        boot.framebuffer.as_mut().unwrap().width = 70_000;
        assert_eq!(screen(&boot), None);
        boot.framebuffer.as_mut().unwrap().width = 16;
        boot.framebuffer.as_mut().unwrap().rgb = [(11, 5), (5, 6), (0, 5)];
        boot.framebuffer.as_mut().unwrap().bpp = 16;
        assert_eq!(screen(&boot).unwrap().rsvd_size, 0);
    }
}
