//! What goes where: the one list from which the install tree is laid out.
//!
//! A path may hold `{xen0}` and `{xenU}`, which stand for the kernels' releases. docs/install-tree.md tells users the
//! same, seen from Xen 2.0; a test compares the two.

use std::path::{Path, PathBuf};

use super::licences;
use crate::toolstack;

/// A folder that things of the tree come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The hypervisor's build: `xen.gz`, `xen-syms`.
    Hypervisor,
    /// Domain 0's kernel: `boot/`, `lib/modules/`.
    Xen0,
    /// The guests' kernel, likewise.
    XenU,
    /// The toolstack's programs and their texts: a folder like `usr`.
    Toolstack,
    /// Licence texts of others.
    Licences,
    /// This source tree.
    Repository,
}

/// What is at a path of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file of a part, with this mode.
    File(Part, String, u32),
    /// Everything below a folder of a part, as files without a right to execute.
    Below(Part, &'static str),
    /// A folder, empty as far as this row goes, with this mode.
    Folder(u32),
    /// A symbolic link to this.
    Link(String),
    /// Nothing until later work brings it, for this reason: the manifest says so, and no stub pretends otherwise.
    Missing(&'static str),
}

/// One row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where, relative to the tree.
    pub path: String,
    /// What.
    pub what: What,
}

fn file(path: &str, part: Part, from: &str) -> Row {
    row(path, What::File(part, from.to_owned(), 0o644))
}

fn program(path: &str, part: Part, from: &str) -> Row {
    row(path, What::File(part, from.to_owned(), 0o755))
}

fn row(path: &str, what: What) -> Row {
    let path = path.to_owned();
    Row { path, what }
}

/// A link at `path` to `to`.
pub(super) fn link(path: &str, to: &str) -> Row {
    row(path, What::Link(to.to_owned()))
}

/// The whole list.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        file("boot/xen.gz", Part::Hypervisor, "xen.gz"),
        file("boot/xen-syms", Part::Hypervisor, "xen-syms"),
        // Where the guests' kernel is on a host, so that examples name one path for hosts and images.
        link("boot/rexen", "."),
    ];
    rows.extend(kernel(Part::Xen0, "xen0"));
    rows.extend(kernel(Part::XenU, "xenU"));
    rows.extend(toolstack_rows());
    rows.extend(configuration());
    rows.extend([
        row(
            "usr/include/xen",
            What::Below(Part::Repository, "hypervisor/abi/include/xen"),
        ),
        row("usr/share/doc/rexen", What::Below(Part::Repository, "docs")),
        program(
            "usr/share/rexen/install.sh",
            Part::Repository,
            "installer/host/install.sh",
        ),
        // Records of domains and consoles hold what guests said: root's alone.
        row("var/lib/xen", What::Folder(0o700)),
        row("var/lib/xen/xend-db", What::Folder(0o700)),
        row("var/log/xen", What::Folder(0o700)),
    ]);
    rows.extend(licence_texts());
    rows.extend(missing());
    rows
}

/// A kernel's files, and a name without the release, which examples and boot menus can rely on.
fn kernel(part: Part, flavour: &str) -> Vec<Row> {
    let release = format!("{{{flavour}}}");
    let boot = |name: &str| format!("boot/{name}-{release}");
    let mut rows: Vec<Row> = ["vmlinuz", "vmlinux-syms", "System.map", "config"]
        .map(|name| file(&boot(name), part, &boot(name)))
        .into();
    rows.push(link(
        &format!("boot/vmlinuz-{flavour}"),
        &format!("vmlinuz-{release}"),
    ));
    rows.push(row(
        &format!("lib/modules/{release}"),
        What::Below(
            part,
            match part {
                Part::XenU => "lib/modules/{xenU}",
                _ => "lib/modules/{xen0}",
            },
        ),
    ));
    rows
}

/// Programs, other names of theirs, manual pages and completions: toolstack.rs has their tables.
fn toolstack_rows() -> Vec<Row> {
    let usr = |path: &str| format!("usr/{path}");
    let mut rows = Vec::new();
    for path in toolstack::program_paths() {
        rows.push(program(&usr(&path), Part::Toolstack, &path));
    }
    for (path, target) in toolstack::LINKS {
        rows.push(link(&usr(path), target));
    }
    for (_, _, path) in toolstack::TEXTS {
        rows.push(file(&usr(path), Part::Toolstack, path));
    }
    rows
}

/// What an administrator edits, and what starts the daemons.
fn configuration() -> Vec<Row> {
    let same = |path: &str| file(path, Part::Repository, path);
    let script = |path: &str| program(path, Part::Repository, path);
    let unit = |name: &str| {
        file(
            // A package's place; /etc/systemd/system is the administrator's.
            &format!("usr/lib/systemd/system/{name}"),
            Part::Repository,
            &format!("etc/systemd/system/{name}"),
        )
    };
    vec![
        same("etc/xen/xend-config.sxp"),
        same("etc/xen/xmexample1"),
        same("etc/xen/xmexample2"),
        same("etc/xen/xmexample3"),
        row("etc/xen/auto", What::Folder(0o755)),
        script("etc/xen/scripts/network"),
        script("etc/xen/scripts/network-nat"),
        script("etc/xen/scripts/network-route"),
        script("etc/xen/scripts/vif-bridge"),
        script("etc/xen/scripts/vif-nat"),
        script("etc/xen/scripts/vif-route"),
        script("etc/xen/scripts/block-file"),
        script("etc/xen/scripts/block-enbd"),
        same("etc/xen/scripts/lib.sh"),
        script("etc/init.d/xenstored"),
        script("etc/init.d/xend"),
        script("etc/init.d/xendomains"),
        unit("xenstored.service"),
        unit("xend.service"),
        unit("xendomains.service"),
    ]
}

/// Our licences, and those of others.
fn licence_texts() -> Vec<Row> {
    let doc = |name: &str| format!("usr/share/doc/rexen/{name}");
    let mut rows: Vec<Row> = ["COPYING", "LICENSE-APACHE", "LICENSE-MIT"]
        .map(|name| file(&doc(name), Part::Repository, name))
        .into();
    let others = licences::COMMON_NAMES
        .into_iter()
        .chain([licences::THIRD_PARTY]);
    rows.extend(others.map(|name| file(&doc(name), Part::Licences, name)));
    rows
}

/// What later work brings.
fn missing() -> Vec<Row> {
    let protocol = "hypervisor/abi does not have it: it is an agreement between guests";
    let setting = "its setting is off: cargo rexen kernel menuconfig xen0";
    let trace = "the hypervisor has no trace buffers yet";
    [
        ("usr/sbin/xensv", "the web interface is not written yet"),
        ("usr/sbin/xfrd", "moving domains is not written yet"),
        (
            "usr/sbin/vnetd",
            "virtual networks between hosts are not written yet",
        ),
        ("usr/bin/xentrace", trace),
        ("usr/bin/xentrace_format", trace),
        (
            "usr/bin/xen_cpuperf",
            "nothing programs the CPU's performance counters yet",
        ),
        (
            "usr/include/xc.h",
            "there is no C library: toolstack/xenctl is one for Rust",
        ),
        ("usr/include/xen/trace.h", trace),
        ("usr/include/xen/io/blkif.h", protocol),
        ("usr/include/xen/io/netif.h", protocol),
        ("lib/modules/{xen0}/kernel/drivers/pcmcia", setting),
        ("lib/modules/{xen0}/kernel/fs/nfsd", setting),
    ]
    .map(|(path, why)| row(path, What::Missing(why)))
    .into()
}

/// Where the parts are, and which kernels they hold.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The folder of [`Part::Hypervisor`].
    pub hypervisor: PathBuf,
    /// The folder of [`Part::Xen0`].
    pub xen0: PathBuf,
    /// The folder of [`Part::XenU`].
    pub xenu: PathBuf,
    /// The folder of [`Part::Toolstack`].
    pub toolstack: PathBuf,
    /// The folder of [`Part::Licences`].
    pub licences: PathBuf,
    /// The folder of [`Part::Repository`].
    pub repository: PathBuf,
    /// What `{xen0}` stands for.
    pub xen0_release: String,
    /// What `{xenU}` stands for.
    pub xenu_release: String,
}

impl Parts {
    /// A part's folder.
    pub fn folder(&self, part: Part) -> &Path {
        match part {
            Part::Hypervisor => &self.hypervisor,
            Part::Xen0 => &self.xen0,
            Part::XenU => &self.xenu,
            Part::Toolstack => &self.toolstack,
            Part::Licences => &self.licences,
            Part::Repository => &self.repository,
        }
    }

    /// A path with the releases in place of their names.
    pub fn named(&self, path: &str) -> String {
        path.replace("{xen0}", &self.xen0_release)
            .replace("{xenU}", &self.xenu_release)
    }
}
