//! How what one build made differs from what another made: which file, and its first byte that differs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rexen_install::compare::{Difference, compare};
use rexen_install::scan::scan;

use crate::error::{Error, Result};

/// Files by the names that they have in both builds.
pub type Files = BTreeMap<String, PathBuf>;

/// A line for each file that only one of two builds has, or whose content differs; modes do not count.
///
/// # Errors
/// A file cannot be read.
pub fn files(first: &Files, second: &Files) -> Result<Vec<String>> {
    let mut names: Vec<&String> = first.keys().chain(second.keys()).collect();
    names.sort();
    names.dedup();
    let mut lines = Vec::new();
    for name in names {
        let how = match (first.get(name), second.get(name)) {
            (Some(a), Some(b)) => contents(a, b)?,
            (Some(_), None) => Some("only the first build has it".to_owned()),
            _ => Some("only the second build has it".to_owned()),
        };
        lines.extend(how.map(|how| format!("{name}: {how}")));
    }
    Ok(lines)
}

/// A line for each entry of two folders that differs: in content, mode, kind, or where a link leads to.
///
/// # Errors
/// Something cannot be read.
pub fn folders(first: &Path, second: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for difference in compare(&scan(first)?, &scan(second)?) {
        lines.push(match difference {
            Difference::Missing(path) => format!("{path}: only the first build has it"),
            Difference::Extra(path) => format!("{path}: only the second build has it"),
            Difference::Changed(path, how) => {
                let [a, b] = [first.join(&path), second.join(&path)];
                let both_files = [&a, &b].iter().all(|p| p.is_file() && !p.is_symlink());
                let place = if both_files { contents(&a, &b)? } else { None };
                match place {
                    Some(place) => format!("{path}: {how}; {place}"),
                    None => format!("{path}: {how}"),
                }
            }
        });
    }
    Ok(lines)
}

/// The first byte in which two files differ, in words; nothing if they are the same.
///
/// # Errors
/// One cannot be read.
pub fn contents(first: &Path, second: &Path) -> Result<Option<String>> {
    let read = |path: &Path| fs::read(path).map_err(Error::io("read", path));
    let (a, b) = (read(first)?, read(second)?);
    if a == b {
        return Ok(None);
    }
    let at = a.iter().zip(&b).position(|(a, b)| a != b);
    let at = at.unwrap_or(a.len().min(b.len()));
    let of = |bytes: &[u8]| {
        bytes
            .get(at)
            .map_or("the end".to_owned(), |b| format!("{b:#04x}"))
    };
    Ok(Some(format!("byte {at} is {} and {}", of(&a), of(&b))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cache::Cache;

    #[test]
    fn a_difference_is_told_with_its_place() {
        let dir = Cache::open().and_then(|c| c.scratch("compare")).unwrap();
        let file = |folder: &str, name: &str, text: &str| {
            let path = dir.path().join(folder).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            (name.to_owned(), path)
        };
        let first = Files::from([file("1", "x", "kernel"), file("1", "map", "same")]);
        assert_eq!(files(&first, &first).unwrap(), [""; 0]);
        let other = Files::from([file("2", "x", "kerxel"), file("2", "map", "same")]);
        let differs = ["x: byte 3 is 0x6e and 0x78"];
        assert_eq!(files(&first, &other).unwrap(), differs);
        let longer = Files::from([file("3", "x", "kernels")]);
        assert_eq!(
            files(&first, &longer).unwrap(),
            [
                "map: only the first build has it",
                "x: byte 6 is the end and 0x73"
            ]
        );

        let [one, two] = ["1", "2"].map(|n| dir.path().join(n));
        assert_eq!(folders(&one, &one).unwrap(), [""; 0]);
        let map = fs::Permissions::from_mode(0o755);
        fs::set_permissions(one.join("map"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(two.join("map"), map).unwrap();
        assert_eq!(
            folders(&one, &two).unwrap(),
            [
                "map: mode 0755, not 0644",
                "x: other content; byte 3 is 0x6e and 0x78"
            ]
        );
    }
}
