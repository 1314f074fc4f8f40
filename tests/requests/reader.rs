//! Requests read one after another by `unirs-http` alone, as a connection would, and what came of them.

use unirs::http::{BodyDecoder, Framing, Leniency, Limits, Reject, RequestHead, Underscores};

use crate::case::{Block, Case};

/// What comes of a case whose bytes arrive in pieces that end at `cuts`.
pub(crate) fn observe(case: &Case, cuts: &[usize]) -> Vec<Block> {
    let mut reader = Reader::new(limits(case), leniency(case));
    let mut start = 0;
    for end in cuts.iter().copied().chain([case.bytes.len()]) {
        reader.receive(&case.bytes[start..end]);
        start = end;
    }
    reader.finish()
}

fn limits(case: &Case) -> Limits {
    let mut limits = Limits::default();
    for (name, value) in &case.limits {
        match name.as_str() {
            "line" => limits.line = *value,
            "fields" => limits.fields = *value,
            "field_size" => limits.field_size = *value,
            "head" => limits.head = *value,
            _ => panic!("{}: no such limit: {name}", case.name),
        }
    }
    limits
}

fn leniency(case: &Case) -> Leniency {
    let mut leniency = Leniency::default();
    for switch in &case.lenient {
        match switch.as_str() {
            "header_map=refuse" => leniency.underscores = Underscores::Refused,
            "header_map=dangerous" => leniency.underscores = Underscores::Kept,
            "permit_obsolete_folding" => leniency.folded_fields = true,
            "strip_header_spaces" => leniency.spaces_after_names = true,
            "permit_unconventional_http_method" => leniency.unconventional_methods = true,
            "permit_unconventional_http_version" => leniency.unconventional_versions = true,
            "casefold_http_method" => leniency.methods_in_any_case = true,
            _ => panic!("{}: no such switch: {switch}", case.name),
        }
    }
    leniency
}

/// Reads requests one after another, as a connection does.
struct Reader {
    limits: Limits,
    head: RequestHead,
    /// What was received and is not done with.
    received: Vec<u8>,
    /// The body under way.
    body: Option<(BodyDecoder, Vec<u8>)>,
    blocks: Vec<Block>,
    is_refused: bool,
}

impl Reader {
    fn new(limits: Limits, leniency: Leniency) -> Reader {
        Reader {
            limits,
            head: RequestHead::with_leniency(leniency),
            received: Vec::new(),
            body: None,
            blocks: Vec::new(),
            is_refused: false,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        while !self.is_refused && self.turn() {}
    }

    /// True when something was done, and there may be more to do.
    fn turn(&mut self) -> bool {
        match &mut self.body {
            Some(_) => self.read_body(),
            None => self.read_head(),
        }
    }

    fn read_head(&mut self) -> bool {
        match self.head.parse(&mut self.received, &self.limits) {
            Ok(None) => false,
            Ok(Some(length)) => {
                self.blocks.push(describe(&self.head, &self.received));
                self.received.drain(..length);
                let decoder = BodyDecoder::with_limits(self.head.framing(), &self.limits);
                self.body = Some((decoder, Vec::new()));
                self.head.clear();
                true
            }
            Err(reject) => {
                self.blocks.push(Block(vec![said(reject)]));
                self.is_refused = true;
                false
            }
        }
    }

    fn read_body(&mut self) -> bool {
        let Some((decoder, data)) = &mut self.body else {
            return false;
        };
        match decoder.step(&self.received) {
            Ok(step) => {
                data.extend_from_slice(step.data);
                let (consumed, is_done) = (step.consumed, step.done);
                self.received.drain(..consumed);
                if is_done {
                    self.end_body("body", "body complete");
                }
                consumed > 0 || is_done
            }
            Err(reject) => {
                self.end_body("body so far", &format!("body {}", said(reject)));
                self.is_refused = true;
                false
            }
        }
    }

    fn end_body(&mut self, key: &str, end: &str) {
        let (_, data) = self.body.take().expect("there is a body under way");
        let lines = &mut self.blocks.last_mut().expect("the head has its block").0;
        lines.push(match data.len() {
            0 => "no body".to_owned(),
            1..=200 => format!("{key} {}", shown(&data)),
            length => format!("{key} of {length} bytes"),
        });
        lines.push(end.to_owned());
    }

    fn finish(mut self) -> Vec<Block> {
        if self.body.is_some() && !self.is_refused {
            self.end_body("body so far", "body incomplete");
        } else if !self.received.is_empty() && !self.is_refused {
            self.blocks.push(Block(vec!["incomplete".to_owned()]));
        }
        self.blocks
    }
}

/// As the corpus writes it.
pub(crate) fn said(reject: Reject) -> String {
    format!("reject {} {}", reject.status(), reject.sentence())
}

/// All that a head says, a line for each thing.
fn describe(head: &RequestHead, bytes: &[u8]) -> Block {
    let yes_or_no = |answer| if answer { "yes" } else { "no" };
    let or_none = |key: &str, value: Option<&[u8]>| match value {
        Some(value) => format!("{key} {}", shown(value)),
        None => format!("no {key}"),
    };
    let authority = Some(head.authority(bytes)).filter(|authority| !authority.is_empty());
    let mut lines = vec![
        "accept".to_owned(),
        format!("method {}", shown(head.method(bytes))),
        format!("target {}", shown(head.target(bytes))),
        format!("path {}", shown(head.path(bytes))),
        or_none("query", head.query(bytes)),
        format!("version {}", &head.version().as_str()[5..]),
        or_none("authority", authority),
        format!("fields {}", head.field_count()),
    ];
    for field in head.fields(bytes) {
        lines.push(format!("field {}: {}", shown(field.name), shown(field.value)));
    }
    lines.push(match head.framing() {
        Framing::None => "framing none".to_owned(),
        Framing::Length(length) => format!("framing length {length}"),
        Framing::Chunked => "framing chunked".to_owned(),
    });
    lines.push(format!("keep-alive {}", yes_or_no(head.keep_alive())));
    lines.push(format!("continue {}", yes_or_no(head.expects_continue())));
    Block(lines.into_iter().map(|line| line.trim_end().to_owned()).collect())
}

/// Printable ASCII as it is, the rest (and the backslash) escaped.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}
