//! What the pages of the built-ins have in common: their look, and text made safe for HTML. Not a template engine.

use std::borrow::Cow;

use unirs_app::Response;

/// The look of all pages; there are no other files, so that a page works without the network and below any prefix.
const STYLE: &str = include_str!("page.css");

/// What is put into a template.
pub(super) enum Part<'a> {
    /// Text, which is escaped.
    Text(&'a str),
    /// HTML of our own making.
    Html(&'a str),
}

/// A page: `template` with each part in the place of its name, `{{like this}}`, and the look in the place of
/// `{{style}}`. In one pass, so a text that looks like a name stays what it is.
///
/// The answer is one that nobody keeps and that may load nothing.
pub(super) fn render(template: &str, parts: &[(&str, Part<'_>)]) -> Response {
    let mut page = String::with_capacity(template.len() + STYLE.len() + 512);
    let mut rest = template;
    while let Some((before, name, after)) = next_name(rest) {
        page.push_str(before);
        match parts.iter().find(|(other, _)| *other == name) {
            Some((_, Part::Text(text))) => page.push_str(&escape(text)),
            Some((_, Part::Html(html))) => page.push_str(html),
            None if name == "style" => page.push_str(STYLE),
            None => {}
        }
        rest = after;
    }
    page.push_str(rest);
    Response::html(page)
        .header("cache-control", "no-store")
        .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
}

/// What is before the next `{{name}}`, the name, and what is after it.
fn next_name(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name, after))
}

/// Text for HTML, also within a quoted attribute.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}
