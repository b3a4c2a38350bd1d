//! Comparisons of the reader with `serde_json`, and of blocks with a naive scan.

use fearless_simd::Level;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value};

use super::{
    ExpectedToken, JsonReader, SyntaxError, push_nested_string, push_number, push_string,
    simd::{self, BLOCKS, Blocks, Carry, LEN},
    string::plain_len,
};
use crate::position::Position;

/// Returns the result of skipping all of `text`.
fn skipped(text: &str) -> Result<(), SyntaxError> {
    let mut reader = JsonReader::new(text.as_bytes());
    reader.skip().and_then(|()| reader.end()).map_err(|error| *error)
}

/// Reads `text` as a string.
fn string(text: &str) -> Result<String, ExpectedToken> {
    let read = JsonReader::new(text.as_bytes()).string();
    read.map(|text| text.unwrap().into_owned()).map_err(|error| error.expected)
}

/// Asserts that the next value is `value`.
fn assert_reads(reader: &mut JsonReader<'_>, value: &Value) {
    match value {
        Value::Null => assert!(reader.null().unwrap()),
        Value::Bool(truth) => assert_eq!(reader.bool().unwrap(), Some(*truth)),
        Value::Number(_) => reader.skip().unwrap(),
        Value::String(text) => assert_eq!(reader.string().unwrap().as_deref(), Some(text.as_str())),
        Value::Array(items) => {
            let mut expected = items.iter();
            let is_array = reader.items(|reader, index| {
                assert_eq!(index, items.len() - expected.len());
                assert_reads(reader, expected.next().unwrap());
                Ok(())
            });
            assert!(is_array.unwrap() && expected.next().is_none());
        }
        Value::Object(members) => {
            let mut expected = members.iter();
            let is_object = reader.members(|reader, key| {
                let (name, value) = expected.next().unwrap();
                assert_eq!(key, name.as_bytes());
                assert_reads(reader, value);
                Ok(())
            });
            assert!(is_object.unwrap() && expected.next().is_none());
        }
    }
}

/// Generates texts with many special characters.
fn arb_text() -> impl Strategy<Value = String> {
    let parts =
        select(vec!["a", "\\", "\"", "{", "}", "[", "]", ",", ":", "é", "\n", "\u{1}", "😀"]);
    vec(parts, 0..40).prop_map(|parts| parts.concat())
}

fn arb_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        arb_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((arb_text(), inner), 0..5)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Returns a character in one of its spellings in a string.
fn written(character: char, way: u8) -> String {
    let units = |format: fn(u16) -> String| -> String {
        character.encode_utf16(&mut [0; 2]).iter().map(|unit| format(*unit)).collect()
    };
    match way {
        0 => units(|unit| format!("\\u{unit:04x}")),
        1 => units(|unit| format!("\\u{unit:04X}")),
        // Only required escapes, and the optional one of the slash.
        _ if character == '/' => "\\/".to_owned(),
        _ => {
            let quoted = serde_json::to_string(&character).unwrap();
            quoted[1..quoted.len() - 1].to_owned()
        }
    }
}

proptest! {
    #[test]
    fn valid_json_is_read_correctly(
        value in arb_value(),
        space in 0..(BLOCKS + 2) * LEN,
        pretty in any::<bool>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = format!("{}{}", " ".repeat(space), text.unwrap());
        prop_assert_eq!(skipped(&text), Ok(()));
        let mut reader = JsonReader::new(text.as_bytes());
        assert_reads(&mut reader, &value);
        prop_assert!(reader.end().is_ok());
    }

    #[test]
    fn truncated_text_is_rejected(value in arb_value(), cut in any::<prop::sample::Index>()) {
        let text = Value::from(vec![value]).to_string();
        let cut = text.floor_char_boundary(cut.index(text.len()));
        let error = skipped(&text[..cut]).unwrap_err();
        prop_assert!(error.at_end && error.at == cut);
    }

    #[test]
    fn reader_never_panics(bytes in vec(select(b"{}[]\",:\\u0a \xff1-".to_vec()), 0..200)) {
        let mut reader = JsonReader::new(&bytes);
        let _ = reader.members(|reader, _| reader.items(|reader, _| reader.string().map(|_| ())).map(|_| ()));
        let _ = reader.skip();
    }

    #[test]
    fn every_spelling_of_a_string_is_read(
        characters in vec((any::<char>(), 0..3u8), 0..80),
    ) {
        let inside: String = characters.iter().map(|(c, way)| written(*c, *way)).collect();
        let expected: String = characters.iter().map(|(c, _)| *c).collect();
        let text = format!("\"{inside}\"");
        prop_assert_eq!(&serde_json::from_str::<String>(&text).unwrap(), &expected);
        prop_assert_eq!(string(&text), Ok(expected));
    }

    #[test]
    fn written_strings_are_read_back(text in any::<String>()) {
        let mut out = Vec::new();
        push_string(&mut out, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
        let mut out = vec![b'"'];
        push_nested_string(&mut out, &text);
        out.push(b'"');
        let outer: String = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&outer).unwrap(), text);
    }

    #[test]
    fn numbers_are_written_in_digits(number in any::<usize>()) {
        let mut out = Vec::new();
        push_number(&mut out, number);
        prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
    }

    #[test]
    fn plain_text_ends_at_the_first_special_byte(bytes in vec(any::<u8>(), 0..40), spare in any::<bool>()) {
        let mut bytes = bytes;
        if spare {
            bytes.retain(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
        }
        let special = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        prop_assert_eq!(plain_len(&bytes), special.unwrap_or(bytes.len()));
    }

    #[test]
    fn blocks_exclude_brackets_in_strings(bytes in vec(select(br#""\{}[]a"#.to_vec()), 0..4 * LEN)) {
        let (mut in_string, mut is_escaped) = (false, false);
        let mut blocks = Blocks::default();
        simd::read(&bytes, &mut Carry::default(), &mut blocks);
        for (index, chunk) in bytes.chunks(LEN).enumerate() {
            let (quotes, backslashes) = (blocks.quotes.of(index), blocks.backslashes.of(index));
            let brackets = blocks.brackets[index];
            let (mut depth, mut lowest) = (0, 0);
            for (bit, byte) in chunk.iter().enumerate() {
                let has = |set: u64| set >> bit & 1 == 1;
                let is_quote = *byte == b'"' && !is_escaped;
                let opens = b"{[".contains(byte) && !in_string;
                let closes = b"}]".contains(byte) && !in_string;
                prop_assert_eq!(has(quotes), is_quote);
                prop_assert_eq!(has(backslashes), *byte == b'\\');
                prop_assert_eq!(has(brackets.opening), opens);
                prop_assert_eq!(has(brackets.closing), closes);
                in_string ^= is_quote;
                is_escaped = *byte == b'\\' && !is_escaped;
                depth += i32::from(opens) - i32::from(closes);
                lowest = lowest.min(depth);
            }
            prop_assert_eq!(brackets.deepened, depth);
            prop_assert!(brackets.lowest <= lowest);
        }
    }

    #[test]
    fn every_processor_reads_the_same(
        bytes in vec(prop_oneof![select(br#""\{}[]"#.to_vec()), any::<u8>()], 0..BLOCKS * LEN + 9),
    ) {
        let read = |level| {
            let (mut carry, mut blocks) = (Carry::default(), Blocks::default());
            simd::read_at(level, &bytes, &mut carry, &mut blocks);
            (carry, blocks)
        };
        let baseline = read(Level::baseline());
        prop_assert_eq!(&read(Level::new()), &baseline);
        for level in levels() {
            prop_assert_eq!(&read(level), &baseline);
        }
    }

    #[test]
    fn nested_value_ends_as_in_serde_json(
        value in arb_value(),
        repeated in 0..60_usize,
        space in 0..2 * LEN,
    ) {
        let text = Value::from(vec![value; repeated]).to_string();
        let text = format!("{}{text}{}", " ".repeat(space), "]".repeat(LEN));
        let mut reader = JsonReader::new(text.as_bytes());
        prop_assert!(reader.skip().is_ok());
        prop_assert_eq!(reader.at, text.len() - LEN);
    }
}

/// Returns every SIMD level of this processor.
fn levels() -> Vec<Level> {
    let level = Level::new();
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return [
        level.as_sse4_2().map(Level::Sse4_2),
        level.as_avx2().map(Level::Avx2),
        level.as_avx512().map(Level::Avx512),
    ]
    .into_iter()
    .flatten()
    .collect();
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    vec![level]
}

#[test]
fn invalid_skipped_json_is_rejected_with_position() {
    for (text, expected, at) in [
        ("", ExpectedToken::Value, 0),
        (" \n", ExpectedToken::Value, 2),
        ("}", ExpectedToken::Value, 0),
        ("nul", ExpectedToken::Literal, 0),
        ("-", ExpectedToken::Digit, 1),
        ("1.", ExpectedToken::Digit, 2),
        ("1e+", ExpectedToken::Digit, 3),
        ("01", ExpectedToken::End, 1),
        ("1 2", ExpectedToken::End, 2),
        ("\"a", ExpectedToken::Quote, 2),
        ("\"a\\\"", ExpectedToken::Quote, 4),
        ("[1", ExpectedToken::Bracket, 2),
        ("{\"a\":\"}\"", ExpectedToken::Bracket, 8),
    ] {
        let error = skipped(text).unwrap_err();
        assert_eq!((error.expected, error.at), (expected, at), "{text}");
    }
}

#[test]
fn entered_values_follow_the_grammar() {
    for (text, expected, at) in [
        ("{a:1}", ExpectedToken::Key, 1),
        ("{\"a\":1,}", ExpectedToken::Key, 7),
        ("{\"a\" 1}", ExpectedToken::Colon, 5),
        ("{\"a\":1 \"b\":2}", ExpectedToken::CommaOrBrace, 7),
        ("{\"a\":1]", ExpectedToken::CommaOrBrace, 6),
        ("{\"a\":}", ExpectedToken::Value, 5),
        ("[1 2]", ExpectedToken::CommaOrBracket, 3),
        ("[1,]", ExpectedToken::Value, 3),
        ("[1}", ExpectedToken::CommaOrBracket, 2),
    ] {
        let mut reader = JsonReader::new(text.as_bytes());
        let error = if text.starts_with('{') {
            reader.members(|reader, _| reader.skip()).unwrap_err()
        } else {
            reader.items(|reader, _| reader.skip()).unwrap_err()
        };
        assert_eq!((error.expected, error.at), (expected, at), "{text}");
    }
}

#[test]
fn malformed_strings_are_rejected() {
    assert_eq!(string("\"\\x\""), Err(ExpectedToken::Escape));
    assert_eq!(string("\"\\u12g4\""), Err(ExpectedToken::Escape));
    assert_eq!(string("\"\\u12\""), Err(ExpectedToken::Escape));
    assert_eq!(string("\"a\nb\""), Err(ExpectedToken::NoControl));
    assert_eq!(string("\"a\\n\nb\""), Err(ExpectedToken::NoControl));
}

#[test]
fn unpaired_surrogate_becomes_replacement_character() {
    for (text, expected) in [
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\ud83d""#, "\u{FFFD}"),
        (r#""\ud83dx""#, "\u{FFFD}x"),
        (r#""\ud83d\n""#, "\u{FFFD}\n"),
        (r#""\ude00\ud83d\ude00""#, "\u{FFFD}😀"),
        (r#""\ud83d\u0041""#, "\u{FFFD}A"),
    ] {
        assert_eq!(string(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn value_of_another_type_is_skipped() {
    let mut reader = JsonReader::new(br#"[{"a":[1]},"b",-1.5e3,true,null] "#);
    let is_array = reader.items(|reader, index| {
        match index {
            0 => assert_eq!(reader.string()?, None),
            1 => assert!(!reader.members(|_, _| panic!("no object"))?),
            2 => assert!(!reader.items(|_, _| panic!("no array"))?),
            3 => assert!(!reader.null()? && reader.string()?.is_none()),
            _ => assert_eq!(reader.bool()?, None),
        }
        Ok(())
    });
    assert!(is_array.unwrap());
    assert!(reader.end().is_ok());
}

#[test]
fn position_counts_lines_and_characters() {
    let text = "{\n\"é😀\": x";
    let error = skipped_members(text);
    assert_eq!(error.place(text.as_bytes()), Position { line: 2, column: 7 });
    assert_eq!(error.to_string(), "expected a value");
}

fn skipped_members(text: &str) -> SyntaxError {
    *JsonReader::new(text.as_bytes()).members(|reader, _| reader.skip()).unwrap_err()
}
