//! The HTTP API: 2.0's URLs under `/xend/` as expressions, JSON or pages, and the same resources as JSON under `/api/v1/`.
//!
//! One function per resource makes a `Reply`, which is written the way the client wants it. Work that may wait for a domain
//! runs on threads of its own, so that no client waits for another's.

mod guard;
mod html;
mod metrics;
mod openapi;
mod ops;
mod params;
mod render;
mod reply;
mod serve;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use rexen_config::sxp::{MAX_SIZE, Sexp};
use serde_json::{Value, json};

pub use guard::{Guard, Peer};
pub use serve::{serve_tcp, serve_unix};

use crate::error::{Error, Kind, Result};
use crate::node::Node;
use params::Params;
use reply::{Form, Reply};

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The API of a host.
#[derive(Clone)]
pub struct Api {
    /// The host.
    pub node: Arc<Node>,
    /// Who may use it.
    pub guard: Arc<Guard>,
    /// Whether everything is simulated.
    pub simulated: bool,
}

/// What a request is about, as the words of its path.
struct Asked {
    method: Method,
    versioned: bool,
    words: Vec<String>,
    params: Params,
    form: Form,
}

impl Api {
    /// Answers one request.
    pub async fn answer(&self, peer: Peer, request: Request) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let form = wanted_form(&path, request.headers());
        if let Err((status, error)) = self.guard.check(&peer, request.headers()) {
            self.node.site.log.warning(&format!(
                "refused {} {path} from {peer:?}: {error}",
                request.method()
            ));
            let mut response = reply::refuse(status, &error, form);
            if status == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(
                    header::WWW_AUTHENTICATE,
                    axum::http::HeaderValue::from_static("Bearer"),
                );
            }
            return response;
        }
        match self.route(path, form, request).await {
            Ok(response) => response,
            Err(error) => reply::refuse(reply::status(error.kind), &error, form),
        }
    }

    async fn route(&self, path: String, form: Form, request: Request) -> Result<Response<Body>> {
        let mut words: Vec<String> = path
            .split('/')
            .filter(|word| !word.is_empty())
            .map(params::decode)
            .collect();
        let versioned = words.starts_with(&["api".into(), "v1".into()]);
        if versioned {
            words.drain(..2);
        } else if words.first().is_some_and(|word| word == "xend") {
            words.remove(0);
        } else if words == ["metrics"] || words.is_empty() {
            // These two have no prefix.
        } else {
            return Err(Error::not_found(format!("no such resource: {path}")));
        }
        let (head, body) = request.into_parts();
        let too_large = || {
            let text = format!("the body is longer than {MAX_SIZE} bytes");
            Error::new(Kind::TooLarge, text)
        };
        if body.size_hint().lower() > MAX_SIZE as u64 {
            return Err(too_large());
        }
        let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_SIZE)).await;
        let body = body.map_err(|_| {
            let waited = BODY_TIMEOUT.as_secs();
            Error::new(Kind::Slow, format!("the body did not arrive in {waited} s"))
        })?;
        let body = body.map_err(|_| too_large())?;
        let content_type = head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let typed = words.len() == 3
            && words[0].starts_with("domain")
            && words[2] == "console"
            && head.method == Method::POST;
        let params = Params::read(
            head.uri.query(),
            content_type,
            if typed { b"" } else { &body },
        )?;
        match (
            &head.method,
            words
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .as_slice(),
        ) {
            (&Method::GET, ["event" | "events"]) => {
                let patterns = params
                    .maybe("subscribe")?
                    .unwrap_or("*")
                    .split(',')
                    .map(str::to_owned)
                    .collect();
                return Ok(stream::events(self.node.events.subscribe(), patterns));
            }
            (&Method::GET, ["domain" | "domains", name, "console"]) => {
                let console = self.console_of(name)?;
                return Ok(stream::console(console, params.switch("follow", false)?));
            }
            (&Method::POST, ["domain" | "domains", name, "console"]) => {
                self.console_of(name)?.input_all(&body).await;
                return Ok(Reply::zero().write(form));
            }
            _ => {}
        }
        let asked = Asked {
            method: head.method,
            versioned,
            words,
            params,
            form,
        };
        let api = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            api.work(&asked).map(|reply| reply.write(asked.form))
        });
        work.await
            .map_err(|error| Error::failed(format!("the request's thread: {error}")))?
    }

    fn console_of(&self, name: &str) -> Result<Arc<crate::console::Console>> {
        let view = self.node.view(name)?;
        let console = self.node.site.consoles.get(&view.uuid);
        console.ok_or_else(|| Error::not_found(format!("{} has no console here", view.name)))
    }

    /// Everything that has an end.
    fn work(&self, asked: &Asked) -> Result<Reply> {
        let words: Vec<&str> = asked.words.iter().map(String::as_str).collect();
        match (&asked.method, words.as_slice()) {
            (&Method::GET, _) => self.get(asked, &words),
            (&Method::POST, _) => self.post(asked, &words),
            (&Method::DELETE, ["domain" | "domains", name]) => {
                ops::domain(&self.node, name, "destroy", &asked.params)
            }
            (method, _) => Err(Error::new(
                Kind::Method,
                format!("method {method} is not served; use GET or POST"),
            )),
        }
    }

    fn get(&self, asked: &Asked, words: &[&str]) -> Result<Reply> {
        let node = &self.node;
        let html = asked.form == Form::Html;
        match words {
            [] => Ok(self.root(asked)),
            ["metrics"] => metrics::text(node).map(Reply::plain),
            ["openapi.json"] => Ok(Reply::new(openapi::document(), Sexp::atom("JSON only"))),
            ["node"] => {
                let info = node.site.world.hypervisor.node()?;
                let fields = render::node_fields(&info)
                    .into_iter()
                    .map(|(key, value)| Sexp::pair(key, bare(&value)));
                let sxp = Sexp::element("node", fields);
                if html {
                    let body = html::pretty(&sxp)
                        + &html::links(
                            "/xend/node/",
                            [("dmesg", String::new()), ("log", String::new())],
                        )
                        + &html::forms("/xend/node", ops::NODE);
                    return Ok(Reply::page(html::page("node", &body)));
                }
                Ok(Reply::new(render::node_json(node, &info), sxp))
            }
            ["node", "dmesg"] => node.site.world.hypervisor.dmesg().map(Reply::plain),
            ["node", "log"] => Ok(Reply::plain(
                std::fs::read_to_string(&node.site.config.logfile).unwrap_or_default(),
            )),
            ["domain" | "domains"] => self.domains(asked),
            ["domain" | "domains", name] => self.domain(name, asked),
            ["domains", name, "vcpus"] => self.vcpus(name),
            ["domains", name, "devices"] => {
                let view = node.view(name)?;
                Ok(Reply::new(
                    json!({ "devices": render::devices_json(node, &view)? }),
                    Sexp::List(Vec::new()),
                ))
            }
            ["console" | "consoles"] => Ok(self.consoles(html)),
            ["console" | "consoles", port] => self.console(port, html),
            ["device"] | ["vnet"] => Ok(Reply::new(json!([]), Sexp::List(Vec::new()))),
            _ => Err(Error::not_found(format!(
                "no such resource: {}",
                words.join("/")
            ))),
        }
    }

    fn root(&self, asked: &Asked) -> Reply {
        let names = ["node", "domain", "console", "event", "device", "vnet"];
        if asked.form == Form::Html {
            let links = html::links("/xend/", names.map(|name| (name, String::new())));
            return Reply::page(html::page("xend", &links));
        }
        let json = json!({ "name": "xend", "version": env!("CARGO_PKG_VERSION"), "api": "v1", "simulated": self.simulated });
        Reply::new(json, Sexp::element("ls", names.map(Sexp::atom)))
    }

    fn domains(&self, asked: &Asked) -> Result<Reply> {
        let views = self.node.views()?;
        if asked.form == Form::Html {
            let memory = |view: &crate::node::View| {
                view.info.as_ref().map_or(0, |info| info.memory_kib / 1024)
            };
            let about = |view: &crate::node::View| {
                format!(
                    "id {}, {} MiB",
                    view.domid.map_or("none".into(), |id| id.to_string()),
                    memory(view)
                )
            };
            let links = html::links(
                "/xend/domain/",
                views.iter().map(|view| (view.name.as_str(), about(view))),
            );
            return Ok(Reply::page(html::page(
                "domains",
                &(links + &html::forms("/xend/domain", ops::DOMAINS)),
            )));
        }
        let brief = asked.params.switch("brief", false)?;
        let list: Result<Vec<Value>> = views
            .iter()
            .map(|view| match brief {
                true => Ok(render::domain_brief(&self.node, view)),
                false => render::domain_json(&self.node, view),
            })
            .collect();
        let sxp = Sexp::List(views.iter().map(|view| Sexp::atom(&view.name)).collect());
        Ok(Reply::new(json!({ "domains": list? }), sxp))
    }

    fn domain(&self, name: &str, asked: &Asked) -> Result<Reply> {
        let node = &self.node;
        let view = node.view(name)?;
        let facts = view
            .status
            .as_ref()
            .map(|status| status.record.facts.clone())
            .unwrap_or_default();
        match asked.params.maybe("op")? {
            None => {}
            Some("mem_target_set") => {
                return ops::domain(node, name, "mem_target_set", &asked.params);
            } // 2.0 took it by GET, too.
            Some(kind @ ("vifs" | "vbds")) => {
                let devices = view
                    .status
                    .iter()
                    .flat_map(|status| &status.record.blueprint.devices);
                let some: Vec<_> = devices
                    .filter(|device| kind.starts_with(device.id().kind.word()))
                    .enumerate()
                    .collect();
                let json: Result<Vec<Value>> = some
                    .iter()
                    .map(|(index, device)| render::device_json(node, device, *index, &facts))
                    .collect();
                let sxp = some
                    .iter()
                    .map(|(index, device)| render::device_sxp(device, *index, &facts))
                    .collect();
                return Ok(Reply::new(Value::Array(json?), Sexp::List(sxp)));
            }
            Some(kind @ ("vif" | "vbd")) => {
                let device = ops::find_device(&view, kind, asked.params.text(kind)?)?;
                return Ok(Reply::new(
                    render::device_json(node, device, 0, &facts)?,
                    render::device_sxp(device, 0, &facts),
                ));
            }
            Some(op) => {
                return Err(Error::new(
                    Kind::NotImplemented,
                    format!("unknown operation: {op}"),
                ));
            }
        }
        let sxp = render::domain_sxp(node, &view)?;
        if asked.form == Form::Html {
            let body = html::pretty(&sxp)
                + &html::forms(&format!("/xend/domain/{}", view.name), ops::DOMAIN);
            return Ok(Reply::page(html::page(&view.name, &body)));
        }
        Ok(Reply::new(render::domain_json(node, &view)?, sxp))
    }

    fn vcpus(&self, name: &str) -> Result<Reply> {
        let view = self.node.view(name)?;
        let mut vcpus = Vec::new();
        if let (Some(domid), Some(info)) = (view.domid, &view.info) {
            for vcpu in 0..info.vcpus {
                vcpus.push(render::vcpu_json(
                    vcpu,
                    &self.node.site.world.hypervisor.vcpu(domid, vcpu)?,
                ));
            }
        }
        Ok(Reply::new(
            json!({ "vcpus": vcpus }),
            Sexp::List(Vec::new()),
        ))
    }

    fn consoles(&self, html: bool) -> Reply {
        let consoles = self.node.site.consoles.list();
        let ports = || consoles.iter().filter_map(|console| console.port());
        if html {
            let names: Vec<(String, String)> = consoles
                .iter()
                .filter_map(|console| {
                    Some((console.port()?.to_string(), console.name().to_owned()))
                })
                .collect();
            let links = html::links(
                "/xend/console/",
                names
                    .iter()
                    .map(|(port, name)| (port.as_str(), name.clone())),
            );
            return Reply::page(html::page("consoles", &links));
        }
        let list: Vec<Value> = consoles
            .iter()
            .map(|console| render::console_json(console))
            .collect();
        Reply::new(
            json!({ "consoles": list }),
            Sexp::List(ports().map(Sexp::atom).collect()),
        )
    }

    fn console_at(&self, port: &str) -> Result<Arc<crate::console::Console>> {
        let found = self
            .node
            .site
            .consoles
            .list()
            .into_iter()
            .find(|console| console.port().is_some_and(|p| p.to_string() == port));
        found.ok_or_else(|| Error::not_found(format!("no console at port {port}")))
    }

    fn console(&self, port: &str, html: bool) -> Result<Reply> {
        let console = self.console_at(port)?;
        let view = self.node.view(console.name()).ok();
        let facts = view
            .and_then(|view| view.status)
            .map(|status| status.record.facts)
            .unwrap_or_default();
        let sxp = render::console_sxp(&console, &facts);
        if html {
            let action = format!("/xend/console/{port}");
            let form = "<form method=\"post\" action=\"".to_owned()
                + &html::escape(&action)
                + "\"><input type=\"hidden\" name=\"op\" value=\"disconnect\"><button>disconnect</button></form>";
            let link = format!(
                "<p><a href=\"telnet://localhost:{0}\">telnet://localhost:{0}</a></p>",
                html::escape(port)
            );
            return Ok(Reply::page(html::page(
                "console",
                &(html::pretty(&sxp) + &link + &form),
            )));
        }
        Ok(Reply::new(render::console_json(&console), sxp))
    }

    fn post(&self, asked: &Asked, words: &[&str]) -> Result<Reply> {
        let node = &self.node;
        let params = &asked.params;
        let op = || params.text("op");
        match words {
            ["node"] => ops::node(node, op()?, params),
            ["node", "dmesg"] if op()? == "clear" => node
                .site
                .world
                .hypervisor
                .clear_dmesg()
                .map(|()| Reply::zero()),
            // JSON clients create by posting to the folder.
            ["domain" | "domains"] => ops::domains(
                node,
                params
                    .maybe("op")?
                    .unwrap_or(if asked.versioned { "create" } else { "" }),
                params,
            ),
            ["domain" | "domains", name] => ops::domain(node, name, op()?, params),
            ["console" | "consoles", port] if op()? == "disconnect" => {
                self.console_at(port)?.disconnect();
                Ok(Reply::zero())
            }
            ["event" | "events"] if op()? == "inject" => ops::inject(node, params),
            ["vnet", ..] => Err(Error::new(
                Kind::NotImplemented,
                "virtual networks (vnet) are not offered",
            )),
            ["node" | "console" | "consoles" | "event" | "events", ..] => Err(Error::new(
                Kind::NotImplemented,
                format!("unknown operation: {}", op()?),
            )),
            _ => Err(Error::not_found(format!(
                "no such resource: {}",
                words.join("/")
            ))),
        }
    }
}

/// Text without JSON's quotes.
fn bare(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// 2.0's rule (expressions unless a browser asks), and JSON for who asks for it.
fn wanted_form(path: &str, headers: &HeaderMap) -> Form {
    if path.starts_with("/api/") || path == "/metrics" {
        return Form::Json;
    }
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let accepts = |kind: &str| accept.iter().any(|value| value.contains(kind));
    if accepts("application/json") {
        Form::Json
    } else if !headers.contains_key(header::USER_AGENT)
        || accept.is_empty()
        || accepts("application/sxp")
    {
        Form::Sxp
    } else {
        Form::Html
    }
}
