//! Writes the inputs that fuzzing starts from: the golden frames, and a few scripts.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example corpus`

use std::{fs, path::Path};

/// Client packets: a name, the layout's selector, the bytes in hex.
const PACKETS: [(&str, u8, &str); 11] = [
    ("heartbeat", 0, "0000000180"),
    ("heartbeat-time", 0x40, "000000098017979cfe3d85cd15"),
    ("hello", 0, "0000000a000001000268656c6c6f"),
    ("negative", 0, "0000000500fffffffe"),
    ("little", 1, "0a000000000100020068656c6c6f"),
    ("wide-without-seq", 0x24, "0000000700000100006869"),
    ("one-byte", 0x0a, "00000004007f80ff"),
    ("empty", 0, "00000000"),
    ("announce", 0, "0000000a8159554d450100000003"),
    ("wraps", 0, "ffffffff"),
    ("short-then-heartbeat", 0, "0000000200010000000180"),
];

/// Frames of links: a name, the flow's selector, the bytes in hex.
const FRAMES: [(&str, u8, &str); 25] = [
    ("heartbeat", 0, "0000000180"),
    ("handshake", 1, "000000110001000000000000000101676174652d31"),
    ("done", 2, "0000000c000100000000000000010000"),
    ("bind", 1, "0000001a0002000000000000000200000000000000070000000000002711"),
    ("not-found", 2, "0000000c000200000000000000020001"),
    ("unbind", 1, "000000120003000000000000000e0000000000002711"),
    ("get-ip", 1, "0000001300040000000000000008010000000000000007"),
    ("ip", 2, "000000100004000000000000000800 00c0a8010a"),
    ("stat", 1, "0000000b0005000000000000000902"),
    ("total", 2, "0000001400050000000000000009000000000000000007d0"),
    ("online", 2, "0000000d0006000000000000000a000001"),
    ("disconnect", 1, "000000140007000000000000000b02000000000000271101"),
    ("push", 1, "000000214008000000000000000002 00000000000027110000000a000001000268656c6c6f"),
    (
        "multicast",
        1,
        "0000002b00090000000000000003010002 0000000000000001 0000000000000002 0000000a000001000268656c6c6f",
    ),
    ("broadcast", 1, "00000019000a0000000000000004010000000a000001000268656c6c6f"),
    ("publish", 1, "0000001f000b000000000000000506726f6f6d2d310000000a000001000268656c6c6f"),
    ("publish-short-answer", 2, "00000014000b00000000000000050000"),
    ("subscribe", 1, "0000001b000c0000000000000006020001 0000000000002711726f6f6d2d31"),
    ("trigger", 1, "00000013000e0000000000000000010000000000000007"),
    ("trigger-user", 1, "0000001b000e00000000000000000300000000000000070000000000002711"),
    (
        "deliver",
        0,
        "00000028000f0000000000000000000000000000000700000000000027110000000a000001000268656c6c6f",
    ),
    ("state", 2, "0000000d0010000000000000000c000001"),
    ("status", 0, "000000230040000000000000000000000000000000070000000900000004000302000000006e6f"),
    ("address", 0, "0000001d2042000000000000000100000420010db8000000000000000000000001 0bb8"),
    ("wraps", 0, "ffffffff"),
];

/// Layout and cut, then packets of kind, route, sequence number, length and body.
const PAIRS: [(&str, &[u8]); 4] = [
    ("hello", b"\x00\x02\x02\x01\x02\x05hello"),
    ("little", b"\x01\x00\x02\xff\xfe\x00\x01\x00\x00\x00\x02\x01\x02\x03abc"),
    ("narrow", b"\x2a\x06\x00\x00\x00\x00\x03\x7f\x80\x01\xff\x02\x01\x01\x00"),
    ("long", b"\x44\x10\xfe\x10\x20\x20abcdefghijklmnopqrstuvwxyz012345\x01\x00\x00\x00"),
];

/// Four bytes of settings, then operations with their arguments; see `testing/ops.rs`.
const SCRIPTS: [(&str, &[u8]); 8] = [
    ("ask-and-answer", &[0, 0x52, 0xE0, 6, 2, 9, 6, 0, 0, 200, 8, 0, 3, 5, 7, 0, 0, 200, 10, 0]),
    ("hold-and-resume", &[0, 0x52, 0xE0, 6, 2, 9, 2, 9, 6, 0, 0, 99, 9, 0, 1, 200, 11, 0, 8, 0]),
    ("idle", &[0, 0x54, 0xE0, 6, 1, 9, 11, 0, 1, 9, 11, 0, 1, 20, 11, 0]),
    ("ticks", &[0, 0x0F, 0xE0, 6, 1, 1, 11, 0, 7, 0, 0, 9, 10, 0, 1, 1, 11, 0, 7, 0]),
    ("login", &[0, 0, 0xE3, 6, 12, 0, 1, 9, 11, 0, 12, 1, 1, 3, 11, 0]),
    (
        "kicked",
        &[0, 0x52, 0xE0, 6, 6, 0, 0, 99, 8, 0, 3, 1, 13, 0, 7, 0, 0, 99, 10, 0, 1, 3, 11, 0],
    ),
    ("refused", &[0, 0x52, 0xE0, 6, 6, 0, 0, 99, 8, 0, 15, 7, 7, 0, 0, 99, 10, 0]),
    ("noise-and-break", &[0, 0x52, 0xE0, 6, 4, 0xFF, 4, 0xFF, 4, 0xFF, 4, 0xFF, 6, 0, 8, 0, 15, 0]),
];

/// Settings files: a name, the format's selector, the text.
const CONFIGS: [(&str, u8, &str); 9] = [
    (
        "toml",
        0,
        "pid = ''\n[packet]\nseqBytes = 4\nbyteOrder = \"little\"\n[game]\nmaps = [{ n = 1.5 }]\n",
    ),
    ("toml-doubled", 0, "[cluster.gate]\nid = 'a'\nid = 'b'\n"),
    ("yaml", 1, "network:\n  ws: &ws\n    server: { origins: ['*'], path: /x }\n  tcp: ~\n"),
    ("yaml-aliases", 1, "a: &a [1, 2]\nb: &b [*a, *a]\nc: { <<: { x: *b }, y: no }\n"),
    (
        "json",
        2,
        "{\"log\": {\"level\": \"debug\", \"terminals\": {\"console\": [\"info\"]}}, \"n\": -1e9}",
    ),
    (
        "json-deep",
        2,
        "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
    ),
    (
        "xml",
        3,
        "<?xml version='1.0'?><etc a='&lt;'><!-- c --><b>1</b><b><![CDATA[ x ]]></b><c/></etc>",
    ),
    ("xml-doctype", 3, "<!DOCTYPE e [<!ENTITY a 'b'>]><e>&a;</e>"),
    (
        "own",
        0,
        "[yumen.admin]\naddr = '127.0.0.1:0'\ntoken = 'x'\n[yumen.admin.labels]\nzone = 'b'\n",
    ),
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Headers of load balancers.
const PROXIED: [(&str, &[u8]); 5] = [
    ("v1_tcp4", b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"),
    ("v1_tcp6", b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"),
    ("v1_unknown", b"PROXY UNKNOWN\r\n"),
    ("v2_local", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
    (
        "v2_tcp4_id",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x05\0\x04edge",
    ),
];

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = root.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    for (target, frames) in [("packet_decode", &PACKETS[..]), ("link_decode", &FRAMES[..])] {
        for (name, selector, text) in frames {
            write(target, name, &[&[*selector][..], &hex(text)].concat())?;
        }
    }
    for (name, bytes) in PAIRS {
        write("packet_pair", name, bytes)?;
    }
    for (name, selector, text) in CONFIGS {
        write("config_parse", name, &[&[selector][..], text.as_bytes()].concat())?;
    }
    for (name, bytes) in PROXIED {
        write("proxy_parse", name, bytes)?;
    }
    for (name, bytes) in SCRIPTS {
        write("conn_ops", name, bytes)?;
    }
    Ok(())
}
