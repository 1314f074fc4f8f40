//! `static`: the files of one folder, and of nowhere else. Not a file manager: it lists nothing and shows nothing hidden.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IgnoredAny;
use unirs_app::{App, Error, IntoResponse, Request, Response, Startup};

use crate::sys::beneath::{open_beneath, open_root};

/// A file up to this size, in bytes, is read and sent with its head; a larger one goes by `sendfile`, which costs a
/// system call more and no copy.
const SMALL: u64 = 32 * 1024;

/// The one hidden name that is meant for the world (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// Answers with files.
pub(super) struct StaticFiles {
    root: OwnedFd,
    /// The file that stands for its folder.
    index: String,
}

/// The table of the settings file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    root: Option<PathBuf>,
    #[serde(default = "index_html")]
    index: String,
    /// The server's own key in the same table.
    #[serde(rename = "builtin")]
    _builtin: Option<IgnoredAny>,
}

fn index_html() -> String {
    "index.html".to_owned()
}

impl App for StaticFiles {
    const NAME: &'static str = "static";
    const VERSION: &'static str = super::VERSION;

    fn start(startup: &Startup) -> Result<Self, Error> {
        let config: Config = startup.config()?;
        // As plain `static` on the command line there is no table, and it serves the folder where one is.
        let is_plain = matches!(startup.config_text().trim(), "{}" | "");
        let root = config.root.or_else(|| is_plain.then(|| PathBuf::from(".")));
        let root = root.ok_or_else(|| Error::new("`root` is missing: say which folder to serve"))?;
        let is_name =
            |index: &str| !index.is_empty() && !index.contains('/') && index != "." && index != "..";
        if !is_name(&config.index) {
            return Err(Error::new(format!(
                "`index` has to be the name of a file, found \"{}\"",
                config.index
            )));
        }
        let opened = open_root(&root).map_err(|error| Error::new(unusable(&root, &error)))?;
        Ok(StaticFiles { root: opened, index: config.index })
    }

    fn call(&self, request: &mut Request) -> Response {
        match request.method() {
            "GET" | "HEAD" => self.answer(request).into_response(),
            _ => Response::plain_status(405).header("Allow", "GET, HEAD"),
        }
    }
}

fn unusable(root: &Path, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such folder".to_owned(),
        io::ErrorKind::NotADirectory => "it is not a folder".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: the worker's user must be able to enter it".to_owned()
        }
        _ => error.to_string(),
    };
    format!("cannot serve the folder {}: {why}", root.display())
}

impl StaticFiles {
    fn answer(&self, request: &Request) -> Result<Response, Error> {
        let Some(wanted) = Wanted::of(request.path_bytes()) else {
            return Ok(Response::plain_status(404));
        };
        let path = wanted.file(&self.index);
        let file = match open_beneath(self.root.as_fd(), &path) {
            Ok(file) => File::from(file),
            Err(error) => return refusal(error),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() && !wanted.is_folder {
            return Ok(to_folder(request, &wanted));
        }
        if !metadata.is_file() {
            return Ok(Response::plain_status(404));
        }
        send(request, file, &metadata, &path)
    }
}

/// What a path asks for: relative to the root, without empty parts.
struct Wanted {
    path: Vec<u8>,
    /// It ends with a slash.
    is_folder: bool,
}

impl Wanted {
    /// `None` for what is never there: hidden names, ways upwards, and what no file can be called.
    fn of(path: &[u8]) -> Option<Wanted> {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        let is_hidden = |part: &&[u8]| part.starts_with(b".") && *part != WELL_KNOWN;
        if path.contains(&0) || parts.iter().any(is_hidden) {
            return None;
        }
        Some(Wanted { path: parts.join(&b'/'), is_folder: path.ends_with(b"/") })
    }

    /// The file below the root: of a folder, its index.
    fn file(&self, index: &str) -> Vec<u8> {
        match (self.is_folder, self.path.is_empty()) {
            (true, true) => index.as_bytes().to_vec(),
            (true, false) => [&self.path, index.as_bytes()].join(&b'/'),
            (false, true) => b".".to_vec(),
            (false, false) => self.path.clone(),
        }
    }
}

/// What cannot be opened is not there, or not for this client, or an error of ours.
fn refusal(error: io::Error) -> Result<Response, Error> {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG | libc::EXDEV | libc::ENXIO) => {
            Ok(Response::plain_status(404))
        }
        Some(libc::EACCES | libc::EPERM) => Ok(Response::plain_status(403)),
        _ => Err(error.into()),
    }
}

/// A folder's address ends with a slash, for the links in its index are relative to it.
///
/// The location is written anew from the path's parts: as it was sent, `//host/..` would name another server.
fn to_folder(request: &Request, wanted: &Wanted) -> Response {
    let mut location = request.prefix().as_bytes().to_vec();
    for part in wanted.path.split(|byte| *byte == b'/') {
        location.push(b'/');
        part.iter().for_each(|byte| encode(*byte, &mut location));
    }
    location.push(b'/');
    if let Some(query) = request.query_bytes() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    Response::plain_status(301).header("Location", location)
}

/// Writes a byte of a path's part: what is not unreserved (RFC 3986 §2.3) as `%XX`.
fn encode(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
        _ => out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    }
}

fn send(request: &Request, file: File, metadata: &Metadata, path: &[u8]) -> Result<Response, Error> {
    let modified = last_modified(metadata)?;
    let stamp = httpdate::fmt_http_date(modified);
    if is_unchanged(request, modified) {
        return Ok(Response::new(304).header("Last-Modified", stamp));
    }
    let length = metadata.len();
    let response = if length <= SMALL && request.method() == "GET" {
        let mut content = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut content)?;
        Response::bytes(content)
    } else {
        Response::file(file).range(0, length)
    };
    Ok(response.content_type(content_type(path)).header("Last-Modified", stamp))
}

/// In whole seconds, as the field has them, and not later than now (RFC 9110 §8.8.2.1).
fn last_modified(metadata: &Metadata) -> io::Result<SystemTime> {
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = since(metadata.modified()?).min(since(SystemTime::now()));
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The client's copy is as new as ours. Who sends an entity tag too asks for more than a date can tell (RFC 9110
/// §13.1.3).
fn is_unchanged(request: &Request, modified: SystemTime) -> bool {
    let since = request.header("if-modified-since").and_then(|date| httpdate::parse_http_date(date).ok());
    since.is_some_and(|since| modified <= since) && request.header_bytes("if-none-match").is_none()
}

/// By the file's name; text is said to be UTF-8.
fn content_type(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let essence = mime_guess::from_path(&*path).first_raw().unwrap_or("application/octet-stream");
    let is_text = essence.starts_with("text/") || essence == "application/javascript";
    if is_text { format!("{essence}; charset=utf-8") } else { essence.to_owned() }
}
