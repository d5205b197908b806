//! What a connection is to receive: bytes that are on their way, and events that wait behind them.
//!
//! Both are bounded. Bytes, because no request is served while many wait. Events, because equal ones are merged, and
//! beyond a limit those of one watch become a single event for its own path ("watches may be triggered spuriously"):
//! a client that does not read can neither fill our memory nor make anybody else wait.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use crate::store::Fired;
use crate::wire::{HEADER_LEN, PAYLOAD_MAX, Packet};

/// Events kept apart per connection; beyond it they are merged by watch.
pub const MAX_EVENTS: usize = 1024;
/// Bytes of events kept apart per connection; beyond it they are merged by watch.
const MAX_EVENT_BYTES: usize = 128 * 1024;
/// Events are put into bytes only while fewer bytes than this wait.
const ENCODE_BELOW: usize = HEADER_LEN + PAYLOAD_MAX;

/// An event, without its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// What changed.
    pub path: String,
    /// The watch's own path.
    pub watched: String,
    /// The watch.
    pub token: Vec<u8>,
}

impl Event {
    /// Bytes it keeps in memory, about.
    fn size(&self) -> usize {
        size_of::<Event>() + self.path.len() + self.watched.len() + self.token.len()
    }
}

impl From<Fired> for Event {
    fn from(fired: Fired) -> Event {
        Event {
            path: fired.path().to_owned(),
            watched: fired.watched().to_owned(),
            token: fired.token().to_owned(),
        }
    }
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub struct Output {
    bytes: VecDeque<u8>,
    events: VecDeque<Rc<Event>>,
    /// The same events, to find equal ones.
    waiting: HashSet<Rc<Event>>,
    event_bytes: usize,
}

/// Bytes that were appended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many of the oldest events they hold.
    pub nr_events: u32,
}

impl Output {
    /// How many bytes wait.
    pub fn nr_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that all of it keeps in memory, about.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.event_bytes
    }

    /// Whether neither bytes nor events wait.
    pub fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.events.is_empty()
    }

    /// The events that wait, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|event| &**event)
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Queues an event, unless one that says the same waits already; returns whether it did.
    pub fn push_event(&mut self, mut event: Event) -> bool {
        if self.events.len() >= MAX_EVENTS || self.event_bytes >= MAX_EVENT_BYTES {
            event.path.clone_from(&event.watched);
        }
        if self.waiting.contains(&event) {
            return false;
        }
        let event = Rc::new(event);
        self.event_bytes += event.size();
        self.waiting.insert(Rc::clone(&event));
        self.events.push_back(event);
        true
    }

    fn pop_event(&mut self) -> Option<Rc<Event>> {
        let event = self.events.pop_front()?;
        self.event_bytes -= event.size();
        self.waiting.remove(&event);
        Some(event)
    }

    /// Forgets the oldest events; their bytes were appended.
    pub fn drop_events(&mut self, nr: u32) {
        for _ in 0..nr {
            if self.pop_event().is_none() {
                break;
            }
        }
    }

    /// Turns waiting events into bytes while there is room.
    pub fn encode_events(&mut self) -> Encoded {
        let mut encoded = Encoded::default();
        while self.bytes.len() + encoded.bytes.len() < ENCODE_BELOW {
            let Some(event) = self.pop_event() else {
                break;
            };
            encoded.nr_events += 1;
            // A path that does not fit with its token: the watch's own may; it was in a request with it.
            let packet = Packet::watch_event(&event.path, &event.token)
                .or_else(|| Packet::watch_event(&event.watched, &event.token));
            if let Some(packet) = packet {
                packet.encode_into(&mut encoded.bytes);
            }
        }
        self.bytes.extend(&encoded.bytes);
        encoded
    }

    /// The bytes that wait, as far as they lie together.
    pub fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// All bytes that wait.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    /// The first bytes went out.
    pub fn sent(&mut self, len: usize) {
        self.bytes.drain(..len.min(self.bytes.len()));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Output::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(path: &str) -> Event {
        Event {
            path: path.into(),
            watched: "/w".into(),
            token: b"t".to_vec(),
        }
    }

    #[test]
    fn equal_events_are_merged_until_they_are_sent() {
        let mut output = Output::default();
        assert!(output.push_event(event("/w/a")));
        assert!(!output.push_event(event("/w/a")));
        let encoded = output.encode_events();
        assert_eq!(encoded.nr_events, 1);
        assert_eq!(
            encoded.bytes,
            Packet::watch_event("/w/a", b"t").unwrap().encode()
        );
        assert!(
            output.push_event(event("/w/a")),
            "it fires anew once the first went out"
        );
    }

    #[test]
    fn a_flood_of_events_becomes_one_per_watch() {
        let mut output = Output::default();
        for n in 0..100_000 {
            output.push_event(event(&format!("/w/{n}")));
        }
        assert_eq!(output.events().count(), MAX_EVENTS + 1);
        assert_eq!(output.events().last().unwrap().path, "/w");
    }

    #[test]
    fn long_events_are_merged_earlier() {
        let mut output = Output::default();
        for n in 0..1000 {
            let token = vec![b't'; 4000];
            let watched = "/w".to_owned();
            output.push_event(Event {
                path: format!("/w/{n}"),
                watched,
                token,
            });
        }
        assert!(output.events().count() < 40);
        assert_eq!(output.events().last().unwrap().path, "/w");
        let size: usize = output.events().map(Event::size).sum();
        assert_eq!(output.event_bytes, size);
        output.drop_events(u32::MAX);
        assert_eq!(output.event_bytes, 0);
    }

    #[test]
    fn events_wait_while_bytes_are_on_their_way() {
        let mut output = Output::default();
        output.append(&[0; ENCODE_BELOW]);
        output.push_event(event("/w/a"));
        assert_eq!(output.encode_events(), Encoded::default());
        output.sent(1);
        assert_eq!(output.encode_events().nr_events, 1);
    }

    #[test]
    fn an_event_that_does_not_fit_falls_back_to_the_watched_path() {
        let mut output = Output::default();
        let token = vec![b't'; 3000];
        output.push_event(Event {
            path: format!("/w/{}", "x".repeat(2000)),
            watched: "/w".into(),
            token,
        });
        let mut decoder = crate::wire::Decoder::new();
        let packet = decoder
            .push(&output.encode_events().bytes)
            .unwrap()
            .1
            .unwrap();
        assert!(packet.payload.starts_with(b"/w\0t"));
    }
}
