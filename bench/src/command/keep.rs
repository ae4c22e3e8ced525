//! What becomes of a result: printed as text or as JSON, and kept in a file where that is wanted.
//!
//! Shared by the commands whose results are kept in `bench/results`.
use super::{note, result};
use crate::clock::today;
use clap::Args;
use serde::Serialize;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;

/// Where a result goes.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct KeepArgs {
    /// Keep the result in this directory, as a JSON file called by the command and the date.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "bench/results")]
    save: Option<PathBuf>,
    /// Print the result as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
}

impl KeepArgs {
    /// Prints `report`, and keeps it as NAME-DATE.json if that is wanted.
    pub(super) fn finish(&self, name: &str, report: &(impl Serialize + Display)) -> io::Result<()> {
        if let Some(directory) = &self.save {
            std::fs::create_dir_all(directory)?;
            let path = directory.join(format!("{name}-{}.json", today()));
            let mut text = serde_json::to_string_pretty(report)?;
            text.push('\n');
            std::fs::write(&path, text)?;
            note(&format!("kept in {}", path.display()));
        }
        result(self.json, report, &report.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Scratch;
    use std::fmt;

    #[derive(Serialize)]
    struct Seven(u8);

    impl Display for Seven {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "seven is {}", self.0)
        }
    }

    #[test]
    fn a_result_is_kept_under_its_name_and_the_date() {
        let directory = Scratch::new("yumen-bench-keep").unwrap();
        let into = directory.path().join("new");
        let keep = KeepArgs { save: Some(into.clone()), json: false };
        keep.finish("count", &Seven(7)).unwrap();
        let names: Vec<_> =
            std::fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [format!("count-{}.json", today()).as_str()]);
        let text = std::fs::read_to_string(into.join(&names[0])).unwrap();
        assert_eq!(text, "7\n");
    }
}
