//! The texts in which due writes durations, sizes and booleans.
//!
//! Pure functions of the text: no default is known here, and no text makes them panic. `None` is a
//! text without a meaning; what follows from that is for the caller to say.

use std::time::Duration;

const SECOND: u128 = 1_000_000_000;

/// Units of durations, in nanoseconds. Both letters for micro are in use.
const DURATIONS: [(&str, u128); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
];

/// Units of sizes by their first letter, each 1024 times the one before.
const SIZES: [char; 8] = ['b', 'k', 'm', 'g', 't', 'p', 'e', 'z'];

/// Digits of a fraction that count: more are below a nanosecond, or below a byte, in every unit.
const FRACTION_DIGITS: usize = 18;

/// The duration that `text` names: numbers with units (`ns us ms s m h d`), added up, as in `1h30m`,
/// `1.5s` or `7d`; a bare `0` is fine. Less than nothing (`-1s`) is zero.
///
/// `None` for anything else, a number without a unit included, and for more than 2^63 ns (292 years).
///
/// ```
/// use std::time::Duration;
/// use yumen_settings::value::duration;
///
/// assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
/// assert_eq!(duration("10"), None);
/// ```
pub fn duration(text: &str) -> Option<Duration> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut rest) = (0_u128, text);
    loop {
        let (number, behind) = Number::take(rest)?;
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (name, next) = behind.split_at_checked(end)?;
        let (_, unit) = DURATIONS.iter().find(|(known, _)| *known == name)?;
        total = total.checked_add(number.times(*unit)?)?;
        if next.is_empty() {
            break;
        }
        rest = next;
    }
    let total = u64::try_from(i64::try_from(total).ok()?).ok()?;
    Some(if negative { Duration::ZERO } else { Duration::from_nanos(total) })
}

/// The bytes that `text` names: a number and a unit (`b`, `k` or `kb`, `m` or `mb`, up to `z`, in
/// either case, powers of 1024), as in `4M` or `1.5kb`; without a unit, bytes. Parts of a byte are cut.
///
/// `None` for anything else, and for 2^64 bytes and more.
///
/// ```
/// use yumen_settings::value::size;
///
/// assert_eq!(size("4M"), Some(4 * 1024 * 1024));
/// assert_eq!(size("4 tons"), None);
/// ```
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = Number::take(text)?;
    let unit = unit.to_ascii_lowercase();
    let mut letters = unit.chars();
    let power = match letters.next() {
        None => 0,
        Some(letter) => SIZES.iter().position(|known| *known == letter)?,
    };
    let rest = letters.as_str();
    if !(rest.is_empty() || rest == "b" && power > 0) {
        return None;
    }
    let bytes = number.times(1024_u128.checked_pow(u32::try_from(power).ok()?)?)?;
    u64::try_from(bytes).ok()
}

/// Whether `text` is true: it is not empty, not `0` and not `false` (in any case).
pub fn truth(text: &str) -> bool {
    !(text.is_empty() || text == "0" || text.eq_ignore_ascii_case("false"))
}

/// A decimal number without a sign: its digits before and behind the point.
struct Number<'a> {
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Number<'a> {
    /// The number at the front of `text`, and what stands behind it.
    fn take(text: &'a str) -> Option<(Self, &'a str)> {
        let (whole, rest) = digits(text)?;
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => digits(rest)?,
            None => ("", rest),
        };
        let some = !(whole.is_empty() && fraction.is_empty());
        some.then_some((Self { whole, fraction }, rest))
    }

    /// The number times `unit`, without what is left behind the point.
    fn times(&self, unit: u128) -> Option<u128> {
        let fraction = self.fraction.get(..FRACTION_DIGITS).unwrap_or(self.fraction);
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = parsed(fraction)?.checked_mul(unit)?.checked_div(scale)?;
        parsed(self.whole)?.checked_mul(unit)?.checked_add(part)
    }
}

/// The digits at the front of `text`, and the rest.
fn digits(text: &str) -> Option<(&str, &str)> {
    text.split_at_checked(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn parsed(digits: &str) -> Option<u128> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_the_sum_of_numbers_with_units() {
        let rows: [(&str, u64); 21] = [
            ("10s", 10_000_000_000),
            ("7d", 604_800_000_000_000),
            ("1d12h", 129_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m", 60_000_000_000),
            ("1ms", 1_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("9ns", 9),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1.9ns", 1),
            ("0.000000001s", 1),
            ("1.00000000000000000000000000000000000000000000000001s", 1_000_000_000),
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("+2s", 2_000_000_000),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ];
        for (text, ns) in rows {
            assert_eq!(duration(text), Some(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn a_negative_duration_is_none_at_all() {
        for text in ["-1s", "-0", "-1h30m"] {
            assert_eq!(duration(text), Some(Duration::ZERO), "{text}");
        }
    }

    #[test]
    fn a_text_that_names_no_duration_has_no_value() {
        let rows = [
            "",
            "10",
            "s",
            ".s",
            ".",
            "-",
            "+",
            "--1s",
            "1 s",
            " 1s",
            "1s ",
            "1S",
            "1w",
            "ten",
            "1e3s",
            "1s2",
            "1.2.3s",
            "1,5s",
            "9223372036854775808ns",
            "106752d",
            "300y",
            "99999999999999999999999999999999999999999999s",
        ];
        for text in rows {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_counts_in_powers_of_1024() {
        let rows: [(&str, u64); 16] = [
            ("5000", 5000),
            ("0", 0),
            ("7b", 7),
            ("7B", 7),
            ("1k", 1024),
            ("1KB", 1024),
            ("4M", 4_194_304),
            ("4mb", 4_194_304),
            ("1.5k", 1536),
            (".5K", 512),
            ("1.9", 1),
            ("2g", 2_147_483_648),
            ("1T", 1_099_511_627_776),
            ("1pb", 1_125_899_906_842_624),
            ("15E", 17_293_822_569_102_704_640),
            ("0.001z", 1_180_591_620_717_411_303),
        ];
        for (text, bytes) in rows {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn a_text_that_names_no_size_has_no_value() {
        let rows = [
            "", "k", "-1", "+1", "4 M", "4i", "4KiB", "4bb", "4mm", "1y", "16E", "1z", "1.2.3", "é",
        ];
        for text in rows {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn every_text_is_true_except_three() {
        for text in ["", "0", "false", "FALSE", "False"] {
            assert!(!truth(text), "{text}");
        }
        for text in ["1", "true", "no", "off", "00", " ", "f"] {
            assert!(truth(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".*", near in "[-+]?[0-9.]{0,60}[a-zA-Zµ]{0,3}[0-9.]*") {
            for text in [&text, &near] {
                let _ = (duration(text), size(text), truth(text));
            }
        }

        #[test]
        fn what_is_written_in_nanoseconds_is_read_as_such(ns in 0..=i64::MAX as u64) {
            prop_assert_eq!(duration(&format!("{ns}ns")), Some(Duration::from_nanos(ns)));
            let (s, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
            prop_assert_eq!(duration(&format!("{s}.{rest:09}s")), Some(Duration::from_nanos(ns)));
            prop_assert_eq!(duration(&format!("{s}s{rest}ns")), Some(Duration::from_nanos(ns)));
        }

        #[test]
        fn a_size_in_bytes_is_read_as_such(bytes in any::<u64>(), k in 0..=u64::MAX / 1024) {
            prop_assert_eq!(size(&bytes.to_string()), Some(bytes));
            prop_assert_eq!(size(&format!("{k}KB")), Some(k * 1024));
        }
    }
}
