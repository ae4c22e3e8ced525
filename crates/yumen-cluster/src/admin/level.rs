//! `/log`: reading and setting the level of the log while the process runs.
//!
//! A level may be set for a time; then the former one comes back by itself, unless somebody has set
//! another one meanwhile. The one thing to know: several levels for a time, one after the other, all
//! end at the level that held before the first.

use super::{
    answer::{self, Answer, Problem},
    body::whole,
    desk::At,
};
use crate::app::Control;
use axum::{
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use yumen_log::{Filter, FilterError, Logs, Severity};
use yumen_settings::value;

/// Longest time for which a level may be set.
const FOR_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// What a wrong request is answered.
const FORMS: &str = "PUT a level (trace, debug, info, warn, error, off), with others for modules \
                     behind it as in info,yumen_cluster::gate=debug, as text or as \
                     {\"level\": \"…\"}; ?for=10m sets it for a time of at most 168h";

/// A level that was set for a time.
#[derive(Clone, Debug)]
struct Passing {
    /// What held before.
    former: Filter,
    /// What was set.
    now: Filter,
    after: Duration,
}

/// Levels that were set for a time.
#[derive(Debug, Default)]
pub(super) struct Levels {
    passing: Mutex<Option<Passing>>,
    changed: Notify,
}

impl Levels {
    fn passing(&self) -> MutexGuard<'_, Option<Passing>> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the level: for good, or for a time. Gives what held before.
    fn set(
        &self,
        logs: &Logs,
        text: &str,
        after: Option<Duration>,
    ) -> Result<Changed, FilterError> {
        let mut passing = self.passing();
        let was = logs.level();
        logs.set_level(text)?;
        let now = logs.level();
        let first = passing.take().filter(|passing| passing.now == was);
        let former = first.map_or_else(|| was.clone(), |passing| passing.former);
        let falls_back_to = after.map(|_| former.to_string());
        let changed = Changed { was: was.to_string(), now: now.to_string(), falls_back_to };
        *passing = after.map(|after| Passing { former, now, after });
        self.changed.notify_one();
        Ok(changed)
    }

    /// Brings former levels back when their time has come, for ever.
    pub(super) async fn fall_back(&self, control: &Control) -> Infallible {
        loop {
            let Some(after) = self.passing().as_ref().map(|passing| passing.after) else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = tokio::time::sleep(after) => self.end(control),
            }
        }
    }

    fn end(&self, control: &Control) {
        let (Some(passing), Some(logs)) = (self.passing().take(), control.logs()) else { return };
        // Whoever set another level meanwhile, by a file or in code, meant it.
        let former = passing.former.to_string();
        if logs.level() == passing.now && logs.set_level(&former).is_ok() {
            tracing::info!(level = former, "the log level is as before again");
        }
    }
}

/// How a level is written in JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    level: String,
}

/// What `PUT /log` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LevelQuery {
    #[serde(rename = "for")]
    after: Option<String>,
}

#[derive(Serialize)]
struct Level {
    level: String,
    falls_back_to: Option<String>,
    written: u64,
    dropped: u64,
    lost: u64,
}

#[derive(Serialize)]
struct Changed {
    was: String,
    now: String,
    falls_back_to: Option<String>,
}

/// The level, and what has become of the lines.
pub(super) async fn read(State(desk): At) -> Answer {
    let logs = logs(&desk.control)?;
    let passing = desk.levels.passing().clone();
    let body = Level {
        level: logs.level().to_string(),
        falls_back_to: passing.map(|passing| passing.former.to_string()),
        written: logs.written(),
        dropped: logs.dropped(),
        lost: logs.lost(),
    };
    Ok(answer::json(StatusCode::OK, &body))
}

/// Sets the level.
pub(super) async fn write(
    State(desk): At,
    query: Result<Query<LevelQuery>, QueryRejection>,
    body: Body,
) -> Answer {
    let Query(query) = query.map_err(|error| Problem::bad(error.body_text(), FORMS))?;
    let after = query.after.as_deref().map(time).transpose()?;
    let level = level(&whole(body).await?)?;
    let (logs, wrong) =
        (logs(&desk.control)?, |error: FilterError| Problem::bad(error.to_string(), FORMS));
    let filter: Filter = level.parse().map_err(wrong)?;
    let tell = || tracing::info!(level, "the log level is set over admin");
    // A level that hides this line is told of while it can still be seen.
    let hides = !filter.lets(module_path!(), Severity::Info);
    hides.then(tell);
    let changed = desk.levels.set(&logs, &level, after).map_err(wrong)?;
    (!hides).then(tell);
    Ok(answer::json(StatusCode::OK, &changed))
}

fn logs(control: &Control) -> Result<Logs, Problem> {
    control.logs().ok_or_else(|| {
        let error = "this program writes its log by itself, so its level cannot be read or set";
        let help = "start it with App::main, or hand App::logs what yumen_log::init gave";
        Problem::new(StatusCode::CONFLICT, error, help)
    })
}

/// The level that a body asks for, in either form.
fn level(body: &[u8]) -> Result<String, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::bad("the body is no text", FORMS))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::bad("the body is empty", FORMS));
    }
    if !text.starts_with('{') {
        return Ok(text.to_owned());
    }
    let wanted: Result<Wanted, _> = serde_json::from_str(text);
    Ok(wanted.map_err(|error| Problem::bad(format!("the body: {error}"), FORMS))?.level)
}

fn time(text: &str) -> Result<Duration, Problem> {
    let wrong = || Problem::bad(format!("for={text} is no duration"), FORMS);
    let time = value::duration(text).ok_or_else(wrong)?;
    if time.is_zero() || time > FOR_MAX {
        return Err(Problem::bad(format!("for={text} is not between 0 and 168h"), FORMS));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use yumen_log::Options;

    /// A log that writes nowhere, and the app that knows it.
    fn app() -> (Logs, Control) {
        let mut options = Options::default();
        (options.console, options.file) = (None, None);
        let logs = yumen_log::build(options).unwrap().1;
        let control = App::default().logs(logs.clone()).control();
        (logs, control)
    }

    /// Runs `levels` beside `steps`, in virtual time.
    fn run(steps: impl AsyncFnOnce(&Levels, &Logs)) {
        let (logs, control) = app();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let levels = Levels::default();
        runtime.block_on(async {
            tokio::select! {
                never = levels.fall_back(&control) => match never {},
                () = steps(&levels, &logs) => {}
            }
        });
    }

    const MINUTE: Duration = Duration::from_secs(60);

    async fn pass(time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn set(levels: &Levels, logs: &Logs, text: &str, minutes: u32) -> Changed {
        levels.set(logs, text, (minutes > 0).then_some(MINUTE * minutes)).unwrap()
    }

    #[test]
    fn the_former_level_comes_back_at_its_time_and_not_before() {
        run(async |levels, logs| {
            set(levels, logs, "debug", 10);
            pass(MINUTE * 10 - Duration::from_millis(2)).await;
            assert_eq!(logs.level().to_string(), "debug");
            pass(Duration::from_millis(4)).await;
            assert_eq!(logs.level().to_string(), "info");
            assert!(levels.passing().is_none());
        });
    }

    #[test]
    fn several_levels_for_a_time_all_end_at_the_first_former_one() {
        run(async |levels, logs| {
            set(levels, logs, "debug", 10);
            pass(MINUTE * 5).await;
            let changed = set(levels, logs, "trace", 10);
            assert_eq!(changed.falls_back_to.as_deref(), Some("info"));
            pass(MINUTE * 9).await;
            assert_eq!(logs.level().to_string(), "trace", "its time began anew");
            pass(MINUTE * 2).await;
            assert_eq!(logs.level().to_string(), "info");
        });
    }

    #[test]
    fn a_level_that_somebody_set_meanwhile_is_kept() {
        run(async |levels, logs| {
            set(levels, logs, "debug", 10);
            logs.set_level("error").unwrap();
            pass(MINUTE * 11).await;
            assert_eq!(logs.level().to_string(), "error");
            set(levels, logs, "debug", 10);
            set(levels, logs, "warn", 0);
            pass(MINUTE * 11).await;
            assert_eq!(logs.level().to_string(), "warn", "for good is for good");
        });
    }
}
