//! Settings follow their files, however these change.
//!
//! Every test waits for what it expects and for nothing else: a slow machine may see steps in between.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{runtime, time::timeout};
use yumen_settings::{Changes, Event, Loader, Settings, Watcher};

/// Longer than any machine needs. What is expected comes within a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of settings that is watched.
struct Watched {
    root: TempDir,
    watcher: Watcher,
    changes: Changes,
}

impl Watched {
    /// Watches `etc` in a directory that `prepare` fills.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        Self::by(prepare, |loader| loader.watch())
    }

    fn by<E: std::fmt::Debug>(
        prepare: impl FnOnce(&Path),
        watch: impl FnOnce(Loader) -> Result<Watcher, E>,
    ) -> Self {
        let root = TempDir::new().unwrap();
        prepare(root.path());
        let watcher = watch(Loader::new().dir(root.path().join("etc"))).unwrap();
        let changes = watcher.changes();
        Self { root, watcher, changes }
    }

    /// One file with `max = 1`.
    fn simple() -> Self {
        Self::new(|root| write(root.join("etc/etc.toml"), "max = 1"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Waits for the event that `is` it.
    fn until(&mut self, is: impl Fn(&Event) -> bool) -> Event {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let event = async {
                loop {
                    let event = self.changes.next().await.unwrap();
                    if is(&event) {
                        return event;
                    }
                }
            };
            timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("the change was not seen"))
        })
    }

    /// Waits until `max` is this.
    fn until_max(&mut self, wanted: Option<u32>) {
        self.until(
            |event| matches!(event, Event::Changed { settings, .. } if max(settings) == wanted),
        );
    }

    fn until_broken(&mut self) -> String {
        let event = self.until(|event| matches!(event, Event::Broken { .. }));
        let Event::Broken { errors } = event else { panic!("{event:?}") };
        errors.to_string()
    }
}

fn max(settings: &Arc<Settings>) -> Option<u32> {
    settings.get("etc.max").unwrap()
}

fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_file_that_is_written_in_place_is_read_again() {
    let mut watched = Watched::simple();
    assert_eq!(max(&watched.watcher.settings()), Some(1));
    for max in 2..5 {
        write(watched.path("etc/etc.toml"), &format!("max = {max}"));
        watched.until_max(Some(max));
    }
    assert_eq!(max(&watched.watcher.settings()), Some(4));
    assert_eq!(watched.watcher.note(), None, "this system tells of changes");
}

#[test]
fn w23_a_file_that_an_editor_replaces_is_read_again() {
    let mut watched = Watched::simple();
    for max in 2..5 {
        write(watched.path("etc/.etc.toml.swp"), &format!("max = {max}"));
        fs::rename(watched.path("etc/etc.toml"), watched.path("etc/etc.toml~")).unwrap();
        fs::rename(watched.path("etc/.etc.toml.swp"), watched.path("etc/etc.toml")).unwrap();
        watched.until_max(Some(max));
    }
}

#[test]
fn w23_a_key_that_is_removed_is_at_its_default_again() {
    let mut watched = Watched::new(|root| {
        write(root.join("etc/etc.toml"), "[packet]\nrouteBytes = 4\nseqBytes = 4");
    });
    write(watched.path("etc/etc.toml"), "[packet]\nseqBytes = 4");
    let event = watched.until(|event| {
        matches!(event, Event::Changed { settings, .. }
        if settings.tree().get("etc.packet.routeBytes").is_none()
            && settings.tree().get("etc.packet.seqBytes").is_some())
    });
    let Event::Changed { settings, changes } = event else { panic!() };
    assert_eq!(settings.packet.route_bytes, Settings::default().packet.route_bytes);
    // Where the file was seen empty on the way, seqBytes came back in this step.
    let removed = changes.iter().any(|change| change.key == "etc.packet.routeBytes");
    let came_back = changes.iter().any(|change| change.key == "etc.packet.seqBytes");
    assert!(removed || came_back, "{changes:?}");
}

#[test]
fn w23_a_file_that_is_deleted_or_moved_away_is_forgotten() {
    let mut watched = Watched::new(|root| {
        write(root.join("etc/etc.toml"), "max = 1");
        write(root.join("etc/game.toml"), "size = 1");
    });
    fs::remove_file(watched.path("etc/etc.toml")).unwrap();
    watched.until_max(None);
    fs::rename(watched.path("etc/game.toml"), watched.path("game.toml")).unwrap();
    watched.until(|event| {
        matches!(event, Event::Changed { changes, .. }
        if changes.iter().any(|change| change.key == "game.size"))
    });
    fs::rename(watched.path("game.toml"), watched.path("etc/etc.toml")).unwrap();
    watched.until(|event| {
        matches!(event, Event::Changed { settings, .. }
        if settings.get("etc.size") == Ok(Some(1)))
    });
}

#[test]
fn w23_files_in_new_directories_are_seen() {
    let mut watched = Watched::simple();
    fs::create_dir_all(watched.path("etc/more/deep")).unwrap();
    write(watched.path("etc/more/deep/game.toml"), "size = 1");
    watched.until(|event| {
        matches!(event, Event::Changed { settings, .. }
        if settings.get("game.size") == Ok(Some(1)))
    });
    write(watched.path("etc/more/deep/game.toml"), "size = 2");
    watched.until(|event| {
        matches!(event, Event::Changed { settings, .. }
        if settings.get("game.size") == Ok(Some(2)))
    });
}

#[test]
fn files_of_a_mounted_config_map_are_followed() {
    let mut watched = Watched::new(|root| {
        write(root.join("etc/..1/etc.toml"), "max = 1");
        symlink("..1", root.join("etc/..data")).unwrap();
        symlink("..data/etc.toml", root.join("etc/etc.toml")).unwrap();
    });
    for max in 2..5 {
        write(watched.path(&format!("etc/..{max}/etc.toml")), &format!("max = {max}"));
        symlink(format!("..{max}"), watched.path("etc/..data_tmp")).unwrap();
        fs::rename(watched.path("etc/..data_tmp"), watched.path("etc/..data")).unwrap();
        fs::remove_dir_all(watched.path(&format!("etc/..{}", max - 1))).unwrap();
        watched.until_max(Some(max));
    }
}

#[test]
fn a_directory_that_is_replaced_is_followed() {
    let mut watched = Watched::simple();
    for max in 2..5 {
        write(watched.path("new/etc.toml"), &format!("max = {max}"));
        fs::rename(watched.path("etc"), watched.path(&format!("old{max}"))).unwrap();
        fs::rename(watched.path("new"), watched.path("etc")).unwrap();
        watched.until_max(Some(max));
        write(watched.path("etc/etc.toml"), &format!("max = {}", max * 10));
        watched.until_max(Some(max * 10));
    }
}

#[test]
fn a_release_that_is_switched_above_the_directory_is_followed() {
    let mut watched = Watched::new(|root| {
        write(root.join("releases/1/etc/etc.toml"), "max = 1");
        write(root.join("releases/2/etc/etc.toml"), "max = 2");
        symlink("releases/1", root.join("current")).unwrap();
        symlink("current/etc", root.join("etc")).unwrap();
    });
    symlink("releases/2", watched.path("next")).unwrap();
    fs::rename(watched.path("next"), watched.path("current")).unwrap();
    watched.until_max(Some(2));
    write(watched.path("releases/2/etc/etc.toml"), "max = 3");
    watched.until_max(Some(3));
}

#[test]
fn a_directory_that_is_gone_is_an_error_until_it_is_back() {
    let mut watched = Watched::simple();
    fs::remove_dir_all(watched.path("etc")).unwrap();
    watched.until(|event| {
        matches!(event, Event::Broken { errors }
        if errors.to_string().contains("does not exist"))
    });
    assert!(max(&watched.watcher.settings()).is_none_or(|max| max == 1));
    write(watched.path("etc/etc.toml"), "max = 2");
    watched.until_max(Some(2));
}

#[test]
fn w45_a_broken_file_is_reported_and_the_last_good_settings_stay() {
    let mut watched = Watched::simple();
    let replace = |watched: &Watched, text: &str| {
        write(watched.path("etc/.new"), text);
        fs::rename(watched.path("etc/.new"), watched.path("etc/etc.toml")).unwrap();
    };
    replace(&watched, "max =");
    let said = watched.until_broken();
    assert!(said.contains("etc.toml: line 1, column 6: is not valid toml"), "{said}");
    assert_eq!(max(&watched.watcher.settings()), Some(1));
    replace(&watched, "max = 1\n[packet]\nseqBytes = 3");
    let said = watched.until_broken();
    assert!(said.contains("packet.seqBytes"), "{said}");
    assert_eq!(max(&watched.watcher.settings()), Some(1));
    replace(&watched, "max = 1");
    watched.until(|event| matches!(event, Event::Repaired));
    replace(&watched, "max = 2");
    watched.until_max(Some(2));
}

#[test]
fn where_the_system_tells_nothing_files_are_read_from_time_to_time() {
    let mut watched = Watched::by(
        |root| write(root.join("etc/etc.toml"), "max = 1"),
        |loader| loader.watch_every(Duration::from_millis(10)),
    );
    write(watched.path("etc/etc.toml"), "max = 2");
    watched.until_max(Some(2));
}

#[test]
fn who_looks_late_sees_the_sum_of_the_changes() {
    let mut watched = Watched::simple();
    let mut late = watched.watcher.changes();
    write(watched.path("etc/etc.toml"), "max = 2");
    watched.until_max(Some(2));
    write(watched.path("etc/etc.toml"), "max = 3\nmin = 1");
    watched.until(|event| {
        matches!(event, Event::Changed { settings, .. }
        if settings.get("etc.min") == Ok(Some(1)))
    });
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let Some(Event::Changed { changes, .. }) = runtime.block_on(late.next()) else { panic!() };
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["etc.max", "etc.min"]);
    assert_eq!(max(&late.settings()), Some(3));
}

#[test]
fn who_goes_by_older_settings_hears_of_both_news_since_then() {
    let mut watched = Watched::simple();
    let older = watched.watcher.settings();
    write(watched.path("etc/etc.toml"), "max = 2");
    watched.until_max(Some(2));
    write(watched.path("etc/etc.toml"), "max =");
    watched.until_broken();
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let mut late = watched.watcher.changes_since(older);
    let first = runtime.block_on(late.next());
    assert!(matches!(first, Some(Event::Changed { settings, .. }) if max(&settings) == Some(2)));
    assert!(matches!(runtime.block_on(late.next()), Some(Event::Broken { .. })));
}

#[test]
fn the_thread_ends_with_its_watcher() {
    for poll in [None, Some(Duration::from_secs(3600))] {
        let watched = Watched::by(
            |root| write(root.join("etc/etc.toml"), "max = 1"),
            |loader| match poll {
                None => loader.watch(),
                Some(period) => loader.watch_every(period),
            },
        );
        let Watched { root, watcher, mut changes } = watched;
        drop(watcher);
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let last = runtime.block_on(async { timeout(PATIENCE, changes.next()).await });
        assert!(last.unwrap().is_none(), "the thread is gone");
        drop(root);
    }
}
