//! What each format's text means, and where what is wrong with it is found.

use super::*;
use std::collections::BTreeMap;

fn origin() -> Origin {
    Origin::File(Path::new("etc/etc.x").into())
}

fn parse(format: Format, text: &str) -> Result<Node, Problem> {
    format.parse(text.as_bytes(), &origin())
}

fn said(format: Format, text: &str) -> String {
    parse(format, text).unwrap_err().to_string()
}

/// The same value with texts only, as a format without types has it.
fn untyped(value: &Value) -> Value {
    let inner = |node: &Node| Node { value: untyped(&node.value), origin: node.origin.clone() };
    match value {
        Value::Bool(truth) => Value::Text(truth.to_string()),
        Value::Int(number) => Value::Text(number.to_string()),
        Value::Float(number) => Value::Text(number.to_string()),
        Value::Null | Value::Text(_) => value.clone(),
        Value::List(list) => Value::List(list.iter().map(inner).collect()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(key, node)| (key.clone(), inner(node))).collect())
        }
    }
}

const TOML: &str = r#"
pid = ""
shutdownMaxWaitTime = "30s"
[cluster.gate]
name = "lobby"
weight = 3
[packet]
heartbeatTime = true
[network.ws.server]
origins = ["https://a.example", "https://b.example"]
[game]
rate = 1.5
since = 2024-05-01
note = "ä & <b>\nsecond"
[[game.maps]]
name = "harbour"
[[game.maps]]
name = "hill"
"#;

const YAML: &str = r#"
pid: ""
shutdownMaxWaitTime: 30s
cluster:
  gate: &gate
    name: lobby
    weight: 3
packet: { heartbeatTime: true }
network:
  ws:
    server:
      origins: ["https://a.example", "https://b.example"]
game:
  rate: 1.5
  since: "2024-05-01"
  note: "ä & <b>\nsecond"
  maps:
    - name: harbour
    - name: hill
"#;

const JSON: &str = r#"{
  "pid": "", "shutdownMaxWaitTime": "30s",
  "cluster": {"gate": {"name": "lobby", "weight": 3}},
  "packet": {"heartbeatTime": true},
  "network": {"ws": {"server": {"origins": ["https://a.example", "https://b.example"]}}},
  "game": {"rate": 1.5, "since": "2024-05-01", "note": "\u00e4 & <b>\nsecond",
           "maps": [{"name": "harbour"}, {"name": "hill"}]}
}"#;

const XML: &str = r#"<?xml version="1.0"?>
<!-- every value is a text -->
<etc shutdownMaxWaitTime="30s">
  <pid/>
  <cluster><gate name="lobby"><weight> 3 </weight></gate></cluster>
  <packet heartbeatTime="true"/>
  <network><ws><server>
    <origins>https://a.example</origins>
    <origins>https://b.example</origins>
  </server></ws></network>
  <game rate="1.5" since="2024-05-01">
    <note>&#228; &amp; &lt;b&gt;
second</note>
    <maps><name>harbour</name></maps>
    <maps><name><![CDATA[hill]]></name></maps>
  </game>
</etc>
"#;

#[test]
fn the_same_content_gives_the_same_values_in_every_format() {
    let toml = parse(Format::Toml, TOML).unwrap();
    assert_eq!(toml.get("cluster.gate.weight").unwrap().value, Value::Int(3));
    assert_eq!(toml.get("game.maps.1.name").unwrap().value, Value::Text("hill".to_owned()));
    assert_eq!(toml.get("game.rate").unwrap().origin, origin());
    assert_eq!(parse(Format::Yaml, YAML).unwrap(), toml);
    assert_eq!(parse(Format::Json, JSON).unwrap(), toml);
    assert_eq!(parse(Format::Xml, XML).unwrap().value, untyped(&toml.value));
}

#[test]
fn a_format_is_known_by_the_extension_in_either_case() {
    let rows = [
        ("etc.toml", Some(Format::Toml)),
        ("a.b/etc.YAML", Some(Format::Yaml)),
        ("etc.yml", Some(Format::Yaml)),
        ("etc.json", Some(Format::Json)),
        ("etc.xml", Some(Format::Xml)),
        ("etc.toml~", None),
        ("etc", None),
        (".toml", None),
    ];
    for (file, format) in rows {
        assert_eq!(Format::of(Path::new(file)), format, "{file}");
    }
}

#[test]
fn a_file_without_content_is_a_table_without_keys() {
    let nothing = Value::Table(BTreeMap::new());
    let rows = [
        (Format::Toml, "# only a comment"),
        (Format::Yaml, "# only a comment\n"),
        (Format::Yaml, "---\n"),
        (Format::Json, "{}"),
        (Format::Xml, "<etc/>"),
        (Format::Xml, "<etc>\n</etc>"),
        (Format::Xml, "<!-- only a comment -->"),
    ];
    for (format, text) in rows {
        assert_eq!(parse(format, text).unwrap().value, nothing, "{text}");
    }
    for format in Format::ALL {
        assert_eq!(parse(format, "").unwrap().value, nothing, "{format}");
        assert_eq!(parse(format, "\u{feff}").unwrap().value, nothing, "{format}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_line_and_column() {
    let rows = [
        (Format::Toml, "[packet]\nseqBytes = ", "line 2, column 12: is not valid toml"),
        (Format::Toml, "a = 1\n\"ä\" = 2\nb 1", "line 3, column 3: is not valid toml"),
        (
            Format::Toml,
            "[packet]\nseqBytes = 1\nseqBytes = 2",
            "line 3, column 1: is not valid toml: duplicate key",
        ),
        (Format::Toml, "a = 9223372036854775808", "line 1, column 5: is not valid toml"),
        (
            Format::Yaml,
            "packet:\n  seqBytes: 1\n  seqBytes: 2\n",
            "line 3, column 3: is not valid yaml: the key `seqBytes` is written twice; keep one of them",
        ),
        (Format::Yaml, "packet:\n  a: [1, 2\nb: 1\n", "is not valid yaml"),
        (Format::Yaml, "a: *nothing\n", "line 1, column 4: is not valid yaml"),
        (Format::Yaml, "a: 1\n---\na: 2\n", "is not valid yaml: there is a second document"),
        (
            Format::Json,
            "{\n  \"a\": 1,\n  \"a\": 2\n}",
            "line 3, column 5: is not valid json: the key `a` is written twice",
        ),
        (Format::Json, "{\n  \"ä\": nul }", "is not valid json"),
        (Format::Json, "{\"a\": 1} x", "line 1, column 10: is not valid json: trailing characters"),
        (Format::Xml, "<etc>\n  <a>1</b>\n</etc>", "line 2, column 7: is not valid xml"),
        (Format::Xml, "<etc>\n  <a>1", "is not valid xml: `a` in `etc` is not closed"),
        (Format::Xml, "<etc>\n  <a b='1' b='2'/></etc>", "line 2, column 3: is not valid xml"),
        (
            Format::Xml,
            "<etc>\n<a b='1'><b>2</b></a></etc>",
            "`b` in `a` is an attribute and an element",
        ),
        (Format::Xml, "<etc>\n<a b='1'>text</a></etc>", "`a` has a text beside its keys"),
        (
            Format::Xml,
            "<etc>&who;</etc>",
            "line 1, column 6: is not valid xml: `&who;` stands for nothing",
        ),
        (
            Format::Xml,
            "<etc/>\n<etc/>",
            "line 2, column 1: is not valid xml: there is a second root",
        ),
        (Format::Xml, "<etc/>\nx", "there is text outside of the root"),
        (
            Format::Xml,
            "<!DOCTYPE etc [<!ENTITY a 'aaaa'>]><etc>&a;</etc>",
            "a document type is not read",
        ),
    ];
    for (format, text, part) in rows {
        let said = said(format, text);
        assert!(said.starts_with("etc/etc.x: ") && said.contains(part), "{text}\n{said}");
    }
}

#[test]
fn a_file_that_holds_no_table_is_refused() {
    let rows = [
        (Format::Yaml, "just a text"),
        (Format::Yaml, "- 1\n- 2"),
        (Format::Json, "[1, 2]"),
        (Format::Json, "7"),
        (Format::Xml, "<etc>lobby</etc>"),
    ];
    for (format, text) in rows {
        assert!(said(format, text).contains("is not a table"), "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_at_their_place() {
    for format in Format::ALL {
        let problem = format.parse(b"a = 1\nb = \xff", &origin()).unwrap_err();
        assert_eq!(problem.position, Some(Position { line: 2, column: 5 }), "{problem}");
        assert!(problem.what.contains("UTF-8"), "{problem}");
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    for format in Format::ALL {
        let problem = format.parse(&vec![b' '; FILE_MAX + 1], &origin()).unwrap_err();
        assert!(problem.what.contains("larger than 1048576 bytes"), "{problem}");
        assert!(format.parse(&vec![b'\n'; FILE_MAX], &origin()).is_ok(), "{format}");
    }
}

/// Tables inside each other, and one value in the innermost.
fn nested(format: Format, levels: usize) -> String {
    match format {
        Format::Toml => format!("[{}]\nx = 1", vec!["a"; levels - 1].join(".")),
        Format::Yaml => format!("{}1{}", "{a: ".repeat(levels), "}".repeat(levels)),
        Format::Json => format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels)),
        Format::Xml => format!("{}1{}", "<a>".repeat(levels + 1), "</a>".repeat(levels + 1)),
    }
}

#[test]
fn tables_stand_inside_each_other_to_a_limit() {
    for format in Format::ALL {
        let deepest = parse(format, &nested(format, DEPTH_MAX));
        assert!(deepest.is_ok(), "{format}: {deepest:?}");
        for levels in [DEPTH_MAX + 1, DEPTH_MAX + 2, 1_000, 60_000] {
            assert!(parse(format, &nested(format, levels)).is_err(), "{format} {levels}");
        }
        let lists = "[".repeat(100_000);
        assert!(parse(format, &lists).is_err(), "{format}");
    }
    let message = said(Format::Json, &nested(Format::Json, DEPTH_MAX + 1));
    assert!(message.contains("more than 32 tables and lists inside each other"), "{message}");
}

#[test]
fn aliases_of_yaml_do_not_unfold_without_bound() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    assert!(said(Format::Yaml, &bomb).contains("is not valid yaml"));
    let fine = parse(Format::Yaml, "a: &a { x: 1 }\nb: *a\nc: { <<: *a, y: 2 }").unwrap();
    assert_eq!(fine.get("b.x").unwrap().value, Value::Int(1));
    assert_eq!(fine.get("c.x").unwrap().value, Value::Int(1));
}

#[test]
fn values_keep_what_was_written_where_a_type_cannot_hold_it() {
    let json = parse(Format::Json, r#"{"a": 18446744073709551615, "b": null, "c": 1e3}"#).unwrap();
    assert_eq!(json.get("a").unwrap().value, Value::Text("18446744073709551615".to_owned()));
    assert_eq!(json.get("b"), None);
    assert_eq!(json.get("c").unwrap().value, Value::Float(1e3));
    let yaml = parse(Format::Yaml, "1: a\ntrue: b\nyes: no\nv: ~\n").unwrap();
    assert_eq!(yaml.get("1").unwrap().value, Value::Text("a".to_owned()));
    assert_eq!(yaml.get("true").unwrap().value, Value::Text("b".to_owned()));
    assert_eq!(yaml.get("yes").unwrap().value, Value::Text("no".to_owned()));
    assert_eq!(yaml.get("v"), None);
    let xml = parse(Format::Xml, "<etc><a><![CDATA[ & ]]></a><b>\n x \n</b></etc>").unwrap();
    assert_eq!(xml.get("a").unwrap().value, Value::Text(" & ".to_owned()));
    assert_eq!(xml.get("b").unwrap().value, Value::Text("x".to_owned()));
}
