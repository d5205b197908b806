//! A domain's console as a stream of bytes: its TCP port where that can be reached, else xend's API.
//!
//! The port is this host's own (xend listens on loopback); with `console-address none` there is none. Over the API,
//! output is one long answer, and what is typed goes in a request each.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::address::Address;
use super::{Client, domain_path, http};
use crate::error::{Error, Result};
use crate::model::Domain;

const OCTETS: &str = "application/octet-stream";
/// Bytes on their way to or from the API.
const BUFFER: usize = 64 << 10;
/// How long what was typed last may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An attached console.
pub struct Line {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// What sends them over the API.
    sending: Option<JoinHandle<()>>,
}

impl Line {
    /// Leaves the console once all that was typed has been sent.
    pub async fn finish(self) {
        drop(self.stream);
        if let Some(sending) = self.sending {
            // After that, nobody takes it.
            let _ = tokio::time::timeout(LAST_WORDS, sending).await;
        }
    }
}

impl Client {
    /// Attaches to a domain's console.
    ///
    /// # Errors
    /// It has none, or xend cannot be reached.
    pub fn console(&self, domain: &Domain) -> Result<Line> {
        if domain.is_dom0() {
            return Err(Error::Said(format!(
                "{} has no console of its own; its messages are on the host's",
                domain.name
            )));
        }
        if let (Address::Unix(_), Some(port)) = (&self.address, domain.console_port)
            && let Ok(socket) = self.block_on(TcpStream::connect(("127.0.0.1", port)))
        {
            return Ok(Line {
                stream: Box::new(socket),
                sending: None,
            });
        }
        self.console_over_api(domain)
    }

    fn console_over_api(&self, domain: &Domain) -> Result<Line> {
        let path = format!("{}/console", domain_path(&domain.id.to_string()));
        let ask = self.api(Method::GET, &format!("{path}?follow=1"), OCTETS);
        let mut output = self.block_on(self.open(ask))?;
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let (mut typed, mut screen) = tokio::io::split(theirs);
        self.runtime.spawn(async move {
            while let Some(Ok(frame)) = output.frame().await {
                let bytes = frame.data_ref().map_or(&[][..], |b| &b[..]);
                if screen.write_all(bytes).await.is_err() {
                    return;
                }
            }
            // The other end sees the end of the output.
            let _ = screen.shutdown().await;
        });
        let address = self.address.clone();
        let post = self.api(Method::POST, &path, super::JSON);
        let sending = self.runtime.spawn(async move {
            let mut buffer = vec![0; BUFFER];
            while let Ok(count @ 1..) = typed.read(&mut buffer).await {
                let mut ask = post.clone();
                ask.body = Some((OCTETS, buffer[..count].to_vec()));
                // Where it fails, the output ends, too.
                let _ = http::exchange(&address, ask).await;
            }
        });
        Ok(Line {
            stream: Box::new(ours),
            sending: Some(sending),
        })
    }
}
