//! The Server field: its line, made once for all responses.

use std::borrow::Cow;

use super::field::is_value;

/// What a server calls itself (RFC 9110 §10.2.4).
///
/// ```
/// use unirs_http::ServerField;
///
/// assert!(ServerField::new("unirs").is_some());
/// assert!(ServerField::new("a\r\nSet-Cookie: b").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerField {
    /// The whole field with its CRLF.
    line: Cow<'static, str>,
}

impl ServerField {
    /// `Server: unirs`.
    pub const UNIRS: ServerField = ServerField { line: Cow::Borrowed("Server: unirs\r\n") };

    /// The field with this value, which goes without the white space around it. `None` when no field may have the value
    /// (RFC 9110 §5.5): it has a control character.
    pub fn new(value: &str) -> Option<ServerField> {
        let value = value.trim_matches([' ', '\t']);
        is_value(value.as_bytes()).then(|| ServerField { line: format!("Server: {value}\r\n").into() })
    }

    /// The whole field with its CRLF.
    pub(super) fn line(&self) -> &[u8] {
        self.line.as_bytes()
    }
}
