use std::fs;
use std::path::Path;

use super::*;
use crate::cmd::Cmd;

fn decode(bytes: &[u8]) -> Option<Fault> {
    fault_of(&Decoder::with_ip(64, bytes, HYPERVISOR_START, DecoderOptions::NONE).decode())
}

#[test]
fn integer_code_and_state_management_pass() {
    for (name, bytes) in [
        ("mov [rsp+8], rax", &[0x48, 0x89, 0x44, 0x24, 0x08][..]),
        ("push rax", &[0x50]),
        ("lea rsp, [rsp-8]", &[0x48, 0x8d, 0x64, 0x24, 0xf8]),
        ("mov rax, [rsp+rcx-8]", &[0x48, 0x8b, 0x44, 0x0c, 0xf8]),
        ("mov rax, [rbp-8]", &[0x48, 0x8b, 0x45, 0xf8]),
        ("fxsave64 [rdi]", &[0x48, 0x0f, 0xae, 0x07]),
        ("xsave64 [rdi]", &[0x48, 0x0f, 0xae, 0x27]),
        ("fninit", &[0xdb, 0xe3]),
        ("iretq", &[0x48, 0xcf]),
        ("syscall", &[0x0f, 0x05]),
    ] {
        assert_eq!(decode(bytes), None, "{name}");
    }
}

#[test]
fn vector_x87_mmx_and_red_zone_are_refused() {
    for (name, bytes, fault) in [
        ("movaps xmm0, xmm1", &[0x0f, 0x28, 0xc1][..], Fault::Vector),
        ("movups [rdi], xmm0", &[0x0f, 0x11, 0x07], Fault::Vector),
        (
            "vzeroupper has no operands; vpxor ymm",
            &[0xc5, 0xfd, 0xef, 0xc0],
            Fault::Vector,
        ),
        ("fld1", &[0xd9, 0xe8], Fault::Fpu),
        ("fadd qword [rdi]", &[0xdc, 0x07], Fault::Fpu),
        ("movq mm0, [rdi]", &[0x0f, 0x6f, 0x07], Fault::Fpu),
        (
            "mov [rsp-8], rax",
            &[0x48, 0x89, 0x44, 0x24, 0xf8],
            Fault::RedZone,
        ),
        (
            "mov rax, [rsp-0x80]",
            &[0x48, 0x8b, 0x44, 0x24, 0x80],
            Fault::RedZone,
        ),
    ] {
        assert_eq!(decode(bytes), Some(fault), "{name}");
    }
}

/// Assembles and links a tiny image at the hypervisor's address with the host's binutils.
fn image(name: &str, body: &str, script_tail: &str) -> Vec<u8> {
    let dir = std::env::temp_dir().join(format!("rexen-gate-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let path = |file: &str| dir.join(file);
    let header = ".section .mb,\"a\"\n.long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)\n";
    fs::write(
        path("a.s"),
        format!("{header}.text\n{body}\n.data\n.quad 1\n"),
    )
    .unwrap();
    let script = format!(
        "ENTRY(start) PHDRS {{ low PT_LOAD; text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); }}
         SECTIONS {{
           . = 0x200000; .mb : {{ KEEP(*(.mb)) }} :low
           . = 0xffff82d040201000; .text : AT(0x201000) {{ *(.text) }} :text
           . = 0xffff82d040202000; .data : AT({script_tail}) {{ *(.data) }} :data
           /DISCARD/ : {{ *(*) }}
         }}"
    );
    fs::write(path("a.ld"), script).unwrap();
    let run = |cmd: Cmd| cmd.output().unwrap();
    run(Cmd::new("as").arg("-o").arg(path("a.o")).arg(path("a.s")));
    run(Cmd::new("ld")
        .args(["-z", "max-page-size=4096", "-T"])
        .arg(path("a.ld"))
        .arg("-o")
        .arg(path("a.elf"))
        .arg(path("a.o")));
    let image = fs::read(path("a.elf")).unwrap();
    fs::remove_dir_all(Path::new(&dir)).unwrap();
    image
}

#[test]
fn a_clean_image_passes_and_survives_stripping() {
    let whole = image("clean", "start: mov %rax, 8(%rsp)\n ret", "0x202000");
    check(&whole).unwrap();
    let small = stripped(&whole).unwrap();
    assert!(small.len() < whole.len());
    check_layout(&small).unwrap();
    check_multiboot(&small).unwrap();
}

#[test]
fn offending_functions_are_named_and_counted() {
    let body = "start: ret\n.type bad,@function\nbad: movaps %xmm0,%xmm1\n movaps %xmm1,%xmm2\n mov %rax,-8(%rsp)\n ret";
    let whole = image("bad", body, "0x202000");
    let findings = offending_functions(&whole).unwrap();
    assert_eq!(findings[&("bad".to_owned(), Fault::Vector)].1, 2);
    assert_eq!(findings[&("bad".to_owned(), Fault::RedZone)].1, 1);
    assert_eq!(findings.len(), 2);
    let message = check(&whole).unwrap_err().to_string();
    assert!(message.contains("Vector: bad (2 instructions"), "{message}");
}

#[test]
fn a_segment_out_of_step_is_refused() {
    let whole = image("layout", "start: ret", "0x203000");
    let message = check(&whole).unwrap_err().to_string();
    assert!(message.contains("one run of bytes"), "{message}");
}

#[test]
fn an_image_without_multiboot_header_is_refused() {
    let mut whole = image("header", "start: ret", "0x202000");
    let at = whole
        .windows(4)
        .position(|w| w == MULTIBOOT1_MAGIC.to_le_bytes())
        .unwrap();
    whole[at] ^= 1;
    assert!(
        check(&whole)
            .unwrap_err()
            .to_string()
            .contains("no multiboot header")
    );
}
