//! The boot menu: GRUB's own scripts make it, with ours as one more hypervisor.
//!
//! `/etc/grub.d/20_linux_xen`, which every Debian-like host has, makes entries for each `/boot/xen*` with each kernel of the
//! host that can be domain 0. It knows roots on LVM, btrfs and encrypted disks, UEFI, recovery entries, and it runs
//! again whenever a kernel comes or goes. A script of ours beside it would make every entry twice and would have to learn
//! all that; so we bring none, only settings in `/etc/default/grub.d`. It runs after `10_linux`: without a setting
//! the default stays Linux.
//!
//! grub-mkconfig writes over `grub.cfg` in place, so that a power cut then leaves half a menu. We have it write
//! beside, and rename.

use crate::error::{Error, Result};

/// Our settings.
pub const SETTINGS: &str = "etc/default/grub.d/rexen.cfg";
/// The menu.
pub const MENU: &str = "boot/grub/grub.cfg";
/// What the menu is made into first.
pub const MENU_PART: &str = "boot/grub/grub.cfg.rexen-part";
/// The script that makes entries for hypervisors.
pub const SCRIPT: &str = "etc/grub.d/20_linux_xen";
/// The hypervisor.
pub const XEN: &str = "boot/xen.gz";

/// The text of [`SETTINGS`].
pub fn settings(default: bool) -> String {
    let lead = "\
# Rexen's settings for GRUB's scripts; update-grub reads them. Yours stay when Rexen is upgraded.

# Options for the hypervisor, such as: dom0_mem=1024M console=com1 com1=115200,8n1
# (/usr/share/doc/rexen/boot-options.md has them all).
#GRUB_CMDLINE_XEN_DEFAULT=\"\"
";
    let end = if default {
        "
# Start Rexen by default; 'rexen-install --no-default' takes this back.
GRUB_DEFAULT=\"xen-gnulinux-simple-${GRUB_DEVICE_UUID}\"
"
    } else {
        ""
    };
    format!("{lead}{end}")
}

/// Whether a menu has an entry that boots our hypervisor.
pub fn has_entry(menu: &str) -> bool {
    menu.lines().any(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("multiboot2" | "multiboot"))
            && words.next().is_some_and(|w| w.ends_with("/xen.gz"))
    })
}

/// The lines of a menu that choose its default.
fn default_of(menu: &str) -> Vec<&str> {
    let lines = menu.lines().map(str::trim);
    lines.filter(|l| l.starts_with("set default=")).collect()
}

/// Refuses a new menu in the place of `old` that does not boot us, or boots us unasked.
///
/// # Errors
/// It is so.
pub fn check(old: &str, new: &str, default: bool) -> Result<()> {
    if !has_entry(new) {
        return Err(
            Error::new("GRUB's scripts made no entry for the hypervisor")
                .because("the new menu loads no /boot/xen.gz")
                .remedy(format!("see what 'sh -x /{SCRIPT}' says")),
        );
    }
    if !default && !has_entry(old) && default_of(old) != default_of(new) {
        return Err(Error::new("GRUB's scripts changed the default entry")
            .because(format!(
                "{} before, {} now",
                default_of(old).join(", "),
                default_of(new).join(", ")
            ))
            .remedy("run update-grub, see whether that alone changes it, and run this again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &str =
        "set default=\"0\"\nmenuentry 'Debian' {\n\tlinux /boot/vmlinuz-6.1 ro\n}\n";

    #[test]
    fn a_menu_must_boot_us_and_never_unasked() {
        let both =
            format!("{LINUX}menuentry 'Xen' {{\n\tmultiboot2\t/boot/xen.gz placeholder\n}}\n");
        let ours = both.replace("\"0\"", "\"xen-gnulinux-simple-1\"");
        assert!(has_entry(&both) && !has_entry(LINUX));
        assert!(!has_entry("multiboot2 /boot/xen-4.17-amd64.gz placeholder"));
        assert!(check(LINUX, &both, false).is_ok());
        assert!(check(LINUX, LINUX, false).is_err());
        assert!(check(LINUX, &ours, false).is_err());
        assert!(check(LINUX, &ours, true).is_ok());
        assert!(check(&ours, &both, false).is_ok());
    }

    #[test]
    fn settings_choose_a_default_only_when_asked() {
        let chosen = |text: &str| text.lines().any(|l| l.starts_with("GRUB_DEFAULT="));
        assert!(chosen(&settings(true)) && !chosen(&settings(false)));
    }
}
