//! Reads the tables in ARCHITECTURE.md that rules compare the repository with.
//!
//! A table stands between `<!-- tidy:NAME -->` and `<!-- tidy:end -->`. Only words in backticks count;
//! the rest of a cell is for readers.

use super::Complaint;

/// One row: the word in its first cell, and those in its second.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// The rows of the table `name`.
///
/// # Errors
/// A complaint when the document has no such table, since a rule without data would always pass.
pub(super) fn rows(document: &str, name: &str) -> Result<Vec<Row>, Complaint> {
    let open = format!("<!-- tidy:{name} -->");
    let inside =
        document.split_once(&open).and_then(|(_, rest)| rest.split_once("<!-- tidy:end -->"));
    let Some((inside, _)) = inside else {
        let what = format!("no table between `{open}` and `<!-- tidy:end -->`");
        return Err(Complaint::new("ARCHITECTURE.md", what));
    };
    Ok(inside.lines().filter_map(row).collect())
}

/// A line of a table; headings and rules have no word in backticks in the first cell.
fn row(line: &str) -> Option<Row> {
    let mut cells = line.trim().strip_prefix('|')?.split('|').map(quoted);
    let name = cells.next()?.into_iter().next()?;
    Some(Row { name, values: cells.next().unwrap_or_default() })
}

/// The words of a cell that stand in backticks: every second piece between them.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_in_backticks_count() {
        let text = "x\n<!-- tidy:graph -->\n| Crate | Uses |\n|---|---|\n| `a` | – |\n\
            | `b` (the second) | `a`, `c` for speed |\n<!-- tidy:end -->\n| `d` | `e` |\n";
        let row = |name: &str, values: &[&str]| Row {
            name: name.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        assert_eq!(rows(text, "graph"), Ok(vec![row("a", &[]), row("b", &["a", "c"])]));
    }

    #[test]
    fn a_missing_table_is_a_complaint() {
        assert!(rows("nothing", "graph").is_err());
        assert!(rows("<!-- tidy:graph -->\n| `a` | |\n", "graph").is_err());
    }
}
