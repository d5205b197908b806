//! Who may use the API.
//!
//! On the Unix socket the kernel says who a client is: root, the user xend runs as, or a member of the configured group. On
//! TCP, which is off unless configured, every request must show the token, must be meant for a name of this host (which
//! stops DNS rebinding), and must not come from another site's page.

use std::fs;
use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use crate::error::{Error, Kind};

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on this host; uid and gid as the kernel says, none if it does not.
    Local(Option<(u32, u32)>),
    /// Somebody on TCP.
    Remote,
}

/// What is allowed.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The user xend runs as.
    pub uid: u32,
    /// The group whose members may use the socket.
    pub group: Option<String>,
    /// What TCP clients must show; without one, none is served.
    pub token: Option<String>,
    /// Names of this host for TCP clients, besides `localhost` and loopback addresses.
    pub hosts: Vec<String>,
}

/// A request that is refused, and why.
pub type Refusal = (StatusCode, Error);

fn refusal(status: StatusCode, text: &str) -> Refusal {
    (status, Error::new(Kind::Forbidden, text))
}

impl Guard {
    /// Lets a request pass, or says why not.
    ///
    /// # Errors
    /// 401 without the right token, 403 for whom it is not for, 421 for a foreign `Host`.
    pub fn check(&self, peer: &Peer, headers: &HeaderMap) -> Result<(), Refusal> {
        match peer {
            Peer::Local(Some((uid, gid))) => self.check_user(*uid, *gid),
            Peer::Local(None) => Err(refusal(
                StatusCode::FORBIDDEN,
                "the kernel does not say who you are",
            )),
            Peer::Remote => {
                self.check_host(headers)?;
                self.check_origin(headers)?;
                self.check_token(headers)
            }
        }
    }

    fn check_user(&self, uid: u32, gid: u32) -> Result<(), Refusal> {
        let member = || {
            self.group
                .as_deref()
                .is_some_and(|group| is_member(group, uid, gid))
        };
        if uid == 0 || uid == self.uid || member() {
            return Ok(());
        }
        Err(refusal(
            StatusCode::FORBIDDEN,
            "only root may do this; (xend-unix-group GROUP) in xend-config.sxp lets a group in",
        ))
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        match host {
            Some(host) if hosts.next().is_none() && self.is_ours(host) => Ok(()),
            _ => Err(refusal(
                StatusCode::MISDIRECTED_REQUEST,
                "this request is for another host; (xend-host NAME) in xend-config.sxp names this one",
            )),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let foreign = || {
            Err(refusal(
                StatusCode::FORBIDDEN,
                "requests from other sites' pages are not served",
            ))
        };
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or("null");
            let ours = origin
                .split_once("://")
                .is_some_and(|(_, host)| self.is_ours(host));
            // Names agree, and so must the port: another service of this host is another site.
            let same = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .is_some_and(|host| {
                    origin
                        .split_once("://")
                        .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
                });
            if !(ours && same) {
                return foreign();
            }
        }
        match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => foreign(),
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let shown = shown
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim);
        match (&self.token, shown) {
            (Some(token), Some(shown))
                if !token.is_empty() && same(token.as_bytes(), shown.as_bytes()) =>
            {
                Ok(())
            }
            _ => Err(refusal(
                StatusCode::UNAUTHORIZED,
                "show the token: Authorization: Bearer TOKEN",
            )),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let loopback = name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        loopback
            || name.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|ours| name.eq_ignore_ascii_case(ours))
    }
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (x, y)| difference | (x ^ y))
            == 0
}

/// Whether a user is in a group, by its own group or by the group's list.
fn is_member(group: &str, uid: u32, gid: u32) -> bool {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    is_listed(group, uid, gid, &groups, &users)
}

fn is_listed(group: &str, uid: u32, gid: u32, groups: &str, users: &str) -> bool {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let Some(entry) = groups
        .lines()
        .map(fields)
        .find(|entry| entry.first().is_some_and(|name| name == group))
    else {
        return false;
    };
    let user = users
        .lines()
        .map(fields)
        .find(|user| user.get(2).is_some_and(|id| id.parse() == Ok(uid)));
    let listed = |name: &str| {
        entry
            .get(3)
            .is_some_and(|members| members.split(',').any(|member| member == name))
    };
    entry.get(2).is_some_and(|id| id.parse() == Ok(gid))
        || user
            .and_then(|user| user.first().cloned())
            .is_some_and(|name| listed(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard {
            uid: 1000,
            group: Some("xen".into()),
            token: Some("s3cret".into()),
            hosts: vec!["node1.example".into()],
        }
    }

    fn remote(headers: &[(&str, &str)]) -> Result<(), StatusCode> {
        let mut map = HeaderMap::new();
        for (key, value) in headers {
            map.append(
                header::HeaderName::from_bytes(key.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        guard()
            .check(&Peer::Remote, &map)
            .map_err(|(status, _)| status)
    }

    const TOKEN: (&str, &str) = ("authorization", "Bearer s3cret");

    #[test]
    fn the_socket_is_for_root_the_daemons_user_and_the_group() {
        let check = |peer| {
            guard()
                .check(&peer, &HeaderMap::new())
                .map_err(|(status, _)| status)
        };
        assert_eq!(check(Peer::Local(Some((0, 0)))), Ok(()));
        assert_eq!(check(Peer::Local(Some((1000, 1000)))), Ok(()));
        assert_eq!(
            check(Peer::Local(Some((4_000_000, 4_000_000)))),
            Err(StatusCode::FORBIDDEN)
        );
        assert_eq!(check(Peer::Local(None)), Err(StatusCode::FORBIDDEN));
        let (groups, users) = (
            "root:x:0:\nxen:x:77:alice,bob\n",
            "alice:x:1001:1001::/:\ncarol:x:1003:1003::/:\n",
        );
        assert!(is_listed("xen", 1001, 1001, groups, users));
        assert!(is_listed("xen", 1003, 77, groups, users));
        assert!(!is_listed("xen", 1003, 1003, groups, users));
        assert!(!is_listed("nogroup", 1001, 77, groups, users));
    }

    #[test]
    fn without_the_token_nothing_is_served_on_tcp() {
        assert_eq!(
            remote(&[("host", "localhost:8000")]),
            Err(StatusCode::UNAUTHORIZED)
        );
        assert_eq!(
            remote(&[("host", "localhost"), ("authorization", "Bearer s3cres")]),
            Err(StatusCode::UNAUTHORIZED)
        );
        assert_eq!(
            remote(&[("host", "localhost"), ("authorization", "Bearer ")]),
            Err(StatusCode::UNAUTHORIZED)
        );
        assert_eq!(remote(&[("host", "localhost"), TOKEN]), Ok(()));
        let no_token = Guard {
            token: None,
            ..guard()
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        headers.insert(header::AUTHORIZATION, "Bearer ".parse().unwrap());
        assert!(no_token.check(&Peer::Remote, &headers).is_err());
    }

    #[test]
    fn a_rebound_name_is_refused_even_with_the_token() {
        for host in [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "10.0.0.1",
        ] {
            assert_eq!(
                remote(&[("host", host), TOKEN]),
                Err(StatusCode::MISDIRECTED_REQUEST),
                "{host}"
            );
        }
        assert_eq!(
            remote(&[TOKEN]),
            Err(StatusCode::MISDIRECTED_REQUEST),
            "no Host at all"
        );
        assert_eq!(
            remote(&[("host", "localhost"), ("host", "evil.example"), TOKEN]),
            Err(StatusCode::MISDIRECTED_REQUEST)
        );
        for host in [
            "node1.example:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "LOCALHOST",
        ] {
            assert_eq!(remote(&[("host", host), TOKEN]), Ok(()), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused_even_with_the_token() {
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost:3000",
            "http://localhost.evil.example",
        ] {
            assert_eq!(
                remote(&[("host", "localhost:8000"), ("origin", origin), TOKEN]),
                Err(StatusCode::FORBIDDEN),
                "{origin}"
            );
        }
        assert_eq!(
            remote(&[
                ("host", "localhost:8000"),
                ("origin", "http://localhost:8000"),
                TOKEN
            ]),
            Ok(())
        );
        assert_eq!(
            remote(&[
                ("host", "localhost"),
                ("sec-fetch-site", "cross-site"),
                TOKEN
            ]),
            Err(StatusCode::FORBIDDEN)
        );
        assert_eq!(
            remote(&[("host", "localhost"), ("sec-fetch-site", "none"), TOKEN]),
            Ok(())
        );
    }
}
