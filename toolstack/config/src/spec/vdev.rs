//! Names and numbers of a guest's block devices.

use super::SpecError;
use std::fmt;
use std::str::FromStr;

/// A virtual block device: the name the user gave it, and the number that goes into the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vdev {
    name: String,
    number: u32,
}

impl Vdev {
    /// The name as the user wrote it, without a leading `/dev/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number: Linux's major * 256 + minor, or the extended form from bit 28 for what that cannot hold.
    ///
    /// # Source
    /// Xen's `docs/man/xen-vbd-interface`, "Concrete encoding"; 2.0 had the same for `sd` and `hd`.
    pub fn number(&self) -> u32 {
        self.number
    }
}

/// Majors of the IDE channels in order, two discs each.
const IDE_MAJORS: [u32; 10] = [3, 22, 33, 34, 56, 57, 88, 89, 90, 91];
const XVD_MAJOR: u32 = 202;
const SD_MAJOR: u32 = 8;
const EXTENDED: u32 = 1 << 28;
/// Discs and partitions the extended form has room for.
const MAX_DISK: u32 = (1 << 20) - 1;
const MAX_PARTITION: u32 = 255;

fn number_of(name: &str) -> Option<u32> {
    if let Some(rest) = name.strip_prefix("xvd") {
        let (disk, partition) = letters_and_number(rest)?;
        return xvd(disk, partition);
    }
    if let Some(rest) = name.strip_prefix("sd") {
        let (disk, partition) = letters_and_number(rest)?;
        return (disk < 16 && partition < 16).then_some(SD_MAJOR << 8 | disk << 4 | partition);
    }
    if let Some(rest) = name.strip_prefix("hd") {
        let (disk, partition) = letters_and_number(rest)?;
        let major = IDE_MAJORS.get(disk as usize / 2)?;
        return (partition < 64).then_some(major << 8 | (disk & 1) << 6 | partition);
    }
    // Before `d0p1`, which is hexadecimal up to its `p`: 2.0 took bare hexadecimal numbers, xl takes discs.
    if let Some((disk, partition)) = name.strip_prefix('d').and_then(|rest| rest.split_once('p')) {
        return xvd(decimal(disk)?, decimal(partition)?);
    }
    let hex = name
        .strip_prefix("0x")
        .or(name.strip_prefix("0X"))
        .unwrap_or(name);
    let digits = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    digits
        .then(|| u32::from_str_radix(hex, 16).ok())
        .flatten()
        .filter(|number| *number > 0 && *number < 1 << 29)
}

fn xvd(disk: u32, partition: u32) -> Option<u32> {
    if disk < 16 && partition < 16 {
        return Some(XVD_MAJOR << 8 | disk << 4 | partition);
    }
    (disk <= MAX_DISK && partition <= MAX_PARTITION).then_some(EXTENDED | disk << 8 | partition)
}

fn decimal(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Reads `a` to `z`, `aa`, ... as 0 to 25, 26, ..., and the number behind it, 0 when there is none.
fn letters_and_number(text: &str) -> Option<(u32, u32)> {
    let split = text
        .find(|c: char| !c.is_ascii_lowercase())
        .unwrap_or(text.len());
    let (letters, digits) = text.split_at(split);
    if letters.is_empty() || letters.len() > 4 {
        return None;
    }
    let disk = letters
        .bytes()
        .fold(0, |sum, letter| sum * 26 + u32::from(letter - b'a') + 1)
        - 1;
    Some((
        disk,
        if digits.is_empty() {
            0
        } else {
            decimal(digits)?
        },
    ))
}

impl FromStr for Vdev {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let name = text.strip_prefix("/dev/").unwrap_or(text);
        match number_of(name) {
            Some(number) => Ok(Self {
                name: name.to_owned(),
                number,
            }),
            None => Err(SpecError::invalid(
                "device",
                text,
                "vbd: Device not found: name it like xvda, xvda1, sda1 or hda",
            )),
        }
    }
}

impl fmt::Display for Vdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
