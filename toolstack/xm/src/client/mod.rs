//! A client of xend's API: where it is (`address`), one exchange (`http`), and what its answers mean (here).
//!
//! xm speaks the JSON API (`/api/v1/`); only `xm call` goes to 2.0's URLs and their S-expressions.

mod address;
mod console;
mod http;

use std::io;
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use address::{Address, DEFAULT_ROOT, DEFAULT_SOCKET};
pub use console::Line;
pub use http::escape;
use http::{Ask, form};

use crate::error::{Error, Result};
use crate::progress::Progress;

const JSON: &str = "application/json";
const SXP: &str = "application/sxp";

/// A connection's worth of knowledge: where, and as whom.
pub struct Client {
    address: Address,
    root: String,
    api_root: String,
    token: Option<String>,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Takes xend's place from `XEND`, `XEND_ROOT` and `XEND_TOKEN`; `xend` is `--xend`, which wins.
    ///
    /// # Errors
    /// `XEND` is no address.
    pub fn from_env(xend: Option<&str>) -> Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let text = xend.map(str::to_owned).or_else(|| set("XEND"));
        let text = text.unwrap_or_else(|| DEFAULT_SOCKET.to_owned());
        let root = set("XEND_ROOT").unwrap_or_else(|| DEFAULT_ROOT.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("cannot start"))?;
        let root = address::root(&root);
        Ok(Self {
            address: Address::parse(&text).map_err(Error::Said)?,
            api_root: address::api_root(&root),
            root,
            token: set("XEND_TOKEN"),
            runtime,
        })
    }

    /// Waits for something that is not asked of xend.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn ask(&self, method: Method, path: String, accept: &'static str) -> Ask {
        Ask {
            method,
            path,
            accept,
            body: None,
            token: self.token.clone(),
        }
    }

    fn api(&self, method: Method, path: &str, accept: &'static str) -> Ask {
        self.ask(method, format!("{}{path}", self.api_root), accept)
    }

    fn text(&self, ask: Ask) -> Result<String> {
        self.text_in_time(ask, None)
    }

    /// `waiting` is what to say to a user who waits.
    fn text_in_time(&self, ask: Ask, waiting: Option<&str>) -> Result<String> {
        let answer = http::exchange(&self.address, ask);
        let answer = self.runtime.block_on(async {
            match waiting {
                Some(what) => with_progress(what, answer).await,
                None => answer.await,
            }
        });
        let answer = answer.map_err(|cause| self.unreachable(cause))?;
        answered(answer)
    }

    /// Asks, and returns the body of a good answer while it is still coming.
    async fn open(&self, ask: Ask) -> Result<hyper::body::Incoming> {
        let unreachable = |cause| self.unreachable(cause);
        let response = http::open(&self.address, ask).await.map_err(unreachable)?;
        if response.status() == 200 {
            return Ok(response.into_body());
        }
        let answer = http::whole(response).await.map_err(unreachable)?;
        let status = answer.status;
        Err(answered(answer)
            .err()
            .unwrap_or_else(|| Error::odd(format!("status {status} where a stream was asked for"))))
    }

    fn unreachable(&self, cause: io::Error) -> Error {
        Error::Unreachable {
            address: self.address.to_string(),
            cause,
        }
    }

    fn json(&self, ask: Ask) -> Result<Value> {
        value(&self.text(ask)?)
    }

    /// Gets a resource as JSON.
    ///
    /// # Errors
    /// xend cannot be reached, or refuses.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.json(self.api(Method::GET, path, JSON))
    }

    /// Gets a resource as plain text.
    ///
    /// # Errors
    /// Like [`Self::get`].
    pub fn get_text(&self, path: &str) -> Result<String> {
        self.text(self.api(Method::GET, path, "text/plain"))
    }

    /// Posts an operation.
    ///
    /// # Errors
    /// Like [`Self::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.json(self.operation(path, body))
    }

    /// Posts an operation that takes its time; `what` is shown to a user who waits for it.
    ///
    /// # Errors
    /// Like [`Self::get`].
    pub fn post_slowly(&self, what: &str, path: &str, body: &Value) -> Result<Value> {
        value(&self.text_in_time(self.operation(path, body), Some(what))?)
    }

    fn operation(&self, path: &str, body: &Value) -> Ask {
        let mut ask = self.api(Method::POST, path, JSON);
        ask.body = Some((JSON, body.to_string().into_bytes()));
        ask
    }

    /// Posts an operation on a domain: `fields` is an object, and gets the name of the operation.
    ///
    /// # Errors
    /// Like [`Self::get`].
    pub fn domain_op(&self, dom: &str, op: &str, mut fields: Value) -> Result<Value> {
        fields["op"] = op.into();
        self.post(&domain_path(dom), &fields)
    }

    /// One of 2.0's URLs, under `XEND_ROOT`: a GET without fields, a POST with; the answer is an S-expression.
    ///
    /// # Errors
    /// Like [`Self::get`].
    pub fn call(&self, path: &str, fields: &[(&str, &str)]) -> Result<String> {
        let path = format!("{}{path}", self.root);
        let mut ask = self.ask(Method::GET, path, SXP);
        if !fields.is_empty() {
            ask.method = Method::POST;
            ask.body = Some((
                "application/x-www-form-urlencoded",
                form(fields).into_bytes(),
            ));
        }
        self.text(ask)
    }

    /// All domains, as JSON, in the order of their ids.
    ///
    /// # Errors
    /// Like [`Self::get`].
    pub fn domains(&self) -> Result<Value> {
        Ok(self.get("domains")?["domains"].take())
    }

    /// All domains as [`Self::domains`] has them, without what takes long: devices, configuration, S-expression.
    ///
    /// # Errors
    /// Like [`Self::get`].
    pub fn domains_in_brief(&self) -> Result<Value> {
        Ok(self.get("domains?brief=1")?["domains"].take())
    }

    /// One domain, as JSON.
    ///
    /// # Errors
    /// Like [`Self::get`]; there is no such domain.
    pub fn domain(&self, dom: &str) -> Result<Value> {
        self.get(&domain_path(dom))
    }

    /// Follows a stream of server-sent events, calling `on` with each one's name and data until it returns false.
    ///
    /// # Errors
    /// Like [`Self::get`]; the stream ends.
    pub fn events(&self, mut on: impl FnMut(&str, &str) -> Result<bool>) -> Result<()> {
        use http_body_util::BodyExt;
        let ask = self.api(Method::GET, "events", "text/event-stream");
        self.runtime.block_on(async {
            let mut body = self.open(ask).await?;
            let mut stream = crate::events::Stream::default();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| self.unreachable(io::Error::other(e)))?;
                for event in stream.feed(frame.data_ref().map_or(&[][..], |d| &d[..])) {
                    if !on(&event.name, &event.data)? {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }
}

/// The text of a good answer; the sentence of another.
fn answered(answer: http::Answer) -> Result<String> {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    match answer.status {
        200..=202 => Ok(body),
        204 => Ok(String::new()),
        status => Err(Error::Server {
            status,
            text: told(&answer.content_type, &body).unwrap_or(answer.reason),
        }),
    }
}

/// Waits for an answer, and shows every second that it does.
async fn with_progress<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let mut progress = Progress::new(what);
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            done = &mut answer => return done,
            () = tokio::time::sleep(Duration::from_secs(1)) => progress.show(),
        }
    }
}

/// Reads JSON; nothing at all is null.
fn value(body: &str) -> Result<Value> {
    if body.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(body).map_err(|e| Error::odd(format!("{e} in {body:.80}")))
}

/// A domain's place in the API.
pub fn domain_path(dom: &str) -> String {
    format!("domains/{}", escape(dom))
}

/// Reads an answer into its type.
///
/// # Errors
/// xend said something else.
pub fn typed<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|e| Error::odd(e.to_string()))
}

/// The sentence in an error's body.
fn told(content_type: &str, body: &str) -> Option<String> {
    let text = match content_type {
        JSON => {
            let value: Value = serde_json::from_str(body).ok()?;
            let error = value.get("error")?;
            let message = error.get("message").unwrap_or(error).as_str()?;
            match error.get("hint").and_then(Value::as_str) {
                Some(hint) => format!("{message} ({hint})"),
                None => message.to_owned(),
            }
        }
        SXP => crate::sxp::error_text(body)?,
        "text/plain" => body.trim().to_owned(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}
