//! The pages of last answers, made at boot: a handler cannot make any.

use std::ops::Range;

use crate::http::{Date, ErrorPage, ServerField, Version};

/// What a client is told whose exchange ends like this.
const SENTENCES: [(u16, &str); 2] = [
    (500, "the server failed to answer this request"),
    (504, "the application did not answer this request in time"),
];

/// All of them.
#[derive(Debug)]
pub(in super::super) struct Pages(Vec<Page>);

/// One, whole.
#[derive(Debug)]
pub(super) struct Page {
    status: u16,
    version: Version,
    bytes: Vec<u8>,
    /// Where the date is.
    date: Range<usize>,
    /// Where the body begins.
    body: usize,
}

impl Pages {
    /// From this server.
    pub(in super::super) fn new(server: Option<&ServerField>) -> Pages {
        let versions = [Version::Http10, Version::Http11];
        let all = SENTENCES.iter().flat_map(|sentence| versions.map(|version| (sentence, version)));
        Pages(
            all.map(|((status, sentence), version)| Page::new(*status, sentence, version, server)).collect(),
        )
    }

    /// The page of a status that there is a page of.
    pub(super) fn page(&self, status: u16, version: Version) -> &Page {
        let found = self.0.iter().find(|page| page.status == status && page.version == version);
        found.unwrap_or(&self.0[0])
    }
}

impl Page {
    fn new(status: u16, sentence: &str, version: Version, server: Option<&ServerField>) -> Page {
        let date = Date::at(0);
        let mut bytes = Vec::new();
        ErrorPage { status, sentence, server, ..ErrorPage::new(&date, version) }.encode(&mut bytes);
        let start = memchr::memmem::find(&bytes, date.as_bytes()).unwrap_or(0);
        let body = memchr::memmem::find(&bytes, b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
        Page { status, version, date: start..start + date.as_bytes().len(), body, bytes }
    }

    /// The page of a moment in pieces, the body last; without that for HEAD.
    pub(super) fn parts<'a>(&'a self, date: &'a Date, head_only: bool) -> [&'a [u8]; 4] {
        let body = if head_only { &[][..] } else { &self.bytes[self.body..] };
        [&self.bytes[..self.date.start], date.as_bytes(), &self.bytes[self.date.end..self.body], body]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_one_that_would_be_made() {
        let me = ServerField::new("me").expect("a value");
        let (pages, date) = (Pages::new(Some(&me)), Date::at(784_111_777));
        for (status, sentence) in SENTENCES {
            for version in [Version::Http10, Version::Http11] {
                for head_only in [false, true] {
                    let mut expected = Vec::new();
                    let page = ErrorPage { status, sentence, head_only, ..ErrorPage::new(&date, version) };
                    ErrorPage { server: Some(&me), ..page }.encode(&mut expected);
                    assert_eq!(pages.page(status, version).parts(&date, head_only).concat(), expected);
                }
            }
        }
    }
}
