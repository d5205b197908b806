//! Server-sent events: bytes in, events out.

/// The longest event that is kept; the rest of a longer one is dropped.
const MAX_EVENT: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` when it has none.
    pub name: String,
    /// Its data, lines joined.
    pub data: String,
}

/// A stream of events, cut anywhere.
#[derive(Default)]
pub struct Stream {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
}

impl Stream {
    /// Takes more bytes; returns the events that are whole now.
    ///
    /// # Source
    /// HTML standard, 9.2.6, interpreting an event stream; without `id` and `retry`.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => events.extend(self.end_line()),
                _ if self.line.len() < MAX_EVENT => self.line.push(byte),
                _ => {}
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = self.data.take()?;
            let name = if name.is_empty() {
                "message".to_owned()
            } else {
                name
            };
            return Some(Event { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) if data.len() + value.len() < MAX_EVENT => {
                    data.push('\n');
                    data.push_str(value);
                }
                Some(_) => {}
            },
            _ => {} // comments, and fields that mean nothing here
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_have_names_and_data_and_comments_are_skipped() {
        let text =
            b": hello\n\nevent: a.b\r\ndata: {\"x\":1}\r\n\r\ndata:1\ndata: 2\n\nevent: none\n\n";
        let want = [event("a.b", "{\"x\":1}"), event("message", "1\n2")];
        assert_eq!(Stream::default().feed(text), want);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(bytes in "([a-c:\\r\\n ]|data: |event: ){0,60}", cut in 0..60usize) {
            let bytes = bytes.as_bytes();
            let whole = Stream::default().feed(bytes);
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut stream = Stream::default();
            let mut parts = stream.feed(a);
            parts.extend(stream.feed(b));
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Stream::default().feed(&bytes);
        }
    }
}
