//! The scripts and files of `etc/`: run on fake `ip`, `iptables` and `losetup` that write down what they are told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rexen_xend::config::Config;

fn etc() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc")
}

/// A folder with fake programs; gone when dropped.
struct Bench(PathBuf);

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Bench {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("xend-scripts-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("bin")).unwrap();
        let bench = Self(folder);
        // iptables -C and -D say no: no rule is there.
        bench.fake("iptables", "case \"$3\" in -C|-D) exit 1;; esac");
        bench.fake("ip", "case \"$*\" in 'link show dev missing'*) exit 1;; '-4 -o addr show dev eth0') echo '2: eth0 inet 10.0.0.5/24 scope global eth0';; esac");
        bench.fake("losetup", "[ \"$1\" != -f ] || echo /dev/loop7");
        fs::create_dir_all(bench.0.join("conf/vif1.0")).unwrap();
        bench
    }

    fn fake(&self, name: &str, body: &str) {
        let path = self.0.join("bin").join(name);
        let log = self.0.join("log");
        fs::write(
            &path,
            format!(
                "#!/bin/sh\necho \"{name} $*\" >>{}\n{body}\nexit 0\n",
                log.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &str, args: &[&str]) -> Output {
        let path = format!(
            "{}:{}",
            self.0.join("bin").display(),
            std::env::var("PATH").unwrap()
        );
        Command::new("sh")
            .arg(etc().join("xen/scripts").join(script))
            .args(args)
            .env("PATH", path)
            .env("CONF", self.0.join("conf"))
            .env("IP_FORWARD", self.0.join("ip_forward"))
            .output()
            .unwrap()
    }

    /// What changed something, of what the fakes were told since the last call.
    fn told(&self) -> Vec<String> {
        let log = self.0.join("log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        let asks = |line: &&str| {
            [" show ", " -C ", " -D "]
                .iter()
                .any(|word| line.contains(word))
        };
        text.lines()
            .filter(|line| !asks(line))
            .map(str::to_owned)
            .collect()
    }
}

fn fails(output: &Output, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(text), "{said}");
}

#[test]
fn vif_bridge_joins_and_leaves_the_bridge() {
    let bench = Bench::new("vif-bridge");
    let args = [
        "vif=vif1.0",
        "domain=a b",
        "mac=aa:00:00:00:00:01",
        "bridge=xen-br0",
        "ip=10.0.0.1 10.0.0.2",
    ];
    assert!(
        bench
            .run("vif-bridge", &[&["up"], &args[..]].concat())
            .status
            .success()
    );
    assert_eq!(
        bench.told(),
        [
            "ip link set dev vif1.0 master xen-br0",
            "ip link set dev vif1.0 up",
            "iptables -t filter -A FORWARD -m physdev --physdev-in vif1.0 -s 10.0.0.1 -j ACCEPT",
            "iptables -t filter -A FORWARD -m physdev --physdev-in vif1.0 -s 10.0.0.2 -j ACCEPT",
            "iptables -t filter -A FORWARD -m physdev --physdev-in vif1.0 -p udp --sport 68 --dport 67 -j ACCEPT",
        ]
    );
    assert!(
        bench
            .run("vif-bridge", &[&["down"], &args[..4]].concat())
            .status
            .success()
    );
    assert_eq!(
        bench.told(),
        [
            "ip link set dev vif1.0 down",
            "ip link set dev vif1.0 nomaster"
        ]
    );
    fails(
        &bench.run(
            "vif-bridge",
            &["up", "vif=vif1.0", "domain=a", "mac=m", "bridge=missing"],
        ),
        "there is no bridge missing",
    );
    fails(
        &bench.run("vif-bridge", &["up", "vif=vif1.0", "domain=a", "mac=m"]),
        "bridge= is missing",
    );
    fails(
        &bench.run(
            "vif-bridge",
            &["sideways", "vif=vif1.0", "domain=a", "mac=m", "bridge=b"],
        ),
        "unknown operation: sideways",
    );
    assert_eq!(bench.told(), Vec::<String>::new());
}

#[test]
fn an_interface_that_has_gone_can_be_taken_down() {
    let bench = Bench::new("gone");
    for script in ["vif-bridge", "vif-route", "vif-nat"] {
        let output = bench.run(
            script,
            &[
                "down",
                "vif=missing",
                "domain=a",
                "mac=m",
                "bridge=b",
                "ip=10.0.0.1",
            ],
        );
        assert!(
            output.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            bench
                .told()
                .iter()
                .all(|line| line.starts_with("ip route del")),
            "{script}"
        );
    }
}

#[test]
fn vif_route_and_vif_nat_route_to_the_guests_addresses() {
    let bench = Bench::new("vif-route");
    let conf = bench.0.join("conf/vif1.0/proxy_arp");
    assert!(
        bench
            .run(
                "vif-route",
                &["up", "vif=vif1.0", "domain=a", "mac=m", "ip=10.0.0.1"]
            )
            .status
            .success()
    );
    assert_eq!(
        bench.told(),
        [
            "ip addr replace 169.254.1.0/32 dev vif1.0",
            "ip link set dev vif1.0 up",
            "ip route replace 10.0.0.1 dev vif1.0 src 10.0.0.5"
        ]
    );
    assert_eq!(fs::read_to_string(conf).unwrap(), "1\n");
    assert!(
        bench
            .run(
                "vif-nat",
                &["up", "vif=vif1.0", "domain=a", "mac=m", "ip=10.1.2.3"]
            )
            .status
            .success()
    );
    assert_eq!(bench.told()[0], "ip addr replace 10.1.2.254/24 dev vif1.0");
}

#[test]
fn network_makes_the_bridge_and_null_means_nothing() {
    let bench = Bench::new("network");
    assert!(
        bench
            .run("network", &["start", "bridge=null"])
            .status
            .success()
    );
    assert_eq!(bench.told(), Vec::<String>::new());
    assert!(
        bench
            .run("network", &["start", "bridge=br9", "antispoof=no"])
            .status
            .success()
    );
    assert_eq!(
        bench.told(),
        [
            "ip link set dev br9 up",
            "ip link set dev eth0 master br9",
            "ip link set dev eth0 up"
        ],
        "the fake says that br9 is there and without addresses"
    );
    fails(
        &bench.run("network", &["start", "netdev=missing"]),
        "there is no interface missing",
    );
    assert!(bench.run("network-nat", &["start"]).status.success());
    assert_eq!(
        bench.told(),
        ["iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE"]
    );
    assert_eq!(
        fs::read_to_string(bench.0.join("ip_forward")).unwrap(),
        "1\n"
    );
}

#[test]
fn block_file_uses_the_node_that_was_written_down() {
    let bench = Bench::new("block-file");
    let image = bench.0.join("a.img");
    fs::write(&image, "").unwrap();
    let image = image.to_str().unwrap();
    let output = bench.run("block-file", &["bind", image]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/dev/loop7\n");
    assert_eq!(
        bench.told(),
        [
            "losetup -f".to_owned(),
            format!("losetup /dev/loop7 {image}")
        ]
    );
    for (verb, option) in [("refresh", "-c"), ("unbind", "-d")] {
        let output = bench.run("block-file", &[verb, "/dev/loop7"]);
        assert!(output.status.success(), "{verb}");
        assert_eq!(bench.told(), [format!("losetup {option} /dev/loop7")]);
    }
    fails(
        &bench.run("block-file", &["bind", "relative/none.img"]),
        "cannot read relative/none.img",
    );
    fails(
        &bench.run("block-file", &["mount"]),
        "unknown operation: mount",
    );
}

#[test]
fn the_shipped_configuration_is_read_and_changes_no_default_but_antispoof() {
    let path = etc().join("xen/xend-config.sxp");
    let shipped = Config::load(path.to_str().unwrap()).unwrap();
    let expected = Config {
        path: shipped.path.clone(),
        vif_antispoof: false,
        ..Config::default()
    };
    assert_eq!(shipped, expected);
}

#[test]
fn the_configurations_remarks_are_keys_that_are_understood() {
    let text = fs::read_to_string(etc().join("xen/xend-config.sxp")).unwrap();
    let remarks: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#(").map(|_| &line[1..]))
        .collect();
    assert!(remarks.len() > 10);
    for line in remarks {
        Config::parse("remark", line).unwrap();
    }
}

#[test]
fn all_scripts_are_valid_shell_and_can_be_run() {
    let folders = ["xen/scripts", "init.d"].map(|folder| etc().join(folder));
    for file in folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
    {
        let checked = Command::new("sh").arg("-n").arg(&file).output().unwrap();
        assert!(
            checked.status.success(),
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(
            mode & 0o100 != 0,
            file.file_name().unwrap() != "lib.sh",
            "{}",
            file.display()
        );
    }
}

#[test]
fn an_interface_may_vanish_while_it_is_taken_down() {
    let args = [
        "down",
        "domain=a",
        "vif=vif1.0",
        "mac=aa:00:00:00:00:01",
        "bridge=br",
    ];
    let bench = Bench::new("vanishing");
    let gone = bench.0.join("gone");
    let gone = gone.to_str().unwrap();
    // The first command on it fails, and it is not there any more; or it is, and that is an error.
    for (after, succeeds) in [("exit 1", true), ("exit 0", false)] {
        let _ = fs::remove_file(gone);
        let body = format!(
            "case \"$*\" in 'link show '*) [ ! -e {gone} ] || {after};; *' down') touch {gone}; exit 2;; esac"
        );
        bench.fake("ip", &body);
        let output = bench.run("vif-bridge", &args);
        assert_eq!(output.status.success(), succeeds, "{output:?}");
    }
}
