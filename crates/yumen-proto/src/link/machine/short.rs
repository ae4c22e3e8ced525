//! The one reply that due writes wrongly: to a publish that reached nobody, or failed.
//!
//! Its size field promises a total of eight bytes that then does not come. A total that is there
//! begins with four zero bytes, because nobody has four billion receivers, and the size field of a
//! frame behind it never does. If nothing stands behind the code yet, the total is taken as absent, and
//! skipped should it still come: due writes a reply at once, but a read may cut it there.

use crate::link::{Frame, Reply, code};

const PUBLISH: u8 = 11;
/// Value of the size field, with and without the total.
const SIZE: u32 = 20;
/// Size field, header, route, seq and code.
const SHORT_LEN: usize = 16;
const TOTAL_LEN: usize = 8;
const CODE_AT: usize = 14;

/// Reads replies to publishes off the front of what due wrote.
#[derive(Debug, Default)]
pub(super) struct ShortReplies {
    /// The last one was taken as short, and nothing stood behind it.
    in_doubt: bool,
}

/// What stands at the front.
pub(super) enum Front<'a> {
    /// Nothing of this kind.
    Other,
    /// The beginning of such a reply, or of a total that is to be skipped.
    More,
    /// Such a reply; it was taken off.
    Reply(Frame<'a>),
}

impl ShortReplies {
    pub(super) fn take<'a>(&mut self, buf: &mut &'a [u8]) -> Front<'a> {
        if self.in_doubt && buf.starts_with(&[0; 4]) {
            let Some((_, rest)) = buf.split_at_checked(TOTAL_LEN) else { return Front::More };
            *buf = rest;
        }
        if !buf.is_empty() {
            self.in_doubt = false;
        }
        let is_publish = buf.starts_with(&SIZE.to_be_bytes()) && buf.get(5) == Some(&PUBLISH);
        if !is_publish || buf.get(4).is_some_and(|header| header & super::HEARTBEAT_BIT != 0) {
            return Front::Other;
        }
        let Some((head, rest)) = buf.split_first_chunk::<SHORT_LEN>() else { return Front::More };
        let [_, _, _, _, _, _, seq @ .., high, low] = *head;
        let code = u16::from_be_bytes([high, low]);
        let done = |total| {
            let seq = u64::from_be_bytes(seq);
            Frame::Reply { seq, route: PUBLISH, code, reply: Reply::Total(total) }
        };
        debug_assert_eq!(SHORT_LEN, CODE_AT + 2);
        if code != code::OK || (rest.len() >= 4 && !rest.starts_with(&[0; 4])) {
            *buf = rest;
            return Front::Reply(done(0));
        }
        if rest.is_empty() {
            self.in_doubt = true;
            *buf = rest;
            return Front::Reply(done(0));
        }
        let Some((total, rest)) = rest.split_first_chunk::<TOTAL_LEN>() else { return Front::More };
        *buf = rest;
        Front::Reply(done(u64::from_be_bytes(*total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(seq: u64, code: u16, total: Option<u64>) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 20, 0, 11];
        bytes.extend(seq.to_be_bytes());
        bytes.extend(code.to_be_bytes());
        bytes.extend(total.into_iter().flat_map(u64::to_be_bytes));
        bytes
    }

    /// All replies in `reads`, which arrive one after the other.
    fn taken(reads: &[&[u8]]) -> Vec<(u64, u64)> {
        let (mut replies, mut all, mut kept) = (ShortReplies::default(), Vec::new(), Vec::new());
        for read in reads {
            kept.extend_from_slice(read);
            let mut buf = kept.as_slice();
            loop {
                match replies.take(&mut buf) {
                    Front::Reply(Frame::Reply { seq, reply: Reply::Total(total), .. }) => {
                        all.push((seq, total));
                    }
                    Front::Reply(other) => panic!("{other:?}"),
                    Front::More | Front::Other => break,
                }
            }
            kept = buf.to_vec();
        }
        assert!(kept.is_empty(), "left: {kept:?}");
        all
    }

    #[test]
    fn a_total_that_was_promised_and_left_out_swallows_nothing() {
        let both = [reply(1, 0, None), reply(2, 2, None), reply(3, 0, Some(70_000))].concat();
        assert_eq!(taken(&[&both]), [(1, 0), (2, 0), (3, 70_000)]);
    }

    #[test]
    fn a_total_that_comes_late_is_skipped() {
        let whole = reply(1, 0, Some(9));
        let next = reply(2, 0, Some(5));
        for cut in 17..24 {
            let rest = [&whole[cut..], &next].concat();
            assert_eq!(taken(&[&whole[..cut], &rest]), [(1, 9), (2, 5)], "cut at {cut}");
        }
        let rest = [&whole[16..], &next].concat();
        assert_eq!(taken(&[&whole[..16], &rest]), [(1, 0), (2, 5)], "cut where it is in doubt");
        assert_eq!(taken(&[&whole[..16], &next]), [(1, 0), (2, 5)], "and it did not come");
        assert_eq!(taken(&[&whole[..16], &whole[16..20], &whole[20..], &next]), [(1, 0), (2, 5)]);
    }
}
