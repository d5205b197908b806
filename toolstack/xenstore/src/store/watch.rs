//! Watches: which of them hear of a change, and under which path.

use crate::path as paths;

/// The special path that fires when a domain is introduced.
pub const INTRODUCE_DOMAIN: &str = "@introduceDomain";
/// The special path that fires when a domain shut down or is gone.
pub const RELEASE_DOMAIN: &str = "@releaseDomain";

/// One registered watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The absolute path, or a special one.
    pub path: String,
    /// The client's name for it.
    pub token: Vec<u8>,
    /// How many levels below the path count; `None`: all.
    pub depth: Option<u32>,
    /// Whether the client gave a path relative to its home, and so hears relative paths.
    pub relative: bool,
}

impl Registered {
    /// Whether a change of `path` concerns this watch.
    pub fn matches(&self, path: &str, exact: bool) -> bool {
        if exact {
            return self.path == path;
        }
        match (paths::depth_below(path, &self.path), self.depth) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(levels), Some(depth)) => levels <= depth as usize,
        }
    }

    /// The path under which this watch hears of a special event about a domain, if it does.
    ///
    /// Without a depth the domain is not told; depth 1 tells it; a watch on `@releaseDomain/7` is about domain 7 only.
    pub fn special_path(&self, special: &str, domid: u16) -> Option<String> {
        let full = format!("{special}/{domid}");
        match self.depth {
            None if self.path == special => Some(self.path.clone()),
            Some(1..) if self.path == special => Some(full),
            _ if self.path == full => Some(full),
            _ => None,
        }
    }

    /// The path as the client that registered the watch would write it.
    pub fn reported<'a>(&self, domid: u16, path: &'a str) -> &'a str {
        if !self.relative {
            return path;
        }
        path.strip_prefix(&paths::home(domid))
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(path: &str, depth: Option<u32>) -> Registered {
        Registered {
            path: path.into(),
            token: b"t".to_vec(),
            depth,
            relative: false,
        }
    }

    #[test]
    fn depth_limits_what_is_heard() {
        let all = watch("/a", None);
        assert!(
            all.matches("/a", false) && all.matches("/a/b/c", false) && !all.matches("/ab", false)
        );
        assert!(
            !all.matches("/", false),
            "a change of the parent is none of the child"
        );
        let none = watch("/a", Some(0));
        assert!(none.matches("/a", false) && !none.matches("/a/b", false));
        let one = watch("/a", Some(1));
        assert!(one.matches("/a/b", false) && !one.matches("/a/b/c", false));
        assert!(
            watch("/", Some(1)).matches("/a", false) && !watch("/", Some(1)).matches("/a/b", false)
        );
        assert!(all.matches("/a", true) && !all.matches("/a/b", true));
    }

    #[test]
    fn special_watches_tell_the_domain_when_asked() {
        assert_eq!(
            watch(RELEASE_DOMAIN, None)
                .special_path(RELEASE_DOMAIN, 7)
                .as_deref(),
            Some("@releaseDomain")
        );
        assert_eq!(
            watch(RELEASE_DOMAIN, Some(1))
                .special_path(RELEASE_DOMAIN, 7)
                .as_deref(),
            Some("@releaseDomain/7")
        );
        let one = watch("@releaseDomain/7", None);
        assert_eq!(
            one.special_path(RELEASE_DOMAIN, 7).as_deref(),
            Some("@releaseDomain/7")
        );
        assert_eq!(one.special_path(RELEASE_DOMAIN, 8), None);
        assert_eq!(
            watch(INTRODUCE_DOMAIN, None).special_path(RELEASE_DOMAIN, 7),
            None
        );
        assert_eq!(watch("/", None).special_path(RELEASE_DOMAIN, 7), None);
    }

    #[test]
    fn relative_watches_hear_relative_paths() {
        let mut relative = watch("/local/domain/7/device", None);
        relative.relative = true;
        assert_eq!(
            relative.reported(7, "/local/domain/7/device/vbd"),
            "device/vbd"
        );
        assert_eq!(
            relative.reported(8, "/local/domain/7/device/vbd"),
            "/local/domain/7/device/vbd"
        );
    }
}
