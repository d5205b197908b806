//! MAC addresses and UUIDs.

use super::SpecError;
use std::fmt;
use std::str::FromStr;

/// The address of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A locally administered address in 2.0's range `aa:00:00:00:00:00` to `aa:00:00:7f:ff:ff`.
    pub fn from_random(random: [u8; 3]) -> Self {
        Self([0xaa, 0, 0, random[0] & 0x7f, random[1], random[2]])
    }
}

impl FromStr for Mac {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let invalid = |expected| SpecError::invalid("mac", text, expected);
        let six = "six hexadecimal bytes, as in aa:00:00:12:34:56";
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            *byte = parts
                .next()
                .and_then(hex_byte)
                .ok_or_else(|| invalid(six))?;
        }
        if parts.next().is_some() {
            return Err(invalid(six));
        }
        if bytes[0] & 1 == 1 {
            return Err(invalid(
                "the first byte is odd: that is a multicast address",
            ));
        }
        Ok(Self(bytes))
    }
}

fn hex_byte(text: &str) -> Option<u8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The lasting identity of a domain, in the byte order of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// A version 4 UUID.
    pub fn from_random(mut random: [u8; 16]) -> Self {
        random[6] = random[6] & 0x0f | 0x40;
        random[8] = random[8] & 0x3f | 0x80;
        Self(random)
    }
}

impl FromStr for Uuid {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let invalid = || {
            SpecError::invalid(
                "uuid",
                text,
                "32 hexadecimal digits, as in 00000000-0000-0000-0000-000000000000",
            )
        };
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        if groups != [8, 4, 4, 4, 12] && groups != [32] {
            return Err(invalid());
        }
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = std::str::from_utf8(pair)
                .ok()
                .and_then(hex_byte)
                .ok_or_else(invalid)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nr, byte) in self.0.iter().enumerate() {
            if matches!(nr, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
