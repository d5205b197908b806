//! The initrd of the warden: a cpio archive (newc) with the images of the guests and the file `plan`.

/// Length of a record's header: the magic number and thirteen fields of eight hexadecimal digits.
const HEADER: usize = 110;

/// The content of file `name`.
pub fn find(archive: &'static [u8], name: &str) -> Option<&'static [u8]> {
    let mut rest = archive;
    loop {
        let header = rest.get(..HEADER)?;
        let (content_bytes, name_bytes) = (field(header, 6)?, field(header, 11)?);
        let content_start = (HEADER + name_bytes).next_multiple_of(4);
        let content = rest.get(content_start..content_start + content_bytes)?;
        // The name ends with a NUL byte, which counts.
        let found = rest.get(HEADER..HEADER + name_bytes.checked_sub(1)?)?;
        if found == name.as_bytes() {
            return Some(content);
        }
        if found == b"TRAILER!!!" {
            return None;
        }
        rest = rest.get(content_start + content_bytes.next_multiple_of(4)..)?;
    }
}

/// Field `number` of a header.
fn field(header: &[u8], number: usize) -> Option<usize> {
    let digits = header.get(6 + number * 8..14 + number * 8)?;
    usize::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}
