//! The file system that GRUB and UEFI read: FAT32, made in memory, the same bytes every time.

use std::io::{self, Cursor, Read, Write};

use fatfs::{
    Date, DateTime, Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider,
};

use super::Files;
use crate::error::{Error, Result};

/// Small enough for small files, large enough for a FAT that firmware reads quickly.
const CLUSTER: u32 = 1024;

/// Every entry has this time: FAT's first. A clock would make each image another.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn get_current_date(&self) -> Date {
        Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

fn options() -> FsOptions {
    FsOptions::new().time_provider(&NoClock)
}

/// Makes a file system with these files in `space`, which is zero; `serial` tells it from others.
///
/// # Errors
/// The files do not fit, or a name is none for FAT.
pub fn make(space: &mut [u8], files: &Files, serial: u32) -> Result<()> {
    let made = || -> io::Result<()> {
        let format = FormatVolumeOptions::new()
            .fat_type(FatType::Fat32)
            .bytes_per_cluster(CLUSTER)
            .volume_id(serial)
            .volume_label(*b"REXEN      ");
        let mut space = Cursor::new(space);
        fatfs::format_volume(&mut space, format)?;
        let system = FileSystem::new(space, options())?;
        for (path, content) in files {
            let root = system.root_dir();
            for (at, _) in path.match_indices('/') {
                root.create_dir(&path[..at])?;
            }
            root.create_file(path)?.write_all(content)?;
        }
        system.unmount()
    };
    made().map_err(|e| Error::new("cannot make the image's file system").because(e))
}

/// Adds a file to a file system, or replaces one.
///
/// # Errors
/// Its folder is not there, or it does not fit.
pub fn add(space: &mut [u8], path: &str, content: &[u8]) -> Result<()> {
    let added = || -> io::Result<()> {
        let system = FileSystem::new(Cursor::new(space), options())?;
        {
            let root = system.root_dir();
            let mut file = root.create_file(path)?;
            file.truncate()?;
            file.write_all(content)?;
        }
        system.unmount()
    };
    added().map_err(|e| Error::new(format!("cannot add {path} to the image")).because(e))
}

/// Reads every file back.
///
/// # Errors
/// It is no FAT file system, or a damaged one.
pub fn read(space: &mut [u8]) -> Result<Files> {
    let found = || -> io::Result<Files> {
        let system = FileSystem::new(Cursor::new(space), options())?;
        let mut files = Files::new();
        collect(&system.root_dir(), "", &mut files)?;
        Ok(files)
    };
    found().map_err(|e| Error::new("cannot read the image's file system").because(e))
}

fn collect(dir: &Dir<'_, Cursor<&mut [u8]>>, under: &str, files: &mut Files) -> io::Result<()> {
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{under}{name}");
        if entry.is_file() {
            let mut content = Vec::new();
            entry.to_file().read_to_end(&mut content)?;
            files.insert(path, content);
        } else if name != "." && name != ".." {
            collect(&entry.to_dir(), &format!("{path}/"), files)?;
        }
    }
    Ok(())
}
