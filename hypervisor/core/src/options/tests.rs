use std::format;
use std::string::ToString;
use std::vec::Vec;

use super::super::platform::testmem::Random;
use super::*;
use crate::policy::features::{FEATURES, Word};

const MIB: u64 = 1 << 20;

/// Parses a line that has no problem.
fn good(line: &str) -> Options {
    let (options, problems) = parse(line);
    assert_eq!(problems, [], "{line}");
    options
}

/// The one problem of a line, as printed; the options must be as if the word were missing.
fn bad(line: &str) -> std::string::String {
    let (options, problems) = parse(line);
    assert_eq!(options, Options::default(), "{line}");
    assert_eq!(problems.len(), 1, "{line}");
    assert!(problems[0].is_fatal(), "{line}");
    problems[0].to_string()
}

#[test]
fn dom0_mem_takes_sizes_and_bounds() {
    let mem = |text: &str| good(&format!("dom0_mem={text}")).dom0_mem;
    assert_eq!(mem("512M").size, Some(MemSize::Bytes(512 * MIB)));
    assert_eq!(mem("4096").size, Some(MemSize::Bytes(4 * MIB)));
    let all = mem("1g,min:256m,max:-1G");
    assert_eq!(
        all,
        Dom0Mem {
            size: Some(MemSize::Bytes(1024 * MIB)),
            min: Some(MemSize::Bytes(256 * MIB)),
            max: Some(MemSize::AllBut(1024 * MIB))
        }
    );
    assert_eq!(
        bad("dom0_mem=lots"),
        "boot option dom0_mem=lots is wrong: expected sizes such as 1G, min:512M, max:2G or -256M, parted by commas"
    );
    for wrong in [
        "",
        "1G,",
        "mid:1G",
        "1X",
        "99999999999999999999",
        "0",
        "max:",
        "+1G",
        "1G:2G",
        "17179869184G",
    ] {
        bad(&format!("dom0_mem={wrong}"));
    }
    bad("dom0_mem");
}

#[test]
fn dom0_mem_resolves_against_what_is_free() {
    let pages = |text: &str, free_mib: u64| {
        let (now, most) = good(text).dom0_mem.resolve(free_mib * 256);
        (
            now / 256,
            if most == u64::from(u32::MAX) {
                0
            } else {
                most / 256
            },
        )
    };
    assert_eq!(pages("", 1024), (960, 0));
    assert_eq!(pages("", 8192), (8064, 0));
    assert_eq!(pages("dom0_mem=512M", 1024), (512, 0));
    assert_eq!(pages("dom0_mem=512M,max:768M", 1024), (512, 768));
    assert_eq!(pages("dom0_mem=max:512M", 1024), (512, 512));
    assert_eq!(pages("dom0_mem=-256M", 1024), (768, 0));
    assert_eq!(pages("dom0_mem=64M,min:128M", 1024), (128, 0));
    assert_eq!(pages("dom0_mem=4G", 1024), (4096, 0), "the caller refuses");
    assert_eq!(pages("dom0_mem=4G,max:-24M", 1024), (1000, 1000));
    assert_eq!(pages("dom0_mem=-4G", 1024), (0, 0));
}

#[test]
fn vcpu_numbers_and_ranges() {
    let vcpus = |text: &str, cpus| {
        good(&format!("dom0_max_vcpus={text}"))
            .dom0_max_vcpus
            .unwrap()
            .resolve(cpus)
    };
    assert_eq!(
        (
            vcpus("3", 8),
            vcpus("2-4", 1),
            vcpus("2-4", 3),
            vcpus("2-4", 8)
        ),
        (3, 2, 3, 4)
    );
    assert_eq!((vcpus("2-", 8), vcpus("-2", 8)), (8, 2));
    for wrong in ["0", "4-2", "-", "0-2", "two", "1-2-3"] {
        bad(&format!("dom0_max_vcpus={wrong}"));
    }
}

#[test]
fn serial_ports_and_consoles() {
    let options = good("com1=57600,7e2,0x2e8,5 com2=auto console=com1,com2");
    let com1 = ComPort {
        baud: Some(57_600),
        data_bits: 7,
        parity: Parity::Even,
        stop_bits: 2,
        port: 0x2e8,
        irq: 5,
    };
    assert_eq!(
        options.com,
        [
            com1,
            ComPort {
                baud: None,
                ..ComPort::COM2
            }
        ]
    );
    assert_eq!(
        options.console,
        Consoles {
            com1: true,
            com2: true
        }
    );
    assert_eq!(
        good("com1=9600,,,0").com[0],
        ComPort {
            baud: Some(9600),
            irq: 0,
            ..ComPort::COM1
        }
    );
    assert_eq!(
        good("console=none").console,
        Consoles {
            com1: false,
            com2: false
        }
    );
    for wrong in [
        "com1=fast",
        "com1=9600,9n1",
        "com1=9600,8x1",
        "com1=9600,8n1,0x10000",
        "com1=9600,8n1,0x3f8,99",
    ] {
        bad(wrong);
    }
    bad("com2=9600,8n1,0x3f8,4,5");
    bad("console=screen");
}

#[test]
fn switches_take_all_spellings() {
    for on in [
        "noreboot",
        "noreboot=yes",
        "noreboot=1",
        "noreboot=true",
        "no-noreboot noreboot=on",
    ] {
        assert!(good(on).noreboot, "{on}");
    }
    for off in [
        "",
        "noreboot=no",
        "noreboot noreboot=0",
        "noreboot no-noreboot",
        "nosmp noreboot=off",
    ] {
        assert!(!good(off).noreboot, "{off}");
    }
    assert_eq!(
        bad("noreboot=maybe"),
        "boot option noreboot=maybe is wrong: expected yes or no"
    );
    assert_eq!(good("nosmp").cpus_to_start(4), 1);
    assert_eq!(good("maxcpus=2").cpus_to_start(4), 2);
    assert_eq!(good("").cpus_to_start(4), 4);
    bad("maxcpus=0");
}

#[test]
fn log_levels() {
    let all = good("loglvl=all guest_loglvl=error/debug");
    assert_eq!(
        all.loglvl,
        LogThresholds {
            always: LogLevel::Debug,
            limited: LogLevel::Debug
        }
    );
    assert_eq!(
        all.guest_loglvl,
        LogThresholds {
            always: LogLevel::Error,
            limited: LogLevel::Debug
        }
    );
    assert_eq!(good("loglvl=info/none").loglvl.limited, LogLevel::Info);
    bad("loglvl=loud");
    bad("loglvl=info/");
}

#[test]
fn mem_and_sched() {
    assert_eq!(good("mem=2G").mem, Some(2048 * MIB));
    assert_eq!(good("sched=credit2").sched.as_deref(), Some("credit2"));
    assert_eq!(
        bad("sched="),
        "boot option sched has no value: expected the name of a scheduler"
    );
    bad("mem=0");
}

#[test]
fn cpuid_options_add_up() {
    let line = "cpuid=no-avx2,no-fsgsbase cpuid=no-nx,movdiri cpuid_mask_ecx=0xfffffffe cpuid=avx2";
    let cpuid = good(line).cpuid;
    let hidden: Vec<_> = FEATURES
        .iter()
        .map(|f| f.name)
        .filter(|n| cpuid.hidden.contains(n))
        .collect();
    assert_eq!(hidden, ["sse3", "nx", "fsgsbase"]);
    assert!(cpuid.asked.contains("movdiri") && cpuid.asked.contains("avx2"));
    assert_eq!(
        good("cpuid_mask_ext_edx=0").cpuid.hidden.0[Word::E1Edx as usize],
        !0
    );
    assert!(
        bad("cpuid=no-warp").starts_with("boot option cpuid=no-warp is wrong: expected features")
    );
    for wrong in ["cpuid", "cpuid_mask_ecx=x", "cpuid_mask_edx=0x1ffffffff"] {
        bad(wrong);
    }
}

#[test]
fn unknown_word_is_a_warning_with_the_nearest_name() {
    let line = |word: &str| {
        let (options, problems) = parse(word);
        assert_eq!(options, Options::default());
        assert!(!problems[0].is_fatal());
        problems[0].to_string()
    };
    assert_eq!(
        line("placeholder"),
        "unknown boot option \"placeholder\" ignored"
    );
    assert_eq!(
        line("dom0_men=1G"),
        "unknown boot option \"dom0_men\" ignored; did you mean \"dom0_mem\"?"
    );
    assert_eq!(
        line("noerboot"),
        "unknown boot option \"noerboot\" ignored; did you mean \"noreboot\"?"
    );
    assert_eq!(line("no-mem"), "unknown boot option \"no-mem\" ignored");
    assert_eq!(parse("a b=1 nosmp").1.len(), 2);
}

#[test]
fn edits_are_counted() {
    for (a, b, distance) in [
        ("", "abc", 3),
        ("mem", "mem", 0),
        ("mme", "mem", 1),
        ("kitten", "sitting", 3),
        ("a", "xyzab", 4),
    ] {
        assert_eq!(edit_distance(a, b, 9), distance, "{a} {b}");
        assert_eq!(edit_distance(b, a, 9), distance, "{b} {a}");
    }
}

#[test]
fn help_names_every_option_and_fits_the_screen() {
    let help = help_text();
    for option in table::OPTIONS {
        assert_eq!(
            help.lines()
                .filter(|l| l.split(['=', '[']).next() == Some(option.name))
                .count(),
            1,
            "{}",
            option.name
        );
    }
    assert!(help.lines().all(|l| l.len() <= 80), "{help}");
    assert!(help.contains("noreboot[=yes|no]\n    After a crash,"));
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = table::OPTIONS.iter().map(|o| o.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table::OPTIONS.len());
}

#[test]
fn random_lines_never_panic() {
    const PIECES: [&str; 30] = [
        "dom0_mem",
        "=",
        ",",
        "min:",
        "-",
        "1",
        "99999999999999999999",
        "G",
        " ",
        "com1",
        "8n1",
        "0x",
        "fff",
        "no-",
        "cpuid",
        "avx2",
        "é",
        "\u{1F600}",
        "console",
        "loglvl",
        "/",
        "all",
        "mem",
        "dom0_max_vcpus",
        "T",
        "18014398509481984",
        "none",
        "auto",
        "\"",
        "maxcpus",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut clean = 0;
    for _ in 0..20_000 {
        let line: std::string::String = (0..random.next() % 12)
            .map(|_| PIECES[random.next() as usize % PIECES.len()])
            .collect();
        let (options, problems) = parse(&line);
        problems
            .iter()
            .for_each(|p| assert!(!p.to_string().contains('\n')));
        let (now, most) = options.dom0_mem.resolve(random.next() >> 20);
        assert!(now <= most);
        clean += u32::from(problems.is_empty());
    }
    assert!(clean > 100);
}
