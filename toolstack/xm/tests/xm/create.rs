//! `create`: from a configuration to a domain that runs.

use serde_json::{Value, json};

use crate::fake::{Fake, domains, refuse};

const SXP: &str = "(vm (name web) (memory 64) (image (linux (kernel /boot/vmlinuz))))";

fn body(asked: &str) -> Value {
    let json = asked.find('{').unwrap();
    serde_json::from_str(&asked[json..]).unwrap()
}

#[test]
fn a_finished_configuration_is_posted_as_it_is_and_the_domain_runs() {
    let fake = Fake::new();
    let file = fake.file("web.sxp", &format!("# mine\n{SXP}\n"));
    let out = fake.out(&format!("xm create -F {file}"));
    assert_eq!(out, "Started domain web, console on port 9602\n");
    let asked = fake.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].starts_with("POST /api/v1/domains {"), "{asked:?}");
    assert_eq!(body(&asked[0])["config"], format!("# mine\n{SXP}\n"));
    assert_eq!(asked[1], r#"POST /api/v1/domains/2 {"op":"unpause"}"#);
}

#[test]
fn quiet_and_paused_do_less() {
    let fake = Fake::new();
    let file = fake.file("web.sxp", SXP);
    assert_eq!(fake.out(&format!("xm create -q -p -F {file}")), "");
    assert_eq!(fake.asked().len(), 1, "created, and not unpaused");
}

#[test]
fn a_dry_run_asks_nothing_and_a_plan_creates_nothing() {
    let fake = Fake::new();
    let file = fake.file("web.sxp", SXP);
    let out = fake.out(&format!("xm create -n -F {file}"));
    assert_eq!(out, format!("{SXP}\n"));
    assert!(fake.asked().is_empty());
    let out = fake.out(&format!("xm create --plan -F {file}"));
    assert_eq!(out, "  1. create the domain\n  2. load the kernel\n");
    let asked = fake.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(body(&asked[0])["dry_run"], true);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let fake = Fake::new();
    let err = fake.err("xm create -F /nonexistent.sxp");
    assert!(
        err.starts_with("Error: Cannot open config file \"/nonexistent.sxp\""),
        "{err}"
    );
    let file = fake.file("half.sxp", "(vm (name web)");
    let err = fake.err(&format!("xm create -F {file}"));
    assert!(err.starts_with(&format!("Error: {file}: ")), "{err}");
    let file = fake.file("taken.sxp", "(vm (name taken))");
    assert_eq!(
        fake.err(&format!("xm create -F {file}")),
        "Error: vm name clash: taken\n"
    );
}

#[test]
fn a_domain_that_cannot_be_unpaused_is_destroyed() {
    let fake = Fake::with(|method, path, body| match (method, path) {
        ("POST", "/api/v1/domains") => (201, "application/json", domains()[1].to_string()),
        _ if body.contains("unpause") => refuse(500, "out of luck"),
        _ => (200, "application/json", json!({}).to_string()),
    });
    let file = fake.file("web.sxp", SXP);
    let err = fake.err(&format!("xm create -F {file}"));
    assert_eq!(
        err,
        "Error: Failed to unpause domain web: out of luck; it has been destroyed\n"
    );
    let last = fake.asked().pop().unwrap();
    assert_eq!(body(&last), json!({ "op": "destroy", "reason": "halt" }));
}
