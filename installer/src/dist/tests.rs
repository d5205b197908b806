//! Trees laid out from parts that the tests make: no compiler runs here. The repository's own part is the real one, so
//! that the list is held against the files it names.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::facts::{Kind, Source};
use super::list::{Part, Parts, What, rows};
use super::scan::{Entry, scan, walk};
use super::verify::{Difference, check};
use super::{Facts, MANIFEST, Manifest, SBOM, layout, tarball, verify};
use crate::error::Result;
use crate::tree;

const TIME: u64 = 1_700_000_000;

/// Of the modules of our kernels, those that docs/install-tree.md names.
const XEN0_MODULES: &[&str] = &[
    "drivers/block/nbd",
    "fs/fat/fat",
    "fs/fat/vfat",
    "net/netfilter/nf_conntrack",
    "net/netfilter/nf_tables",
];
const XENU_MODULES: &[&str] = &[
    "drivers/block/loop",
    "fs/fat/fat",
    "fs/fat/vfat",
    "lib/libcrc32c",
];

/// A folder with parts and room for trees; gone when dropped.
pub(super) struct Workshop {
    pub(super) dir: PathBuf,
    pub(super) parts: Parts,
}

impl Workshop {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nr = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rexen-dist-{}-{nr}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let part = |name: &str| dir.join("parts").join(name);
        let parts = Parts {
            hypervisor: part("hypervisor"),
            xen0: part("xen0"),
            xenu: part("xenU"),
            toolstack: part("toolstack"),
            licences: part("licences"),
            repository: tree::root().to_owned(),
            xen0_release: "KVER-xen0".to_owned(),
            xenu_release: "KVER-xenU".to_owned(),
        };
        let workshop = Self { dir, parts };
        workshop.fill();
        workshop
    }

    /// Makes the files that the list wants of the parts: each says its own name.
    fn fill(&self) {
        let mut files: Vec<PathBuf> = Vec::new();
        for row in rows() {
            match row.what {
                What::File(part, from, _) if part != Part::Repository => {
                    files.push(self.parts.folder(part).join(self.parts.named(&from)));
                }
                What::Below(part, from) if part != Part::Repository => {
                    let modules = self.parts.folder(part).join(self.parts.named(from));
                    for name in ["alias", "dep", "symbols"] {
                        files.push(modules.join(format!("modules.{name}")));
                    }
                    let built = match part {
                        Part::XenU => XENU_MODULES,
                        _ => XEN0_MODULES,
                    };
                    files.extend(built.iter().map(|m| modules.join(format!("kernel/{m}.ko"))));
                }
                _ => {}
            }
        }
        for file in files {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("{}\n", file.display())).unwrap();
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn lay_out(&self, name: &str) -> Result<Manifest> {
        layout::lay_out(&rows(), &self.parts, &facts(), &self.path(name))
    }

    /// What is in the folder, besides the parts.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|e| e.file_name().into_string().unwrap())
            .filter(|n| n != "parts")
            .collect();
        names.sort();
        names
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn facts() -> Facts {
    let source = |kind, name: &str, version: Option<&str>| Source {
        kind,
        name: name.to_owned(),
        version: version.map(str::to_owned),
        sha256: "0a".repeat(32),
        licence: "MIT".to_owned(),
    };
    Facts {
        version: "9.8.7".to_owned(),
        commit: "c0ffee".to_owned(),
        modified: false,
        time: TIME,
        toolchain: BTreeMap::from([("rustc".to_owned(), "rustc 1.95.0".to_owned())]),
        sources: vec![
            source(Kind::Debian, "linux-source", Some("1:6.1+b1")),
            source(Kind::Patch, "0001-a.patch", None),
            source(Kind::Crate, "a_b", Some("1.2.3")),
        ],
    }
}

/// A tree laid out from the list, as its manifest has it.
pub(super) fn laid_out() -> Manifest {
    Workshop::new().lay_out("tree").unwrap()
}

fn assert_intact(place: &Path) {
    assert_eq!(check(place).unwrap().1, []);
}

#[test]
fn files_are_in_their_places_with_their_modes_whatever_the_umask() {
    let tree = laid_out().entries;
    let mode = |path: &str| match &tree[path] {
        Entry::Folder { mode } | Entry::File { mode, .. } => *mode,
        other => panic!("{path}: {other:?}"),
    };
    for (path, expected) in [
        ("boot", 0o755),
        ("boot/xen.gz", 0o644),
        ("boot/vmlinux-syms-KVER-xenU", 0o644),
        ("usr/sbin/xend", 0o755),
        ("etc/init.d/xend", 0o755),
        ("etc/xen/scripts/network", 0o755),
        ("etc/xen/scripts/lib.sh", 0o644),
        ("etc/xen/auto", 0o755),
        ("lib/modules/KVER-xen0/kernel/fs/fat/vfat.ko", 0o644),
        ("usr/share/man/man1/xm.1", 0o644),
        ("usr/share/man/man5/xend-config.sxp.5", 0o644),
        ("usr/share/doc/rexen/decisions/README.md", 0o644),
        ("var/lib/xen", 0o700),
        (SBOM, 0o644),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
    let link = |target: &str| Entry::Link {
        target: target.to_owned(),
    };
    assert_eq!(tree["boot/vmlinuz-xenU"], link("vmlinuz-KVER-xenU"));
    assert_eq!(tree["usr/bin/xencons"], link("../sbin/xm"));
}

#[test]
fn every_link_leads_to_something() {
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    walk(&workshop.path("tree"), &mut |path, file| {
        assert!(file.exists(), "{path} leads nowhere");
        Ok(())
    })
    .unwrap();
}

#[test]
fn everything_for_etc_is_in_the_list_and_scripts_can_be_run() {
    let etc = tree::root().join("etc");
    let mut listed = BTreeMap::new();
    for row in rows() {
        if let What::File(Part::Repository, from, mode) = row.what {
            listed.insert(from, mode);
        }
    }
    walk(&etc, &mut |path, file| {
        if file.is_file() && path != "README.md" {
            let mode = listed.get(&format!("etc/{path}"));
            let executable = fs::metadata(file).unwrap().mode() & 0o111 != 0;
            assert_eq!(mode.map(|m| m & 0o111 != 0), Some(executable), "etc/{path}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn two_trees_are_the_same_to_the_byte_and_the_second() {
    let (one, two) = (Workshop::new(), Workshop::new());
    // The parts' files must be the same in both, too.
    for workshop in [&one, &two] {
        walk(&workshop.path("parts"), &mut |path, file| {
            if file.is_file() {
                fs::write(file, path).unwrap();
            }
            Ok(())
        })
        .unwrap();
        workshop.lay_out("tree").unwrap();
        tarball::pack(&workshop.path("tree"), &workshop.dir).unwrap();
    }
    let (first, second) = (one.path("tree"), two.path("tree"));
    assert_eq!(scan(&first).unwrap(), scan(&second).unwrap());
    walk(&first, &mut |path, file| {
        let time = |f: &Path| fs::symlink_metadata(f).unwrap().mtime();
        assert!(
            file.is_symlink() || time(file) == TIME.cast_signed(),
            "{path}"
        );
        Ok(())
    })
    .unwrap();
    let tarball = |w: &Workshop| fs::read(w.path("rexen-9.8.7.tar.gz")).unwrap();
    assert_eq!(tarball(&one), tarball(&two));
}

#[test]
fn a_manifest_is_read_back_as_it_was_written() {
    let workshop = Workshop::new();
    let written = workshop.lay_out("tree").unwrap();
    let tree = workshop.path("tree");
    assert_eq!(Manifest::read(&tree).unwrap(), written);
    assert!(written.missing.contains_key("usr/sbin/xensv"));
    let mut found = scan(&tree).unwrap();
    assert!(found.remove(MANIFEST).is_some());
    assert_eq!(
        written.entries, found,
        "it names everything else in the tree"
    );
    assert_intact(&tree);
}

#[test]
fn each_kind_of_damage_is_found_and_named() {
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    let at = |path: &str| workshop.path("tree").join(path);
    fs::remove_file(at("boot/xen.gz")).unwrap();
    fs::remove_dir(at("etc/xen/auto")).unwrap();
    fs::write(at("etc/xen/auto"), "").unwrap();
    fs::write(at("etc/xen/new"), "").unwrap();
    let xend = fs::read(at("usr/sbin/xend")).unwrap();
    fs::write(at("usr/sbin/xend"), xend.to_ascii_uppercase()).unwrap();
    fs::write(at("usr/sbin/xm"), "").unwrap();
    fs::set_permissions(at("etc/init.d/xend"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::remove_file(at("usr/bin/xencons")).unwrap();
    symlink("/bin/sh", at("usr/bin/xencons")).unwrap();

    let size = fs::metadata(workshop.parts.toolstack.join("sbin/xm"))
        .unwrap()
        .len();
    let said: Vec<String> = check(&workshop.path("tree"))
        .unwrap()
        .1
        .iter()
        .map(Difference::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "missing  boot/xen.gz",
            "changed  etc/init.d/xend: mode 4755, not 0755",
            "changed  etc/xen/auto: a file, not a folder",
            "extra    etc/xen/new",
            "changed  usr/bin/xencons: leads to /bin/sh, not ../sbin/xm",
            "changed  usr/sbin/xend: other content",
            &format!("changed  usr/sbin/xm: 0 bytes, not {size}"),
        ]
    );
    let failed = verify(&workshop.path("tree")).unwrap_err();
    assert!(failed.what.contains("differences: 7"), "{failed}");
    assert_eq!(failed.exit.status(), 1);
    assert!(tarball::pack(&workshop.path("tree"), &workshop.dir).is_err());
}

#[test]
fn a_damaged_manifest_is_called_so() {
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    let path = workshop.path("tree").join(MANIFEST);
    let whole = fs::read_to_string(&path).unwrap();
    let cut = &whole[..whole.rfind("[[file]]").unwrap()];
    for (damage, why) in [
        (whole.replace("mode = \"0644\"", "mode = \"0666\""), "hash"),
        (cut.to_owned(), "last line"),
        (String::new(), "last line"),
    ] {
        fs::write(&path, damage).unwrap();
        let refused = verify(&workshop.path("tree")).unwrap_err();
        assert!(refused.what.contains(MANIFEST), "{refused}");
        assert!(
            refused.what.ends_with("the manifest is damaged"),
            "{refused}"
        );
        assert!(refused.cause.unwrap().contains(why));
    }
    fs::write(&path, [0xff]).unwrap();
    let refused = verify(&workshop.path("tree")).unwrap_err();
    assert_eq!(refused.cause.unwrap(), "it is not text");
    fs::remove_file(&path).unwrap();
    let absent = verify(&workshop.path("tree")).unwrap_err();
    assert!(absent.what.starts_with("cannot read"), "{absent}");
    assert!(absent.remedy.is_some());
}

#[test]
fn a_manifest_does_not_lead_out_of_its_tree() {
    let workshop = Workshop::new();
    let mut manifest = workshop.lay_out("tree").unwrap();
    let path = workshop.path("tree").join(MANIFEST);
    for name in ["../x", "/etc/passwd", "a/../../x", ""] {
        manifest
            .entries
            .insert(name.to_owned(), Entry::Folder { mode: 0 });
        fs::write(&path, manifest.text().unwrap()).unwrap();
        let refused = Manifest::read(&workshop.path("tree")).unwrap_err();
        assert!(refused.cause.unwrap().contains("out of the tree"), "{name}");
        manifest.entries.remove(name);
    }
}

#[test]
fn a_new_tree_takes_the_place_of_the_old_one_and_nothing_stays_beside_it() {
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    fs::write(workshop.parts.hypervisor.join("xen.gz"), "newer").unwrap();
    workshop.lay_out("tree").unwrap();
    let xen = workshop.path("tree").join("boot/xen.gz");
    assert_eq!(fs::read_to_string(xen).unwrap(), "newer");
    assert_eq!(workshop.names(), ["tree"]);
}

#[test]
fn a_folder_with_other_things_in_it_is_not_replaced() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.path("home")).unwrap();
    fs::write(workshop.path("home/letter"), "dear").unwrap();
    let refused = workshop.lay_out("home").unwrap_err();
    assert!(refused.cause.unwrap().contains("letter"));
    // Not even where there is a tree of ours around them.
    workshop.lay_out("tree").unwrap();
    fs::write(workshop.path("tree/letter"), "dear").unwrap();
    assert!(workshop.lay_out("tree").is_err());
    assert_eq!(
        fs::read_to_string(workshop.path("tree/letter")).unwrap(),
        "dear"
    );
}

#[test]
fn a_part_that_lacks_a_file_leaves_the_old_tree_and_nothing_beside_it() {
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    let before = scan(&workshop.path("tree")).unwrap();
    fs::remove_file(workshop.parts.toolstack.join("sbin/xm")).unwrap();
    let failed = workshop.lay_out("tree").unwrap_err();
    assert!(failed.what.contains("sbin/xm"), "{failed}");
    assert_eq!(scan(&workshop.path("tree")).unwrap(), before);
    assert_eq!(workshop.names(), ["tree"]);
}

#[test]
fn a_target_that_cannot_be_made_is_named() {
    let workshop = Workshop::new();
    fs::write(workshop.path("file"), "").unwrap();
    let failed = workshop.lay_out("file/tree").unwrap_err();
    assert!(failed.what.starts_with("cannot create"), "{failed}");
    assert_eq!(workshop.names(), ["file"]);
}

#[test]
fn the_tarball_holds_the_tree_as_roots() {
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    let packed = tarball::pack(&workshop.path("tree"), &workshop.dir).unwrap();
    assert_eq!(workshop.names(), ["rexen-9.8.7.tar.gz", "tree"]);
    assert_intact(&packed);
    let out = workshop.path("out");
    fs::create_dir(&out).unwrap();
    let file = flate2::read::GzDecoder::new(fs::File::open(&packed).unwrap());
    let mut tarball = tar::Archive::new(file);
    tarball.set_preserve_permissions(true);
    for entry in tarball.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), TIME);
        assert!(entry.unpack_in(&out).unwrap());
    }
    assert_intact(&out.join("rexen-9.8.7/install"));
    let script = out.join("rexen-9.8.7/install.sh");
    let own = out.join("rexen-9.8.7/install/usr/share/rexen/install.sh");
    assert_eq!(fs::read(&script).unwrap(), fs::read(own).unwrap());
    assert_eq!(fs::metadata(script).unwrap().mode() & 0o777, 0o755);

    let whole = fs::read(&packed).unwrap();
    fs::write(&packed, &whole[..whole.len() / 2]).unwrap();
    let cut = check(&packed).unwrap_err();
    assert!(cut.what.starts_with("cannot read"), "{cut}");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&packed, flipped).unwrap();
    assert!(check(&packed).map_or(true, |(_, found)| !found.is_empty()));
}

#[test]
fn the_sbom_names_every_source_once() {
    let workshop = Workshop::new();
    workshop.lay_out("tree").unwrap();
    let text = fs::read_to_string(workshop.path("tree").join(SBOM)).unwrap();
    let sbom: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
    assert_eq!(sbom["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    let packages = sbom["packages"].as_array().unwrap();
    let ids: Vec<&str> = packages
        .iter()
        .map(|p| p["SPDXID"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        [
            "SPDXRef-rexen",
            "SPDXRef-Debian-linux-source-1-6.1-b1",
            "SPDXRef-Patch-0001-a.patch",
            "SPDXRef-Crate-a-b-1.2.3",
            "SPDXRef-Tool-rustc",
        ]
    );
    assert_eq!(
        packages[1]["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/linux-source@1%3A6.1%2Bb1"
    );
    let relations = sbom["relationships"].as_array().unwrap();
    assert_eq!(relations.len(), ids.len());
}
