//! Requests against a simulated host.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use serde_json::Value;
use tokio::sync::broadcast;

use super::{Api, Guard, Peer, ops};
use crate::carry::Site;
use crate::config::Config;
use crate::console::Consoles;
use crate::journal::Archive;
use crate::log::Log;
use crate::node::Node;
use crate::sim::Machine;

const ROOT: Peer = Peer::Local(Some((0, 0)));
const CONFIG: &str = "(vm (name a) (memory 64) (image (linux (kernel /boot/k))) (device (vbd (uname phy:vg/a) (dev sda1) (mode w))) (device (vif)))";

fn api() -> Api {
    let (events, _) = broadcast::channel(64);
    let handle = tokio::runtime::Handle::current();
    let consoles = Consoles::new(
        "/proc/none", // Nothing can be written there, and nothing is kept.
        None,
        None,
        events.clone(),
        Log::nowhere(),
    );
    let config = Config::default();
    let site = Site {
        world: Arc::new(Machine::new().world()),
        consoles: Arc::new(consoles),
        archive: Archive::new(&config.dbroot),
        config: Arc::new(config),
        log: Log::nowhere(),
        disks: Arc::new(Mutex::new(())),
    };
    Api {
        node: Node::new(site, events, handle),
        guard: Arc::new(Guard::default()),
        simulated: true,
    }
}

async fn send(
    api: &Api,
    method: Method,
    path: &str,
    headers: &[(header::HeaderName, &str)],
    body: &str,
) -> (StatusCode, String, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response = api
        .answer(ROOT, request.body(Body::from(body.to_owned())).unwrap())
        .await;
    let kind = response.headers()[header::CONTENT_TYPE]
        .to_str()
        .unwrap()
        .to_owned();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, kind, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(api: &Api, path: &str) -> (StatusCode, String) {
    let (status, _, body) = send(api, Method::GET, path, &[], "").await;
    (status, body)
}

/// Posts JSON, and gives status and JSON back.
async fn post(api: &Api, path: &str, body: Value) -> (StatusCode, Value) {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let (status, _, answer) = send(api, Method::POST, path, &json, &body.to_string()).await;
    (
        status,
        serde_json::from_str(&answer).unwrap_or(Value::String(answer)),
    )
}

async fn created(api: &Api) {
    let (status, domain) = post(
        api,
        "/api/v1/domains",
        serde_json::json!({ "config": CONFIG, "paused": false }),
    )
    .await;
    assert_eq!(
        (status, &domain["phase"]),
        (StatusCode::CREATED, &"running".into()),
        "{domain}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_urls_of_xen_2_answer_expressions() {
    let api = api();
    assert_eq!(
        get(&api, "/xend/").await,
        (
            StatusCode::OK,
            "(ls node domain console event device vnet)".into()
        )
    );
    assert_eq!(get(&api, "/xend/domain/").await.1, "(Domain-0)");
    let form = format!("op=create&config={}", CONFIG.replace(' ', "+"));
    let (status, kind, body) = send(&api, Method::POST, "/xend/domain", &[], &form).await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::CREATED, "application/sxp")
    );
    assert!(body.starts_with("(domain (id 1) (name a) "), "{body}");
    assert!(
        body.contains("(state --p--)"),
        "a new domain is paused: {body}"
    );
    assert_eq!(get(&api, "/xend/domain").await.1, "(Domain-0 a)");
    assert!(
        get(&api, "/xend/node")
            .await
            .1
            .starts_with("(node (system Linux) (host ")
    );
    assert!(
        get(&api, "/xend/domain/a?op=vbds")
            .await
            .1
            .starts_with("((vbd (idx 2049) ")
    );
    assert!(
        get(&api, "/xend/domain/1?op=vif&vif=0")
            .await
            .1
            .starts_with("(vif (idx 0) ")
    );
    assert_eq!(get(&api, "/xend/vnet/").await.1, "()");
    let (status, _, body) = send(&api, Method::POST, "/xend/domain/a", &[], "op=unpause").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "0"));
    assert_eq!(
        get(&api, "/xend/node/dmesg").await,
        (StatusCode::OK, "(XEN) simulated machine\n".into())
    );
    let (status, _, _) = send(
        &api,
        Method::POST,
        "/xend/domain/a",
        &[],
        "op=shutdown&reason=halt",
    )
    .await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_own_status_in_every_form() {
    let api = api();
    assert_eq!(
        get(&api, "/xend/domain/zz").await,
        (
            StatusCode::NOT_FOUND,
            "(xend.err 'invalid domain:zz')".into()
        )
    );
    let (status, body) = get(&api, "/api/v1/domains/zz").await;
    assert_eq!(
        (status, body.as_str()),
        (
            StatusCode::NOT_FOUND,
            r#"{"error":{"message":"invalid domain:zz","status":404}}"#
        )
    );
    assert_eq!(get(&api, "/etc/passwd").await.0, StatusCode::NOT_FOUND);
    created(&api).await;
    let again = post(
        &api,
        "/api/v1/domains",
        serde_json::json!({ "config": CONFIG }),
    )
    .await;
    assert_eq!(
        (again.0, again.1["error"]["message"].as_str()),
        (StatusCode::CONFLICT, Some("vm name clash: a"))
    );
    for (body, status, text) in [
        (
            "op=create",
            StatusCode::BAD_REQUEST,
            "Missing parameter: config",
        ),
        (
            "op=create&config=(vm",
            StatusCode::BAD_REQUEST,
            "unexpected EOF",
        ),
        (
            "op=create&config=(vm+(memory+4))",
            StatusCode::BAD_REQUEST,
            "missing vm name",
        ),
        (
            "op=restore&file=/x",
            StatusCode::NOT_IMPLEMENTED,
            "not offered yet",
        ),
        (
            "op=fly",
            StatusCode::NOT_IMPLEMENTED,
            "unknown operation: fly",
        ),
    ] {
        let (got, _, answer) = send(&api, Method::POST, "/xend/domain", &[], body).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer.contains(text), "{body}: {answer}");
    }
    for op in ["save", "migrate"] {
        let (status, answer) = post(
            &api,
            "/api/v1/domains/a",
            serde_json::json!({ "op": op, "file": "/x", "destination": "b" }),
        )
        .await;
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
        assert_eq!(
            answer["error"]["message"],
            "saving, restoring and migrating domains is not offered yet"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_in_use_are_refused_unless_forced() {
    let api = api();
    created(&api).await;
    let attempt = async |name: &str, uname: &str, mode: &str| {
        let config = CONFIG
            .replace("name a", &format!("name {name}"))
            .replace("phy:vg/a", uname)
            .replace("mode w", &format!("mode '{mode}'"));
        post(
            &api,
            "/api/v1/domains",
            serde_json::json!({ "config": config }),
        )
        .await
    };
    let (status, answer) = attempt("b", "phy:/dev/vg/a", "r").await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("writable use by domain 1"),
        "{answer}"
    );
    assert_eq!(attempt("b", "phy:vg/a", "w!").await.0, StatusCode::CREATED);
    assert_eq!(
        attempt("c", "phy:mounted-ro", "w").await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(
        attempt("c", "phy:mounted-ro", "r").await.0,
        StatusCode::CREATED
    );
    assert_eq!(
        attempt("d", "phy:mounted-rw", "r").await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(
        attempt("e", "phy:missing", "r").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_table_is_known_and_works_on_a_running_domain() {
    let api = api();
    created(&api).await;
    let given = serde_json::json!({
        "reason": "sysrq", "key": 104, "name": "b", "cpu": 1, "cpus": "0-1", "count": 1, "target": 32, "memory": 128,
        "weight": 512, "trigger": "nmi", "config": "(vif (mac aa:00:00:00:00:77))", "type": "vif", "idx": "aa:00:00:00:00:77", "force": true,
        "mcuadv": 1, "warpback": 0, "warpvalue": 0, "warpl": 0, "warpu": 0, "period": 1, "slice": 1, "latency": 1,
        "xtratime": 1, "file": "/x", "destination": "h", "vif": "0", "credit": 1,
    });
    let order = [
        "pause",
        "unpause",
        "device_create",
        "device_configure",
        "device_destroy",
        "shutdown",
        "destroy",
    ];
    let rest = ops::DOMAIN
        .iter()
        .map(|op| op.name)
        .filter(|name| !order.contains(name));
    let not_yet = ["save", "migrate", "cpu_bvt_set", "cpu_atropos_set"];
    let mut name = "a";
    for op in order[..5]
        .iter()
        .copied()
        .chain(rest)
        .chain(order[5..].iter().copied())
    {
        let known = ops::DOMAIN.iter().find(|known| known.name == op).unwrap();
        let mut body = serde_json::Map::from_iter([("op".to_owned(), op.into())]);
        for (param, _, _) in known.params {
            let value = match (op, *param) {
                ("destroy", "reason") => "halt".into(),
                ("device_refresh", "type") => "vbd".into(),
                ("device_refresh", "idx") => "sda1".into(),
                _ => given[*param].clone(),
            };
            if !value.is_null() {
                body.insert((*param).to_owned(), value);
            }
        }
        let (status, answer) = post(&api, &format!("/api/v1/domains/{name}"), body.into()).await;
        assert_eq!(
            status == StatusCode::NOT_IMPLEMENTED,
            not_yet.contains(&op),
            "{op}: {status} {answer}"
        );
        assert!(
            status.is_success() || not_yet.contains(&op),
            "{op}: {status} {answer}"
        );
        if op == "rename" {
            name = "b";
        }
    }
    assert_eq!(get(&api, "/xend/domain").await.1, "(Domain-0)");
}

#[tokio::test(flavor = "multi_thread")]
async fn pinning_leaves_what_is_not_named() {
    let api = api();
    created(&api).await;
    let affinity = async || -> Value {
        let (_, body) = get(&api, "/api/v1/domains/a/vcpus").await;
        let vcpus: Value = serde_json::from_str(&body).unwrap();
        serde_json::json!([
            vcpus["vcpus"][0]["affinity"],
            vcpus["vcpus"][0]["soft_affinity"]
        ])
    };
    let pin = async |body: Value| post(&api, "/api/v1/domains/a", body).await.0;
    assert_eq!(
        pin(serde_json::json!({ "op": "vcpu_pin", "cpus": "0-1" })).await,
        StatusCode::OK
    );
    assert_eq!(affinity().await, serde_json::json!([[0, 1], [0, 1, 2, 3]]));
    assert_eq!(
        pin(serde_json::json!({ "op": "vcpu_pin", "vcpu": 0, "cpus": "-", "soft": "1" })).await,
        StatusCode::OK
    );
    assert_eq!(affinity().await, serde_json::json!([[0, 1], [1]]));
    assert_eq!(
        pin(serde_json::json!({ "op": "pincpu", "cpu": -1 })).await,
        StatusCode::OK
    );
    assert_eq!(affinity().await, serde_json::json!([[0, 1, 2, 3], [1]]));
    assert_eq!(
        pin(serde_json::json!({ "op": "vcpu_pin" })).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        pin(serde_json::json!({ "op": "vcpu_pin", "cpus": "9" })).await,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn consoles_show_and_take_bytes() {
    let api = api();
    created(&api).await;
    let console = api.console_of("a").unwrap();
    let mut changed = console.subscribe();
    changed.wait_for(|printed| *printed > 0).await.unwrap();
    let before = *changed.borrow_and_update();
    assert!(
        get(&api, "/api/v1/domains/a/console")
            .await
            .1
            .contains("login:")
    );
    send(
        &api,
        Method::POST,
        "/api/v1/domains/a/console",
        &[],
        "hello\r",
    )
    .await;
    changed
        .wait_for(|printed| *printed > before + 20)
        .await
        .unwrap();
    let text = get(&api, "/api/v1/domains/a/console").await.1;
    assert!(
        text.contains("hello") && text.contains("this guest knows"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brief_list_says_the_same_and_less() {
    let api = api();
    created(&api).await;
    let mut lists = Vec::new();
    for query in ["", "?brief=1"] {
        let (status, body) = get(&api, &format!("/api/v1/domains{query}")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let mut list: Value = serde_json::from_str(&body).unwrap();
        let domain = list["domains"][1].as_object_mut().unwrap();
        assert_eq!(domain["name"], "a");
        for changing in ["cpu_time", "cpu_time_ns", "up_time"] {
            assert!(domain.remove(changing).is_some(), "{changing}");
        }
        lists.push(domain.clone());
    }
    let brief = lists.pop().unwrap();
    let mut whole = lists.pop().unwrap();
    for long in ["devices", "config", "sxp", "memory_target"] {
        assert!(whole.remove(long).is_some(), "{long}");
    }
    assert_eq!(brief, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_answers_the_plan_and_does_nothing() {
    let api = api();
    let (status, answer) = post(
        &api,
        "/api/v1/domains",
        serde_json::json!({ "config": CONFIG, "dry_run": true }),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let plan: Vec<&str> = answer["plan"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(plan[0], "create the domain (undo: destroy the domain)");
    assert!(
        plan.contains(&"bring vif 0 up (undo: take vif 0 down)"),
        "{plan:?}"
    );
    assert_eq!(get(&api, "/xend/domain").await.1, "(Domain-0)");
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_get_pages_and_programs_what_they_ask_for() {
    let api = api();
    created(&api).await;
    let browser = [
        (header::USER_AGENT, "Mozilla/5.0"),
        (header::ACCEPT, "text/html,*/*"),
    ];
    let (_, kind, page) = send(&api, Method::GET, "/xend/domain/a", &browser, "").await;
    assert!(
        kind.starts_with("text/html")
            && page.contains("<form method=\"post\" action=\"/xend/domain/a\">"),
        "{page}"
    );
    let (_, kind, _) = send(
        &api,
        Method::GET,
        "/xend/domain/a",
        &[(header::ACCEPT, "application/json")],
        "",
    )
    .await;
    assert_eq!(kind, "application/json");
    let (_, kind, _) = send(
        &api,
        Method::GET,
        "/xend/domain/a",
        &[
            (header::USER_AGENT, "x"),
            (header::ACCEPT, "application/sxp"),
        ],
        "",
    )
    .await;
    assert_eq!(kind, "application/sxp");
    let (_, _, metrics) = send(&api, Method::GET, "/metrics", &browser, "").await;
    assert!(
        metrics.contains("xend_domain_memory_bytes{id=\"1\",name=\"a\"} 67108864"),
        "{metrics}"
    );
    let openapi: Value = serde_json::from_str(&get(&api, "/api/v1/openapi.json").await.1).unwrap();
    assert_eq!(openapi["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_before_anything_is_read() {
    let api = api();
    for peer in [Peer::Local(Some((12345, 12345))), Peer::Local(None)] {
        let request = Request::builder()
            .uri("/xend/domain")
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            api.answer(peer, request).await.status(),
            StatusCode::FORBIDDEN
        );
    }
    let request = Request::builder()
        .uri("/metrics")
        .header(header::HOST, "localhost")
        .body(Body::empty())
        .unwrap();
    let response = api.answer(Peer::Remote, request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_a_listener() {
    let api = api();
    let mut events = api.node.events.subscribe();
    created(&api).await;
    let mut names = Vec::new();
    while !names.contains(&"xend.domain.unpause".to_owned()) {
        names.push(events.recv().await.unwrap().name);
    }
    assert!(
        names.contains(&"xend.domain.create".to_owned()),
        "{names:?}"
    );
    let (status, _, _) = send(
        &api,
        Method::POST,
        "/xend/event",
        &[],
        "op=inject&event=(my.event+1)",
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(events.recv().await.unwrap().name, "my.event");
}
