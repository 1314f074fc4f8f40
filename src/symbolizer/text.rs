//! The record as text. Whatever came from a client, a file or a broken process is shown, and obeyed by nobody.

use std::fmt::Write;

use super::maps::Maps;

/// A name longer than this is cut: templates and closures can have thousands of letters.
const LONGEST_NAME: usize = 200;

/// A function at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// Demangled.
    pub name: Option<String>,
    /// `src/shop.c:12`.
    pub source: Option<String>,
}

/// The headline, and a line for each frame:
///
/// ```text
/// #0 lock_cart (libshop.so+0x1139) shop.c:12
/// #1 call (libshop.so+0x11ff) shop.c:30
/// #2 libc.so.6+0x29d90
/// ```
pub(super) fn record(headline: &str, frames: &[u64], maps: &Maps, functions: &[Vec<Function>]) -> String {
    let mut text = headline.to_owned();
    for (frame, &address) in frames.iter().enumerate() {
        let place = match maps.spot(address) {
            Some(spot) => format!("{}+{:#x}", plain(&spot.module), spot.offset),
            None => format!("{address:#x}"),
        };
        let known = functions.get(frame).map_or(&[][..], Vec::as_slice);
        // Writing to a String cannot fail.
        let _ = match known {
            [] => write!(text, "\n#{frame} {place}"),
            all => all.iter().enumerate().try_for_each(|(depth, function)| {
                let is_inlined = depth + 1 < all.len();
                write!(text, "\n#{frame} {}", line(function, if is_inlined { "inlined" } else { &place }))
            }),
        };
    }
    text
}

fn line(function: &Function, place: &str) -> String {
    let name = function.name.as_deref().map_or_else(|| "?".to_owned(), |name| plain(cut(name)));
    let source = function.source.as_deref().map_or_else(String::new, |source| format!(" {}", plain(source)));
    format!("{name} ({place}){source}")
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_NAME)]
}

/// Text of strangers on a line of ours: printable ASCII stands for itself, but for the backslash and the quotation mark; of
/// all the rest each byte is `\xHH`, as in the access log.
pub(crate) fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
            0x20..0x7f => line.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"1000-2000 r-xp 00000000 08:02 1 /lib/libshop.so\n3000-4000 r-xp 00000000 08:02 1 /lib/\x1b[31mred\n";

    fn function(name: &str, source: Option<&str>) -> Function {
        Function { name: Some(name.to_owned()), source: source.map(str::to_owned) }
    }

    #[test]
    fn a_frame_is_as_much_as_is_known_of_it() {
        let functions =
            [vec![function("lock", Some("shop.c:12")), function("call", None)], Vec::new(), Vec::new()];
        let text = record("head", &[0x1139, 0x1200, 0x7777], &Maps::parse(MAPS), &functions);
        let lines = [
            "head",
            "#0 lock (inlined) shop.c:12",
            "#0 call (libshop.so+0x139)",
            "#1 libshop.so+0x200",
            "#2 0x7777",
        ];
        assert_eq!(text, lines.join("\n"));
    }

    #[test]
    fn no_name_ends_a_line_or_turns_a_terminal_red() {
        let functions = [vec![function("evil\n#1 innocent", Some("a\x07b"))]];
        let text = record("head", &[0x3001], &Maps::parse(MAPS), &functions);
        assert_eq!(text, "head\n#0 evil\\x0a#1 innocent (\\x1b[31mred+0x1) a\\x07b");
    }

    #[test]
    fn a_name_of_any_length_has_an_end() {
        let functions = [vec![function(&"ä".repeat(5000), None)]];
        assert!(record("", &[1], &Maps::default(), &functions).len() < 1000);
    }
}
