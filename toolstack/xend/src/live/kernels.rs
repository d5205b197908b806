//! Unpacked kernels, kept on disk until the next boot: to unpack one takes twenty times as long as all the rest of making
//! a domain.
//!
//! A copy is a file below `<folder>/<boot id>`: the kernel file, then the image that came out of it. The whole kernel
//! file is compared, so no other can pass for it. Copies of an earlier boot are not used: they were never synced, and may
//! be cut short. All of it may be deleted at any time.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rexen_xenctl::build::{BuildError, Kernel};

/// Copies kept; those that were not used for longest go first.
const KEPT: usize = 4;
/// A copy takes at most this part of the free space.
const SHARE: u64 = 4;
/// How every image begins, packed or not.
const ELF: &[u8] = b"\x7fELF";

/// The kernels of this host's domains.
pub struct Kernels {
    /// Where copies are; none where none can be.
    folder: Option<PathBuf>,
    /// One is unpacked at a time: it takes a hundred megabytes, and who waits mostly wants the same one.
    alone: Mutex<()>,
}

impl Kernels {
    /// With copies below a folder, which is made if need be; those of other boots are removed.
    pub fn below(root: &Path, boot: &str) -> Self {
        let folder = root.join(boot.trim());
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            if entry.path() != folder {
                // What stays costs nothing but its space.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Self {
            folder: made.is_ok().then_some(folder),
            alone: Mutex::default(),
        }
    }

    /// The image in a kernel file.
    ///
    /// # Errors
    /// Those of [`Kernel::unpack`]; what goes wrong with a copy costs time only.
    pub fn image(&self, file: Vec<u8>) -> Result<Vec<u8>, BuildError> {
        if file.starts_with(ELF) {
            return Ok(file);
        }
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = self.folder.as_ref().map(|folder| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&file);
            folder.join(format!("{:016x}", hasher.finish()))
        });
        if let Some(image) = copy.as_deref().and_then(|copy| found(copy, &file)) {
            return Ok(image);
        }
        let image = Kernel::unpack(&file)?.into_image();
        if let Some(copy) = copy {
            let _ = keep(&copy, &file, &image); // A full disk, say: the next domain waits as this one did.
        }
        Ok(image)
    }
}

/// The image in a copy, if it is one of this file.
fn found(copy: &Path, file: &[u8]) -> Option<Vec<u8>> {
    let mut reader = File::open(copy).ok()?;
    let size = usize::try_from(reader.metadata().ok()?.len()).ok()?;
    let mut buffer = vec![0; 1 << 16];
    for expected in file.chunks(buffer.len()) {
        let there = buffer.get_mut(..expected.len())?;
        reader.read_exact(there).ok()?;
        if there != expected {
            return None;
        }
    }
    let mut image = Vec::with_capacity(size.checked_sub(file.len())?);
    reader.read_to_end(&mut image).ok()?;
    let _ = reader.set_modified(SystemTime::now()); // Only the order in which copies go.
    image.starts_with(ELF).then_some(image)
}

/// Writes a copy beside its place, puts it there once it is whole, and removes those that are too many.
fn keep(copy: &Path, file: &[u8], image: &[u8]) -> io::Result<()> {
    let folder = copy.parent().unwrap_or(copy);
    let space = rustix::fs::statvfs(folder)?;
    let size = (file.len() + image.len()) as u64;
    if size.saturating_mul(SHARE) > space.f_bavail.saturating_mul(space.f_frsize) {
        return Ok(());
    }
    // Only one is written at a time, so a fixed name does, and a file that was left is overwritten.
    let part = folder.join("part");
    let written = File::create(&part).and_then(|mut writer| {
        writer.write_all(file)?;
        writer.write_all(image)?;
        // The file system's own clock may stand still between two copies.
        writer.set_modified(SystemTime::now())
    });
    let kept = written.and_then(|()| fs::rename(&part, copy));
    if kept.is_err() {
        let _ = fs::remove_file(&part);
    }
    kept?;
    let mut copies: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    copies.sort();
    let too_many = copies.len().saturating_sub(KEPT);
    copies
        .iter()
        .take(too_many)
        .try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of our own, and its path.
    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("xend-kernels-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    /// An image, and a kernel file that unpacks to it: gzip with one stored block.
    fn kernel(text: &str) -> (Vec<u8>, Vec<u8>) {
        let image = [ELF, text.as_bytes()].concat();
        let mut crc = !0u32;
        for byte in &image {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            }
        }
        let len = image.len() as u16;
        let mut file = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01".to_vec();
        file.extend([len.to_le_bytes(), (!len).to_le_bytes()].concat());
        file.extend(&image);
        file.extend([(!crc).to_le_bytes(), u32::from(len).to_le_bytes()].concat());
        (image, file)
    }

    fn copies(root: &Path, boot: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(root.join(boot)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn the_second_time_the_copy_is_taken_if_it_is_of_this_very_file() {
        let root = folder("again");
        let kernels = Kernels::below(&root, "boot\n");
        let (image, file) = kernel("a kernel");
        assert_eq!(kernels.image(file.clone()).unwrap(), image);
        let [copy] = &copies(&root, "boot")[..] else {
            panic!("not one copy");
        };
        // Another image in the copy shows that it is read, and another file in it that it is compared.
        fs::write(copy, [&file, ELF, b"from the copy"].concat()).unwrap();
        assert_eq!(
            kernels.image(file.clone()).unwrap(),
            [ELF, b"from the copy"].concat()
        );
        for wrong in [
            b"short".to_vec(),
            file.clone(),
            [&file, &b"no image"[..]].concat(),
            [&kernel("another").1, &image[..]].concat(),
        ] {
            fs::write(copy, wrong).unwrap();
            assert_eq!(kernels.image(file.clone()).unwrap(), image);
        }
        assert_eq!(fs::read(copy).unwrap(), [file, image].concat());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn another_boots_copies_go_and_so_do_those_longest_unused() {
        let root = folder("order");
        let old = Kernels::below(&root, "old");
        old.image(kernel("old").1).unwrap();
        let kernels = Kernels::below(&root, "new");
        assert!(!root.join("old").exists());
        for name in 0..=KEPT {
            kernels.image(kernel(&format!("kernel {name}")).1).unwrap();
            // The first is used again and again, so the second goes.
            kernels.image(kernel("kernel 0").1).unwrap();
        }
        assert_eq!(copies(&root, "new").len(), KEPT);
        let has = |name: &str| {
            let (image, file) = kernel(name);
            let whole = [file, image].concat();
            copies(&root, "new")
                .iter()
                .any(|copy| fs::read(copy).unwrap() == whole)
        };
        assert!(has("kernel 0") && has("kernel 4") && !has("kernel 1"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn without_a_folder_kernels_unpack_all_the_same() {
        let root = folder("none");
        fs::write(&root, "a file").unwrap();
        let kernels = Kernels::below(&root, "boot");
        let (image, file) = kernel("a kernel");
        assert_eq!(kernels.image(file).unwrap(), image);
        assert_eq!(kernels.image(image.clone()).unwrap(), image);
        assert!(kernels.image(b"no kernel".to_vec()).is_err());
        fs::remove_file(root).unwrap();
    }
}
