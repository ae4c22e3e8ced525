//! Clients whose packets make no sense here: which layout they seem to use, and who is told.
//!
//! Only looked at when a message goes nowhere, only for connections of which none has ever gone
//! anywhere, and only for their first few: what it costs is bounded, whatever they send. It never
//! changes how a packet is read.

use super::{hall::Hall, sessions::Session, stats::bump};
use std::{
    cmp::Ordering,
    net::SocketAddr,
    time::{Duration, Instant},
};
use yumen_core::status::Code;
use yumen_proto::{
    extension::StatusReply,
    id::{ConnId, RouteId},
    packet::{Data, Guess, Keys, Layout},
};

/// Messages of a connection that are puzzled over.
const PUZZLES_MAX: u8 = 4;
/// At least this long between two lines of the log about the same thing.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// When something was last said, so that it is not said again at once.
#[derive(Debug, Default)]
pub(super) struct Said {
    layout: Option<Instant>,
    empty: bool,
}

impl Said {
    /// Should all nodes go again, that is news again.
    pub(super) fn found_nodes(&mut self) {
        self.empty = false;
    }

    /// Whether nothing was said for long about what clients seem to speak; it is being said now.
    fn layout_is_news(&mut self, now: Instant) -> bool {
        let recently = |at: Instant| now.saturating_duration_since(at) < LOG_EVERY;
        let is_news = !self.layout.is_some_and(recently);
        if is_news {
            self.layout = Some(now);
        }
        is_news
    }
}

impl Hall {
    /// A packet was not understood, or is for no route that is served. What it seems to be in
    /// another layout, if its connection has never made sense.
    fn puzzle(&self, conn: ConnId, bytes: &[u8]) -> Option<Guess> {
        let fresh = |session: &mut Session| {
            let fresh = !session.routed && session.puzzles < PUZZLES_MAX;
            session.puzzles = session.puzzles.saturating_add(u8::from(fresh));
            fresh.then_some((session.peer, session.listener))
        };
        let (peer, listener) = self.driver.with(conn, |_, _, session| fresh(session)).flatten()?;
        let listen = self.plan.listens.get(usize::from(listener))?;
        let layout = &listen.settings.layout;
        let table = self.table.borrow();
        let guess = layout.guess(bytes, |route| table.route(route).is_some())?;
        drop(table);
        bump(&self.stats.wrong_layout);
        let now = self.driver.now().mono;
        if self.said.borrow_mut().layout_is_news(now) {
            let (configured, at) = (Keys(layout), &listen.addr);
            match guess {
                Guess::Layout { .. } => tracing::warn!(
                    %peer,
                    listener = %at,
                    "a client seems to use {guess}, but this gate is configured with {configured}: \
                     give both the same `packet` settings"
                ),
                Guess::Proxied => warn_of_proxy(peer, at),
                Guess::Http | Guess::Tls | _ => tracing::warn!(
                    %peer,
                    listener = %at,
                    "a client speaks {guess} to a listener that expects plain packets: \
                     let it connect to a listener of that kind"
                ),
            }
        }
        Some(guess)
    }

    /// A packet was too short for its header.
    pub(super) fn explain_short(&self, conn: ConnId, bytes: &[u8]) {
        if let Some(guess) = self.puzzle(conn, bytes) {
            self.tell_in(conn, guess);
        }
    }

    /// A message is for no route that is served: its sender is told, and also in the layout that it
    /// seems to use.
    ///
    /// Both statuses begin with the bytes of the request's own head, so the shorter head goes first:
    /// to whoever uses the longer one it answers nothing, and the second comes too late for whoever
    /// uses the shorter. So a wrong guess does no harm.
    pub(super) fn tell_unroutable(&self, conn: ConnId, data: &Data<'_>, text: &str) {
        let guess = self.puzzle(conn, data.raw);
        let mut lengths = Ordering::Less;
        let mut told = text.to_owned();
        if let Some(Guess::Layout { layout, .. }) = guess {
            let configured = self.driver.with(conn, |machine, _, _| machine.settings().layout);
            let configured = configured.unwrap_or(layout);
            lengths = configured.head_len().cmp(&layout.head_len());
            if lengths == Ordering::Equal {
                told = explanation(&configured, &layout);
            }
        }
        if lengths == Ordering::Greater {
            guess.into_iter().for_each(|guess| self.tell_in(conn, guess));
        }
        self.tell(conn, (data.route, data.seq), &unroutable(&told));
        if lengths == Ordering::Less {
            guess.into_iter().for_each(|guess| self.tell_in(conn, guess));
        }
    }

    /// Tells a client in its own layout that it seems to use another one.
    fn tell_in(&self, conn: ConnId, guess: Guess) {
        let Guess::Layout { layout, route: Some(route), seq } = guess else { return };
        self.driver.with(conn, |machine, out, _| {
            let configured = machine.settings().layout;
            // In the other byte order it would end the stream of whoever reads it.
            if configured.order == layout.order {
                let text = explanation(&configured, &layout);
                machine.status_in(&layout, (route, seq), &unroutable(&text), out);
            }
        });
    }

    /// Bytes came that no packet can begin with; the connection is about to be closed.
    pub(super) fn explain_end(&self, conn: ConnId, bytes: &[u8]) {
        let _it_is_in_the_log = self.puzzle(conn, bytes);
    }

    /// A client of a WebSocket listener began with these bytes, which are no request of HTTP.
    pub(super) fn explain_greeting(&self, conn: ConnId, bytes: &[u8]) {
        let known = self.driver.with(conn, |_, _, session| (session.peer, session.listener));
        let Some((peer, listener)) = known else { return };
        let Some(listen) = self.plan.listens.get(usize::from(listener)) else { return };
        let guess = Guess::of_no_packet(bytes);
        let is_http = guess == Some(Guess::Http); // its answer says what is wrong
        if is_http || !self.said.borrow_mut().layout_is_news(self.driver.now().mono) {
            return;
        }
        let at = &listen.addr;
        match guess {
            Some(Guess::Proxied) => warn_of_proxy(peer, at),
            Some(Guess::Tls) => tracing::warn!(
                %peer,
                listener = %at,
                "a client speaks TLS to a WebSocket listener that has none: give it certFile and keyFile, or \
                 let the client connect by ws://"
            ),
            _ => tracing::warn!(
                %peer,
                listener = %at,
                "a client of a WebSocket listener does not begin with HTTP: if it is a game client that \
                 speaks plain tcp, let it connect to a tcp listener"
            ),
        }
    }

    /// Whether no node is known at all. Says so once in the log, each time it becomes so.
    pub(super) fn has_no_nodes(&self, route: RouteId) -> bool {
        let empty = self.table.borrow().members().is_empty();
        let mut said = self.said.borrow_mut();
        if empty && !said.empty {
            tracing::warn!(
                %route,
                "a client asks for a route, but this gate knows no node: start one in the same \
                 cluster, and see that both use the same registry"
            );
        }
        said.empty = empty;
        empty
    }
}

fn warn_of_proxy(peer: SocketAddr, at: &str) {
    tracing::warn!(
        %peer,
        listener = %at,
        "a connection begins with a PROXY header, and nobody there is believed: if it is your load balancer, \
         list its address in yumen.gate.tcp.proxyProtocol (or .ws)"
    );
}

fn explanation(configured: &Layout, seems: &Layout) -> String {
    format!(
        "the gate is configured with {}, this client seems to use {}: give both the same `packet` \
         settings",
        Keys(configured),
        Keys(seems)
    )
}

fn unroutable(text: &str) -> StatusReply<'_> {
    let (code, outcome) = (Code::UNROUTABLE.0, Code::UNROUTABLE.usual_outcome());
    StatusReply { code, outcome, retry_after_ms: 0, text }
}
