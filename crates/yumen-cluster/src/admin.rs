//! HTTP for operators: health, metrics, sessions, routes, instances, the log level, the drain.
//!
//! Off unless `yumen.admin.addr` is set. It runs on the service runtime, asks instances through their
//! bounded inboxes and waits for none of them for more than a second, so a stuck instance stops no
//! answer. Without a token it is for this machine alone. It never shares a listener with clients, and
//! it ends after everything else, so that a drain can be watched.
//!
//! What each endpoint takes and gives is in `docs/reference/admin.md`; names in JSON are never renamed.

mod answer;
mod body;
mod cluster;
mod desk;
mod guard;
mod health;
mod level;
mod routes;
mod serve;
mod sessions;

use crate::{app::Control, instance::BuildError};
use desk::Desk;
use guard::{Guard, TOKEN_MIN};
use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};
use tokio::task::JoinSet;
use yumen_core::watch::{Watch, WatchSender};
use yumen_net::{acceptor::Counts, tcp};

pub use desk::ENDPOINTS;

/// The admin listener: bound, and not answering yet.
pub struct Admin {
    listener: std::net::TcpListener,
    addr: SocketAddr,
    token: Option<Box<str>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is nobody's business.
        f.debug_struct("Admin").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Admin {
    /// Binds `addr`, as `host:port`; port 0 lets the system choose. `token` is what every request but
    /// those for health must carry; empty is none, and then only loopback addresses are accepted.
    ///
    /// # Errors
    /// [`BuildError`]: the address is not a loopback address and there is no token, the token has fewer
    /// than 16 characters or some that a header cannot carry, or the address cannot be bound. Nothing
    /// was bound then.
    pub fn bind(addr: &str, token: &str) -> Result<Self, BuildError> {
        let mut problems = Vec::new();
        let addresses = resolve(addr).unwrap_or_else(|error| {
            problems.push(format!(
                "etc.yumen.admin.addr: cannot use {addr:?}: {error}; write it as 127.0.0.1:9100"
            ));
            Vec::new()
        });
        problems.extend(token_problem(token));
        if token.is_empty()
            && let Some(open) = addresses.iter().find(|addr| !addr.ip().is_loopback())
        {
            problems.push(format!(
                "etc.yumen.admin.addr: {addr:?} can be reached from other machines ({open}) and \
                 there is no token: write 127.0.0.1:{port} to keep it on this machine, or set \
                 etc.yumen.admin.token (YUMEN_ADMIN_TOKEN) to at least {TOKEN_MIN} characters",
                port = open.port()
            ));
        }
        if problems.is_empty() {
            match listen(&addresses) {
                Ok((addr, listener)) => {
                    let token = (!token.is_empty()).then(|| Box::from(token));
                    return Ok(Self { listener, addr, token });
                }
                Err(error) => problems.push(format!(
                    "etc.yumen.admin.addr: cannot listen on {addr}: {error}; choose another port, \
                     or 0 for a free one"
                )),
            }
        }
        Err(BuildError { component: "admin", problems })
    }

    /// Where it listens, with the port that the system chose.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `stop` becomes true, then finishes what is under way, for at most a second.
    ///
    /// # Errors
    /// The listener cannot be used on this runtime: out of descriptors.
    pub async fn serve(self, control: Control, mut stop: Watch<bool>) -> io::Result<()> {
        let counts = Arc::new(Counts::new(1));
        let guard = Guard::new(self.token, self.addr.ip().is_loopback());
        let desk = Arc::new(Desk::new(control, guard, Arc::clone(&counts)));
        tokio::select! {
            biased;
            result = serve::serve(self.listener, desk::router(&desk), counts, &mut stop) => result,
            never = desk.tend() => match never {},
        }
    }
}

/// The admin of a running app; dropping it ends it.
pub(crate) struct Attached {
    end: WatchSender<bool>,
    answering: JoinSet<()>,
}

impl Attached {
    /// Answers from now on, if there is an admin.
    pub(crate) fn start(admin: Option<Admin>, control: &Control) -> Self {
        let (end, mut answering) = (WatchSender::new(false), JoinSet::new());
        if let Some(admin) = admin {
            let (control, stop, address) = (control.clone(), end.watch(), admin.addr());
            control.set_admin(address);
            tracing::info!(%address, "admin answers");
            answering.spawn(async move {
                if let Err(error) = admin.serve(control, stop).await {
                    tracing::error!(%address, %error, "admin does not answer any more");
                }
            });
        }
        Self { end, answering }
    }

    /// Finishes what is under way.
    pub(crate) async fn end(mut self) {
        self.end.send(true);
        while self.answering.join_next().await.is_some() {}
    }
}

fn resolve(addr: &str) -> io::Result<Vec<SocketAddr>> {
    // `:9100` means every interface, as in due's configuration.
    let text = if addr.starts_with(':') { format!("0.0.0.0{addr}") } else { addr.to_owned() };
    Ok(text.to_socket_addrs()?.collect())
}

/// Binds the first address that can be.
fn listen(addresses: &[SocketAddr]) -> io::Result<(SocketAddr, std::net::TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in addresses {
        match tcp::bind(&addr.to_string()) {
            Ok(listener) => return Ok((listener.local_addr()?, listener)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn token_problem(token: &str) -> Option<String> {
    let key = "etc.yumen.admin.token";
    if token.is_empty() {
        return None;
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(format!(
            "{key}: it has characters that a header cannot carry; use letters, digits and signs, \
             without spaces"
        ));
    }
    (token.len() < TOKEN_MIN).then(|| {
        format!(
            "{key}: it has {} characters; it must have at least {TOKEN_MIN}, as from \
             `openssl rand -hex 16`",
            token.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn problems(addr: &str, token: &str) -> String {
        Admin::bind(addr, token).unwrap_err().to_string()
    }

    #[test]
    fn without_a_token_only_this_machine_is_served() {
        for addr in ["0.0.0.0:0", ":0", "[::]:0", "10.255.0.1:9100"] {
            let text = problems(addr, "");
            assert!(text.contains("127.0.0.1:") && text.contains("YUMEN_ADMIN_TOKEN"), "{text}");
        }
        for addr in ["127.0.0.1:0", "localhost:0", "127.0.0.2:0"] {
            let admin = Admin::bind(addr, "").unwrap();
            assert!(admin.addr().ip().is_loopback() && admin.addr().port() != 0, "{admin:?}");
        }
        assert!(Admin::bind("0.0.0.0:0", TOKEN).is_ok());
    }

    #[test]
    fn a_weak_token_and_a_wrong_address_are_told_at_once() {
        let text = problems("nonsense", "short");
        assert!(text.contains("write it as 127.0.0.1:9100"), "{text}");
        assert!(text.contains("5 characters") && text.contains("at least 16"), "{text}");
        let text = problems("127.0.0.1:0", "0123456789abcde\n");
        assert!(text.contains("header cannot carry"), "{text}");
        assert!(problems("127.0.0.1:0", &TOKEN[1..]).contains("15 characters"));
    }

    #[test]
    fn a_port_in_use_is_named_and_the_token_is_never_shown() {
        let taken = Admin::bind("127.0.0.1:0", TOKEN).unwrap();
        let addr = taken.addr().to_string();
        let text = problems(&addr, TOKEN);
        assert!(text.contains(&addr) && text.contains("cannot listen"), "{text}");
        assert!(!format!("{taken:?}{text}").contains(TOKEN));
    }
}
