use super::*;
use crate::sxp::parse_one;

fn example() -> DomainSpec {
    let mut spec = DomainSpec::new("ttylinux".parse().unwrap(), 64, "/boot/vmlinuz-KVER-xenU");
    spec.cpu = Some(InitialCpu::Cpu(1));
    spec.restart = Some(Restart::OnReboot);
    spec.image.ip = Some("1.2.3.4:1.2.3.4::::eth0:off".into());
    spec.image.root = Some("/dev/sda1 ro".into());
    spec.image.args = Some("4 VMID=1".into());
    for (source, dev, mode) in [
        ("file:/images/ttylinux.img", "sda1", "w"),
        ("phy:vg/swap1", "sda2", "w!"),
    ] {
        spec.disks.push(Disk {
            source: source.parse().unwrap(),
            dev: dev.parse().unwrap(),
            mode: mode.parse().unwrap(),
            backend: None,
            script: None,
            cdrom: false,
        });
    }
    spec.pci.push("0,1d,7".parse().unwrap());
    let mac = Some("aa:00:00:00:00:11".parse().unwrap());
    spec.vifs.push(Vif {
        mac,
        bridge: Some("xen-br0".into()),
        ..Vif::default()
    });
    spec
}

const EXAMPLE_SXP: &str = "\
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
fn the_references_example_is_written_and_read() {
    assert_eq!(example().to_sxp().pretty(), EXAMPLE_SXP);
    let read = DomainSpec::from_sxp(&parse_one(EXAMPLE_SXP).unwrap()).unwrap();
    assert_eq!(
        read,
        FromSxp {
            spec: example(),
            warnings: vec![]
        }
    );
    assert_eq!(
        example().image.cmdline(),
        " ip=1.2.3.4:1.2.3.4::::eth0:off root=/dev/sda1 ro 4 VMID=1"
    );
}

/// A specification in which every field says something.
fn full() -> DomainSpec {
    let mut spec = example();
    spec.uuid = Some("00112233-4455-6677-8899-aabbccddeeff".parse().unwrap());
    spec.maxmem_mib = Some(128);
    spec.vcpus = 2;
    spec.maxvcpus = Some(4);
    spec.cpus = vec!["0-3,^1".parse().unwrap(), "all".parse().unwrap()];
    spec.cpu_weight = Some(0.5);
    spec.backends = Backends {
        blkif: true,
        netif: true,
    };
    spec.on_poweroff = Some(ExitAction::Preserve);
    spec.on_reboot = Some(ExitAction::Destroy);
    spec.on_crash = Some(ExitAction::CoredumpRestart);
    spec.on_watchdog = Some(ExitAction::RenameRestart);
    spec.console_port = Some(9700);
    spec.clock = Clock {
        localtime: true,
        offset_s: -3600,
    };
    spec.image.ramdisk = Some("/boot/initrd.img".into());
    spec.disks[0].backend = Some(DomainRef::Id(3));
    spec.disks[0].script = Some("block-drbd".into());
    spec.disks[0].cdrom = true;
    spec.pci.push("0001:02:03.4".parse().unwrap());
    spec.vifs.push(Vif {
        mac: None,
        bridge: None,
        script: Some("vif-route".into()),
        backend: Some("net".parse().unwrap()),
        ip: vec!["10.0.0.1".into(), "10.1.0.0/16".into()],
        vifname: Some("web0".into()),
        rate: Some("10Mb/s@20ms".parse().unwrap()),
        gatewaydev: Some("eth1".into()),
    });
    spec
}

#[test]
fn every_field_survives_sxp_and_json() {
    let spec = full();
    spec.check().unwrap();
    let read = DomainSpec::from_sxp(&parse_one(&spec.to_sxp().to_string()).unwrap()).unwrap();
    assert_eq!(
        read,
        FromSxp {
            spec: spec.clone(),
            warnings: vec![]
        }
    );
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<DomainSpec>(&json).unwrap(), spec);
}

#[test]
fn json_holds_strings_and_may_leave_defaults_out() {
    let json = r#"{"name": "a", "memory_mib": 32, "image": {"kernel": "/k"},
        "disks": [{"source": "phy:vg/a", "dev": "xvda", "mode": "w!"}], "vifs": [{}]}"#;
    let mut spec = DomainSpec::new("a".parse().unwrap(), 32, "/k");
    spec.disks.push(Disk {
        source: "phy:/dev/vg/a".replace("/dev/", "").parse().unwrap(),
        dev: "xvda".parse().unwrap(),
        mode: DiskMode {
            writable: true,
            unchecked: true,
        },
        backend: None,
        script: None,
        cdrom: false,
    });
    spec.vifs.push(Vif::default());
    assert_eq!(serde_json::from_str::<DomainSpec>(json).unwrap(), spec);
    for (bad, said) in [
        (
            r#"{"name": "1a", "memory_mib": 32, "image": {"kernel": "/k"}}"#,
            "invalid vm name",
        ),
        (
            r#"{"name": "a", "memory_mib": 32, "image": {"kernel": "/k"}, "vpcus": 2}"#,
            "vpcus",
        ),
        (r#"{"name": "a", "image": {"kernel": "/k"}}"#, "memory_mib"),
    ] {
        let error = serde_json::from_str::<DomainSpec>(bad)
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn expressions_with_faults_are_refused_and_unknown_elements_noted() {
    let image = "(image (linux (kernel /k)))";
    for (vm, said) in [
        (
            "(vn)".to_owned(),
            "invalid configuration: \"(vn)\" (it is an expression (vm ...))",
        ),
        (format!("(vm (memory 1) {image})"), "missing vm name"),
        (
            format!("(vm (name '1a') (memory 1) {image})"),
            "invalid vm name: \"1a\"",
        ),
        (format!("(vm (name a) {image})"), "missing memory"),
        ("(vm (name a) (memory 1))".into(), "missing image"),
        (
            "(vm (name a) (memory 1) (image (linux)))".into(),
            "missing kernel",
        ),
        (
            "(vm (name a) (memory 1) (image (hvm (kernel /k))))".into(),
            "image type hvm is not supported: Rexen runs PV",
        ),
        (
            "(vm (name a) (memory 1) (image (plan9 (kernel /k))))".into(),
            "image type plan9 is not supported",
        ),
        (
            format!("(vm (name a) (memory x) {image})"),
            "invalid memory: \"x\" (a number in range)",
        ),
        (
            format!("(vm (name a) (memory 0) {image})"),
            "invalid memory: \"0\"",
        ),
        (
            format!("(vm (name a) (memory 2) (maxmem 1) {image})"),
            "invalid maxmem: \"1\" (MiB, from memory, which is 2",
        ),
        (
            format!("(vm (name a) (memory 2) (vcpus 2) (maxvcpus 1) {image})"),
            "invalid maxvcpus: \"1\"",
        ),
        (
            format!("(vm (name a) (memory 2) (cpu_weight -1) {image})"),
            "invalid cpu_weight: \"-1\" (above 0)",
        ),
        (
            format!("(vm (name a) (memory 2) (backend (usbif)) {image})"),
            "invalid backend",
        ),
        (
            format!("(vm (name a) (memory 2) (restart maybe) {image})"),
            "one of always, onreboot, never",
        ),
        (
            format!("(vm (name a) (memory 2) {image} (device (vtpm)))"),
            "invalid device type: \"vtpm\"",
        ),
        (
            format!("(vm (name a) (memory 2) {image} (device (vbd (dev sda1))))"),
            "missing uname of a vbd",
        ),
        (
            format!("(vm (name a) (memory 2) {image} (device (pci (bus 1) (dev 32) (func 0))))"),
            "invalid pci",
        ),
        (
            format!(
                "(vm (name a) (memory 2) {image} (device (vbd (uname phy:a) (dev sda))) (device (vbd (uname phy:b) (dev 0x800))))"
            ),
            "invalid disk: \"phy:b,0x800\" (sda is phy:a already)",
        ),
        (
            format!(
                "(vm (name a) (memory 2) (image (linux (kernel /k) (args {}))))",
                "x".repeat(1023)
            ),
            "kernel command line",
        ),
    ] {
        let error = DomainSpec::from_sxp(&parse_one(&vm).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{vm}: {error}");
    }
    let vm = format!(
        "(config (vm (name a) (memory 1) (vnets x) {image} (device (vbd (uname phy:a) (dev sda) (mode w!)))))"
    );
    let read = DomainSpec::from_sxp(&parse_one(&vm).unwrap()).unwrap();
    assert_eq!(read.warnings, ["ignored in the configuration: (vnets x)"]);
    assert_eq!(read.spec.disks[0].mode.to_string(), "w!");
}

#[test]
fn vdev_numbers_are_those_of_the_reference() {
    for (name, number) in [
        ("sda1", 2049),
        ("/dev/sda1", 2049),
        ("sdp15", 8 << 8 | 255),
        ("hda", 768),
        ("hdb", 768 + 64),
        ("hdc1", 5633),
        ("hdt63", 91 << 8 | 127),
        ("xvda", 51712),
        ("xvdb3", 51731),
        ("xvdp15", 51967),
        ("xvdq", 1 << 28 | 16 << 8),
        ("xvda16", 1 << 28 | 16),
        ("xvdaa", 1 << 28 | 26 << 8),
        ("d0p3", 51715),
        ("0x801", 2049),
        ("801", 2049),
    ] {
        assert_eq!(
            name.parse::<Vdev>().map(|vdev| vdev.number()),
            Ok(number),
            "{name}"
        );
    }
    for name in [
        "", "sdq", "sda16", "hdu", "hda64", "xvd", "xvdA", "xvda256", "xvdaaaaa", "da1x", "0x",
        "0", "sda+1",
    ] {
        assert!(name.parse::<Vdev>().is_err(), "{name}");
    }
}

#[test]
fn names_macs_uuids_and_addresses_have_rules() {
    for good in ["a", "_x", "Domain-0", "a.b:c/d+e_f", "-"] {
        assert_eq!(good.parse::<DomainName>().unwrap().to_string(), good);
    }
    for bad in ["", "1a", "a b", "ä", "a!", "a\n"] {
        assert!(bad.parse::<DomainName>().is_err(), "{bad}");
    }
    assert_eq!("12".parse(), Ok(DomainRef::Id(12)));
    assert!("32752".parse::<DomainRef>().is_err());
    assert_eq!(
        "AA:0:0:1:2:3".parse::<Mac>().unwrap().to_string(),
        "aa:00:00:01:02:03"
    );
    for bad in [
        "",
        "aa:00:00:00:00",
        "aa:00:00:00:00:00:00",
        "aa:00:00:00:00:+1",
        "aa:00:00:00:00:100",
        "01:00:00:00:00:00",
    ] {
        assert!(bad.parse::<Mac>().is_err(), "{bad}");
    }
    assert_eq!(
        Mac::from_random([255, 1, 2]).to_string(),
        "aa:00:00:7f:01:02"
    );
    let uuid = "00112233445566778899AABBCCDDEEFF".parse::<Uuid>().unwrap();
    assert_eq!(uuid.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    assert!(
        "00112233-4455-6677-8899-aabbccddeef"
            .parse::<Uuid>()
            .is_err()
    );
    assert!(
        "0011223é-4455-6677-8899-aabbccddee"
            .parse::<Uuid>()
            .is_err()
    );
    assert_eq!(
        "1:2.3".parse::<PciAddress>().unwrap().to_string(),
        "0000:01:02.3"
    );
    for bad in [
        "",
        "1,2",
        "1,2,8",
        "1:2:3:4.5",
        "1:2.+3",
        "1:2.3@5",
        "1:2.3,permissive=1",
    ] {
        assert!(bad.parse::<PciAddress>().is_err(), "{bad}");
    }
}

#[test]
fn cpu_sets_are_read_and_written() {
    for (text, written) in [
        ("0", "0"),
        ("3,1,2", "1-3"),
        ("0-3,^1", "0,2-3"),
        ("all", "all"),
        ("all,^0", "1-4095"),
        (" 1 , 2 ", "1-2"),
    ] {
        assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), written);
    }
    for bad in ["", "x", "3-1", "1,^1", "4096", "nodes:0", "-1", "1-"] {
        assert!(bad.parse::<CpuSet>().is_err(), "{bad}");
    }
    let mut spec = example();
    assert_eq!(spec.affinity(0), None);
    spec.cpus = vec!["1".parse().unwrap()];
    assert!(spec.affinity(7).unwrap().contains(1));
    spec.cpus.push("2".parse().unwrap());
    assert_eq!(spec.affinity(2), None);
    assert!(spec.affinity(1).unwrap().contains(2));
}

#[test]
fn rates_are_bytes_and_intervals() {
    for (text, bytes, interval) in [
        ("10Mb/s", 1_250_000, 50_000),
        ("250KB/s@20ms", 250_000, 20_000),
        ("1GB/s@1s", 1_000_000_000, 1_000_000),
    ] {
        assert_eq!(
            text.parse(),
            Ok(Rate {
                bytes_per_s: bytes,
                interval_us: interval
            })
        );
    }
    assert_eq!(
        "250KB/s@20ms".parse::<Rate>().unwrap().bytes_per_interval(),
        5000
    );
    assert_eq!(Rate::of(5000, 20_000), "250KB/s@20ms".parse());
    for (bytes, interval) in [(0, 20_000), (5000, 0), (1, 2_000_000), (u64::MAX, 1)] {
        assert!(Rate::of(bytes, interval).is_err(), "{bytes} in {interval}");
    }
    for bad in [
        "",
        "10",
        "10Mb",
        "-1Mb/s",
        "0b/s",
        "1MB/s@",
        "1MB/s@0s",
        "99999999999999999999GB/s",
    ] {
        assert!(bad.parse::<Rate>().is_err(), "{bad}");
    }
}

#[test]
fn actions_come_from_on_keys_then_restart_then_onreboot() {
    use ExitReason::{Crash, Poweroff, Reboot, Watchdog};
    let mut spec = example();
    spec.restart = None;
    let actions = |spec: &DomainSpec| {
        [Poweroff, Reboot, Crash, Watchdog].map(|reason| spec.exit_action(reason))
    };
    let (destroy, restart) = (ExitAction::Destroy, ExitAction::Restart);
    assert_eq!(actions(&spec), [destroy, restart, destroy, destroy]);
    spec.restart = Some(Restart::Always);
    assert_eq!(actions(&spec), [restart, restart, destroy, destroy]);
    spec.restart = Some(Restart::Never);
    assert_eq!(actions(&spec), [destroy; 4]);
    spec.on_crash = Some(ExitAction::Preserve);
    assert_eq!(spec.exit_action(Crash), ExitAction::Preserve);
}

#[test]
fn drawn_macs_leave_given_ones_alone() {
    let mut spec = full();
    let given = spec.vifs[0].mac;
    spec.fill_macs(|| [1, 2, 3]);
    assert_eq!(spec.vifs[0].mac, given);
    assert_eq!(spec.vifs[1].mac.unwrap().to_string(), "aa:00:00:01:02:03");
}

mod random {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Display;
    use std::str::FromStr;

    /// A text is refused, or read as something that writes itself so that it reads back.
    fn read<T: FromStr + Display + PartialEq>(text: &str) {
        if let Ok(value) = text.parse::<T>() {
            assert!(
                value
                    .to_string()
                    .parse::<T>()
                    .is_ok_and(|again| again == value),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_refused(text in prop_oneof![any::<String>(), "[-a-f0-9:.,!^/@ MKGbBsu]{0,24}", "(xvd|sd|hd|d|0x)[a-z0-9p]{0,6}"]) {
            read::<CpuSet>(&text);
            read::<InitialCpu>(&text);
            read::<DiskMode>(&text);
            read::<DiskSource>(&text);
            read::<Mac>(&text);
            read::<Uuid>(&text);
            read::<ExitAction>(&text);
            read::<Restart>(&text);
            read::<DomainName>(&text);
            read::<DomainRef>(&text);
            read::<PciAddress>(&text);
            read::<Vdev>(&text);
            read::<Rate>(&text);
        }

        #[test]
        fn values_anywhere_in_the_expression_are_read_or_refused(
            at in 0usize..200, value in prop_oneof!["[0-9.-]{0,22}", any::<String>(), Just("(x)".to_owned())]
        ) {
            // One atom of a full configuration after the other is replaced.
            let mut nr = 0;
            let mut tree = full().to_sxp();
            replace(&mut tree, at, &value, &mut nr);
            if let Ok(read) = DomainSpec::from_sxp(&tree) {
                let again = DomainSpec::from_sxp(&read.spec.to_sxp()).unwrap();
                prop_assert_eq!(again.spec, read.spec);
            }
        }
    }

    fn replace(tree: &mut crate::sxp::Sexp, at: usize, value: &str, nr: &mut usize) {
        match tree {
            crate::sxp::Sexp::Atom(text) => {
                if *nr == at {
                    value.clone_into(text);
                }
                *nr += 1;
            }
            crate::sxp::Sexp::List(items) => items
                .iter_mut()
                .for_each(|item| replace(item, at, value, nr)),
        }
    }
}
