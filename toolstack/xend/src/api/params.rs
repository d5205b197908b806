//! Parameters of a request: from the query, a form, an uploaded file, or a JSON object, all of which say the same.

use std::collections::BTreeMap;

use rexen_config::sxp::{Sexp, parse_one};
use serde_json::Value;

use crate::error::{Error, Result};

/// The parameters of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, Vec<String>>);

impl Params {
    /// Reads the query and the body.
    ///
    /// # Errors
    /// The body is not what its Content-Type says.
    pub fn read(query: Option<&str>, content_type: Option<&str>, body: &[u8]) -> Result<Self> {
        let mut params = Self::default();
        params.add_form(query.unwrap_or_default());
        let content_type = content_type.unwrap_or("application/x-www-form-urlencoded");
        let (kind, attributes) = content_type.split_once(';').unwrap_or((content_type, ""));
        match kind.trim().to_ascii_lowercase().as_str() {
            _ if body.is_empty() => {}
            "application/x-www-form-urlencoded" => params.add_form(text(body)?),
            "application/json" => params.add_json(body)?,
            "multipart/form-data" => {
                let boundary = attributes
                    .split(';')
                    .find_map(|part| part.trim().strip_prefix("boundary="));
                let boundary = boundary
                    .ok_or_else(|| Error::invalid("multipart/form-data without a boundary"))?;
                params.add_multipart(text(body)?, boundary.trim_matches('"'));
            }
            other => {
                return Err(Error::invalid(format!(
                    "cannot read a body of type {other}"
                )));
            }
        }
        Ok(params)
    }

    fn add(&mut self, key: String, value: String) {
        self.0.entry(key).or_default().push(value);
    }

    fn add_form(&mut self, form: &str) {
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.add(decode(key), decode(value));
        }
    }

    fn add_json(&mut self, body: &[u8]) -> Result<()> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|e| Error::invalid(format!("the body is not JSON: {e}")))?;
        let Value::Object(object) = value else {
            return Err(Error::invalid("the body is JSON, but not an object"));
        };
        for (key, value) in object {
            match value {
                Value::Null => {}
                Value::String(text) => self.add(key, text),
                Value::Bool(_) | Value::Number(_) => self.add(key, value.to_string()),
                Value::Array(_) | Value::Object(_) => {
                    return Err(Error::invalid(format!(
                        "{key} is neither text nor a number"
                    )));
                }
            }
        }
        Ok(())
    }

    fn add_multipart(&mut self, body: &str, boundary: &str) {
        for part in body.split(&format!("--{boundary}")).skip(1) {
            let Some((head, content)) = part.trim_start_matches("\r\n").split_once("\r\n\r\n")
            else {
                continue;
            };
            let name = head.lines().find_map(|line| {
                let line = line.trim();
                let disposition = line
                    .to_ascii_lowercase()
                    .starts_with("content-disposition:");
                let after = disposition.then(|| line.split_once("name=\"")).flatten()?.1;
                Some(after.split('"').next()?.to_owned())
            });
            if let Some(name) = name {
                self.add(
                    name,
                    content.strip_suffix("\r\n").unwrap_or(content).to_owned(),
                );
            }
        }
    }

    /// Whether there is a parameter.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A parameter that may be missing.
    ///
    /// # Errors
    /// `Too many values for P`.
    pub fn maybe(&self, key: &str) -> Result<Option<&str>> {
        match self.0.get(key).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(Error::invalid(format!("Too many values for {key}"))),
        }
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// `Missing parameter: P`, or as `maybe`.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.maybe(key)?
            .ok_or_else(|| Error::invalid(format!("Missing parameter: {key}")))
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// As `text`, or it is no number of this type.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T> {
        let text = self.text(key)?;
        text.trim()
            .parse()
            .map_err(|_| Error::invalid(format!("{key}={text}: expected a number in range")))
    }

    /// A switch: missing is `default`.
    ///
    /// # Errors
    /// As `maybe`, or it is neither yes nor no.
    pub fn switch(&self, key: &str, default: bool) -> Result<bool> {
        match self.maybe(key)? {
            None => Ok(default),
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "0" | "no" | "off" | "") => Ok(false),
            Some(other) => Err(Error::invalid(format!(
                "{key}={other}: expected true or false"
            ))),
        }
    }

    /// One S-expression that must be there.
    ///
    /// # Errors
    /// As `text`, or it is not exactly one expression.
    pub fn sxp(&self, key: &str) -> Result<Sexp> {
        parse_one(self.text(key)?).map_err(|error| Error::invalid(format!("{key}: {error}")))
    }
}

fn text(body: &[u8]) -> Result<&str> {
    std::str::from_utf8(body).map_err(|_| Error::invalid("the body is not UTF-8"))
}

/// Undoes `+` and `%XX`; what is no escape stays as it is.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_query_and_json_say_the_same() {
        let form = Params::read(Some("op=a"), None, b"config=%28vm%29+x&n=3").unwrap();
        let json = Params::read(
            Some("op=a"),
            Some("application/json"),
            br#"{"config":"(vm) x","n":3}"#,
        )
        .unwrap();
        assert_eq!(form, json);
        assert_eq!(form.text("config").unwrap(), "(vm) x");
        assert_eq!(form.number::<u32>("n").unwrap(), 3);
    }

    #[test]
    fn an_uploaded_file_is_a_parameter() {
        let body = "--0123456789abcdef\r\nContent-Disposition: form-data; name=\"op\"\r\n\r\ncreate\r\n--0123456789abcdef\r\n\
                    Content-Disposition: form-data; name=\"config\"; filename=\"x\"\r\nContent-Type: application/octet-stream\r\n\r\n\
                    (vm\n (name a))\n\r\n--0123456789abcdef--\r\n";
        let params = Params::read(
            None,
            Some("multipart/form-data; boundary=0123456789abcdef"),
            body.as_bytes(),
        )
        .unwrap();
        assert_eq!(params.text("op").unwrap(), "create");
        assert_eq!(params.sxp("config").unwrap().child_value("name"), Some("a"));
    }

    #[test]
    fn errors_have_the_words_of_xen_2() {
        let params = Params::read(Some("a=1&a=2&s=(x)(y)"), None, b"").unwrap();
        assert_eq!(params.text("b").unwrap_err().text, "Missing parameter: b");
        assert_eq!(params.text("a").unwrap_err().text, "Too many values for a");
        assert!(params.sxp("s").unwrap_err().text.contains("too many sxprs"));
    }

    proptest::proptest! {
        #[test]
        fn any_request_is_read_or_refused(query in ".{0,80}", kind in 0..4usize, body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let kinds = ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "text/x"];
            let _ = Params::read(Some(&query), Some(kinds[kind]), &body);
        }
    }
}
