//! Debug keys: one letter each, typed on the console or sent by domain 0.

use rexen_core::sync::Mutex;

use crate::println;

#[derive(Clone, Copy)]
struct Key {
    help: &'static str,
    run: fn(),
}

static KEYS: Mutex<[Option<Key>; 128]> = Mutex::new([None; 128]);

/// Registers what `key` does; replaces what it did.
pub fn register_key(key: u8, help: &'static str, run: fn()) {
    if let Some(slot) = KEYS.lock().get_mut(usize::from(key)) {
        *slot = Some(Key { help, run });
    }
}

/// Registers the keys of the machine itself.
pub fn init() {
    register_key(b'h', "show this message", help);
    register_key(b'R', "reboot machine", || crate::smp::shutdown::reboot());
}

/// Does what `key` stands for. Unknown keys do nothing.
pub fn handle(key: u8) {
    let found = KEYS.lock().get(usize::from(key)).copied().flatten();
    if let Some(key) = found {
        (key.run)();
    }
}

fn help() {
    println!("'h' pressed -> showing installed handlers");
    let keys = *KEYS.lock();
    for (n, key) in keys.iter().enumerate() {
        if let Some(key) = key {
            println!(
                " key '{}' (ascii '{n:02x}') => {}",
                char::from(n as u8),
                key.help
            );
        }
    }
}
