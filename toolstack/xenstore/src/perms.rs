//! Permissions of a node: who owns it, what everybody may do, and what single domains may do.

use std::fmt;

use crate::wire::{self, Errno};

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing (`n`).
    None,
    /// Read (`r`).
    Read,
    /// Write (`w`).
    Write,
    /// Read and write (`b`).
    Both,
}

impl Right {
    /// Whether reading is included.
    pub fn reads(self) -> bool {
        matches!(self, Right::Read | Right::Both)
    }

    /// Whether writing is included.
    pub fn writes(self) -> bool {
        matches!(self, Right::Write | Right::Both)
    }

    fn letter(self) -> char {
        match self {
            Right::None => 'n',
            Right::Read => 'r',
            Right::Write => 'w',
            Right::Both => 'b',
        }
    }
}

/// One entry: a right and the domain it is for, printed as `r7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perm {
    /// The domain.
    pub domid: u16,
    /// What it may do.
    pub right: Right,
}

impl Perm {
    /// Parses `r7`.
    ///
    /// # Errors
    /// EINVAL: no letter of `nrwb`, or no domain id after it.
    pub fn parse(text: &[u8]) -> Result<Perm, Errno> {
        let (letter, digits) = text.split_first().ok_or(Errno::EINVAL)?;
        let right = match letter {
            b'n' => Right::None,
            b'r' => Right::Read,
            b'w' => Right::Write,
            b'b' => Right::Both,
            _ => return Err(Errno::EINVAL),
        };
        Ok(Perm {
            domid: crate::path::parse_domid(digits)?,
            right,
        })
    }
}

impl fmt::Display for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.right.letter(), self.domid)
    }
}

/// A node's permissions; the first entry names the owner and what everybody without an entry may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perms {
    owner: Perm,
    others: Vec<Perm>,
}

impl Perms {
    /// A node of `owner` that nobody else may touch.
    pub fn private(owner: u16) -> Perms {
        Perms {
            owner: Perm {
                domid: owner,
                right: Right::None,
            },
            others: Vec::new(),
        }
    }

    /// A node of `owner` that `reader` may read: the usual form of a device directory.
    pub fn readable_by(owner: u16, reader: u16) -> Perms {
        Perms {
            others: vec![Perm {
                domid: reader,
                right: Right::Read,
            }],
            ..Perms::private(owner)
        }
    }

    /// The entries in order.
    ///
    /// # Errors
    /// EINVAL: there is none.
    pub fn from_entries(entries: &[Perm]) -> Result<Perms, Errno> {
        let (owner, others) = entries.split_first().ok_or(Errno::EINVAL)?;
        Ok(Perms {
            owner: *owner,
            others: others.to_vec(),
        })
    }

    /// Parses `n0`, `r7`, ...: one string per entry.
    ///
    /// # Errors
    /// EINVAL: an entry is malformed, or there is none.
    pub fn parse(entries: &[&[u8]]) -> Result<Perms, Errno> {
        let entries = entries
            .iter()
            .map(|e| Perm::parse(e))
            .collect::<Result<Vec<_>, _>>()?;
        Perms::from_entries(&entries)
    }

    /// The entries in order, the owner's first.
    pub fn entries(&self) -> impl Iterator<Item = Perm> + '_ {
        std::iter::once(self.owner).chain(self.others.iter().copied())
    }

    /// How many entries there are.
    pub fn nr_entries(&self) -> usize {
        1 + self.others.len()
    }

    /// The owning domain.
    pub fn owner(&self) -> u16 {
        self.owner.domid
    }

    /// The same permissions with another owner, as for what a domain creates.
    pub fn owned_by(&self, domid: u16) -> Perms {
        Perms {
            owner: Perm {
                domid,
                ..self.owner
            },
            others: self.others.clone(),
        }
    }

    /// What this domain may do; the owner may do everything.
    pub fn right_of(&self, domid: u16) -> Right {
        if self.owner.domid == domid {
            return Right::Both;
        }
        self.others
            .iter()
            .find(|p| p.domid == domid)
            .map_or(self.owner.right, |p| p.right)
    }

    /// Forgets single entries for this domain; `None` if there was none. Its number may go to somebody else.
    pub fn without(&self, domid: u16) -> Option<Perms> {
        let others: Vec<Perm> = self
            .others
            .iter()
            .copied()
            .filter(|p| p.domid != domid)
            .collect();
        (others.len() < self.others.len()).then_some(Perms {
            owner: self.owner,
            others,
        })
    }

    /// The entries as the wire carries them.
    pub fn encode(&self) -> Vec<u8> {
        let entries: Vec<String> = self.entries().map(|p| p.to_string()).collect();
        wire::join(entries.iter().map(String::as_bytes))
    }
}

impl fmt::Display for Perms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries().enumerate() {
            write!(f, "{}{entry}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_parse_and_print_alike() {
        let perms = Perms::parse(&[b"n0", b"r7", b"b12"]).unwrap();
        assert_eq!(perms.to_string(), "n0,r7,b12");
        assert_eq!(perms.encode(), b"n0\0r7\0b12\0");
    }

    #[test]
    fn malformed_entries_are_refused() {
        for entry in [&b""[..], b"r", b"x1", b"r-1", b"r70000", b"r1x", b"7"] {
            assert_eq!(Perm::parse(entry), Err(Errno::EINVAL), "{entry:?}");
        }
        assert_eq!(Perms::parse(&[]), Err(Errno::EINVAL));
    }

    #[test]
    fn the_owner_may_all_and_others_what_their_entry_or_the_first_says() {
        let perms = Perms::parse(&[b"r3", b"n7", b"w8"]).unwrap();
        assert_eq!(perms.right_of(3), Right::Both);
        assert_eq!(perms.right_of(7), Right::None);
        assert_eq!(perms.right_of(8), Right::Write);
        assert_eq!(perms.right_of(9), Right::Read);
    }

    #[test]
    fn a_gone_domain_loses_its_entry_only() {
        let perms = Perms::parse(&[b"n0", b"r7", b"b7", b"r8"]).unwrap();
        assert_eq!(perms.without(7).unwrap().to_string(), "n0,r8");
        assert_eq!(perms.without(9), None);
    }
}
