//! Writes cpio archives in the "newc" form, which Linux takes as initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Sorted by name, owned by root, dated 1970 and numbered from 1: the same entries give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cache::sha256;
use crate::dist::scan::{Entries, Entry};
use crate::error::{Error, Result};

/// Every folder's.
const FOLDER_MODE: u32 = 0o755;

/// What an entry is.
#[derive(Clone, Debug)]
enum Node {
    Dir,
    File { mode: u32, content: Vec<u8> },
    Symlink { target: String },
    CharDevice { major: u32, minor: u32 },
}

/// An archive in the making; parents of every entry come by themselves.
#[derive(Clone, Debug, Default)]
pub struct Archive(BTreeMap<String, Node>);

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; `mode` holds the permission bits, as in `0o755`.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.put(
            path,
            Node::File {
                mode,
                content: content.into(),
            },
        );
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.put(
            path,
            Node::Symlink {
                target: target.to_owned(),
            },
        );
    }

    /// Adds an empty folder.
    pub fn dir(&mut self, path: &str) {
        self.put(path, Node::Dir);
    }

    /// Adds a character device, readable and writable by root.
    pub fn char_device(&mut self, path: &str, major: u32, minor: u32) {
        self.put(path, Node::CharDevice { major, minor });
    }

    /// Adds what is below a folder. `place` says where an entry goes in the archive, or `None` to leave it out.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn tree(&mut self, dir: &Path, place: &impl Fn(&str) -> Option<String>) -> Result<()> {
        self.subtree(dir, "", place)
    }

    fn subtree(
        &mut self,
        dir: &Path,
        under: &str,
        place: &impl Fn(&str) -> Option<String>,
    ) -> Result<()> {
        for entry in fs::read_dir(dir).map_err(Error::io("read", dir))?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let inside = format!("{under}{}", name.to_string_lossy());
            let kind = entry.file_type().map_err(Error::io("read", &path))?;
            if kind.is_dir() {
                self.subtree(&path, &format!("{inside}/"), place)?;
                continue;
            }
            let Some(place) = place(&inside) else {
                continue;
            };
            if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(Error::io("read", &path))?;
                self.symlink(&place, &target.to_string_lossy());
            } else {
                let mode = entry.metadata().map_err(Error::io("read", &path))?;
                let content = fs::read(&path).map_err(Error::io("read", &path))?;
                self.file(&place, mode.permissions().mode() & 0o777, content);
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..at].to_owned()).or_insert(Node::Dir);
        }
        self.0.insert(path.to_owned(), node);
    }

    /// What it holds, as manifests name it. Devices are not in those.
    pub fn entries(&self) -> Entries {
        let entry = |node: &Node| match node {
            Node::Dir => Entry::Folder { mode: FOLDER_MODE },
            Node::File { mode, content } => Entry::File {
                mode: *mode,
                size: content.len() as u64,
                sha256: sha256(content),
            },
            Node::Symlink { target } => Entry::Link {
                target: target.clone(),
            },
            Node::CharDevice { .. } => Entry::Special,
        };
        let named = self
            .0
            .iter()
            .map(|(path, node)| (path.clone(), entry(node)));
        named
            .filter(|(_, entry)| *entry != Entry::Special)
            .collect()
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// A file of 4 GiB or more: the format cannot say its size.
    pub fn finish(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut inode = 0;
        // A BTreeMap yields a folder before what is in it, as the kernel needs.
        for (path, node) in &self.0 {
            inode += 1;
            let (mode, content, device): (u32, &[u8], _) = match node {
                Node::Dir => (0o040_000 | FOLDER_MODE, &[], (0, 0)),
                Node::File { mode, content } => (0o100_000 | mode, content, (0, 0)),
                Node::Symlink { target } => (0o120_777, target.as_bytes(), (0, 0)),
                Node::CharDevice { major, minor } => (0o020_600, &[], (*major, *minor)),
            };
            record(&mut out, path, inode, mode, content, device)?;
        }
        record(&mut out, "TRAILER!!!", 0, 0, &[], (0, 0))?;
        Ok(out)
    }
}

fn record(
    out: &mut Vec<u8>,
    path: &str,
    inode: u32,
    mode: u32,
    content: &[u8],
    device: (u32, u32),
) -> Result<()> {
    let size = |n: usize| {
        u32::try_from(n).map_err(|_| Error::new(format!("{path}: too large for an initramfs")))
    };
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let fields = [
        inode,
        mode,
        0, // uid
        0, // gid
        links,
        0, // mtime
        size(content.len())?,
        0,
        0, // the device it was on
        device.0,
        device.1,
        size(path.len() + 1)?,
        0, // checksum, unused in this form
    ];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
    Ok(())
}

/// Headers and contents start at multiples of four.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(reversed: bool) -> Vec<u8> {
        let mut archive = Archive::new();
        let mut adds: Vec<fn(&mut Archive)> = vec![
            |a| a.file("/init", 0o755, "#!/bin/sh\n"),
            |a| a.symlink("/bin/sh", "busybox"),
            |a| a.file("/etc/deep/er/hosts", 0o644, "127.0.0.1 localhost"),
            |a| a.char_device("/dev/console", 5, 1),
        ];
        if reversed {
            adds.reverse();
        }
        adds.into_iter().for_each(|add| add(&mut archive));
        archive.finish().unwrap()
    }

    #[test]
    fn the_order_of_adding_does_not_show() {
        assert_eq!(sample(false), sample(true));
    }

    #[test]
    fn a_manifest_is_told_of_everything_but_devices() {
        let mut archive = Archive::new();
        archive.file("/bin/tool", 0o755, "x");
        archive.symlink("/bin/sh", "tool");
        archive.char_device("/dev/null", 1, 3);
        let entries = archive.entries();
        let paths: Vec<_> = entries.keys().map(String::as_str).collect();
        assert_eq!(paths, ["bin", "bin/sh", "bin/tool", "dev"]);
        let tool = Entry::File {
            mode: 0o755,
            size: 1,
            sha256: sha256(b"x"),
        };
        assert_eq!(entries["bin/tool"], tool);
    }

    #[test]
    fn a_tree_keeps_modes_and_links_and_goes_where_it_is_told() {
        let dir = std::env::temp_dir().join(format!("rexen-tree-{}", std::process::id()));
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(dir.join("bin/tool"), "x").unwrap();
        fs::set_permissions(dir.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("bin/other"), "x").unwrap();
        std::os::unix::fs::symlink("tool", dir.join("bin/link")).unwrap();
        let mut archive = Archive::new();
        let place = |path: &str| (path != "bin/other").then(|| format!("usr/{path}"));
        archive.tree(&dir, &place).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let found = entries(&archive.finish().unwrap());
        let seen: Vec<_> = found.iter().map(|(n, m, _)| (n.as_str(), *m)).collect();
        let expected = [
            ("usr", 0o040_755),
            ("usr/bin", 0o040_755),
            ("usr/bin/link", 0o120_777),
            ("usr/bin/tool", 0o100_755),
        ];
        assert_eq!(seen, expected);
    }

    /// Reads the format back by its own rules: names, modes, contents.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |nr: usize| {
                let text = std::str::from_utf8(&bytes[6 + nr * 8..14 + nr * 8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_len) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_len - 1].to_vec()).unwrap();
            let start = (110 + name_len).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return found;
            }
            found.push((
                name,
                u32::try_from(mode).unwrap(),
                bytes[start..start + size].to_vec(),
            ));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn parents_come_first_and_contents_are_whole() {
        let found = entries(&sample(false));
        let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
        let expected = [
            "bin",
            "bin/sh",
            "dev",
            "dev/console",
            "etc",
            "etc/deep",
            "etc/deep/er",
            "etc/deep/er/hosts",
            "init",
        ];
        assert_eq!(names, expected);
        let init = found.iter().find(|(name, ..)| name == "init").unwrap();
        assert_eq!(
            (init.1, init.2.as_slice()),
            (0o100_755, &b"#!/bin/sh\n"[..])
        );
        assert_eq!(found[1].1, 0o120_777);
    }
}
