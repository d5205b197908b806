//! Answers without an end: events as they happen, and consoles.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use tokio::sync::{broadcast, mpsc};

use crate::console::{Console, missed_notice};
use crate::events::Event;

/// How often a silent stream says that it is alive, so that a client that went away is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Pieces that wait for a slow client.
const WAITING: usize = 16;

struct Pieces(mpsc::Receiver<Bytes>);

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

fn stream(kind: &'static str) -> (mpsc::Sender<Bytes>, Response<Body>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut response = Response::new(Body::from_stream(Pieces(receiver)));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (sender, response)
}

/// Server-Sent Events that match one of the patterns. A client that lags far behind is told how many it missed.
pub fn events(mut receiver: broadcast::Receiver<Event>, patterns: Vec<String>) -> Response<Body> {
    let (sender, response) = stream("text/event-stream");
    tokio::spawn(async move {
        let _ = sender.send(Bytes::from_static(b": xend\n\n")).await; // So that the client knows it is subscribed.
        loop {
            let text = match tokio::time::timeout(KEEP_ALIVE, receiver.recv()).await {
                Err(_) => ": alive\n\n".to_owned(),
                Ok(Ok(event)) if patterns.iter().any(|pattern| event.matches(pattern)) => {
                    format!("event: {}\ndata: {}\n\n", event.name, event.value)
                }
                Ok(Ok(_)) => continue,
                Ok(Err(broadcast::error::RecvError::Lagged(count))) => {
                    format!("event: xend.missed\ndata: {count}\n\n")
                }
                Ok(Err(broadcast::error::RecvError::Closed)) => return,
            };
            if sender.send(text.into()).await.is_err() {
                return;
            }
        }
    });
    response
}

/// A console's output: what is in memory, and with `follow` all that comes.
pub fn console(console: Arc<Console>, follow: bool) -> Response<Body> {
    let (sender, response) = stream("application/octet-stream");
    tokio::spawn(async move {
        let mut changed = console.subscribe();
        let mut position = 0;
        loop {
            let chunk = console.since(position);
            position = chunk.next;
            let mut bytes = if chunk.missed > 0 {
                missed_notice(chunk.missed).into_bytes()
            } else {
                Vec::new()
            };
            bytes.extend(chunk.bytes);
            let idle = bytes.is_empty();
            if !idle && sender.send(bytes.into()).await.is_err() {
                return;
            }
            if !follow || console.is_closed() {
                return;
            }
            if idle {
                tokio::select! {
                    _ = changed.changed() => {}
                    () = sender.closed() => return,
                }
            }
        }
    });
    response
}
