//! One HTTP exchange with xend: connect, ask, read the whole answer.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;

/// The longest answer that is taken: a log file has at most a mebibyte, a list of domains some kibibytes each.
const MAX_ANSWER: usize = 64 << 20;
/// How long a host may take to answer a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What to ask.
#[derive(Clone)]
pub struct Ask {
    /// `GET` or `POST`.
    pub method: Method,
    /// Path and query, with the root.
    pub path: String,
    /// The media type wanted.
    pub accept: &'static str,
    /// What is sent, and its media type.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// A bearer token for TCP.
    pub token: Option<String>,
}

/// What came back.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status code's words.
    pub reason: String,
    /// The media type without its parameters.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks, and waits for the whole answer.
///
/// # Errors
/// Nobody listens, the connection breaks, or the answer is too long.
pub async fn exchange(address: &Address, ask: Ask) -> io::Result<Answer> {
    whole(open(address, ask).await?).await
}

/// Reads an answer to its end.
///
/// # Errors
/// The connection breaks, or the answer is too long.
pub async fn whole(response: Response<Incoming>) -> io::Result<Answer> {
    let (head, body) = response.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or("");
    let content_type = content_type.split(';').next().unwrap_or("").trim();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    Ok(Answer {
        status: head.status.as_u16(),
        reason: head.status.canonical_reason().unwrap_or("").to_owned(),
        content_type: content_type.to_owned(),
        body: body.map_err(io::Error::other)?.to_bytes().to_vec(),
    })
}

/// Asks, and returns as soon as the head of the answer is there.
///
/// # Errors
/// Nobody listens, or the connection breaks.
pub async fn open(address: &Address, ask: Ask) -> io::Result<Response<Incoming>> {
    match address {
        Address::Unix(path) => send(UnixStream::connect(path).await?, address, ask).await,
        Address::Tcp { host, port } => {
            let connect = TcpStream::connect((host.as_str(), *port));
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
            let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            send(stream, address, ask).await
        }
    }
}

async fn send<S>(stream: S, address: &Address, ask: Ask) -> io::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header(HOST, address.host_header())
        .header(USER_AGENT, concat!("xm/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, ask.accept);
    let mut sent = Vec::new();
    if let Some((content_type, body)) = ask.body {
        request = request.header(CONTENT_TYPE, content_type);
        sent = body;
    }
    if let Some(token) = ask.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(sent)));
    let request = request.map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // It ends with the connection; its errors come out at the request, too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

/// Encodes one part of a URL or form: everything but RFC 3986's unreserved characters.
pub fn escape(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Encodes a form, or a query.
pub fn form(fields: &[(&str, &str)]) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        let fields = [("op", "create"), ("config", "(vm\n (name 'ä+b'))")];
        let want = "op=create&config=%28vm%0A%20%28name%20%27%C3%A4%2Bb%27%29%29";
        assert_eq!(form(&fields), want);
        assert_eq!(form(&[]), "");
    }

    #[test]
    fn a_name_with_a_slash_stays_one_part_of_the_path() {
        assert_eq!(escape("a/b+c:d"), "a%2Fb%2Bc%3Ad");
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_is_one_part_and_can_be_read_back(text in ".*") {
            let escaped = escape(&text);
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
            proptest::prop_assert!(escaped.bytes().all(plain));
            let mut bytes = Vec::new();
            let mut parts = escaped.split('%');
            bytes.extend(parts.next().unwrap().bytes());
            for part in parts {
                bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
                bytes.extend(part[2..].bytes());
            }
            proptest::prop_assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }
}
