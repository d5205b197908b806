//! Asks a C or C++ compiler what it makes of a set of headers.
//!
//! Where a compiler or Debian's headers are missing, asking fails: not having looked is not a pass.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A set of headers under a compiler.
pub struct Witness {
    /// For messages and file names.
    pub name: &'static str,
    compiler: &'static str,
    flags: &'static [&'static str],
    source: Source,
}

/// Whose headers.
enum Source {
    /// Those of `libxen-dev` that our modules stand for.
    Debian(&'static [&'static str]),
    /// All of `include/`.
    Ours,
}

/// Our reference: the headers of Debian's `libxen-dev`.
pub const DEBIAN: Witness = Witness {
    name: "debian",
    compiler: "gcc",
    flags: &["-std=gnu11"],
    source: Source::Debian(&[
        "xen.h",
        "arch-x86/cpuid.h",
        "callback.h",
        "domctl.h",
        "elfnote.h",
        "errno.h",
        "event_channel.h",
        "features.h",
        "grant_table.h",
        "io/console.h",
        "io/xenbus.h",
        "io/xs_wire.h",
        "memory.h",
        "nmi.h",
        "physdev.h",
        "platform.h",
        "sched.h",
        "sysctl.h",
        "vcpu.h",
        "version.h",
    ]),
};

/// Everybody who must agree with this crate.
pub const WITNESSES: &[Witness] = &[
    DEBIAN,
    Witness {
        name: "ours-c",
        compiler: "gcc",
        flags: &["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"],
        source: Source::Ours,
    },
    Witness {
        name: "ours-cxx",
        compiler: "g++",
        flags: &["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"],
        source: Source::Ours,
    },
];

/// The folder for `-I`.
pub fn include_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Our headers by the name that `#include` takes, such as `xen/io/console.h`, in order.
pub fn our_headers() -> Vec<String> {
    let root = include_folder();
    let mut folders = vec![root.join("xen")];
    let mut headers = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "h") {
                let name = path.strip_prefix(&root).unwrap();
                headers.push(name.to_str().unwrap().to_string());
            }
        }
    }
    headers.sort();
    headers
}

/// Runs a compiler.
///
/// # Panics
/// If it is missing or not content; what it said is the message.
pub fn compile(command: &mut Command) {
    let ran = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}: install the packages of ci/packages.txt"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}:\n{said}");
}

impl Witness {
    /// Compiles and runs a program that prints the number that each expression is; returns the numbers, sign-extended.
    ///
    /// # Panics
    /// If compiler or headers are missing, or the program does not compile.
    pub fn ask(&self, what: &str, expressions: &[String]) -> Vec<u64> {
        // The toolstack's view of Debian's newest interface: the one that has every structure.
        let mut source = String::from("#define __XEN_TOOLS__ 1\n");
        let headers: Vec<String> = match self.source {
            Source::Debian(names) => {
                assert!(
                    Path::new("/usr/include/xen/xen.h").exists(),
                    "the Xen headers are missing: install the Debian package libxen-dev"
                );
                names.iter().map(|name| format!("xen/{name}")).collect()
            }
            Source::Ours => our_headers(),
        };
        for header in ["stddef.h", "stdint.h", "stdio.h"] {
            writeln!(source, "#include <{header}>").unwrap();
        }
        for header in &headers {
            writeln!(source, "#include <{header}>").unwrap();
        }
        source.push_str("#define MEMBER_SIZE(type, member) sizeof(((type *)0)->member)\n");
        source.push_str("int main(void)\n{\n");
        for expression in expressions {
            writeln!(
                source,
                "    printf(\"%lld\\n\", (long long)({expression}));"
            )
            .unwrap();
        }
        source.push_str("    return 0;\n}\n");

        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let program = folder.join(format!("{what}-{}", self.name));
        let file = program.with_extension(if self.compiler == "g++" { "cc" } else { "c" });
        std::fs::write(&file, source).unwrap();
        let mut command = Command::new(self.compiler);
        if matches!(self.source, Source::Ours) {
            command.arg("-I").arg(include_folder());
        }
        compile(
            command
                .args(self.flags)
                .args(["-m64", "-o"])
                .args([&program, &file]),
        );
        let ran = Command::new(&program).output().unwrap();
        assert!(ran.status.success(), "{} failed", program.display());
        let answers: Vec<u64> = String::from_utf8(ran.stdout)
            .unwrap()
            .lines()
            .map(|line| line.parse::<i64>().unwrap() as u64)
            .collect();
        assert_eq!(answers.len(), expressions.len());
        answers
    }
}
