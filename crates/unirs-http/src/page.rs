//! The server's own error pages: whole responses that close the connection. Nothing of the request is in them.

use super::date::Date;
use super::request_line::Version;
use super::response::{BodyFraming, Connection, ResponseHead, encode_head};
use super::server::ServerField;
use super::status::{may_have_body, reason_phrase};

/// A short page about an error, with `Connection: close`.
///
/// ```
/// use unirs_http::{Date, ErrorPage, Reject, Version};
///
/// let mut out = Vec::new();
/// ErrorPage::new(&Date::at(0), Version::Http11).rejected(Reject::HOST_MISSING).encode(&mut out);
/// assert!(out.starts_with(b"HTTP/1.1 400 Bad Request\r\nServer: unirs\r\n"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorPage<'a> {
    /// 400 to 599; any other is sent as 500.
    pub status: u16,
    /// What the client is told, plain text.
    pub sentence: &'a str,
    /// Now.
    pub date: &'a Date,
    /// The Server field; `None` sends none.
    pub server: Option<&'a ServerField>,
    /// Said in the status line.
    pub version: Version,
    /// The request was HEAD: the head alone is sent.
    pub head_only: bool,
    /// More fields, such as Allow or Retry-After. Left out, all of them, where one is invalid.
    pub fields: &'a [(&'a [u8], &'a [u8])],
}

impl<'a> ErrorPage<'a> {
    /// A 500 from `unirs` that says nothing more.
    pub fn new(date: &'a Date, version: Version) -> ErrorPage<'a> {
        ErrorPage {
            status: 500,
            sentence: "",
            date,
            server: Some(&ServerField::UNIRS),
            version,
            head_only: false,
            fields: &[],
        }
    }

    /// The page of a refusal.
    pub fn rejected(self, reject: super::Reject) -> ErrorPage<'a> {
        ErrorPage { status: reject.status(), sentence: reject.sentence(), ..self }
    }

    /// Appends the whole response.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let status = if (400..=599).contains(&self.status) { self.status } else { 500 };
        let body = body(status, self.sentence);
        let head = ResponseHead {
            version: self.version,
            status,
            reason: b"",
            body: BodyFraming::Length(body.len() as u64),
            connection: Connection::Close,
            date: self.date,
            server: self.server,
        };
        let html = (&b"Content-Type"[..], &b"text/html; charset=utf-8"[..]);
        let fields = self.fields.iter().copied();
        if encode_head(out, &head, fields.chain([html])).is_err() {
            // Without what the caller brought there is nothing that could be refused.
            let _ = encode_head(out, &head, [html].into_iter());
        }
        if !self.head_only && may_have_body(status) {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

/// Appends a whole response: an [`ErrorPage`] from `unirs` without further fields.
pub fn error_page(
    out: &mut Vec<u8>,
    status: u16,
    sentence: &str,
    date: &Date,
    version: Version,
    head_only: bool,
) {
    ErrorPage { status, sentence, head_only, ..ErrorPage::new(date, version) }.encode(out);
}

fn body(status: u16, sentence: &str) -> String {
    let phrase = reason_phrase(status);
    let sentence = escape(sentence);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>{status} {phrase}</title></head>\n\
         <body><h1>{status} {phrase}</h1><p>{sentence}</p></body>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_whole_response_that_closes() {
        let mut out = Vec::new();
        error_page(&mut out, 408, "the <head> did not arrive & so on", &Date::at(0), Version::Http10, false);
        let text = String::from_utf8(out).expect("the page is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("the head ends");
        assert!(
            head.starts_with("HTTP/1.0 408 Request Timeout\r\nServer: unirs\r\nDate: Thu, 01 Jan 1970 "),
            "{head}"
        );
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("<p>the &lt;head&gt; did not arrive &amp; so on</p>"), "{body}");
    }

    #[test]
    fn a_page_for_head_has_the_length_and_no_body() {
        let (mut whole, mut head_only) = (Vec::new(), Vec::new());
        error_page(&mut whole, 400, "x", &Date::at(0), Version::Http11, false);
        error_page(&mut head_only, 400, "x", &Date::at(0), Version::Http11, true);
        assert!(whole.starts_with(&head_only));
        assert!(head_only.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_page_is_sent_whatever_its_caller_brings() {
        let date = Date::at(0);
        let fields = [(&b"Allow"[..], &b"GET\r\nX: y"[..])];
        let mut out = Vec::new();
        ErrorPage { status: 42, fields: &fields, ..ErrorPage::new(&date, Version::Http11) }.encode(&mut out);
        assert!(out.starts_with(b"HTTP/1.1 500 Internal Server Error\r\nServer: unirs\r\nDate"));
        assert!(!out.windows(3).any(|run| run == b"X: "));
    }
}
