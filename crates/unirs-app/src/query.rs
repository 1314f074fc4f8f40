//! Percent-decoding, and the pairs of a query or a form. Not the path: the host decodes that.

use std::borrow::Cow;

/// The pairs of a query or of a form's body, decoded, in their order; see [`Request::query_pairs`](crate::Request::query_pairs).
///
/// ```
/// let mut pairs = unirs_app::Query::new(b"name=Ada+Lovelace&tags=a%26b&empty");
/// assert_eq!(pairs.next().unwrap(), ("name".into(), "Ada Lovelace".into()));
/// assert_eq!(pairs.next().unwrap(), ("tags".into(), "a&b".into()));
/// assert_eq!(pairs.next().unwrap(), ("empty".into(), "".into()));
/// assert!(pairs.next().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// What was not looked at yet.
    rest: &'a [u8],
}

impl<'a> Query<'a> {
    /// The pairs in `raw`: `a=1&b=2`, as in a query (without its `?`) or an `application/x-www-form-urlencoded` body.
    pub fn new(raw: &'a [u8]) -> Query<'a> {
        Query { rest: raw }
    }
}

impl<'a> Iterator for Query<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = cut(self.rest, b'&');
            self.rest = rest;
            if !pair.is_empty() {
                let (name, value) = cut(pair, b'=');
                return Some((text(decode(name, true)), text(decode(value, true))));
            }
        }
        None
    }
}

/// What is before the first `mark` and what is after it.
fn cut(bytes: &[u8], mark: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == mark) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// Percent-decodes once; with `plus`, a `+` is a space. A `%` that is not followed by two hexadecimal digits stays.
pub(crate) fn decode(raw: &[u8], plus: bool) -> Cow<'_, [u8]> {
    if !raw.iter().any(|&byte| byte == b'%' || (plus && byte == b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'+', after) if plus => (b' ', after),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', &rest[1..]),
            },
            (other, after) => (other, after),
        };
        decoded.push(byte);
        rest = after;
    }
    Cow::Owned(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Bytes as text: what is not UTF-8 becomes the replacement character.
pub(crate) fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_without_two_digits_stays() {
        for (raw, decoded) in
            [("100%", "100%"), ("%4", "%4"), ("%zz", "%zz"), ("%%41", "%A"), ("a%41b", "aAb")]
        {
            assert_eq!(&*decode(raw.as_bytes(), false), decoded.as_bytes());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let pairs: Vec<_> = Query::new(b"a=%ff&&b=\xfe&=x").collect();
        let expected = [("a", "\u{fffd}"), ("b", "\u{fffd}"), ("", "x")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn a_plus_is_a_space_only_in_queries() {
        assert_eq!(&*decode(b"a+b", true), b"a b");
        assert_eq!(&*decode(b"a+b", false), b"a+b");
    }
}
