//! xml: elements and attributes as keys, repetition as a list, every value a text.
//!
//! It expands no entity but the five of xml and character numbers, and refuses a document type, so
//! nothing in a file unfolds to more than is written.

use super::{DEPTH_MAX, Fault, Format, node};
use crate::{problem::Position, tree::Value};
use quick_xml::{
    Reader, XmlVersion, escape,
    events::{BytesRef, BytesStart, Event},
};
use std::collections::BTreeMap;

pub(super) fn parse(text: &str) -> Result<Value, Fault> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut file = File { open: Vec::new(), root: None };
    loop {
        let start = reader.buffer_position();
        let event = reader.read_event();
        let result = match event {
            Ok(Event::Eof) => break,
            Ok(event) => file.take(event),
            Err(error) => {
                let position = position(text, reader.error_position());
                return Err(Fault::invalid(Format::Xml, position, error));
            }
        };
        if let Err(wrong) = result {
            // An element's own place is that of its name, behind the space before it.
            let position = position(text, start);
            return Err(match wrong {
                Wrong::Said(what) => Fault::invalid(Format::Xml, position, what),
                Wrong::TooDeep => Fault::too_deep(position),
            });
        }
    }
    match file {
        File { open, .. } if !open.is_empty() => {
            let names: Vec<_> = open.iter().rev().map(|element| element.name.as_str()).collect();
            let what = format!("`{}` is not closed", names.join("` in `"));
            Err(Fault::invalid(Format::Xml, position(text, reader.buffer_position()), what))
        }
        File { root, .. } => Ok(match root {
            None => Value::Null,
            // `<etc/>` and `<etc></etc>` are a file without keys.
            Some(Value::Text(empty)) if empty.is_empty() => Value::Null,
            Some(value) => value,
        }),
    }
}

fn position(text: &str, offset: u64) -> Option<Position> {
    usize::try_from(offset).ok().map(|offset| Position::of(text, offset))
}

/// What is wrong with an event.
enum Wrong {
    Said(String),
    TooDeep,
}

impl From<quick_xml::Error> for Wrong {
    fn from(error: quick_xml::Error) -> Self {
        Self::Said(error.to_string())
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Said(what.into()))
}

/// A file while it is read.
struct File {
    /// From the root to the element that is being read.
    open: Vec<Element>,
    root: Option<Value>,
}

/// An element whose end has not been read.
#[derive(Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: BTreeMap<String, Vec<Value>>,
    text: String,
    /// The text, or some of it, stood in `CDATA`: the space around it counts.
    is_literal: bool,
}

impl File {
    fn take(&mut self, event: Event<'_>) -> Result<(), Wrong> {
        match event {
            Event::Start(start) | Event::Empty(start) => self.begin(&start),
            Event::End(_) => self.end(),
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => {
                if let Some(element) = self.open.last_mut() {
                    element.is_literal = true;
                }
                self.text(&text.xml10_content())
            }
            Event::GeneralRef(reference) => self.text(&resolve(&reference)?),
            Event::DocType(_) => wrong("a document type is not read; remove it"),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::Eof => Ok(()),
        }
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), Wrong> {
        if self.root.is_some() {
            return wrong("there is a second root; put all keys into one");
        }
        if self.open.len() >= DEPTH_MAX.saturating_add(1) {
            return Err(Wrong::TooDeep);
        }
        let mut attributes = BTreeMap::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(quick_xml::Error::from)?;
            let name = attribute.key.as_ref();
            // Names of namespaces and of xml itself are no keys.
            if name == "xmlns" || name.starts_with("xmlns:") || name.starts_with("xml:") {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
            attributes.insert(name.to_owned(), value.into_owned());
        }
        let name = start.name().as_ref().to_owned();
        self.open.push(Element { name, attributes, ..Element::default() });
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Wrong> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return wrong("there is text outside of the root"),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Wrong> {
        let Some(element) = self.open.pop() else { return Ok(()) };
        let name = element.name.clone();
        let value = element.value()?;
        match self.open.last_mut() {
            Some(parent) => parent.children.entry(name).or_default().push(value),
            None => self.root = Some(value),
        }
        Ok(())
    }
}

impl Element {
    fn value(self) -> Result<Value, Wrong> {
        let Self { name, attributes, children, text, is_literal } = self;
        if attributes.is_empty() && children.is_empty() {
            return Ok(Value::Text(if is_literal { text } else { text.trim().to_owned() }));
        }
        if !text.trim().is_empty() {
            return wrong(format!("`{name}` has a text beside its keys; give the text a key"));
        }
        let mut table = BTreeMap::new();
        for (key, mut values) in children {
            if attributes.contains_key(&key) {
                return wrong(format!(
                    "`{key}` in `{name}` is an attribute and an element; keep one"
                ));
            }
            let value = match (values.pop(), values.is_empty()) {
                (Some(only), true) => only,
                (last, _) => Value::List(values.into_iter().chain(last).map(node).collect()),
            };
            table.insert(key, node(value));
        }
        let attributes = attributes.into_iter().map(|(key, text)| (key, node(Value::Text(text))));
        table.extend(attributes);
        Ok(Value::Table(table))
    }
}

/// What `&name;` stands for.
fn resolve(reference: &BytesRef<'_>) -> Result<String, Wrong> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(character.to_string());
    }
    let name = reference.xml10_content();
    match escape::resolve_xml_entity(&name) {
        Some(text) => Ok(text.to_owned()),
        None => wrong(format!("`&{name};` stands for nothing; write `&amp;` for an ampersand")),
    }
}
