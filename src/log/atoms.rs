//! The access log's language: a format's text into pieces, with Gunicorn's atoms, or an error that helps.

use strsim::jaro_winkler;

/// One part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Itself.
    Text(Vec<u8>),
    /// `h`
    Peer,
    /// `u`: of Basic authentication.
    User,
    /// `t`
    Time,
    /// `r`: the request line.
    Request,
    /// `m`
    Method,
    /// `{raw_uri}e`
    Target,
    /// `U`
    Path,
    /// `q`
    Query,
    /// `H`
    Protocol,
    /// `s`
    Status,
    /// `B` and `b`: Gunicorn's `b` is 0, not `-`, where no byte was sent.
    Bytes,
    /// `T`
    Seconds,
    /// `M`
    Milliseconds,
    /// `D`
    Microseconds,
    /// `L`: seconds with six decimals.
    Decimal,
    /// `p`
    Pid,
    /// `{name}i`; the name is lower-case.
    RequestField(String),
    /// `{name}o`
    ResponseField(String),
    /// `{name}e`
    Environ(String),
}

/// Why a format cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {sentence}")]
pub struct FormatError {
    /// Where, in characters, from 1.
    pub at: usize,
    /// What is wrong there, and what would be right.
    pub sentence: String,
}

/// The atoms of one letter, and what else people call them (nginx's names among them).
const ATOMS: &[(&str, &[&str])] = &[
    ("h", &["host", "remote_addr", "address", "client", "ip", "peer"]),
    ("l", &["logname", "ident", "identity"]),
    ("u", &["user", "username", "remote_user"]),
    ("t", &["time", "time_local", "date", "datetime"]),
    ("r", &["request", "request_line"]),
    ("m", &["method", "request_method"]),
    ("U", &["url", "path", "uri", "url_path"]),
    ("q", &["query", "query_string", "args"]),
    ("H", &["protocol", "http_version", "server_protocol"]),
    ("s", &["status", "code", "status_code"]),
    ("B", &["bytes", "body_bytes_sent", "length", "size", "content_length"]),
    ("b", &["clf_bytes"]),
    ("f", &["referer", "referrer", "http_referer"]),
    ("a", &["agent", "user_agent", "http_user_agent"]),
    ("T", &["seconds", "request_time"]),
    ("M", &["milliseconds", "ms", "millis"]),
    ("D", &["microseconds", "us", "micros"]),
    ("L", &["duration", "decimal_seconds", "elapsed"]),
    ("p", &["pid", "process", "process_id"]),
];

/// Parts the text of a format into pieces.
pub(super) fn compile(text: &str) -> Result<Vec<Piece>, FormatError> {
    refuse_controls(text)?; // first, so that no sentence about the rest has one in it
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        push_text(&mut pieces, &rest[..percent]);
        let at = text[..text.len() - rest.len() + percent].chars().count() + 1;
        let (piece, length) = read_atom(&rest[percent..]).map_err(|sentence| FormatError { at, sentence })?;
        push(&mut pieces, piece);
        rest = &rest[percent + length..];
    }
    push_text(&mut pieces, rest);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    push(pieces, Piece::Text(text.as_bytes().to_vec()));
}

/// Adds a piece; texts that follow each other become one.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (_, Piece::Text(text)) if text.is_empty() => {}
        (Some(Piece::Text(before)), Piece::Text(text)) => before.extend(text),
        (_, piece) => pieces.push(piece),
    }
}

/// One record is one line: that is the promise that whoever reads the log relies on.
fn refuse_controls(text: &str) -> Result<(), FormatError> {
    match text.chars().position(|character| character.is_control() && character != '\t') {
        None => Ok(()),
        Some(before) => Err(FormatError {
            at: before + 1,
            sentence:
                "a line break or another control character would tear the lines of the log; leave it out"
                    .into(),
        }),
    }
}

/// Reads what begins with the `%` of `text`; the piece, and its length in bytes.
fn read_atom(text: &str) -> Result<(Piece, usize), String> {
    let mut after = text.chars().skip(1);
    match after.next() {
        Some('%') => return Ok((Piece::Text(b"%".to_vec()), 2)),
        Some('(') => {}
        Some(letter) if known(&letter.to_string()) => {
            return Err(format!("an atom is written with parentheses and an s: %({letter})s, not %{letter}"));
        }
        Some(_) | None => {
            return Err("a % stands before an atom, as in %(h)s; a percent sign itself is written %%".into());
        }
    }
    let Some(end) = text.find(')') else {
        return Err(format!("the parenthesis of {} is never closed", shortened(text)));
    };
    let (name, conversion) = (&text[2..end], text[end + 1..].chars().next());
    let piece = piece(name)?;
    match conversion {
        Some('s') => Ok((piece, end + 2)),
        Some('d' | 'i') if is_number(&piece) => Ok((piece, end + 2)),
        Some(other) => Err(format!("%({name}) is followed by {other:?}; write %({name})s")),
        None => Err(format!("an s is missing at the end; write %({name})s")),
    }
}

fn is_number(piece: &Piece) -> bool {
    use Piece::{Bytes, Microseconds, Milliseconds, Seconds, Status};
    matches!(piece, Status | Bytes | Seconds | Milliseconds | Microseconds)
}

fn known(name: &str) -> bool {
    ATOMS.iter().any(|(letter, _)| *letter == name)
}

/// The piece of an atom's name.
fn piece(name: &str) -> Result<Piece, String> {
    Ok(match name {
        "h" => Piece::Peer,
        // What identd (RFC 1413) would say; nobody asks it any more.
        "l" => Piece::Text(b"-".to_vec()),
        "u" => Piece::User,
        "t" => Piece::Time,
        "r" => Piece::Request,
        "m" => Piece::Method,
        "U" => Piece::Path,
        "q" => Piece::Query,
        "H" => Piece::Protocol,
        "s" => Piece::Status,
        "B" | "b" => Piece::Bytes,
        "f" => Piece::RequestField("referer".into()),
        "a" => Piece::RequestField("user-agent".into()),
        "T" => Piece::Seconds,
        "M" => Piece::Milliseconds,
        "D" => Piece::Microseconds,
        "L" => Piece::Decimal,
        "p" => Piece::Pid,
        braced if braced.starts_with('{') => field(braced)?,
        other => return Err(unknown(other)),
    })
}

/// `{name}i`, `{name}o`, `{name}e`, in any case.
fn field(braced: &str) -> Result<Piece, String> {
    let Some((name, kind)) = braced[1..].split_once('}') else {
        return Err(format!("the brace of {} is never closed", shortened(braced)));
    };
    let name = name.to_lowercase();
    match kind {
        _ if name.is_empty() => Err("the braces are empty; write a field's name, as in %({host}i)s".into()),
        "i" | "I" => Ok(Piece::RequestField(name)),
        "o" | "O" => Ok(Piece::ResponseField(name)),
        "e" | "E" => Ok(environ(name)),
        _ => Err(format!(
            "{{{name}}} has to be followed by i (request field), o (response field) or e (environ): %({{{name}}}i)s"
        )),
    }
}

/// CGI's name for something, as the thing itself where the record has it.
fn environ(name: String) -> Piece {
    match name.as_str() {
        "remote_addr" => Piece::Peer,
        "request_method" => Piece::Method,
        "raw_uri" | "request_uri" => Piece::Target,
        "path_info" => Piece::Path,
        "query_string" => Piece::Query,
        "server_protocol" => Piece::Protocol,
        "content_type" => Piece::RequestField("content-type".into()),
        "content_length" => Piece::RequestField("content-length".into()),
        other => match other.strip_prefix("http_") {
            Some(field) => Piece::RequestField(field.replace('_', "-")),
            None => Piece::Environ(name),
        },
    }
}

fn unknown(name: &str) -> String {
    if name.is_empty() {
        return "the parentheses are empty; write an atom's name, as in %(h)s".into();
    }
    let name = shortened(name);
    match nearest(&name) {
        Some(atom) => format!("there is no %({name})s; did you mean %({atom})s?"),
        None => {
            let letters: Vec<_> = ATOMS.iter().map(|(letter, _)| *letter).collect();
            let letters = letters.join(" ");
            format!("there is no %({name})s; there are {letters}, {{name}}i, {{name}}o and {{name}}e")
        }
    }
}

/// The atom that was probably meant: by one of its names, by the other case of its letter, or as a header field.
fn nearest(name: &str) -> Option<String> {
    /// Above it are typing errors, below it other words.
    const ALIKE: f64 = 0.88;
    if name.len() == 1 {
        let found = ATOMS.iter().find(|(letter, _)| letter.eq_ignore_ascii_case(name))?;
        return Some(found.0.to_owned());
    }
    let lower = name.to_lowercase().replace('-', "_");
    let names = ATOMS.iter().flat_map(|(letter, names)| names.iter().map(move |other| (letter, other)));
    let (alike, letter) = names
        .map(|(letter, other)| (jaro_winkler(&lower, other), letter))
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    if alike >= ALIKE {
        return Some((*letter).to_owned());
    }
    name.contains('-').then(|| format!("{{{name}}}i"))
}

/// Enough of a text to recognise it in a sentence.
fn shortened(text: &str) -> String {
    text.chars().take(32).collect()
}
