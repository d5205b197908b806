//! `miniterm`: a serial line on the terminal, to see another machine boot. 8N1, raw, no flow control.

use std::io::{Write, stdin, stdout};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::{Error, Result};
use crate::terminal::Raw;

/// Ctrl-B.
const ESCAPE: u8 = 0x02;
const BAUD: u32 = 115_200;
const DEVICE: &str = "/dev/ttyS0";
/// POSIX's rates, and the two above them that every line has.
const RATES: [u32; 17] = [
    50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19_200, 38_400, 57_600,
    115_200,
];

/// What to connect to.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    device: String,
    baud: u32,
}

/// Copies both ways until Ctrl-B or the end of the line.
pub fn run(args: &[String]) -> Result<()> {
    let Line { device, baud } = line(args)?;
    let failed = |e: Errno| Error::Io(device.clone(), e.into());
    let serial = open_line(&device, baud).map_err(failed)?;
    let raw = Raw::enter()?;
    let newline = if raw.is_terminal() { "\r\n" } else { "\n" };
    eprint!("******** {device} at {baud}: Ctrl-B leaves ********{newline}");
    let copied = copy(&serial).map_err(failed);
    drop(raw);
    eprintln!();
    copied
}

/// `-bBAUD` and `-dDEVICE`, without a blank after the letter.
fn line(args: &[String]) -> Result<Line> {
    let mut line = Line {
        device: DEVICE.to_owned(),
        baud: BAUD,
    };
    for arg in args {
        let baud = arg.strip_prefix("-b").and_then(|b| b.parse().ok());
        if let Some(baud) = baud.filter(|b| RATES.contains(b)) {
            line.baud = baud;
        } else if let Some(device) = arg.strip_prefix("-d").filter(|d| !d.is_empty()) {
            line.device = device.to_owned();
        } else {
            let rates = RATES.map(|r| r.to_string()).join(" ");
            return Err(Error::Usage(format!(
                "miniterm: {arg} is not understood; usage: miniterm [-bBAUD] [-dDEVICE]\n\
                 default: -b{BAUD} -d{DEVICE}\nrates: {rates}"
            )));
        }
    }
    Ok(line)
}

fn open_line(device: &str, baud: u32) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
    let serial = open(device, flags, Mode::empty())?;
    let mut modes = tcgetattr(&serial)?;
    modes.make_raw();
    modes.set_speed(baud)?;
    modes.control_modes |= ControlModes::CREAD | ControlModes::CLOCAL;
    modes.control_modes -= ControlModes::CRTSCTS | ControlModes::CSTOPB;
    tcsetattr(&serial, OptionalActions::Now, &modes)?;
    Ok(serial)
}

fn copy(serial: &OwnedFd) -> std::result::Result<(), Errno> {
    let mut typing = true;
    let mut buffer = [0; 4096];
    loop {
        let stdin = stdin();
        let mut ends = [
            PollFd::new(serial, PollFlags::IN),
            PollFd::new(&stdin, PollFlags::IN),
        ];
        let count = if typing { 2 } else { 1 };
        match poll(&mut ends[..count], None) {
            Err(Errno::INTR) => continue,
            waited => waited?,
        };
        let [line, keys] = ends.map(|end| end.revents());
        if !line.is_empty() {
            match read(serial, &mut buffer) {
                Ok(0) | Err(Errno::IO) => return Ok(()), // the line is gone
                Ok(count) => {
                    let mut out = stdout().lock();
                    let shown = out.write_all(&buffer[..count]).and_then(|()| out.flush());
                    shown.map_err(|_| Errno::PIPE)?;
                }
                Err(Errno::AGAIN) => {}
                Err(e) => return Err(e),
            }
        }
        if typing && !keys.is_empty() {
            let count = read(&stdin, &mut buffer)?;
            typing = count > 0;
            let typed = &buffer[..count];
            let leave = typed.iter().position(|&b| b == ESCAPE);
            send(serial, &typed[..leave.unwrap_or(count)])?;
            if leave.is_some() {
                return Ok(());
            }
        }
    }
}

/// Writes everything, waiting while the line is busy.
fn send(serial: &OwnedFd, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match write(serial, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::AGAIN | Errno::INTR) => {
                poll(&mut [PollFd::new(serial, PollFlags::OUT)], None).or_else(|e| match e {
                    Errno::INTR => Ok(0),
                    e => Err(e),
                })?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(args: &[&str]) -> Result<Line> {
        line(&args.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_have_their_value_at_once() {
        let of = |device: &str, baud| Line {
            device: device.to_owned(),
            baud,
        };
        assert_eq!(read_line(&[]).unwrap(), of("/dev/ttyS0", 115_200));
        let both = read_line(&["-b9600", "-d/dev/ttyS1"]).unwrap();
        assert_eq!(both, of("/dev/ttyS1", 9600));
        for bad in ["-b", "-b12345", "-d", "-x", "ttyS0", "-b 9600"] {
            let text = read_line(&[bad]).unwrap_err().to_string();
            assert!(text.contains("default: -b115200 -d/dev/ttyS0"), "{text}");
        }
    }
}
