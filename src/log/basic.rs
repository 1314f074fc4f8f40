//! The user's name in an `Authorization: Basic` field (RFC 7617). The password is never decoded, and nothing is checked.

use super::escape::escape_byte;

/// Appends the user's name, escaped, or `-` where there is none that can be read.
pub(super) fn write_user(out: &mut Vec<u8>, authorization: Option<&[u8]>) {
    let start = out.len();
    let is_whole = authorization.and_then(credentials).is_some_and(|encoded| decode_user(out, encoded));
    if !is_whole || out.len() == start {
        out.truncate(start);
        out.push(b'-');
    }
}

/// What follows the word Basic.
fn credentials(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then(|| encoded.trim_ascii())
}

/// Decodes up to the colon. False: the text is no base64, or has no colon; what was appended then is to be taken back,
/// since a token without a colon may be a secret.
fn decode_user(out: &mut Vec<u8>, encoded: &[u8]) -> bool {
    let (mut bits, mut count) = (0_u32, 0);
    for &letter in encoded {
        let Some(value) = sextet(letter) else {
            return false;
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            match (bits >> count) as u8 {
                b':' => return true,
                byte => escape_byte(out, byte),
            }
        }
    }
    false
}

/// RFC 4648 §4.
fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(authorization: &str) -> String {
        let mut out = b">".to_vec();
        write_user(&mut out, Some(authorization.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_name_before_the_colon_is_read() {
        assert_eq!(user("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ">Aladdin");
        assert_eq!(user("bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ== "), ">Aladdin");
        assert_eq!(user("Basic Zm86"), ">fo");
        assert_eq!(user("Basic YSIKOng="), r#">a\"\x0a"#);
    }

    #[test]
    fn what_is_no_name_is_a_dash() {
        for odd in [
            "",
            "Basic",
            "Basic ",
            "Basic =",
            "Basic QWxh",
            "Basic OnB3",
            "Basic QW!h",
            "Bearer QWxhZGRpbjpv",
        ] {
            assert_eq!(user(odd), ">-", "{odd}");
        }
        let mut out = Vec::new();
        write_user(&mut out, None);
        assert_eq!(out, b"-");
    }
}
