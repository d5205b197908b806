//! SHA-256, as everything of ours is held against it.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file, in hex.
///
/// # Errors
/// The file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let file = fs::File::open(path);
    file.and_then(sha256_of).map_err(Error::io("read", path))
}

/// The SHA-256 of all that can be read, in hex.
///
/// # Errors
/// It cannot be read.
pub fn sha256_of(mut source: impl std::io::Read) -> std::io::Result<String> {
    let mut sum = Sha256::new();
    let mut part = vec![0; 1 << 16];
    loop {
        match source.read(&mut part)? {
            0 => return Ok(hex(&sum.finalize())),
            length => sum.update(&part[..length]),
        }
    }
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_the_published_one() {
        let published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), published);
    }
}
