//! What the `Cargo.toml` files say, as plain values that rules and stages can look at.
//!
//! Parsing takes text, so that every rule can be tested on a manifest that exists only in the test.
//! Features of a dependency are those of the workspace table and of the crate together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::Error;

/// The repository: where it is, and its member crates in the order of the root manifest.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) members: Vec<Manifest>,
}

/// One member crate.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Folder, relative to the root: `crates/yumen-net`.
    pub(crate) folder: String,
    pub(crate) name: String,
    /// Declared features, without `default`.
    pub(crate) features: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) lints_inherited: bool,
}

/// One line of a dependency table.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) section: Section,
    /// A crate of this repository.
    pub(crate) local: bool,
    pub(crate) features: BTreeSet<String>,
}

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// By whoever uses the crate, at run time or to build it.
    Normal,
    /// By the crate's own tests only.
    Test,
}

impl Workspace {
    /// Reads the repository that this program was started in.
    ///
    /// # Errors
    /// When there is none, or a manifest cannot be read.
    pub(crate) fn load() -> Result<Self, Error> {
        let root = find_root()?;
        let text = read(&root, "Cargo.toml")?;
        let table = parse(&text, "Cargo.toml")?;
        let shared = table_at(&table, &["workspace", "dependencies"]);
        let mut members = Vec::new();
        for folder in strings(table.get("workspace").and_then(|w| w.get("members"))) {
            let path = format!("{folder}/Cargo.toml");
            members.push(Manifest::parse(&folder, &read(&root, &path)?, &shared)?);
        }
        Ok(Self { root, members })
    }

    /// The text of a file of the repository, named from the root.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn read(&self, path: &str) -> Result<String, Error> {
        read(&self.root, path)
    }
}

impl Manifest {
    /// Reads one member's manifest; `shared` is the table `workspace.dependencies`.
    ///
    /// # Errors
    /// [`Error::Manifest`] when it is not toml or has no name.
    pub(crate) fn parse(folder: &str, text: &str, shared: &Table) -> Result<Self, Error> {
        let path = format!("{folder}/Cargo.toml");
        let table = parse(text, &path)?;
        let name = table.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
        let Some(name) = name else {
            return Err(Error::Manifest { path, problem: "no package name".to_owned() });
        };
        let features = table_at(&table, &["features"]);
        let features = features.keys().filter(|name| *name != "default").cloned().collect();
        let lints = table.get("lints").and_then(|lints| lints.get("workspace"));
        Ok(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            features,
            dependencies: dependencies(&table, shared),
            lints_inherited: lints.and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// Crates of this repository that it depends on, in `section`.
    pub(crate) fn local(&self, section: Section) -> BTreeSet<&str> {
        let all = self.dependencies.iter();
        all.filter(|d| d.local && d.section == section).map(|d| d.name.as_str()).collect()
    }

    /// Crates of others that it needs outside tests.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|d| !d.local && d.section == Section::Normal)
    }
}

/// All dependencies, those for one platform included.
fn dependencies(table: &Table, shared: &Table) -> Vec<Dependency> {
    let mut found = Vec::new();
    collect(table, shared, &mut found);
    for platform in table_at(table, &["target"]).values() {
        if let Some(platform) = platform.as_table() {
            collect(platform, shared, &mut found);
        }
    }
    found
}

fn collect(table: &Table, shared: &Table, found: &mut Vec<Dependency>) {
    let sections = [
        ("dependencies", Section::Normal),
        ("build-dependencies", Section::Normal),
        ("dev-dependencies", Section::Test),
    ];
    for (key, section) in sections {
        for (name, value) in &table_at(table, &[key]) {
            let inherited = if value.get("workspace").is_some() { shared.get(name) } else { None };
            let local =
                [Some(value), inherited].into_iter().flatten().any(|v| v.get("path").is_some());
            let features = strings(value.get("features"))
                .chain(strings(inherited.and_then(|v| v.get("features"))))
                .collect();
            found.push(Dependency { name: name.clone(), section, local, features });
        }
    }
}

/// The repository's root: above this package when cargo started us, else above the working folder.
fn find_root() -> Result<PathBuf, Error> {
    let start = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => PathBuf::from(package),
        None => std::env::current_dir()
            .map_err(|source| Error::Read { path: PathBuf::from("."), source })?,
    };
    for folder in start.ancestors() {
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        if text.lines().any(|line| line.trim() == "[workspace]") {
            return Ok(folder.to_path_buf());
        }
    }
    Err(Error::NoWorkspace { start })
}

fn read(root: &Path, path: &str) -> Result<String, Error> {
    let path = root.join(path);
    std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
}

/// A toml document.
///
/// # Errors
/// [`Error::Manifest`] with the parser's own words.
pub(crate) fn parse(text: &str, path: &str) -> Result<Table, Error> {
    text.parse::<Table>()
        .map_err(|problem| Error::Manifest { path: path.to_owned(), problem: problem.to_string() })
}

/// The table under these keys; empty when there is none.
pub(crate) fn table_at(table: &Table, keys: &[&str]) -> Table {
    let mut table = table;
    for key in keys {
        match table.get(*key).and_then(Value::as_table) {
            Some(inner) => table = inner,
            None => return Table::new(),
        }
    }
    table.clone()
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = String> {
    let array = value.and_then(Value::as_array).cloned().unwrap_or_default();
    array.into_iter().filter_map(|item| item.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_gives_names_features_and_both_kinds_of_dependencies() {
        let shared =
            parse("near = { path = \"near\" }\nfar = { version = \"1\", features = [\"a\"] }", "x");
        let text = "[package]\nname = \"me\"\n[features]\ndefault = []\nextra = []\n\
            [dependencies]\nnear.workspace = true\nfar = { workspace = true, features = [\"b\"] }\n\
            [target.'cfg(unix)'.dependencies]\nodd = \"2\"\n[dev-dependencies]\nprobe = \"1\"\n\
            [lints]\nworkspace = true\n";
        let manifest = Manifest::parse("me", text, &shared.unwrap()).unwrap();
        assert_eq!(manifest.name, "me");
        assert_eq!(manifest.features, ["extra"]);
        assert!(manifest.lints_inherited);
        assert_eq!(manifest.local(Section::Normal), BTreeSet::from(["near"]));
        let foreign: Vec<_> = manifest.foreign().map(|d| d.name.as_str()).collect();
        assert_eq!(foreign, ["far", "odd"]);
        let far = manifest.foreign().next().unwrap();
        assert_eq!(far.features.iter().cloned().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_manifest_without_a_name_is_refused() {
        assert!(Manifest::parse("me", "[features]\n", &Table::new()).is_err());
    }
}
