//! Holds every ioctl, and the rings' places, against the headers of Debian's `libxen-dev`: a C program prints what a
//! compiler makes of them. Without gcc or the headers the test fails: not having looked is not a pass.

use std::fmt::Write as _;
use std::mem::offset_of;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::ring::store_rings;
use crate::sys::shared::SharedPages;

/// What we think a C expression is.
type Claim = (String, usize);

/// An ioctl's number, its structure's size, and where the fields are.
macro_rules! claims {
    ($ours:ident, $number:literal, $theirs:literal $(, $field:ident = $c_field:literal)*) => {
        [
            ($number.to_string(), <$ours as Argument>::OPCODE as usize),
            (format!("sizeof({})", $theirs), size_of::<$ours>()),
            $( (format!("offsetof({}, {})", $theirs, $c_field), offset_of!($ours, $field)), )*
        ]
    };
}

fn claims() -> Vec<Claim> {
    let mut claims = Vec::new();
    claims.extend(claims!(
        Hypercall,
        "IOCTL_PRIVCMD_HYPERCALL",
        "struct privcmd_hypercall",
        op = "op",
        arg = "arg"
    ));
    claims.extend(claims!(
        MmapBatch,
        "IOCTL_PRIVCMD_MMAPBATCH_V2",
        "struct privcmd_mmapbatch_v2",
        num = "num",
        dom = "dom",
        addr = "addr",
        arr = "arr",
        err = "err"
    ));
    claims.extend(claims!(
        MmapResource,
        "IOCTL_PRIVCMD_MMAP_RESOURCE",
        "struct privcmd_mmap_resource",
        dom = "dom",
        kind = "type",
        id = "id",
        idx = "idx",
        num = "num",
        addr = "addr"
    ));
    claims.extend(claims!(
        BindVirq,
        "IOCTL_EVTCHN_BIND_VIRQ",
        "struct ioctl_evtchn_bind_virq",
        virq = "virq"
    ));
    claims.extend(claims!(
        BindInterdomain,
        "IOCTL_EVTCHN_BIND_INTERDOMAIN",
        "struct ioctl_evtchn_bind_interdomain",
        remote_domain = "remote_domain",
        remote_port = "remote_port"
    ));
    claims.extend(claims!(
        BindUnbound,
        "IOCTL_EVTCHN_BIND_UNBOUND_PORT",
        "struct ioctl_evtchn_bind_unbound_port",
        remote_domain = "remote_domain"
    ));
    claims.extend(claims!(
        Unbind,
        "IOCTL_EVTCHN_UNBIND",
        "struct ioctl_evtchn_unbind",
        port = "port"
    ));
    claims.extend(claims!(
        Notify,
        "IOCTL_EVTCHN_NOTIFY",
        "struct ioctl_evtchn_notify",
        port = "port"
    ));
    claims.extend(claims!(
        MapGrant,
        "IOCTL_GNTDEV_MAP_GRANT_REF",
        "struct ioctl_gntdev_map_grant_ref",
        count = "count",
        index = "index",
        domid = "refs[0].domid",
        gref = "refs[0].ref"
    ));
    claims.extend(claims!(
        UnmapGrant,
        "IOCTL_GNTDEV_UNMAP_GRANT_REF",
        "struct ioctl_gntdev_unmap_grant_ref",
        index = "index",
        count = "count"
    ));
    claims.extend(claims!(
        GrantUnmapNotify,
        "IOCTL_GNTDEV_SET_UNMAP_NOTIFY",
        "struct ioctl_gntdev_unmap_notify",
        index = "index",
        action = "action",
        event_channel_port = "event_channel_port"
    ));
    claims.extend(claims!(
        AllocGrant,
        "IOCTL_GNTALLOC_ALLOC_GREF",
        "struct ioctl_gntalloc_alloc_gref",
        domid = "domid",
        flags = "flags",
        count = "count",
        index = "index",
        gref = "gref_ids"
    ));
    claims.extend(claims!(
        FreeGrant,
        "IOCTL_GNTALLOC_DEALLOC_GREF",
        "struct ioctl_gntalloc_dealloc_gref",
        index = "index",
        count = "count"
    ));
    claims.push((
        "IOCTL_XENBUS_BACKEND_EVTCHN".into(),
        StorePort::OPCODE as usize,
    ));
    claims
}

/// Where `ring` has the rings of a xenstore page.
fn store_page() -> Vec<Claim> {
    let at = |field: &str| format!("offsetof(struct xenstore_domain_interface, {field})");
    let page = Arc::new(SharedPages::anonymous(1).unwrap());
    let (requests, responses) = store_rings(&page);
    [("req", requests), ("rsp", responses)]
        .into_iter()
        .flat_map(|(name, ring)| {
            let [data, cons, prod] = ring.places();
            [
                (at(name), data),
                (at(&format!("{name}_cons")), cons),
                (at(&format!("{name}_prod")), prod),
            ]
        })
        .collect()
}

#[test]
fn every_ioctl_is_the_headers() {
    let claims: Vec<Claim> = claims().into_iter().chain(store_page()).collect();
    let mut source = String::from("#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
    source.push_str("#include <sys/ioctl.h>\n#define __XEN_TOOLS__ 1\n#include <xen/xen.h>\n");
    source.push_str("#include <xen/grant_table.h>\n#include <xen/io/xs_wire.h>\n");
    for header in ["privcmd", "evtchn", "gntdev", "gntalloc", "xenbus_dev"] {
        writeln!(source, "#include <xen/sys/{header}.h>").unwrap();
    }
    source.push_str("int main(void)\n{\n");
    for (expression, _) in &claims {
        writeln!(source, "    printf(\"%zu\\n\", (size_t)({expression}));").unwrap();
    }
    source.push_str("    return 0;\n}\n");

    let folder = std::env::temp_dir().join(format!("rexen-ioctl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (c_file, program) = (folder.join("ioctl.c"), folder.join("ioctl"));
    std::fs::write(&c_file, source).unwrap();
    let compiled = Command::new("gcc")
        .args(["-std=gnu11", "-m64", "-o"])
        .args([&program, &c_file])
        .output()
        .expect("cannot run gcc: install the Debian packages gcc and libc6-dev");
    assert!(
        compiled.status.success(),
        "the headers do not compile (is libxen-dev installed?):\n{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let ran = Command::new(&program).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let answers = String::from_utf8(ran.stdout).unwrap();
    let answers: Vec<usize> = answers.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(answers.len(), claims.len());
    let wrong: Vec<String> = claims
        .iter()
        .zip(answers)
        .filter(|((_, ours), theirs)| ours != theirs)
        .map(|((what, ours), theirs)| format!("{what}: ours {ours:#x}, C's {theirs:#x}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
