//! How many connections a process and an address may have.
//!
//! Counted where connections are accepted, given back when the [`Permit`] that travels with a
//! connection is dropped, whichever thread that happens on. Never on the message path.

use rustc_hash::FxHashMap;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bounds on connections. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total_max: usize,
    address_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    addresses: FxHashMap<IpAddr, usize>,
}

/// Which bound refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The process has as many connections as it may have.
    #[error("too many connections")]
    Total,
    /// The address has as many connections as it may have.
    #[error("too many connections from one address")]
    Address,
}

impl Limiter {
    /// At most `total_max` connections, and `address_max` of one address; 0 is no limit.
    pub fn new(total_max: usize, address_max: usize) -> Self {
        Self(Arc::new(Inner { total_max, address_max, counts: Mutex::default() }))
    }

    /// Room for one connection from `address`.
    ///
    /// # Errors
    /// [`Refused`] names the bound.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, Refused> {
        // A listener for both families sees an IPv4 client in its IPv6 form.
        let address = address.to_canonical();
        let mut counts = self.0.counts();
        let full = |count: usize, max: usize| max > 0 && count >= max;
        if full(counts.total, self.0.total_max) {
            return Err(Refused::Total);
        }
        if self.0.address_max > 0 {
            let known = counts.addresses.get(&address).copied().unwrap_or(0);
            if full(known, self.0.address_max) {
                return Err(Refused::Address);
            }
            counts.addresses.insert(address, known.saturating_add(1));
        }
        counts.total = counts.total.saturating_add(1);
        Ok(Permit { limiter: Arc::clone(&self.0), address })
    }

    /// Connections admitted and not yet gone.
    pub fn total(&self) -> usize {
        self.0.counts().total
    }
}

impl Inner {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One admitted connection. Dropping it makes room.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Inner>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.total = counts.total.saturating_sub(1);
        if self.limiter.address_max == 0 {
            return;
        }
        let left = counts.addresses.get(&self.address).map_or(0, |known| known.saturating_sub(1));
        if left == 0 {
            counts.addresses.remove(&self.address);
        } else {
            counts.addresses.insert(self.address, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn each_bound_refuses_by_name_and_a_dropped_permit_makes_room() {
        let limiter = Limiter::new(3, 2);
        let (first, _second) = (limiter.admit(A).unwrap(), limiter.admit(A).unwrap());
        assert_eq!(limiter.admit(A).unwrap_err(), Refused::Address);
        let _third = limiter.admit(B).unwrap();
        assert_eq!(limiter.admit(B).unwrap_err(), Refused::Total);
        drop(first);
        assert_eq!(limiter.total(), 2);
        let _fourth = limiter.admit(A).unwrap();
    }

    #[test]
    fn an_ipv4_client_is_one_address_in_either_form() {
        let limiter = Limiter::new(0, 1);
        let IpAddr::V4(plain) = A else { unreachable!() };
        let _one = limiter.admit(A).unwrap();
        let mapped = limiter.admit(plain.to_ipv6_mapped().into());
        assert_eq!(mapped.unwrap_err(), Refused::Address);
    }

    #[test]
    fn zero_is_no_limit_and_no_address_is_remembered() {
        let limiter = Limiter::new(0, 0);
        let permits: Vec<_> = (0..100).map(|_| limiter.admit(A).unwrap()).collect();
        assert!(limiter.0.counts().addresses.is_empty());
        drop(permits);
        assert_eq!(limiter.total(), 0);
    }
}
