//! Writes JSON as `serde_json` does, byte for byte, and texts that need no escapes in one piece.
//!
//! The library looks at every byte of a text by itself, which is most of what a message costs. Here a
//! text is first looked at in blocks, which the compiler turns into vector instructions; one without
//! anything to escape, and that is nearly every one, is then only copied. Everything else is the
//! library's. The one thing to know: the library has no hook for a whole text, but it has one for a
//! byte array, so [`Texts`] writes what it is given as a byte array as a text; and true byte arrays are
//! written as the lists that they are in JSON.
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::ser::Formatter;
use std::fmt::Display;
use std::io::{self, Write};

/// Appends the JSON of `value` to `out`.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> serde_json::Result<()> {
    value.serialize(Quick(&mut serde_json::Serializer::with_formatter(out, Texts)))
}

/// Compact JSON, in which a byte array is a text without anything to escape.
struct Texts;

impl Formatter for Texts {
    #[inline]
    fn write_byte_array<W: Write + ?Sized>(&mut self, out: &mut W, text: &[u8]) -> io::Result<()> {
        out.write_all(b"\"")?;
        out.write_all(text)?;
        out.write_all(b"\"")
    }
}

/// Texts shorter than that, in bytes, are the library's: looking twice at them costs more than it saves.
const LONG: usize = 16;

/// Whether JSON has to escape nothing in `text`.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    let escaped = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // No early end within a block: that is what makes a vector instruction of it.
    let plain = |block: &[u8]| !block.iter().fold(false, |any, byte| any | escaped(*byte));
    let (blocks, rest) = text.as_chunks::<32>();
    blocks.iter().all(|block| plain(block)) && plain(rest)
}

/// A value whose texts, at any depth, are written by [`Quick`].
struct Within<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Quick(inner))
    }
}

/// The library's serializer, or what it made for a list, map or struct, with texts of our own.
struct Quick<S>(S);

/// A struct's fields. Those of the library's own types are not to be looked into: what they hold is
/// said to the library in words of its own.
enum Fields<S> {
    Ours(S),
    Library(S),
}

/// What the names of the library's own types start with.
const LIBRARY: &str = "$serde_json::private::";

type Name = &'static str;

/// Methods that hand on what they are given.
macro_rules! as_it_is {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($name),*)
        }
    )*};
}

/// Methods that hand on what they are given, with a value to look into.
macro_rules! with_value {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method<T: Serialize + ?Sized>(
            self,
            $($name: $type,)*
            value: &T,
        ) -> Result<S::Ok, S::Error> {
            self.0.$method($($name,)* &Within(value))
        }
    )*};
}

/// Methods that begin something with values in it.
macro_rules! beginning {
    ($($method:ident -> $made:ident($($name:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<Self::$made, S::Error> {
            self.0.$method($($name),*).map(Quick)
        }
    )*};
}

impl<S: Serializer> Serializer for Quick<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Quick<S::SerializeSeq>;
    type SerializeTuple = Quick<S::SerializeTuple>;
    type SerializeTupleStruct = Quick<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Quick<S::SerializeTupleVariant>;
    type SerializeMap = Quick<S::SerializeMap>;
    type SerializeStruct = Fields<S::SerializeStruct>;
    type SerializeStructVariant = Quick<S::SerializeStructVariant>;

    #[inline]
    fn serialize_str(self, text: &str) -> Result<S::Ok, S::Error> {
        if text.len() >= LONG && is_plain(text.as_bytes()) {
            self.0.serialize_bytes(text.as_bytes())
        } else {
            self.0.serialize_str(text)
        }
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<S::Ok, S::Error> {
        self.0.collect_seq(bytes)
    }

    #[inline]
    fn serialize_struct(self, name: Name, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let fields = self.0.serialize_struct(name, len)?;
        Ok(if name.starts_with(LIBRARY) { Fields::Library(fields) } else { Fields::Ours(fields) })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }

    as_it_is! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: Name);
        serialize_unit_variant(name: Name, index: u32, variant: Name);
    }

    with_value! {
        serialize_some();
        serialize_newtype_struct(name: Name);
        serialize_newtype_variant(name: Name, index: u32, variant: Name);
    }

    beginning! {
        serialize_seq -> SerializeSeq(len: Option<usize>);
        serialize_tuple -> SerializeTuple(len: usize);
        serialize_tuple_struct -> SerializeTupleStruct(name: Name, len: usize);
        serialize_tuple_variant ->
            SerializeTupleVariant(name: Name, index: u32, variant: Name, len: usize);
        serialize_map -> SerializeMap(len: Option<usize>);
        serialize_struct_variant ->
            SerializeStructVariant(name: Name, index: u32, variant: Name, len: usize);
    }
}

/// Lists of values, named as the library names them.
macro_rules! values {
    ($($kind:ident $method:ident;)*) => {$(
        impl<S: $kind> $kind for Quick<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&Within(value))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

values! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

impl<S: SerializeMap> SerializeMap for Quick<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    /// Keys are the library's: it makes texts of numbers, and they are short.
    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Within(value))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

impl<S: SerializeStruct> SerializeStruct for Fields<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: Name,
        value: &T,
    ) -> Result<(), S::Error> {
        match self {
            Self::Ours(fields) => fields.serialize_field(name, &Within(value)),
            Self::Library(fields) => fields.serialize_field(name, value),
        }
    }

    fn skip_field(&mut self, name: Name) -> Result<(), S::Error> {
        let (Self::Ours(fields) | Self::Library(fields)) = self;
        fields.skip_field(name)
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        let (Self::Ours(fields) | Self::Library(fields)) = self;
        fields.end()
    }
}

impl<S: SerializeStructVariant> SerializeStructVariant for Quick<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: Name,
        value: &T,
    ) -> Result<(), S::Error> {
        self.0.serialize_field(name, &Within(value))
    }

    fn skip_field(&mut self, name: Name) -> Result<(), S::Error> {
        self.0.skip_field(name)
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn exactly_quotes_backslashes_and_control_characters_are_not_plain_wherever_they_stand() {
        for byte in 0..=u8::MAX {
            for len in [1_usize, 31, 32, 33, 64, 100] {
                for at in [0, len / 2, len - 1] {
                    let mut text = vec![b'x'; len];
                    text[at] = byte;
                    let escaped = matches!(byte, b'"' | b'\\' | 0..0x20);
                    assert_eq!(is_plain(&text), !escaped, "byte {byte} at {at} of {len}");
                }
            }
        }
        assert!(is_plain(b""));
    }
}
