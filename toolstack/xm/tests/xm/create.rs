//! `create`: from a configuration to a domain that runs.

use serde_json::{Value, json};

use crate::fake::{Fake, domains, refuse};
use crate::host::Host;

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

/// Section 2.3 of the reference: the configuration.
const EXAMPLE: &str = "\
kernel = \"/boot/vmlinuz-KVER-xenU\"
memory = 64
name = \"ttylinux\"
cpu = 1
ip = \"1.2.3.4\"
disk = [ 'file:/images/ttylinux.img,sda1,w', 'phy:vg/swap1,sda2,w!' ]
vif  = [ 'mac=aa:00:00:00:00:11, bridge=xen-br0' ]
pci  = [ '0,1d,7' ]
root = \"/dev/sda1 ro\"
extra = \"4 VMID=1\"
restart = 'onreboot'
";

/// And what `xm create -n` prints of it.
const PRINTED: &str = "\
(vm
    (name ttylinux)
    (memory 64)
    (cpu 1)
    (restart onreboot)
    (image
        (linux
            (kernel /boot/vmlinuz-KVER-xenU)
            (ip 1.2.3.4:1.2.3.4::::eth0:off)
            (root '/dev/sda1 ro')
            (args '4 VMID=1')
        )
    )
    (device (vbd (uname file:/images/ttylinux.img) (dev sda1) (mode w)))
    (device (vbd (uname phy:vg/swap1) (dev sda2) (mode 'w!')))
    (device (pci (bus 0x0) (dev 0x1d) (func 0x7)))
    (device (vif (mac aa:00:00:00:00:11) (bridge xen-br0)))
)
";

#[test]
fn a_script_is_evaluated_and_a_dry_run_prints_what_2_0_printed() {
    let fake = Fake::new();
    fake.file("tty", EXAMPLE);
    let out = fake.out("xm create -n tty");
    assert_eq!(out, format!("Using config file \"tty\".\n{PRINTED}"));
    assert_eq!(fake.out("xm create -q -n -f tty"), PRINTED);
    assert_eq!(fake.out("xm create -q --dryrun --defconfig tty"), PRINTED);
    assert!(fake.asked().is_empty());
    let json: Value = serde_json::from_str(&fake.out("xm create -n --json tty")).unwrap();
    assert!(
        json["config"]
            .as_str()
            .unwrap()
            .starts_with("(vm (name ttylinux)"),
        "{json}"
    );
}

#[test]
fn the_command_line_wins_over_the_script() {
    let fake = Fake::new();
    fake.file("tty", EXAMPLE);
    let out = fake.out("xm create -q -n tty memory=32 name=other 'extra=a=b'");
    for part in ["(name other)", "(memory 32)", "(args a=b)"] {
        assert!(out.replace('\'', "").contains(part), "{part} in {out}");
    }
}

#[test]
fn scripts_see_the_words_that_are_no_variables() {
    let fake = Fake::new();
    let script = "\
def check(name, value):
    number = int(value)
    if number <= 0:
        raise ValueError('vmid must be positive')
    return number
xm_vars.var('vmid', use='Which guest it is: 1, 2, ...', check=check)
xm_vars.check()
name = 'vm%d' % vmid
kernel = '/boot/vmlinuz'
";
    fake.file("numbered", script);
    let out = fake.out("xm create -q -n numbered vmid=3");
    assert!(out.contains("(name vm3)"), "{out}");
    for line in [
        "xm create -q -n numbered",
        "xm create -q -n numbered vmid=0",
    ] {
        let err = fake.err(line);
        assert!(err.starts_with("Error: numbered:"), "{line}: {err}");
    }
    let said = fake.run("xm create --help_config numbered");
    assert_eq!(said.status, 0);
    assert!(said.out.contains("\n  xm_vars\n"), "{}", said.out);
    assert!(
        said.err.contains("Configuration variables for numbered:"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("vmid         Which guest it is"),
        "{}",
        said.err
    );
    let said = fake.run("xm create -h numbered");
    assert!(said.out.contains("--console_autoconnect") && said.err.contains("vmid "));
    assert_eq!(said.status, 0);
}

#[test]
fn scripts_are_sought_in_the_path_and_the_name_is_the_files() {
    let fake = Fake::new();
    let file = fake.file("guest.one", "kernel = '/boot/vmlinuz'\n");
    let folder = file.strip_suffix("/guest.one").unwrap();
    let out = fake.out(&format!(
        "xm create -n --path /nonexistent:{folder} guest.one"
    ));
    assert!(
        out.starts_with("Using config file \"guest.one\".\n"),
        "{out}"
    );
    assert!(out.contains("(name guest.one)"), "{out}");
    assert_eq!(
        fake.err("xm create nowhere"),
        "Error: Cannot open config file \"nowhere\"\n"
    );
    assert_eq!(
        fake.err("xm create --path /nonexistent"),
        "Error: Cannot open config file \"xmdefconfig\"\n"
    );
    let said = fake.run("xm create -h nowhere");
    assert_eq!(said.status, 1);
    assert!(
        said.out.contains("--console_autoconnect"),
        "the usage comes first"
    );
}

#[test]
fn what_is_wrong_in_a_script_has_its_file_and_line_and_creates_nothing() {
    let fake = Fake::new();
    for (text, place, part) in [
        ("kernel = '/k'\nmemroy = 64\n", "bad:2: ", "memory"),
        ("kernel = '/k'\nmemory = 'much'\n", "bad:2: ", "memory"),
        ("memory = 64\n", "bad", "kernel"),
        ("kernel = '/k'\ndisk = ['frob']\n", "bad:2: ", "frob"),
        ("kernel = \n", "bad:1: ", "kernel ="),
    ] {
        fake.file("bad", text);
        let err = fake.err("xm create -q bad");
        assert!(err.starts_with(&format!("Error: {place}")), "{err}");
        assert!(err.contains(part), "{err}");
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn as_xl_a_configuration_of_xls_is_created() {
    let fake = Fake::new();
    fake.file(
        "web.cfg",
        "name = \"web\"\ntype = \"pv\"\nkernel = \"/boot/vmlinuz\"\nmemory = 64\nvcpus = 2\non_crash = 'destroy'\n\
         disk = ['phy:/dev/vg/web,xvda,w']\nvif = ['bridge=br0']\n",
    );
    let out = fake.out("xl create -p web.cfg");
    assert_eq!(
        out,
        "Parsing config from web.cfg\nStarted domain web, console on port 9602\n"
    );
    let asked = fake.asked();
    let config = body(&asked[0])["config"].as_str().unwrap().to_owned();
    for part in [
        "(name web)",
        "(vcpus 2)",
        "(on_crash destroy)",
        "(dev xvda)",
        "(bridge br0)",
    ] {
        assert!(config.contains(part), "{part} in {config}");
    }
}

#[test]
fn everything_may_be_on_the_command_line() {
    let fake = Fake::new();
    let out = fake.out("xl create -q -n /dev/null 'name=\"a\"' kernel=/boot/k memory=32");
    assert!(
        out.contains("(name a)") && out.contains("(memory 32)"),
        "{out}"
    );
}

#[path = "../../../config/tests/common/faults.rs"]
mod faults;

/// The faults that config's own tests know, each typed at a machine where a guest runs.
#[test]
fn no_fault_in_a_configuration_creates_anything() {
    let host = Host::start();
    host.out(&format!("xm create -q {}", host.guest("web", "")));
    let before = host.out("xm call domains");
    assert_eq!(before, "(Domain-0 web)\n");
    assert!(faults::CASES.len() >= 50);
    for (text, word, place, message, hint) in faults::CASES {
        host.fake.file("f", &format!("{}{text}\n", faults::OK));
        let word = if word.is_empty() {
            word.to_string()
        } else {
            format!("'{word}'")
        };
        let err = host.err(&format!("xm create -q f {word}"));
        assert!(
            err.starts_with(&format!("Error: {place}: ")),
            "{text}{word}: {err}"
        );
        let hint = if *hint == "-" { "" } else { hint };
        assert!(
            err.contains(message) && err.contains(hint),
            "{text}{word}: {err}"
        );
        assert_eq!(host.out("xm call domains"), before, "{text}{word}");
    }
}

/// What only xend can see: each is refused, with the reason, and nothing is left of it.
#[test]
fn what_the_machine_cannot_give_creates_nothing() {
    let host = Host::start();
    host.out(&format!("xm create -q {}", host.guest("web", "")));
    let image = host.fake.file("web.img", "disk");
    let before = host.out("xm list -l") + &host.out("xm info");
    for (text, message) in [
        ("name = 'web'".to_owned(), "vm name clash: web"),
        (
            "memory = 9999".to_owned(),
            "needs 9999 MiB of memory, 3520 MiB are free",
        ),
        ("kernel = '/missing'".to_owned(), "/missing: no such file"),
        ("ramdisk = '/missing'".to_owned(), "/missing: no such file"),
        (
            format!("disk = ['file:{image},xvda,w']"),
            "is in writable use by domain 1",
        ),
        (
            "disk = ['phy:mounted-ro,xvda,w']".to_owned(),
            "read-only use",
        ),
        ("disk = ['phy:missing,xvda,w']".to_owned(), "no such device"),
        ("disk = ['phy:vg/a,xvda,w,nobody']".to_owned(), "nobody"),
        ("disk = ['frob:a,xvda,w']".to_owned(), "frob"),
        ("vif = ['backend=nobody']".to_owned(), "nobody"),
        (
            "pci = ['00:1d.7']".to_owned(),
            "pci devices are not offered yet",
        ),
    ] {
        host.fake.file("f", &format!("{}{text}\n", faults::OK));
        let err = host.err("xm create -q f");
        assert!(
            err.starts_with("Error: ") && err.contains(message),
            "{text}: {err}"
        );
        // What goes on while one looks is when, and how long.
        let after = host.out("xm list -l") + &host.out("xm info");
        let facts = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.contains("_time "));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(facts(&after), facts(&before), "{text}");
    }
}
