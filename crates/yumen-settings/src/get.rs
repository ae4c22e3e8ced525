//! Values of the user's own tables and files, as the user's own types.
//!
//! It reads what a [`Tree`](crate::tree::Tree) holds and never what a key of Yumen means. Formats
//! without types have only texts, so a text stands for a number, a boolean (as due reads it) or a list
//! (with commas) where the type asks for one.

use crate::{
    problem::Problem,
    tree::{Node, Origin, Value},
    value,
};
use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess,
        SeqAccess, VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};
use std::{collections::btree_map, fmt, iter, slice, str::Split};

/// The value of `node`, which stands under `key`.
pub(crate) fn typed<T: DeserializeOwned>(key: &str, node: &Node) -> Result<T, Problem> {
    T::deserialize(Written(node)).map_err(|Wrong { origin, path, what }| {
        let key = path.iter().rev().fold(key.to_owned(), |key, part| format!("{key}.{part}"));
        Problem::new(Some(origin.unwrap_or_else(|| node.origin.clone())), key, what)
    })
}

/// What is wrong, and where below the node that was asked for.
#[derive(Debug)]
struct Wrong {
    origin: Option<Origin>,
    /// Innermost first.
    path: Vec<String>,
    what: String,
}

impl Wrong {
    /// The same, seen from one table further out; the origin is that of the innermost value.
    fn below(mut self, part: impl Into<String>, node: &Node) -> Self {
        self.path.push(part.into());
        self.origin.get_or_insert_with(|| node.origin.clone());
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { origin: None, path: Vec::new(), what: what.to_string() }
    }
}

/// Methods that treat a text as a [`Text`] and any other value as it is.
macro_rules! by_text {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match &self.0.value {
                Value::Text(text) => Text(text).$method(visitor),
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_)
                | Value::Table(_) => self.deserialize_any(visitor),
            }
        }
    )*};
}

/// A node as serde reads it.
#[derive(Clone, Copy)]
struct Written<'de>(&'de Node);

impl<'de> Deserializer<'de> for Written<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(list) => visitor.visit_seq(Items(list.iter().enumerate())),
            Value::Table(table) => visitor.visit_map(Entries { table: table.iter(), value: None }),
        }
    }

    by_text! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.value {
            Value::Text(text) => Text(text).deserialize_seq(visitor),
            // xml has no lists of one.
            Value::Table(_) => visitor.visit_seq(Items(slice::from_ref(self.0).iter().enumerate())),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) => {
                self.deserialize_any(visitor)
            }
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if let Value::Text(text) = &self.0.value {
            return Text(text).deserialize_enum(name, variants, visitor);
        }
        let table = self.0.table().filter(|table| table.len() == 1);
        match table.and_then(|table| table.iter().next()) {
            Some((name, node)) => visitor.visit_enum(Variant { name, node }),
            None => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple_struct map struct identifier
        ignored_any
    }
}

struct Items<'de>(iter::Enumerate<slice::Iter<'de, Node>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some((at, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Written(node)).map(Some).map_err(|wrong| wrong.below(at.to_string(), node))
    }
}

struct Entries<'de> {
    table: btree_map::Iter<'de, String, Node>,
    value: Option<(&'de str, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        // Null counts as not written.
        let Some((key, node)) = self.table.find(|(_, node)| node.value != Value::Null) else {
            return Ok(None);
        };
        self.value = Some((key, node));
        seed.deserialize(Text(key)).map(Some).map_err(|wrong| wrong.below(key, node))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Wrong> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Written(node)).map_err(|wrong| wrong.below(key, node))
    }
}

/// A table with one key, which names the variant of an enum.
struct Variant<'de> {
    name: &'de str,
    node: &'de Node,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Wrong> {
        seed.deserialize(Text(self.name)).map(|name| (name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Err(de::Error::custom(format_args!("`{}` takes no value; write it as a text", self.name)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(Written(self.node)).map_err(|wrong| wrong.below(self.name, self.node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        Written(self.node)
            .deserialize_seq(visitor)
            .map_err(|wrong| wrong.below(self.name, self.node))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        Written(self.node)
            .deserialize_any(visitor)
            .map_err(|wrong| wrong.below(self.name, self.node))
    }
}

/// A text, which stands for whatever the type asks for if it can be read as that.
#[derive(Clone, Copy)]
struct Text<'de>(&'de str);

/// A text that reads as a number goes to the visitor as one.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let text = self.0.trim();
            if let Ok(number) = text.parse::<i64>() {
                visitor.visit_i64(number)
            } else if let Ok(number) = text.parse::<u64>() {
                visitor.visit_u64(number)
            } else if let Ok(number) = text.parse::<f64>() {
                visitor.visit_f64(number)
            } else {
                self.deserialize_any(visitor)
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_bool(value::truth(self.0))
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_seq(Parts(self.0.split(',')))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple_struct map struct identifier
        ignored_any
    }
}

/// What stands between commas; nothing between them is no item.
struct Parts<'de>(Split<'de, char>);

impl<'de> SeqAccess<'de> for Parts<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let part = self.0.by_ref().map(str::trim).find(|part| !part.is_empty());
        part.map(|part| seed.deserialize(Text(part))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use serde::Deserialize;
    use std::{collections::BTreeMap, path::Path};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Game {
        max_players: u16,
        rate: f64,
        open: bool,
        title: Option<String>,
        #[serde(default)]
        tags: Vec<String>,
        maps: Vec<Map>,
        mode: Mode,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Map {
        name: String,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Duel,
        Team(u8),
        Raid { bosses: u8 },
    }

    const JSON: &str = r#"{"maxPlayers": 8, "rate": 1.5, "open": true, "title": null,
        "tags": ["a", "b"], "maps": [{"name": "hill"}], "mode": {"team": 4}}"#;

    fn read<T: DeserializeOwned>(format: Format, text: &str) -> Result<T, Problem> {
        let origin = Origin::File(Path::new("etc/game").into());
        typed("game", &format.parse(text.as_bytes(), &origin).unwrap())
    }

    fn said(text: &str) -> String {
        read::<Game>(Format::Json, text).unwrap_err().to_string()
    }

    #[test]
    fn a_table_is_read_as_a_type_of_the_users() {
        let game = Game {
            max_players: 8,
            rate: 1.5,
            open: true,
            title: None,
            tags: vec!["a".to_owned(), "b".to_owned()],
            maps: vec![Map { name: "hill".to_owned() }],
            mode: Mode::Team(4),
        };
        assert_eq!(read::<Game>(Format::Json, JSON).unwrap(), game);
        let xml = "<g maxPlayers='8' rate='1.5' open='1' tags='a, b'>
            <maps name='hill'/><mode><team>4</team></mode></g>";
        assert_eq!(read::<Game>(Format::Xml, xml).unwrap(), game);
        let numbers: BTreeMap<u16, Vec<u8>> = read(Format::Yaml, "1: '2,3'\n4: []\n").unwrap();
        assert_eq!(numbers, [(1, vec![2, 3]), (4, vec![])].into());
    }

    #[test]
    fn every_kind_of_variant_is_read() {
        let modes: Vec<Mode> = read::<BTreeMap<String, Vec<Mode>>>(
            Format::Yaml,
            "a: [duel, {team: 2}, {raid: {bosses: 1}}]",
        )
        .unwrap()
        .remove("a")
        .unwrap();
        assert_eq!(modes, [Mode::Duel, Mode::Team(2), Mode::Raid { bosses: 1 }]);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_key() {
        let rows = [
            (JSON.replace("8", "\"many\""), "game.maxPlayers: invalid type: string \"many\""),
            (JSON.replace("8", "70000"), "game.maxPlayers: invalid value: integer `70000`"),
            (JSON.replace("\"hill\"", "[]"), "game.maps.0.name: invalid type: sequence"),
            (JSON.replace("rate", "rates"), "game.rates: unknown field `rates`"),
            (JSON.replace("team", "solo"), "game.mode: unknown variant `solo`"),
            (JSON.replace("4}", "\"x\"}"), "game.mode.team: invalid type: string \"x\""),
            ("{}".to_owned(), "game: missing field `maxPlayers`"),
        ];
        for (text, expected) in rows {
            let said = said(&text);
            assert!(said.starts_with(&format!("etc/game: {expected}")), "{said}");
        }
    }
}
