//! A first evening, played by a script: a fresh clone, the README's commands, then settings broken one by one.
//!
//! A newcomer learns most from what goes wrong, so each mistake must end with exit code 2 and words that
//! say where it is, what it is and what to do.

use crate::error::Error;
use crate::guide::{Shell, complaint, fresh_clone};
use crate::manifest::Workspace;
use crate::readme;

/// One mistake, and what must be said of it.
struct Mistake {
    name: &'static str,
    /// Makes it, in a folder of its own.
    script: &'static str,
    /// Each must be in the output: place, key or value, advice.
    says: &'static [&'static str],
}

/// Plays the evening.
///
/// # Errors
/// [`Error::Rules`] if anything went otherwise than it should; it was printed.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let scratch = fresh_clone(workspace)?;
    let shell = Shell::new(&scratch)?;
    let mut problems = follow(&shell, &workspace.read("README.md")?)?;
    for mistake in &MISTAKES {
        problems.extend(make(&shell, mistake)?);
    }
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Rules { count: problems.len() }) }
}

/// The README's commands, as they stand there but for the demo's end.
fn follow(shell: &Shell<'_>, readme: &str) -> Result<Vec<String>, Error> {
    let commands = readme::commands(readme);
    let find = |word: &str| {
        let found =
            commands.iter().find(|line| line.starts_with("cargo run") && line.contains(word));
        found
            .cloned()
            .unwrap_or_else(|| format!("echo 'README.md has no command with {word}'; exit 1"))
    };
    let mut problems = Vec::new();
    let demo =
        format!("{} --seconds 3 --bots 100 --tcp 127.0.0.1:3553 --ws 127.0.0.1:3653", find("demo"));
    println!("$ {demo}");
    let (seen, code) = shell.run(&demo)?;
    if code != Some(0) {
        problems.push(complaint("demo", &format!("ended with {code:?}"), &seen));
    }
    let hello = find("--example hello");
    println!("$ {hello} &");
    let mut server = shell.start(&format!("exec {hello}"), true)?;
    let late = server.until(shell, "…\n…127.0.0.1:3553…\n…");
    problems.extend(late.map(|why| complaint("hello", &why, server.seen())));
    let call = find("bench call");
    println!("$ {call}");
    let (seen, code) = shell.run(&call)?;
    if code != Some(0) || !seen.contains("Hello, Ada! You are number ") {
        problems.push(complaint("bench call", &format!("ended with {code:?}"), &seen));
    }
    let (seen, code) = shell.run("\"$CARGO_TARGET_DIR/debug/examples/hello\" --help")?;
    let fits = seen.lines().all(|line| line.chars().count() <= 100);
    if code != Some(0) || !fits || !seen.starts_with("Usage: hello [--etc DIR]") {
        problems.push(complaint("hello --help", &format!("ended with {code:?}"), &seen));
    }
    let (seen, code) = server.stop(shell)?;
    if code != Some(0) {
        problems.push(complaint("hello", &format!("ended with {code:?} when told to stop"), &seen));
    }
    Ok(problems)
}

/// Makes one mistake and reads what is said of it.
fn make(shell: &Shell<'_>, mistake: &Mistake) -> Result<Option<String>, Error> {
    // Somebody listens on this one.
    let failed = |source| Error::Start { line: "a listener".to_owned(), source };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = taken.local_addr().map_err(failed)?;
    // A server that starts in spite of the mistake must not run for ever.
    let script = format!(
        "hello() {{ timeout 20 \"$CARGO_TARGET_DIR/debug/examples/hello\" \"$@\"; }}\n\
         TAKEN={address}; rm -rf evening && mkdir -p evening/etc && cd evening\n{}",
        mistake.script
    );
    let (seen, code) = shell.run(&script)?;
    println!("{}:{}", mistake.name, complaint("", "", &seen).trim_start_matches([':', ' ']));
    if code != Some(2) {
        let why = format!("the exit code is {code:?} and should be 2");
        return Ok(Some(complaint(mistake.name, &why, &seen)));
    }
    let unsaid: Vec<&str> =
        mistake.says.iter().filter(|word| !seen.contains(**word)).copied().collect();
    if unsaid.is_empty() {
        return Ok(None);
    }
    Ok(Some(complaint(mistake.name, &format!("nothing is said of {unsaid:?}"), &seen)))
}

const MISTAKES: [Mistake; 15] = [
    Mistake {
        name: "a misspelt key",
        script: "printf '[network.tcp.server]\\nadr = \":0\"\\n' > etc/etc.toml; hello",
        says: &["etc/etc.toml", "network.tcp.server.adr", "unknown key", "did you mean addr"],
    },
    Mistake {
        name: "a misspelt table",
        script: "printf '[network.tpc.server]\\naddr = \":0\"\\n' > etc/etc.toml; hello",
        says: &["etc/etc.toml", "network.tpc", "unknown key", "did you mean tcp"],
    },
    Mistake {
        name: "a port that is taken",
        script: "printf '[network.tcp.server]\\naddr = \"%s\"\\n' $TAKEN > etc/etc.toml; hello",
        says: &["127.0.0.1:", "in use"],
    },
    Mistake {
        name: "a duration that is none",
        script: "printf '[yumen.gate]\\nwriteStallMax = \"soon\"\\n' > etc/etc.toml; hello",
        says: &["etc/etc.toml", "yumen.gate.writeStallMax", "\"soon\"", "must be"],
    },
    Mistake {
        name: "a width that is none",
        script: "printf '[packet]\\nrouteBytes = 3\\n' > etc/etc.toml; hello",
        says: &["etc/etc.toml", "packet.routeBytes", "3", "1, 2 or 4"],
    },
    Mistake {
        name: "a number that is none",
        script: "printf '[network.tcp.server]\\nmaxConnNum = \"many\"\\n' > etc/etc.toml; hello",
        says: &["etc/etc.toml", "network.tcp.server.maxConnNum", "\"many\"", "whole number"],
    },
    Mistake {
        name: "a file that does not parse",
        script: "printf '[packet]\\n\\n[network.tcp.server\\n' > etc/etc.toml; hello",
        says: &["etc/etc.toml", "line 3", "not valid toml"],
    },
    Mistake {
        name: "two files with one stem",
        script: "echo '[packet]' > etc/etc.toml; echo 'packet: {}' > etc/etc.yaml; hello",
        says: &["etc/etc.toml", "etc/etc.yaml", "into one file"],
    },
    Mistake {
        name: "a certificate without its key",
        script: "printf '[network.tcp.server]\\ncertFile = \"a.pem\"\\n' > etc/etc.toml; hello",
        says: &["network.tcp.server.certFile is set", "keyFile is not", "both files"],
    },
    Mistake {
        name: "an open door for operators",
        script: "printf '[yumen.admin]\\naddr = \"0.0.0.0:0\"\\n' > etc/etc.toml; hello",
        says: &["yumen.admin", "token", "127.0.0.1"],
    },
    Mistake {
        name: "a word that is none of a few",
        script: "printf '[yumen.gate]\\nduplicateLogin = \"kik\"\\n' > etc/etc.toml; hello",
        says: &["etc/etc.toml", "yumen.gate.duplicateLogin", "kick, displace, refuse"],
    },
    Mistake {
        name: "a directory that is not there",
        script: "hello --etc nowhere",
        says: &["--etc", "nowhere", "does not exist", "create or correct"],
    },
    Mistake {
        name: "a directory in the environment that is not there",
        script: "DUE_ETC=nowhere hello",
        says: &["DUE_ETC", "nowhere", "does not exist"],
    },
    Mistake {
        name: "an environment variable that is no number",
        script: "YUMEN_NETWORK_TCP_SERVER_MAXCONNNUM=lots hello",
        says: &["YUMEN_NETWORK_TCP_SERVER_MAXCONNNUM", "lots", "whole number"],
    },
    Mistake {
        name: "a flag that is no number",
        script: "hello --set network.tcp.server.maxConnNum=lots",
        says: &["--set", "network.tcp.server.maxConnNum", "lots", "whole number"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_ten_mistakes_are_made_and_each_has_a_name_and_words_of_its_own() {
        let names: std::collections::BTreeSet<&str> = MISTAKES.iter().map(|m| m.name).collect();
        assert!(names.len() >= 10);
        assert_eq!(names.len(), MISTAKES.len());
        assert!(MISTAKES.iter().all(|mistake| mistake.says.len() >= 2));
    }
}
