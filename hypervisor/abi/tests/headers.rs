//! What `tests/layout.rs` cannot see of the headers in `include/`: that each compiles alone, that they say nothing the
//! crate does not say, and that their unions are Debian's.

mod ask;

use ask::{DEBIAN, WITNESSES, compile, include_folder, our_headers};
use rexen_abi::{CONSTANTS, LAYOUTS};
use std::path::PathBuf;
use std::process::Command;

/// Members that the crate flattens away, so that its registries cannot ask for them.
const UNION_MEMBERS: &[(&str, &str)] = &[
    ("struct mmuext_op", "arg1.linear_addr"),
    ("struct mmuext_op", "arg2.nr_ents"),
    ("struct mmuext_op", "arg2.vcpumask"),
    ("struct start_info", "console.dom0.info_off"),
    ("struct start_info", "console.dom0.info_size"),
    ("struct dom0_vga_console_info", "u.text_mode_3"),
    ("struct evtchn_status", "u.unbound.dom"),
    ("struct evtchn_status", "u.interdomain.dom"),
    ("struct evtchn_status", "u.virq"),
    ("union grant_entry_v2", "sub_page.frame"),
    ("union grant_entry_v2", "transitive.trans_domid"),
    ("union grant_entry_v2", "transitive.gref"),
    ("struct gnttab_copy_ptr", "u.ref"),
    ("struct gnttab_cache_flush", "a.ref"),
    ("struct xen_add_to_physmap_batch", "u.res0"),
    ("struct vcpu_register_runstate_memory_area", "addr.h"),
    ("struct vcpu_register_runstate_memory_area", "addr.v"),
    ("struct vcpu_register_time_memory_area", "addr.h"),
    ("struct vcpu_register_time_memory_area", "addr.v"),
    ("struct xen_domctl_scheduler_op", "u.credit"),
    ("struct xen_domctl_shadow_op", "stats.dirty_count"),
    ("struct xen_sysctl_scheduler_op", "u.sched_credit"),
    ("struct xenpf_firmware_info", "u.kbd_shift_flags"),
    ("struct xenpf_resource_entry", "u.ret"),
];

/// The three envelopes whose union holds a structure per command, and the headers they are in.
const ENVELOPES: &[(&str, &str)] = &[
    ("struct xen_domctl", "xen/domctl.h"),
    ("struct xen_sysctl", "xen/sysctl.h"),
    ("struct xen_platform_op", "xen/platform.h"),
];

fn text(header: &str) -> String {
    std::fs::read_to_string(include_folder().join(header)).unwrap()
}

/// The members that `envelope` has for its commands, as our header says.
fn commands(envelope: &str, header: &str) -> Vec<String> {
    let text = text(header);
    let (_, body) = text.split_once(&format!("\n{envelope} {{\n")).unwrap();
    let (body, _) = body.split_once("\n};\n").unwrap();
    body.lines()
        .filter_map(|line| line.trim().strip_prefix("struct ")?.strip_suffix(';'))
        .map(|line| format!("u.{}", line.split_once(' ').unwrap().1))
        .collect()
}

#[test]
fn unions_lie_as_in_debians_headers() {
    let mut members: Vec<(&str, String)> = UNION_MEMBERS
        .iter()
        .map(|(structure, member)| (*structure, member.to_string()))
        .collect();
    for (envelope, header) in ENVELOPES {
        let commands = commands(envelope, header);
        assert!(commands.len() >= 15, "{header}: only {commands:?}");
        members.extend(commands.into_iter().map(|member| (*envelope, member)));
    }
    let expressions: Vec<String> = members
        .iter()
        .flat_map(|(structure, member)| {
            ["offsetof", "MEMBER_SIZE"].map(|ask| format!("{ask}({structure}, {member})"))
        })
        .collect();
    let theirs = DEBIAN.ask("unions", &expressions);
    for witness in WITNESSES.iter().filter(|w| w.name != DEBIAN.name) {
        let ours = witness.ask("unions", &expressions);
        for ((what, ours), theirs) in expressions.iter().zip(ours).zip(&theirs) {
            assert_eq!(ours, *theirs, "{what} ({})", witness.name);
        }
    }
}

#[test]
fn headers_say_nothing_that_the_crate_does_not() {
    let structures: Vec<&str> = LAYOUTS
        .iter()
        .flat_map(|module| module.iter().map(|layout| layout.c_name))
        // The common start of the members of `union grant_entry_v2`.
        .chain(["struct grant_entry_header"])
        .collect();
    let constants: Vec<&str> = CONSTANTS
        .iter()
        .flat_map(|module| module.iter().map(|constant| constant.name))
        .collect();
    let mut unknown = Vec::new();
    for header in our_headers() {
        for line in text(&header).lines() {
            // Macros with parameters say how to write something, not what is.
            let define = line
                .strip_prefix("#define ")
                .and_then(|define| define.split_once(' '))
                .filter(|(name, _)| !name.contains('('));
            let enumerator = line
                .strip_prefix("    ")
                .and_then(|line| line.split_once(" = "));
            if let Some((name, _value)) = define.or(enumerator)
                // `tests/layout.rs` asks for these by the source of `Errno`.
                && header != "xen/errno.h"
                && !constants.contains(&name.trim_end())
            {
                unknown.push(format!("{header}: {name}"));
            }
            if let Some((name, _members)) = line.split_once(" {")
                && (name.starts_with("struct ") || name.starts_with("union "))
                && !structures.contains(&name)
            {
                unknown.push(format!("{header}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "\n{}", unknown.join("\n"));
}

/// Without help from another header, twice over, for the assembler too.
#[test]
fn each_header_compiles_alone() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("alone");
    std::fs::create_dir_all(&folder).unwrap();
    let files: Vec<PathBuf> = our_headers()
        .iter()
        .map(|header| {
            let file = folder.join(header.replace('/', "-"));
            let source = format!(
                "#include <{header}>\n#include <{header}>\n\
                 #ifndef __ASSEMBLY__\nextern int not_empty;\n#endif\n"
            );
            std::fs::write(&file, source).unwrap();
            file
        })
        .collect();
    let compilers: &[(&str, &[&str])] = &[
        ("gcc", &["-std=c99", "-fsyntax-only", "-xc"]),
        ("g++", &["-std=c++11", "-fsyntax-only", "-xc++"]),
        ("gcc", &["-D__ASSEMBLY__", "-c", "-xassembler-with-cpp"]),
    ];
    for (compiler, flags) in compilers {
        compile(
            Command::new(compiler)
                .current_dir(&folder)
                .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
                .arg(include_folder())
                .args(*flags)
                .args(&files),
        );
    }
}
