//! Paths and domain ids as clients write them.

use crate::wire::{ABS_PATH_MAX, Errno, REL_PATH_MAX};

/// The home of a domain: what its relative paths start from.
pub fn home(domid: u16) -> String {
    format!("/local/domain/{domid}")
}

/// Makes a client's path absolute, after checking every rule of docs/misc/xenstore.txt.
///
/// # Errors
/// EINVAL: empty, too long, a doubled or trailing slash, or a character outside `A-Za-z0-9-/_@`.
pub fn canonical(domid: u16, path: &[u8]) -> Result<String, Errno> {
    let text = std::str::from_utf8(path).map_err(|_| Errno::EINVAL)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-/_@".contains(c);
    let relative = !text.starts_with(['/', '@']);
    let limit = if relative { REL_PATH_MAX } else { ABS_PATH_MAX };
    let malformed = text.is_empty()
        || text.len() > limit
        || text.contains("//")
        || (text.len() > 1 && text.ends_with('/'))
        || !text.chars().all(allowed);
    if malformed {
        return Err(Errno::EINVAL);
    }
    Ok(if relative {
        format!("{}/{text}", home(domid))
    } else {
        text.to_owned()
    })
}

/// The names along an absolute path; none for `/`.
pub fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// The path one level up; `/` is its own parent.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(slash) => &path[..slash],
    }
}

/// The path of a child.
pub fn child(path: &str, name: &str) -> String {
    if path == "/" {
        format!("/{name}")
    } else {
        format!("{path}/{name}")
    }
}

/// How many levels `path` lies below `base` (0: the same node); `None` if it does not.
pub fn depth_below(path: &str, base: &str) -> Option<usize> {
    if base == "/" {
        return path.starts_with('/').then(|| names(path).count());
    }
    match path.strip_prefix(base)? {
        "" => Some(0),
        rest => rest.starts_with('/').then(|| names(rest).count()),
    }
}

/// Parses a decimal domain id.
///
/// # Errors
/// EINVAL: not a number of 16 bits.
pub fn parse_domid(text: &[u8]) -> Result<u16, Errno> {
    number(text).and_then(|n| u16::try_from(n).map_err(|_| Errno::EINVAL))
}

/// Parses an unsigned decimal number.
///
/// # Errors
/// EINVAL: no digits, something else than digits, or too large.
pub fn number(text: &[u8]) -> Result<u64, Errno> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Errno::EINVAL);
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.parse().ok())
        .ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_the_home() {
        assert_eq!(
            canonical(7, b"device/vbd").unwrap(),
            "/local/domain/7/device/vbd"
        );
        assert_eq!(canonical(7, b"/tool").unwrap(), "/tool");
        assert_eq!(canonical(7, b"@releaseDomain").unwrap(), "@releaseDomain");
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in [
            &b""[..],
            b"//",
            b"/a/",
            b"a//b",
            b"/a b",
            b"/a\n",
            b"/\xff",
            b"/a.b",
            b"/a:b",
            b"x/",
        ] {
            assert_eq!(
                canonical(0, path),
                Err(Errno::EINVAL),
                "{:?}",
                String::from_utf8_lossy(path)
            );
        }
        assert!(canonical(0, format!("/{}", "x".repeat(ABS_PATH_MAX - 1)).as_bytes()).is_ok());
        assert!(canonical(0, format!("/{}", "x".repeat(ABS_PATH_MAX)).as_bytes()).is_err());
        assert!(canonical(0, "x".repeat(REL_PATH_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn parents_children_and_depth() {
        assert_eq!(
            (parent("/"), parent("/a"), parent("/a/b")),
            ("/", "/", "/a")
        );
        assert_eq!(
            (child("/", "a"), child("/a", "b")),
            ("/a".into(), "/a/b".into())
        );
        assert_eq!(depth_below("/a/b/c", "/a"), Some(2));
        assert_eq!(depth_below("/a", "/a"), Some(0));
        assert_eq!(depth_below("/ab", "/a"), None);
        assert_eq!(depth_below("/a/b", "/"), Some(2));
        assert_eq!(depth_below("@releaseDomain", "/"), None);
    }

    #[test]
    fn numbers_have_digits_only() {
        assert_eq!(parse_domid(b"32751"), Ok(32751));
        for text in [
            &b""[..],
            b"-1",
            b"+1",
            b" 1",
            b"65536",
            b"1x",
            b"99999999999999999999999",
        ] {
            assert_eq!(parse_domid(text), Err(Errno::EINVAL));
        }
    }
}
