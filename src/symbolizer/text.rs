//! The record as text. Whatever came from a client, a file or a broken process is shown, and obeyed by nobody.

use std::fmt::Write;

use super::Case;
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

/// The headline, and a line for each frame down to the application's last:
///
/// ```text
/// #0 lock_cart (libshop.so+0x1139) shop.c:12
/// #1 call (libshop.so+0x11ff) shop.c:30
/// and 26 more of the server
/// ```
pub(super) fn record(case: &Case, maps: &Maps, functions: &[Vec<Function>]) -> String {
    let mut text = case.headline.clone();
    let shown = shown(case, maps);
    let mut start = 0;
    for alike in case.frames[..shown].chunk_by(|one, next| one == next) {
        let known = functions.get(start).map_or(&[][..], Vec::as_slice);
        push_frame(&mut text, start, alike[0], maps, known);
        let end = start + alike.len();
        // Writing to a String cannot fail.
        let _ = match end - start {
            0 | 1 => Ok(()),
            2 => write!(text, "\n#{} the same", end - 1),
            _ => write!(text, "\n#{} to #{} the same", start + 1, end - 1),
        };
        start = end;
    }
    match case.frames.len() - shown {
        0 => {}
        more => {
            // As above.
            let _ = write!(text, "\nand {more} more of the server");
        }
    }
    text
}

/// How many frames are shown: all, where none is the application's.
fn shown(case: &Case, maps: &Maps) -> usize {
    let Some(application) = &case.application else { return case.frames.len() };
    let is_its = |address: &u64| maps.spot(*address).is_some_and(|spot| spot.module == *application);
    case.frames.iter().rposition(is_its).map_or(case.frames.len(), |last| last + 1)
}

fn push_frame(text: &mut String, frame: usize, address: u64, maps: &Maps, known: &[Function]) {
    let place = match maps.spot(address) {
        Some(spot) => format!("{}+{:#x}", plain(&spot.module), spot.offset),
        None => format!("{address:#x}"),
    };
    // Writing to a String cannot fail.
    let _ = match known {
        [] => write!(text, "\n#{frame} {place}"),
        all => all.iter().enumerate().try_for_each(|(depth, function)| {
            let is_inlined = depth + 1 < all.len();
            write!(text, "\n#{frame} {}", line(function, if is_inlined { "inlined" } else { &place }))
        }),
    };
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

    fn case(frames: &[u64]) -> Case {
        Case { headline: "head".to_owned(), frames: frames.to_vec(), maps: Vec::new(), application: None }
    }

    fn function(name: &str, source: Option<&str>) -> Function {
        Function { name: Some(name.to_owned()), source: source.map(str::to_owned) }
    }

    #[test]
    fn a_frame_is_as_much_as_is_known_of_it() {
        let functions =
            [vec![function("lock", Some("shop.c:12")), function("call", None)], Vec::new(), Vec::new()];
        let text = record(&case(&[0x1139, 0x1200, 0x7777]), &Maps::parse(MAPS), &functions);
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
    fn the_servers_own_frames_are_counted_and_a_recursion_is_told_once() {
        let application = Some("libshop.so".to_owned());
        let deep =
            Case { application, ..case(&[0x3001, 0x1010, 0x1010, 0x1010, 0x1020, 0x1020, 0x3002, 0x7777]) };
        let text = record(&deep, &Maps::parse(MAPS), &[]);
        let lines = [
            "head",
            "#0 \\x1b[31mred+0x1",
            "#1 libshop.so+0x10",
            "#2 to #3 the same",
            "#4 libshop.so+0x20",
            "#5 the same",
            "and 2 more of the server",
        ];
        assert_eq!(text, lines.join("\n"));
    }

    #[test]
    fn no_name_ends_a_line_or_turns_a_terminal_red() {
        let functions = [vec![function("evil\n#1 innocent", Some("a\x07b"))]];
        let text = record(&case(&[0x3001]), &Maps::parse(MAPS), &functions);
        assert_eq!(text, "head\n#0 evil\\x0a#1 innocent (\\x1b[31mred+0x1) a\\x07b");
    }

    #[test]
    fn a_name_of_any_length_has_an_end() {
        let functions = [vec![function(&"ä".repeat(5000), None)]];
        assert!(record(&case(&[1]), &Maps::default(), &functions).len() < 1000);
    }
}
