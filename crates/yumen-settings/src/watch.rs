//! Reads settings again when their files change, and keeps the last good ones when what is there now
//! cannot be used.
//!
//! It says what changed and never applies it. The one thing to know: it watches names, not files. A
//! file may be written in place, replaced by an editor, deleted, moved, or be a link that is pointed
//! elsewhere, as in a mounted config map; the directory itself and the ones above it may be replaced.
//! What is read is always everything, so a key that was removed is at its default again.

mod paths;

use crate::{
    Loader, Settings,
    changes::Change,
    problem::{Note, Problem, SettingsErrors},
};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use paths::Paths;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};
use tokio::sync::watch;

/// How long the files must have been quiet before they are read.
const QUIET: Duration = Duration::from_millis(100);

/// How often more may happen to the files before they are read all the same.
const DISTURBED_MAX: u32 = 50;

/// How often the files are read where the system does not tell of changes.
const POLL: Duration = Duration::from_secs(2);

/// Settings that follow their files. Dropping it ends its thread, after which [`Changes`] end.
#[derive(Debug)]
pub struct Watcher {
    states: watch::Receiver<State>,
    is_over: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

impl Watcher {
    /// The last settings that were good.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.states.borrow().settings)
    }

    /// What happens from now on. Any number of them may follow one watcher.
    pub fn changes(&self) -> Changes {
        let mut states = self.states.clone();
        let State { settings, broken, .. } = states.borrow_and_update().clone();
        let news = VecDeque::new();
        Changes { states, seen: settings, is_broken: broken.is_some(), news }
    }

    /// As [`changes`](Self::changes), for whoever goes by `settings` that were read before: the first
    /// event has what differs from these, if anything does.
    pub fn changes_since(&self, settings: Arc<Settings>) -> Changes {
        let news = VecDeque::new();
        let states = self.states.clone();
        let mut changes = Changes { states, seen: settings, is_broken: false, news };
        changes.look();
        changes
    }

    /// Why files are read every two seconds, if the system does not tell of changes.
    pub fn note(&self) -> Option<Note> {
        self.states.borrow().note.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Full means that the thread is about to look.
        let _about_to_look = self.wake.try_send(());
    }
}

/// What the thread has found last.
#[derive(Clone, Debug)]
struct State {
    settings: Arc<Settings>,
    broken: Option<Arc<SettingsErrors>>,
    note: Option<Note>,
}

/// Something happened to the files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Other settings are in the files now.
    Changed {
        /// All of them.
        settings: Arc<Settings>,
        /// What differs from the settings of the event before; see [`Settings::changed`].
        changes: Vec<Change>,
    },
    /// The files cannot be used; what was good before still counts.
    Broken {
        /// Why.
        errors: Arc<SettingsErrors>,
    },
    /// The files can be used again and say what they said before.
    Repaired,
}

/// Follows a [`Watcher`]. Whoever looks late sees the latest, and every difference from what it saw.
#[derive(Clone, Debug)]
pub struct Changes {
    states: watch::Receiver<State>,
    seen: Arc<Settings>,
    is_broken: bool,
    /// At most two: other settings, and that there are newer ones which are broken.
    news: VecDeque<Event>,
}

impl Changes {
    /// The settings of the last event, or those when this was made.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.seen)
    }

    /// Waits for the next event. `None` when the watcher is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.news.pop_front() {
                return Some(event);
            }
            self.states.changed().await.ok()?;
            self.look();
        }
    }

    /// Compares the state with what was seen.
    fn look(&mut self) {
        let State { settings, broken, .. } = self.states.borrow_and_update().clone();
        let changes = self.seen.changed(&settings);
        let has_changed = !changes.is_empty();
        if has_changed {
            self.news.push_back(Event::Changed { settings: Arc::clone(&settings), changes });
        }
        self.seen = settings;
        let was_broken = std::mem::replace(&mut self.is_broken, broken.is_some());
        match broken {
            Some(errors) => self.news.push_back(Event::Broken { errors }),
            None if was_broken && !has_changed => self.news.push_back(Event::Repaired),
            None => {}
        }
    }
}

impl Loader {
    /// Loads, and loads again whenever a file changes. Changes that follow each other are waited for: a
    /// file is read after 100 ms without one.
    ///
    /// The system is asked to tell of changes. If it cannot, files are read every two seconds and
    /// [`Watcher::note`] says so. Network file systems often cannot tell and do not say so; use
    /// [`watch_every`](Self::watch_every) for these.
    ///
    /// # Errors
    /// As [`load`](Self::load), for the first time; later, [`Event::Broken`] reports the same. Also if
    /// the system gives no thread.
    pub fn watch(self) -> Result<Watcher, SettingsErrors> {
        Reader::start(self, None)
    }

    /// As [`watch`](Self::watch), but reads the files every `period` and asks nothing of the system.
    /// `period` is at least 10 ms.
    ///
    /// # Errors
    /// As [`watch`](Self::watch).
    pub fn watch_every(self, period: Duration) -> Result<Watcher, SettingsErrors> {
        Reader::start(self, Some(period.max(Duration::from_millis(10))))
    }
}

/// What the thread owns.
struct Reader {
    loader: Loader,
    states: watch::Sender<State>,
    is_over: Arc<AtomicBool>,
    wake: SyncSender<()>,
    woken: Receiver<()>,
    /// Tells of changes while it is there. None: the files are read every `period`.
    eyes: Option<RecommendedWatcher>,
    period: Duration,
    asks_system: bool,
}

impl Reader {
    fn start(loader: Loader, period: Option<Duration>) -> Result<Watcher, SettingsErrors> {
        let (wake, woken) = sync_channel(1);
        // Eyes first: what changes while files are read is seen afterwards.
        let (eyes, note) = match period {
            Some(_) => (None, None),
            None => open_eyes(&loader, &wake),
        };
        let settings = Arc::new(loader.load()?);
        let (states, receiver) = watch::channel(State { settings, broken: None, note });
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = Self {
            loader,
            states,
            is_over: Arc::clone(&is_over),
            wake: wake.clone(),
            woken,
            eyes,
            period: period.unwrap_or(POLL),
            asks_system: period.is_none(),
        };
        let thread = thread::Builder::new().name("yumen-settings".to_owned());
        match thread.spawn(move || reader.run()) {
            Ok(_) => Ok(Watcher { states: receiver, is_over, wake }),
            Err(error) => {
                let what = format!("no thread to watch the files: {error}");
                Err(SettingsErrors { problems: vec![Problem::new(None, "", what)] })
            }
        }
    }

    fn run(mut self) {
        while self.wait() {
            if self.asks_system {
                let (eyes, note) = open_eyes(&self.loader, &self.wake);
                self.eyes = eyes;
                self.states.send_if_modified(|state| {
                    state.note = note;
                    false
                });
            }
            self.read();
        }
    }

    /// Waits until the files may have changed and are quiet. False: it is over.
    fn wait(&self) -> bool {
        if self.eyes.is_none() {
            // Nobody wakes this but who ends it.
            let _time_or_end = self.woken.recv_timeout(self.period);
            return !self.is_over.load(Ordering::Acquire);
        }
        if self.woken.recv().is_err() {
            return false;
        }
        for _ in 0..DISTURBED_MAX {
            if self.is_over.load(Ordering::Acquire) {
                return false;
            }
            if self.woken.recv_timeout(QUIET) == Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        !self.is_over.load(Ordering::Acquire)
    }

    /// Reads everything and says what is news.
    fn read(&self) {
        let found = self.loader.load();
        self.states.send_if_modified(|state| match found {
            Ok(settings) => {
                let is_same = state.settings.changed(&settings).is_empty();
                let was_broken = state.broken.take().is_some();
                // Places and notes may be others, even where the values are the same.
                state.settings = Arc::new(settings);
                was_broken || !is_same
            }
            Err(errors) if state.broken.as_deref() == Some(&errors) => false,
            Err(errors) => {
                state.broken = Some(Arc::new(errors));
                true
            }
        });
    }
}

/// Asks the system to wake up the thread when a file changes, at the names that count now.
fn open_eyes(loader: &Loader, wake: &SyncSender<()>) -> (Option<RecommendedWatcher>, Option<Note>) {
    match eyes(Paths::of(&loader.place()), wake.clone()) {
        Ok(eyes) => (Some(eyes), None),
        Err(error) => {
            let every = POLL.as_secs();
            let what = format!(
                "files are read every {every} s, since the system does not tell of changes: {error}"
            );
            (None, Some(Note::new(None, "", what)))
        }
    }
}

fn eyes(paths: Paths, wake: SyncSender<()>) -> notify::Result<RecommendedWatcher> {
    let directories = paths.directories();
    let mut eyes = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_read(&event.kind) || !paths.count(&event)) {
            return;
        }
        // Full means that the thread is about to read anyway.
        let _about_to_read = wake.try_send(());
    })?;
    for directory in directories {
        eyes.watch(&directory, RecursiveMode::NonRecursive)?;
    }
    Ok(eyes)
}

/// Whether the event changed nothing: reading the files must not have them read again.
fn is_read(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access != AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, ModifyKind, RemoveKind};

    #[test]
    fn reading_the_files_is_no_reason_to_read_them_again() {
        let reads = [
            AccessKind::Read,
            AccessKind::Open(AccessMode::Any),
            AccessKind::Open(AccessMode::Write),
            AccessKind::Close(AccessMode::Read),
        ];
        assert!(reads.into_iter().all(|access| is_read(&EventKind::Access(access))));
        let changes = [
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Remove(RemoveKind::File),
        ];
        assert!(!changes.iter().any(is_read));
    }
}
