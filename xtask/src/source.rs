//! Rust text with its comments and literals blanked, so that rules see only code.
//!
//! It is a lexer of a few token kinds, not a parser: line numbers stay right, and that a word in a
//! string or a comment never breaks a rule is all it promises. Macros are text like any other.

/// A Rust file as the rules see it.
pub(crate) struct Source {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// The file as it is.
    pub(crate) text: String,
    /// The same lines; comments are blanks, literals are rows of `"`.
    pub(crate) code: String,
}

/// A function with a body, and how many lines of code that body has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: usize,
}

impl Source {
    /// Blanks what is not code.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = blank(&text);
        Self { path: path.into(), text, code }
    }

    /// Functions in order of appearance; those without a body are left out.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let found = words(&self.code).filter(|(_, word)| *word == "fn");
        found.filter_map(|(at, _)| function(self.code.get(at..)?)).collect()
    }

    /// The code without items marked `#[cfg(test)]`; nothing at all for a file of tests.
    pub(crate) fn product_code(&self) -> String {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let tests = file == "tests.rs" || file.ends_with("_tests.rs");
        if tests
            || folder.split('/').any(|part| part == "tests")
            || self.code.contains("#![cfg(test)]")
        {
            return String::new();
        }
        let mut kept = String::new();
        let mut rest = self.code.as_str();
        while let Some((before, behind)) = rest.split_once("#[cfg(test)]") {
            kept.push_str(before);
            let (item, after) = behind.split_at(item_len(behind));
            kept.extend(item.chars().filter(|c| *c == '\n'));
            rest = after;
        }
        kept + rest
    }
}

/// Lines, counted from 1, on which `pattern` stands as a whole word (or path of words).
pub(crate) fn lines_with(code: &str, pattern: &str) -> Vec<usize> {
    let numbered = code.lines().zip(1..);
    numbered.filter(|(line, _)| has_word(line, pattern)).map(|(_, number)| number).collect()
}

/// Does `pattern` stand in `text` with no letter, digit or `_` on either side?
pub(crate) fn has_word(text: &str, pattern: &str) -> bool {
    text.match_indices(pattern).any(|(at, _)| {
        let before = text.get(..at).and_then(|left| left.chars().next_back());
        let after = text.get(at.saturating_add(pattern.len())..).and_then(|r| r.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Number of the line that byte `at` of `text` is on, counted from 1.
pub(crate) fn line_at(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.matches('\n').count().saturating_add(1)
}

/// What stands between the bracket that `text` begins with and its partner; `None` if it has none.
pub(crate) fn group(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth = depth.saturating_add(1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return text.get(1..at);
        }
    }
    None
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words of the code with the byte each begins at.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0_usize;
    code.split_inclusive(|c| !is_word(c)).filter_map(move |piece| {
        let start = at;
        at = at.saturating_add(piece.len());
        let word = piece.trim_end_matches(|c| !is_word(c));
        (!word.is_empty()).then_some((start, word))
    })
}

/// The function whose keyword `text` begins with. `fn(u8) -> u8` is a type and has no name.
fn function(text: &str) -> Option<Function> {
    let after = text.strip_prefix("fn")?.trim_start();
    let name: String = after.chars().take_while(|c| is_word(*c)).collect();
    if name.is_empty() {
        return None;
    }
    let open = body_at(after)?;
    let body = group(after.get(open..)?)?;
    let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
    Some(Function { name, lines })
}

/// Where the body of an item begins: its first `{` outside brackets, if no `;` comes before it.
fn body_at(item: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '(' | '[' => depth = depth.saturating_add(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Bytes of the item that follows an attribute: to the end of its body, or to its `;`.
fn item_len(text: &str) -> usize {
    if let Some(open) = body_at(text) {
        let body = text.get(open..).and_then(group).map_or(0, str::len);
        return open.saturating_add(body).saturating_add(2).min(text.len());
    }
    text.find(';').map_or(text.len(), |at| at.saturating_add(1))
}

/// What a stretch of Rust text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Code,
    Comment,
    Literal,
}

fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (token, len) = next_token(rest);
        let (piece, after) = rest.split_at_checked(len.max(1)).unwrap_or((rest, ""));
        rest = after;
        match token {
            Token::Code => out.push_str(piece),
            Token::Comment => out.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' })),
            Token::Literal => out.extend(piece.chars().map(|c| if c == '\n' { c } else { '"' })),
        }
    }
    out
}

/// Kind and length in bytes of the token that `text` begins with.
fn next_token(text: &str) -> (Token, usize) {
    if text.starts_with("//") {
        return (Token::Comment, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (Token::Comment, block_comment_len(text));
    }
    if let Some(len) = raw_string_len(text) {
        return (Token::Literal, len);
    }
    let word = text.find(|c| !is_word(c)).unwrap_or(text.len());
    if word > 0 {
        return (Token::Code, word);
    }
    match text.chars().next() {
        Some('"') => (Token::Literal, quoted_len(text, '"')),
        Some('\'') if is_char(text) => (Token::Literal, quoted_len(text, '\'')),
        Some(c) => (Token::Code, c.len_utf8()),
        None => (Token::Code, 0),
    }
}

/// `'x'` and `'\n'` are characters, `'static` is not.
fn is_char(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// Length of a literal with escapes, from its opening quote to behind its closing one.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}

/// Length of `r"…"`, `br#"…"#` or `cr"…"`, if `text` begins with one.
fn raw_string_len(text: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let quote = after.find(|c| c != '#')?;
    let hashes = after.get(..quote)?;
    let inside = after.get(quote..)?.strip_prefix('"')?;
    let close = format!("\"{hashes}");
    let end = inside.find(&close)?.saturating_add(close.len());
    Some(text.len().saturating_sub(inside.len()).saturating_add(end))
}

/// Block comments nest.
fn block_comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("/*") {
            depth = depth.saturating_add(1);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth = depth.saturating_sub(1);
            rest = after;
            if depth == 0 {
                break;
            }
        } else {
            rest =
                rest.get(1..).unwrap_or_else(|| rest.trim_start_matches(|c: char| !c.is_ascii()));
        }
    }
    text.len().saturating_sub(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs", text).code
    }

    #[test]
    fn comments_become_blanks_and_keep_their_lines() {
        assert_eq!(
            code("a // tokio\nb /* x /* y */ é\n */ c"),
            "a         \nb               \n    c"
        );
    }

    #[test]
    fn literals_become_quotes_and_keep_their_lines() {
        assert_eq!(code(r#"f("to\"k", 'x', '\'', r"a\")"#), r#"f(""""""", """, """", """"")"#);
        assert_eq!(code("r#\"a\"\n\"#; for r in b"), "\"\"\"\"\"\n\"\"; for r in b");
    }

    #[test]
    fn lifetimes_are_code() {
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn words_match_whole_paths_only() {
        assert!(has_word("x = Instant::now();", "Instant::now"));
        assert!(!has_word("operand", "rand"));
        assert!(!has_word("rand_core", "rand"));
        assert_eq!(lines_with("a\nuse rand;\n", "rand"), [2]);
    }

    #[test]
    fn functions_are_counted_as_clippy_does() {
        let text = "fn one(f: fn(u8) -> u8, b: [u8; 2]) {\n    // why\n\n    f(1);\n    g(\n 2);\n}\n\
            trait T { fn none(&self); }\nimpl T for U { fn two(&self) { a } }\n";
        let found = Source::new("a.rs", text).functions();
        let one = Function { name: "one".to_owned(), lines: 3 };
        let two = Function { name: "two".to_owned(), lines: 1 };
        assert_eq!(found, [one, two]);
    }

    #[test]
    fn product_code_leaves_tests_out_and_keeps_line_numbers() {
        let text = "a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n#[cfg(test)]\nmod more;\nd";
        let product = Source::new("a.rs", text).product_code();
        assert_eq!(product.split_whitespace().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(lines_with(&product, "d"), [9]);
        assert_eq!(Source::new("x/tests/a.rs", "a").product_code(), "");
        assert_eq!(Source::new("x/a_tests.rs", "a").product_code(), "");
    }
}
