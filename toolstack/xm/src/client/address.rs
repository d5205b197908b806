//! Where xend is: what `XEND` and `XEND_ROOT` say.

use std::fmt;
use std::path::PathBuf;

/// xend's socket when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/xend/api.sock";
/// The API's URL root when nothing else is said.
pub const DEFAULT_ROOT: &str = "/xend/";
/// The port of a host that is named without one.
const DEFAULT_PORT: u16 = 8000;

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket: xend knows its clients by their user id.
    Unix(PathBuf),
    /// A TCP port, only when xend is configured to listen there.
    Tcp {
        /// A name or a literal address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Address {
    /// Reads the value of `XEND`: a path, `unix:PATH`, `HOST`, `HOST:PORT` or `http://HOST:PORT`.
    ///
    /// # Errors
    /// A sentence that says what does not fit.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let plain = text.strip_prefix("http://").unwrap_or(text);
        let plain = plain.strip_suffix('/').unwrap_or(plain);
        let refuse = |why: &str| {
            Err(format!(
                "XEND={text}: {why}; write a socket's path, or HOST:PORT"
            ))
        };
        if text.starts_with("https://") {
            return refuse("xm does not speak TLS itself");
        }
        let (host, port) = match plain.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) => (host, port.strip_prefix(':')),
                None => return refuse("'[' without ']'"),
            },
            None => match plain.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (plain, None),
            },
        };
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return refuse("this is no host name");
        }
        let port = match port.map(str::parse) {
            None => DEFAULT_PORT,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return refuse("the port is a number from 1 to 65535"),
        };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }

    /// What goes into the `Host` header.
    pub fn host_header(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { .. } => f.write_str(&self.host_header()),
        }
    }
}

/// Gives a URL root its slashes: `/xend/`, the root of 2.0's URLs.
pub fn root(text: &str) -> String {
    format!("/{}/", text.trim_matches('/')).replace("//", "/")
}

/// The root of the JSON API: beside 2.0's root, so that `/site/xend/` has `/site/api/v1/`.
pub fn api_root(root: &str) -> String {
    let above = root.trim_end_matches('/').rfind('/').unwrap_or(0);
    format!("{}/api/v1/", &root[..above])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Result<Address, String> {
        Ok(Address::Tcp {
            host: host.to_owned(),
            port,
        })
    }

    #[test]
    fn xend_may_be_a_path_or_a_host() {
        let socket = Ok(Address::Unix("/run/x.sock".into()));
        assert_eq!(Address::parse("/run/x.sock"), socket);
        assert_eq!(Address::parse("unix:/run/x.sock"), socket);
        assert_eq!(Address::parse("node1"), tcp("node1", 8000));
        assert_eq!(Address::parse("node1:81"), tcp("node1", 81));
        assert_eq!(Address::parse("http://node1:81/"), tcp("node1", 81));
        assert_eq!(Address::parse("[::1]:81"), tcp("::1", 81));
        assert_eq!(Address::parse("[::1]"), tcp("::1", 8000));
        assert_eq!(tcp("::1", 81).unwrap().to_string(), "[::1]:81");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":81", "node:0", "node:x", "https://node", "[::1", "a/b"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn root_gets_its_slashes() {
        assert_eq!(root("/xend"), "/xend/");
        assert_eq!(root("a/b/"), "/a/b/");
        assert_eq!(root("/"), "/");
        assert_eq!(api_root("/xend/"), "/api/v1/");
        assert_eq!(api_root("/site/xend/"), "/site/api/v1/");
        assert_eq!(api_root("/"), "/api/v1/");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd_and_what_is_taken_can_be_shown_and_read_again(text in ".*") {
            if let Ok(address) = Address::parse(&text) {
                proptest::prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
            }
            let root = root(&text);
            proptest::prop_assert!(root.starts_with('/') && root.ends_with('/'));
            proptest::prop_assert!(api_root(&root).ends_with("/api/v1/"));
        }
    }
}
