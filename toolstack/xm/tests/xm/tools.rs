//! `xencons` and `miniterm`: xm under other names.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use rustix::termios::{LocalModes, tcgetattr};

use crate::fake::{Fake, Terminal, read_until};

#[test]
fn xencons_joins_a_port_and_the_terminal() {
    let fake = Fake::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut child = fake
        .command("xencons")
        .args(["127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut guest, _) = listener.accept().unwrap();
    guest.write_all(b"login: ").unwrap();
    read_until(child.stdout.as_mut().unwrap(), "login: ");
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"root\r\x1d")
        .unwrap();
    let mut typed = String::new();
    guest.read_to_string(&mut typed).unwrap();
    assert_eq!(typed, "root\r");
    assert!(child.wait().unwrap().success());
}

#[test]
fn xencons_says_how_it_is_used() {
    let fake = Fake::new();
    let usage = "xencons: usage: xencons HOST PORT; Ctrl-] leaves\n";
    assert_eq!(fake.err("xencons"), format!("Error: {usage}"));
    assert_eq!(fake.err("xencons a b c"), format!("Error: {usage}"));
    assert!(
        fake.err("xencons localhost x")
            .starts_with("Error: xencons: x is no port; usage:")
    );
}

#[test]
fn miniterm_joins_a_line_and_the_terminal() {
    let fake = Fake::new();
    let mut line = Terminal::new();
    let before = tcgetattr(&line.program).unwrap();
    assert!(before.local_modes.contains(LocalModes::ECHO));
    let mut child = fake
        .command("miniterm")
        .args(["-b9600".to_owned(), format!("-d{}", line.path.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The line is set before this is said.
    read_until(child.stderr.as_mut().unwrap(), "at 9600: Ctrl-B leaves");
    line.person.write_all(b"boot: ").unwrap();
    read_until(child.stdout.as_mut().unwrap(), "boot: ");
    let modes = tcgetattr(&line.program).unwrap();
    assert!(
        !modes
            .local_modes
            .intersects(LocalModes::ECHO | LocalModes::ICANON)
    );
    assert_eq!(modes.output_speed(), 9600);
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"linux\r\x02never")
        .unwrap();
    assert_eq!(read_until(&mut line.person, "\r"), "linux\r");
    assert!(child.wait().unwrap().success());
}

#[test]
fn miniterm_says_how_it_is_used() {
    let fake = Fake::new();
    let err = fake.err("miniterm -x");
    assert!(err.contains("default: -b115200 -d/dev/ttyS0"), "{err}");
    assert!(
        fake.err("miniterm -d/nonexistent")
            .starts_with("Error: /nonexistent: ")
    );
}
