//! Codecs as settings name them: `cluster.*.codec`.
//!
//! Which codec a message has is written in the program, by its type; the setting chooses nothing. A name
//! that no codec has is a mistake all the same, and refused; a name that means another codec than the
//! program uses is not known here.

use yumen_settings::Settings;

/// The name, and the feature that brings it.
const CODECS: [(&str, &str); 3] = [("json", "json"), ("msgpack", "msgpack"), ("proto", "protobuf")];

/// What is wrong with the name of a codec, if somebody wrote it under `key`.
pub(crate) fn problem(settings: &Settings, key: &str, name: &str) -> Option<String> {
    if !settings.is_set(key) || CODECS.iter().any(|(known, _)| *known == name) {
        return None;
    }
    let key = key.strip_prefix("etc.").unwrap_or(key);
    let known = CODECS.map(|(name, feature)| format!("{name} (cargo feature `{feature}`)"));
    Some(format!("{key} is {name:?}, and no codec has that name; there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn problem_of(text: &str) -> Option<String> {
        let settings = Settings::parse(text, Path::new("etc.toml")).unwrap();
        problem(&settings, "etc.cluster.node.codec", &settings.cluster.node.codec)
    }

    #[test]
    fn a_known_codec_and_one_that_nobody_named_are_no_problem() {
        assert_eq!(problem_of(""), None);
        for (name, _) in CODECS {
            assert_eq!(problem_of(&format!("[cluster.node]\ncodec = '{name}'")), None, "{name}");
        }
    }

    #[test]
    fn an_unknown_codec_is_refused_with_the_known_ones_and_their_features() {
        let text = problem_of("[cluster.node]\ncodec = 'jason'").unwrap();
        let parts = [
            "cluster.node.codec",
            "\"jason\"",
            "json (cargo feature `json`)",
            "proto (cargo feature `protobuf`)",
        ];
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
