//! The disk: a GPT with two partitions, one for GRUB's core image on BIOS machines and one for everything else.
//!
//! What `grub-bios-setup` does to the first sectors is done here (GRUB manual, "BIOS installation"; the fields are in GRUB's
//! include/grub/i386/pc/boot.h).

use std::collections::BTreeMap;
use std::io::Cursor;

use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{BIOS, EFI, Type};
use gpt::{GptConfig, GptDisk};
use uuid::Uuid;

use super::grub::Loaders;
use super::{Files, esp};
use crate::error::{Error, Result};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Where the partitions begin. GPT and the usual alignment take the first MiB.
const CORE_AT: u64 = MIB / SECTOR;
const ESP_AT: u64 = 2 * MIB / SECTOR;
/// Room for another kernel; FAT32 wants 65525 clusters at least.
const ESP_BYTES: u64 = 128 * MIB;
/// The last MiB is for the GPT's copy.
const DISK_BYTES: u64 = ESP_AT * SECTOR + ESP_BYTES + MIB;

/// boot.img: where the core image begins, in sectors.
const KERNEL_SECTOR: usize = 0x5c;
/// boot.img: a jump that trusts the BIOS to say which drive it is; with two NOPs in its place boot.img makes sure.
const DRIVE_CHECK: usize = 0x66;
const NOPS: [u8; 2] = [0x90, 0x90];
/// boot.img: what of it is code, and not the partition table.
const BOOT_CODE: usize = 440;
/// The core image: where its second sector and all others are, in sectors.
const BLOCK_LIST: usize = 0x1f4;

/// The disk's bytes. `id` becomes its identifiers.
///
/// # Errors
/// The files or the core image do not fit.
pub fn image(files: &Files, loaders: &Loaders, id: u128) -> Result<Vec<u8>> {
    let mut disk = vec![0; bytes(DISK_BYTES)];
    let core = core_image(&loaders.core)?;
    disk[bytes(CORE_AT * SECTOR)..][..core.len()].copy_from_slice(&core);
    let space = &mut disk[bytes(ESP_AT * SECTOR)..][..bytes(ESP_BYTES)];
    esp::make(space, files, serial(id))?;
    let refused = |e| Error::new("cannot make the image's partitions").because(e);
    partitioned(Cursor::new(disk), &loaders.boot, id).map_err(|e| refused(e.to_string()))
}

/// The file system's serial number.
pub fn serial(id: u128) -> u32 {
    (id >> 96) as u32
}

/// The files of a disk that [`image`] made.
///
/// # Errors
/// It is none, or damaged.
pub fn files(mut disk: Vec<u8>) -> Result<Files> {
    let (from, to) = esp_of(&mut disk)?;
    esp::read(&mut disk[from..to])
}

/// Adds a file to a disk, in the place of one that is there; its folder is there.
///
/// # Errors
/// As [`files`]; or it does not fit.
pub fn add_file(disk: &mut [u8], path: &str, content: &[u8]) -> Result<()> {
    let (from, to) = esp_of(disk)?;
    esp::add(&mut disk[from..to], path, content)
}

/// From where to where the file system is.
fn esp_of(disk: &mut [u8]) -> Result<(usize, usize)> {
    let none = |e: String| Error::new("this is no image of ours").because(e);
    let table = open(disk).map_err(|e| none(e.to_string()))?;
    let mut partitions = table.partitions().values();
    let esp = partitions.find(|p| p.part_type_guid == EFI);
    let esp = esp.ok_or_else(|| none("it has no EFI system partition".to_owned()))?;
    Ok((
        bytes(esp.first_lba * SECTOR),
        bytes((esp.last_lba + 1) * SECTOR),
    ))
}

/// The partition table of a disk.
fn open(disk: &mut [u8]) -> std::result::Result<GptDisk<Cursor<&mut [u8]>>, gpt::GptError> {
    GptConfig::new().open_from_device(Cursor::new(disk))
}

/// The core image as it is on the disk.
fn core_image(core: &[u8]) -> Result<Vec<u8>> {
    let room = bytes((ESP_AT - CORE_AT) * SECTOR);
    if core.len() > room || core.len() < bytes(SECTOR) {
        return Err(Error::new("GRUB's core image does not fit")
            .because(format!("it has {} bytes, and there are {room}", core.len())));
    }
    let mut core = core.to_vec();
    core[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(CORE_AT + 1).to_le_bytes());
    Ok(core)
}

fn partitioned(
    disk: Cursor<Vec<u8>>,
    boot: &[u8],
    id: u128,
) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
    // Identifiers of this image's own, and of no others.
    let guid = |nr: u128| {
        let mut bytes = id.wrapping_add(nr).to_be_bytes();
        // RFC 9562: version 8, made as its maker likes; the variant that all have.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid::from_bytes(bytes)
    };
    let part = |nr: u32, name: &str, kind: Type, first_lba: u64, sectors: u64| {
        let partition = Partition {
            part_type_guid: kind,
            part_guid: guid(nr.into()),
            first_lba,
            last_lba: first_lba + sectors - 1,
            flags: 0,
            name: name.to_owned(),
        };
        (nr, partition)
    };
    let mut table = GptConfig::new()
        .writable(true)
        .create_from_device(disk, Some(guid(0)))?;
    table.update_partitions(BTreeMap::from([
        part(1, "Rexen GRUB", BIOS, CORE_AT, ESP_AT - CORE_AT),
        part(2, "Rexen", EFI, ESP_AT, ESP_BYTES / SECTOR),
    ]))?;
    let mut disk = table.write()?;
    let sectors = u32::try_from(DISK_BYTES / SECTOR - 1)?;
    let mut mbr = ProtectiveMBR::with_lb_size(sectors);
    let mut code = [0; BOOT_CODE];
    code.copy_from_slice(boot.get(..BOOT_CODE).ok_or("boot.img is too short")?);
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&CORE_AT.to_le_bytes());
    code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&NOPS);
    mbr.set_bootcode(code);
    mbr.overwrite_lba0(&mut disk)?;
    Ok(disk.into_inner())
}

/// A length or place in memory. The disk is small.
fn bytes(number: u64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaders() -> Loaders {
        Loaders {
            boot: (0..=255).cycle().take(512).collect(),
            core: vec![0xcc; 5000],
            efi: b"efi".to_vec(),
        }
    }

    fn files_of_test() -> Files {
        Files::from([
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), b"efi".to_vec()),
            ("boot/grub/grub.cfg".to_owned(), b"menu".to_vec()),
            ("boot/root.gz".to_owned(), vec![7; 3_000_000]),
        ])
    }

    #[test]
    fn what_is_written_is_read_back_and_is_the_same_twice() {
        let make = |id| image(&files_of_test(), &loaders(), id).unwrap();
        let disk = make(5);
        assert!(disk == make(5), "two images of the same differ");
        assert!(
            disk != make(6),
            "an image of something else has its identifiers"
        );
        assert_eq!(files(disk).unwrap(), files_of_test());
    }

    #[test]
    fn a_file_can_be_added_and_replaced() {
        let mut disk = image(&files_of_test(), &loaders(), 5).unwrap();
        let path = "boot/grub/custom.cfg";
        add_file(&mut disk, path, b"set timeout=0").unwrap();
        add_file(&mut disk, path, b"short").unwrap();
        let mut expected = files_of_test();
        expected.insert(path.to_owned(), b"short".to_vec());
        assert_eq!(files(disk).unwrap(), expected);
    }

    #[test]
    fn the_partitions_are_where_loader_and_firmware_look() {
        let mut disk = image(&files_of_test(), &loaders(), 5).unwrap();
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        assert_eq!(disk[450], 0xee, "the partition that covers all is GPT's");
        assert_eq!(
            disk[KERNEL_SECTOR..KERNEL_SECTOR + 8],
            CORE_AT.to_le_bytes()
        );
        assert_eq!(disk[0..KERNEL_SECTOR], loaders().boot[0..KERNEL_SECTOR]);
        let core = bytes(CORE_AT * SECTOR);
        assert_eq!(disk[core..core + BLOCK_LIST], [0xcc; BLOCK_LIST]);
        assert_eq!(disk[core + BLOCK_LIST..][..8], (CORE_AT + 1).to_le_bytes());
        let table = open(&mut disk).unwrap();
        assert!(table.primary_header().is_ok() && table.backup_header().is_ok());
        let kinds: Vec<_> = table
            .partitions()
            .values()
            .map(|p| &p.part_type_guid)
            .collect();
        assert_eq!(kinds, [&BIOS, &EFI]);
        let ids: Vec<_> = table.partitions().values().map(|p| p.part_guid).collect();
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn what_is_no_disk_of_ours_is_refused() {
        assert!(files(vec![0; 1 << 20]).is_err());
        let mut disk = image(&files_of_test(), &loaders(), 5).unwrap();
        // The file system's first sector.
        disk[bytes(ESP_AT * SECTOR)..][..512].fill(0);
        assert!(files(disk).is_err());
    }

    #[test]
    fn a_core_image_or_a_file_that_does_not_fit_is_refused() {
        let large = Loaders {
            core: vec![0; 1 << 20 | 1],
            ..loaders()
        };
        assert!(image(&files_of_test(), &large, 1).is_err());
        let mut files = files_of_test();
        files.insert("much".to_owned(), vec![1; bytes(ESP_BYTES)]);
        assert!(image(&files, &loaders(), 1).is_err());
    }
}
