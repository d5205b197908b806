use super::*;
use crate::spec::{DiskMode, Rate};
use crate::sxp::Sexp;

fn disk(entry: &str) -> String {
    parse_disk(entry).map_or_else(|error| error.to_string(), |disk| disk.to_sxp().to_string())
}

#[test]
fn discs_are_read_in_either_form() {
    for (entry, wanted) in [
        (
            "phy:vg/a,sda1,w",
            "(vbd (uname phy:vg/a) (dev sda1) (mode w))",
        ),
        (
            " file:/a.img , xvda , r! ",
            "(vbd (uname file:/a.img) (dev xvda) (mode 'r!'))",
        ),
        (
            "enbd:server:9000,hda1,w,2",
            "(vbd (uname enbd:server:9000) (dev hda1) (mode w) (backend 2))",
        ),
        (
            "tap:aio:/a.img,xvda,w",
            "(vbd (uname file:/a.img) (dev xvda) (mode w))",
        ),
        (
            "phy:/dev/a,xvda:cdrom,r",
            "(vbd (uname phy:/dev/a) (dev xvda) (mode r) (cdrom 1))",
        ),
        (
            "/dev/vg/a,raw,xvda,rw",
            "(vbd (uname phy:/dev/vg/a) (dev xvda) (mode w))",
        ),
        (
            "/a.img,,xvda",
            "(vbd (uname file:/a.img) (dev xvda) (mode w))",
        ),
        (
            "vdev=xvda, format=raw, access=ro, target=/a,b=c.img",
            "(vbd (uname file:'/a,b=c.img')",
        ),
        (
            "/a.iso,raw,xvdc,cdrom",
            "(vbd (uname file:/a.iso) (dev xvdc) (mode r) (cdrom 1))",
        ),
        (
            "vdev=xvda,backend=storage,script=/x/block-drbd,target=r0",
            "(vbd (uname drbd:r0) (dev xvda) (mode w) (backend storage) (script /x/block-drbd))",
        ),
    ] {
        let wanted = wanted.replace(
            "file:'/a,b=c.img')",
            "'file:/a,b=c.img') (dev xvda) (mode r))",
        );
        assert_eq!(disk(entry), wanted, "{entry}");
    }
    for (entry, said) in [
        ("", "missing target"),
        (",,,", "missing target"),
        (
            "/a,raw,xvda,w,w",
            "a disc has target, format, vdev and access",
        ),
        ("/a,raw,xvda,vdev=xvdb", "vdev is \"xvda\" already"),
        ("/a,vhd,xvda", "discs are raw"),
        (
            "backendtype=qdisk,vdev=xvda,target=/a",
            "the back-end is the kernel's",
        ),
        ("phy:,xvda,w", "TYPE:PARAMS"),
    ] {
        assert!(disk(entry).contains(said), "{entry}: {}", disk(entry));
    }
    assert_eq!(
        parse_disk("/a,raw,xvda").unwrap().mode,
        DiskMode {
            writable: true,
            unchecked: false
        }
    );
}

#[test]
fn interfaces_are_read() {
    let all = "mac=AA:0:0:0:0:1, bridge = br0,script=vif-nat,backend=0,ip=10.0.0.1 10.1.0.0/16,vifname=v0,rate=1MB/s,gatewaydev=eth0,type=vif";
    let vif = parse_vif(all).unwrap();
    assert_eq!(
        vif.rate,
        Some(Rate {
            bytes_per_s: 1_000_000,
            interval_us: 50_000
        })
    );
    assert_eq!(
        vif.to_sxp().to_string(),
        "(vif (mac aa:00:00:00:00:01) (bridge br0) (script vif-nat) (backend 0) (ip 10.0.0.1) (ip 10.1.0.0/16) \
         (vifname v0) (rate '1000000B/s@50000us') (gatewaydev eth0))"
    );
    assert_eq!(parse_vif(" ").unwrap().to_sxp(), Sexp::element("vif", []));
    for bad in [
        "bridge=a/b",
        "bridge=..",
        "ip=10.0.0.0/200",
        "type=ioemu",
        "mac=1",
        "=a",
        "mac",
    ] {
        assert!(parse_vif(bad).is_err(), "{bad}");
    }
}
