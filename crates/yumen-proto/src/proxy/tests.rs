//! Headers as load balancers write them, and every way in which they can be broken.

use super::{v2::sum_for_tests as checksum, *};

/// A header of version 2.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// 192.0.2.7:56324 to 198.51.100.1:443.
const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

fn at(text: &str) -> Source {
    Source::At(text.parse().unwrap())
}

fn source(bytes: &[u8]) -> Result<Source, ProxyError> {
    let whole = parse(bytes)?.expect("it is whole");
    assert_eq!(whole.len, bytes.len());
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    let mut more = bytes.to_vec();
    more.extend(b"PROXY of the client");
    assert_eq!(parse(&more), Ok(Some(whole)), "what follows is not looked at");
    Ok(whole.source)
}

#[test]
fn the_lines_of_version_1_name_the_client() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", at("192.0.2.7:56324")),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", at("[2001:db8::7]:56324")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", at("192.0.2.7:1")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", at("255.255.255.255:65535")),
        ("PROXY UNKNOWN\r\n", Source::Unknown),
        ("PROXY UNKNOWN ffff::1 whatever 1 2\r\n", Source::Unknown),
    ] {
        assert_eq!(source(line.as_bytes()), Ok(expected), "{line}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_MAX - 16));
    assert_eq!((longest.len(), source(longest.as_bytes())), (V1_MAX, Ok(Source::Unknown)));
}

#[test]
fn a_line_that_breaks_a_rule_of_version_1_is_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
        "PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 2001:db8::1 1 2\r\n",
        "PROXY TCP4 host 198.51.100.1 1 2\r\n",
        "PROXY TCP4 \u{e9} 198.51.100.1 1 2\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(ProxyError::Line), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_MAX));
    assert_eq!(parse(long.as_bytes()), Err(ProxyError::TooLong { max: V1_MAX }));
}

#[test]
fn the_headers_of_version_2_name_the_client() {
    assert_eq!(source(&v2(1, 0x11, &V4)), Ok(at("192.0.2.7:56324")));
    let golden =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";
    assert_eq!(v2(1, 0x11, &V4), golden);
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 7;
    v6[32..].copy_from_slice(&[0xdc, 0x04, 0x01, 0xbb]);
    assert_eq!(source(&v2(1, 0x21, &v6)), Ok(at("[2001:db8::7]:56324")));
    assert_eq!(source(&v2(1, 0x31, &[b'/'; 216])), Ok(Source::Unix));
    assert_eq!(source(&v2(1, 0x00, b"anything")), Ok(Source::Unknown));
    assert_eq!(source(&v2(0, 0x00, b"")), Ok(Source::Local));
    // Addresses of a LOCAL header are to be ignored, and so are those that make no sense.
    assert_eq!(source(&v2(0, 0x11, &V4)), Ok(Source::Local));
    assert_eq!(source(&v2(0, 0xff, b"x")), Ok(Source::Local));
}

#[test]
fn extensions_are_skipped_and_a_checksum_is_checked() {
    let mut body = V4.to_vec();
    body.extend(b"\x05\x00\x04edge"); // a unique id
    body.extend(b"\x04\x00\x00"); // nothing
    body.extend(b"\xe0\x00\x01x"); // somebody's own
    assert_eq!(source(&v2(1, 0x11, &body)), Ok(at("192.0.2.7:56324")));
    body.extend(b"\x03\x00\x04\0\0\0\0");
    let mut bytes = v2(1, 0x11, &body);
    let hole = bytes.len() - 4;
    let sum = checksum(&bytes, hole);
    bytes[hole..].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(source(&bytes), Ok(at("192.0.2.7:56324")));
    bytes[16] ^= 1;
    assert_eq!(parse(&bytes), Err(ProxyError::Checksum));
}

#[test]
fn the_checksum_is_the_one_of_the_standard() {
    // RFC 3720, appendix B.4; the hole lies behind the bytes.
    assert_eq!(checksum(b"123456789", 9), 0xe306_9283);
    assert_eq!(checksum(&[0; 32], 32), 0x8a91_36aa);
}

#[test]
fn a_header_of_version_2_that_breaks_a_rule_is_refused() {
    let with = |tail: &[u8]| [&V4[..], tail].concat();
    for (bytes, expected) in [
        (v2(1, 0x11, &V4[..11]), ProxyError::Truncated),
        (v2(1, 0x21, &V4), ProxyError::Truncated),
        (v2(1, 0x31, &V4), ProxyError::Truncated),
        (v2(1, 0x11, &with(b"\x05\x00")), ProxyError::Truncated),
        (v2(1, 0x11, &with(b"\x05\x00\x02x")), ProxyError::Truncated),
        (v2(1, 0x11, &with(b"\x03\x00\x03xyz")), ProxyError::Truncated),
        (v2(1, 0x13, &V4), ProxyError::Family(0x13)),
        (v2(1, 0x41, &V4), ProxyError::Family(0x41)),
        (v2(2, 0x11, &V4), ProxyError::Command(2)),
        (v2(1, 0x11, &[0; V2_MAX - 15]), ProxyError::TooLong { max: V2_MAX }),
    ] {
        assert_eq!(parse(&bytes), Err(expected), "{expected:?}");
    }
    let mut other = v2(1, 0x11, &V4);
    other[12] = 0x31;
    assert_eq!(parse(&other), Err(ProxyError::Version(3)));
}

#[test]
fn what_is_no_header_is_told_from_its_first_odd_byte() {
    for bytes in
        [&b"\0\0\0\x05\x80"[..], b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXY\t", b"\r\n\r\n\r"]
    {
        assert_eq!(parse(bytes), Err(ProxyError::Missing), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(None));
}
