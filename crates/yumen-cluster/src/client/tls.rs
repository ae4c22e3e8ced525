//! Whom clients trust: read at the first connection that needs it, and kept.
//!
//! Clients that never dial a gate with TLS read no file.

#[cfg(feature = "tls")]
use std::cell::OnceCell;
use std::{io, time::Instant};
use yumen_net::socket::Socket;
#[cfg(feature = "tls")]
use yumen_net::tls::{Dialling, File, Trust};

/// What was said of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// File with the certificates that are trusted; those of the machine if there is none.
    pub(super) ca_file: Option<String>,
    /// Name of the gate's certificate; the host that is dialled if there is none.
    pub(super) server_name: Option<String>,
}

impl Plan {
    /// What is wrong with it, if anything was said.
    pub(super) fn problem(&self) -> Option<String> {
        let said = self.ca_file.is_some() || self.server_name.is_some();
        let problem = said.then_some("trust_ca and server_name need the feature `tls`".to_owned());
        #[cfg(feature = "tls")]
        let problem = problem.and_then(|_| self.load().err());
        problem
    }

    #[cfg(feature = "tls")]
    fn load(&self) -> Result<Dialling, String> {
        let ca = self.ca_file.as_ref().map(|path| File::new("trust_ca", path));
        Dialling::load(&Trust { ca, server_name: self.server_name.clone() })
    }
}

/// The same, ready to be used.
#[derive(Debug, Default)]
pub(super) struct Known {
    #[cfg(feature = "tls")]
    dialling: OnceCell<Result<Dialling, String>>,
}

impl Known {
    /// The client's end of TLS over a connection to `host`.
    ///
    /// # Errors
    /// The files cannot be used, or the host can be no name in a certificate.
    pub(super) fn dial(
        &self,
        plan: &Plan,
        socket: Socket,
        host: &str,
        now: Instant,
    ) -> io::Result<Socket> {
        let _where_it_is_built = (plan, host, now);
        #[cfg(feature = "tls")]
        let socket = match self.dialling.get_or_init(|| plan.load()) {
            Ok(dialling) => dialling.dial(socket, host, now)?,
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidInput, why.clone())),
        };
        Ok(socket)
    }
}
