//! An answer before it is written: status, and the same content as JSON and as an expression.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use rexen_config::sxp::Sexp;
use serde_json::{Value, json};

use crate::error::{Error, Kind};

/// How a client wants its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 2.0's expressions.
    Sxp,
    /// JSON.
    Json,
    /// Pages with forms.
    Html,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    location: Option<String>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Value(Value, Sexp),
    Text(String),
    Page(String),
}

impl Reply {
    /// An answer with both representations.
    pub fn new(json: Value, sxp: Sexp) -> Self {
        Self {
            status: StatusCode::OK,
            location: None,
            content: Content::Value(json, sxp),
        }
    }

    /// 2.0's answer of an operation that has nothing to say.
    pub fn zero() -> Self {
        Self::new(json!({}), Sexp::atom(0))
    }

    /// Plain text, the same for all.
    pub fn plain(text: String) -> Self {
        Self {
            status: StatusCode::OK,
            location: None,
            content: Content::Text(text),
        }
    }

    /// A page that was made for people.
    pub fn page(html: String) -> Self {
        Self {
            status: StatusCode::OK,
            location: None,
            content: Content::Page(html),
        }
    }

    /// Something was made, and is there.
    #[must_use]
    pub fn created(mut self, location: String) -> Self {
        self.status = StatusCode::CREATED;
        self.location = Some(location);
        self
    }

    /// Something was asked of a guest, which takes its time.
    #[must_use]
    pub fn accepted(mut self) -> Self {
        self.status = StatusCode::ACCEPTED;
        self
    }

    /// Writes the answer as its client wants it.
    pub fn write(self, form: Form) -> Response<Body> {
        let (kind, body) = match (self.content, form) {
            (Content::Text(text), _) => ("text/plain; charset=utf-8", text),
            (Content::Page(page), _) => ("text/html; charset=utf-8", page),
            (Content::Value(value, _), Form::Json) => ("application/json", value.to_string()),
            (Content::Value(_, sxp), Form::Sxp) => ("application/sxp", sxp.to_string()),
            (Content::Value(_, sxp), Form::Html) => (
                "text/html; charset=utf-8",
                super::html::page("xend", &super::html::pretty(&sxp)),
            ),
        };
        let mut response = response(self.status, kind, body);
        if let Some(location) = self
            .location
            .and_then(|location| HeaderValue::from_str(&location).ok())
        {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// The status for a kind of error: 2.0 answered 200 to everything (docs/decisions).
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Slow => StatusCode::REQUEST_TIMEOUT,
        Kind::Failed | Kind::Killed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Writes an error.
pub fn refuse(status: StatusCode, error: &Error, form: Form) -> Response<Body> {
    match form {
        Form::Sxp => {
            let sxp = Sexp::element("xend.err", [Sexp::atom(&error.text)]);
            response(status, "application/sxp", sxp.to_string())
        }
        Form::Json => {
            let value = json!({ "error": { "status": status.as_u16(), "message": error.text } });
            response(status, "application/json", value.to_string())
        }
        Form::Html => response(
            status,
            "text/plain; charset=utf-8",
            format!("Error : {}", error.text),
        ),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}
