//! Plays one page: its commands in their order, each compared with what the page says of it.

use super::copy::Scratch;
use super::expect::difference;
use super::page::{Block, Kind};
use super::shell::{Done, Shell};
use crate::error::Error;

/// Runs one page. Gives what did not happen as the page says.
pub(super) fn play(scratch: &Scratch, page: &str, blocks: &[Block]) -> Result<Vec<String>, Error> {
    let shell = Shell::new(scratch)?;
    let mut problems = Vec::new();
    let mut running = Vec::new();
    for block in blocks.iter().filter(|block| block.is_checked()) {
        let place = format!("{page}:{}", block.line);
        match block.kind {
            Kind::Shell { .. } => {
                println!("$ {}   ({place})", block.text.lines().next().unwrap_or_default());
                problems.extend(judge(&place, block, &shell.run(&block.text)?));
            }
            Kind::Background { foreign } => {
                println!("$ {} &   ({place})", block.text);
                let mut server = shell.start(&format!("exec {}", block.text), true)?;
                let wrong = server.until(&shell, block.expected.as_deref().unwrap_or("…"));
                problems.extend(wrong.map(|why| complaint(&place, &why, server.seen())));
                running.push((place, server, foreign));
            }
            Kind::Rust | Kind::Settings | Kind::Shown | Kind::Unknown(_) => {}
        }
    }
    while let Some((place, server, foreign)) = running.pop() {
        let (seen, code) = server.stop(&shell)?;
        if code != Some(0) && !foreign {
            let why = format!("ended with {code:?} when told to stop");
            problems.push(complaint(&place, &why, &seen));
        }
    }
    Ok(problems)
}

fn judge(place: &str, block: &Block, (seen, code): &Done) -> Option<String> {
    let why = match (code, &block.expected) {
        (Some(0), Some(expected)) => difference(expected, seen)?,
        (Some(0), None) => return None,
        (code, _) => format!("ended with {code:?}"),
    };
    Some(complaint(place, &why, seen))
}

/// What was wrong, and the output that shows it.
pub(crate) fn complaint(place: &str, why: &str, seen: &str) -> String {
    let lines: String = seen.lines().map(|line| format!("\n    | {line}")).collect();
    format!("{place}: {why}{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guide::page::blocks;

    fn played(page: &str) -> Vec<String> {
        let root = std::env::temp_dir();
        let scratch = Scratch { target: root.clone(), servers: root.clone(), root };
        play(&scratch, "page.md", &blocks(page)).unwrap()
    }

    #[test]
    fn a_command_that_says_what_the_page_says_is_fine() {
        assert_eq!(
            played("```sh\necho 1 3553; echo b >&2\n```\n```text\n… 3553\nb\n```\n"),
            [""; 0]
        );
        assert_eq!(played("```sh run\ntrue\n```\n```sh\nfalse\n```\n"), [""; 0]);
    }

    #[test]
    fn another_output_and_a_failure_are_named_with_their_place() {
        let wrong = played("```sh\necho a\n```\n```text\nb\n```\n```sh run\nexit 3\n```\n");
        assert!(
            wrong[0].starts_with("page.md:1: line 1 of the output does not fit: a"),
            "{wrong:?}"
        );
        assert!(wrong[1].starts_with("page.md:7: ended with Some(3)"), "{wrong:?}");
    }

    #[test]
    fn a_server_runs_beside_the_next_blocks_and_ends_with_the_page() {
        let server = "```sh background\nbash -c 'trap \"exit 0\" TERM; echo up; while :; do read -t 1 < <(:); done'\n```\n";
        assert_eq!(
            played(&format!("{server}```text\nup\n```\n```sh\necho x\n```\n```text\nx\n```\n")),
            [""; 0]
        );
        let wrong =
            played("```sh background\nbash -c 'echo up; exit 4'\n```\n```text\ndown\n```\n");
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        let foreign =
            "```sh background foreign\nbash -c 'echo up; exit 4'\n```\n```text\nup\n```\n";
        assert_eq!(played(foreign), [""; 0]);
    }
}
