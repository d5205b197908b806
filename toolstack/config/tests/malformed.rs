//! Configurations with faults: each gives its own message, with its place and what to do.

mod common;

use common::faults::{CASES, OK};
use common::read;
use rexen_config::create::Style;

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
