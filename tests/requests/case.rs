//! The cases of the raw-request corpus, read from their files. Not what is done with them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A case: the bytes that a client sends, and what must come of them.
pub(crate) struct Case {
    /// Folder and file without extension: `reject/host-missing`.
    pub(crate) name: String,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    /// Limits that differ from their defaults, by name.
    pub(crate) limits: Vec<(String, usize)>,
    /// Gunicorn's switches that are on, by the setting's name; `header_map` with its value.
    pub(crate) lenient: Vec<String>,
    /// A block for each request.
    pub(crate) blocks: Vec<Block>,
}

/// What must come of one request: lines, the first of which is the verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block(pub(crate) Vec<String>);

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Its head is valid.
    Accept,
    /// Its head is refused with this status.
    Reject(u16),
    /// It is not all there.
    Incomplete,
}

impl Block {
    /// What becomes of the request.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.0[0].split(' ').collect::<Vec<_>>()[..] {
            ["accept"] => Verdict::Accept,
            ["incomplete"] => Verdict::Incomplete,
            ["reject", status, ..] => Verdict::Reject(status.parse().expect("a status")),
            _ => panic!("no verdict: {}", self.0[0]),
        }
    }

    /// The rest of the line that begins with `key` and a space.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
    }

    /// The status that refuses the body of an accepted request.
    pub(crate) fn body_reject(&self) -> Option<u16> {
        self.value("body reject")?.split(' ').next()?.parse().ok()
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// All cases, by name.
pub(crate) fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests");
    let mut files = Vec::new();
    for folder in list(&root).into_iter().filter(|path| path.is_dir()) {
        files.extend(list(&folder));
    }
    let is_request = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "http");
    let mut cases: Vec<_> =
        files.iter().filter(|path| is_request(path)).map(|path| read(&root, path)).collect();
    assert_eq!(files.len(), 2 * cases.len(), "every file is one of a pair");
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the corpus is there");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn read(root: &Path, path: &Path) -> Case {
    let name = path.with_extension("").strip_prefix(root).expect("below the root").display().to_string();
    let text = fs::read_to_string(path).expect("the request");
    let expected = fs::read_to_string(path.with_extension("expect")).expect("what is expected");
    let mut blocks: Vec<_> = expected.split("\n\n").map(block).filter(|block| !block.0.is_empty()).collect();
    let said = |key: &str| -> Vec<String> {
        let line = blocks.first().and_then(|block| block.value(key));
        line.map_or_else(Vec::new, |line| line.split(' ').map(str::to_owned).collect())
    };
    let limits: Vec<_> = said("limits").iter().map(|text| limit(text)).collect();
    let lenient = said("lenient");
    if !limits.is_empty() || !lenient.is_empty() {
        blocks.remove(0);
    }
    Case { name, bytes: unescape(&text.replace('\n', "")), limits, lenient, blocks }
}

fn block(text: &str) -> Block {
    Block(text.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn limit(text: &str) -> (String, usize) {
    let (name, value) = text.split_once('=').expect("name=value");
    (name.to_owned(), value.parse().expect("a number"))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let length = match escape.as_bytes()[0] {
            b'r' => push(&mut bytes, b"\r", 1),
            b'n' => push(&mut bytes, b"\n", 1),
            b't' => push(&mut bytes, b"\t", 1),
            b'0' => push(&mut bytes, b"\0", 1),
            b'\\' => push(&mut bytes, b"\\", 1),
            b'x' => push(&mut bytes, &[u8::from_str_radix(&escape[1..3], 16).expect("hexadecimal")], 3),
            b'{' => {
                let end = escape.find('}').expect("a closing brace");
                let (text, count) = escape[1..end].rsplit_once('*').expect("TEXT*N");
                push(&mut bytes, &unescape(text).repeat(count.parse().expect("a number")), end + 1)
            }
            other => panic!("no such escape: \\{}", char::from(other)),
        };
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Appends what an escape stands for; returns how long the escape is after its backslash.
fn push(bytes: &mut Vec<u8>, meant: &[u8], length: usize) -> usize {
    bytes.extend_from_slice(meant);
    length
}
