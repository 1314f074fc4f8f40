//! What a client would rather have, by its `Accept` (RFC 9110 §12.5.1). Only as much as a page with a JSON twin needs.

/// The client names JSON and would not rather have a page. What accepts anything gets the page.
pub(super) fn prefers_json(accept: &str) -> bool {
    rank(accept, "application/json") > rank(accept, "text/html")
}

/// How much a media type is wanted: its weight in thousandths, then how closely it was named.
fn rank(accept: &str, wanted: &str) -> (u32, u32) {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let closeness = closeness(parts.next()?, wanted)?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some((closeness, weight.map_or(1000, thousandths)))
    });
    // The closest range decides, whatever a wider one would give.
    ranges.max_by_key(|(closeness, _)| *closeness).map_or((0, 0), |(closeness, weight)| (weight, closeness))
}

/// 3 for the type itself, 2 for `type/*`, 1 for `*/*`.
fn closeness(range: &str, wanted: &str) -> Option<u32> {
    let kind = wanted.split('/').next()?;
    if range.eq_ignore_ascii_case(wanted) {
        Some(3)
    } else if range.strip_suffix("/*").is_some_and(|wide| wide.eq_ignore_ascii_case(kind)) {
        Some(2)
    } else {
        (range == "*/*").then_some(1)
    }
}

fn thousandths(weight: &str) -> u32 {
    let weight: f32 = weight.parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::prefers_json;

    #[test]
    fn json_is_for_those_who_name_it() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in
            ["", "*/*", firefox, "text/html, application/json", "application/json;q=0.5, text/html", "text/*"]
        {
            assert!(!prefers_json(accept), "{accept}");
        }
        let fetch = "application/json, text/plain, */*";
        for accept in ["application/json", fetch, "application/*", "text/html;q=0.5, application/json;q=0.9"]
        {
            assert!(prefers_json(accept), "{accept}");
        }
        assert!(!prefers_json("application/json;q=0, */*"));
    }
}
