//! Every command, run as a program against a fake xend: what it prints, what it asks, how it exits.

use crate::fake::{Fake, domains, ok, refuse};
use serde_json::{Value, json};

/// Runs a command that prints nothing, and returns what it asked last.
fn asks(fake: &Fake, line: &str) -> String {
    fake.asked();
    assert_eq!(fake.out(line), "", "{line}");
    fake.asked().pop().unwrap()
}

/// Like [`asks`], for an operation on a domain: the domain, and the body.
fn op(fake: &Fake, line: &str) -> (String, Value) {
    let asked = asks(fake, line);
    let rest = asked.strip_prefix("POST /api/v1/domains/").expect(&asked);
    let (dom, body) = rest.split_once(' ').unwrap();
    (dom.to_owned(), serde_json::from_str(body).unwrap())
}

#[test]
fn list_has_2_0s_columns_sorted_by_name() {
    let want = "\
Name              Id  Mem(MB)  CPU  State  Time(s)  Console
Domain-0           0     1024    0  r----    266.2
db                 5       64    1  r----      1.2    9605
web                2       64    1  -b---      1.2    9602
";
    let out = Fake::new().out("xm list");
    let trimmed: String = out.lines().map(|l| format!("{}\n", l.trim_end())).collect();
    assert_eq!(trimmed, want);
    assert!(
        out.lines().nth(1).unwrap().ends_with("    266.2        "),
        "the column stays"
    );
}

#[test]
fn list_of_chosen_domains_keeps_their_order() {
    let fake = Fake::new();
    let out = fake.out("xm list web db");
    let names: Vec<_> = out.lines().skip(1).map(|l| &l[..3]).collect();
    assert_eq!(names, ["web", "db "]);
    assert_eq!(fake.err("xm list nobody"), "Error: invalid domain:nobody\n");
}

#[test]
fn long_list_is_laid_out_and_json_is_what_xend_said() {
    let fake = Fake::new();
    let want = "\
(domain
    (id 2)
    (name web)
    (memory 64)
    (maxmem 128)
    (state -b---)
    (cpu 1)
    (cpu_time 1.25)
)
";
    assert_eq!(fake.out("xm list -l web"), want);
    let json: Value = serde_json::from_str(&fake.out("xm list --json")).unwrap();
    assert_eq!(json, Value::from(domains()));
}

#[test]
fn a_verbose_list_also_says_who_each_domain_is() {
    let fake = Fake::new();
    for name in ["xm", "xl"] {
        let short = fake.out(&format!("{name} list web"));
        let long = fake.out(&format!("{name} list -v web"));
        let row = short.lines().nth(1).unwrap();
        let want = format!("{row} 6b3a3b53-9a8a-4c8e-8f5e-0f9a0c3f0001        -                -");
        assert_eq!(long.lines().nth(1), Some(want.as_str()));
        assert!(
            long.lines()
                .next()
                .unwrap()
                .ends_with("Reason-Code\tSecurity Label")
        );
    }
}

#[test]
fn ids_and_names_are_one_line() {
    let fake = Fake::new();
    assert_eq!(fake.out("xm domid web"), "2\n");
    assert_eq!(fake.out("xm domname 2"), "web\n");
    assert_eq!(fake.out("xl domid Domain-0"), "0\n");
}

#[test]
fn operations_on_domains_print_nothing_and_ask_for_what_they_are() {
    let fake = Fake::new();
    for (line, body) in [
        (
            "xm destroy web",
            json!({ "op": "destroy", "reason": "halt" }),
        ),
        (
            "xm destroy -R web",
            json!({ "op": "destroy", "reason": "reboot" }),
        ),
        ("xm pause web", json!({ "op": "pause" })),
        ("xm unpause web", json!({ "op": "unpause" })),
        (
            "xm sysrq web s",
            json!({ "op": "shutdown", "reason": "sysrq", "key": 115 }),
        ),
        (
            "xm trigger web nmi",
            json!({ "op": "trigger", "trigger": "nmi", "vcpu": null }),
        ),
        (
            "xm rename web www",
            json!({ "op": "rename", "name": "www" }),
        ),
        (
            "xm maxmem web 256",
            json!({ "op": "maxmem_set", "memory": 256 }),
        ),
        (
            "xm mem-max web 1g",
            json!({ "op": "maxmem_set", "memory": 1024 }),
        ),
        (
            "xm balloon web 48",
            json!({ "op": "mem_target_set", "target": 48 }),
        ),
        (
            "xl mem-set web 48m",
            json!({ "op": "mem_target_set", "target": 48 }),
        ),
        ("xm pincpu web 1", json!({ "op": "pincpu", "cpu": 1 })),
        ("xm pincpu web -1", json!({ "op": "pincpu", "cpu": -1 })),
        ("xm vcpu-set web 2", json!({ "op": "vcpu_set", "count": 2 })),
        (
            "xm vcpu-pin web 0 0-1,3",
            json!({ "op": "vcpu_pin", "vcpu": 0, "cpus": "0-1,3" }),
        ),
        (
            "xm vcpu-pin web all all 2",
            json!({ "op": "vcpu_pin", "vcpu": null, "cpus": "all", "soft": "2" }),
        ),
        (
            "xm bvt web 10 1 -5 20 10",
            json!({ "op": "cpu_bvt_set", "mcuadv": 10, "warpback": 1, "warpvalue": -5, "warpl": 20, "warpu": 10 }),
        ),
        (
            "xm atropos web 100 50 20 1",
            json!({ "op": "cpu_atropos_set", "period": 100, "slice": 50, "latency": 20, "xtratime": 1 }),
        ),
        (
            "xm sched-credit -d web -w 512",
            json!({ "op": "sched", "weight": 512 }),
        ),
        (
            "xm vbd-create web phy:vg/a sdb1 w!",
            json!({ "op": "device_create", "config": "(vbd (uname phy:vg/a) (dev sdb1) (mode 'w!'))" }),
        ),
        (
            "xm block-attach web file:/a.img xvdb r db",
            json!({ "op": "device_create", "config": "(vbd (uname file:/a.img) (dev xvdb) (mode r) (backend db))" }),
        ),
        (
            "xl block-attach web phy:vg/a,xvdb,w",
            json!({ "op": "device_create", "config": "(vbd (uname phy:vg/a) (dev xvdb) (mode w))" }),
        ),
        (
            "xm vbd-destroy web 0",
            json!({ "op": "device_destroy", "type": "vbd", "idx": "0" }),
        ),
        (
            "xm block-detach -f web xvda",
            json!({ "op": "device_destroy", "type": "vbd", "idx": "xvda", "force": true }),
        ),
        (
            "xm vbd-refresh web 0",
            json!({ "op": "device_refresh", "type": "vbd", "idx": "0" }),
        ),
        (
            "xm network-attach web mac=aa:00:00:00:00:12 bridge=br1",
            json!({ "op": "device_create", "config": "(vif (mac aa:00:00:00:00:12) (bridge br1))" }),
        ),
        (
            "xm network-attach web",
            json!({ "op": "device_create", "config": "(vif)" }),
        ),
        (
            "xm network-detach web 0",
            json!({ "op": "device_destroy", "type": "vif", "idx": "0" }),
        ),
        (
            "xm vif-limit web 0 1000 50000",
            json!({ "op": "vif_credit_limit", "vif": 0, "credit": 1000, "period": 50000 }),
        ),
    ] {
        let (dom, asked) = op(&fake, line);
        assert_eq!(asked, body, "{line}");
        assert_eq!(dom, "web", "{line}");
    }
}

#[test]
fn operations_on_the_host_print_nothing() {
    let fake = Fake::new();
    for (line, want) in [
        ("xm dmesg -c", r#"POST /api/v1/node/dmesg {"op":"clear"}"#),
        (
            "xm debug-keys q",
            r#"POST /api/v1/node {"keys":"q","op":"debug_keys"}"#,
        ),
        (
            "xm bvt_ctxallow 5000000",
            r#"POST /api/v1/node {"ctx_allow":5000000,"op":"cpu_bvt_slice_set"}"#,
        ),
        (
            "xm rrobin 100",
            r#"POST /api/v1/node {"op":"cpu_rrobin_slice_set","slice":100}"#,
        ),
    ] {
        assert_eq!(asks(&fake, line), want);
    }
}

#[test]
fn dmesg_and_log_are_printed_as_they_are() {
    let fake = Fake::new();
    assert_eq!(fake.out("xm dmesg"), "(XEN) hello\n");
    assert_eq!(fake.out("xm log"), "[2026] a line\n");
    assert_eq!(fake.out("xm log --json"), "\"[2026] a line\\n\"\n");
}

#[test]
fn info_has_2_0s_fields_first() {
    let out = Fake::new().out("xm info");
    let want = "\
system                 : Linux
host                   : node1
release                : 6.1.0
version                : #1
machine                : x86_64
cores                  : 4
hyperthreads_per_core  : 1
cpu_mhz                : 2400
memory                 : 4096
free_memory            : 2816
nr_cpus                : 4
";
    assert!(out.starts_with(want), "{out}");
    assert!(out.contains("\nxen_version            : 4.17.5\n"), "{out}");
}

#[test]
fn consoles_and_devices_are_listed() {
    let fake = Fake::new();
    let want = "Dom Port  Id Connection\n  2 9602   1 127.0.0.1:4242\n  5 9605   2 \n";
    assert_eq!(fake.out("xm consoles"), want);
    let want = "(vbd (idx 0) (vdev 2049) (mode w) (dev sda1) (uname phy:vg/web))\n";
    assert_eq!(fake.out("xm vbd-list web"), want);
    let want = "(vif (idx 0) (vif 0) (mac aa:00:00:00:00:11) (bridge xen-br0))\n";
    assert_eq!(fake.out("xm vif-list web"), want);
    let want = "\
Vdev  BE  handle state evt-ch ring-ref BE-path                       \n\
2049  0   2      4     9      8        /local/domain/0/backend/vbd/2/2049\n";
    assert_eq!(fake.out("xl block-list web"), want);
    let want = "\
Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path                       \n\
0   0  aa:00:00:00:00:11 0      4     -1        -1/-1          /local/domain/0/backend/vif/2/0\n";
    assert_eq!(fake.out("xl network-list web"), want);
}

#[test]
fn vcpus_uptimes_and_shares_are_tables() {
    let fake = Fake::new();
    let want = "\
Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)
web                                  2     0     1   -b-       1.2  0-1,3 / all
web                                  2     1     -   --p       0.0  all / all
";
    assert_eq!(fake.out("xm vcpu-list web"), want);
    let want = "\
Name                                ID Uptime
Domain-0                             0  1:02:03
web                                  2 1 day,  1:01:01
";
    assert_eq!(fake.out("xm uptime 0 web"), want);
    let short = fake.out("xm uptime -s web");
    assert!(short.ends_with(" up 1 day,  1:01:01, web (2)\n"), "{short}");
    let want = "\
Name                                ID Weight  Cap
web                                  2    256    0
";
    assert_eq!(fake.out("xm sched-credit -d web"), want);
}

#[test]
fn top_prints_as_often_as_it_is_told_to() {
    let out = Fake::new().out("xm top -b -i 2 -d 0.01");
    assert_eq!(out.matches("      NAME  STATE").count(), 2);
    let first = "3 domains: 2 running, 1 blocked, 0 paused, 0 crashed, 1 dying, 0 shutdown\n";
    assert!(out.starts_with(first), "{out}");
    let row = "  Domain-0 r-----        266    0.0       1024   25.0    no limit     4\n";
    assert!(out.contains(row), "{out}");
}

#[test]
fn shutdown_maps_its_options_to_reasons() {
    let fake = Fake::new();
    for (line, reason) in [
        ("xm shutdown web", "poweroff"),
        ("xm shutdown -H web", "halt"),
        ("xm shutdown -R web", "reboot"),
        ("xm reboot web", "reboot"),
        ("xl shutdown -F web", "poweroff"),
    ] {
        let (dom, body) = op(&fake, line);
        assert_eq!(dom, "2", "{line}");
        assert_eq!(
            body,
            json!({ "op": "shutdown", "reason": reason }),
            "{line}"
        );
    }
    fake.asked();
    assert_eq!(fake.out("xm shutdown -a"), "");
    let posts: Vec<_> = fake
        .asked()
        .into_iter()
        .filter(|a| a.starts_with("POST"))
        .collect();
    assert_eq!(posts.len(), 2, "all but Domain-0: {posts:?}");
    for (line, text) in [
        ("xm shutdown", "Error: shutdown: Missing domain\n"),
        (
            "xm shutdown -w -R web",
            "Error: Can't specify wait and reboot\n",
        ),
        (
            "xm shutdown -H -R web",
            "Error: Can't specify halt and reboot\n",
        ),
    ] {
        assert_eq!(fake.err(line), text);
    }
}

#[test]
fn shutdown_waits_until_the_ids_are_gone() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let looks = AtomicU32::new(0);
    let fake = Fake::with(move |method, path, _| match (method, path) {
        ("POST", _) => (202, "application/json", "{}".to_owned()),
        ("GET", "/api/v1/domains") => {
            // Both are there when they are asked; then web ends, then db.
            let gone = looks.fetch_add(1, Ordering::Relaxed) as usize;
            let mut all = domains();
            if gone >= 2 {
                all.retain(|d| d["name"] != "web");
            }
            if gone >= 3 {
                all.retain(|d| d["name"] != "db");
            }
            ok(json!({ "domains": all }))
        }
        _ => refuse(404, "no"),
    });
    let want = "Domain web terminated\nDomain db terminated\nAll domains terminated\n";
    assert_eq!(fake.out("xm shutdown -a -w"), want);
    let reasons = fake
        .asked()
        .iter()
        .filter(|a| a.contains(r#""reason":"halt""#))
        .count();
    assert_eq!(reasons, 2);
}

#[test]
fn several_domains_are_all_tried() {
    let fake = Fake::new();
    let err = fake.err("xm pause nobody web noone");
    assert_eq!(
        err,
        "Error: nobody: invalid domain:nobody\nError: noone: invalid domain:noone\n"
    );
    assert_eq!(fake.asked().len(), 3);
}

#[test]
fn what_comes_later_is_refused_in_xends_words() {
    let fake = Fake::new();
    let moving = "Error: moving domains is not in this version of Rexen\n";
    assert_eq!(fake.err("xm save web /tmp/x"), moving);
    assert_eq!(fake.err("xm migrate -l web there"), moving);
    assert_eq!(
        fake.err("xm restore /tmp/x"),
        "Error: restoring is not in this version of Rexen\n"
    );
    assert_eq!(
        fake.err("xm migrate 0 there"),
        "Error: Cannot migrate Domain-0\n"
    );
}

#[test]
fn save_names_the_file_from_the_root() {
    let fake = Fake::new();
    fake.err("xm save web state");
    let asked = fake.asked().pop().unwrap();
    let body: Value = serde_json::from_str(asked.rsplit_once(' ').unwrap().1).unwrap();
    assert!(body["file"].as_str().unwrap().starts_with('/'), "{body}");
}

#[test]
fn call_reaches_2_0s_functions() {
    let fake = Fake::new();
    assert_eq!(
        fake.out("xm call"),
        "(ls node domain console event device vnet)\n"
    );
    assert_eq!(fake.out("xm call xend_domains"), "(Domain-0 web db)\n");
    assert_eq!(fake.out("xm call node_get_dmesg"), "(XEN) hello\n");
    fake.asked();
    assert_eq!(fake.out("xm call domain_pincpu web -1"), "0\n");
    assert_eq!(fake.asked(), ["POST /xend/domain/web op=pincpu&cpu=-1"]);
    assert_eq!(fake.err("xm call domain x"), "ERROR: invalid domain:x\n");
    assert!(
        fake.err("xm call nothing")
            .starts_with("Error: call: there is no function nothing;")
    );
}

#[test]
fn events_are_a_line_each() {
    let out = Fake::new().out("xm events");
    assert_eq!(out, "xend.domain.create {\"value\":[\"web\",2]}\n");
}

#[test]
fn arguments_that_do_not_fit_are_explained() {
    let fake = Fake::new();
    for (line, text) in [
        (
            "xm frobnicate",
            "Unknown command: frobnicate\nTry 'xm help'.\n",
        ),
        (
            "xl frobnicate",
            "Unknown command: frobnicate\nTry 'xl help'.\n",
        ),
        ("xm destroy", "destroy: Missing domain\n"),
        ("xm console", "console: Missing domain\n"),
        ("xm pincpu web", "pincpu: Missing arguments: <CPU>\n"),
        (
            "xm pincpu web x",
            "pincpu: Invalid argument(s): <CPU> is 'x': invalid digit found in string\n",
        ),
        (
            "xm pincpu web -2",
            "pincpu: Invalid argument(s): <CPU> is '-2': -2 is not in -1..",
        ),
        (
            "xm domid web db",
            "domid: Invalid argument(s): db is one too many\n",
        ),
        (
            "xm list --frob",
            "list: Invalid argument(s): there is no option --frob\n",
        ),
        (
            "xm balloon web 0",
            "balloon: Invalid argument(s): <MB> is '0': write MB, such as 512, or 512m, or 2g\n",
        ),
        (
            "xm vcpu-pin web x 0",
            "vcpu-pin: Invalid argument(s): VCPU is 'x': write a number, or all\n",
        ),
        (
            "xm trigger web frob",
            "trigger: Invalid argument(s): <TRIGGER> is 'frob', but can be nmi, reset",
        ),
        (
            "xm block-attach web phy:a",
            "block-attach: invalid disk: \"phy:a\" (UNAME,DEV,MODE[,BACKEND]",
        ),
        ("xm network-attach web frob=1", "network-attach: "),
        (
            "xm sched-credit -w 5",
            "sched-credit: Missing domain: say which with -d\n",
        ),
        (
            "xm completion csh",
            "completion: Invalid argument(s): <SHELL> is 'csh', but can be bash, zsh, fish\n",
        ),
    ] {
        let err = fake.err(line);
        assert!(err.starts_with(&format!("Error: {text}")), "{line}: {err}");
    }
    assert!(fake.asked().is_empty(), "nothing was asked of xend");
}

#[test]
fn without_xend_the_error_says_so() {
    let fake = Fake::new();
    let output = fake
        .command("xm")
        .env("XEND", "/nonexistent/sock")
        .arg("list")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(lines[0].contains("No such file"), "{err}");
    assert!(
        lines[1].starts_with("Error: Error connecting to xend at /nonexistent/sock"),
        "{err}"
    );
}

#[test]
fn help_is_grouped_and_needs_no_xend() {
    let fake = Fake::new();
    let help = |args: &[&str]| {
        let output = fake
            .command("xm")
            .env("XEND", "/nonexistent")
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(&[]);
    assert_eq!(all, help(&["help"]));
    assert!(all.starts_with("\ncall           Call a function"), "{all}");
    assert!(
        all.contains("\nCommands for consoles:\n\nconsole        Attach to a domain's console\n")
    );
    assert!(
        all.ends_with("\nTry 'xm help CMD' for help on CMD\n"),
        "{all}"
    );
    let destroy = help(&["help", "destroy"]);
    assert!(
        destroy.contains("End a domain at once") && destroy.contains("--reboot"),
        "{destroy}"
    );
    assert_eq!(destroy, help(&["destroy", "-h"]));
    assert_eq!(
        destroy,
        help(&["destroy", "a", "b", "c", "--help"]),
        "anywhere"
    );
    assert_eq!(help(&["help", "frob"]), "help: Unknown command: frob\n");
    assert!(help(&["--version"]).starts_with("xm "));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let fake = Fake::new();
    let mut child = fake
        .command("xm")
        .args(["top", "-b", "-d", "0.01"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), &output.stderr[..]),
        (Some(0), &b""[..])
    );
}
