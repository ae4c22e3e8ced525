//! Blocks of addresses, as settings list them: `10.0.0.0/8`, or one address.
//!
//! Plain values: nothing here opens a socket or looks up a name.

use std::{net::IpAddr, str::FromStr};

/// Addresses that begin with the same bits: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetBlock {
    /// Shifted right until only the common bits are left.
    prefix: u128,
    /// By how many bits.
    shift: u32,
    v4: bool,
}

impl NetBlock {
    /// Whether the address is one of them. IPv4 in its IPv6 form counts as IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        let (bits, v4) = bits(address);
        self.v4 == v4 && bits.checked_shr(self.shift).unwrap_or(0) == self.prefix
    }
}

/// The bits of an address, and whether it is IPv4.
fn bits(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(ip) => (u32::from(ip).into(), true),
        IpAddr::V6(ip) => (ip.into(), false),
    }
}

/// Text that is no address and no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: write it as 10.0.0.1, 10.0.0.0/8 or fd00::/8")]
pub struct NotAnAddress(String);

impl FromStr for NetBlock {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let wrong = || NotAnAddress(text.to_owned());
        let (address, len) = match text.trim().split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (prefix, v4) = bits(address);
        let width: u32 = if v4 { 32 } else { 128 };
        let len = match len {
            Some(len) => len.parse().ok().filter(|len| *len <= width).ok_or_else(wrong)?,
            None => width,
        };
        let shift = width.saturating_sub(len);
        Ok(Self { prefix: prefix.checked_shr(shift).unwrap_or(0), shift, v4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_block_of_its_own_family_or_not() {
        let block: NetBlock = "10.0.0.0/8".parse().unwrap();
        for (address, expected) in [
            ("10.255.1.2", true),
            ("::ffff:10.1.1.1", true),
            ("11.0.0.1", false),
            ("::a00:1", false),
        ] {
            assert_eq!(block.has(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_text() {
        for text in ["", "host", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            let error = text.parse::<NetBlock>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
