//! Sets of features, as two sides announce them: one shape for clients' connections and for links.
//!
//! A set is a number of 32 bits. Unknown bits are kept while reading, so that a newer side loses nothing.

/// Defines a set of features and the names of its bits.
macro_rules! wire_flags {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $flag:ident = $bit:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(u32);

        impl $name {
            /// Nothing.
            pub const NONE: Self = Self(0);
            $($(#[$doc])* pub const $flag: Self = Self(1 << $bit);)*

            /// The set with these bits, unknown ones included.
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// The bits of this set.
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether every feature of `other` is in this set.
            pub const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// What is in this set or in `other`.
            #[must_use]
            pub const fn and(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// What is in both.
            #[must_use]
            pub const fn common(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#b})"), self.0)
            }
        }
    };
}

pub(crate) use wire_flags;
