//! A host made of files, and trees to install onto it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use rexen_install::disk::Disk;
use rexen_install::error::Result;
use rexen_install::facts::Facts;
use rexen_install::manifest::{MANIFEST, Manifest};
use rexen_install::run::{self, Options, User};
use rexen_install::scan::{Entries, scan};

use crate::cut::CutDisk;

/// A folder of a test's own, gone when dropped.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // In memory where that can be: these tests write each file of hundreds of hosts.
        let memory = Path::new("/dev/shm");
        let base = if fs::metadata(memory).is_ok_and(|m| !m.permissions().readonly()) {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = base.join(format!("rexen-host-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a file with the folders above it.
pub fn put(root: &Path, path: &str, text: &str) {
    let at = root.join(path);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(&at, text).unwrap();
    // One time for all, so that runs can be compared.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let file = fs::File::options().write(true).open(&at).unwrap();
    file.set_modified(time).unwrap();
}

pub const KERNEL: &str = "6.1.0-41-amd64";
pub const CONFIG: &str = "etc/xen/xend-config.sxp";
pub const EXAMPLE: &str = "etc/xen/xmexample1";
pub const ENABLED: &str = "etc/systemd/system/multi-user.target.wants/xend.service";
pub const SETTINGS: &str = "etc/default/grub.d/rexen.cfg";

/// A host as Debian makes it, as far as the installer looks.
pub struct Host {
    pub dir: Dir,
}

impl Host {
    pub fn new() -> Self {
        let dir = Dir::new();
        let root = &dir.0;
        for folder in [
            "etc/systemd/system",
            "usr/lib/systemd",
            "usr/sbin",
            "var/lib",
            "var/log",
            "boot/grub",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        symlink("usr/lib", root.join("lib")).unwrap();
        put(root, "usr/lib/systemd/systemd", "");
        put(root, "usr/sbin/grub-mkconfig", "");
        put(root, "etc/default/grub", "GRUB_DEFAULT=0\n");
        put(root, "etc/grub.d/20_linux_xen", "");
        put(
            root,
            "proc/cpuinfo",
            "processor : 0\nflags\t\t: fpu lm nx sse2\n",
        );
        put(root, "proc/meminfo", "MemTotal:        2041236 kB\n");
        put(root, &format!("boot/vmlinuz-{KERNEL}"), "the kernel");
        put(root, &format!("boot/initrd.img-{KERNEL}"), "its initrd");
        put(
            root,
            &format!("boot/config-{KERNEL}"),
            "CONFIG_XEN=y\nCONFIG_XEN_DOM0=y\n",
        );
        // Of somebody else's, in our way.
        put(root, "usr/sbin/xm", "#!/bin/sh\necho mine\n");
        put(root, EXAMPLE, "my own first domain\n");
        let host = Self { dir };
        put(host.root(), "boot/grub/grub.cfg", &menu(host.root()));
        host
    }

    pub fn root(&self) -> &Path {
        &self.dir.0
    }

    /// The same host once more.
    pub fn copy(&self) -> Self {
        let dir = Dir::new();
        let all = self.root().join(".");
        let done = Command::new("cp").arg("-a").arg(all).arg(&dir.0).status();
        assert!(done.unwrap().success());
        Self { dir }
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_default()
    }

    pub fn has(&self, path: &str) -> bool {
        self.root().join(path).symlink_metadata().is_ok()
    }

    /// Everything there is, by hash.
    pub fn all(&self) -> Entries {
        scan(self.root()).unwrap()
    }

    pub fn disk(&self) -> CutDisk {
        CutDisk::new(self.root())
    }

    /// Installs a tree; nothing fails here but what the test breaks.
    pub fn install(&self, tree: &Tree) -> Result<Vec<String>> {
        install(&self.disk(), tree, None)
    }

    pub fn uninstall(&self) -> Result<Vec<String>> {
        uninstall(&self.disk())
    }

    /// What a kernel update does: a kernel more, and the menu made anew in its place.
    pub fn update_kernel(&self) {
        put(
            self.root(),
            "boot/vmlinuz-6.1.0-42-amd64",
            "the next kernel",
        );
        put(self.root(), "boot/initrd.img-6.1.0-42-amd64", "its initrd");
        put(self.root(), "boot/grub/grub.cfg", &menu(self.root()));
    }

    /// Checks that the machine would boot: the menu is whole, and so is everything that it names.
    pub fn assert_boots(&self, at: &str) {
        let menu = self.text("boot/grub/grub.cfg");
        assert!(menu.ends_with("# end\n"), "{at}: half a menu: {menu:?}");
        let mut hypervisor = false;
        for line in menu.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["linux" | "module2", file] => {
                    let text = self.text(file);
                    let whole =
                        ["the kernel", "the next kernel", "its initrd"].contains(&text.as_str());
                    assert!(whole, "{at}: {file}: {text:?}");
                }
                ["multiboot2", file] => {
                    let text = self.text(file);
                    let whole = text == "hypervisor 1" || text == "hypervisor 2";
                    // While the host's own menu is waited for, an entry may be left, if nothing boots it unasked.
                    assert!(
                        whole || menu.contains("set default=\"0\"") && text.is_empty(),
                        "{at}: {text:?}"
                    );
                    hypervisor = true;
                }
                _ => {}
            }
        }
        let asked = menu.contains("set default=\"xen");
        assert!(!asked || hypervisor, "{at}: the default boots nothing");
    }
}

/// What the host's grub-mkconfig writes.
pub fn menu(root: &Path) -> String {
    let settings = fs::read_to_string(root.join(SETTINGS)).unwrap_or_default();
    let chosen = settings.lines().find(|l| l.starts_with("GRUB_DEFAULT="));
    let default = if chosen.is_some() {
        "xen-gnulinux-simple-1"
    } else {
        "0"
    };
    let mut names: Vec<String> = fs::read_dir(root.join("boot"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut menu = format!("set default=\"{default}\"\n");
    let kernels: Vec<&String> = names.iter().filter(|n| n.starts_with("vmlinuz-")).collect();
    for kernel in &kernels {
        menu += &format!("menuentry '{kernel}' {{\n\tlinux boot/{kernel}\n}}\n");
    }
    for xen in names.iter().filter(|n| n.starts_with("xen")) {
        for kernel in &kernels {
            menu += &format!(
                "menuentry 'Xen {kernel}' {{\n\tmultiboot2 /boot/{xen}\n\tmodule2 boot/{kernel}\n}}\n"
            );
        }
    }
    menu.replace("multiboot2 /boot", "multiboot2 boot") + "# end\n"
}

/// An install tree: two versions that differ in what can differ.
pub struct Tree {
    pub dir: Dir,
}

impl Tree {
    pub fn version(nr: u32) -> Self {
        let dir = Dir::new();
        let root = &dir.0;
        put(root, "boot/xen.gz", &format!("hypervisor {nr}"));
        put(root, "boot/xen-syms", &format!("symbols {nr}"));
        put(root, &format!("boot/vmlinuz-6.1.{nr}-xenU"), "guest kernel");
        put(
            root,
            &format!("boot/vmlinuz-6.1.{nr}-xen0"),
            "never on a host",
        );
        symlink(
            format!("vmlinuz-6.1.{nr}-xenU"),
            root.join("boot/vmlinuz-xenU"),
        )
        .unwrap();
        put(root, &format!("lib/modules/6.1.{nr}-xenU/a.ko"), "module");
        put(root, "usr/sbin/xend", &format!("xend {nr}"));
        put(root, "usr/sbin/xm", &format!("xm {nr}"));
        put(root, "usr/share/doc/rexen/README.md", "the same in both");
        put(
            root,
            &format!("usr/share/doc/rexen/new-in-{nr}.md"),
            "words",
        );
        symlink("../sbin/xm", {
            fs::create_dir_all(root.join("usr/bin")).unwrap();
            root.join("usr/bin/xencons")
        })
        .unwrap();
        put(root, CONFIG, &format!("(version {nr})\n"));
        put(root, EXAMPLE, &format!("example {nr}\n"));
        put(root, "etc/xen/xmexample2", "the same in both\n");
        put(root, "etc/init.d/xend", &format!("#!/bin/sh\n# {nr}\n"));
        put(
            root,
            "usr/lib/systemd/system/xend.service",
            "[Install]\nWantedBy=multi-user.target\n",
        );
        fs::create_dir_all(root.join("var/log/xen")).unwrap();
        fs::create_dir_all(root.join("var/lib/xen/xend-db")).unwrap();
        let tree = Self { dir };
        tree.seal(nr);
        tree
    }

    fn seal(&self, nr: u32) {
        let facts = Facts {
            version: format!("0.{nr}.0"),
            commit: format!("c0ffee{nr}"),
            modified: false,
            time: 1_700_000_000 + u64::from(nr),
            toolchain: BTreeMap::new(),
            sources: Vec::new(),
        };
        let root = self.root();
        fs::create_dir_all(root.join(MANIFEST).parent().unwrap()).unwrap();
        let manifest = Manifest::new(&facts, BTreeMap::new(), scan(root).unwrap());
        fs::write(root.join(MANIFEST), manifest.text().unwrap()).unwrap();
    }

    pub fn root(&self) -> &Path {
        &self.dir.0
    }
}

/// Somebody who always agrees, and remembers what was said.
#[derive(Default)]
pub struct Listener(pub Vec<String>);

impl User for Listener {
    fn say(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    fn agrees(&mut self, _: &str) -> Result<bool> {
        Ok(true)
    }
}

pub fn options(tree: &Tree) -> Options {
    Options {
        tree: tree.root().to_owned(),
        ..Options::default()
    }
}

pub fn install(disk: &dyn Disk, tree: &Tree, default: Option<bool>) -> Result<Vec<String>> {
    let mut listener = Listener::default();
    let options = Options {
        default,
        ..options(tree)
    };
    run::install(disk, &options, &mut listener)?;
    Ok(listener.0)
}

pub fn uninstall(disk: &dyn Disk) -> Result<Vec<String>> {
    let mut listener = Listener::default();
    run::uninstall(disk, &Options::default(), &mut listener)?;
    Ok(listener.0)
}
