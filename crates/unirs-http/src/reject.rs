//! The refusals: a status and a sentence for each thing that a client can get wrong. Not their page: `page.rs`.

use std::fmt;

/// A request that is refused. The connection closes after its answer: nobody knows where the next request would begin.
///
/// The sentence is for the client and for the log; it never holds a byte of the request.
///
/// ```
/// use unirs_http::{Limits, Reject, RequestHead};
///
/// let refused = RequestHead::new().parse(&mut b"GET / HTTP/2.0\r\n".to_vec(), &Limits::default());
/// assert_eq!(refused, Err(Reject::VERSION_UNSUPPORTED));
/// assert_eq!(Reject::VERSION_UNSUPPORTED.status(), 505);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject(&'static Row);

/// Kept in one place, so that a `Result` with a refusal is no larger than one without: most are of requests that are
/// not refused.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    status: u16,
    sentence: &'static str,
}

impl Reject {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        self.0.status
    }

    /// What was wrong, as a sentence without a full stop.
    pub const fn sentence(self) -> &'static str {
        self.0.sentence
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Reject {}

/// Each row: its name, its status, its sentence. A test holds that no two sentences are equal.
macro_rules! rejects {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $sentence:literal;)*) => {
        impl Reject {
            $($(#[$doc])* pub const $name: Reject = Reject(&Row { status: $status, sentence: $sentence });)*

            /// Every refusal that there is, for tests and for the documentation.
            pub const ALL: &'static [Reject] = &[$(Reject::$name),*];
        }
    };
}

rejects! {
    /// RFC 9112 §2.2: only CRLF ends a line here.
    BARE_LF = 400, "a line ends in LF without CR";
    /// RFC 9112 §2.2: a CR that no LF follows, at the very beginning.
    BARE_CR = 400, "CR without LF before the request line";
    /// RFC 9112 §2.2 allows one to be skipped; so do we, and no more.
    EMPTY_LINES = 400, "more than one empty line before the request line";
    /// RFC 9110 §15.6.4: the request is as it should be, and was not begun.
    STOPPING = 503, "the server is stopping, and has not begun with this request";
    /// Also what a TLS client gets from a plain listener.
    NOT_HTTP = 400, "the first byte cannot begin a request line";
    /// `limit_request_line`.
    LINE_TOO_LONG = 414, "the request line is longer than the limit";
    /// RFC 9112 §3: method, target and version, with one space between them.
    LINE_PARTS = 400, "the request line is not a method, a target and a version with one space between them";
    /// Three to twenty characters.
    METHOD_LENGTH = 400, "the method has fewer than 3 or more than 20 characters";
    /// RFC 9110 §9.1: methods are case-sensitive, and all known ones are upper-case.
    METHOD_CASE = 400, "the method has lower-case letters";
    /// RFC 9110 §9.1: a token; `#` is no part of any method.
    METHOD_TOKEN = 400, "the method has a character that methods cannot have";
    /// RFC 9112 §3.2.
    TARGET_EMPTY = 400, "the request target is empty";
    /// Printable ASCII only.
    TARGET_BYTES = 400, "the request target has a byte that is no printable ASCII";
    /// RFC 9112 §2.3.
    VERSION_MALFORMED = 400, "the protocol version is not of the form HTTP/1.1";
    /// RFC 9110 §15.6.6.
    VERSION_UNSUPPORTED = 505, "only HTTP/1.0 and HTTP/1.1 are spoken here";
    /// RFC 9110 §9.3.6: this is no proxy.
    CONNECT = 501, "CONNECT is not supported";
    /// RFC 9112 §3.2.4.
    ASTERISK = 400, "the request target * is for OPTIONS only";
    /// RFC 9112 §3.2.
    TARGET_FORM = 400, "the request target is neither a path nor an http or https address";
    /// RFC 9112 §3.2.2; RFC 9110 §4.2.4 for user names.
    TARGET_AUTHORITY = 400, "the request target's authority is not a host with an optional port";
    /// RFC 9110 §7.4: an https resource is not told over a connection that is not secured.
    TARGET_HTTPS = 421, "the request target is an https address, and this connection is not secured";
    /// `limit_request_fields`.
    TOO_MANY_FIELDS = 431, "there are more header fields than the limit";
    /// `limit_request_field_size`.
    FIELD_TOO_LONG = 431, "a header field is longer than the limit";
    /// The head as a whole.
    HEAD_TOO_LARGE = 431, "the head is larger than the limit";
    /// RFC 9112 §2.2.
    FIELD_INDENTED = 400, "there is white space before the first header field";
    /// RFC 9112 §5.2.
    FIELD_FOLDED = 400, "a header field is folded over several lines";
    /// RFC 9112 §5.
    FIELD_COLON = 400, "a header field has no colon";
    /// RFC 9110 §5.1.
    FIELD_NAME_EMPTY = 400, "a header field has an empty name";
    /// RFC 9112 §5.1.
    FIELD_NAME_SPACE = 400, "a header field has white space between its name and the colon";
    /// RFC 9110 §5.6.2.
    FIELD_NAME_TOKEN = 400, "a header field's name has a character that names cannot have";
    /// `header_map = "refuse"`.
    FIELD_NAME_UNDERSCORE = 400, "a header field's name has an underscore";
    /// RFC 9110 §5.5.
    FIELD_VALUE_CR = 400, "a header field's value has a CR without LF";
    /// RFC 9110 §5.5.
    FIELD_VALUE_NUL = 400, "a header field's value has a NUL";
    /// RFC 9110 §5.5.
    FIELD_VALUE_CONTROL = 400, "a header field's value has a control character";
    /// What the parser refused and the sentences above do not explain.
    FIELD_MALFORMED = 400, "a header field is malformed";
    /// RFC 9112 §3.2.
    HOST_MISSING = 400, "an HTTP/1.1 request needs a Host field";
    /// RFC 9112 §3.2.
    HOST_TWICE = 400, "there is more than one Host field";
    /// RFC 9112 §3.3: an http address needs a host (RFC 9110 §4.2.1).
    HOST_EMPTY = 400, "the Host field is empty";
    /// RFC 9110 §7.2.
    HOST_INVALID = 400, "the Host field is not a host with an optional port";
    /// RFC 9110 §8.3: a single value.
    CONTENT_TYPE_TWICE = 400, "there is more than one Content-Type field";
    /// RFC 9112 §6.3, even when they are equal.
    CONTENT_LENGTH_TWICE = 400, "there is more than one Content-Length field";
    /// RFC 9110 §8.6.
    CONTENT_LENGTH_INVALID = 400, "the Content-Length field is not a number of decimal digits only";
    /// More than 2^63 - 1 bytes.
    CONTENT_LENGTH_TOO_LARGE = 413, "the Content-Length field is larger than any body can be";
    /// RFC 9112 §6.1.
    CODING_IN_HTTP10 = 400, "HTTP/1.0 has no Transfer-Encoding field";
    /// RFC 9112 §6.1, against request smuggling.
    CODING_AND_LENGTH = 400, "there are both a Transfer-Encoding and a Content-Length field";
    /// RFC 9112 §7.
    CODING_MALFORMED = 400, "the Transfer-Encoding field is not a list of transfer codings";
    /// RFC 9112 §7: removed from HTTP, and a smuggler's tool since.
    CODING_IDENTITY = 400, "identity is no transfer coding";
    /// RFC 9112 §7.1.
    CODING_CHUNKED_TWICE = 400, "the chunked transfer coding is applied more than once";
    /// RFC 9112 §6.3.
    CODING_NOT_FINAL = 400, "the last transfer coding is not chunked";
    /// RFC 9112 §6.1.
    CODING_UNKNOWN = 501, "chunked is the only transfer coding that is understood here";
    /// RFC 9110 §10.1.1.
    EXPECTATION = 417, "the only expectation that is understood here is 100-continue";
    /// From a trusted proxy that contradicts itself.
    FORWARDED_SCHEME = 400, "the X-Forwarded fields contradict each other about the scheme";
    /// RFC 9112 §7.1.
    CHUNK_SIZE_EMPTY = 400, "a chunk has no size";
    /// RFC 9112 §7.1.
    CHUNK_SIZE_DIGIT = 400, "a chunk's size is not a hexadecimal number";
    /// RFC 9112 §7.1 asks for a guard against overflow.
    CHUNK_SIZE_TOO_LARGE = 400, "a chunk's size is larger than any body can be";
    /// RFC 9112 §7.1.1.
    CHUNK_SIZE_SPACE = 400, "a chunk's size is followed by white space and no extension";
    /// RFC 9112 §7.1.1.
    CHUNK_EXTENSION = 400, "a chunk extension is malformed";
    /// RFC 9112 §7.1.1 asks for a limit.
    CHUNK_EXTENSIONS_TOO_LARGE = 400, "the chunk extensions are larger than the limit";
    /// `limit_request_field_size`.
    CHUNK_LINE_TOO_LONG = 400, "the line of a chunk's size is longer than the limit";
    /// RFC 9112 §7.1.
    CHUNK_LINE_END = 400, "the line of a chunk's size does not end in CRLF";
    /// RFC 9112 §7.1.
    CHUNK_DATA_END = 400, "a chunk's data does not end in CRLF";
    /// RFC 9110 §6.5.1.
    TRAILER_FORBIDDEN = 400, "the trailers have a field that trailers cannot have";
    /// The same as of the head.
    TRAILERS_TOO_LARGE = 431, "the trailers are larger than the limit";
    /// For the host: `header_timeout` is over.
    HEAD_TIMED_OUT = 408, "the head did not arrive in time";
    /// For the host: `body_timeout` is over.
    BODY_TIMED_OUT = 408, "the body did not arrive in time";
    /// For the host: `limit_request_body`.
    BODY_TOO_LARGE = 413, "the body is larger than the limit";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_refusal_has_its_own_sentence_and_a_status_with_a_phrase() {
        let sentences: HashSet<_> = Reject::ALL.iter().map(|reject| reject.sentence()).collect();
        assert_eq!(sentences.len(), Reject::ALL.len());
        for reject in Reject::ALL {
            assert!((400..=599).contains(&reject.status()), "{reject}");
            assert_ne!(crate::reason_phrase(reject.status()), "Unknown", "{reject}");
        }
    }
}
