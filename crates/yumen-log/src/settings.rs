//! What the settings say of logs, as options of a log.
//!
//! The one thing to know: a list of terminals that names only what lines cannot go to yet would make a
//! silent service, so then the console is used.

use crate::{
    file::{FileOptions, Rotate},
    filter::{Filter, FilterError},
    options::{LogError, Options},
    render::Format,
    severity::Severity,
};
use std::path::PathBuf;
use yumen_settings::{LogSettings, Settings, Terminal};

impl TryFrom<&Settings> for Options {
    type Error = LogError;

    /// Takes `log.*`, `timezone` and `yumen.log.queueBytes`.
    fn try_from(settings: &Settings) -> Result<Self, LogError> {
        let log = &settings.log;
        let console = levels(log, Terminal::Console)?;
        let file = levels(log, Terminal::File)?;
        let unheard = console.is_none() && file.is_none() && !log.terminals.0.is_empty();
        Ok(Self {
            level: filter("log.level", &log.level)?,
            stack_level: severity("log.stackLevel", &log.stack_level)?,
            time_format: log.time_format.clone(),
            timezone: settings.general.timezone.clone(),
            full_path: log.call_full_path,
            console: if unheard { Some(Vec::new()) } else { console },
            console_format: format(&log.console.format),
            file,
            file_format: format(&log.file.format),
            file_options: FileOptions {
                path: PathBuf::from(&log.file.path),
                max_age: log.file.max_age,
                max_size: log.file.max_size.0,
                rotate: rotate(&log.file.rotate),
                compress: log.file.compress,
            },
            queue_bytes: settings.yumen.log.queue_bytes.len(),
            remarks: services(log).into_iter().collect(),
            ..Self::default()
        })
    }
}

/// What to say if lines were to go where they cannot go yet.
fn services(log: &LogSettings) -> Option<String> {
    let known = |it: &Terminal| matches!(it, Terminal::Console | Terminal::File);
    let names = log.terminals.0.iter().map(|it| it.terminal).filter(|it| !known(it));
    let names: Vec<_> = names.map(Terminal::name).collect();
    let names = (!names.is_empty()).then(|| names.join(" and "))?;
    Some(format!("log.terminals names {names}: not there yet, lines go to console and file only"))
}

/// The levels that a terminal takes; `None` if it is not wanted.
fn levels(log: &LogSettings, terminal: Terminal) -> Result<Option<Vec<Severity>>, LogError> {
    let mut wanted = log.terminals.0.iter().filter(|it| it.terminal == terminal);
    let Some(wanted) = wanted.next() else { return Ok(None) };
    let mut levels = Vec::new();
    for name in &wanted.levels {
        levels.extend(severity("log.terminals", name)?);
    }
    // A list that names only `off` takes nothing; an empty one takes everything.
    Ok((wanted.levels.is_empty() || !levels.is_empty()).then_some(levels))
}

fn wrong(key: &'static str) -> impl FnOnce(FilterError) -> LogError {
    move |source| LogError::Level { key, source }
}

fn filter(key: &'static str, text: &str) -> Result<Filter, LogError> {
    text.parse().map_err(wrong(key))
}

/// One level. `none` and `off` are none, as due has it for stacks.
fn severity(key: &'static str, text: &str) -> Result<Option<Severity>, LogError> {
    if text.is_empty() || ["none", "off"].iter().any(|off| text.eq_ignore_ascii_case(off)) {
        return Ok(None);
    }
    let level = Severity::named(text);
    let level = level.ok_or_else(|| FilterError::NotALevel(text.to_owned()));
    level.map(Some).map_err(wrong(key))
}

/// The settings have refused every other word.
fn format(name: &str) -> Format {
    if name == "json" { Format::Json } else { Format::Text }
}

fn rotate(name: &str) -> Rotate {
    match name {
        "year" => Rotate::Year,
        "month" => Rotate::Month,
        "week" => Rotate::Week,
        "day" => Rotate::Day,
        "hour" => Rotate::Hour,
        _ => Rotate::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{path::Path, time::Duration};

    fn options(text: &str) -> Result<Options, LogError> {
        let settings = Settings::parse(text, Path::new("etc.toml")).unwrap();
        Options::try_from(&settings)
    }

    #[test]
    fn an_empty_file_gives_the_default_which_is_dues() {
        let (read, default) = (options("").unwrap(), Options::default());
        assert_eq!(read.level, default.level);
        assert_eq!(read.stack_level, default.stack_level);
        assert_eq!(read.time_format, default.time_format);
        assert_eq!(read.timezone, default.timezone);
        assert_eq!(read.full_path, default.full_path);
        assert_eq!(read.takes(), default.takes());
        assert_eq!(read.console_format, default.console_format);
        assert_eq!(read.file_format, default.file_format);
        assert_eq!(read.file_options, default.file_options);
        assert_eq!(read.queue_bytes, default.queue_bytes);
    }

    #[test]
    fn every_key_is_honoured() {
        let read = options(
            r#"
            timezone = "Asia/Shanghai"
            [log]
            level = "warn,my_game=debug"
            stackLevel = "none"
            timeFormat = "15:04"
            callFullPath = true
            terminals = { console = ["info", "warn"], file = [] }
            [log.console]
            format = "json"
            [log.file]
            path = "x/y.log"
            format = "json"
            rotate = "week"
            maxSize = "1K"
            maxAge = "1d"
            compress = true
            [yumen.log]
            queueBytes = "1M"
            "#,
        );
        let read = read.unwrap();
        assert_eq!(read.level.to_string(), "warn,my_game=debug");
        assert_eq!(read.stack_level, None);
        assert_eq!((read.time_format.as_str(), read.timezone.as_str()), ("15:04", "Asia/Shanghai"));
        assert!(read.full_path);
        assert_eq!(read.console, Some(vec![Severity::Info, Severity::Warn]));
        assert_eq!(read.file, Some(vec![]));
        assert_eq!((read.console_format, read.file_format), (Format::Json, Format::Json));
        let file = FileOptions {
            path: "x/y.log".into(),
            max_age: Duration::from_secs(86_400),
            max_size: 1024,
            rotate: Rotate::Week,
            compress: true,
        };
        assert_eq!(read.file_options, file);
        assert_eq!(read.queue_bytes, 1 << 20);
    }

    #[test]
    fn every_rotation_has_its_word() {
        let rows = [
            ("none", Rotate::None),
            ("year", Rotate::Year),
            ("month", Rotate::Month),
            ("week", Rotate::Week),
            ("day", Rotate::Day),
            ("hour", Rotate::Hour),
        ];
        for (word, rotation) in rows {
            let read = options(&format!("[log.file]\nrotate = \"{word}\"")).unwrap();
            assert_eq!(read.file_options.rotate, rotation);
        }
    }

    #[test]
    fn terminals_are_a_choice_and_one_that_is_not_there_yet_does_not_make_silence() {
        let rows = [
            ("[]", false, false),
            ("[\"console\"]", true, false),
            ("[\"file\"]", false, true),
            ("[\"aliyun\"]", true, false),
            ("[\"aliyun\", \"file\"]", false, true),
            ("{ file = [\"off\"], console = [] }", true, false),
        ];
        for (text, console, file) in rows {
            let read = options(&format!("[log]\nterminals = {text}")).unwrap();
            assert_eq!((read.console.is_some(), read.file.is_some()), (console, file), "{text}");
            assert_eq!(read.remarks.len(), usize::from(text.contains("aliyun")), "{text}");
        }
    }

    #[test]
    fn a_level_that_is_none_names_its_key() {
        for (text, key) in
            [("level = \"info,info\"", "log.level"), ("level = \"info,a b=info\"", "log.level")]
        {
            let error = options(&format!("[log]\n{text}")).unwrap_err();
            assert!(error.to_string().starts_with(key), "{error}");
        }
    }
}
