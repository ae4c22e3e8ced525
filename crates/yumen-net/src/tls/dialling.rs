//! The client's side: whom it trusts, and which name it expects.

use super::{
    Tls, chain,
    sources::{File, read},
};
use crate::socket::Socket;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{io, sync::Arc, time::Instant};

/// Whom a client trusts.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The certificates of those who may issue the server's. Default: those that this machine trusts.
    pub ca: Option<File>,
    /// The name that the server's certificate must have. Default: the host that is dialled.
    pub server_name: Option<String>,
}

/// How a client speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialling {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Dialling {
    /// Reads the files of `trust`, or the certificates that this machine trusts.
    ///
    /// # Errors
    /// What is wrong with the files, or with the name.
    pub fn load(trust: &Trust) -> Result<Self, String> {
        let roots = match &trust.ca {
            Some(file) => {
                let content = read(std::slice::from_ref(file));
                let content = content.first().ok_or("no file was read")?;
                chain::roots(file, content)?
            }
            None => of_this_machine()?,
        };
        let name = trust.server_name.as_deref().map(name_of).transpose();
        let name = name.map_err(|error| format!("the server name cannot be used: {error}"))?;
        let builder = ClientConfig::builder_with_provider(chain::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { config: Arc::new(config), name })
    }

    /// The client's end of TLS over a connection to `host`, with or without a port. The handshake has
    /// 10 s.
    ///
    /// # Errors
    /// `host` can be no name in a certificate.
    pub fn dial(&self, socket: Socket, host: &str, now: Instant) -> io::Result<Socket> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name_of(without_port(host))?,
        };
        Tls::client(socket, Arc::clone(&self.config), name, now)
    }
}

pub(super) fn name_of(text: &str) -> io::Result<ServerName<'static>> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?}: {error}")))
}

pub(super) fn without_port(host: &str) -> &str {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (bracketed, host.rsplit_once(':')) {
        (Some((inner, _)), _) => inner,
        (None, Some((name, _))) if !name.contains(':') => name,
        _ => host,
    }
}

fn of_this_machine() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(format!(
            "this machine trusts no certificates ({:?}): install its `ca-certificates`, or name a file \
             with those to be trusted",
            found.errors
        ));
    }
    Ok(roots)
}
