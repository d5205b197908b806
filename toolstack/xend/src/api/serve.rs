//! Listeners: the Unix socket with the kernel's word on who calls, and TCP. What one client may hold is bounded: the time
//! and room for a request's head, and on TCP the number of connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::{Api, Peer};

/// How long a request's head may take to arrive, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that a request's head may have.
const HEAD_MAX: usize = 64 << 10;
/// Connections on TCP at a time; more wait in the kernel's queue.
const TCP_CONNECTIONS: usize = 128;
/// How long to wait when a connection cannot be taken: out of file descriptors, perhaps.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves a Unix socket until the process ends.
pub async fn serve_unix(listener: UnixListener, api: Api) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let who = stream.peer_cred().ok();
        let peer = Peer::Local(who.map(|who| (who.uid(), who.gid())));
        tokio::spawn(serve(stream, peer, api.clone()));
    }
}

/// Serves a TCP port until the process ends.
pub async fn serve_tcp(listener: TcpListener, api: Api) {
    let room = Arc::new(Semaphore::new(TCP_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let api = api.clone();
        tokio::spawn(async move {
            serve(stream, Peer::Remote, api).await;
            drop(place);
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, api: Api) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (api, peer) = (api.clone(), peer.clone());
        async move { Ok::<_, Infallible>(api.answer(peer, request.map(Body::new)).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    drop(served); // A client that goes away amid a request is the client's business.
}
