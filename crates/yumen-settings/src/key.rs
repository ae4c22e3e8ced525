//! What is known of each key, and the one table per section from which all of it comes.
//!
//! A table becomes the struct with its fields, the default, the reading, the explanation and the
//! reference page, so a key cannot be in one and not in the others. Nothing here reads or checks.

use crate::{form::Form, tree::Value};

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Honoured, and a change of the file applies while the program runs.
    Live,
    /// Honoured; a change needs a restart.
    Start,
    /// Known and not honoured yet, for this reason; said once at the start if it was set.
    NotYet(&'static str),
    /// Refused unless empty, since going on without it would be less safe than asked for; this is what
    /// to do instead.
    Refused(&'static str),
    /// Deliberately without effect, for this reason; said once at the start if it was set.
    NoEffect(&'static str),
    /// due reads it neither: accepted, and said once at the start if it was set.
    Dead,
}

impl Standing {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Start => "start",
            Self::NotYet(_) => "not yet",
            Self::Refused(_) => "refused",
            Self::NoEffect(_) => "no effect",
            Self::Dead => "dead",
        }
    }

    /// What it means, in a sentence.
    pub fn text(self) -> String {
        match self {
            Self::Live => "honoured; a change applies at once".to_owned(),
            Self::Start => "honoured; a change needs a restart".to_owned(),
            Self::NotYet(why) => format!("not honoured yet: {why}"),
            Self::Refused(instead) => format!("refused unless empty: not honoured yet; {instead}"),
            Self::NoEffect(why) => format!("no effect: {why}"),
            Self::Dead => "no effect: due does not read it either".to_owned(),
        }
    }
}

/// What else is asked of a text; the error is what is wrong with it.
pub(crate) type Check = fn(&str) -> Result<(), String>;

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// With the stem of its file: `etc.packet.routeBytes`.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// The form of its values: `text`, `duration` …
    pub form: &'static str,
    /// What becomes of it.
    pub standing: Standing,
    /// Where due's documents say something else than its code does, or do not say it.
    pub due: Option<&'static str>,
    /// Whether its value is never shown.
    pub secret: bool,
    /// The field of its struct, which is the key's own name as Rust writes it.
    pub(crate) field: &'static str,
    pub(crate) wanted: &'static str,
    pub(crate) default: fn() -> Value,
    pub(crate) show: fn(&Value) -> Option<String>,
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) below_is_default: bool,
    pub(crate) words: &'static [&'static str],
    pub(crate) check: Option<Check>,
}

/// As [`Form::show`], for a value that was written.
pub(crate) fn shown<T: Form>(value: &Value) -> Option<String> {
    Some(T::read(value)?.value.show())
}

impl Key {
    pub(crate) const fn new<T: Form>(
        name: &'static str,
        doc: &'static str,
        default: fn() -> Value,
        standing: Standing,
    ) -> Self {
        Self {
            name,
            doc,
            form: T::NAME,
            standing,
            due: None,
            secret: T::SECRET,
            field: "",
            wanted: T::WANTED,
            default,
            show: shown::<T>,
            range: None,
            below_is_default: false,
            words: &[],
            check: None,
        }
    }

    pub(crate) const fn field(mut self, field: &'static str) -> Self {
        self.field = field;
        self
    }

    /// From `least` to `most`, in bytes or nanoseconds for sizes and durations.
    pub(crate) const fn range(mut self, least: i64, most: i64) -> Self {
        self.range = Some((least, most));
        self
    }

    /// At least `least`.
    pub(crate) const fn least(self, least: i64) -> Self {
        self.range(least, i64::MAX)
    }

    /// What is below the range counts as not given.
    pub(crate) const fn below_is_default(mut self) -> Self {
        self.below_is_default = true;
        self
    }

    /// One of these words.
    pub(crate) const fn words(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// Something else to ask of a text.
    pub(crate) const fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Where due's documents and code differ.
    pub(crate) const fn due(mut self, note: &'static str) -> Self {
        self.due = Some(note);
        self
    }

    /// Without the stem of its file: `packet.routeBytes`.
    pub fn path(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, path)| path)
    }

    /// The default, as it is written in toml.
    pub fn default_text(&self) -> String {
        (self.show)(&(self.default)()).unwrap_or_default()
    }

    /// What values it may have, as `1 to 65535`. Empty where every value of its form will do.
    pub fn range_text(&self) -> String {
        if !self.words.is_empty() {
            return self.words.join(", ");
        }
        let shown = |bound| {
            let text = (self.show)(&Value::Int(bound)).unwrap_or_default();
            text.trim_matches('"').to_owned()
        };
        match self.range {
            None => String::new(),
            Some((least, i64::MAX)) => format!("at least {}", shown(least)),
            Some((least, most)) => format!("{} to {}", shown(least), shown(most)),
        }
    }

    /// The environment variable for it: `YUMEN_PACKET_ROUTEBYTES`.
    pub fn variable(&self) -> String {
        crate::layers::variable(self.name)
    }
}

/// The keys of one table of a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Table {
    /// With the stem of its file: `etc.packet`; `etc` for what stands above all tables.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys, without those of the tables in it.
    pub keys: Vec<Key>,
}

impl Table {
    /// Without the stem of its file: `packet`. Empty for what stands above all tables.
    pub fn path(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, path)| path)
    }
}

/// A struct that is read from one table, the tables in it included.
pub(crate) trait Section: Default {
    /// Its table, and those in it.
    fn tables(all: &mut Vec<Table>);

    /// Its values.
    fn read(reader: &mut crate::section::Reader<'_>) -> Self;
}

/// One section: its struct, and what [`Section`] asks for.
///
/// A row is `field "key": Type = default, standing => options;` under its documentation. The default
/// is written as in a settings file and read as one. Options are the `const` methods of [`Key`].
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident $path:literal {$(
            $(#[doc = $doc:literal])+
            $field:ident $key:literal: $type:ty = $default:expr, $standing:expr
                $(=> $($option:ident $arguments:tt)+)?;
        )*}
        $(tables {$(
            $(#[doc = $inner_doc:literal])+
            $inner:ident: $inner_type:ty;
        )*})?
        $(dead {$( $dead:literal )*})?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Key `", $path, ".", $key, "`, default `", stringify!($default), "`.")]
                pub $field: $type,
            )*
            $($(
                $(#[doc = $inner_doc])+
                pub $inner: $inner_type,
            )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $crate::section::default_of::<$type>(
                        &$crate::form::Literal::value($default),
                    ),)*
                    $($($inner: <$inner_type>::default(),)*)?
                }
            }
        }

        impl $crate::key::Section for $name {
            fn tables(all: &mut Vec<$crate::key::Table>) {
                all.push($crate::key::Table {
                    name: $path,
                    doc: concat!($($about),+),
                    keys: vec![
                        $(const {
                            $crate::key::Key::new::<$type>(
                                concat!($path, ".", $key),
                                concat!($($doc),+),
                                || $crate::form::Literal::value($default),
                                $standing,
                            ).field(stringify!($field))$($(.$option $arguments)+)?
                        },)*
                        $($($crate::keys::dead(concat!($path, ".", $dead)),)*)?
                    ],
                });
                $($(<$inner_type as $crate::key::Section>::tables(all);)*)?
            }

            fn read(reader: &mut $crate::section::Reader<'_>) -> Self {
                Self {
                    $($field: reader.value::<$type>(concat!($path, ".", $key)),)*
                    $($($inner: <$inner_type as $crate::key::Section>::read(reader),)*)?
                }
            }
        }
    };
}
pub(crate) use section;
