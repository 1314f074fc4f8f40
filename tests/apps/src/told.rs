//! What was understood of a request, in the words of the raw-request corpus (`tests/requests/README.md`).

use unirs_app::{Error, Request, Response};

/// The answer to any request. To HEAD, whose answer has no body, each line is a field `told`.
pub(crate) fn tell(request: &mut Request) -> Result<Response, Error> {
    let lines = lines(request)?;
    if request.method() == "HEAD" {
        Ok(lines.into_iter().fold(Response::new(200), |response, line| response.header("told", line)))
    } else {
        Ok(Response::text(lines.join("\n")))
    }
}

fn lines(request: &Request) -> Result<Vec<String>, Error> {
    let version = match request.http_version() {
        10 => "version 1.0",
        11 => "version 1.1",
        _ => "version unknown",
    };
    let mut lines = vec![
        format!("method {}", shown(request.method().as_bytes())),
        format!("target {}", shown(request.target())),
        format!("path {}", shown(request.raw_path())),
        or_none("query", request.query_bytes()),
        version.to_owned(),
        or_none("authority", Some(request.authority().as_bytes()).filter(|authority| !authority.is_empty())),
        format!("fields {}", request.headers().count()),
    ];
    for (name, value) in request.headers() {
        lines.push(format!("field {}: {}", shown(name.as_bytes()), shown(value)));
    }
    let body = request.body().bytes()?;
    lines.push(match body.len() {
        0 => "no body".to_owned(),
        1..=200 => format!("body {}", shown(&body)),
        length => format!("body of {length} bytes"),
    });
    Ok(lines.into_iter().map(|line| line.trim_end().to_owned()).collect())
}

fn or_none(key: &str, value: Option<&[u8]>) -> String {
    value.map_or_else(|| format!("no {key}"), |value| format!("{key} {}", shown(value)))
}

/// Printable ASCII as it is, the rest (and the backslash) escaped.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}
