//! Instructions per operation, counted by callgrind: a figure that a busy machine does not change.
//!
//! The program runs itself under `valgrind --tool=callgrind` twice, with different numbers of
//! iterations; the difference of the two counts, divided by the difference of iterations, is what
//! one operation takes. Start-up and set-up cancel out. The counts depend on the compiler, so the
//! band is wide enough for a patch release and narrow enough to notice an added copy.
mod cases;

use crate::number::{float, ratio};
use clap::Parser;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Iterations of the two runs. Few are enough: an instruction count has no noise to average out.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;
/// How far a count may lie from its baseline, as a share of it.
const BAND: f64 = 0.05;

/// Counts instructions per operation with callgrind.
#[derive(Debug, Parser)]
#[command(name = "icount")]
struct Arguments {
    /// Fail if a count is more than 5 % away from `bench/icount.toml`, either way.
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Write the counts to `bench/icount.toml`.
    #[arg(long)]
    update: bool,
    /// Only run one case so many times, uncounted: what callgrind is given to count.
    #[arg(long, num_args = 2, value_names = ["CASE", "ITERATIONS"], hide = true)]
    run: Vec<String>,
}

/// One count beside its baseline.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    name: String,
    old: Option<f64>,
    new: f64,
}

impl Row {
    fn change(&self) -> Option<f64> {
        self.old.map(|old| ratio(self.new, old) - 1.0)
    }

    fn outside(&self) -> bool {
        self.change().is_none_or(|change| change.abs() > BAND)
    }
}

/// What the `icount` binary does.
pub fn main() -> ExitCode {
    match go(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to be done about an error while reporting one.
            writeln!(io::stderr(), "icount: {error}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn go(arguments: &Arguments) -> io::Result<ExitCode> {
    if let [name, iterations] = arguments.run.as_slice() {
        let iterations = iterations.parse().map_err(|_| invalid("iterations are a number"))?;
        let known = cases::run(name, iterations);
        return known.then_some(ExitCode::SUCCESS).ok_or_else(|| invalid("no such case"));
    }
    if cfg!(debug_assertions) {
        return Err(invalid("only an optimised build says anything: add --release"));
    }
    let mut baseline = read_baseline()?;
    let mut rows = Vec::new();
    for name in cases::names() {
        rows.push(Row { name: name.to_owned(), old: baseline.remove(name), new: count(name)? });
    }
    io::stdout().write_all(table(&rows).as_bytes())?;
    if arguments.update {
        std::fs::write(baseline_path(), baseline_text(&rows))?;
    }
    for gone in baseline.keys() {
        writeln!(io::stdout(), "{gone}: in the baseline, but no such case")?;
    }
    let failed = !baseline.is_empty() || rows.iter().any(Row::outside);
    if arguments.check && failed {
        writeln!(io::stdout(), "outside the 5 % band: find out why, or run `icount --update`")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Instructions of one operation of `case`.
fn count(case: &str) -> io::Result<f64> {
    let (few, many) = (collected(case, FEW)?, collected(case, MANY)?);
    Ok(ratio(float(many.saturating_sub(few)), float(MANY.saturating_sub(FEW))))
}

/// Instructions of this program while it runs one case.
fn collected(case: &str, iterations: u64) -> io::Result<u64> {
    let mut program = Command::new(std::env::current_exe()?);
    program.args(["--run", case, &iterations.to_string()]);
    instructions(&program)
}

/// Runs `program` under callgrind and returns how many instructions it counted.
///
/// # Errors
/// `InvalidInput` where valgrind is missing; what it said where it failed.
pub(crate) fn instructions(program: &Command) -> io::Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(program.get_program()).args(program.get_args());
    let output = command.output().map_err(|error| {
        let missing = error.kind() == ErrorKind::NotFound;
        if missing { invalid("valgrind is missing: apt-get install valgrind") } else { error }
    })?;
    let text = String::from_utf8_lossy(&output.stderr);
    let found = output.status.success().then(|| parse_collected(&text)).flatten();
    found.ok_or_else(|| io::Error::other(format!("callgrind said: {text}")))
}

/// The number behind `Collected :` in callgrind's report.
fn parse_collected(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("Collected :")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn baseline_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("icount.toml")
}

fn read_baseline() -> io::Result<BTreeMap<String, f64>> {
    match std::fs::read_to_string(baseline_path()) {
        Ok(text) => toml::from_str(&text).map_err(|error| invalid(&error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

fn baseline_text(rows: &[Row]) -> String {
    let mut text = "# Instructions per operation, written by `icount --update`; checked in CI with a band of 5 %.\n".to_owned();
    for row in rows {
        // Writing to a String cannot fail.
        writeln!(text, "{} = {:.1}", row.name, row.new).unwrap_or_default();
    }
    text
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<28}{:>12}{:>12}{:>9}\n", "case", "baseline", "now", "change");
    for row in rows {
        let old = row.old.map_or_else(|| "-".to_owned(), |old| format!("{old:.1}"));
        let change = row.change().map_or_else(|| "-".to_owned(), |c| format!("{:+.1}%", c * 100.0));
        let mark = if row.outside() { "  <" } else { "" };
        // Writing to a String cannot fail.
        writeln!(text, "{:<28}{old:>12}{:>12.1}{change:>9}{mark}", row.name, row.new)
            .unwrap_or_default();
    }
    text
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(old: Option<f64>, new: f64) -> Row {
        Row { name: "x".into(), old, new }
    }

    #[test]
    fn the_band_is_five_percent_both_ways_and_a_new_case_is_outside() {
        assert!(!row(Some(100.0), 104.9).outside());
        assert!(row(Some(100.0), 105.2).outside());
        assert!(!row(Some(100.0), 95.1).outside());
        assert!(row(Some(100.0), 94.0).outside());
        assert!(row(None, 1.0).outside());
    }

    #[test]
    fn the_count_is_read_from_callgrinds_report() {
        let text = "==1== \n==1== Collected : 1234567\n==1== \n==1== I   refs:      1,234,567\n";
        assert_eq!(parse_collected(text), Some(1_234_567));
        assert_eq!(parse_collected("valgrind: no"), None);
    }

    #[test]
    fn a_written_baseline_is_read_back() {
        let rows = [row(None, 12.34)];
        let read: BTreeMap<String, f64> = toml::from_str(&baseline_text(&rows)).unwrap();
        assert_eq!(read, BTreeMap::from([("x".to_owned(), 12.3)]));
    }

    #[test]
    fn every_case_runs() {
        for name in cases::names() {
            assert!(cases::run(name, 2), "{name}");
        }
        assert!(!cases::run("nothing", 1));
    }
}
