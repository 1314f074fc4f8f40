//! A path with named parts, and what they are in a path that fits. Not who answers it: see `router`.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::query;

/// A path with named parts.
pub(crate) struct Pattern {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) segments: Vec<Segment>,
    /// The names of its parts, in their order.
    names: Arc<[String]>,
}

/// What stands between two slashes; the order is that of preference.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Named(String),
    Rest(String),
}

impl Pattern {
    /// # Panics
    /// When it is not a pattern.
    pub(crate) fn parse(text: &str) -> Pattern {
        let path = text
            .strip_prefix('/')
            .unwrap_or_else(|| panic!("the route {text:?} does not begin with a slash"));
        let segments: Vec<Segment> = path.split('/').map(|segment| Segment::parse(segment, text)).collect();
        let ends = segments.iter().rev().skip(1).all(|segment| !matches!(segment, Segment::Rest(_)));
        assert!(ends, "the route {text:?} goes on after its {{*rest}}");
        let names = segments.iter().filter_map(Segment::name).map(str::to_owned).collect();
        Pattern { text: text.to_owned(), segments, names }
    }

    /// The smaller, the more literal.
    pub(crate) fn rank(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Named(_) => 1,
            Segment::Rest(_) => 2,
        };
        self.segments.iter().map(rank).collect()
    }

    /// Where the values of the parts are in a path that fits.
    pub(crate) fn fit(&self, path: &[u8]) -> Option<Vec<Range<usize>>> {
        let mut values = Vec::new();
        let mut rest = Some(1..path.len());
        if path.first() != Some(&b'/') {
            return None;
        }
        for segment in &self.segments {
            let all = rest?;
            let end = path[all.clone()].iter().position(|&byte| byte == b'/').map(|at| all.start + at);
            let here = all.start..end.unwrap_or(all.end);
            rest = end.map(|end| end + 1..all.end);
            match segment {
                Segment::Literal(literal) if says(&path[here.clone()], literal) => {}
                Segment::Named(_) if !here.is_empty() => values.push(here),
                Segment::Rest(_) => {
                    values.push(all);
                    return Some(values);
                }
                Segment::Literal(_) | Segment::Named(_) => return None,
            }
        }
        rest.is_none().then_some(values)
    }
}

/// Whether a segment that was sent is this one, once it is decoded.
fn says(sent: &[u8], literal: &str) -> bool {
    let literal = literal.as_bytes();
    sent == literal || sent.contains(&b'%') && *query::decode(sent, false) == *literal
}

impl Segment {
    fn parse(segment: &str, pattern: &str) -> Segment {
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let Some(inner) = inner else {
            assert!(
                !segment.contains(['{', '}']),
                "the route {pattern:?} has a part that is not a whole segment"
            );
            return Segment::Literal(segment.to_owned());
        };
        let (name, rest) = match inner.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        assert!(
            !name.is_empty() && !name.contains(['{', '}']),
            "the route {pattern:?} has a part without a name"
        );
        if rest { Segment::Rest(name.to_owned()) } else { Segment::Named(name.to_owned()) }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Named(name) | Segment::Rest(name) => Some(name),
        }
    }
}

/// The named parts of a request: where their values are in its path as sent. Most requests have none, and cost nothing: a
/// shared list of no names would be counted by all threads at once.
#[derive(Default)]
pub(crate) struct Parts {
    names: Option<Arc<[String]>>,
    values: Vec<Range<usize>>,
}

impl Parts {
    pub(crate) fn new(pattern: &Pattern, values: Vec<Range<usize>>) -> Parts {
        let names = (!values.is_empty()).then(|| Arc::clone(&pattern.names));
        Parts { names, values }
    }

    /// The decoded value of the part with this name in the path that was fitted.
    pub(crate) fn value<'a>(&self, name: &str, path: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let at = self.names.as_ref()?.iter().position(|other| other == name)?;
        Some(query::decode(path.get(self.values.get(at)?.clone())?, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> Option<Vec<String>> {
        let values = Pattern::parse(pattern).fit(path.as_bytes())?;
        Some(values.into_iter().map(|range| path[range].to_owned()).collect())
    }

    #[test]
    fn a_pattern_fits_whole_paths_only() {
        assert_eq!(fits("/", "/"), Some(vec![]));
        assert_eq!(fits("/a", "/a"), Some(vec![]));
        for path in ["/", "/a/", "/ab", "/a/b", "*", "", "//a"] {
            assert_eq!(fits("/a", path), None, "{path}");
        }
    }

    #[test]
    fn a_named_part_is_one_segment_that_is_not_empty() {
        assert_eq!(fits("/u/{id}", "/u/7"), Some(vec!["7".into()]));
        assert_eq!(fits("/u/{id}/x/{y}", "/u/7/x/8"), Some(vec!["7".into(), "8".into()]));
        assert_eq!(fits("/u/{id}", "/u/"), None);
        assert_eq!(fits("/u/{id}", "/u/7/8"), None);
    }

    #[test]
    fn a_rest_may_be_empty_and_have_slashes() {
        assert_eq!(fits("/s/{*path}", "/s/a/b"), Some(vec!["a/b".into()]));
        assert_eq!(fits("/s/{*path}", "/s/"), Some(vec![String::new()]));
        assert_eq!(fits("/s/{*path}", "/s"), None);
    }

    #[test]
    fn an_encoded_slash_does_not_divide_a_segment() {
        assert_eq!(fits("/a b/{x}", "/a%20b/c%2Fd"), Some(vec!["c%2Fd".into()]));
    }

    #[test]
    #[should_panic(expected = "goes on after")]
    fn nothing_follows_a_rest() {
        Pattern::parse("/{*rest}/more");
    }

    #[test]
    #[should_panic(expected = "not a whole segment")]
    fn a_part_is_a_whole_segment() {
        Pattern::parse("/a{b}");
    }
}
