//! HTTP on a listener: bounded in connections, in bytes and in time.
//!
//! One request per connection. So everything that a client can take is bounded by one connection: it
//! ends after [`CONNECTION_MAX`] whatever it does, its head has at most 8 KiB, and there are at most
//! [`CONNECTIONS_MAX`]. It runs on the runtime that awaits it and starts no thread.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};
use yumen_core::watch::Watch;
use yumen_net::{
    acceptor::{self, Arrival, Counts},
    limit::Limiter,
};

/// Most connections at once; more are closed at once.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Most connections of one address, where not all come from this machine.
const PER_ADDRESS_MAX: usize = 16;
/// Most bytes of a request's head.
const HEAD_MAX: usize = 8 * 1024;
/// Longest wait for a request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Longest wait at the end for answers that are under way.
const END_MAX: Duration = Duration::from_secs(1);
/// Connections taken over at once.
const BATCH_MAX: usize = 16;

/// Serves `router` until `stop` becomes true, then finishes what is under way.
///
/// # Errors
/// The listener cannot be used on this runtime.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    counts: Arc<Counts>,
    stop: &mut Watch<bool>,
) -> io::Result<()> {
    let loopback = listener.local_addr()?.ip().is_loopback();
    let limiter = Limiter::new(CONNECTIONS_MAX, if loopback { 0 } else { PER_ADDRESS_MAX });
    let (entrance, mut door) = acceptor::door();
    let mut accepting = Box::pin(acceptor::accept(listener, 0, limiter, vec![entrance], counts));
    let mut connections = JoinSet::new();
    let mut arrivals = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = told(stop) => break,
            failed = &mut accepting => return failed,
            _open = door.next(&mut arrivals, BATCH_MAX) => {
                for arrival in arrivals.drain(..) {
                    connections.spawn(talk(arrival, router.clone()));
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
    // Who comes now is refused at once, and does not wait for an answer that nobody gives.
    drop((accepting, door));
    let rest = async { while connections.join_next().await.is_some() {} };
    // Who is slower than this is cut off.
    let _in_time = timeout(END_MAX, rest).await;
    Ok(())
}

/// Resolves once `stop` is true, or nobody can make it true any more.
async fn told(stop: &mut Watch<bool>) {
    while !stop.current() && stop.changed().await {}
}

/// One connection: one request and its answer.
async fn talk(arrival: Arrival, router: Router) {
    let Ok((stream, _permit)) = arrival.stream() else { return };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .keep_alive(false)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that breaks the rules or is too slow harms itself: there is nobody to tell.
    let _how_it_ended = timeout(CONNECTION_MAX, connection).await;
}
