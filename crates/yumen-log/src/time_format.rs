//! Writes a time as a Go layout says, since that is how due's settings spell time formats.
//!
//! Pure: the caller passes the moment. A layout shows how one certain time would be written, 3:04:05 in
//! the afternoon of Monday, January 2 of 2006, seven hours behind UTC; each part that is recognised
//! stands for its part of any other time, and everything else is copied. No text is a wrong layout.

use jiff::{civil::DateTime, tz::Offset};

/// A moment as the people of one place write it.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// What clock and calendar show.
    pub civil: DateTime,
    /// How far they are from UTC.
    pub offset: Offset,
    /// The zone's abbreviation, as `CEST`. Empty where there is none: then the offset stands for it.
    pub zone: &'a str,
}

/// How a time is written.
///
/// These parts of a layout have a meaning:
///
/// | Of the time | Written as |
/// |---|---|
/// | year | `2006` `06` |
/// | month | `January` `Jan` `01` `1` |
/// | day of the month, of the year | `02` `_2` `2`, `002` `__2` |
/// | day of the week | `Monday` `Mon` |
/// | hour | `15` `03` `3`, with `PM` or `pm` |
/// | minute, second | `04` `4`, `05` `5` |
/// | fraction | `.000` or `,000`: as many digits; `.999` or `,999`: without zeros at the end |
/// | zone | `MST`, `-0700` `-07:00` `-07` `-070000` `-07:00:00`, the same with `Z` for `-`: UTC is `Z` |
///
/// ```
/// use jiff::{civil::date, tz::offset};
/// use yumen_log::time_format::{Moment, TimeFormat};
///
/// let format = TimeFormat::new("2006/01/02 15:04:05.000 -07");
/// let at = date(2026, 11, 22).at(9, 8, 7, 123_456_789);
/// let mut text = String::new();
/// format.write(&Moment { civil: at, offset: offset(8), zone: "" }, &mut text);
/// assert_eq!(text, "2026/11/22 09:08:07.123 +08");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Of(Token),
}

/// A part of a layout that has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Year4,
    Year2,
    MonthName { short: bool },
    Month(Pad),
    Day(Pad),
    DayOfYear(Pad),
    Weekday { short: bool },
    Hour24,
    Hour12(Pad),
    Minute(Pad),
    Second(Pad),
    Fraction { sign: char, digits: usize, trim: bool },
    HalfDay { upper: bool },
    ZoneName,
    Offset { z: bool, colon: bool, upto: Upto },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pad {
    None,
    Space,
    Zero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Upto {
    Hours,
    Minutes,
    Seconds,
}

/// The texts with a meaning. Of those that fit at one place the first one counts, so a longer one
/// stands before its beginning.
const TOKENS: [(&str, Token); 33] = [
    ("January", Token::MonthName { short: false }),
    ("Jan", Token::MonthName { short: true }),
    ("Monday", Token::Weekday { short: false }),
    ("Mon", Token::Weekday { short: true }),
    ("MST", Token::ZoneName),
    ("01", Token::Month(Pad::Zero)),
    ("02", Token::Day(Pad::Zero)),
    ("03", Token::Hour12(Pad::Zero)),
    ("04", Token::Minute(Pad::Zero)),
    ("05", Token::Second(Pad::Zero)),
    ("06", Token::Year2),
    ("002", Token::DayOfYear(Pad::Zero)),
    ("15", Token::Hour24),
    ("1", Token::Month(Pad::None)),
    ("2006", Token::Year4),
    ("2", Token::Day(Pad::None)),
    ("__2", Token::DayOfYear(Pad::Space)),
    ("_2", Token::Day(Pad::Space)),
    ("3", Token::Hour12(Pad::None)),
    ("4", Token::Minute(Pad::None)),
    ("5", Token::Second(Pad::None)),
    ("PM", Token::HalfDay { upper: true }),
    ("pm", Token::HalfDay { upper: false }),
    ("-07:00:00", Token::Offset { z: false, colon: true, upto: Upto::Seconds }),
    ("-070000", Token::Offset { z: false, colon: false, upto: Upto::Seconds }),
    ("-07:00", Token::Offset { z: false, colon: true, upto: Upto::Minutes }),
    ("-0700", Token::Offset { z: false, colon: false, upto: Upto::Minutes }),
    ("-07", Token::Offset { z: false, colon: false, upto: Upto::Hours }),
    ("Z07:00:00", Token::Offset { z: true, colon: true, upto: Upto::Seconds }),
    ("Z070000", Token::Offset { z: true, colon: false, upto: Upto::Seconds }),
    ("Z07:00", Token::Offset { z: true, colon: true, upto: Upto::Minutes }),
    ("Z0700", Token::Offset { z: true, colon: false, upto: Upto::Minutes }),
    ("Z07", Token::Offset { z: true, colon: false, upto: Upto::Hours }),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Monday.
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl TimeFormat {
    /// The format that `layout` describes. What has no meaning in it is copied.
    pub fn new(layout: &str) -> Self {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), layout);
        while let Some(first) = rest.chars().next() {
            // An underscore before a year is a separator, not the padding of a day.
            let token = if rest.starts_with("_2006") { None } else { token(rest) };
            let len = if let Some((token, len)) = token {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Of(token));
                len
            } else {
                literal.push(first);
                first.len_utf8()
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Self { parts }
    }

    /// Whether [`Moment::zone`] is used at all; finding it out costs more than the rest.
    pub fn names_zone(&self) -> bool {
        self.parts.contains(&Part::Of(Token::ZoneName))
    }

    /// Appends `moment` to `out`.
    pub fn write(&self, moment: &Moment<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Of(token) => token.write(moment, out),
            }
        }
    }
}

/// What `text` begins with, and its length.
fn token(text: &str) -> Option<(Token, usize)> {
    if let Some(fraction) = fraction(text) {
        return Some(fraction);
    }
    let (name, token) = TOKENS.iter().find(|(name, _)| text.starts_with(name))?;
    let lower = text.get(name.len()..)?.starts_with(|c: char| c.is_ascii_lowercase());
    let short = matches!(token, Token::MonthName { short: true } | Token::Weekday { short: true });
    // "Month" is a word and not a Monday.
    (!(short && lower)).then_some((*token, name.len()))
}

/// A sign and zeros, or a sign and nines, with no other digit behind them.
fn fraction(text: &str) -> Option<(Token, usize)> {
    let sign = text.chars().next().filter(|c| matches!(c, '.' | ','))?;
    let behind = text.get(1..)?;
    let digit = behind.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let rest = behind.trim_start_matches(digit);
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = behind.len().saturating_sub(rest.len());
    Some((Token::Fraction { sign, digits, trim: digit == '9' }, digits.saturating_add(1)))
}

impl Token {
    fn write(self, moment: &Moment<'_>, out: &mut String) {
        let at = &moment.civil;
        match self {
            Self::Year4 => year(at.year(), out),
            Self::Year2 => number(u32::from(at.year().unsigned_abs()) % 100, 2, Pad::Zero, out),
            Self::MonthName { short } => name(&MONTHS, at.month(), short, out),
            Self::Month(pad) => number(small(at.month()), 2, pad, out),
            Self::Day(pad) => number(small(at.day()), 2, pad, out),
            Self::DayOfYear(pad) => {
                number(u32::from(at.date().day_of_year().unsigned_abs()), 3, pad, out);
            }
            Self::Weekday { short } => {
                name(&WEEKDAYS, at.date().weekday().to_monday_one_offset(), short, out);
            }
            Self::Hour24 => number(small(at.hour()), 2, Pad::Zero, out),
            Self::Hour12(pad) => {
                let hour = small(at.hour()) % 12;
                number(if hour == 0 { 12 } else { hour }, 2, pad, out);
            }
            Self::Minute(pad) => number(small(at.minute()), 2, pad, out),
            Self::Second(pad) => number(small(at.second()), 2, pad, out),
            Self::Fraction { sign, digits, trim } => {
                let nanos = at.subsec_nanosecond().unsigned_abs();
                write_fraction(nanos, sign, digits, trim, out);
            }
            Self::HalfDay { upper } => out.push_str(match (at.hour() >= 12, upper) {
                (true, true) => "PM",
                (true, false) => "pm",
                (false, true) => "AM",
                (false, false) => "am",
            }),
            Self::ZoneName if moment.zone.is_empty() => {
                let whole = moment.offset.seconds() % 3600 == 0;
                let upto = if whole { Upto::Hours } else { Upto::Minutes };
                write_offset(moment.offset, false, upto, out);
            }
            Self::ZoneName => out.push_str(moment.zone),
            Self::Offset { z: true, .. } if moment.offset.is_zero() => out.push('Z'),
            Self::Offset { colon, upto, .. } => write_offset(moment.offset, colon, upto, out),
        }
    }
}

fn small(value: i8) -> u32 {
    u32::from(value.unsigned_abs())
}

fn year(year: i16, out: &mut String) {
    if year < 0 {
        out.push('-');
    }
    number(u32::from(year.unsigned_abs()), 4, Pad::Zero, out);
}

/// The name at `index`, which counts from 1; its first three letters if `short`.
fn name(names: &[&str], index: i8, short: bool, out: &mut String) {
    let index = usize::try_from(index).unwrap_or_default().saturating_sub(1);
    let name = names.get(index).copied().unwrap_or_default();
    out.push_str(if short { name.get(..3).unwrap_or(name) } else { name });
}

/// `value`, padded to `width` digits, which are at most nine.
fn number(value: u32, width: u32, pad: Pad, out: &mut String) {
    let mut unit = 10_u32.saturating_pow(width.saturating_sub(1));
    let mut leading = true;
    while unit > 0 {
        let digit = value.checked_div(unit).unwrap_or_default() % 10;
        leading &= digit == 0 && unit > 1;
        match pad {
            Pad::None if leading => {}
            Pad::Space if leading => out.push(' '),
            Pad::None | Pad::Space | Pad::Zero => {
                out.push(char::from_digit(digit, 10).unwrap_or('0'));
            }
        }
        unit /= 10;
    }
}

fn write_fraction(nanos: u32, sign: char, digits: usize, trim: bool, out: &mut String) {
    let start = out.len();
    out.push(sign);
    number(nanos, 9, Pad::Zero, out);
    // Digits below a nanosecond are zeros.
    let kept = digits.min(9);
    out.truncate(start.saturating_add(1).saturating_add(kept));
    if !trim {
        out.extend(std::iter::repeat_n('0', digits.saturating_sub(kept)));
        return;
    }
    let text = out.get(start..).unwrap_or_default();
    let kept = text.trim_end_matches('0').trim_end_matches(sign).len();
    out.truncate(start.saturating_add(kept));
}

fn write_offset(offset: Offset, colon: bool, upto: Upto, out: &mut String) {
    let seconds = offset.seconds();
    out.push(if seconds < 0 { '-' } else { '+' });
    let seconds = seconds.unsigned_abs();
    number(seconds / 3600, 2, Pad::Zero, out);
    for (unit, value) in [(Upto::Minutes, seconds / 60 % 60), (Upto::Seconds, seconds % 60)] {
        if upto >= unit {
            if colon {
                out.push(':');
            }
            number(value, 2, Pad::Zero, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{civil::date, tz::offset};
    use proptest::prelude::*;

    fn written(layout: &str, moment: &Moment<'_>) -> String {
        let mut out = String::new();
        TimeFormat::new(layout).write(moment, &mut out);
        out
    }

    /// Values as Go's `time.Format` documents them for its reference time.
    #[test]
    fn a_layout_written_for_the_time_it_shows_is_itself() {
        let civil = date(2006, 1, 2).at(15, 4, 5, 0);
        let moment = Moment { civil, offset: offset(-7), zone: "MST" };
        for layout in [
            "2006/01/02 15:04:05",
            "2006-01-02T15:04:05-07:00",
            "Mon Jan 2 15:04:05 2006",
            "Mon Jan 2 15:04:05 MST 2006",
            "02 Jan 06 15:04 -0700",
            "Monday, 02-Jan-06 15:04:05 MST",
            "January Jan 1 01 Month Mondays",
            "3:04PM 3:04:05 PM",
            "03 4 5 002 2",
            "-07 -0700 -07:00 -070000 -07:00:00",
            "[2006_2006] literally, été",
        ] {
            assert_eq!(written(layout, &moment), layout);
        }
    }

    #[test]
    fn each_part_stands_for_its_part_of_another_time() {
        let civil = date(2026, 11, 22).at(0, 30, 9, 12_340_000);
        let moment = Moment { civil, offset: offset(8), zone: "CST" };
        let rows = [
            ("2006/01/02 15:04:05.000000", "2026/11/22 00:30:09.012340"),
            ("06 1 January Jan", "26 11 November Nov"),
            ("2 _2 02 002 __2", "22 22 22 326 326"),
            ("Monday Mon Month", "Sunday Sun Month"),
            ("3 03 15 PM pm", "12 12 00 AM am"),
            ("4 04 5 05", "30 30 9 09"),
            (".0 ,000 .000000000 .000000000000", ".0 ,012 .012340000 .012340000000"),
            ("5.999 5.9 5,999999 5.99999999999", "9.012 9 9,01234 9.01234"),
            ("05.0001 05.09", "09.0011 09.09"),
            ("MST Z07 Z0700 Z07:00 -07 -07:00:00", "CST +08 +0800 +08:00 +08 +08:00:00"),
            ("_2006 _2 -1", "_2026 22 -11"),
            ("", ""),
        ];
        for (layout, text) in rows {
            assert_eq!(written(layout, &moment), text, "{layout}");
        }
        let early = Moment { civil: date(987, 3, 4).at(13, 5, 6, 0), offset: offset(0), zone: "" };
        let rows = [
            ("2006 06", "0987 87"),
            ("_2 __2 2", " 4  63 4"),
            ("3PM", "1PM"),
            ("Z07:00 Z070000 -0700 MST", "Z Z +0000 +00"),
            (".999 ,9|", " |"),
        ];
        for (layout, text) in rows {
            assert_eq!(written(layout, &early), text, "{layout}");
        }
        let odd = Offset::from_seconds(-12_645).unwrap();
        let odd = Moment { civil: early.civil, offset: odd, zone: "" };
        assert_eq!(written("MST -07 -07:00 -070000", &odd), "-0330 -03 -03:30 -033045");
    }

    #[test]
    fn only_a_layout_with_mst_asks_for_the_zones_name() {
        assert!(TimeFormat::new("15:04 MST").names_zone());
        assert!(!TimeFormat::new("2006/01/02 15:04:05.000000 -0700").names_zone());
    }

    proptest! {
        #[test]
        fn no_layout_makes_it_panic(layout in ".*", near in "[-_Z.,0-9 JMPTanpmosdy:]{0,40}", unix in any::<i32>()) {
            let at = jiff::Timestamp::from_second(i64::from(unix)).unwrap();
            let civil = offset(5).to_datetime(at);
            for layout in [&layout, &near] {
                let _ = written(layout, &Moment { civil, offset: offset(5), zone: "" });
            }
        }

        #[test]
        fn a_text_without_digits_and_names_is_copied(text in "[^0-9JMPpZ_.,-]*") {
            let moment = Moment { civil: date(2026, 1, 2).at(3, 4, 5, 6), offset: offset(0), zone: "" };
            prop_assert_eq!(written(&text, &moment), text);
        }

        #[test]
        fn the_default_layout_writes_what_a_calendar_library_writes(ns in 0_i64..=4_102_444_800_000_000_000) {
            let at = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
            let civil = offset(-3).to_datetime(at);
            let text = written("2006/01/02 15:04:05.000000000", &Moment { civil, offset: offset(-3), zone: "" });
            prop_assert_eq!(text, civil.strftime("%Y/%m/%d %H:%M:%S.%9f").to_string());
        }
    }
}
