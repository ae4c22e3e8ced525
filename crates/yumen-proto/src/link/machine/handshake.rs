//! Who is at the other end: the first frames of a link, up to the point where commands may flow.
//!
//! The dialler introduces itself with due's handshake, and announces itself right behind it if the peer
//! is meant to be one of ours. The server answers only to an announcement, so that due's never see one.
//! Nothing here looks at a command.

use super::{LinkConn, Role, Stage};
use crate::{
    conn::{CloseReason, Out},
    link::{
        Command, Frame, HANDSHAKE_SEQ, Kind, LinkFault, Reply,
        announce::{LinkAnnounce, LinkFeatures, PROOF_LEN, encode_proof},
        code,
        secret::{Side, Transcript},
    },
};

/// What a link between two of ours needs, whatever else they agree on.
const NEEDED: LinkFeatures = LinkFeatures::DATA_LANE
    .and(LinkFeatures::CONTROL_LANE)
    .and(LinkFeatures::CREDITS)
    .and(LinkFeatures::COMMANDS);

/// Version of the announcement, as it stands in the transcript.
const VERSION: u8 = 1;

impl LinkConn {
    fn offer(&self) -> LinkFeatures {
        let proves = !self.settings.secrets.is_empty();
        if proves { NEEDED.and(LinkFeatures::AUTHENTICATION) } else { NEEDED }
    }

    fn announcement(&self, features: LinkFeatures) -> LinkAnnounce<'_> {
        LinkAnnounce {
            features,
            nonce: self.nonce,
            lane: self.lane,
            id: &self.settings.id,
            cluster: &self.settings.cluster,
            window: self.settings.window,
            frame_max: u32::try_from(self.settings.frame_max).unwrap_or(u32::MAX),
            mark: self.mark,
            proof: None,
        }
    }

    /// The dialler's first words.
    pub(super) fn introduce(&self, announce: bool, out: &mut Out) {
        let command = Command::Handshake { kind: self.settings.kind, id: &self.settings.id };
        let frame = Frame::Request { seq: HANDSHAKE_SEQ, command };
        // An id has no length that a frame could not carry.
        let _always_fits = frame.encode(out.buffer());
        if announce {
            self.announcement(self.offer()).encode(out.buffer());
        }
    }

    /// The server has heard who dialled.
    pub(super) fn introduced(&mut self, seq: u64, kind: Kind, id: &str, out: &mut Out) {
        if self.stage == Stage::Fresh {
            self.peer.kind = kind;
            self.peer.id = id.into();
            self.stage = Stage::Known;
        }
        if seq != 0 {
            let route = Command::Handshake { kind, id }.code();
            let reply = Frame::Reply { seq, route, code: code::OK, reply: Reply::Done };
            let _always_fits = reply.encode_as(self.flow_out, out.buffer());
        }
    }

    /// An announcement came. True if commands may flow now.
    pub(super) fn announced(
        &mut self,
        announce: &LinkAnnounce<'_>,
        out: &mut Out,
    ) -> Result<bool, LinkFault> {
        match (&self.role, self.stage) {
            (Role::Server, Stage::Known) => self.answer(announce, out),
            (Role::Dialler { .. }, Stage::Announced) => self.answered(announce, out),
            _ => Err(LinkFault::BadHandshake),
        }
    }

    /// The server's turn.
    fn answer(&mut self, announce: &LinkAnnounce<'_>, out: &mut Out) -> Result<bool, LinkFault> {
        if *announce.id != *self.peer.id || !announce.features.has(NEEDED) {
            return Err(LinkFault::BadHandshake);
        }
        self.lane = announce.lane;
        let offered = announce.features;
        let provable = offered.has(LinkFeatures::AUTHENTICATION);
        let wanted = !self.settings.secrets.is_empty() && (provable || !self.settings.insecure);
        let agreed = offered.common(NEEDED);
        let agreed = if wanted { agreed.and(LinkFeatures::AUTHENTICATION) } else { agreed };
        let (theirs, mine) = (announce.nonce, self.nonce);
        let transcript = Transcript {
            version: VERSION,
            cluster: &self.settings.cluster,
            dialler: announce.id,
            server: &self.settings.id,
            offered,
            agreed,
            dialler_nonce: &theirs,
            server_nonce: &mine,
        };
        let secret = self.settings.secrets.first().filter(|_| wanted);
        let proof = secret.and_then(|secret| transcript.prove(Side::Server, secret));
        LinkAnnounce { proof, ..self.announcement(agreed) }.encode(out.buffer());
        // Said only now, so that the dialler can see for itself what is wrong.
        if *announce.cluster != *self.settings.cluster {
            return Err(LinkFault::WrongCluster);
        }
        if wanted && !provable {
            return Err(LinkFault::Unproven);
        }
        self.terms(announce, agreed);
        self.offered = offered;
        self.their_nonce = theirs;
        self.stage = if wanted { Stage::Challenged } else { Stage::Up };
        Ok(!wanted)
    }

    /// The dialler's turn.
    fn answered(&mut self, answer: &LinkAnnounce<'_>, out: &mut Out) -> Result<bool, LinkFault> {
        let Role::Dialler { target } = &self.role else { return Err(LinkFault::BadHandshake) };
        if *answer.cluster != *self.settings.cluster {
            return Err(LinkFault::WrongCluster);
        }
        if *answer.id != **target {
            return Err(LinkFault::WrongPeer);
        }
        if !answer.features.has(NEEDED) || answer.lane != self.lane {
            return Err(LinkFault::BadHandshake);
        }
        if answer.features.has(LinkFeatures::AUTHENTICATION) {
            if self.settings.secrets.is_empty() {
                return Err(LinkFault::SecretNeeded);
            }
            let transcript = Transcript {
                version: VERSION,
                cluster: &self.settings.cluster,
                dialler: &self.settings.id,
                server: answer.id,
                offered: self.offer(),
                agreed: answer.features,
                dialler_nonce: &self.nonce,
                server_nonce: &answer.nonce,
            };
            let proof = answer.proof.ok_or(LinkFault::Unproven)?;
            let secret = transcript.verify(Side::Server, &proof, &self.settings.secrets);
            let secret = secret.ok_or(LinkFault::BadProof)?;
            let mine = transcript.prove(Side::Dialler, secret).ok_or(LinkFault::BadProof)?;
            encode_proof(&mine, out.buffer());
        } else if !self.settings.trusts_anybody() {
            return Err(LinkFault::Unproven);
        }
        self.terms(answer, answer.features);
        self.stage = Stage::Up;
        Ok(true)
    }

    /// The server has got the dialler's proof. True if commands may flow now.
    pub(super) fn proved(&mut self, tail: &[u8]) -> Result<bool, LinkFault> {
        if self.stage != Stage::Challenged {
            return Err(LinkFault::BadHandshake);
        }
        let proof: [u8; PROOF_LEN] = tail.try_into().map_err(|_| LinkFault::BadHandshake)?;
        let transcript = Transcript {
            version: VERSION,
            cluster: &self.settings.cluster,
            dialler: &self.peer.id,
            server: &self.settings.id,
            offered: self.offered,
            agreed: self.peer.features,
            dialler_nonce: &self.their_nonce,
            server_nonce: &self.nonce,
        };
        let known = transcript.verify(Side::Dialler, &proof, &self.settings.secrets);
        known.ok_or(LinkFault::BadProof)?;
        self.stage = Stage::Up;
        Ok(true)
    }

    /// What was agreed counts from now on.
    fn terms(&mut self, announce: &LinkAnnounce<'_>, agreed: LinkFeatures) {
        self.peer.ours = true;
        self.peer.features = agreed;
        self.peer.mark = announce.mark;
        self.peer.frame_max = usize::try_from(announce.frame_max).unwrap_or(usize::MAX);
        if let Role::Dialler { target } = &self.role {
            self.peer.id = target.clone();
        }
        self.credit.open(announce.window, self.settings.window, self.settings.frame_max);
        (self.flow_in, self.flow_out) = (crate::link::Flow::Duplex, crate::link::Flow::Duplex);
    }
}

impl From<LinkFault> for CloseReason {
    fn from(fault: LinkFault) -> Self {
        Self::Link(fault)
    }
}
