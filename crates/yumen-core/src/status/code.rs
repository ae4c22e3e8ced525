//! The numbers of failures, and what usually became of a request that failed with one.
//!
//! 0 to 10 are due's numbers, which its clients know; 1001 to 1999 belong to Yumen; every other
//! number is the game's own. An unknown number is kept as it came.

use std::fmt;
use yumen_proto::Outcome;

/// What kind of failure it is: a number that travels, with a name where it has one.
///
/// A game may use any number outside 0–10 and 1001–1999 for its own failures.
///
/// ```
/// use yumen_core::status::{Code, Outcome};
///
/// const TABLE_FULL: Code = Code(2_001);
/// assert_eq!(TABLE_FULL.to_string(), "code 2001");
/// assert_eq!(TABLE_FULL.usual_outcome(), Outcome::Applied);
/// assert_eq!(Code::BUSY.to_string(), "busy");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

/// Declares the constants and their names from one table.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The name, if the number has one: lower case, words with spaces. Fit for labels.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }

            /// Every code that has a name, in the order of the numbers.
            pub const NAMED: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    /// No failure.
    OK = 0 "ok",
    /// The caller gave up.
    CANCELED = 1 "canceled",
    /// A failure that nobody classified.
    UNKNOWN = 2 "unknown",
    /// The body or an argument does not fit; sending it again unchanged fails again.
    INVALID_ARGUMENT = 3 "invalid argument",
    /// No answer in time; the request may have been carried out.
    DEADLINE_EXCEEDED = 4 "deadline exceeded",
    /// What was asked for does not exist.
    NOT_FOUND = 5 "not found",
    /// A fault of the server.
    INTERNAL = 6 "internal error",
    /// A user must be logged in for this.
    UNAUTHORIZED = 7 "unauthorized",
    /// The call is not allowed in this state.
    ILLEGAL_INVOKE = 8 "illegal invoke",
    /// The request is not allowed for this sender (an internal route, say).
    ILLEGAL_REQUEST = 9 "illegal request",
    /// A limit on the sender's rate was reached.
    TOO_MANY_REQUESTS = 10 "too many requests",
    /// A bounded queue or table of the server is full.
    BUSY = 1001 "busy",
    /// No instance can take the request now.
    UNAVAILABLE = 1002 "unavailable",
    /// The route follows the user to its node, and the user is bound to none.
    NOT_BOUND = 1003 "not bound",
    /// No instance serves the route.
    UNROUTABLE = 1004 "unroutable",
}

impl Code {
    /// What usually became of a request that failed with this code. A game's own codes are the
    /// answer of a handler that ran.
    pub const fn usual_outcome(self) -> Outcome {
        match self {
            Self::INVALID_ARGUMENT
            | Self::UNAUTHORIZED
            | Self::ILLEGAL_INVOKE
            | Self::ILLEGAL_REQUEST
            | Self::TOO_MANY_REQUESTS
            | Self::BUSY => Outcome::Rejected,
            Self::UNAVAILABLE | Self::NOT_BOUND | Self::UNROUTABLE => Outcome::NotSent,
            Self::CANCELED | Self::UNKNOWN | Self::DEADLINE_EXCEEDED | Self::INTERNAL => {
                Outcome::Unknown
            }
            _ => Outcome::Applied,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}", self.0)?;
        self.name().map_or(Ok(()), |name| write!(f, ", {name}"))?;
        f.write_str(")")
    }
}

impl From<u16> for Code {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn the_first_eleven_numbers_are_dues() {
        let names: Vec<_> = (0..=10).map(|n| Code(n).name().unwrap()).collect();
        let due = "ok, canceled, unknown, invalid argument, deadline exceeded, not found, \
                   internal error, unauthorized, illegal invoke, illegal request, \
                   too many requests";
        assert_eq!(names.join(", "), due);
    }
}
