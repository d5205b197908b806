//! The OpenAPI description of `/api/v1`, made from the tables that dispatch uses.

use serde_json::{Map, Value, json};

use super::ops::{self, Op};

/// The description.
pub fn document() -> Value {
    let name = || json!([{ "name": "domain", "in": "path", "required": true, "description": "name or number", "schema": { "type": "string" } }]);
    let get = |about: &str, kind: &str| json!({ "summary": about, "responses": responses(kind, &["200"]) });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "xend", "version": env!("CARGO_PKG_VERSION"), "description": "Domains of this host. Save, restore and migrate answer 501." },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "token": [] }, {}],
        "paths": {
            "/": { "get": get("What this is.", "application/json") },
            "/node": { "get": get("The host.", "application/json"), "post": post("Operations on the host.", ops::NODE) },
            "/node/dmesg": { "get": get("The hypervisor's messages.", "text/plain"), "post": post("Clears them.", &[]) },
            "/node/log": { "get": get("xend's log.", "text/plain") },
            "/domains": { "get": get("All domains; brief=1 leaves out what takes long: devices, config, sxp, memory_target.", "application/json"), "post": post("Makes a domain.", ops::DOMAINS) },
            "/domains/{domain}": { "parameters": name(), "get": get("A domain.", "application/json"), "post": post("Operations on a domain.", ops::DOMAIN) },
            "/domains/{domain}/vcpus": { "parameters": name(), "get": get("Its vcpus.", "application/json") },
            "/domains/{domain}/devices": { "parameters": name(), "get": get("Its devices.", "application/json") },
            "/domains/{domain}/console": {
                "parameters": name(),
                "get": get("Its console's output; follow=1 goes on.", "application/octet-stream"),
                "post": { "summary": "Types into its console.", "requestBody": { "content": { "application/octet-stream": {} } }, "responses": responses("application/json", &["200"]) }
            },
            "/consoles": { "get": get("All consoles.", "application/json") },
            "/events": { "get": get("Events as they happen (Server-Sent Events).", "text/event-stream") }
        },
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Error": {
                "type": "object",
                "properties": { "error": { "type": "object", "properties": { "status": { "type": "integer" }, "message": { "type": "string" } } } }
            } }
        }
    })
}

fn responses(kind: &str, good: &[&str]) -> Value {
    let mut map = Map::new();
    for status in good {
        map.insert(
            (*status).to_owned(),
            json!({ "description": "done", "content": { kind: {} } }),
        );
    }
    let error = json!({ "description": "refused", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } } });
    map.insert("default".to_owned(), error);
    Value::Object(map)
}

fn post(about: &str, ops: &[Op]) -> Value {
    let bodies: Vec<Value> = ops.iter().map(body).collect();
    let schema = if bodies.is_empty() {
        json!({ "type": "object" })
    } else {
        json!({ "oneOf": bodies })
    };
    json!({
        "summary": about,
        "requestBody": { "content": { "application/json": { "schema": schema } } },
        "responses": responses("application/json", &["200", "201", "202"])
    })
}

fn body(op: &Op) -> Value {
    let mut properties = Map::new();
    properties.insert("op".to_owned(), json!({ "const": op.name }));
    for (name, kind, _) in op.params {
        properties.insert((*name).to_owned(), json!({ "type": kind }));
    }
    let mut required = vec!["op"];
    if op.name == "create" {
        required.clear(); // A POST to the folder creates unless it says otherwise.
    }
    required.extend(
        op.params
            .iter()
            .filter(|(_, _, must)| *must)
            .map(|(name, _, _)| *name),
    );
    json!({ "description": op.about, "type": "object", "properties": properties, "required": required })
}
