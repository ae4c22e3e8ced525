//! What happens when settings files change while the program runs: the log takes over what it may,
//! instances get the new settings to follow, and each change is said with what becomes of it.
//!
//! Files that cannot be used change nothing: the last good settings stay.

use super::control::{Control, Phase};
use yumen_settings::{Event, Standing, Watcher};

/// Follows the files for ever.
pub(super) async fn follow(watcher: Watcher, control: Control) {
    if let Some(note) = watcher.note() {
        tracing::warn!("{note}");
    }
    // The program was built with these, and its instances follow what comes after their start.
    let built_with = control.settings();
    let mut phase = control.phases();
    while phase.current() == Phase::Starting && phase.changed().await {}
    let mut changes = watcher.changes_since(built_with);
    while let Some(event) = changes.next().await {
        match event {
            Event::Changed { settings, changes } => {
                if let Some(Err(error)) = control.logs().map(|logs| logs.reload(&*settings)) {
                    tracing::warn!("the log stays as it was: {error}");
                }
                control.count_reload(true);
                control.set_settings(settings);
                for change in changes {
                    match change.standing {
                        Some(Standing::Live) => tracing::info!("{change}: applied"),
                        Some(Standing::Start) => {
                            tracing::warn!("{change}: takes effect at the next start");
                        }
                        Some(_) => tracing::info!("{change}: without effect"),
                        None => tracing::info!("{change}: changed, for the game to read"),
                    }
                }
            }
            Event::Broken { errors } => {
                control.count_reload(false);
                tracing::error!(
                    "the settings cannot be used, so the last good ones stay:\n{errors}"
                );
            }
            Event::Repaired => tracing::info!("the settings can be used again; nothing differs"),
            _ => {}
        }
    }
}
