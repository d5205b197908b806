//! Boots the image as a machine would, through its firmware and GRUB: its console on this terminal, or the check, for which
//! domain 0 and its demo guest look at themselves (`rexen.check`).
//!
//! What is checked is in `../../../image/root/usr/share/rexen/check`; a line reads `CHECK name ok|FAIL detail`. What domain 0
//! cannot know is added here: the hypervisor's banner, the time of day, the power-off.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{disk, root};
use crate::boot::{
    Machine, add_banner, add_clock, add_power_off, clock_off, conclude, is_interactive,
};
use crate::cache::{Cache, Scratch, sha256};
use crate::checks::Report;
use crate::error::{Error, Result};
use crate::qemu::{Qemu, Run};
use crate::world::BANNER;
use crate::xl_root::{checks_of, until};
use crate::{tree, ui};

/// Debian's UEFI for QEMU, package ovmf (../../../ci/packages.txt).
const OVMF: &str = "/usr/share/OVMF/OVMF_CODE.fd";
/// How long a boot and the checks may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(900);
/// What the check reads of the disk: everything before the file system, which it changes by its own words.
const BEFORE_FILES: usize = 2 << 20;
/// The line after the last check.
const END: &str = "CHECKS-DONE";
/// What GRUB's `set` takes between its quotes as it stands.
const QUOTE: char = '\'';

/// Which firmware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, QEMU's own.
    #[default]
    Bios,
    /// OVMF.
    Uefi,
}

/// An image, and the machine that boots it.
#[derive(Clone, Debug)]
pub struct ImageBoot {
    /// The image; it stays as it is.
    pub image: PathBuf,
    /// Which firmware.
    pub firmware: Firmware,
    /// The machine. Its words come after those of the menu.
    pub machine: Machine,
    /// When the check gives up.
    pub timeout: Duration,
}

impl ImageBoot {
    /// The machine of the check, by BIOS.
    pub fn new(image: &Path) -> Self {
        Self {
            image: image.to_owned(),
            firmware: Firmware::Bios,
            machine: Machine::default(),
            timeout: PATIENCE,
        }
    }

    /// Hands the serial line over to the terminal: GRUB's menu, and then domain 0's console.
    ///
    /// # Errors
    /// The image cannot be read; QEMU cannot be started or fails.
    pub fn interactive(&self) -> Result<()> {
        let (_work, qemu) = self.prepared("", |_| Vec::new())?;
        ui::step(
            "booting the image; Ctrl-A x leaves QEMU, Ctrl-A c switches to its monitor and back",
        );
        qemu.interactive()
    }

    /// Boots, and reports on each check and on the power-off.
    ///
    /// # Errors
    /// The image cannot be read; QEMU cannot be started. Failed checks are in the report, and no error here.
    pub fn check(&self) -> Result<(Report, Run)> {
        let script = tree::root().join("image/root/usr/share/rexen/check");
        let script = String::from_utf8_lossy(&root::read(&script)?).into_owned();
        let expected = checks_of(&script);
        let (_work, qemu) = self.prepared("set timeout=0\n", |disk| {
            let before = disk.get(..BEFORE_FILES).unwrap_or_default();
            vec![
                "rexen.check".to_owned(),
                format!("rexen.vcpus={}", self.machine.smp),
                format!("rexen.disk={}", sha256(before)),
            ]
        })?;
        let mut off = None;
        let run = qemu.timeout(self.timeout).run_until(|line| {
            off = clock_off(line).or(off);
            until(END, line)
        })?;
        let mut report = Report::of(&run.log, &expected);
        let end = format!("{END} {} ok 0 failed", expected.len());
        let done = run.log.find(END).unwrap_or("did not report");
        report.add("end", run.log.contains(&end), done.trim());
        add_banner(&mut report, &run, BANNER);
        add_clock(&mut report, off);
        add_power_off(&mut report, &run, END);
        Ok((report, run))
    }

    /// The console where there is a terminal, else the check, whose verdict goes to the user.
    ///
    /// # Errors
    /// QEMU fails, or a check does.
    pub fn go(&self, only_check: bool) -> Result<()> {
        if is_interactive() && !only_check {
            return self.interactive();
        }
        let by = self.firmware;
        ui::step(&format!(
            "booting the image by {by}; domain 0 and its guest check themselves"
        ));
        let (report, run) = self.check()?;
        conclude(
            &report,
            &run,
            "image.log",
            &format!("the image is up by {by}"),
        )
    }

    /// QEMU with a copy of the image whose menu has `choice` and the machine's words, and those that the disk's bytes give.
    /// The copy lives as long as the first part.
    fn prepared(
        &self,
        choice: &str,
        words: impl FnOnce(&[u8]) -> Vec<String>,
    ) -> Result<(Scratch, Qemu)> {
        let work = Cache::open()?.scratch("image")?;
        let copy = work.path().join("disk.img");
        let mut bytes = fs::read(&self.image).map_err(Error::io("read", &self.image))?;
        let mut linux = words(&bytes);
        linux.extend(self.machine.append.iter().cloned());
        let text = format!(
            "set default=serial\n{choice}{}{}",
            setting("xen_words", &self.machine.hypervisor_options)?,
            setting("linux_words", &linux)?
        );
        disk::add_file(&mut bytes, "boot/grub/custom.cfg", text.as_bytes())
            .map_err(|e| e.in_file(&self.image))?;
        super::Part::write(&copy, &bytes)?.put_in_place()?;
        let qemu = self.machine.onto(Qemu::from_disk(&copy))?;
        Ok((work, self.firmware.onto(qemu)?))
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Firmware::Bios => "BIOS",
            Firmware::Uefi => "UEFI",
        })
    }
}

impl Firmware {
    fn onto(self, qemu: Qemu) -> Result<Qemu> {
        match self {
            Firmware::Bios => Ok(qemu),
            Firmware::Uefi if !Path::new(OVMF).exists() => {
                Err(Error::new("there is no UEFI for QEMU on this machine")
                    .because(format!("no {OVMF}"))
                    .remedy("apt-get install ovmf"))
            }
            Firmware::Uefi => Ok(qemu
                .arg("-drive")
                .arg(&format!("if=pflash,format=raw,readonly=on,file={OVMF}"))),
        }
    }
}

/// A line for the menu's custom.cfg.
fn setting(name: &str, words: &[String]) -> Result<String> {
    let words = words.join(" ");
    if words.contains(QUOTE) || words.contains('\n') {
        return Err(
            Error::new(format!("the boot menu cannot have these words: {words}"))
                .because("there is a quote or a line's end in them"),
        );
    }
    Ok(format!("set {name}={QUOTE}{words}{QUOTE}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_menu_quoted_or_not_at_all() {
        let words = ["a=1".to_owned(), "b".to_owned()];
        assert_eq!(
            setting("xen_words", &words).unwrap(),
            "set xen_words='a=1 b'\n"
        );
        assert!(setting("xen_words", &["it's".to_owned()]).is_err());
    }
}
