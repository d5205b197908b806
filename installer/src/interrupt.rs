//! Ctrl-C while a long command works: the command is ended first, in good order, and then we are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Error, Exit};

/// While it lives, Ctrl-C (and SIGTERM, SIGHUP) only sets a flag; before and after, they end the program as usual.
pub struct Catch(());

struct State {
    caught: Arc<AtomicBool>,
    as_usual: Arc<AtomicBool>,
    catchers: AtomicUsize,
}

/// Registered once, for good: a handler that is taken away again would leave the signal without any effect.
fn state() -> Option<&'static State> {
    static STATE: OnceLock<Option<State>> = OnceLock::new();
    STATE.get_or_init(|| register().ok()).as_ref()
}

fn register() -> std::io::Result<State> {
    let state = State {
        caught: Arc::new(AtomicBool::new(false)),
        as_usual: Arc::new(AtomicBool::new(true)),
        catchers: AtomicUsize::new(0),
    };
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, state.as_usual.clone())?;
        signal_hook::flag::register(signal, state.caught.clone())?;
    }
    Ok(state)
}

impl Catch {
    /// Starts to catch. (Where the system does not let us, Ctrl-C works as usual.)
    pub fn start() -> Self {
        if let Some(state) = state() {
            state.catchers.fetch_add(1, Ordering::SeqCst);
            state.as_usual.store(false, Ordering::SeqCst);
        }
        Self(())
    }

    /// Whether somebody wants us to stop.
    pub fn caught(&self) -> bool {
        state().is_some_and(|s| s.caught.load(Ordering::SeqCst))
    }
}

impl Drop for Catch {
    fn drop(&mut self) {
        if let Some(state) = state()
            && state.catchers.fetch_sub(1, Ordering::SeqCst) == 1
        {
            state.as_usual.store(true, Ordering::SeqCst);
        }
    }
}

/// The error of a step that somebody stopped.
pub fn interrupted(what: &str) -> Error {
    Error::new(format!("{what}: interrupted"))
        .remedy("the same command again goes on where this one stopped")
        .exit(Exit::Interrupted)
}
