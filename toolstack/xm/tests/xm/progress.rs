//! What a person sees while a command waits.

use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc};

use crate::fake::{Fake, Terminal, domains, read_until};

#[test]
fn whoever_waits_at_a_terminal_is_told_for_what() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Arc::new(Mutex::new(gone));
    let fake = Fake::with(move |_, path, _| {
        if path == "/api/v1/domains" {
            // The domain is made when the person has read the line.
            gone.lock().unwrap().recv().unwrap();
        }
        (201, "application/json", domains()[1].to_string())
    });
    let file = fake.file("web.sxp", "(vm (name web))");
    let mut terminal = Terminal::new();
    let child = fake
        .command("xm")
        .args(["create", "-F", &file])
        .stdout(Stdio::piped())
        .stderr(terminal.program.try_clone().unwrap())
        .spawn()
        .unwrap();
    read_until(&mut terminal.person, "\rcreating the domain (");
    go.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"Started domain web, console on port 9602\n");
    read_until(&mut terminal.person, "\r\x1b[K");
}
