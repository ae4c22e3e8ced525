//! Walks a MessagePack body without building anything: is it one whole value, not too deep?
//!
//! Never recurses and never allocates: open arrays and maps are counters in a fixed array. Every
//! item is at least one byte, so a count larger than the bytes that are left is refused at once.

/// Why a body is not one well-formed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShapeError {
    /// The body ends inside a value.
    #[error("body ends at byte {at} inside a value")]
    Truncated { at: usize },
    /// Arrays and maps are nested too deep.
    #[error("nested deeper than {max} levels at byte {at}")]
    TooDeep { max: usize, at: usize },
    /// The one byte that the format does not define.
    #[error("undefined type 0xc1 at byte {at}")]
    Undefined { at: usize },
    /// Something follows the value.
    #[error("bytes after the value at byte {at}")]
    Trailing { at: usize },
}

/// Upper bound for `depth_max`: the size of the array of counters.
const LEVELS: usize = 128;

/// What one item announces about what follows its own head.
enum Head {
    /// That many bytes of content.
    Bytes(usize),
    /// That many further items.
    Items(usize),
}

/// Passes exactly one whole value of at most `depth_max` (at most 128) nested arrays and maps.
pub(super) fn check(body: &[u8], depth_max: usize) -> Result<(), ShapeError> {
    let mut cursor = Cursor { body, at: 0 };
    // Items still to come on each open level; the innermost is `open - 1`.
    let mut missing = [0_usize; LEVELS];
    let mut open = 0_usize;
    loop {
        match cursor.head()? {
            Head::Bytes(len) => cursor.skip(len)?,
            Head::Items(0) => {}
            Head::Items(count) => {
                let at = cursor.at;
                if count > cursor.left() {
                    return Err(ShapeError::Truncated { at: body.len() });
                }
                if open >= depth_max {
                    return Err(ShapeError::TooDeep { max: depth_max, at });
                }
                let Some(level) = missing.get_mut(open) else {
                    return Err(ShapeError::TooDeep { max: LEVELS, at });
                };
                *level = count;
                open = open.saturating_add(1);
                continue;
            }
        }
        // An item is complete; so is every level whose last item it was.
        loop {
            let Some(level) = open.checked_sub(1).and_then(|i| missing.get_mut(i)) else {
                return cursor.end();
            };
            *level = level.saturating_sub(1);
            if *level > 0 {
                break;
            }
            open = open.saturating_sub(1);
        }
    }
}

struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn left(&self) -> usize {
        self.body.len().saturating_sub(self.at)
    }

    fn skip(&mut self, len: usize) -> Result<(), ShapeError> {
        if len > self.left() {
            return Err(ShapeError::Truncated { at: self.body.len() });
        }
        self.at = self.at.saturating_add(len);
        Ok(())
    }

    /// A big-endian number of `width` bytes (at most 4).
    fn number(&mut self, width: usize) -> Result<usize, ShapeError> {
        let from = self.at;
        self.skip(width)?;
        let bytes = self.body.get(from..self.at).unwrap_or_default();
        let value = bytes.iter().fold(0_u32, |sum, b| (sum << 8) | u32::from(*b));
        // A count that does not fit is larger than any body.
        Ok(usize::try_from(value).unwrap_or(usize::MAX))
    }

    fn head(&mut self) -> Result<Head, ShapeError> {
        let at = self.at;
        let Some(&marker) = self.body.get(at) else {
            return Err(ShapeError::Truncated { at });
        };
        self.skip(1)?;
        let pairs = |count: usize| Head::Items(count.saturating_mul(2));
        // An extension carries one more byte: its type.
        let extension = |len: usize| Head::Bytes(len.saturating_add(1));
        Ok(match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Head::Bytes(0),
            0x80..=0x8f => pairs(usize::from(marker & 0x0f)),
            0x90..=0x9f => Head::Items(usize::from(marker & 0x0f)),
            0xa0..=0xbf => Head::Bytes(usize::from(marker & 0x1f)),
            0xc1 => return Err(ShapeError::Undefined { at }),
            0xc4 | 0xd9 => Head::Bytes(self.number(1)?),
            0xc5 | 0xda => Head::Bytes(self.number(2)?),
            0xc6 | 0xdb => Head::Bytes(self.number(4)?),
            0xc7 => extension(self.number(1)?),
            0xc8 => extension(self.number(2)?),
            0xc9 => extension(self.number(4)?),
            0xcc | 0xd0 => Head::Bytes(1),
            0xcd | 0xd1 => Head::Bytes(2),
            0xca | 0xce | 0xd2 => Head::Bytes(4),
            0xcb | 0xcf | 0xd3 => Head::Bytes(8),
            0xd4 => extension(1),
            0xd5 => extension(2),
            0xd6 => extension(4),
            0xd7 => extension(8),
            0xd8 => extension(16),
            0xdc => Head::Items(self.number(2)?),
            0xdd => Head::Items(self.number(4)?),
            0xde => pairs(self.number(2)?),
            0xdf => pairs(self.number(4)?),
        })
    }

    fn end(&self) -> Result<(), ShapeError> {
        match self.left() {
            0 => Ok(()),
            _ => Err(ShapeError::Trailing { at: self.at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ShapeError, check};

    #[test]
    fn every_kind_of_head_is_skipped_by_its_own_length() {
        let whole: [&[u8]; 16] = [
            &[0x05],
            &[0xff],
            &[0xc0],
            &[0xa1, b'x'],
            &[0x92, 0x01, 0x02],
            &[0x81, 0xa1, b'k', 0x90],
            &[0xc4, 2, 9, 9],
            &[0xc5, 0, 1, 9],
            &[0xc6, 0, 0, 0, 1, 9],
            &[0xc7, 1, 7, 9],
            &[0xd4, 7, 9],
            &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xd9, 1, b'x'],
            &[0xdc, 0, 1, 0x01],
            &[0xde, 0, 1, 0x01, 0x02],
            &[0xdf, 0, 0, 0, 0],
        ];
        for body in whole {
            assert_eq!(check(body, 8), Ok(()), "{body:02x?}");
            let longer = [body, &[0]].concat();
            let at = body.len();
            assert_eq!(check(&longer, 8), Err(ShapeError::Trailing { at }), "{longer:02x?}");
            for cut in 0..body.len() {
                let got = check(&body[..cut], 8);
                assert!(matches!(got, Err(ShapeError::Truncated { .. })), "{body:02x?} at {cut}");
            }
        }
    }

    #[test]
    fn nesting_is_refused_at_the_limit_and_not_before() {
        let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        assert_eq!(check(&nested(128), 128), Ok(()));
        assert_eq!(check(&nested(129), 128), Err(ShapeError::TooDeep { max: 128, at: 129 }));
    }

    #[test]
    fn a_count_beyond_the_body_is_refused_before_it_is_walked() {
        let body = [0xdd, 0xff, 0xff, 0xff, 0xff, 0x00];
        assert_eq!(check(&body, 8), Err(ShapeError::Truncated { at: 6 }));
    }
}
