//! Packs a tree as `rexen-VERSION.tar.gz`: sorted, everything root's, one time for all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::facts::NAME;
use super::scan::{Entry, scan};
use super::{MANIFEST, Manifest, verify};
use crate::error::{Error, Result};

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
        let mut add = |path: &str, entry: &Entry| {
            append(tarball, manifest.facts.time, &name, tree, path, entry)
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
    name: &str,
    tree: &Path,
    path: &str,
    entry: &Entry,
) -> io::Result<()> {
    let to = Path::new(name).join("install").join(path);
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
            tarball.append_data(&mut header, to, io::empty())
        }
        Entry::File { mode, size, .. } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(*size);
            tarball.append_data(&mut header, to, fs::File::open(tree.join(path))?)
        }
        Entry::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tarball.append_link(&mut header, to, target)
        }
        Entry::Special => Err(io::Error::other(format!("{path} is no file"))),
    }
}
