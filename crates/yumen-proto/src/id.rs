//! Names of things as types of their own, so that a user can never be taken for a connection.
//!
//! They carry no behaviour and are never generated here: who hands them out is stated at each.

use std::{fmt, sync::Arc};

/// One client connection of a gate instance.
///
/// Sequential from 1 and never reused while that instance lives; unique only together with the
/// gate's [`InstanceId`]. Zero and negative numbers name no connection, so a search for them misses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub i64);

/// A user, as the game numbers them; greater than zero.
///
/// On the wire zero means "no user". A value read off a link is not checked, so that a request that
/// names user −1 can still be answered: nobody is ever bound to it, so a search for it misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub i64);

impl UserId {
    /// The user of that number; `None` unless it is greater than zero.
    pub fn new(number: i64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Whether this can name a user: it is greater than zero. Binding has to ask.
    pub fn is_valid(self) -> bool {
        self.0 > 0
    }

    /// As it is written in the fields where zero means "no user"; zero reads as `None`.
    pub(crate) fn from_wire(number: i64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }
}

/// Which handler a message is for. Signed, as on the wire; default zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub i32);

impl From<i32> for RouteId {
    fn from(number: i32) -> Self {
        Self(number)
    }
}

/// How often a place was claimed: of two claims of one user, the greater epoch is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

macro_rules! display_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_as_number!(ConnId, UserId, RouteId, Epoch);

/// One gate, node or mesh instance; unique in the cluster. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for InstanceId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for InstanceId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl AsRef<str> for InstanceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_above_zero_name_a_user() {
        assert_eq!(UserId::new(1), Some(UserId(1)));
        assert_eq!((UserId::new(0), UserId::new(-1)), (None, None));
        assert!(!UserId(i64::MIN).is_valid());
    }

    #[test]
    fn an_instance_id_reads_as_its_text() {
        let id = InstanceId::from("gate-1.0");
        assert_eq!((id.as_str(), format!("{id:>10}").as_str()), ("gate-1.0", "  gate-1.0"));
        assert_eq!(format!("{id:?}"), "\"gate-1.0\"");
    }
}
