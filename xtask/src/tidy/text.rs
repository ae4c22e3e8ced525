//! Rules about single files: header, purity, additive features, one file with sockets.
//!
//! They look at code only; a forbidden word in a comment or a string is fine.

use super::{Complaint, table};
use crate::source::{Source, group, has_word, line_at, lines_with};

/// Every file begins by saying what it is.
pub(super) fn header(source: &Source) -> Option<Complaint> {
    if source.text.starts_with("//!") {
        return None;
    }
    let what = "begin with `//!`: what this is, what it never does, the one thing to know";
    Some(Complaint::at(&source.path, 1, what))
}

/// `name.rs` beside a folder `name`, so that an editor's tab shows a useful name.
pub(super) fn no_mod_rs(source: &Source) -> Option<Complaint> {
    let named = source.path.rsplit('/').next() == Some("mod.rs");
    named.then(|| Complaint::new(&source.path, "rename to the module's name, beside its folder"))
}

/// Words that fetch time, dice or bytes instead of taking them as arguments.
const IMPURE: [&str; 5] = ["async", "tokio", "Instant::now", "SystemTime::now", "rand"];

/// The protocol crate and everything below a `policy` folder decide and do nothing else.
pub(super) fn pure(source: &Source) -> Vec<Complaint> {
    let pure_file = source.path.starts_with("crates/yumen-proto/src/")
        || source.path.split('/').any(|part| part == "policy");
    if !pure_file {
        return Vec::new();
    }
    let code = source.product_code();
    let found = IMPURE.iter().flat_map(|word| {
        let lines = lines_with(&code, word);
        lines.into_iter().map(move |line| (line, word))
    });
    let mut complaints: Vec<_> = found
        .map(|(line, word)| {
            let what = format!("`{word}` in pure code: take what it gives as an argument");
            Complaint::at(&source.path, line, what)
        })
        .collect();
    complaints.dedup();
    complaints
}

/// A feature adds items and changes none: code for its absence may only refuse to compile.
pub(super) fn additive_features(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (at, open) in source.code.match_indices("not(") {
        let paren = at.saturating_add(open.len()).saturating_sub(1);
        let Some(inside) = source.code.get(paren..).and_then(group) else { continue };
        let behind = source.code.get(paren.saturating_add(inside.len())..).unwrap_or_default();
        // Behind the attribute's own brackets stands the item that it guards.
        let item = behind.split_once(")]").map_or("", |(_, item)| item.trim_start());
        if has_word(inside, "feature") && !item.starts_with("compile_error!") {
            let what =
                "code for the absence of a feature: features only add (compile_error! is fine)";
            complaints.push(Complaint::at(&source.path, line_at(&source.code, at), what));
        }
    }
    complaints
}

/// Sockets are opened in the files that ARCHITECTURE.md lists, and in no other.
pub(super) fn sockets(sources: &[Source], architecture: &str) -> Vec<Complaint> {
    let rows = match table::rows(architecture, "tokio-net") {
        Ok(rows) => rows,
        Err(complaint) => return vec![complaint],
    };
    let allowed: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let mut complaints = Vec::new();
    for source in sources {
        let listed = allowed.contains(&source.path.as_str());
        match (socket_line(&source.code), listed) {
            (Some(line), false) => complaints.push(Complaint::at(
                &source.path,
                line,
                "`tokio::net` outside the files listed in ARCHITECTURE.md (tidy:tokio-net)",
            )),
            (None, true) => complaints.push(Complaint::new(
                "ARCHITECTURE.md",
                format!("{} no longer uses `tokio::net`: take it off the list", source.path),
            )),
            _ => {}
        }
    }
    for path in allowed {
        if !sources.iter().any(|source| source.path == path) {
            let what = format!("{path} is listed for `tokio::net` and does not exist");
            complaints.push(Complaint::new("ARCHITECTURE.md", what));
        }
    }
    complaints
}

/// The first line that names `tokio::net`, or takes `net` out of a group `tokio::{…}`.
fn socket_line(code: &str) -> Option<usize> {
    let direct = lines_with(code, "tokio::net").into_iter().next();
    let grouped = code.match_indices("tokio::{").find_map(|(at, open)| {
        let brace = at.saturating_add(open.len()).saturating_sub(1);
        let inside = code.get(brace..).and_then(group)?;
        let net =
            inside.split(',').any(|item| item.trim() == "net" || item.trim().starts_with("net::"));
        net.then(|| line_at(code, at))
    });
    direct.or(grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn a_file_without_a_header_is_named() {
        assert!(header(&file("a.rs", "use x;\n//! late\n")).is_some());
        assert_eq!(header(&file("a.rs", "//! What it is.\nuse x;\n")), None);
    }

    #[test]
    fn a_mod_rs_is_named() {
        assert!(no_mod_rs(&file("a/mod.rs", "")).is_some());
        assert_eq!(no_mod_rs(&file("a/mode.rs", "")), None);
    }

    #[test]
    fn each_impure_word_is_found_in_pure_code_only() {
        for bad in [
            "async fn f() {}",
            "use tokio::x;",
            "Instant::now()",
            "SystemTime::now()",
            "rand::random()",
        ] {
            assert_eq!(pure(&file("crates/yumen-proto/src/a.rs", bad)).len(), 1, "{bad}");
            assert_eq!(pure(&file("crates/yumen-mesh/src/policy/a.rs", bad)).len(), 1, "{bad}");
            assert_eq!(pure(&file("crates/yumen-net/src/a.rs", bad)), [], "{bad}");
        }
        let good = "// async is for others\nfn operand(s: &str) { f(\"tokio\") }\n#[cfg(test)]\nmod tests {\n Instant::now()\n}";
        assert_eq!(pure(&file("crates/yumen-proto/src/a.rs", good)), []);
    }

    #[test]
    fn code_for_the_absence_of_a_feature_is_named() {
        let bad = [
            "#[cfg(not(feature = \"ws\"))]\nfn f() {}",
            "#[cfg(all(unix, not(any(feature = \"a\", feature = \"b\"))))]\nmod x;",
            "if cfg!(not(feature = \"ws\")) {}",
            "#[cfg_attr(not(feature = \"ws\"), inline)]\nfn f() {}",
        ];
        for text in bad {
            assert_eq!(additive_features(&file("a.rs", text)).len(), 1, "{text}");
        }
        let good = "// cfg(not(feature = \"x\"))\n#[cfg(not(unix))]\nmod y;\n#[cfg(feature = \"a\")]\nmod a;\n\
            #[cfg(not(feature = \"a\"))]\ncompile_error!(\"take one\");";
        assert_eq!(additive_features(&file("a.rs", good)), []);
    }

    fn listed(paths: &[&str]) -> String {
        let rows: String = paths.iter().map(|path| format!("| `{path}` | why |\n")).collect();
        format!("<!-- tidy:tokio-net -->\n| File | Why |\n|---|---|\n{rows}<!-- tidy:end -->\n")
    }

    #[test]
    fn a_second_file_with_sockets_is_named() {
        let tcp = file("tcp.rs", "use tokio::net::TcpStream;");
        for bad in [
            "use tokio::net::UdpSocket;",
            "use tokio::{io, net::UdpSocket};",
            "use tokio::{net, io};",
        ] {
            let found = sockets(
                &[file("b.rs", bad), file("tcp.rs", "tokio::net::x")],
                &listed(&["tcp.rs"]),
            );
            assert_eq!(found.len(), 1, "{bad}");
        }
        let good = file(
            "b.rs",
            "// tokio::net\nuse std::net::SocketAddr;\nuse tokio::{io::network, time};",
        );
        assert_eq!(sockets(&[tcp, good], &listed(&["tcp.rs"])), []);
    }

    #[test]
    fn a_list_that_is_longer_than_needed_is_named() {
        let quiet = || vec![file("tcp.rs", "fn f() {}")];
        assert_eq!(sockets(&quiet(), &listed(&["tcp.rs"])).len(), 1);
        assert_eq!(sockets(&quiet(), &listed(&["gone.rs"])).len(), 1);
        assert_eq!(sockets(&quiet(), "no list at all").len(), 1);
        assert_eq!(sockets(&quiet(), &listed(&[])), []);
    }
}
