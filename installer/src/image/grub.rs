//! GRUB, from Debian's packages: its two images, and the menu.
//!
//! The host needs nothing of GRUB: `grub-mkimage` comes from a package, too, and runs where that is unpacked.

use std::path::{Path, PathBuf};

use super::{disk, root};
use crate::cache::Cache;
use crate::cmd::Cmd;
use crate::debian::Consent;
use crate::debian_set::fetch_set;
use crate::error::{Error, Result};
use crate::lock::{Package, Role};

/// What the menu needs, on either firmware. Nothing is loaded later: the images are all there is of GRUB on the disk.
const MODULES: [&str; 16] = [
    "part_gpt",
    "fat",
    "search",
    "search_fs_uuid",
    "normal",
    "configfile",
    "multiboot2",
    "linux",
    "gzio",
    "serial",
    "terminal",
    "echo",
    "test",
    "minicmd",
    "reboot",
    "halt",
];

/// The hypervisor's words in every entry: memory enough for domain 0, and the rest for guests.
const HYPERVISOR_WORDS: &str = "dom0_mem=256M,max:256M console=com1 com1=115200,8n1";
/// The kernel's: no 64 MiB for bounce buffers, which so small a domain 0 has better use for.
const LINUX_WORDS: &str = "swiotlb=4096 panic=10";

/// GRUB's packages, unpacked.
#[derive(Clone, Debug)]
pub struct Grub {
    root: PathBuf,
    /// Which they are.
    pub packages: Vec<Package>,
}

/// What the firmware loads.
#[derive(Clone, Debug)]
pub struct Loaders {
    /// BIOS: the first sector.
    pub boot: Vec<u8>,
    /// BIOS: what that loads.
    pub core: Vec<u8>,
    /// UEFI: the program.
    pub efi: Vec<u8>,
}

impl Grub {
    /// From the cache, or through apt.
    ///
    /// # Errors
    /// Apt does not offer a package, or another than the locked one.
    pub fn fetch(consent: Consent) -> Result<Self> {
        let set = fetch_set(Role::Grub, consent)?;
        Ok(Self {
            root: set.root,
            packages: set.packages,
        })
    }

    /// The loaders for a disk with this identifier, which they find their menu by.
    ///
    /// # Errors
    /// `grub-mkimage` fails, or cannot be run.
    pub fn loaders(&self, id: u128) -> Result<Loaders> {
        let work = Cache::open()?.scratch("grub")?;
        let first = work.path().join("first.cfg");
        let text = first_words(disk::serial(id));
        std::fs::write(&first, text).map_err(Error::io("write", &first))?;
        let bios = ["biosdisk"].iter().chain(&MODULES);
        let efi = ["all_video"].iter().chain(&MODULES);
        Ok(Loaders {
            boot: root::read(&self.folder("i386-pc").join("boot.img"))?,
            core: self.mkimage("i386-pc", bios, &first, work.path())?,
            efi: self.mkimage("x86_64-efi", efi, &first, work.path())?,
        })
    }

    fn folder(&self, platform: &str) -> PathBuf {
        self.root.join("usr/lib/grub").join(platform)
    }

    fn mkimage<'a>(
        &self,
        platform: &str,
        modules: impl Iterator<Item = &'a &'a str>,
        first: &Path,
        work: &Path,
    ) -> Result<Vec<u8>> {
        let out = work.join(platform);
        let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"]
            .map(|dir| self.root.join(dir).display().to_string());
        Cmd::new(self.root.join("usr/bin/grub-mkimage"))
            .env("LD_LIBRARY_PATH", libraries.join(":"))
            .args(["-O", platform, "-p", "/boot/grub", "-d"])
            .arg(self.folder(platform))
            .arg("-c")
            .arg(first)
            .arg("-o")
            .arg(&out)
            .args(modules)
            .run()?;
        root::read(&out)
    }
}

/// What GRUB does first: finds the file system that it came from, wherever the firmware has put the disk.
fn first_words(serial: u32) -> String {
    let (high, low) = (serial >> 16, serial & 0xffff);
    format!("search.fs_uuid {high:04X}-{low:04X} root\nset prefix=($root)/boot/grub\n")
}

/// The menu, from its template.
pub fn menu(template: &str) -> String {
    template
        .replace("{xen}", HYPERVISOR_WORDS)
        .replace("{linux}", LINUX_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_named_as_grub_names_fat() {
        assert!(first_words(0x1234_00ab).starts_with("search.fs_uuid 1234-00AB root\n"));
    }

    #[test]
    fn the_menu_has_its_three_entries_and_nothing_left_to_fill_in() {
        let path = crate::tree::root().join("image/grub.cfg");
        let menu = menu(&std::fs::read_to_string(path).unwrap());
        for id in ["rexen", "serial", "linux"] {
            assert!(menu.contains(&format!("--id {id} {{")), "{id}");
        }
        let lines = menu.lines().filter(|l| !l.starts_with('#'));
        assert!(!lines.collect::<String>().contains("{xen}"));
        assert!(menu.contains("/boot/xen.gz dom0_mem=256M"));
    }
}
