//! TLS of links to other processes, or none.
//!
//! It never lets the registry alone decide that a peer may do without: that has to be allowed here. The
//! one thing to know: a certificate says who somebody is, the cluster's secret says nothing less, and
//! where both are set both are asked for.

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::{io, time::Instant};
use yumen_net::socket::Socket;
#[cfg(feature = "tls")]
use yumen_net::tls::Mutual;

/// What links to other processes have of TLS. Default: none.
#[derive(Clone, Debug, Default)]
pub struct LinkGuard {
    #[cfg(feature = "tls")]
    mutual: Option<Arc<Mutual>>,
}

impl LinkGuard {
    /// Each shows a certificate and checks the other's.
    #[cfg(feature = "tls")]
    pub fn mutual(mutual: Arc<Mutual>) -> Self {
        Self { mutual: Some(mutual) }
    }

    /// Whether links are under TLS.
    pub fn is_on(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.mutual.is_some() {
            return true;
        }
        false
    }

    /// Whether those without TLS are linked as well.
    pub fn allows_plain(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(mutual) = &self.mutual {
            return mutual.or_plain();
        }
        true
    }

    pub(crate) fn accept(&self, socket: Socket, now: Instant) -> Socket {
        let _only_tls_has_a_time_limit = now;
        #[cfg(feature = "tls")]
        if let Some(mutual) = &self.mutual {
            return mutual.accept(socket, now);
        }
        socket
    }

    /// A connection to the instance `id`, whose record announces TLS or not.
    ///
    /// # Errors
    /// The id can be no name in a certificate.
    pub(crate) fn dial(
        &self,
        socket: Socket,
        (id, announced): (&str, bool),
        now: Instant,
    ) -> io::Result<Socket> {
        let _only_tls_asks_for_a_name = (id, announced, now);
        #[cfg(feature = "tls")]
        if let Some(mutual) = self.mutual.as_ref().filter(|guard| announced || !guard.or_plain()) {
            return mutual.dial(socket, id, now);
        }
        Ok(socket)
    }

    /// Whether whoever says to be `id` may be, as far as certificates go.
    pub(crate) fn vouches(&self, socket: &Socket, id: &str) -> bool {
        let _nobody_has_a_certificate_without_tls = (socket, id);
        #[cfg(feature = "tls")]
        if let Some(mutual) = &self.mutual {
            return mutual.vouches(socket, id);
        }
        true
    }
}
