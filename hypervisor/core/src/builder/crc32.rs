//! CRC-32 (IEEE 802.3), as gzip and xz carry it: eight bytes a step, because a kernel has tens of megabytes.

const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        t[0][byte] = crc;
        byte += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut byte = 0;
        while byte < 256 {
            let last = t[row - 1][byte];
            t[row][byte] = last >> 8 ^ t[0][(last & 0xff) as usize];
            byte += 1;
        }
        row += 1;
    }
    t
}

/// The CRC-32 of `data`.
pub(super) fn crc32(data: &[u8]) -> u32 {
    let look_up = |row: usize, word: u32, shift: u32| TABLES[row][(word >> shift & 0xff) as usize];
    let mut crc = !0u32;
    let (chunks, rest) = data.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in chunks {
        let low = crc ^ u32::from_le_bytes([*a, *b, *c, *d]);
        let high = u32::from_le_bytes([*e, *f, *g, *h]);
        crc = look_up(7, low, 0)
            ^ look_up(6, low, 8)
            ^ look_up(5, low, 16)
            ^ look_up(4, low, 24)
            ^ look_up(3, high, 0)
            ^ look_up(2, high, 8)
            ^ look_up(1, high, 16)
            ^ look_up(0, high, 24);
    }
    for byte in rest {
        crc = crc >> 8 ^ look_up(0, crc ^ u32::from(*byte), 0);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn known_sums() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(
            crc32(b"The quick brown fox jumps over the lazy dog"),
            0x414f_a339
        );
    }
}
