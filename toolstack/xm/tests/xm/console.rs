//! `console`: what goes in and comes out, how it is left, and what happens to the terminal.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;

use crate::fake::{Fake, Terminal, domains, ok, read_until, refuse};

/// A domain whose console is the returned listener; it is there while the flag is set.
fn with_console() -> (Fake, TcpListener, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let there = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&there);
    let fake = Fake::with(move |_, path, _| {
        let mut web: Value = domains()[1].clone();
        web["console_port"] = port.into();
        match path {
            "/api/v1/domains/web" if flag.load(Ordering::SeqCst) => ok(web),
            "/api/v1/domains/0" => ok(domains()[0].clone()),
            _ => refuse(404, "invalid domain:web"),
        }
    });
    (fake, listener, there)
}

fn read(stream: &mut TcpStream, count: usize) -> String {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn bytes_go_both_ways_until_the_escape() {
    let (fake, listener, _) = with_console();
    let mut child = fake
        .command("xm")
        .args(["console", "web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut guest, _) = listener.accept().unwrap();
    guest.write_all(b"login: \x00\xff").unwrap();
    let mut seen = [0; 9];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut seen)
        .unwrap();
    assert_eq!(&seen, b"login: \x00\xff", "raw bytes");
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(b"root\r").unwrap();
    assert_eq!(read(&mut guest, 5), "root\r");
    stdin.write_all(b"bye\x1dnever sent").unwrap();
    assert_eq!(read_to_end(&mut guest), "bye");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        err.starts_with("******** console of web: Ctrl-] leaves ********\n"),
        "{err}"
    );
    assert!(err.ends_with("\n******** console left ********\n"), "{err}");
}

#[test]
fn a_watcher_sends_nothing() {
    let (fake, listener, _) = with_console();
    let mut child = fake
        .command("xm")
        .args(["console", "--watch", "web"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut guest, _) = listener.accept().unwrap();
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"rm -rf /\r\x1d")
        .unwrap();
    assert_eq!(read_to_end(&mut guest), "");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_broken_connection_is_made_again_while_the_domain_lives() {
    let (fake, listener, there) = with_console();
    let child = fake
        .command("xm")
        .args(["console", "web"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut guest, _) = listener.accept().unwrap();
    guest.write_all(b"one ").unwrap();
    drop(guest);
    let (mut guest, _) = listener.accept().unwrap();
    guest.write_all(b"two").unwrap();
    there.store(false, Ordering::SeqCst);
    drop(guest);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"one two");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("******** attached again ********"), "{err}");
    assert!(
        err.ends_with("\n******** the domain has ended ********\n"),
        "{err}"
    );
}

#[test]
fn the_terminal_is_raw_while_attached_and_as_before_afterwards() {
    let (fake, listener, _) = with_console();
    let mut terminal = Terminal::new();
    let before = tcgetattr(&terminal.program).unwrap();
    assert!(
        before
            .local_modes
            .contains(LocalModes::ECHO | LocalModes::ICANON)
    );
    let mut child = fake
        .command("xm")
        .args(["console", "web"])
        .stdin(terminal.program.try_clone().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut guest, _) = listener.accept().unwrap();
    // A byte has come out: the session runs, so the terminal is raw.
    guest.write_all(b"$").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let raw = tcgetattr(&terminal.program).unwrap();
    let cooked = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    assert!(!raw.local_modes.intersects(cooked));
    terminal.person.write_all(b"\x03").unwrap();
    assert_eq!(read(&mut guest, 1), "\x03", "Ctrl-C is the guest's");
    terminal.person.write_all(b"\x1d").unwrap();
    assert!(child.wait().unwrap().success());
    let after = tcgetattr(&terminal.program).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!(after.input_modes, before.input_modes);
    assert_eq!(after.output_modes, before.output_modes);
}

#[test]
fn a_signal_puts_the_terminal_right_too() {
    let (fake, listener, _) = with_console();
    let mut child = fake
        .command("xm")
        .args(["console", "web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut guest, _) = listener.accept().unwrap();
    guest.write_all(b"$").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.ends_with("\n******** console left ********\n"), "{err}");
}

/// A domain without a port: `console-address none`. It is gone when its console has ended.
fn without_port() -> Fake {
    let typed = AtomicBool::new(false);
    Fake::with(move |method, path, _| {
        let mut web: Value = domains()[1].clone();
        web["console_port"] = Value::Null;
        match (method, path) {
            ("GET", "/api/v1/domains/web") if typed.load(Ordering::SeqCst) => refuse(404, "gone"),
            ("GET", "/api/v1/domains/web") => ok(web),
            ("GET", "/api/v1/domains/2/console?follow=1") => {
                (200, "application/octet-stream", "login: ".to_owned())
            }
            ("POST", "/api/v1/domains/2/console") => {
                typed.store(true, Ordering::SeqCst);
                ok(Value::Null)
            }
            _ => refuse(404, "no such resource"),
        }
    })
}

#[test]
fn without_a_port_the_console_goes_through_the_api() {
    let fake = without_port();
    let mut child = fake
        .command("xm")
        .args(["console", "web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(child.stdout.as_mut().unwrap(), "login: ");
    child.stdin.as_mut().unwrap().write_all(b"root\r").unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        err.ends_with("\n******** the domain has ended ********\n"),
        "{err}"
    );
    let asked = fake.asked();
    assert!(
        asked.contains(&"POST /api/v1/domains/2/console root".to_owned()),
        "{asked:?}"
    );
}

#[test]
fn what_was_typed_last_arrives_before_the_console_is_left() {
    let fake = without_port();
    let mut child = fake
        .command("xm")
        .args(["console", "web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(child.stdout.as_mut().unwrap(), "login: ");
    child.stdin.as_mut().unwrap().write_all(b"bye\x1d").unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.ends_with("\n******** console left ********\n"), "{err}");
    let asked = fake.asked();
    assert!(
        asked.contains(&"POST /api/v1/domains/2/console bye".to_owned()),
        "{asked:?}"
    );
}

#[test]
fn domain_0_has_no_console() {
    let (fake, _listener, _) = with_console();
    let err = fake.err("xm console 0");
    assert!(
        err.starts_with("Error: Domain-0 has no console of its own"),
        "{err}"
    );
}
