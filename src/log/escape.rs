//! Bytes of strangers, made harmless for a log. No line is built here.
//!
//! One scheme for the access log: `"` is `\"`, `\` is `\\`, and whatever is not a printable ASCII character is `\xHH`
//! (Apache's and nginx's scheme), so that a field ends where its quote is and a line where its newline is.
//! The error log is prose in UTF-8: only what a terminal obeys or a viewer breaks a line at is escaped.

/// True for a byte that stands for itself in an access line.
const fn is_plain(byte: u8) -> bool {
    0x20 <= byte && byte <= 0x7e && byte != b'"' && byte != b'\\'
}

/// Appends `bytes`, escaped for an access line.
#[inline]
pub(super) fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    if all_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        escape_each(out, bytes);
    }
}

/// Nearly every field is plain, so it is compared sixteen bytes at once (without an early end inside, or the compiler
/// would not); what remains is covered by a chunk that overlaps the one before.
#[inline]
fn all_plain(bytes: &[u8]) -> bool {
    match (bytes.last_chunk::<16>(), bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(last), ..) => bytes.as_chunks::<16>().0.iter().all(is_plain_chunk) && is_plain_chunk(last),
        (None, Some(first), Some(last)) => is_plain_chunk(first) && is_plain_chunk(last),
        (None, ..) => bytes.iter().all(|&byte| is_plain(byte)),
    }
}

#[inline]
fn is_plain_chunk<const N: usize>(chunk: &[u8; N]) -> bool {
    chunk.iter().fold(0, |odd, &byte| odd | u8::from(!is_plain(byte))) == 0
}

#[cold]
fn escape_each(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        escape_byte(out, byte);
    }
}

/// Appends one byte, escaped for an access line.
pub(super) fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        byte if is_plain(byte) => out.push(byte),
        byte => push_hex(out, byte),
    }
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
    out.extend_from_slice(&[b'\\', b'x', high, low]);
}

/// Appends a message to the error log's line. A newline in it becomes a line that begins with four spaces, which no
/// line of unirs does, so that a message can have several lines but cannot pass one of them off as another event.
pub(super) fn escape_message(out: &mut Vec<u8>, message: &str) {
    let mut lines = message.trim_end_matches(['\n', '\r']).split('\n');
    escape_text(out, lines.next().unwrap_or_default());
    for line in lines {
        out.extend_from_slice(b"\n    ");
        escape_text(out, line);
    }
}

/// Appends one line of prose; a carriage return before its end belongs to the newline.
fn escape_text(out: &mut Vec<u8>, line: &str) {
    let line = line.strip_suffix('\r').unwrap_or(line);
    for character in line.chars() {
        if !is_harmless(character) {
            escape_char(out, character);
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// The tab is harmless; the C1 controls, the separators of lines, and what turns the direction of writing are not.
fn is_harmless(character: char) -> bool {
    match character {
        '\t' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        other => !other.is_control(),
    }
}

fn escape_char(out: &mut Vec<u8>, character: char) {
    match u8::try_from(character) {
        Ok(byte) => push_hex(out, byte),
        Err(_) => out.extend(character.escape_unicode().map(|ascii| ascii as u8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    fn message(text: &str) -> String {
        let mut out = Vec::new();
        escape_message(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quotes_backslashes_controls_and_bytes_above_ascii_are_escaped() {
        assert_eq!(escaped(b"/a b"), "/a b");
        assert_eq!(escaped(b"\"\\\n\x7f\xff\0"), r#"\"\\\x0a\x7f\xff\x00"#);
        assert_eq!(escaped("seventeen bytes é".as_bytes()), r"seventeen bytes \xc3\xa9");
    }

    #[test]
    fn a_message_keeps_its_lines_but_cannot_forge_one() {
        assert_eq!(message("one\r\n[2026] two\n"), "one\n    [2026] two");
        assert_eq!(message("\x1b[31mred\x1b[0m\rover"), "\\x1b[31mred\\x1b[0m\\x0dover");
        assert_eq!(message("été\tno\u{202e}yes\u{9b}"), "été\tno\\u{202e}yes\\x9b");
        assert_eq!(message(""), "");
    }

    proptest! {
        #[test]
        fn nothing_escaped_ends_a_line_or_a_quote(bytes: Vec<u8>) {
            let text = escaped(&bytes);
            prop_assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            let mut rest = text.bytes();
            while let Some(byte) = rest.next() {
                prop_assert_ne!(byte, b'"');
                if byte == b'\\' {
                    prop_assert!(matches!(rest.next(), Some(b'"' | b'\\' | b'x')));
                }
            }
        }

        #[test]
        fn every_line_of_a_message_but_the_first_is_indented(text in "\\PC*(\n\\PC*)*|.*") {
            let text = message(&text);
            prop_assert!(text.split('\n').skip(1).all(|line| line.starts_with("    ")));
            prop_assert!(text.chars().all(|c| c == '\n' || is_harmless(c)));
        }
    }
}
