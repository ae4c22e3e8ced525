//! Every key of due v2.5 and of Yumen, against a list that is not made from the tables.

use proptest::prelude::*;
use std::{collections::BTreeMap, path::Path};
use yumen_settings::{
    Key, Settings, SettingsErrors, Standing, all_keys, all_tables,
    explain::Explained,
    tree::{Origin, Tree, Value},
    variable,
};

/// How many keys due's code reads.
const DUE: usize = 308;

/// One line of the list: what is known of a key, in the words of toml.
struct Row {
    key: &'static str,
    form: &'static str,
    default: &'static str,
    other: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let mut cell = || cells.next().expect("four cells");
        Row { key: cell(), form: cell(), default: cell(), other: cell() }
    };
    include_str!("keys.tsv").lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

impl Row {
    /// A file with this one value.
    fn written(&self, value: &str) -> Result<Settings, SettingsErrors> {
        let path = self.key.strip_prefix("etc.").expect("in etc");
        Settings::parse(&format!("{path} = {value}"), Path::new("etc.toml"))
    }

    /// The keys that the row stands for: itself, or those of a table of settings.
    fn keys(&self) -> Vec<Key> {
        let inner = format!("{}.", self.key);
        let own = |key: &Key| key.name == self.key || key.name.starts_with(&inner);
        all_keys().into_iter().filter(own).collect()
    }
}

/// What stands at a key, as the default does: the same value reads the same.
fn values(settings: &Settings, key: &str) -> Vec<(String, String)> {
    let pair = |one: Explained| (one.key, one.value);
    settings.explain(key).expect("known").into_iter().map(pair).collect()
}

#[test]
fn every_key_of_due_is_known_with_its_form_and_its_default() {
    let rows = rows();
    // Keys of Yumen that stand where one looks for them, in sections of due.
    let is_tls = |key: &str| ["caFile", "certFile", "keyFile"].iter().any(|end| key.ends_with(end));
    let ours =
        |key: &str| key.starts_with("etc.registry.") && (is_tls(key) || key.ends_with(".token"));
    let dues = |row: &&Row| !row.key.starts_with("etc.yumen.") && !ours(row.key);
    assert_eq!(rows.iter().filter(dues).count(), DUE);
    for row in rows {
        let keys = row.keys();
        assert!(!keys.is_empty(), "{} is not known", row.key);
        if keys.len() == 1 {
            let form = keys[0].form;
            assert!(
                form.starts_with(row.form) || row.form == "list or table",
                "{}: {form}",
                row.key
            );
        }
        let defaults = values(&Settings::default(), row.key);
        let written = row.written(row.default).expect(row.key);
        assert_eq!(values(&written, row.key), defaults, "{} = {}", row.key, row.default);
        assert!(written.changed(&Settings::default()).is_empty(), "{}", row.key);
        // So that the line above compares with something: a key that reads nothing has no value.
        assert!(defaults.iter().all(|(_, value)| !value.is_empty()), "{}", row.key);
    }
}

#[test]
fn nothing_is_known_that_the_list_has_not() {
    let listed: Vec<_> = rows().iter().flat_map(Row::keys).map(|key| key.name).collect();
    for key in all_keys().iter().filter(|key| key.standing != Standing::Dead) {
        assert!(listed.contains(&key.name), "{} is not in keys.tsv", key.name);
    }
}

#[test]
fn every_key_is_honoured_or_listed_or_refused_when_it_is_set() {
    for row in rows() {
        let path = row.key.strip_prefix("etc.").expect("in etc");
        let standing = row.keys()[0].standing;
        let written = row.written(row.other);
        if let Standing::Refused(_) = standing {
            let errors = written.expect_err(row.key);
            assert_eq!(errors.problems.len(), 1, "{errors}");
            assert_eq!(errors.problems[0].key, path);
            continue;
        }
        let settings = written.expect(row.key);
        let noted: Vec<_> = settings.notes.iter().map(|note| note.key.as_str()).collect();
        if matches!(standing, Standing::Live | Standing::Start) {
            assert!(noted.is_empty(), "{}: {noted:?}", row.key);
        } else {
            assert!(noted.len() == 1 && noted[0].starts_with(path), "{}: {noted:?}", row.key);
        }
        let changes = Settings::default().changed(&settings);
        assert_eq!(changes.len(), 1, "{}: {changes:?}", row.key);
        assert_eq!(changes[0].standing, Some(standing), "{}", row.key);
        let explained = settings.explain(&changes[0].key).expect("known").remove(0);
        assert_eq!(explained.from, "etc.toml");
        if let Some((old, new)) = &changes[0].values {
            assert_eq!((&explained.value, &explained.default), (new, old), "{}", row.key);
            assert_ne!(old, new, "{}", row.key);
        }
        assert!(settings.is_set(row.key));
    }
}

#[test]
fn every_key_reaches_its_field() {
    let typed = |mut settings: Settings| {
        settings.notes.clear();
        format!("{settings:?}")
    };
    for row in rows() {
        if matches!(row.keys()[0].standing, Standing::Refused(_)) {
            continue;
        }
        let written = row.written(row.other).expect(row.key);
        assert_ne!(typed(written), typed(Settings::default()), "{}", row.key);
    }
}

#[test]
fn every_key_reads_texts_as_it_reads_values() {
    for row in rows() {
        let keys = row.keys();
        let [key] = keys.as_slice() else { continue };
        if matches!(key.standing, Standing::Refused(_)) || row.other.contains('{') {
            continue;
        }
        // As the environment and xml have it: without quotes, lists with commas.
        let text: String = row.other.chars().filter(|c| !"\"[]".contains(*c)).collect();
        let mut tree = Tree::default();
        let origin = Origin::Env(key.variable().into());
        tree.set(key.name, Value::Text(text), origin).expect("room");
        let read = Settings::from_tree(tree, Vec::new()).expect(row.key);
        let written = row.written(row.other).expect(row.key);
        assert_eq!(values(&read, row.key), values(&written, row.key));
    }
}

#[test]
fn the_keys_that_are_live_are_these() {
    let live: Vec<_> = all_keys()
        .into_iter()
        .filter(|key| key.standing == Standing::Live)
        .map(|key| key.path())
        .collect();
    let expected = [
        "cluster.node.weight",
        "network.tcp.server.maxConnNum",
        "network.ws.server.maxConnNum",
        "log.level",
        "log.terminals",
        "yumen.gate.messagesPerSecondMax",
        "yumen.gate.perAddressMax",
    ];
    assert_eq!(live, expected);
}

#[test]
fn every_file_for_tls_is_used_or_refused_and_every_secret_is_one() {
    let used = ["network.", "locate.redis.", "registry.", "yumen.cluster."];
    for key in all_keys() {
        let last = key.name.rsplit('.').next().unwrap_or_default();
        let file = ["certFile", "keyFile", "caFile"].contains(&last);
        let path = key.path();
        let refused = !used.iter().any(|section| path.starts_with(section));
        if file {
            assert_eq!(refused, matches!(key.standing, Standing::Refused(_)), "{path}");
        }
        let low = last.to_lowercase();
        let secret = ["password", "secret", "token", "accesskey", "privatekey"];
        if secret.iter().any(|word| low.contains(word)) {
            assert!(key.secret, "{}", key.name);
        }
    }
}

#[test]
fn a_secret_is_in_no_text_that_is_made_of_it() {
    for key in all_keys().into_iter().filter(|key| key.secret) {
        for value in [Value::Text("hunter2".into()), Value::List(Vec::new())] {
            let mut tree = Tree::default();
            tree.set(key.name, value, Origin::Code).expect("room");
            let said = match Settings::from_tree(tree, Vec::new()) {
                Ok(settings) => format!(
                    "{settings:?} {:?} {:?}",
                    settings.explain(""),
                    Settings::default().changed(&settings)
                ),
                Err(errors) => format!("{errors:?} {errors}"),
            };
            assert!(said.contains(key.path()), "{}", key.name);
            assert!(!said.contains("hunter2"), "{}", key.name);
        }
    }
}

#[test]
fn no_two_keys_have_the_same_variable() {
    let mut variables = BTreeMap::new();
    for key in all_keys() {
        if let Some(other) = variables.insert(variable(key.name), key.name) {
            assert_eq!(other, key.name, "{}", variable(key.name));
        }
    }
    assert!(!variables.contains_key("DUE_MODE") && !variables.contains_key("DUE_ETC"));
}

#[test]
fn every_key_says_what_it_is_for() {
    for table in all_tables() {
        assert!(table.doc.trim().ends_with('.'), "{}", table.name);
        for key in table.keys {
            assert!(key.name.starts_with(table.name), "{}", key.name);
            assert!(key.doc.trim().ends_with('.'), "{}: {}", key.name, key.doc);
        }
    }
}

/// Any value, and tables with names of keys in them.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        ".*".prop_map(Value::Text),
        "-?[0-9.]{0,24}[a-zA-Z]{0,3}".prop_map(Value::Text),
    ];
    let node = |value| yumen_settings::tree::Node { value, origin: Origin::Code };
    leaf.prop_recursive(2, 8, 4, move |inner| {
        let list = prop::collection::vec(inner.clone().prop_map(node), 0..4);
        let table = prop::collection::btree_map("[a-z]{1,8}", inner.prop_map(node), 0..4);
        prop_oneof![list.prop_map(Value::List), table.prop_map(Value::Table)]
    })
}

proptest! {
    #[test]
    fn no_value_of_any_key_makes_reading_panic(value in value(), at in any::<prop::sample::Index>()) {
        let keys = all_keys();
        let key = at.get(&keys);
        for name in [key.name, key.name.rsplit_once('.').map_or("etc", |(table, _)| table)] {
            let mut tree = Tree::default();
            if tree.set(name, value.clone(), Origin::Code).is_err() {
                continue;
            }
            match Settings::from_tree(tree, Vec::new()) {
                Ok(settings) => drop((settings.explain(""), settings.changed(&Settings::default()))),
                Err(errors) => prop_assert!(!errors.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn what_a_key_shows_reads_as_the_same(value in value(), at in any::<prop::sample::Index>()) {
        let keys = all_keys();
        let key = at.get(&keys);
        let mut tree = Tree::default();
        tree.set(key.name, value, Origin::Code).expect("room");
        if key.secret || key.standing == Standing::Dead {
            return Ok(());
        }
        if let Ok(settings) = Settings::from_tree(tree, Vec::new()) {
            let shown = settings.explain(key.name).expect("known").remove(0).value;
            let path = key.name.strip_prefix("etc.").unwrap_or_default();
            let again = Settings::parse(&format!("{path} = {shown}"), Path::new("etc.toml"));
            let again = again.map_err(|errors| TestCaseError::fail(errors.to_string()))?;
            prop_assert_eq!(&again.explain(key.name).expect("known").remove(0).value, &shown);
        }
    }
}
