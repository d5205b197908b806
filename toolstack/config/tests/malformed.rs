//! Configurations with faults: each gives its own message, with its place and what to do.

mod common;

use common::read;
use rexen_config::create::Style;

/// The text, the word on the command line if any, and the place, the message and the hint that are wanted.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const OK: &str = "kernel = '/k'\nname = 'a'\n";

/// Texts follow [`OK`], so that their first line is line 3.
const CASES: &[Case] = &[
    (
        "memroy = 64",
        "",
        "f:3",
        "unknown variable 'memroy'",
        "did you mean 'memory'?",
    ),
    (
        "initrd = '/i'",
        "",
        "f:3",
        "unknown variable 'initrd'",
        "did you mean 'ramdisk'?",
    ),
    (
        "mem = 64",
        "",
        "f:3",
        "unknown variable 'mem'",
        "did you mean 'memory'?",
    ),
    (
        "autorestart = 1",
        "",
        "f:3",
        "unknown variable 'autorestart'",
        "did you mean 'restart'?",
    ),
    (
        "zzzzzz = 1",
        "",
        "f:3",
        "unknown variable 'zzzzzz'",
        "xmdomain.cfg(5)",
    ),
    (
        "\n\nbootloader = '/usr/bin/pygrub'",
        "",
        "f:5",
        "'bootloader' is not supported",
        "give kernel= and ramdisk=",
    ),
    (
        "vfb = ['type=vnc']",
        "",
        "f:3",
        "'vfb' is not supported",
        "there are no frame buffers",
    ),
    (
        "vnc = 1",
        "",
        "f:3",
        "'vnc' is not supported",
        "Rexen runs PV guests",
    ),
    (
        "boot = 'cda'",
        "",
        "f:3",
        "'boot' is not supported",
        "Rexen runs PV guests",
    ),
    (
        "type = 'hvm'",
        "",
        "f:3",
        "image type hvm is not supported",
        "-",
    ),
    ("builder = 'hvm'", "", "f:3", "Rexen runs PV guests", "-"),
    (
        "builder = 'plan9'",
        "",
        "f:3",
        "image type plan9 is not supported",
        "-",
    ),
    (
        "builder = 'linus'",
        "",
        "f:3",
        "invalid image type: \"linus\" (linux)",
        "-",
    ),
    (
        "memory = 'lots'",
        "",
        "f:3",
        "'memory' wants an integer, not \"lots\"",
        "without a unit",
    ),
    (
        "memory = 256M",
        "",
        "f:3",
        "\"256M\" is no number",
        "without a unit",
    ),
    (
        "memory = [64]",
        "",
        "f:3",
        "'memory' wants an integer, not a list",
        "digits",
    ),
    (
        "memory = 0",
        "",
        "f:3",
        "invalid memory: \"0\" (MiB, from 1 to 16777216)",
        "-",
    ),
    ("memory = -5", "", "f:3", "'memory' cannot be -5", "-"),
    (
        "memory = 64\nmaxmem = 32",
        "",
        "f:4",
        "invalid maxmem: \"32\" (MiB, from memory, which is 64",
        "-",
    ),
    (
        "vcpus = 0",
        "",
        "f:3",
        "invalid vcpus: \"0\" (from 1 to 512)",
        "-",
    ),
    (
        "vcpus = 4\nmaxvcpus = 2",
        "",
        "f:4",
        "invalid maxvcpus: \"2\" (from vcpus, which is 4",
        "-",
    ),
    ("cpus = '3-1'", "", "f:3", "invalid cpus: \"3-1\"", "-"),
    (
        "vcpus = 2\ncpus = ['0', '1', '2']",
        "",
        "f:4",
        "invalid cpus: \"3 sets\" (the domain has 2 vcpus)",
        "-",
    ),
    ("cpu = -2", "", "f:3", "invalid cpu: \"-2\"", "-"),
    (
        "cpu_weight = 'heavy'",
        "",
        "f:3",
        "'cpu_weight' wants a number, not \"heavy\"",
        "digits",
    ),
    (
        "cpu_weight = 0",
        "",
        "f:3",
        "invalid cpu_weight: \"0\" (above 0)",
        "-",
    ),
    (
        "cap = 50",
        "",
        "f:3",
        "'cap' is not supported",
        "cpu_weight=",
    ),
    ("name = '1a'", "", "f:3", "invalid vm name: \"1a\"", "-"),
    ("name = 'a b'", "", "f:3", "invalid vm name: \"a b\"", "-"),
    (
        "name = 5",
        "",
        "f:3",
        "'name' wants a text, not 5",
        "quotes",
    ),
    (
        "kernel = ''",
        "",
        "f:3",
        "No kernel specified",
        "set kernel=",
    ),
    (
        "nfs_root = '/export/a'",
        "",
        "f:3",
        "Must set nfs root and nfs server",
        "nfs_server=",
    ),
    (
        "root = '/dev/xvda'\ncmdline = 'quiet'",
        "",
        "f:3",
        "'root' and 'cmdline' are both set",
        "whole command line",
    ),
    (
        "extra = 'x' * 1100",
        "",
        "f:3",
        "invalid kernel command line",
        "-",
    ),
    (
        "restart = 'sometimes'",
        "",
        "f:3",
        "one of always, onreboot, never",
        "-",
    ),
    (
        "on_crash = 'explode'",
        "",
        "f:3",
        "invalid action: \"explode\" (one of destroy, restart",
        "-",
    ),
    ("uuid = '1234'", "", "f:3", "invalid uuid: \"1234\"", "-"),
    (
        "console = 70000",
        "",
        "f:3",
        "'console' cannot be 70000",
        "-",
    ),
    (
        "blkif = 'maybe'",
        "",
        "f:3",
        "'blkif' wants yes or no, not \"maybe\"",
        "write 1 or 0",
    ),
    (
        "disk = 'phy:a,sda,w'",
        "",
        "f:3",
        "'disk' wants a list of texts, not \"phy:a,sda,w\"",
        "[ and ]",
    ),
    (
        "disk = [5]",
        "",
        "f:3",
        "'disk' wants a list of texts, not 5",
        "[ and ]",
    ),
    (
        "disk = ['phy:a']",
        "",
        "f:3",
        "Invalid disk specifier: phy:a",
        "UNAME,DEV,MODE",
    ),
    (
        "disk = ['phy:a,sda,x']",
        "",
        "f:3",
        "Invalid disk specifier: phy:a,sda,x",
        "invalid disk mode: \"x\"",
    ),
    (
        "disk = ['phy:a,foo,w']",
        "",
        "f:3",
        "Invalid disk specifier: phy:a,foo,w",
        "vbd: Device not found",
    ),
    (
        "disk = ['phy:a,sda,w',\n 'phy:b,sda,w']",
        "",
        "f:3",
        "invalid disk: \"phy:b,sda\" (sda is phy:a already)",
        "-",
    ),
    (
        "disk = ['/a.qcow2,qcow2,xvda,w']",
        "",
        "f:3",
        "Invalid disk specifier",
        "discs are raw",
    ),
    (
        "disk = ['tap:qcow:/a,xvda,w']",
        "",
        "f:3",
        "Invalid disk specifier",
        "discs are raw",
    ),
    (
        "disk = ['vdve=xvda,target=/a']",
        "",
        "f:3",
        "Invalid disk specifier",
        "did you mean vdev=?",
    ),
    (
        "disk = ['format=raw,target=/a']",
        "",
        "f:3",
        "Invalid disk specifier",
        "missing vdev",
    ),
    (
        "disk = ['file:/a,ioemu:hda,w']",
        "",
        "f:3",
        "Invalid disk specifier",
        "Rexen runs PV guests",
    ),
    (
        "disk = ['images/a.img,raw,xvda,w']",
        "",
        "f:3",
        "Invalid disk specifier",
        "an absolute path",
    ),
    (
        "vif = ['mac=zz:00:00:00:00:00']",
        "",
        "f:3",
        "Invalid vif specifier",
        "invalid mac: \"zz:00:00:00:00:00\"",
    ),
    (
        "vif = ['brigde=br0']",
        "",
        "f:3",
        "Invalid vif specifier: brigde=br0",
        "did you mean bridge=?",
    ),
    (
        "vif = ['br0']",
        "",
        "f:3",
        "Invalid vif specifier: br0",
        "key=value",
    ),
    (
        "vif = ['bridge=']",
        "",
        "f:3",
        "Invalid vif specifier: bridge=",
        "a value is missing",
    ),
    (
        "vif = ['bridge=a-name-that-is-too-long']",
        "",
        "f:3",
        "Invalid vif specifier",
        "at most 15",
    ),
    (
        "vif = ['model=e1000']",
        "",
        "f:3",
        "Invalid vif specifier",
        "emulate no card",
    ),
    (
        "vif = ['ip=10.0.0.256']",
        "",
        "f:3",
        "Invalid vif specifier",
        "an address or a network",
    ),
    (
        "vif = ['rate=10']",
        "",
        "f:3",
        "Invalid vif specifier",
        "invalid rate: \"10\"",
    ),
    (
        "vif = ['mac=aa:00:00:00:00:01'] * 2",
        "",
        "f:3",
        "invalid mac: \"aa:00:00:00:00:01\" (two interfaces",
        "-",
    ),
    (
        "nics = 1000",
        "",
        "f:3",
        "'nics' is 1000, and at most 64",
        "-",
    ),
    (
        "pci = ['0,32,0']",
        "",
        "f:3",
        "Invalid pci specifier: 0,32,0",
        "device up to 1f",
    ),
    (
        "pci = ['00:1d']",
        "",
        "f:3",
        "Invalid pci specifier: 00:1d",
        "in hexadecimal",
    ),
    (
        "pci = ['1:2.3', '01,02,3']",
        "",
        "f:3",
        "invalid pci: \"0000:01:02.3\" (it is given twice)",
        "-",
    ),
    (
        "disk = [ 'phy:a,sda,w'\n 'phy:b,sdb,w' ]",
        "",
        "f:3",
        "Invalid disk specifier",
        "UNAME,DEV,MODE",
    ),
    (
        "memory = 64 128",
        "",
        "f:3",
        "the end of the line was expected, not 128",
        "-",
    ),
    (
        "disk = [ 'phy:a,sda,w',",
        "",
        "f:3",
        "'[' is never closed",
        "-",
    ),
    (
        "extra = 'a",
        "",
        "f:3",
        "this string is not closed on its line",
        "quotes",
    ),
    (
        "extra = naem",
        "",
        "f:3",
        "NameError: 'naem' is not set",
        "did you mean 'name'?",
    ),
    (
        "extra = open('/etc/shadow').read()",
        "",
        "f:3",
        "open is not offered",
        "no access to files",
    ),
    (
        "import subprocess",
        "",
        "f:3",
        "module subprocess is not offered",
        "cannot run programs",
    ),
    (
        "while 1: pass",
        "",
        "f:3",
        "takes more than 2000000 steps",
        "loop",
    ),
    (
        "",
        "memory=much",
        "memory=much",
        "'memory' wants an integer",
        "digits",
    ),
    (
        "",
        "vfb=x",
        "vfb=x",
        "'vfb' is not supported",
        "frame buffers",
    ),
    (
        "",
        "disk=phy:a",
        "disk=phy:a",
        "Invalid disk specifier",
        "UNAME",
    ),
    (
        "",
        "memroy=64",
        "memroy=64",
        "'memroy' is no variable, and f has no use for it",
        "did you mean 'memory'?",
    ),
    (
        "",
        "len=5",
        "f:1",
        "len= cannot be a variable of the script",
        "-",
    ),
];

#[test]
fn each_fault_has_its_message() {
    assert!(CASES.len() >= 50);
    for (text, word, place, message, hint) in CASES {
        let text = format!("{OK}{text}\n");
        let words: &[&str] = if word.is_empty() { &[] } else { &[word] };
        let error = match read("f", &text, words, Style::Xm) {
            Err(error) => error,
            Ok(spec) => panic!("accepted: {text}{}", spec.to_sxp()),
        };
        assert_eq!(error.place, *place, "{error}");
        assert!(
            error.message.contains(message),
            "{error}\nwanted: {message}"
        );
        match *hint {
            "-" => assert_eq!(error.hint, None, "{error}"),
            hint => assert!(
                error.hint.as_deref().unwrap_or("").contains(hint),
                "{error}\nwanted: {hint}"
            ),
        }
        assert!(
            error.to_string().starts_with(&format!("{place}: ")),
            "{error}"
        );
    }
}

#[test]
fn a_file_without_a_kernel_or_a_valid_name_is_named_as_a_whole() {
    let error = read("/etc/xen/a", "memory = 64\n", &[], Style::Xm).unwrap_err();
    assert_eq!(
        (error.place.as_str(), error.message.as_str()),
        ("/etc/xen/a", "No kernel specified")
    );
    let error = read("/etc/xen/1.cfg", "kernel = '/k'\n", &[], Style::Xm).unwrap_err();
    assert_eq!(error.place, "/etc/xen/1.cfg");
    assert!(error.hint.unwrap().contains("set name="));
}

#[test]
fn what_asks_for_nothing_is_not_refused() {
    let text = format!("{OK}vfb = []\nbootloader = ''\npae = 0\nvnc = False\nextra = None\n");
    read("f", &text, &[], Style::Xm).unwrap();
}
