//! On which terms the instances of a cluster meet those of other processes: what code says, else what the
//! settings say, else the default.
//!
//! It opens nothing and never shows a secret.

use crate::secure::SecureLinks;
use std::fmt;
use yumen_mesh::{AllowList, NetBlock};
use yumen_proto::link::{NAME_MAX, SECRET_MIN, Secret};
use yumen_settings::keys::yumen::YumenClusterSettings;

/// What code has said.
#[derive(Clone, Default)]
pub(super) struct Code {
    pub(super) name: Option<String>,
    pub(super) secrets: Vec<String>,
    pub(super) insecure: Option<bool>,
    pub(super) allow: Vec<String>,
    pub(super) written: Option<YumenClusterSettings>,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Everything decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Name of the cluster.
    pub(crate) name: String,
    /// The first is proved, each is accepted.
    pub(crate) secrets: Vec<Secret>,
    /// Whether peers are served that prove nothing although there are secrets, and whether it
    /// may listen for other machines without any.
    pub(crate) insecure: bool,
    /// Who may connect without a proof.
    pub(crate) allow: AllowList,
    /// TLS of links.
    pub(crate) links: SecureLinks,
}

impl Code {
    /// `component` is what the settings of a gate or node say.
    pub(super) fn decide(
        &self,
        component: Option<&YumenClusterSettings>,
        problems: &mut Vec<String>,
    ) -> Terms {
        let written = self.written.as_ref().or(component);
        let name = self.name.clone().or_else(|| Some(written?.name.clone())).unwrap_or_default();
        if name.len() > NAME_MAX {
            problems.push(format!(
                "the name of the cluster has {} bytes; at most {NAME_MAX} are possible",
                name.len()
            ));
        }
        let mut secrets = self.secrets.clone();
        if let (true, Some(written)) = (secrets.is_empty(), written) {
            let all = std::iter::once(&written.secret).chain(&written.secrets_old);
            let all = all.map(|secret| secret.expose().to_owned());
            secrets = all.filter(|secret| !secret.is_empty()).collect();
            if written.secret.is_empty() && !secrets.is_empty() {
                problems.push(
                    "yumen.cluster.secretsOld is set and yumen.cluster.secret is not: set that too"
                        .to_owned(),
                );
            }
        }
        let mut allow = self.allow.as_slice();
        if let (true, Some(written)) = (allow.is_empty(), written) {
            allow = &written.allow;
        }
        let blocks = allow.iter().map(|block| block.parse::<NetBlock>());
        let allow = blocks.filter_map(|block| {
            block.map_err(|error| problems.push(format!("yumen.cluster.allow: {error}"))).ok()
        });
        let allow = allow.collect();
        let secrets = secrets.into_iter().filter_map(|secret| {
            let known = Secret::new(secret);
            if known.is_none() {
                problems.push(format!(
                    "a secret of the cluster (yumen.cluster.secret, yumen.cluster.secretsOld or \
                     `.secret(...)`) has less than {SECRET_MIN} bytes; `openssl rand -hex 32` makes one"
                ));
            }
            known
        });
        let insecure = self.insecure.or_else(|| Some(written?.insecure)).unwrap_or(false);
        let secrets = secrets.collect();
        let links = written.map(|written| SecureLinks::load(written, problems));
        Terms { name, secrets, insecure, allow, links: links.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use yumen_settings::Settings;

    const OLD: &str = "an old secret of the cluster";
    const NEW: &str = "a new secret of the cluster";

    fn written(text: &str) -> YumenClusterSettings {
        Settings::parse(text, Path::new("etc.toml")).unwrap().yumen.cluster
    }

    fn decide(code: &Code, text: &str) -> (Terms, Vec<String>) {
        let mut problems = Vec::new();
        (code.decide(Some(&written(text)), &mut problems), problems)
    }

    #[test]
    fn code_wins_over_the_settings_of_the_cluster_and_those_over_the_components() {
        let (terms, problems) = decide(&Code::default(), "yumen.cluster.name = 'component'");
        assert_eq!((terms.name.as_str(), problems.len()), ("component", 0));
        let mut code =
            Code { written: Some(written("yumen.cluster.name = 'cluster'")), ..Code::default() };
        assert_eq!(decide(&code, "yumen.cluster.name = 'component'").0.name, "cluster");
        code.name = Some("code".to_owned());
        assert_eq!(decide(&code, "yumen.cluster.name = 'component'").0.name, "code");
    }

    #[test]
    fn the_secret_that_is_proved_comes_first() {
        let text =
            format!("[yumen.cluster]\nsecret = '{NEW}'\nsecretsOld = ['{OLD}']\ninsecure = true");
        let (terms, problems) = decide(&Code::default(), &text);
        let expected: Vec<_> = [NEW, OLD].iter().filter_map(|text| Secret::new(*text)).collect();
        assert_eq!((terms.secrets, problems.len()), (expected, 0));
        assert!(terms.insecure);
    }

    #[test]
    fn what_is_wrong_is_said_at_once_and_without_the_secret() {
        let code = Code {
            name: Some("x".repeat(201)),
            secrets: vec!["hunter2".to_owned()],
            allow: vec!["everybody".to_owned(), "10.0.0.0/8".to_owned()],
            ..Code::default()
        };
        let (_, problems) = decide(&code, "");
        let text = problems.join("\n");
        assert_eq!(problems.len(), 3, "{text}");
        for part in ["201 bytes", "less than 16", "`everybody`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("hunter2") && !format!("{code:?}").contains("hunter2"), "{text}");
        let (_, problems) =
            decide(&Code::default(), &format!("yumen.cluster.secretsOld = ['{OLD}']"));
        assert!(problems[0].contains("yumen.cluster.secret is not"), "{problems:?}");
    }
}
