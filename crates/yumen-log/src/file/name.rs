//! The names of files that were rotated: `due.log` becomes `due.1.log`, or `due.20261122.1.log` where
//! a file is for a day, and with `.gz` behind it once it is compressed.
//!
//! Pure. The one thing to know: what [`Names::read`] does not recognise is not ours, and never touched.

use super::Rotate;
use jiff::civil::DateTime;
use std::path::{Path, PathBuf};

/// Behind a compressed file's name.
pub(super) const GZ: &str = ".gz";
/// Behind that, while it is being compressed.
pub(super) const PART: &str = ".part";

/// The names that belong to one log file.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) dir: PathBuf,
    stem: String,
    /// With its dot; empty without one.
    extension: String,
}

/// A name that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotated<'a> {
    /// The time the file was for; empty if for none.
    pub(super) tag: &'a str,
    pub(super) number: u64,
    pub(super) state: State,
}

/// What was done to a file that was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Plain,
    Compressed,
    /// Somebody is, or was, compressing it.
    Part,
}

impl Names {
    pub(super) fn of(path: &Path) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let extension = text(path.extension());
        Self {
            dir: dir.unwrap_or(Path::new(".")).to_owned(),
            stem: text(path.file_stem()),
            extension: if extension.is_empty() { extension } else { format!(".{extension}") },
        }
    }

    /// The name of the file with this number among those for `tag`.
    pub(super) fn rotated(&self, tag: &str, number: u64) -> String {
        let Self { stem, extension, .. } = self;
        if tag.is_empty() {
            format!("{stem}.{number}{extension}")
        } else {
            format!("{stem}.{tag}.{number}{extension}")
        }
    }

    /// What `name` says, if it is ours.
    pub(super) fn read<'a>(&self, name: &'a str) -> Option<Rotated<'a>> {
        let compressed = || Some((name.strip_suffix(GZ)?, State::Compressed));
        let part = || Some((name.strip_suffix(PART)?.strip_suffix(GZ)?, State::Part));
        // Plain first: the log itself may be called `due.gz`.
        [Some((name, State::Plain)), compressed(), part()].into_iter().flatten().find_map(
            |(name, state)| {
                let (tag, number) = self.numbered(name)?;
                Some(Rotated { tag, number, state })
            },
        )
    }

    /// Tag and number of a name without what compressing adds to it.
    fn numbered<'a>(&self, name: &'a str) -> Option<(&'a str, u64)> {
        let middle =
            name.strip_prefix(self.stem.as_str())?.strip_suffix(self.extension.as_str())?;
        let middle = middle.strip_prefix('.')?;
        let (tag, number) = match middle.split_once('.') {
            Some((tag, number)) if matches!(tag.len(), 4 | 6 | 8 | 10) => (tag, number),
            Some(_) => return None,
            None => ("", middle),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let ours = digits(tag) && digits(number) && !number.starts_with('0');
        if ours { Some((tag, number.parse().ok()?)) } else { None }
    }
}

/// The time that a file of now is for.
pub(super) fn tag(rotate: Rotate, at: DateTime) -> String {
    let (year, month, day, hour) = (at.year(), at.month(), at.day(), at.hour());
    match rotate {
        Rotate::None => String::new(),
        Rotate::Year => format!("{year:04}"),
        Rotate::Month => format!("{year:04}{month:02}"),
        Rotate::Week => {
            let week = at.date().iso_week_date();
            format!("{:04}{:02}", week.year(), week.week())
        }
        Rotate::Day => format!("{year:04}{month:02}{day:02}"),
        Rotate::Hour => format!("{year:04}{month:02}{day:02}{hour:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    #[test]
    fn only_names_of_our_own_form_are_ours() {
        let names = Names::of(Path::new("/var/log/due.log"));
        assert_eq!(names.dir, Path::new("/var/log"));
        let ours = [
            ("due.1.log", "", 1, State::Plain),
            ("due.20261122.17.log", "20261122", 17, State::Plain),
            ("due.2026.1.log.gz", "2026", 1, State::Compressed),
            ("due.2026112203.1.log.gz.part", "2026112203", 1, State::Part),
        ];
        for (name, tag, number, state) in ours {
            assert_eq!(names.read(name), Some(Rotated { tag, number, state }), "{name}");
        }
        for other in [
            "due.log",
            "due..log",
            "due.log.gz",
            "due.log.1",
            "due.01.log",
            "due.0.log",
            "due.one.log",
            "due.gate.1.log",
            "due.123.1.log",
            "due..1.log",
            "due.2026.1.1.log",
            "due.1.log.part",
            "due.1.log.bak",
            "due.-1.log",
            "due.99999999999999999999.log",
            "adue.1.log",
            "due.1.txt",
            "",
            ".log",
        ] {
            assert_eq!(names.read(other), None, "{other}");
        }
        let bare = Names::of(Path::new("log"));
        assert_eq!((bare.dir.as_path(), bare.rotated("", 3).as_str()), (Path::new("."), "log.3"));
        assert!(bare.read("log.3").is_some() && bare.read("log").is_none());
    }

    #[test]
    fn a_file_is_for_the_year_month_iso_week_day_or_hour() {
        let at = date(2027, 1, 3).at(4, 59, 0, 0);
        let rows = [
            (Rotate::None, ""),
            (Rotate::Year, "2027"),
            (Rotate::Month, "202701"),
            (Rotate::Week, "202653"),
            (Rotate::Day, "20270103"),
            (Rotate::Hour, "2027010304"),
        ];
        for (rotate, text) in rows {
            assert_eq!(tag(rotate, at), text);
        }
    }

    proptest! {
        #[test]
        fn every_name_we_give_is_ours(number in 1..=u64::MAX, tag in "([0-9]{4}|[0-9]{8})?", path in "[a-z.]{1,9}") {
            let names = Names::of(Path::new(&path));
            let name = names.rotated(&tag, number);
            prop_assert_eq!(names.read(&name), Some(Rotated { tag: &tag, number, state: State::Plain }));
        }

        #[test]
        fn no_name_makes_it_panic(name in ".*") {
            let _ = Names::of(Path::new(&name)).read(&name);
        }
    }
}
