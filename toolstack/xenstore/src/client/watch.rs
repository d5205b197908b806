//! A registered watch: the receiving end of its events.

use std::sync::mpsc::Receiver;
use std::time::Duration;

/// A change below a watched path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What changed: the watched path or something below it.
    pub path: String,
}

/// A watch; dropping it removes it. As an iterator it blocks for the next event and ends with the store.
pub struct Watch {
    events: Receiver<Event>,
    remove: Option<Box<dyn FnOnce() + Send>>,
}

impl Watch {
    /// A watch that reads from `events` and is removed by `remove`.
    pub fn new(events: Receiver<Event>, remove: impl FnOnce() + Send + 'static) -> Watch {
        Watch {
            events,
            remove: Some(Box::new(remove)),
        }
    }

    /// The next event, waiting at most this long; `None`: none came in time.
    pub fn next_within(&self, limit: Duration) -> Option<Event> {
        self.events.recv_timeout(limit).ok()
    }

    /// The next event if it is there already.
    pub fn next_now(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

impl Iterator for Watch {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.events.recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(remove) = self.remove.take() {
            remove();
        }
    }
}
