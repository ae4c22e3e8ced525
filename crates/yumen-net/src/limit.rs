//! How many connections a process and an address may have.
//!
//! Counted where connections are accepted, given back when the [`Permit`] that travels with a
//! connection is dropped, whichever thread that happens on. Never on the message path.

use rustc_hash::FxHashMap;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Bounds on connections. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total_max: AtomicUsize,
    address_max: AtomicUsize,
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
        Self(Arc::new(Inner {
            total_max: total_max.into(),
            address_max: address_max.into(),
            counts: Mutex::default(),
        }))
    }

    /// Another bound from the next connection on; 0 is no limit. Those that are there stay.
    pub fn set_total_max(&self, total_max: usize) {
        self.0.total_max.store(total_max, Relaxed);
    }

    /// Another bound for each address from the next connection on; 0 is no limit. Those that are there
    /// stay; where there was no limit when they came, they do not count.
    pub fn set_address_max(&self, address_max: usize) {
        self.0.address_max.store(address_max, Relaxed);
    }

    /// Room for one connection from `address`.
    ///
    /// # Errors
    /// [`Refused`] names the bound.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, Refused> {
        let mut permit = self.admit_unknown()?;
        permit.count_at(address)?;
        Ok(permit)
    }

    /// Room for one connection whose address is not known yet; see [`Permit::count_at`].
    ///
    /// # Errors
    /// [`Refused::Total`].
    pub fn admit_unknown(&self) -> Result<Permit, Refused> {
        let total_max = self.0.total_max.load(Relaxed);
        let mut counts = self.0.counts();
        if is_full(counts.total, total_max) {
            return Err(Refused::Total);
        }
        counts.total = counts.total.saturating_add(1);
        Ok(Permit { limiter: Arc::clone(&self.0), counted: None })
    }

    /// Connections admitted and not yet gone.
    pub fn total(&self) -> usize {
        self.0.counts().total
    }
}

fn is_full(count: usize, max: usize) -> bool {
    max > 0 && count >= max
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
    /// The address at which it counts.
    counted: Option<IpAddr>,
}

impl Permit {
    /// The address of the connection is known now: it counts there from here on, if there is a limit.
    /// Where it counts already it stays.
    ///
    /// # Errors
    /// [`Refused::Address`]; it still counts in total, until it is dropped.
    pub fn count_at(&mut self, address: IpAddr) -> Result<(), Refused> {
        let address_max = self.limiter.address_max.load(Relaxed);
        if self.counted.is_some() || address_max == 0 {
            return Ok(());
        }
        // A listener for both families sees an IPv4 client in its IPv6 form.
        let address = address.to_canonical();
        let mut counts = self.limiter.counts();
        let known = counts.addresses.get(&address).copied().unwrap_or(0);
        if is_full(known, address_max) {
            return Err(Refused::Address);
        }
        counts.addresses.insert(address, known.saturating_add(1));
        drop(counts);
        self.counted = Some(address);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.total = counts.total.saturating_sub(1);
        let Some(address) = self.counted else { return };
        let left = counts.addresses.get(&address).map_or(0, |known| known.saturating_sub(1));
        if left == 0 {
            counts.addresses.remove(&address);
        } else {
            counts.addresses.insert(address, left);
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
    fn a_connection_whose_address_comes_later_counts_there_from_then_on() {
        let limiter = Limiter::new(3, 1);
        let mut early = limiter.admit_unknown().unwrap();
        let mut late = limiter.admit_unknown().unwrap();
        assert_eq!(early.count_at(A), Ok(()));
        assert_eq!(early.count_at(B), Ok(()), "it stays where it is");
        assert_eq!(late.count_at(A), Err(Refused::Address));
        assert_eq!(limiter.admit(A).unwrap_err(), Refused::Address);
        assert_eq!(limiter.total(), 2, "who was refused gave its place back");
        drop(early);
        assert_eq!(late.count_at(A), Ok(()));
        let _others = (limiter.admit(B).unwrap(), limiter.admit_unknown().unwrap());
        assert_eq!(limiter.admit_unknown().unwrap_err(), Refused::Total);
        drop(late);
        let _third = limiter.admit(A).unwrap();
    }

    #[test]
    fn zero_is_no_limit_and_no_address_is_remembered() {
        let limiter = Limiter::new(0, 0);
        let permits: Vec<_> = (0..100).map(|_| limiter.admit(A).unwrap()).collect();
        assert!(limiter.0.counts().addresses.is_empty());
        drop(permits);
        assert_eq!(limiter.total(), 0);
    }

    #[test]
    fn another_bound_holds_from_the_next_connection_on_and_permits_stay_in_step() {
        let limiter = Limiter::new(2, 0);
        let early = [limiter.admit(A).unwrap(), limiter.admit(A).unwrap()];
        limiter.set_total_max(4);
        limiter.set_address_max(1);
        let counted = limiter.admit(A).unwrap();
        assert_eq!(limiter.admit(A).unwrap_err(), Refused::Address);
        // Those from before the limit give nothing back that they did not take.
        drop(early);
        assert_eq!(limiter.admit(A).unwrap_err(), Refused::Address);
        limiter.set_address_max(0);
        let free = limiter.admit(A).unwrap();
        drop((counted, free));
        assert_eq!((limiter.total(), limiter.0.counts().addresses.len()), (0, 0));
        limiter.set_total_max(1);
        let _only = limiter.admit(A).unwrap();
        assert_eq!(limiter.admit(B).unwrap_err(), Refused::Total);
    }
}
