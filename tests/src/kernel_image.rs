//! Kernel images for domain 0 that are wrong on purpose.

/// A bzImage (boot protocol 2.15) around a payload: header, then the payload, at the offsets that the header names.
pub fn bz_image(payload: &[u8]) -> Vec<u8> {
    const SETUP_SECTORS: usize = 4;
    const PAYLOAD_OFFSET: u32 = 0x200;
    let mut image = vec![0; (SETUP_SECTORS + 1) * 512 + PAYLOAD_OFFSET as usize];
    image[0x1f1] = SETUP_SECTORS as u8;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&PAYLOAD_OFFSET.to_le_bytes());
    let length = u32::try_from(payload.len()).expect("a small payload");
    image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
    image.extend_from_slice(payload);
    image
}

/// The smallest ELF64 header of an x86-64 program, with no program headers and no Xen notes.
pub fn empty_elf() -> Vec<u8> {
    let mut image = vec![0; 64];
    image[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    image[16..20].copy_from_slice(&[2, 0, 62, 0]); // ET_EXEC, EM_X86_64
    image[20] = 1;
    image[52] = 64; // e_ehsize
    image[54] = 56; // e_phentsize
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_lies_where_the_header_says() {
        let image = bz_image(b"payload");
        let field = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
        let start = (usize::from(image[0x1f1]) + 1) * 512 + field(0x248);
        assert_eq!(&image[start..start + field(0x24c)], b"payload");
    }
}
