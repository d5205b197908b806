//! Listeners: the Unix socket with the kernel's word on who calls, and TCP.

use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, UnixListener};

use super::{Api, Peer};

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self::Local(credentials.map(|who| (who.uid(), who.gid())))
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(_: IncomingStream<'_, TcpListener>) -> Self {
        Self::Remote
    }
}

fn router(api: Api) -> Router {
    let answer = |State(api): State<Api>,
                  ConnectInfo(peer): ConnectInfo<Peer>,
                  request: Request| async move { api.answer(peer, request).await };
    Router::new().fallback(answer).with_state(api)
}

/// Serves a Unix socket until the process ends.
///
/// # Errors
/// The listener fails.
pub async fn serve_unix(listener: UnixListener, api: Api) -> std::io::Result<()> {
    axum::serve(
        listener,
        router(api).into_make_service_with_connect_info::<Peer>(),
    )
    .await
}

/// Serves a TCP port until the process ends.
///
/// # Errors
/// The listener fails.
pub async fn serve_tcp(listener: TcpListener, api: Api) -> std::io::Result<()> {
    axum::serve(
        listener,
        router(api).into_make_service_with_connect_info::<Peer>(),
    )
    .await
}
