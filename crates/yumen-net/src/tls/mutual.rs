//! Both sides of links between our own processes: each shows a certificate, and each checks the other's.
//!
//! A certificate is good if it was issued by the cluster's own authority and has the right name: the
//! instance's id, or one of a list. An instance `room.2` is the third of the process `room`, whose
//! certificate it shows; the number is no part of the name. Nothing is resumed, so that a certificate
//! that was taken out is met by every new connection.

use super::{
    Tls, chain,
    dialling::name_of,
    sources::{Content, File, Made, Outcome, PairFiles, Refreshed},
};
use crate::socket::Socket;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// What an instance shows others, and whom it believes. Shared by the instances of a process.
#[derive(Debug)]
pub struct Mutual {
    pair: PairFiles,
    ca: File,
    names: Vec<ServerName<'static>>,
    or_plain: bool,
    made: Made<Sides>,
}

/// What is used for those who dial, and to dial.
#[derive(Clone, Debug)]
struct Sides {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Mutual {
    /// Reads this process's certificate and the authority's. A peer has to have one of `names`, or its
    /// own id if that is empty. With `or_plain` those without TLS are let in and dialled as well. `now`
    /// is the time since 1970. Also gives what is worth a warning.
    ///
    /// # Errors
    /// Everything that is wrong with the files and names.
    pub fn load(
        (pair, ca): (PairFiles, File),
        names: &[String],
        or_plain: bool,
        now: Duration,
    ) -> Result<(Self, Vec<String>), Vec<String>> {
        let names: Result<Vec<_>, _> = names.iter().map(|name| name_of(name)).collect();
        let names =
            names.map_err(|error| vec![format!("a name cannot be in a certificate: {error}")])?;
        let files = vec![pair.cert.clone(), pair.key.clone(), ca.clone()];
        let (made, notes) = Made::new(files, |contents| make((&pair, &ca), &names, contents, now))?;
        Ok((Self { pair, ca, names, or_plain, made }, notes))
    }

    /// Looks at the files again, as [`Listening::refresh`](super::Listening::refresh) does.
    pub fn refresh(&self, now: Duration) -> Refreshed {
        let files = (&self.pair, &self.ca);
        self.made.refresh(|contents| make(files, &self.names, contents, now))
    }

    /// The files of this process's certificate.
    pub fn pair(&self) -> &PairFiles {
        &self.pair
    }

    /// Whether those without TLS are let in and dialled as well.
    pub fn or_plain(&self) -> bool {
        self.or_plain
    }

    /// The server's end over a connection that was accepted.
    pub fn accept(&self, socket: Socket, now: Instant) -> Socket {
        Tls::server(socket, self.made.current().server, self.or_plain, now)
    }

    /// The client's end over a connection to the instance `id`.
    ///
    /// # Errors
    /// The id can be no name in a certificate, and there is no list of names.
    pub fn dial(&self, socket: Socket, id: &str, now: Instant) -> io::Result<Socket> {
        let name = match self.names.first() {
            Some(name) => name.clone(),
            None => name_of(process_of(id))?,
        };
        Tls::client(socket, self.made.current().client, name, now)
    }

    /// Whether the peer on `socket` has proved to be the instance `id`. True without TLS where that is
    /// let in: then other proof is asked for.
    pub fn vouches(&self, socket: &Socket, id: &str) -> bool {
        let Socket::Tls(tls) = socket else { return self.or_plain };
        let Some(leaf) = tls.peer_certificates().and_then(<[_]>::first) else {
            return self.or_plain && tls.is_open();
        };
        let Ok(parsed) = ParsedCertificate::try_from(leaf) else { return false };
        let has = |name: &ServerName<'_>| verify_server_name(&parsed, name).is_ok();
        if self.names.is_empty() {
            return name_of(process_of(id)).is_ok_and(|name| has(&name));
        }
        self.names.iter().any(has)
    }
}

/// The process of an instance: its id without the number of the instance.
fn process_of(id: &str) -> &str {
    match id.rsplit_once('.') {
        Some((process, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => process,
        _ => id,
    }
}

fn make(
    (pair, ca): (&PairFiles, &File),
    names: &[ServerName<'static>],
    contents: &[Content],
    now: Duration,
) -> Outcome<Sides> {
    let [cert, key, authority] = contents else { return Err(Vec::new()) };
    let (own, roots) = match (chain::pair(pair, (cert, key), now), chain::roots(ca, authority)) {
        (Ok(own), Ok(roots)) => (own, Arc::new(roots)),
        (own, roots) => {
            let mut problems = own.err().unwrap_or_default();
            problems.extend(roots.err());
            return Err(problems);
        }
    };
    let (own, note) = own;
    let resolver = Arc::new(SingleCertAndKey::from(own));
    let provider = chain::provider();
    let broken = |error: String| vec![error];
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let clients = clients.build().map_err(|error| broken(error.to_string()))?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(error.to_string()))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(resolver.clone());
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
    let servers = servers.build().map_err(|error| broken(error.to_string()))?;
    let named = Named { chain: servers, names: names.to_vec() };
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(named))
        .with_client_cert_resolver(resolver);
    client.resumption = Resumption::disabled();
    Ok((Sides { server: Arc::new(server), client: Arc::new(client) }, note.into_iter().collect()))
}

/// The library's own checks, with a list of names of which one is enough.
#[derive(Debug)]
struct Named {
    chain: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        expected: &ServerName<'_>,
        revocation: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let check = |name: &ServerName<'_>| {
            self.chain.verify_server_cert(leaf, between, name, revocation, now)
        };
        let mut last = check(expected);
        for name in &self.names {
            if last.is_ok() {
                break;
            }
            last = check(name);
        }
        last
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
