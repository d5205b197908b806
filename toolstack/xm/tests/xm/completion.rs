//! The bash script, in bash: what is offered after what was typed.

use crate::fake::Fake;

/// What bash offers for the last of these words.
fn offered(fake: &Fake, words: &str) -> Vec<String> {
    let script = fake.file("completion.bash", &fake.out("xm completion bash"));
    let count = words.split(' ').count() - 1;
    let ask = format!(
        "PATH=.:$PATH; . {script}; COMP_WORDS=({}); COMP_CWORD={count}; _xm; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.replace(" _", " ''")
    );
    let output = fake
        .shell("bash")
        .args(["--norc", "-c", &ask])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.is_empty(), "{words}: {err}");
    let out = String::from_utf8(output.stdout).unwrap();
    out.lines()
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_offers_commands_options_and_domains() {
    let fake = Fake::new();
    assert_eq!(offered(&fake, "xm dom"), ["domid", "domname"]);
    assert_eq!(offered(&fake, "xm mem-s"), ["mem-set"]);
    assert_eq!(offered(&fake, "xm --json lis"), ["list"]);
    assert_eq!(offered(&fake, "xm shutdown --r"), ["--reboot"]);
    assert_eq!(offered(&fake, "xm destroy _"), ["Domain-0", "web", "db"]);
    assert_eq!(offered(&fake, "xm console w"), ["web"]);
    assert_eq!(offered(&fake, "xm completion z"), ["zsh"]);
    assert_eq!(offered(&fake, "xm help unp"), ["unpause"]);
    assert!(offered(&fake, "xm info _").is_empty());
}

#[test]
fn without_xend_there_are_no_domains_and_no_complaints() {
    let fake = Fake::new();
    let output = fake
        .command("xm")
        .env("XEND", "/nonexistent")
        .args(["complete-words", "domains"])
        .output();
    let output = output.unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn keys_of_configurations_are_offered_after_create() {
    let fake = Fake::new();
    assert!(
        fake.out("xm complete-words keys")
            .lines()
            .any(|l| l == "memory")
    );
    assert_eq!(offered(&fake, "xm create memor"), ["memory="]);
}
