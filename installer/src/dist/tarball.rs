//! Packs a tree as `rexen-VERSION.tar.gz`: sorted, everything root's, one time for all; and reads one, to be verified.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Archive, Builder, EntryType, Header};

use super::facts::NAME;
use super::scan::{Entries, Entry, scan};
use super::{MANIFEST, Manifest, verify};
use crate::cache::sha256_of;
use crate::error::{Error, Result};

/// The tree's folder within the tarball's own.
const TREE: &str = "install";
/// What is beside the tree in the tarball, too, and where the tree has it.
const BESIDE: [(&str, &str); 2] = [
    ("COPYING", "usr/share/doc/rexen/COPYING"),
    ("install.sh", "usr/share/rexen/install.sh"),
];

/// Packs the tree in `tree` into a file in `folder`, where it appears once it is whole. In the tarball the tree is
/// `rexen-VERSION/install`.
///
/// # Errors
/// The tree is not what its manifest says; the file system's.
pub fn pack(tree: &Path, folder: &Path) -> Result<PathBuf> {
    let manifest = Manifest::read(tree)?;
    let mut entries = scan(tree)?;
    let own = entries.remove(MANIFEST);
    if let Some(first) = verify::compare(&manifest.entries, &entries).first() {
        return Err(
            Error::new(format!("{} is not what its manifest says", tree.display()))
                .because(first)
                .remedy("cargo rexen verify names all of it"),
        );
    }
    entries.extend(own.map(|entry| (MANIFEST.to_owned(), entry)));
    let name = format!("{NAME}-{}", manifest.facts.version);
    let done = folder.join(format!("{name}.tar.gz"));
    let part = folder.join(format!(".{name}.tar.gz.{}", std::process::id()));
    let written = write(&part, |tarball| {
        let time = manifest.facts.time;
        let below = Path::new(&name);
        for (beside, path) in BESIDE {
            if let Some(entry) = entries.get(path) {
                append(tarball, time, &below.join(beside), &tree.join(path), entry)?;
            }
        }
        let mut add = |path: &str, entry: &Entry| {
            let to = below.join(TREE).join(path);
            append(tarball, time, &to, &tree.join(path), entry)
        };
        add("", &Entry::Folder { mode: 0o755 })?;
        for (path, entry) in &entries {
            add(path, entry)?;
        }
        Ok(())
    });
    let placed = written.and_then(|()| fs::rename(&part, &done));
    placed.map_err(|e| {
        let _ = fs::remove_file(&part);
        Error::io("write", &done)(e)
    })?;
    Ok(done)
}

/// Reads what a tarball holds: the tree's manifest, and every entry as it would be unpacked. What is beside the tree is
/// under `../`.
///
/// # Errors
/// It cannot be read, or has no manifest, or a damaged one.
pub fn read(path: &Path) -> Result<(Manifest, Entries)> {
    let mut manifest = None;
    let mut entries = Entries::new();
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let mut tarball = Archive::new(GzDecoder::new(io::BufReader::new(file)));
    let unreadable = |e| Error::io("read", path)(e).remedy("get or make the tarball again");
    for entry in tarball.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let Some(name) = name_in_tree(&entry.path().map_err(unreadable)?) else {
            continue;
        };
        if name == MANIFEST {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(unreadable)?;
            manifest = Some(
                Manifest::parse(&bytes)
                    .map_err(|e| e.in_file(path).remedy("get or make the tarball again"))?,
            );
        } else {
            entries.insert(name, as_entry(&mut entry).map_err(unreadable)?);
        }
    }
    // A copy that is not what the tree has stays, as something that no manifest names.
    for (beside, path) in BESIDE {
        let beside = format!("../{beside}");
        if entries.contains_key(&beside) && entries.get(&beside) == entries.get(path) {
            entries.remove(&beside);
        }
    }
    let none = || Error::new(format!("{} holds no {MANIFEST}", path.display()));
    Ok((manifest.ok_or_else(none)?, entries))
}

/// From `rexen-VERSION/install/PATH` to `PATH`; nothing for the two folders themselves.
fn name_in_tree(path: &Path) -> Option<String> {
    let below = path.components().skip(1).collect::<PathBuf>();
    let name = match below.strip_prefix(TREE) {
        Ok(name) => name.to_owned(),
        Err(_) if below.as_os_str().is_empty() => below,
        Err(_) => Path::new("..").join(below),
    };
    let name = name.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

fn as_entry(found: &mut tar::Entry<impl Read>) -> io::Result<Entry> {
    let header = found.header();
    let (kind, mode, size) = (header.entry_type(), header.mode()?, found.size());
    Ok(match kind {
        EntryType::Directory => Entry::Folder { mode },
        EntryType::Regular => Entry::File {
            mode,
            size,
            sha256: sha256_of(found)?,
        },
        EntryType::Symlink => {
            let target = found.link_name()?.unwrap_or_default();
            let target = target.to_string_lossy().into_owned();
            Entry::Link { target }
        }
        _ => Entry::Special,
    })
}

type Tarball = Builder<GzEncoder<io::BufWriter<fs::File>>>;

fn write(path: &Path, fill: impl FnOnce(&mut Tarball) -> io::Result<()>) -> io::Result<()> {
    let file = io::BufWriter::new(fs::File::create(path)?);
    let gzip = GzBuilder::new()
        .mtime(0)
        .write(file, Compression::default());
    let mut tarball = Builder::new(gzip);
    fill(&mut tarball)?;
    let mut file = tarball.into_inner()?.finish()?;
    file.flush()?;
    file.get_ref().sync_all()
}

fn append(
    tarball: &mut Tarball,
    time: u64,
    to: &Path,
    from: &Path,
    entry: &Entry,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_mtime(time);
    header.set_size(0);
    match entry {
        Entry::Folder { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            // Folders end in a slash.
            tarball.append_data(&mut header, to.join(""), io::empty())
        }
        Entry::File { mode, size, .. } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(*size);
            tarball.append_data(&mut header, to, fs::File::open(from)?)
        }
        Entry::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tarball.append_link(&mut header, to, target)
        }
        Entry::Special => Err(io::Error::other(format!("{} is no file", from.display()))),
    }
}
