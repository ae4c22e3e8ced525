//! Certificates made at test time, and what is said of files that cannot be used.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use std::path::PathBuf;
use tempfile::TempDir;

/// 2026-06-01, in seconds since 1970.
const SUMMER: Duration = Duration::from_secs(1_780_272_000);

/// An authority with a directory for what it issues.
pub(crate) struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of this test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn ca(&self) -> File {
        File::new("caFile", self.path("ca.pem"))
    }

    /// Writes a certificate for `name` over `file`.pem and `file`.key. `years` are its first and last.
    pub(crate) fn issue(&self, file: &str, name: &str, years: (i32, i32)) -> PairFiles {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let pair = self.files(file);
        std::fs::write(&pair.cert.path, cert.pem()).unwrap();
        std::fs::write(&pair.key.path, key.serialize_pem()).unwrap();
        pair
    }

    pub(crate) fn files(&self, file: &str) -> PairFiles {
        PairFiles {
            cert: File::new("certFile", self.path(&format!("{file}.pem"))),
            key: File::new("keyFile", self.path(&format!("{file}.key"))),
        }
    }

    /// A listener with one certificate, for `gate.test`.
    pub(crate) fn listening(&self) -> Listening {
        Listening::load(vec![self.issue("gate", "gate.test", (2020, 2090))], SUMMER).unwrap().0
    }

    /// Who trusts this authority, and expects that name.
    pub(crate) fn dialling(&self, name: &str) -> Dialling {
        let trust = Trust { ca: Some(self.ca()), server_name: Some(name.to_owned()) };
        Dialling::load(&trust).unwrap()
    }
}

/// What is wrong with a listener of these files.
fn problems(pairs: Vec<PairFiles>) -> Vec<String> {
    Listening::load(pairs, SUMMER).map(drop).unwrap_err()
}

#[test]
fn files_that_can_never_work_are_refused_with_setting_path_and_reason() {
    let authority = Authority::new();
    let good = authority.issue("good", "gate.test", (2020, 2090));
    let other = authority.issue("other", "gate.test", (2020, 2090));
    let crossed = PairFiles { key: other.key.clone(), ..good.clone() };
    let swapped = PairFiles {
        cert: File::new("certFile", &good.key.path),
        key: File::new("keyFile", &good.cert.path),
    };
    let locked = authority.path("locked.key");
    std::fs::write(
        &locked,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let locked = PairFiles { key: File::new("keyFile", locked), ..good.clone() };
    for (pair, parts) in [
        (authority.files("missing"), vec!["certFile", "missing.pem", "cannot be read"]),
        (swapped.clone(), vec!["certFile", "good.key", "no certificate"]),
        (crossed, vec!["other.key", "does not belong", "good.pem"]),
        (locked, vec!["keyFile", "locked.key", "encrypted"]),
    ] {
        let said = problems(vec![pair]).join("\n");
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
    }
    assert!(problems(vec![swapped])[1].contains("no private key"), "both files are named");
    assert_eq!(problems(vec![authority.files("a"), authority.files("b")]).len(), 4, "all at once");
}

#[test]
fn a_certificate_that_is_over_or_soon_will_be_is_used_and_said() {
    let authority = Authority::new();
    for (years, at, part) in [
        ((2020, 2026), SUMMER, "expired 151 days ago"),
        ((2027, 2028), SUMMER, "not valid yet, but in 214 days"),
        ((2020, 2027), SUMMER, ""),
        ((2020, 2027), SUMMER + Duration::from_secs(204 * 24 * 3600), "expires in 10 days"),
    ] {
        let pair = authority.issue("gate", "gate.test", years);
        let (_, notes) = Listening::load(vec![pair], at).unwrap();
        assert_eq!(notes.len(), usize::from(!part.is_empty()), "{years:?}: {notes:?}");
        assert!(
            notes.iter().all(|note| note.contains(part) && note.contains("gate.pem")),
            "{notes:?}"
        );
    }
}

#[test]
fn new_files_are_used_once_they_are_seen_twice_and_broken_ones_are_said_once() {
    let authority = Authority::new();
    let listening = authority.listening();
    let leaf = || {
        let pair = chain::pair(
            &authority.files("gate"),
            (
                &Ok(std::fs::read(authority.path("gate.pem")).unwrap()),
                &Ok(std::fs::read(authority.path("gate.key")).unwrap()),
            ),
            SUMMER,
        );
        pair.unwrap().0
    };
    assert_eq!(listening.refresh(SUMMER), Refreshed::Same);
    let first = leaf();
    authority.issue("gate", "gate.test", (2020, 2091));
    assert_ne!(first.end_entity_cert().unwrap(), leaf().end_entity_cert().unwrap());
    assert_eq!(listening.refresh(SUMMER), Refreshed::Same, "perhaps in the middle of a change");
    assert_eq!(listening.refresh(SUMMER), Refreshed::Swapped(vec![]));
    assert_eq!(listening.refresh(SUMMER), Refreshed::Same);
    std::fs::remove_file(authority.path("gate.key")).unwrap();
    listening.refresh(SUMMER);
    let Refreshed::Kept(problems) = listening.refresh(SUMMER) else { panic!("it cannot be used") };
    assert!(problems[0].contains("gate.key") && problems[0].contains("cannot be read"));
    assert_eq!(listening.refresh(SUMMER), Refreshed::Same, "said once");
    authority.issue("gate", "gate.test", (2020, 2090));
    listening.refresh(SUMMER);
    assert_eq!(listening.refresh(SUMMER), Refreshed::Swapped(vec![]));
}

#[test]
fn a_name_is_taken_from_the_host_that_is_dialled_without_its_port() {
    for (host, name) in [
        ("gate.test:3553", "gate.test"),
        ("gate.test", "gate.test"),
        ("[::1]:3553", "::1"),
        ("::1", "::1"),
        ("10.0.0.1:1", "10.0.0.1"),
    ] {
        assert_eq!(dialling::without_port(host), name);
    }
}
