//! The server's side: which certificate a client is shown, and new ones while it runs.
//!
//! Several certificates are told apart by the name the client asks for (SNI); the first is for clients
//! that ask for none, or for one that no certificate is for. Sessions are resumed by tickets, which
//! cost no memory here and spare a client that comes back the signature.

use super::{
    Tls, chain,
    sources::{Content, Made, Outcome, PairFiles, Refreshed},
};
use crate::socket::Socket;
use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::ring::Ticketer,
    pki_types::ServerName,
    server::{
        ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    },
    sign::CertifiedKey,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a listener for TLS has: certificates from files, which may change. Shared by all instances.
#[derive(Debug)]
pub struct Listening {
    pairs: Vec<PairFiles>,
    tickets: Arc<dyn ProducesTickets>,
    made: Made<Arc<ServerConfig>>,
}

impl Listening {
    /// Reads `pairs`, of which there must be one at least; `now` is the time since 1970. Also gives what
    /// is worth a warning: a certificate that has expired, or will within 14 days.
    ///
    /// # Errors
    /// Everything that is wrong with the files, each with the setting and the path.
    pub fn load(pairs: Vec<PairFiles>, now: Duration) -> Result<(Self, Vec<String>), Vec<String>> {
        let files = pairs.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]).collect();
        let tickets = Ticketer::new().map_err(|error| vec![error.to_string()])?;
        let (made, notes) = Made::new(files, |contents| make(&pairs, contents, &tickets, now))?;
        Ok((Self { pairs, tickets, made }, notes))
    }

    /// Looks at the files again; reads them, so it is no work for a thread that serves clients. A change
    /// is used once it was seen twice in a row.
    pub fn refresh(&self, now: Duration) -> Refreshed {
        self.made.refresh(|contents| make(&self.pairs, contents, &self.tickets, now))
    }

    /// The files of the first certificate.
    pub fn first(&self) -> Option<&PairFiles> {
        self.pairs.first()
    }

    /// The server's end of TLS over a connection that was accepted. The handshake has 10 s.
    pub fn accept(&self, socket: Socket, now: Instant) -> Socket {
        Tls::server(socket, self.made.current(), false, now)
    }
}

fn make(
    pairs: &[PairFiles],
    contents: &[Content],
    tickets: &Arc<dyn ProducesTickets>,
    now: Duration,
) -> Outcome<Arc<ServerConfig>> {
    let (mut keys, mut notes, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (files, content) in pairs.iter().zip(contents.chunks_exact(2)) {
        let [cert, key] = content else { continue };
        match chain::pair(files, (cert, key), now) {
            Ok((key, note)) => {
                keys.push(Arc::new(key));
                notes.extend(note);
            }
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let builder = ServerConfig::builder_with_provider(chain::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![error.to_string()])?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Shown(keys)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::clone(tickets);
    config.send_tls13_tickets = 1;
    Ok((Arc::new(config), notes))
}

/// The certificates, the one for everybody else first.
#[derive(Debug)]
struct Shown(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usual = || self.0.first().map(Arc::clone);
        if self.0.len() < 2 {
            return usual();
        }
        let asked = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let Some(asked) = asked else { return usual() };
        let fits = |key: &&Arc<CertifiedKey>| {
            let leaf = key.end_entity_cert().ok();
            let parsed = leaf.and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            parsed.is_some_and(|parsed| verify_server_name(&parsed, &asked).is_ok())
        };
        self.0.iter().find(fits).map(Arc::clone).or_else(usual)
    }
}
