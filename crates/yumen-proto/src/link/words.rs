//! The vocabulary of links: kinds, states, events and targets, with their numbers on the wire.
//!
//! Numbers of users and connections are taken as they come, negative ones included: nobody is bound
//! to them, so a search misses, and the sender gets an answer (W-44).

use crate::id::{ConnId, UserId};

/// Defines an enumeration of the wire.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant = $number,)*
        }

        impl $name {
            /// As it is written.
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// What that number stands for; `None` if for nothing.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

wire_enum! {
    /// What happened to a client's connection.
    Event {
        /// It was opened.
        Connect = 1,
        /// A user was bound to it, be it for the first time.
        Reconnect = 2,
        /// It was closed.
        Disconnect = 3,
    }
}

wire_enum! {
    /// Whether an instance takes new work.
    State {
        /// It is not running.
        Shut = 0,
        /// It takes work.
        Work = 1,
        /// It takes work if nobody else does.
        Busy = 2,
        /// It finishes what it has.
        Hang = 3,
    }
}

wire_enum! {
    /// What an instance is.
    Kind {
        /// Holds the clients' connections.
        Gate = 1,
        /// Runs the game.
        Node = 2,
        /// Runs a service.
        Mesh = 3,
        /// Reserved by due.
        Master = 4,
    }
}

wire_enum! {
    /// What the numbers of targets stand for.
    TargetKind {
        /// Connections of the gate asked.
        Conn = 1,
        /// Users.
        User = 2,
    }
}

/// Whom a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A connection of the gate asked.
    Conn(ConnId),
    /// A user.
    User(UserId),
}

impl Target {
    /// The target of that kind and number.
    pub const fn new(kind: TargetKind, number: i64) -> Self {
        match kind {
            TargetKind::Conn => Self::Conn(ConnId(number)),
            TargetKind::User => Self::User(UserId(number)),
        }
    }

    /// What its number stands for.
    pub const fn kind(self) -> TargetKind {
        match self {
            Self::Conn(_) => TargetKind::Conn,
            Self::User(_) => TargetKind::User,
        }
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Conn(ConnId(number)) | Self::User(UserId(number)) => number,
        }
    }
}
